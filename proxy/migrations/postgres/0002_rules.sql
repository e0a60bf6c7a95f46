-- Rules of each user and for everybody, usage by period, and who writes usage.

-- NULL is "as for everybody". Texts as the command line takes them: "none" or a
-- number; "none" or "10GB/monthly@15"; "never" or a date; "refuse" or a rate.
ALTER TABLE users ADD COLUMN max_connections TEXT;
ALTER TABLE users ADD COLUMN max_addresses TEXT;
ALTER TABLE users ADD COLUMN quota TEXT;
ALTER TABLE users ADD COLUMN expires TEXT;
ALTER TABLE users ADD COLUMN beyond TEXT;

-- The period that was current when usage was last written: its first instant in
-- seconds since 1970, and what was moved in it.
ALTER TABLE usage ADD COLUMN period_start BIGINT NOT NULL DEFAULT 0;
ALTER TABLE usage ADD COLUMN period_upload_bytes BIGINT NOT NULL DEFAULT 0;
ALTER TABLE usage ADD COLUMN period_download_bytes BIGINT NOT NULL DEFAULT 0;

-- The rules for everybody.
CREATE TABLE rules (
    only_row     BIGINT PRIMARY KEY CHECK (only_row = 1),
    limit_shared TEXT,
    limit_up     TEXT,
    limit_down   TEXT,
    max_connections TEXT,
    max_addresses TEXT,
    quota        TEXT,
    expires      TEXT,
    beyond       TEXT
);
INSERT INTO rules (only_row) VALUES (1);
CREATE TRIGGER rules_changed AFTER UPDATE ON rules
    FOR EACH STATEMENT EXECUTE FUNCTION weirgate_changed();

-- Each process that writes usage, and the number of its last write: after a
-- failure it finds out here whether that write was done.
CREATE TABLE writers (
    id       TEXT PRIMARY KEY,
    sequence BIGINT NOT NULL,
    seen_at  BIGINT NOT NULL
);
