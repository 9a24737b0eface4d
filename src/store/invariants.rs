//! The invariants, each one query that returns its breaches. `payoutd check` and the nightly
//! audit run them all; the test harness runs them when it is dropped.

use sqlx::FromRow;

use super::dialect::sql;
use super::{Store, StoreError};

/// A rule that always holds, and the query that finds where it does not.
#[derive(Debug, Clone, Copy)]
pub struct Invariant {
    /// Stable number, as in ARCHITECTURE.md.
    pub number: u32,
    pub rule: &'static str,
    breaches: &'static str,
}

/// One place where an invariant does not hold.
#[derive(Debug, Clone, FromRow)]
pub struct Breach {
    pub org_id: String,
    /// The id of what is wrong.
    pub subject: String,
    /// The numbers, as text.
    pub found: String,
}

const fn invariant(number: u32, rule: &'static str, breaches: &'static str) -> Invariant {
    Invariant { number, rule, breaches }
}

// A breach query ends in its breaches (org_id, subject, found); how many are wanted is added.
macro_rules! breaches {
    ($text:literal) => {
        concat!($text, " LIMIT $1")
    };
}

/// Every invariant, by number.
pub const INVARIANTS: &[Invariant] = &[
    invariant(
        1,
        "a wallet's buckets are the sum of its entries",
        breaches!(
            "SELECT w.org_id, w.affiliate_id || ' ' || w.currency AS subject,
                'wallet ' || w.held_minor || '/' || w.available_minor || '/' || w.in_flight_minor || '/' || w.paid_minor
                || ', entries ' || COALESCE(e.held, 0) || '/' || COALESCE(e.available, 0) || '/'
                || COALESCE(e.in_flight, 0) || '/' || COALESCE(e.paid, 0) AS found
             FROM wallets w LEFT JOIN (
                SELECT org_id, affiliate_id, currency,
                    SUM(CASE WHEN to_bucket = 'held' THEN amount_minor WHEN from_bucket = 'held' THEN -amount_minor ELSE 0 END) AS held,
                    SUM(CASE WHEN to_bucket = 'available' THEN amount_minor WHEN from_bucket = 'available' THEN -amount_minor ELSE 0 END) AS available,
                    SUM(CASE WHEN to_bucket = 'in_flight' THEN amount_minor WHEN from_bucket = 'in_flight' THEN -amount_minor ELSE 0 END) AS in_flight,
                    SUM(CASE WHEN to_bucket = 'paid' THEN amount_minor WHEN from_bucket = 'paid' THEN -amount_minor ELSE 0 END) AS paid
                FROM entries GROUP BY org_id, affiliate_id, currency) e
             ON e.org_id = w.org_id AND e.affiliate_id = w.affiliate_id AND e.currency = w.currency
             WHERE w.held_minor <> COALESCE(e.held, 0) OR w.available_minor <> COALESCE(e.available, 0)
                OR w.in_flight_minor <> COALESCE(e.in_flight, 0) OR w.paid_minor <> COALESCE(e.paid, 0)"
        ),
    ),
    invariant(
        2,
        "a wallet's entries are gapless from 1 to its version, and every entry has a wallet",
        breaches!(
            "SELECT e.org_id, e.affiliate_id || ' ' || e.currency AS subject,
                'wallet version ' || COALESCE(w.version, -1) || ', ' || e.entries || ' entries up to ' || e.last AS found
             FROM (SELECT org_id, affiliate_id, currency, COUNT(*) AS entries, MIN(version) AS first, MAX(version) AS last
                   FROM entries GROUP BY org_id, affiliate_id, currency) e
             LEFT JOIN wallets w ON w.org_id = e.org_id AND w.affiliate_id = e.affiliate_id AND w.currency = e.currency
             WHERE w.version IS NULL OR e.first <> 1 OR e.entries <> e.last OR e.last <> w.version
             UNION ALL
             SELECT w.org_id, w.affiliate_id || ' ' || w.currency, 'wallet version ' || w.version || ', no entries'
             FROM wallets w
             WHERE w.version <> 0 AND NOT EXISTS (
                SELECT 1 FROM entries e WHERE e.org_id = w.org_id AND e.affiliate_id = w.affiliate_id
                   AND e.currency = w.currency)"
        ),
    ),
    invariant(
        3,
        "the balances after each entry follow from the entry before it",
        breaches!(
            "SELECT org_id, affiliate_id || ' ' || currency AS subject, 'entry ' || version AS found
             FROM (SELECT org_id, affiliate_id, currency, version, kind, from_bucket, to_bucket, amount_minor,
                    held_after - COALESCE(LAG(held_after) OVER chain, 0) AS held,
                    available_after - COALESCE(LAG(available_after) OVER chain, 0) AS available,
                    in_flight_after - COALESCE(LAG(in_flight_after) OVER chain, 0) AS in_flight,
                    paid_after - COALESCE(LAG(paid_after) OVER chain, 0) AS paid
                   FROM entries WINDOW chain AS (PARTITION BY org_id, affiliate_id, currency ORDER BY version)) e
             WHERE held <> (CASE WHEN to_bucket = 'held' THEN amount_minor WHEN from_bucket = 'held' THEN -amount_minor ELSE 0 END)
                OR available <> (CASE WHEN to_bucket = 'available' THEN amount_minor WHEN from_bucket = 'available' THEN -amount_minor ELSE 0 END)
                OR in_flight <> (CASE WHEN to_bucket = 'in_flight' THEN amount_minor WHEN from_bucket = 'in_flight' THEN -amount_minor ELSE 0 END)
                OR paid <> (CASE WHEN to_bucket = 'paid' THEN amount_minor WHEN from_bucket = 'paid' THEN -amount_minor ELSE 0 END)"
        ),
    ),
    invariant(
        4,
        "held, in flight and paid are never below 0; available only after a reversal or an adjustment, and never by a request",
        breaches!(
            "SELECT w.org_id, w.affiliate_id || ' ' || w.currency AS subject, 'available ' || w.available_minor AS found
             FROM wallets w
             WHERE w.held_minor < 0 OR w.in_flight_minor < 0 OR w.paid_minor < 0
                OR (w.available_minor < 0 AND NOT EXISTS (
                    SELECT 1 FROM entries e WHERE e.org_id = w.org_id AND e.affiliate_id = w.affiliate_id
                       AND e.currency = w.currency AND e.kind IN ('reverse', 'adjust')))
             UNION ALL
             SELECT e.org_id, e.entry_key AS subject, 'available ' || e.available_after AS found
             FROM entries e WHERE e.kind = 'request' AND e.available_after < 0"
        ),
    ),
    invariant(
        5,
        "held is the sum of the held commissions without what was reversed, available of what is open of the credited ones and of the adjustments",
        breaches!(
            "SELECT w.org_id, w.affiliate_id || ' ' || w.currency AS subject,
                'wallet ' || w.held_minor || '/' || w.available_minor || ', items '
                || COALESCE(c.held, 0) || '/' || (COALESCE(c.open, 0) + COALESCE(a.open, 0)) AS found
             FROM wallets w
             LEFT JOIN (
                SELECT org_id, affiliate_id, currency,
                    SUM(CASE WHEN status = 'held' THEN amount_minor - reversed_minor ELSE 0 END) AS held,
                    SUM(CASE WHEN credited_at IS NOT NULL THEN amount_minor - reversed_minor - allocated_minor ELSE 0 END) AS open
                FROM commissions GROUP BY org_id, affiliate_id, currency) c
             ON c.org_id = w.org_id AND c.affiliate_id = w.affiliate_id AND c.currency = w.currency
             LEFT JOIN (
                SELECT org_id, affiliate_id, currency, SUM(amount_minor - allocated_minor) AS open
                FROM adjustments GROUP BY org_id, affiliate_id, currency) a
             ON a.org_id = w.org_id AND a.affiliate_id = w.affiliate_id AND a.currency = w.currency
             WHERE w.held_minor <> COALESCE(c.held, 0)
                OR w.available_minor <> COALESCE(c.open, 0) + COALESCE(a.open, 0)"
        ),
    ),
    invariant(
        6,
        "in flight is the sum of the open payouts, paid of the completed ones",
        breaches!(
            "SELECT w.org_id, w.affiliate_id || ' ' || w.currency AS subject,
                'wallet ' || w.in_flight_minor || '/' || w.paid_minor || ', payouts '
                || COALESCE(p.open, 0) || '/' || COALESCE(p.completed, 0) AS found
             FROM wallets w LEFT JOIN (
                SELECT org_id, affiliate_id, currency,
                    SUM(CASE WHEN status IN ('pending', 'approved', 'processing') THEN amount_minor ELSE 0 END) AS open,
                    SUM(CASE WHEN status = 'completed' THEN amount_minor ELSE 0 END) AS completed
                FROM payouts GROUP BY org_id, affiliate_id, currency) p
             ON p.org_id = w.org_id AND p.affiliate_id = w.affiliate_id AND p.currency = w.currency
             WHERE w.in_flight_minor <> COALESCE(p.open, 0) OR w.paid_minor <> COALESCE(p.completed, 0)"
        ),
    ),
    invariant(
        7,
        "the lines of a payout sum to its amount",
        breaches!(
            "SELECT p.org_id, p.payout_id AS subject,
                'amount ' || p.amount_minor || ', lines ' || COALESCE(l.amount, 0) AS found
             FROM payouts p LEFT JOIN (
                SELECT org_id, payout_id, SUM(amount_minor) AS amount FROM payout_lines GROUP BY org_id, payout_id) l
             ON l.org_id = p.org_id AND l.payout_id = p.payout_id
             WHERE p.amount_minor <> COALESCE(l.amount, 0)"
        ),
    ),
    invariant(
        8,
        "a commission or adjustment is allocated and paid exactly as the lines of its payouts say, and a commission's status follows from that and from what was reversed",
        breaches!(
            "SELECT i.org_id, i.item AS subject,
                i.status || ' ' || i.allocated_minor || '/' || i.paid_minor || ', lines '
                || COALESCE(l.allocated, 0) || '/' || COALESCE(l.paid, 0) AS found
             FROM (SELECT org_id, commission_id AS item, 'commission' AS kind, status, allocated_minor, paid_minor,
                    CASE WHEN status IN ('pending', 'rejected') THEN status
                         WHEN amount_minor > 0 AND reversed_minor = amount_minor THEN 'reversed'
                         WHEN credited_at IS NULL THEN 'held'
                         WHEN paid_minor > 0 AND paid_minor >= amount_minor - reversed_minor THEN 'paid'
                         ELSE 'qualified' END AS expected
                   FROM commissions
                   UNION ALL
                   SELECT org_id, adjustment_id, 'adjustment', '', allocated_minor, paid_minor, '' FROM adjustments) i
             LEFT JOIN (
                SELECT l.org_id, COALESCE(l.commission_id, l.adjustment_id) AS item,
                    CASE WHEN l.commission_id IS NULL THEN 'adjustment' ELSE 'commission' END AS kind,
                    SUM(CASE WHEN p.status IN ('pending', 'approved', 'processing', 'completed') THEN l.amount_minor ELSE 0 END) AS allocated,
                    SUM(CASE WHEN p.status = 'completed' THEN l.amount_minor ELSE 0 END) AS paid
                FROM payout_lines l JOIN payouts p ON p.org_id = l.org_id AND p.payout_id = l.payout_id
                GROUP BY 1, 2, 3) l
             ON l.org_id = i.org_id AND l.item = i.item AND l.kind = i.kind
             WHERE i.allocated_minor <> COALESCE(l.allocated, 0) OR i.paid_minor <> COALESCE(l.paid, 0)
                OR i.status <> i.expected"
        ),
    ),
    invariant(
        9,
        "each release entry is the sum of what the commissions that carry its batch were credited",
        breaches!(
            "SELECT e.org_id, e.entry_key AS subject,
                'entry ' || e.amount_minor || ', commissions ' || COALESCE(c.amount, 0) AS found
             FROM entries e LEFT JOIN (
                SELECT org_id, affiliate_id, currency, release_batch, SUM(credited_minor) AS amount
                FROM commissions WHERE release_batch IS NOT NULL
                GROUP BY org_id, affiliate_id, currency, release_batch) c
             ON c.org_id = e.org_id AND c.affiliate_id = e.affiliate_id AND c.currency = e.currency
                AND e.entry_key = 'release:' || c.release_batch || ':' || e.affiliate_id || ':' || e.currency
             WHERE e.kind = 'release' AND e.amount_minor <> COALESCE(c.amount, 0)"
        ),
    ),
    invariant(
        10,
        "a payout has at most one live or won transfer, of its own amount",
        breaches!(
            "SELECT t.org_id, t.payout_id AS subject, COUNT(*) || ' live transfers' AS found
             FROM transfers t JOIN payouts p ON p.org_id = t.org_id AND p.payout_id = t.payout_id
             WHERE t.state NOT IN ('rejected', 'returned')
             GROUP BY t.org_id, t.payout_id, p.amount_minor
             HAVING COUNT(*) > 1 OR SUM(t.amount_minor) <> p.amount_minor"
        ),
    ),
    invariant(
        11,
        "a payout and its transfers tell one story: completed is settled, processing is under way, the rest is not sent",
        breaches!(
            "SELECT p.org_id, p.payout_id AS subject, p.status || ' with transfer ' || COALESCE(t.state, 'none') AS found
             FROM payouts p
             LEFT JOIN transfers t ON t.org_id = p.org_id AND t.payout_id = p.payout_id
                AND t.state NOT IN ('rejected', 'returned')
             WHERE (p.status = 'completed') <> (COALESCE(t.state, '') = 'settled')
                OR (p.status = 'processing') <> (COALESCE(t.state, '') IN ('prepared', 'sending', 'unknown', 'accepted'))"
        ),
    ),
    invariant(
        12,
        "there is one automatic payout per affiliate, currency and period",
        breaches!(
            "SELECT org_id, affiliate_id || ' ' || currency || ' ' || period AS subject, COUNT(*) || ' payouts' AS found
             FROM payouts WHERE origin = 'auto'
             GROUP BY org_id, affiliate_id, currency, period HAVING COUNT(*) > 1"
        ),
    ),
    invariant(
        13,
        "no payout under way is forgotten: its submission has a next send, a next check or a lease",
        breaches!(
            "SELECT p.org_id, p.payout_id AS subject, 'submission ' || s.submission_id || ' is ' || s.state AS found
             FROM payouts p
             JOIN transfers t ON t.org_id = p.org_id AND t.payout_id = p.payout_id AND t.state NOT IN ('rejected', 'returned')
             JOIN submissions s ON s.org_id = t.org_id AND s.submission_id = t.submission_id
             WHERE p.status = 'processing' AND s.next_check_at IS NULL AND s.next_attempt_at IS NULL AND s.lease_until IS NULL"
        ),
    ),
    invariant(
        14,
        "a payout's history is gapless and every step in it is legal",
        breaches!(
            "SELECT e.org_id, e.payout_id AS subject, COALESCE(e.before, 'nothing') || ' to ' || e.status AS found
             FROM (SELECT org_id, payout_id, version, status,
                    LAG(status) OVER story AS before, LAG(version) OVER story AS version_before
                   FROM payout_events WINDOW story AS (PARTITION BY org_id, payout_id ORDER BY version)) e
             WHERE e.version <> COALESCE(e.version_before, 0) + 1
                OR (COALESCE(e.before, '') || '>' || e.status) NOT IN (
                    '>pending', 'pending>approved', 'pending>processing', 'pending>cancelled', 'approved>processing',
                    'approved>cancelled', 'processing>completed', 'processing>failed', 'completed>returned')"
        ),
    ),
    invariant(
        15,
        "a payout stands where its history ends",
        breaches!(
            "SELECT p.org_id, p.payout_id AS subject, p.status || ' version ' || p.version AS found
             FROM payouts p
             LEFT JOIN payout_events e ON e.org_id = p.org_id AND e.payout_id = p.payout_id AND e.version = p.version
             WHERE e.status IS NULL OR e.status <> p.status"
        ),
    ),
    invariant(
        16,
        "each payout was requested by one entry of its amount, and ended by one that fits its status",
        breaches!(
            "SELECT p.org_id, p.payout_id AS subject, p.status || ' without its entries' AS found
             FROM payouts p
             LEFT JOIN entries q ON q.org_id = p.org_id AND q.entry_key = 'request:' || p.payout_id
             LEFT JOIN entries s ON s.org_id = p.org_id AND s.entry_key = 'settle:' || p.payout_id
             LEFT JOIN entries r ON r.org_id = p.org_id AND r.entry_key = 'restore:' || p.payout_id
             LEFT JOIN entries b ON b.org_id = p.org_id AND b.entry_key = 'return:' || p.payout_id
             WHERE COALESCE(q.amount_minor, 0) <> p.amount_minor
                OR COALESCE(s.amount_minor, 0) <> (CASE WHEN p.status IN ('completed', 'returned') THEN p.amount_minor ELSE 0 END)
                OR COALESCE(r.amount_minor, 0) <> (CASE WHEN p.status IN ('failed', 'cancelled') THEN p.amount_minor ELSE 0 END)
                OR COALESCE(b.amount_minor, 0) <> (CASE WHEN p.status = 'returned' THEN p.amount_minor ELSE 0 END)"
        ),
    ),
    invariant(
        17,
        "a decision to pay has its payout, of the amount that was available",
        breaches!(
            "SELECT d.org_id, d.affiliate_id || ' ' || d.currency || ' ' || d.run_id AS subject,
                'available ' || d.available_minor || ', payout ' || COALESCE(p.amount_minor, 0) AS found
             FROM decisions d
             LEFT JOIN payouts p ON p.org_id = d.org_id AND p.payout_id = d.payout_id
             WHERE (d.payout_id IS NULL) = (d.first_gate IS NULL)
                OR (d.payout_id IS NOT NULL AND COALESCE(p.amount_minor, 0) <> d.available_minor)"
        ),
    ),
    invariant(
        18,
        "what was reversed of a commission is the sum of its reversals, and what it was credited is its amount without those before",
        breaches!(
            "SELECT c.org_id, c.commission_id AS subject,
                'reversed ' || c.reversed_minor || ', reversals ' || COALESCE(r.held, 0) || '+' || COALESCE(r.available, 0)
                || ', credited ' || c.credited_minor AS found
             FROM commissions c LEFT JOIN (
                SELECT org_id, commission_id,
                    SUM(CASE WHEN from_bucket = 'held' THEN amount_minor ELSE 0 END) AS held,
                    SUM(CASE WHEN from_bucket = 'available' THEN amount_minor ELSE 0 END) AS available
                FROM reversals GROUP BY org_id, commission_id) r
             ON r.org_id = c.org_id AND r.commission_id = c.commission_id
             WHERE c.reversed_minor <> COALESCE(r.held, 0) + COALESCE(r.available, 0)
                OR c.credited_minor <> (CASE WHEN c.credited_at IS NULL THEN 0 ELSE c.amount_minor - COALESCE(r.held, 0) END)
                OR (c.credited_at IS NULL AND COALESCE(r.available, 0) <> 0)"
        ),
    ),
    invariant(
        19,
        "each reversal and each adjustment has its entry, and each such entry its reversal or adjustment",
        breaches!(
            "SELECT org_id, subject, found FROM (
                SELECT COALESCE(i.org_id, e.org_id) AS org_id, COALESCE(i.entry_key, e.entry_key) AS subject,
                    'recorded ' || COALESCE(i.amount, 0) || ', entry ' || COALESCE(e.amount, 0) AS found,
                    COALESCE(i.amount, 0) AS recorded, COALESCE(e.amount, 0) AS moved,
                    COALESCE(i.wallet, '') AS wallet, COALESCE(e.wallet, '') AS entry_wallet
                FROM (SELECT r.org_id, 'reverse:' || LENGTH(r.commission_id) || ':' || r.commission_id || ':' || r.refund_id AS entry_key,
                        -r.amount_minor AS amount, c.affiliate_id || ' ' || c.currency || ' ' || r.from_bucket AS wallet
                      FROM reversals r LEFT JOIN commissions c ON c.org_id = r.org_id AND c.commission_id = r.commission_id
                      UNION ALL
                      SELECT org_id, 'adjust:' || adjustment_id, amount_minor, affiliate_id || ' ' || currency || ' available'
                      FROM adjustments) i
                FULL JOIN (SELECT org_id, entry_key,
                        CASE WHEN to_bucket = 'earned' THEN -amount_minor ELSE amount_minor END AS amount,
                        affiliate_id || ' ' || currency || ' ' || (CASE WHEN to_bucket = 'earned' THEN from_bucket ELSE to_bucket END) AS wallet
                      FROM entries WHERE kind IN ('reverse', 'adjust')) e
                ON e.org_id = i.org_id AND e.entry_key = i.entry_key) both_sides
             WHERE recorded <> moved OR wallet <> entry_wallet"
        ),
    ),
    invariant(
        20,
        "what waits for an approval is not sent without one, and an approval has its step in the history",
        breaches!(
            "SELECT p.org_id, p.payout_id AS subject, p.status || ' approved by ' || COALESCE(p.approved_by, 'nobody') AS found
             FROM payouts p
             LEFT JOIN payout_events e ON e.org_id = p.org_id AND e.payout_id = p.payout_id AND e.status = 'approved'
             WHERE (p.requires_approval = 1 AND p.approved_by IS NULL AND p.status NOT IN ('pending', 'cancelled'))
                OR COALESCE(e.actor, '') <> COALESCE(p.approved_by, '')"
        ),
    ),
];

impl Store {
    /// Where an invariant does not hold, up to `limit` places.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn breaches(
        &self,
        invariant: &Invariant,
        limit: i64,
    ) -> Result<Vec<Breach>, StoreError> {
        sql(invariant.breaches).bind(limit).read_all(&self.pools).await
    }
}
