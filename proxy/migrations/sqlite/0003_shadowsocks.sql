-- Shadowsocks: what a user's clients are told, and what panels have been told of the user.

CREATE TABLE shadowsocks (
    user_id  INTEGER PRIMARY KEY REFERENCES users (id) ON DELETE CASCADE,
    -- The number by which panels and gRPC call the user; NULL: nobody does.
    number   INTEGER UNIQUE,
    port     INTEGER NOT NULL CHECK (port BETWEEN 1 AND 65535),
    method   TEXT    NOT NULL,
    -- In the clear: the keys derive from it. For the 2022 edition base64, or
    -- "key of the port:key of the user".
    password TEXT    NOT NULL,
    -- How much of the usage a panel has acknowledged.
    reported_upload_bytes   INTEGER NOT NULL DEFAULT 0,
    reported_download_bytes INTEGER NOT NULL DEFAULT 0
) STRICT;

CREATE TRIGGER shadowsocks_inserted AFTER INSERT ON shadowsocks BEGIN
    UPDATE revision SET value = value + 1;
END;
CREATE TRIGGER shadowsocks_updated AFTER UPDATE OF number, port, method, password ON shadowsocks BEGIN
    UPDATE revision SET value = value + 1;
END;
CREATE TRIGGER shadowsocks_deleted AFTER DELETE ON shadowsocks BEGIN
    UPDATE revision SET value = value + 1;
END;

-- The report to a panel that is under way: sent again, the same, until it is acknowledged.
CREATE TABLE shadowsocks_report (
    only_row INTEGER PRIMARY KEY CHECK (only_row = 1),
    -- Names the report, so that a panel may know it again.
    id       TEXT NOT NULL,
    body     TEXT NOT NULL
) STRICT;

-- What the report under way holds.
CREATE TABLE shadowsocks_report_part (
    user_id        INTEGER PRIMARY KEY REFERENCES users (id) ON DELETE CASCADE,
    upload_bytes   INTEGER NOT NULL,
    download_bytes INTEGER NOT NULL
) STRICT;
