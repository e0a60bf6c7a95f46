-- Which targets a user may reach, and what they get of the limit of the whole server.

-- NULL is "as for everybody". Texts as the command line takes them: "none" or
-- "deny * 25, allow 10.1.0.0/16 443-444"; a number; "none" or a rate.
ALTER TABLE users ADD COLUMN egress TEXT;
ALTER TABLE users ADD COLUMN weight TEXT;
ALTER TABLE users ADD COLUMN floor TEXT;
ALTER TABLE rules ADD COLUMN egress TEXT;
ALTER TABLE rules ADD COLUMN weight TEXT;
ALTER TABLE rules ADD COLUMN floor TEXT;

-- By which a journal of usage knows the database that it is for.
CREATE TABLE identity (
    only_row BIGINT PRIMARY KEY CHECK (only_row = 1),
    value    TEXT NOT NULL
);
INSERT INTO identity (only_row, value)
    VALUES (1, md5(random()::text || clock_timestamp()::text || random()::text));
