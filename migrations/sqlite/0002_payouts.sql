-- Payouts, what they pay, how they are sent, and why somebody was not paid.

CREATE TABLE payouts (
    org_id           TEXT        NOT NULL,
    payout_id        TEXT        NOT NULL,
    affiliate_id     TEXT        NOT NULL,
    program_id       TEXT        NOT NULL,
    currency         TEXT        NOT NULL,
    amount_minor     INTEGER     NOT NULL CHECK (amount_minor > 0),
    method_id        TEXT        NOT NULL,
    method_kind      TEXT        NOT NULL,
    destination      TEXT        NOT NULL,
    status           TEXT        NOT NULL,
    version          INTEGER     NOT NULL,
    origin           TEXT        NOT NULL,
    period           TEXT,
    run_id           TEXT,
    retry_of         TEXT,
    requested_by     TEXT        NOT NULL,
    requested_at     TEXT        NOT NULL,
    updated_at       TEXT        NOT NULL,
    failure_code     TEXT,
    failure_message  TEXT,
    PRIMARY KEY (org_id, payout_id)
) STRICT;
-- One automatic payout per wallet and period, whoever runs the job and how often.
CREATE UNIQUE INDEX payouts_period
    ON payouts (org_id, affiliate_id, currency, period) WHERE origin = 'auto';
-- A failed payout is retried once; if that one fails too, it is the one to retry.
CREATE UNIQUE INDEX payouts_retry ON payouts (org_id, retry_of) WHERE retry_of IS NOT NULL;
-- What waits to be sent, oldest first.
CREATE INDEX payouts_queued
    ON payouts (org_id, method_kind, currency, payout_id) WHERE status IN ('pending', 'approved');
CREATE INDEX payouts_of_affiliate ON payouts (org_id, affiliate_id, payout_id);

-- What a payout pays; the lines of a payout sum to its amount.
CREATE TABLE payout_lines (
    org_id         TEXT   NOT NULL,
    payout_id      TEXT   NOT NULL,
    line_no        INTEGER NOT NULL,
    commission_id  TEXT   NOT NULL,
    amount_minor   INTEGER NOT NULL CHECK (amount_minor > 0),
    PRIMARY KEY (org_id, payout_id, line_no)
) STRICT;
CREATE INDEX payout_lines_commission ON payout_lines (org_id, commission_id);

-- Every status a payout has had, with who and why. `version` is the payout's own, from 1.
CREATE TABLE payout_events (
    org_id       TEXT        NOT NULL,
    payout_id    TEXT        NOT NULL,
    version      INTEGER     NOT NULL,
    status       TEXT        NOT NULL,
    actor        TEXT        NOT NULL,
    reason       TEXT        NOT NULL,
    occurred_at  TEXT        NOT NULL,
    PRIMARY KEY (org_id, payout_id, version)
) STRICT;

-- One call, or one file, at a provider: its members and its bytes are fixed before it is sent.
CREATE TABLE submissions (
    org_id             TEXT        NOT NULL,
    submission_id      TEXT        NOT NULL,
    method_kind        TEXT        NOT NULL,
    currency           TEXT        NOT NULL,
    reference          TEXT        NOT NULL,
    state              TEXT        NOT NULL,
    body_hash          TEXT        NOT NULL,
    provider_batch_id  TEXT,
    sends              INTEGER     NOT NULL,
    first_sent_at      TEXT,
    lease_token        TEXT,
    lease_until        TEXT,
    next_attempt_at    TEXT,
    next_check_at      TEXT,
    checks             INTEGER     NOT NULL,
    refusals           INTEGER     NOT NULL,
    refused_since      TEXT,
    problem_code       TEXT,
    problem_message    TEXT,
    created_at         TEXT        NOT NULL,
    updated_at         TEXT        NOT NULL,
    PRIMARY KEY (org_id, submission_id)
) STRICT;
CREATE UNIQUE INDEX submissions_reference ON submissions (org_id, reference);
CREATE INDEX submissions_to_send
    ON submissions (org_id, next_attempt_at) WHERE state = 'prepared';
CREATE INDEX submissions_in_hand
    ON submissions (org_id, lease_until) WHERE state = 'sending';
CREATE INDEX submissions_to_check
    ON submissions (org_id, next_check_at) WHERE next_check_at IS NOT NULL;

-- One attempt to move a payout's money.
CREATE TABLE transfers (
    org_id           TEXT        NOT NULL,
    transfer_id      TEXT        NOT NULL,
    submission_id    TEXT        NOT NULL,
    position         INTEGER     NOT NULL,
    payout_id        TEXT        NOT NULL,
    affiliate_id     TEXT        NOT NULL,
    currency         TEXT        NOT NULL,
    amount_minor     INTEGER     NOT NULL CHECK (amount_minor > 0),
    reference        TEXT        NOT NULL,
    state            TEXT        NOT NULL,
    provider_id      TEXT,
    provider_status  TEXT,
    problem_code     TEXT,
    problem_message  TEXT,
    created_at       TEXT        NOT NULL,
    updated_at       TEXT        NOT NULL,
    settled_at       TEXT,
    PRIMARY KEY (org_id, transfer_id)
) STRICT;
CREATE UNIQUE INDEX transfers_reference ON transfers (org_id, reference);
CREATE UNIQUE INDEX transfers_position ON transfers (org_id, submission_id, position);
-- At most one live or won attempt per payout: the index that forbids paying twice.
CREATE UNIQUE INDEX transfers_live
    ON transfers (org_id, payout_id) WHERE state NOT IN ('rejected', 'returned');
CREATE INDEX transfers_of_payout ON transfers (org_id, payout_id);

-- Per run, affiliate and currency: paid or skipped, every failing gate, the numbers.
CREATE TABLE decisions (
    org_id           TEXT        NOT NULL,
    run_id           TEXT        NOT NULL,
    affiliate_id     TEXT        NOT NULL,
    currency         TEXT        NOT NULL,
    program_id       TEXT        NOT NULL,
    available_minor  INTEGER     NOT NULL,
    payout_id        TEXT,
    first_gate       TEXT,
    failing_gates    TEXT        NOT NULL,
    decided_at       TEXT        NOT NULL,
    PRIMARY KEY (org_id, run_id, affiliate_id, currency)
) STRICT;
CREATE INDEX decisions_of_affiliate ON decisions (org_id, affiliate_id, decided_at);
