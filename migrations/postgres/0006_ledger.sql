-- Reversals, adjustments, approvals, frozen wallets. Lines of a payout may be negative from here on:
-- that is how a debt is netted.
-- The twin of this file is migrations/sqlite/0006_ledger.sql.

-- `reversed` is the sum of the commission's reversals, `credited` what became available when it was
-- credited. What is open of a credited commission is amount - reversed - allocated: below 0 it is a
-- debt. While one payout nets a debt that another one is still to pay, less than 0 may be allocated
-- or paid.
ALTER TABLE commissions ADD COLUMN reversed_minor BIGINT NOT NULL DEFAULT 0;
ALTER TABLE commissions ADD COLUMN credited_minor BIGINT NOT NULL DEFAULT 0;
UPDATE commissions SET credited_minor = amount_minor WHERE credited_at IS NOT NULL;
ALTER TABLE commissions ALTER COLUMN reversed_minor DROP DEFAULT;
ALTER TABLE commissions ALTER COLUMN credited_minor DROP DEFAULT;
ALTER TABLE commissions DROP CONSTRAINT commissions_check;
ALTER TABLE commissions
    ADD CHECK (0 <= reversed_minor AND reversed_minor <= amount_minor),
    ADD CHECK (0 <= credited_minor AND credited_minor <= amount_minor),
    ADD CHECK (credited_at IS NOT NULL OR (credited_minor = 0 AND allocated_minor = 0 AND paid_minor = 0)),
    ADD CHECK (-amount_minor <= allocated_minor AND allocated_minor <= amount_minor),
    ADD CHECK (-amount_minor <= paid_minor AND paid_minor <= amount_minor);
-- What a payout pays, or nets: first credited first.
DROP INDEX commissions_open;
CREATE INDEX commissions_open
    ON commissions (org_id, affiliate_id, currency, credited_at, commission_id)
    WHERE credited_at IS NOT NULL AND amount_minor - reversed_minor - allocated_minor <> 0;

-- An order was refunded, in whole or in part. A refund takes back once, however often it is told.
CREATE TABLE reversals (
    org_id         TEXT        NOT NULL,
    commission_id  TEXT        NOT NULL,
    refund_id      TEXT        NOT NULL,
    amount_minor   BIGINT      NOT NULL CHECK (amount_minor > 0),
    is_whole       BIGINT      NOT NULL CHECK (is_whole IN (0, 1)),
    from_bucket    TEXT        NOT NULL CHECK (from_bucket IN ('held', 'available')),
    reason         TEXT        NOT NULL,
    actor          TEXT        NOT NULL,
    occurred_at    TIMESTAMPTZ NOT NULL,
    PRIMARY KEY (org_id, commission_id, refund_id)
);

-- What a person added to a wallet or took from it: an open item, as a commission is.
CREATE TABLE adjustments (
    org_id           TEXT        NOT NULL,
    adjustment_id    TEXT        NOT NULL,
    affiliate_id     TEXT        NOT NULL,
    currency         TEXT        NOT NULL,
    amount_minor     BIGINT      NOT NULL CHECK (amount_minor <> 0),
    allocated_minor  BIGINT      NOT NULL,
    paid_minor       BIGINT      NOT NULL,
    reason           TEXT        NOT NULL,
    actor            TEXT        NOT NULL,
    occurred_at      TIMESTAMPTZ NOT NULL,
    PRIMARY KEY (org_id, adjustment_id),
    CHECK ((0 <= paid_minor AND paid_minor <= allocated_minor AND allocated_minor <= amount_minor)
        OR (amount_minor <= allocated_minor AND allocated_minor <= paid_minor AND paid_minor <= 0))
);
CREATE INDEX adjustments_open
    ON adjustments (org_id, affiliate_id, currency, occurred_at, adjustment_id)
    WHERE amount_minor - allocated_minor <> 0;

-- A line pays, or nets, either a commission or an adjustment.
ALTER TABLE payout_lines ALTER COLUMN commission_id DROP NOT NULL;
ALTER TABLE payout_lines ADD COLUMN adjustment_id TEXT;
ALTER TABLE payout_lines DROP CONSTRAINT payout_lines_amount_minor_check;
ALTER TABLE payout_lines
    ADD CHECK (amount_minor <> 0),
    ADD CHECK ((commission_id IS NULL) <> (adjustment_id IS NULL));
CREATE INDEX payout_lines_adjustment
    ON payout_lines (org_id, payout_id, adjustment_id) WHERE adjustment_id IS NOT NULL;

-- A payout of more than this waits for somebody's approval; NULL: none does.
ALTER TABLE program_currencies ADD COLUMN approval_minor BIGINT CHECK (approval_minor >= 0);
ALTER TABLE payouts ADD COLUMN requires_approval BIGINT NOT NULL DEFAULT 0
    CHECK (requires_approval IN (0, 1));
ALTER TABLE payouts ADD COLUMN approved_by TEXT;
ALTER TABLE payouts ADD COLUMN approved_at TIMESTAMPTZ;
-- What waits to be sent, oldest first; what waits for an approval is not among it.
DROP INDEX payouts_queued;
CREATE INDEX payouts_queued ON payouts (org_id, method_kind, currency, payout_id)
    WHERE status = 'approved' OR (status = 'pending' AND requires_approval = 0);

-- Who froze a wallet, when and why.
ALTER TABLE wallets ADD COLUMN frozen_by TEXT;
ALTER TABLE wallets ADD COLUMN frozen_at TIMESTAMPTZ;
ALTER TABLE wallets ADD COLUMN frozen_reason TEXT;
