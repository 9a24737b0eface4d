-- API keys: how programs prove who they are. The key itself is shown once and kept by nobody; what
-- stands here is its hash.
-- The twin of this file is migrations/sqlite/0009_access.sql.

CREATE TABLE api_keys (
    org_id        TEXT NOT NULL,
    key_id        TEXT NOT NULL,
    name          TEXT NOT NULL,
    -- SHA-256 of the whole key, in hex.
    hash          TEXT NOT NULL,
    -- What it may do, as a JSON array of words.
    permissions   TEXT NOT NULL,
    expires_at    TIMESTAMPTZ,
    created_by    TEXT NOT NULL,
    created_at    TIMESTAMPTZ NOT NULL,
    -- To the hour.
    last_used_at  TIMESTAMPTZ,
    revoked_at    TIMESTAMPTZ,
    revoked_by    TEXT,
    PRIMARY KEY (org_id, key_id)
);
-- A key comes without its org: it says which org it is of.
CREATE UNIQUE INDEX api_keys_key ON api_keys (key_id);
-- The audit log by who did it.
CREATE INDEX audit_log_actor ON audit_log (org_id, actor, audit_id);
