-- Reversals, adjustments, approvals, frozen wallets. Lines of a payout may be negative from here on:
-- that is how a debt is netted.
-- The twin of this file is migrations/postgres/0006_ledger.sql. SQLite changes no constraint of a
-- table that exists, so two tables are written anew.

-- `reversed` is the sum of the commission's reversals, `credited` what became available when it was
-- credited. What is open of a credited commission is amount - reversed - allocated: below 0 it is a
-- debt. While one payout nets a debt that another one is still to pay, less than 0 may be allocated
-- or paid.
CREATE TABLE commissions_new (
    org_id              TEXT        NOT NULL,
    commission_id       TEXT        NOT NULL,
    affiliate_id        TEXT        NOT NULL,
    program_id          TEXT        NOT NULL,
    currency            TEXT        NOT NULL,
    order_id            TEXT        NOT NULL,
    order_amount_minor  INTEGER     NOT NULL,
    amount_minor        INTEGER     NOT NULL CHECK (amount_minor >= 0),
    status              TEXT        NOT NULL,
    converted_at        TEXT        NOT NULL,
    hold_until          TEXT        NOT NULL,
    accrual_batch       TEXT        NOT NULL,
    release_batch       TEXT,
    credited_at         TEXT,
    allocated_minor     INTEGER     NOT NULL,
    paid_minor          INTEGER     NOT NULL,
    reversed_minor      INTEGER     NOT NULL,
    credited_minor      INTEGER     NOT NULL,
    PRIMARY KEY (org_id, commission_id),
    CHECK (0 <= reversed_minor AND reversed_minor <= amount_minor),
    CHECK (0 <= credited_minor AND credited_minor <= amount_minor),
    CHECK (credited_at IS NOT NULL OR (credited_minor = 0 AND allocated_minor = 0 AND paid_minor = 0)),
    CHECK (-amount_minor <= allocated_minor AND allocated_minor <= amount_minor),
    CHECK (-amount_minor <= paid_minor AND paid_minor <= amount_minor)
) STRICT;
INSERT INTO commissions_new
    SELECT org_id, commission_id, affiliate_id, program_id, currency, order_id, order_amount_minor,
           amount_minor, status, converted_at, hold_until, accrual_batch, release_batch, credited_at,
           allocated_minor, paid_minor, 0, CASE WHEN credited_at IS NULL THEN 0 ELSE amount_minor END
    FROM commissions;
DROP TABLE commissions;
ALTER TABLE commissions_new RENAME TO commissions;
-- What is due, by program and time: the release job finds its next wallets here.
CREATE INDEX commissions_due
    ON commissions (org_id, program_id, hold_until, affiliate_id, currency) WHERE status = 'held';
-- All that is held in one wallet, so that a batch takes whole wallets.
CREATE INDEX commissions_held
    ON commissions (org_id, affiliate_id, currency, hold_until) WHERE status = 'held';
-- What a payout pays, or nets: first credited first.
CREATE INDEX commissions_open
    ON commissions (org_id, affiliate_id, currency, credited_at, commission_id)
    WHERE credited_at IS NOT NULL AND amount_minor - reversed_minor - allocated_minor <> 0;

-- An order was refunded, in whole or in part. A refund takes back once, however often it is told.
CREATE TABLE reversals (
    org_id         TEXT        NOT NULL,
    commission_id  TEXT        NOT NULL,
    refund_id      TEXT        NOT NULL,
    amount_minor   INTEGER     NOT NULL CHECK (amount_minor > 0),
    is_whole       INTEGER     NOT NULL CHECK (is_whole IN (0, 1)),
    from_bucket    TEXT        NOT NULL CHECK (from_bucket IN ('held', 'available')),
    reason         TEXT        NOT NULL,
    actor          TEXT        NOT NULL,
    occurred_at    TEXT        NOT NULL,
    PRIMARY KEY (org_id, commission_id, refund_id)
) STRICT;

-- What a person added to a wallet or took from it: an open item, as a commission is.
CREATE TABLE adjustments (
    org_id           TEXT        NOT NULL,
    adjustment_id    TEXT        NOT NULL,
    affiliate_id     TEXT        NOT NULL,
    currency         TEXT        NOT NULL,
    amount_minor     INTEGER     NOT NULL CHECK (amount_minor <> 0),
    allocated_minor  INTEGER     NOT NULL,
    paid_minor       INTEGER     NOT NULL,
    reason           TEXT        NOT NULL,
    actor            TEXT        NOT NULL,
    occurred_at      TEXT        NOT NULL,
    PRIMARY KEY (org_id, adjustment_id),
    CHECK ((0 <= paid_minor AND paid_minor <= allocated_minor AND allocated_minor <= amount_minor)
        OR (amount_minor <= allocated_minor AND allocated_minor <= paid_minor AND paid_minor <= 0))
) STRICT;
CREATE INDEX adjustments_open
    ON adjustments (org_id, affiliate_id, currency, occurred_at, adjustment_id)
    WHERE amount_minor - allocated_minor <> 0;

-- A line pays, or nets, either a commission or an adjustment.
CREATE TABLE payout_lines_new (
    org_id         TEXT   NOT NULL,
    payout_id      TEXT   NOT NULL,
    line_no        INTEGER NOT NULL,
    commission_id  TEXT,
    amount_minor   INTEGER NOT NULL CHECK (amount_minor <> 0),
    adjustment_id  TEXT,
    PRIMARY KEY (org_id, payout_id, line_no),
    CHECK ((commission_id IS NULL) <> (adjustment_id IS NULL))
) STRICT;
INSERT INTO payout_lines_new
    SELECT org_id, payout_id, line_no, commission_id, amount_minor, NULL FROM payout_lines;
DROP TABLE payout_lines;
ALTER TABLE payout_lines_new RENAME TO payout_lines;
CREATE INDEX payout_lines_commission ON payout_lines (org_id, commission_id);
CREATE INDEX payout_lines_adjustment
    ON payout_lines (org_id, payout_id, adjustment_id) WHERE adjustment_id IS NOT NULL;

-- A payout of more than this waits for somebody's approval; NULL: none does.
ALTER TABLE program_currencies ADD COLUMN approval_minor INTEGER CHECK (approval_minor >= 0);
ALTER TABLE payouts ADD COLUMN requires_approval INTEGER NOT NULL DEFAULT 0
    CHECK (requires_approval IN (0, 1));
ALTER TABLE payouts ADD COLUMN approved_by TEXT;
ALTER TABLE payouts ADD COLUMN approved_at TEXT;
-- What waits to be sent, oldest first; what waits for an approval is not among it.
DROP INDEX payouts_queued;
CREATE INDEX payouts_queued ON payouts (org_id, method_kind, currency, payout_id)
    WHERE status = 'approved' OR (status = 'pending' AND requires_approval = 0);

-- Who froze a wallet, when and why.
ALTER TABLE wallets ADD COLUMN frozen_by TEXT;
ALTER TABLE wallets ADD COLUMN frozen_at TEXT;
ALTER TABLE wallets ADD COLUMN frozen_reason TEXT;
