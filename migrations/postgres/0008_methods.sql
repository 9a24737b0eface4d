-- Payout methods that partners bring: how they are proven, and when they may be paid.
-- The twin of this file is migrations/sqlite/0008_methods.sql.

ALTER TABLE payout_methods ADD COLUMN label TEXT NOT NULL DEFAULT '';
-- Whether it cools off once it is verified: its destination was changed, or it came after another.
ALTER TABLE payout_methods ADD COLUMN cools BIGINT NOT NULL DEFAULT 0 CHECK (cools IN (0, 1));
-- From when on it may be paid; NULL: it need not cool off.
ALTER TABLE payout_methods ADD COLUMN usable_from TIMESTAMPTZ;
ALTER TABLE payout_methods ADD COLUMN verified_at TIMESTAMPTZ;
-- How it was proven; NULL where it came in as verified.
ALTER TABLE payout_methods ADD COLUMN verified_by TEXT;
-- The method of another affiliate that goes to the same account, if there is one.
ALTER TABLE payout_methods ADD COLUMN duplicate_of TEXT;
CREATE INDEX payout_methods_of_affiliate ON payout_methods (org_id, affiliate_id, method_id);

-- One try to prove a method. What has to be told is kept as a hash.
CREATE TABLE method_verifications (
    org_id           TEXT    NOT NULL,
    verification_id  TEXT    NOT NULL,
    method_id        TEXT    NOT NULL,
    affiliate_id     TEXT    NOT NULL,
    kind             TEXT    NOT NULL,
    status           TEXT    NOT NULL,
    -- What it proves: a destination that was changed since is another one.
    destination_id   TEXT    NOT NULL,
    salt             TEXT    NOT NULL,
    secret_hash      TEXT    NOT NULL,
    tries_left       BIGINT  NOT NULL CHECK (tries_left >= 0),
    first_payout     TEXT,
    second_payout    TEXT,
    started_by       TEXT    NOT NULL,
    started_at       TIMESTAMPTZ NOT NULL,
    expires_at       TIMESTAMPTZ NOT NULL,
    ended_at         TIMESTAMPTZ,
    reason_code      TEXT,
    reason           TEXT,
    PRIMARY KEY (org_id, verification_id)
);
-- One open try per method.
CREATE UNIQUE INDEX method_verifications_open
    ON method_verifications (org_id, method_id) WHERE status = 'open';
-- A consent comes back with a word, and nothing else.
CREATE UNIQUE INDEX method_verifications_secret ON method_verifications (org_id, secret_hash);
CREATE INDEX method_verifications_of_affiliate
    ON method_verifications (org_id, affiliate_id, started_at);
