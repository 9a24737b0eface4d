-- Account numbers sealed: each org's data keys, destinations as rows of their own, and what
-- letters and webhooks say.
-- The twin of this file is migrations/postgres/0007_vault.sql.

-- Keys of an org, wrapped by a master key that is not in the database. `seal` keys seal, and are
-- retired by a rotation; the `index` key makes fingerprints, and is never changed.
CREATE TABLE org_keys (
    org_id         TEXT NOT NULL,
    key_id         TEXT NOT NULL,
    purpose        TEXT NOT NULL,
    master_key_id  TEXT NOT NULL,
    wrapped        TEXT NOT NULL,
    created_at     TEXT NOT NULL,
    retired_at     TEXT,
    PRIMARY KEY (org_id, key_id)
) STRICT;
CREATE UNIQUE INDEX org_keys_current ON org_keys (org_id, purpose) WHERE retired_at IS NULL;

-- Where money goes. Never changed, but for the key that it is sealed under: a destination that
-- changes is a new row, and what points to the old one still goes there.
CREATE TABLE destinations (
    org_id          TEXT NOT NULL,
    destination_id  TEXT NOT NULL,
    kind            TEXT NOT NULL,
    sealed          TEXT NOT NULL,
    key_id          TEXT NOT NULL,
    last4           TEXT,
    fingerprint     TEXT NOT NULL,
    blind_index     TEXT,
    created_at      TEXT NOT NULL,
    PRIMARY KEY (org_id, destination_id)
) STRICT;
-- Who else is paid to the same account.
CREATE INDEX destinations_account ON destinations (org_id, blind_index);
-- What a rotation has still to seal anew.
CREATE INDEX destinations_key ON destinations (org_id, key_id);

-- What was kept in the open before this migration. The program seals it right after, and takes it
-- out of here; `counters.unsealed` stands until the file itself is cleared of it as well.
CREATE TABLE unsealed (
    org_id       TEXT NOT NULL,
    place        TEXT NOT NULL,
    method_kind  TEXT NOT NULL,
    row_id       TEXT NOT NULL,
    plaintext    TEXT NOT NULL,
    created_at   TEXT NOT NULL,
    PRIMARY KEY (org_id, place, method_kind, row_id)
) STRICT;

ALTER TABLE payout_methods ADD COLUMN destination_id TEXT NOT NULL DEFAULT '';
ALTER TABLE payouts ADD COLUMN destination_id TEXT NOT NULL DEFAULT '';
UPDATE payout_methods SET destination_id = 'de_m' || substr(method_id, 4);
-- A payout that is pinned to what its method still is shares its row; one that is pinned to what
-- the method was shares that of the others of that time.
UPDATE payouts SET destination_id = COALESCE(
    (SELECT m.destination_id FROM payout_methods m
     WHERE m.org_id = payouts.org_id AND m.method_id = payouts.method_id
       AND m.kind = payouts.method_kind AND m.destination = payouts.destination),
    (SELECT 'de_p' || substr(MIN(o.payout_id), 4) FROM payouts o
     WHERE o.org_id = payouts.org_id AND o.affiliate_id = payouts.affiliate_id
       AND o.method_id = payouts.method_id AND o.method_kind = payouts.method_kind
       AND o.destination = payouts.destination));
INSERT INTO unsealed (org_id, place, method_kind, row_id, plaintext, created_at)
    SELECT org_id, 'destination', kind, destination_id, destination, created_at
    FROM payout_methods;
INSERT INTO unsealed (org_id, place, method_kind, row_id, plaintext, created_at)
    SELECT org_id, 'destination', method_kind, destination_id, MIN(destination), MIN(requested_at)
    FROM payouts WHERE destination_id LIKE 'de_p%'
    GROUP BY org_id, method_kind, destination_id;
ALTER TABLE payout_methods DROP COLUMN destination;
ALTER TABLE payouts DROP COLUMN destination;

-- Our own account is looked for by its fingerprint.
ALTER TABLE notices ADD COLUMN sealed_account TEXT;
ALTER TABLE notices ADD COLUMN account_index TEXT;
ALTER TABLE notices ADD COLUMN sealed_correction TEXT;
INSERT INTO unsealed (org_id, place, method_kind, row_id, plaintext, created_at)
    SELECT org_id, 'account', '', notice_id, account, received_at
    FROM notices WHERE account IS NOT NULL;
INSERT INTO unsealed (org_id, place, method_kind, row_id, plaintext, created_at)
    SELECT org_id, 'correction', '', notice_id, correction, received_at
    FROM notices WHERE correction <> '{}';
ALTER TABLE notices DROP COLUMN account;
ALTER TABLE notices DROP COLUMN correction;

ALTER TABLE provider_events ADD COLUMN sealed_body TEXT;
INSERT INTO unsealed (org_id, place, method_kind, row_id, plaintext, created_at)
    SELECT org_id, 'body', method_kind, event_id, body, received_at FROM provider_events;
ALTER TABLE provider_events DROP COLUMN body;

INSERT INTO counters (name, value)
    SELECT 'unsealed', COUNT(*) FROM unsealed WHERE true HAVING COUNT(*) > 0;
