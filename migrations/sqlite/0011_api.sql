-- What the API needs: answers kept for callers who repeat themselves, a partner's own pages, the
-- order of a program's currencies, paused jobs.
-- The twin of this file is migrations/postgres/0011_api.sql.

-- What was answered to a request that brought an Idempotency-Key: written with what the request
-- did, so that either both are there or neither. A key is its caller's own.
CREATE TABLE idempotency_keys (
    org_id           TEXT    NOT NULL,
    caller           TEXT    NOT NULL,
    idempotency_key  TEXT    NOT NULL,
    request_hash     TEXT    NOT NULL,
    status           INTEGER NOT NULL,
    answer           TEXT    NOT NULL,
    created_at       TEXT    NOT NULL,
    PRIMARY KEY (org_id, caller, idempotency_key)
) STRICT;
CREATE INDEX idempotency_keys_age ON idempotency_keys (org_id, created_at);

-- What the partner wrote beside the request.
ALTER TABLE payouts ADD COLUMN note TEXT;

-- The first of a program's currencies has place 0: a partner's stats are in it.
ALTER TABLE program_currencies ADD COLUMN place INTEGER NOT NULL DEFAULT 0 CHECK (place >= 0);

-- The enrolments of the person who calls.
CREATE INDEX affiliates_of_partner ON affiliates (org_id, partner_id, affiliate_id);
-- What one affiliate earned, by time.
CREATE INDEX commissions_of_affiliate
    ON commissions (org_id, affiliate_id, converted_at, commission_id);

-- Schedules that a person stopped, and why. Jobs belong to the installation: no org_id.
CREATE TABLE job_pauses (
    job_id     TEXT NOT NULL PRIMARY KEY,
    reason     TEXT NOT NULL,
    paused_by  TEXT NOT NULL,
    paused_at  TEXT NOT NULL
) STRICT;
