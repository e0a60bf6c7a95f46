-- Shadowsocks: what a user's clients are told, and what panels have been told of the user.

CREATE TABLE shadowsocks (
    user_id  BIGINT PRIMARY KEY REFERENCES users (id) ON DELETE CASCADE,
    -- The number by which panels and gRPC call the user; NULL: nobody does.
    number   BIGINT UNIQUE,
    port     BIGINT NOT NULL CHECK (port BETWEEN 1 AND 65535),
    method   TEXT   NOT NULL,
    -- In the clear: the keys derive from it. For the 2022 edition base64, or
    -- "key of the port:key of the user".
    password TEXT   NOT NULL,
    -- How much of the usage a panel has acknowledged.
    reported_upload_bytes   BIGINT NOT NULL DEFAULT 0,
    reported_download_bytes BIGINT NOT NULL DEFAULT 0
);

-- For each row: a user without any is deleted with a statement about none.
CREATE TRIGGER shadowsocks_changed AFTER INSERT OR UPDATE OF number, port, method, password OR DELETE ON shadowsocks
    FOR EACH ROW EXECUTE FUNCTION weirgate_changed();

-- The report to a panel that is under way: sent again, the same, until it is acknowledged.
CREATE TABLE shadowsocks_report (
    only_row BIGINT PRIMARY KEY CHECK (only_row = 1),
    -- Names the report, so that a panel may know it again.
    id       TEXT NOT NULL,
    body     TEXT NOT NULL
);

-- What the report under way holds.
CREATE TABLE shadowsocks_report_part (
    user_id        BIGINT PRIMARY KEY REFERENCES users (id) ON DELETE CASCADE,
    upload_bytes   BIGINT NOT NULL,
    download_bytes BIGINT NOT NULL
);
