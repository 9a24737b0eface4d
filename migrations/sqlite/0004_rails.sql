-- What the rails tell, what is short, what does not agree, and who has to look.
-- The twin of this file is migrations/postgres/0004_rails.sql.

-- Numbers without a second use, by what they count. They belong to the installation: all orgs
-- share its accounts at the providers.
CREATE TABLE counters (
    name   TEXT    NOT NULL PRIMARY KEY,
    value  INTEGER NOT NULL
) STRICT;

-- The submission's number on its rail, over all orgs.
ALTER TABLE submissions ADD COLUMN sequence INTEGER NOT NULL DEFAULT 0;
-- Until when somebody asks the provider about it: nothing is decided about it meanwhile.
ALTER TABLE submissions ADD COLUMN claimed_until TEXT;
-- What a person may want to know beside a transfer's state; it changes nothing.
ALTER TABLE transfers ADD COLUMN note TEXT;
-- Why a payout that could be sent is not sent yet.
ALTER TABLE payouts ADD COLUMN waiting_for TEXT;
-- Why a method has the status it has, where the rail said so.
ALTER TABLE payout_methods ADD COLUMN status_code TEXT;
ALTER TABLE payout_methods ADD COLUMN status_reason TEXT;

-- Files that a rail left for us. They belong to the installation, as its inboxes do.
CREATE TABLE letters (
    letter_hash  TEXT    NOT NULL PRIMARY KEY,
    method_kind  TEXT    NOT NULL,
    name         TEXT    NOT NULL,
    kind         TEXT    NOT NULL,
    notices      INTEGER NOT NULL,
    unmatched    INTEGER NOT NULL,
    problem      TEXT,
    received_at  TEXT    NOT NULL
) STRICT;
CREATE INDEX letters_received ON letters (received_at);

-- What a letter says of one transfer, in order of arrival. Never changed.
CREATE TABLE notices (
    org_id         TEXT    NOT NULL,
    notice_id      TEXT    NOT NULL,
    transfer_id    TEXT    NOT NULL,
    submission_id  TEXT    NOT NULL,
    letter_hash    TEXT    NOT NULL,
    word           TEXT    NOT NULL,
    code           TEXT,
    message        TEXT,
    amount_minor   INTEGER,
    currency       TEXT,
    provider_id    TEXT,
    account        TEXT,
    said_on        TEXT,
    correction     TEXT    NOT NULL,
    received_at    TEXT    NOT NULL,
    PRIMARY KEY (org_id, notice_id)
) STRICT;
CREATE INDEX notices_of_submission ON notices (org_id, submission_id, notice_id);

-- Webhooks as they arrived. An event that is delivered again is counted, not kept twice.
CREATE TABLE provider_events (
    org_id        TEXT    NOT NULL,
    method_kind   TEXT    NOT NULL,
    event_id      TEXT    NOT NULL,
    event_type    TEXT    NOT NULL,
    body          TEXT    NOT NULL,
    matched       INTEGER NOT NULL,
    deliveries    INTEGER NOT NULL,
    received_at   TEXT    NOT NULL,
    last_seen_at  TEXT    NOT NULL,
    PRIMARY KEY (org_id, method_kind, event_id)
) STRICT;
CREATE INDEX provider_events_received ON provider_events (org_id, received_at);

-- Rails that are left alone for a while, because of us and not of a payee.
CREATE TABLE circuits (
    org_id       TEXT NOT NULL,
    method_kind  TEXT NOT NULL,
    currency     TEXT NOT NULL,
    reason       TEXT NOT NULL,
    message      TEXT NOT NULL,
    opened_at    TEXT NOT NULL,
    retry_at     TEXT NOT NULL,
    PRIMARY KEY (org_id, method_kind, currency)
) STRICT;

-- What a person has to look at: one row per cause, however often it is met.
CREATE TABLE alerts (
    org_id      TEXT    NOT NULL,
    alert_id    TEXT    NOT NULL,
    kind        TEXT    NOT NULL,
    subject     TEXT    NOT NULL,
    message     TEXT    NOT NULL,
    times       INTEGER NOT NULL,
    opened_at   TEXT    NOT NULL,
    last_at     TEXT    NOT NULL,
    closed_at   TEXT,
    closed_by   TEXT,
    note        TEXT,
    PRIMARY KEY (org_id, alert_id)
) STRICT;
CREATE UNIQUE INDEX alerts_open ON alerts (org_id, kind, subject) WHERE closed_at IS NULL;

-- What the provider has and we have not, what we have and it has not, what differs.
CREATE TABLE breaks (
    org_id          TEXT NOT NULL,
    break_id        TEXT NOT NULL,
    kind            TEXT NOT NULL,
    method_kind     TEXT NOT NULL,
    subject         TEXT NOT NULL,
    transfer_id     TEXT,
    payout_id       TEXT,
    currency        TEXT NOT NULL,
    ours_minor      INTEGER,
    theirs_minor    INTEGER,
    source          TEXT NOT NULL,
    reason          TEXT NOT NULL,
    found_at        TEXT NOT NULL,
    closed_at       TEXT,
    closed_by       TEXT,
    note            TEXT,
    PRIMARY KEY (org_id, break_id)
) STRICT;
-- A difference is found once, however often it is looked at; a closed one stays closed. Another
-- amount is another difference.
CREATE UNIQUE INDEX breaks_subject
    ON breaks (org_id, kind, method_kind, subject, COALESCE(theirs_minor, -1));
CREATE INDEX breaks_open ON breaks (org_id, break_id) WHERE closed_at IS NULL;

-- What was sent and is not yet known to have left the balance, by rail.
CREATE INDEX transfers_unheard
    ON transfers (org_id, submission_id) WHERE provider_status IS NULL
        AND state IN ('sending', 'unknown', 'accepted');
-- What settled in the time of a statement.
CREATE INDEX transfers_settled
    ON transfers (org_id, settled_at, transfer_id) WHERE state = 'settled';
-- A transfer by the provider's own id, for webhooks that know no other.
CREATE INDEX transfers_provider_id ON transfers (org_id, provider_id) WHERE provider_id IS NOT NULL;
-- Files of a rail name references and no org.
CREATE INDEX transfers_by_reference ON transfers (reference);
CREATE INDEX submissions_by_reference ON submissions (reference);
CREATE INDEX submissions_provider_id
    ON submissions (org_id, provider_batch_id) WHERE provider_batch_id IS NOT NULL;
