-- Users, what they may use, and what they have used.

CREATE TABLE users (
    -- AUTOINCREMENT: the id of a deleted user is never given to another.
    id            INTEGER PRIMARY KEY AUTOINCREMENT,
    -- TEXT, compared byte by byte: "0123" and "123" are two users.
    name          TEXT    NOT NULL UNIQUE,
    -- A PHC string ($argon2id$...).
    password_hash TEXT    NOT NULL,
    enabled       INTEGER NOT NULL DEFAULT 1 CHECK (enabled IN (0, 1)),
    -- Policies as text ("token-bucket:rate=5000B/s,burst=5000B"); none is unlimited.
    -- Either one budget for both directions or one for each.
    limit_shared  TEXT,
    limit_up      TEXT,
    limit_down    TEXT,
    -- Seconds since 1970.
    created_at    INTEGER NOT NULL,
    CHECK (limit_shared IS NULL OR (limit_up IS NULL AND limit_down IS NULL))
) STRICT;

-- Payload bytes, as written to the other side.
CREATE TABLE usage (
    user_id        INTEGER PRIMARY KEY REFERENCES users (id) ON DELETE CASCADE,
    upload_bytes   INTEGER NOT NULL DEFAULT 0,
    download_bytes INTEGER NOT NULL DEFAULT 0
) STRICT;

-- Grows with every change of a user, whoever makes it: a running server looks here.
CREATE TABLE revision (
    only_row INTEGER PRIMARY KEY CHECK (only_row = 1),
    value    INTEGER NOT NULL
) STRICT;
INSERT INTO revision (only_row, value) VALUES (1, 1);

CREATE TRIGGER users_inserted AFTER INSERT ON users BEGIN
    UPDATE revision SET value = value + 1;
END;
CREATE TRIGGER users_updated AFTER UPDATE ON users BEGIN
    UPDATE revision SET value = value + 1;
END;
CREATE TRIGGER users_deleted AFTER DELETE ON users BEGIN
    UPDATE revision SET value = value + 1;
END;
