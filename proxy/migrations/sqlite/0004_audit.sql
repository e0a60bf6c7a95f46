-- Who changed what: rows are added and never changed.

CREATE TABLE audit (
    id      INTEGER PRIMARY KEY AUTOINCREMENT,
    -- Seconds since 1970.
    at      INTEGER NOT NULL,
    -- Who asked, and the way they came.
    actor   TEXT NOT NULL,
    -- What was done ("user.change") and to whom; what it was, as JSON without secrets.
    action  TEXT NOT NULL,
    subject TEXT NOT NULL,
    detail  TEXT NOT NULL
) STRICT;
CREATE TRIGGER audit_stays BEFORE UPDATE ON audit BEGIN
    SELECT RAISE(ABORT, 'the audit log is not changed');
END;
