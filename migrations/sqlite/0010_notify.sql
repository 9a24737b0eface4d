-- What is told to others: where to, what, and how far each delivery got.
-- The twin of this file is migrations/postgres/0010_notify.sql.

-- Where an org wants to be told. A deleted one stays for the deliveries that name it; its secrets
-- are gone.
CREATE TABLE webhook_endpoints (
    org_id              TEXT    NOT NULL,
    endpoint_id         TEXT    NOT NULL,
    url                 TEXT    NOT NULL,
    description         TEXT    NOT NULL,
    -- The kinds that it wants, as a JSON array: "payout.completed", "payout.*", "*".
    wants               TEXT    NOT NULL,
    enabled             INTEGER NOT NULL,
    disabled_because    TEXT,
    -- Sealed by the vault; NULL once it is deleted.
    sealed_secret       TEXT,
    -- After a rotation both sign, until the old one ends.
    sealed_old_secret   TEXT,
    old_secret_until    TEXT,
    created_by          TEXT    NOT NULL,
    created_at          TEXT    NOT NULL,
    updated_at          TEXT    NOT NULL,
    deleted_at          TEXT,
    PRIMARY KEY (org_id, endpoint_id)
) STRICT;

-- What happened, written in the transaction that made it happen: the very bytes that are sent,
-- however often.
CREATE TABLE webhook_events (
    org_id       TEXT NOT NULL,
    event_id     TEXT NOT NULL,
    kind         TEXT NOT NULL,
    subject      TEXT NOT NULL,
    body         TEXT NOT NULL,
    occurred_at  TEXT NOT NULL,
    PRIMARY KEY (org_id, event_id)
) STRICT;
CREATE INDEX webhook_events_occurred ON webhook_events (org_id, occurred_at, event_id);

-- One event on its way to one endpoint.
CREATE TABLE webhook_deliveries (
    org_id           TEXT    NOT NULL,
    event_id         TEXT    NOT NULL,
    endpoint_id      TEXT    NOT NULL,
    status           TEXT    NOT NULL,
    -- All that were ever made; it only grows, so it fences the record of each.
    attempts         INTEGER NOT NULL,
    -- Those that failed since it was put into the queue: its place in the schedule of retries.
    failures         INTEGER NOT NULL,
    -- When it is due, or due again if whoever sends it is never heard of again. NULL: it is over.
    next_attempt_at  TEXT,
    -- Until when somebody sends it.
    claimed_until    TEXT,
    last_attempt_at  TEXT,
    last_status      INTEGER,
    last_problem     TEXT,
    delivered_at     TEXT,
    created_at       TEXT    NOT NULL,
    PRIMARY KEY (org_id, event_id, endpoint_id)
) STRICT;
CREATE INDEX webhook_deliveries_due
    ON webhook_deliveries (org_id, endpoint_id, next_attempt_at) WHERE next_attempt_at IS NOT NULL;
CREATE INDEX webhook_deliveries_of_endpoint ON webhook_deliveries (org_id, endpoint_id, event_id);
