-- Who did what: one row for each change that a person or a service asked for, written in the
-- transaction of the change itself. Never changed, never deleted.
-- The twin of this file is migrations/postgres/0005_audit.sql.

CREATE TABLE audit_log (
    org_id       TEXT NOT NULL,
    audit_id     TEXT NOT NULL,
    actor        TEXT NOT NULL,
    action       TEXT NOT NULL,
    subject      TEXT NOT NULL,
    detail       TEXT NOT NULL,
    request_id   TEXT,
    occurred_at  TEXT NOT NULL,
    PRIMARY KEY (org_id, audit_id)
) STRICT;
CREATE INDEX audit_log_subject ON audit_log (org_id, subject, audit_id);

CREATE TRIGGER audit_log_immutable_update BEFORE UPDATE ON audit_log
    BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END;
CREATE TRIGGER audit_log_immutable_delete BEFORE DELETE ON audit_log
    BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END;
