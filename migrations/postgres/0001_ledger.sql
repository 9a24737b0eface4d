-- The ledger: who is enrolled, what they earned, where their money stands.
-- Amounts are BIGINT minor units. Flags are 0 or 1. Every key is led by org_id.
-- The twin of this file is migrations/sqlite/0001_ledger.sql: same tables, columns, nullability.

CREATE TABLE orgs (
    org_id      TEXT        NOT NULL PRIMARY KEY,
    created_at  TIMESTAMPTZ NOT NULL
);

CREATE TABLE programs (
    org_id       TEXT        NOT NULL,
    program_id   TEXT        NOT NULL,
    title        TEXT        NOT NULL,
    status       TEXT        NOT NULL,
    hold_days    BIGINT      NOT NULL CHECK (hold_days >= 0),
    auto_credit  BIGINT      NOT NULL CHECK (auto_credit IN (0, 1)),
    auto_payout  BIGINT      NOT NULL CHECK (auto_payout IN (0, 1)),
    created_at   TIMESTAMPTZ NOT NULL,
    PRIMARY KEY (org_id, program_id)
);

-- A currency is enabled in a program by having a row here.
CREATE TABLE program_currencies (
    org_id            TEXT   NOT NULL,
    program_id        TEXT   NOT NULL,
    currency          TEXT   NOT NULL,
    min_payout_minor  BIGINT NOT NULL CHECK (min_payout_minor >= 0),
    PRIMARY KEY (org_id, program_id, currency)
);

CREATE TABLE affiliates (
    org_id        TEXT        NOT NULL,
    affiliate_id  TEXT        NOT NULL,
    program_id    TEXT        NOT NULL,
    partner_id    TEXT        NOT NULL,
    name          TEXT        NOT NULL,
    email         TEXT        NOT NULL,
    code          TEXT        NOT NULL,
    status        TEXT        NOT NULL,
    created_at    TIMESTAMPTZ NOT NULL,
    PRIMARY KEY (org_id, affiliate_id)
);

CREATE TABLE payout_methods (
    org_id        TEXT        NOT NULL,
    method_id     TEXT        NOT NULL,
    affiliate_id  TEXT        NOT NULL,
    kind          TEXT        NOT NULL,
    destination   TEXT        NOT NULL,
    status        TEXT        NOT NULL,
    is_default    BIGINT      NOT NULL CHECK (is_default IN (0, 1)),
    created_at    TIMESTAMPTZ NOT NULL,
    PRIMARY KEY (org_id, method_id)
);
CREATE UNIQUE INDEX payout_methods_default
    ON payout_methods (org_id, affiliate_id) WHERE is_default = 1;

-- Five buckets that always sum to 0; `earned` is the negative of the rest and not stored.
-- No index on a balance: an index on `available` would cost every wallet update its HOT path.
CREATE TABLE wallets (
    org_id           TEXT        NOT NULL,
    affiliate_id     TEXT        NOT NULL,
    currency         TEXT        NOT NULL,
    program_id       TEXT        NOT NULL,
    status           TEXT        NOT NULL,
    held_minor       BIGINT      NOT NULL CHECK (held_minor >= 0),
    available_minor  BIGINT      NOT NULL,
    in_flight_minor  BIGINT      NOT NULL CHECK (in_flight_minor >= 0),
    paid_minor       BIGINT      NOT NULL CHECK (paid_minor >= 0),
    version          BIGINT      NOT NULL CHECK (version >= 0),
    updated_at       TIMESTAMPTZ NOT NULL,
    PRIMARY KEY (org_id, affiliate_id, currency)
) WITH (fillfactor = 70);

-- Immutable: one movement of an amount from one bucket to another. The key (…, version) is
-- gapless from 1, so two writers of one wallet cannot both win.
CREATE TABLE entries (
    org_id           TEXT        NOT NULL,
    affiliate_id     TEXT        NOT NULL,
    currency         TEXT        NOT NULL,
    version          BIGINT      NOT NULL,
    entry_key        TEXT        NOT NULL,
    kind             TEXT        NOT NULL,
    from_bucket      TEXT        NOT NULL,
    to_bucket        TEXT        NOT NULL,
    amount_minor     BIGINT      NOT NULL CHECK (amount_minor > 0),
    held_after       BIGINT      NOT NULL,
    available_after  BIGINT      NOT NULL,
    in_flight_after  BIGINT      NOT NULL,
    paid_after       BIGINT      NOT NULL,
    actor            TEXT        NOT NULL,
    occurred_at      TIMESTAMPTZ NOT NULL,
    PRIMARY KEY (org_id, affiliate_id, currency, version)
);
CREATE UNIQUE INDEX entries_key ON entries (org_id, entry_key);

CREATE FUNCTION entries_are_immutable() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN RAISE EXCEPTION 'entries are immutable'; END $$;
CREATE TRIGGER entries_immutable BEFORE UPDATE OR DELETE ON entries
    FOR EACH ROW EXECUTE FUNCTION entries_are_immutable();

CREATE TABLE commissions (
    org_id              TEXT        NOT NULL,
    commission_id       TEXT        NOT NULL,
    affiliate_id        TEXT        NOT NULL,
    program_id          TEXT        NOT NULL,
    currency            TEXT        NOT NULL,
    order_id            TEXT        NOT NULL,
    order_amount_minor  BIGINT      NOT NULL,
    amount_minor        BIGINT      NOT NULL CHECK (amount_minor >= 0),
    status              TEXT        NOT NULL,
    converted_at        TIMESTAMPTZ NOT NULL,
    hold_until          TIMESTAMPTZ NOT NULL,
    accrual_batch       TEXT        NOT NULL,
    release_batch       TEXT,
    credited_at         TIMESTAMPTZ,
    allocated_minor     BIGINT      NOT NULL,
    paid_minor          BIGINT      NOT NULL,
    PRIMARY KEY (org_id, commission_id),
    CHECK (0 <= paid_minor AND paid_minor <= allocated_minor AND allocated_minor <= amount_minor)
) WITH (fillfactor = 90);
-- What is due, by program and time: the release job finds its next wallets here.
CREATE INDEX commissions_due
    ON commissions (org_id, program_id, hold_until, affiliate_id, currency) WHERE status = 'held';
-- All that is held in one wallet, so that a batch takes whole wallets.
CREATE INDEX commissions_held
    ON commissions (org_id, affiliate_id, currency, hold_until) WHERE status = 'held';
-- What a payout may still pay, first credited first.
CREATE INDEX commissions_open
    ON commissions (org_id, affiliate_id, currency, credited_at, commission_id)
    WHERE status = 'qualified' AND allocated_minor < amount_minor;
