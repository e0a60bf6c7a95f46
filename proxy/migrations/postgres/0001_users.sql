-- Users, what they may use, and what they have used.

CREATE TABLE users (
    id            BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    -- Compared byte by byte.
    name          TEXT COLLATE "C" NOT NULL UNIQUE,
    -- A PHC string ($argon2id$...).
    password_hash TEXT   NOT NULL,
    enabled       BIGINT NOT NULL DEFAULT 1 CHECK (enabled IN (0, 1)),
    -- Policies as text ("token-bucket:rate=5000B/s,burst=5000B"); NULL is as for everybody.
    -- Either one budget for both directions or one for each.
    limit_shared  TEXT,
    limit_up      TEXT,
    limit_down    TEXT,
    -- Seconds since 1970.
    created_at    BIGINT NOT NULL,
    CHECK (limit_shared IS NULL OR (limit_up IS NULL AND limit_down IS NULL))
);

-- Payload bytes, as written to the other side.
CREATE TABLE usage (
    user_id        BIGINT PRIMARY KEY REFERENCES users (id) ON DELETE CASCADE,
    upload_bytes   BIGINT NOT NULL DEFAULT 0,
    download_bytes BIGINT NOT NULL DEFAULT 0
);

-- Grows with every change of a user, whoever makes it: a running server looks here.
CREATE TABLE revision (
    only_row BIGINT PRIMARY KEY CHECK (only_row = 1),
    value    BIGINT NOT NULL
);
INSERT INTO revision (only_row, value) VALUES (1, 1);

CREATE FUNCTION weirgate_changed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE revision SET value = value + 1;
    RETURN NULL;
END
$$;
CREATE TRIGGER users_changed AFTER INSERT OR UPDATE OR DELETE ON users
    FOR EACH STATEMENT EXECUTE FUNCTION weirgate_changed();
