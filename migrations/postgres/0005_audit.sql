-- Who did what: one row for each change that a person or a service asked for, written in the
-- transaction of the change itself. Never changed, never deleted.
-- The twin of this file is migrations/sqlite/0005_audit.sql.

CREATE TABLE audit_log (
    org_id       TEXT NOT NULL,
    audit_id     TEXT NOT NULL,
    actor        TEXT NOT NULL,
    action       TEXT NOT NULL,
    subject      TEXT NOT NULL,
    detail       TEXT NOT NULL,
    request_id   TEXT,
    occurred_at  TIMESTAMPTZ NOT NULL,
    PRIMARY KEY (org_id, audit_id)
);
CREATE INDEX audit_log_subject ON audit_log (org_id, subject, audit_id);

CREATE FUNCTION audit_log_is_append_only() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN RAISE EXCEPTION 'the audit log is append-only'; END $$;
CREATE TRIGGER audit_log_append_only BEFORE UPDATE OR DELETE ON audit_log
    FOR EACH ROW EXECUTE FUNCTION audit_log_is_append_only();
