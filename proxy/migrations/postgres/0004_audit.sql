-- Who changed what: rows are added and never changed.

CREATE TABLE audit (
    id      BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    -- Seconds since 1970.
    at      BIGINT NOT NULL,
    -- Who asked, and the way they came.
    actor   TEXT NOT NULL,
    -- What was done ("user.change") and to whom; what it was, as JSON without secrets.
    action  TEXT NOT NULL,
    subject TEXT NOT NULL,
    detail  TEXT NOT NULL
);
CREATE FUNCTION weirgate_audit_stays() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'the audit log is not changed';
END
$$;
CREATE TRIGGER audit_stays BEFORE UPDATE ON audit
    FOR EACH STATEMENT EXECUTE FUNCTION weirgate_audit_stays();
