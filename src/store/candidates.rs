//! What the gates look at: wallets to be paid, and payouts about to be sent.

use chrono::{DateTime, Utc};
use sqlx::FromRow;

use super::dialect::{Value, sql};
use super::halts::halted;
use super::{Store, StoreError, Tx};
use crate::domain::{
    AffiliateId, AffiliateStatus, Bounds, Candidate, CandidateMethod, Currency, DestinationId,
    MethodId, MethodKind, MethodStatus, Money, OrgId, PayoutId, PayoutOrigin, Periods, ProgramId,
    ProgramStatus, WalletKey, WalletStatus,
};

// An automatic payout of the period, whatever became of it; or one of a period as long that holds the
// instant: it was named in another zone, before somebody changed the zone. Whatever the zone, its name
// is among the few from `earliest` to `latest`, so that the index finds it.
macro_rules! paid_in_period {
    () => { "EXISTS (
               SELECT 1 FROM payouts o WHERE o.org_id = w.org_id AND o.affiliate_id = w.affiliate_id
                  AND o.currency = w.currency AND o.origin = 'auto'
                  AND o.period >= periods.earliest AND o.period <= periods.latest
                  AND (o.period = periods.period
                       OR (LENGTH(o.period) = LENGTH(periods.period)
                           AND o.period_from <= periods.instant
                           AND o.period_until > periods.instant)))" };
}

// $1 org; the rows are time zones, the period that is now in each, and now. `$method` says which of the
// affiliate's methods it is about.
macro_rules! candidates {
    ($($tail:expr),+) => { candidates!(@ "m.is_default = 1", $($tail),+) };
    (@ $method:literal, $($tail:expr),+) => { concat!("
    WITH periods(timezone, period, instant, earliest, latest) AS MATERIALIZED ({rows})
    SELECT w.affiliate_id, w.currency, w.program_id, w.available_minor,
           w.status AS wallet_status, a.status AS affiliate_status, p.status AS program_status,
           p.timezone, p.auto_payout, pc.min_payout_minor, pc.approval_minor, p.max_payouts_run,
           p.max_payouts_day, pc.max_payout_minor, pc.max_run_minor, pc.max_day_minor,
           p.approve_first, p.approve_changed, m.method_id,
           m.kind AS method_kind, m.destination_id, m.status AS method_status, m.usable_from,
           (SELECT o.destination_id FROM payouts o
            WHERE o.org_id = w.org_id AND o.affiliate_id = w.affiliate_id
              AND o.status = 'completed'
            ORDER BY o.payout_id DESC LIMIT 1) AS last_destination_id,
           ", halted!("$1", "m.kind", "w.program_id"), " AS halted,
           CAST(CASE WHEN ", paid_in_period!(), "
               THEN 1 ELSE 0 END AS BIGINT) AS paid_in_period
    FROM wallets w
    JOIN affiliates a ON a.org_id = w.org_id AND a.affiliate_id = w.affiliate_id
    JOIN programs p ON p.org_id = w.org_id AND p.program_id = w.program_id
    LEFT JOIN periods ON periods.timezone = COALESCE(p.timezone, '')
    LEFT JOIN program_currencies pc
      ON pc.org_id = w.org_id AND pc.program_id = w.program_id AND pc.currency = w.currency
    LEFT JOIN payout_methods m
      ON m.org_id = w.org_id AND m.affiliate_id = w.affiliate_id AND ", $method, "
    WHERE w.org_id = $1 ", $($tail),+) };
}

// A balance of exactly 0 is no candidate. Keyset pages: page 1,000 costs what page 1 does.
macro_rules! candidates_page {
    ($which:expr, $lock:literal) => {
        candidates!(
            $which,
            " AND (w.affiliate_id, w.currency) > ($2, $3)
    ORDER BY w.affiliate_id, w.currency LIMIT $4",
            $lock
        )
    };
}
// Who has reached the minimum, and was not paid in the period: most wallets have not, so that a job
// that looks often looks at few.
macro_rules! reached_page {
    ($lock:literal) => {
        candidates_page!(
            concat!(
                "AND w.available_minor >= pc.min_payout_minor AND w.available_minor > 0 AND NOT ",
                paid_in_period!()
            ),
            $lock
        )
    };
}
const ZONES: &str = "SELECT DISTINCT COALESCE(p.timezone, '') FROM programs p WHERE p.org_id = $1";
const CANDIDATES_PAGE: &str = candidates_page!("AND w.available_minor <> 0", " {lock:w}");
const CANDIDATES_AFTER: &str = candidates_page!("AND w.available_minor <> 0", "");
const REACHED_PAGE: &str = reached_page!(" {lock:w}");
const REACHED_AFTER: &str = reached_page!("");
const CANDIDATE_LOCK: &str = candidates!(
    @ "(m.method_id = $4 OR ($4 = '' AND m.is_default = 1))",
    "AND w.affiliate_id = $2 AND w.currency = $3 {lock:w}"
);
const CANDIDATES_OF_AFFILIATE: &str = candidates!("AND w.affiliate_id = $2 ORDER BY w.currency");

// What waits to be sent is what the index `payouts_queued` holds, word for word: what was approved,
// or needs nobody's approval.
const QUEUES: &str = "
    SELECT org_id, method_kind, currency, COUNT(*) AS payouts,
           CAST(SUM(amount_minor) AS BIGINT) AS amount_minor
    FROM payouts WHERE (status = 'approved' OR (status = 'pending' AND requires_approval = 0))
    GROUP BY org_id, method_kind, currency ORDER BY org_id, method_kind, currency";

// Without what is halted: that waits for something else.
const QUEUE: &str = concat!(
    "
    SELECT org_id, method_kind, currency, COUNT(*) AS payouts,
           CAST(SUM(amount_minor) AS BIGINT) AS amount_minor
    FROM payouts
    WHERE org_id = $1 AND method_kind = $2 AND currency = $3
      AND (status = 'approved' OR (status = 'pending' AND requires_approval = 0))
      AND ",
    halted!("$1", "payouts.method_kind", "payouts.program_id"),
    " IS NULL
    GROUP BY org_id, method_kind, currency"
);

// The method is the pinned one, as it stands now; amounts and periods were settled at request.
// What proves a method is the house's money, and the affiliate is the one who is to be proven.
macro_rules! queued {
    ($($tail:expr),+) => { concat!("
    SELECT q.payout_id, q.amount_minor, q.origin, q.destination_id AS pinned_id,
           q.affiliate_id, q.currency, q.program_id, w.available_minor,
           w.status AS wallet_status, a.status AS affiliate_status, p.status AS program_status,
           p.timezone, p.auto_payout, CAST(NULL AS BIGINT) AS min_payout_minor,
           CAST(NULL AS BIGINT) AS approval_minor, CAST(NULL AS BIGINT) AS max_payouts_run,
           CAST(NULL AS BIGINT) AS max_payouts_day, CAST(NULL AS BIGINT) AS max_payout_minor,
           CAST(NULL AS BIGINT) AS max_run_minor, CAST(NULL AS BIGINT) AS max_day_minor,
           p.approve_first, p.approve_changed, m.method_id,
           m.kind AS method_kind, m.destination_id, m.status AS method_status, m.usable_from,
           CAST(NULL AS TEXT) AS last_destination_id,
           ", halted!("$1", "q.method_kind", "p.program_id"), " AS halted,
           CAST(0 AS BIGINT) AS paid_in_period
    FROM payouts q
    JOIN wallets w ON w.org_id = q.org_id AND w.affiliate_id = q.affiliate_id AND w.currency = q.currency
    LEFT JOIN payout_methods m ON m.org_id = q.org_id AND m.method_id = q.method_id
    JOIN affiliates a ON a.org_id = q.org_id AND a.affiliate_id =
        CASE WHEN q.origin = 'verification' THEN m.affiliate_id ELSE q.affiliate_id END
    JOIN programs p ON p.org_id = q.org_id AND p.program_id = a.program_id
    WHERE q.org_id = $1 ", $($tail),+) };
}
const QUEUED_PAGE: &str = queued!(
    "AND q.method_kind = $2 AND q.currency = $3
      AND (q.status = 'approved' OR (q.status = 'pending' AND q.requires_approval = 0))
      AND ",
    halted!("$1", "q.method_kind", "p.program_id"),
    " IS NULL
    ORDER BY q.payout_id LIMIT $4 {lock-free:q}"
);
const MEMBERS: &str = queued!(
    "AND q.payout_id IN (SELECT t.payout_id FROM transfers t
                              WHERE t.org_id = $1 AND t.submission_id = $2)
    ORDER BY q.payout_id"
);

/// The time zones that an org's programs are in; `''` stands for programs that have none.
#[derive(Debug, Clone)]
pub struct ProgramZones(Vec<String>);

/// The period that is meant in a zone.
#[derive(Debug, Clone)]
pub struct ZonePeriod {
    zone: String,
    key: String,
    /// The instant that it is meant for.
    instant: DateTime<Utc>,
    /// The earliest and the latest key that it has in any zone.
    around: (String, String),
}

impl ProgramZones {
    /// The period of each zone.
    pub fn keys(&self, periods: &Periods) -> Vec<ZonePeriod> {
        let key = |zone: &String| {
            let name = Some(zone.as_str()).filter(|name| !name.is_empty());
            let (instant, key) = (periods.instant, periods.of(name).key);
            ZonePeriod { zone: zone.clone(), key, instant, around: periods.around() }
        };
        // A list of rows is never empty.
        Self::no_keys().into_iter().chain(self.0.iter().map(key)).collect()
    }

    /// No period in any zone: nothing was paid in it.
    pub fn no_keys() -> Vec<ZonePeriod> {
        vec![ZonePeriod {
            zone: "no zone".to_owned(),
            key: String::new(),
            instant: DateTime::UNIX_EPOCH,
            around: (String::new(), String::new()),
        }]
    }
}

fn rows_of(periods: &[ZonePeriod]) -> Vec<Vec<Value>> {
    let row = |ZonePeriod { zone, key, instant, around }: &ZonePeriod| {
        let text = |text: &String| Value::from(text.as_str());
        vec![text(zone), text(key), (*instant).into(), text(&around.0), text(&around.1)]
    };
    periods.iter().map(row).collect()
}

#[derive(Debug, FromRow)]
struct CandidateRow {
    affiliate_id: AffiliateId,
    currency: Currency,
    program_id: ProgramId,
    available_minor: i64,
    wallet_status: WalletStatus,
    affiliate_status: AffiliateStatus,
    program_status: ProgramStatus,
    timezone: Option<String>,
    auto_payout: i64,
    min_payout_minor: Option<i64>,
    approval_minor: Option<i64>,
    max_payouts_run: Option<i64>,
    max_payouts_day: Option<i64>,
    max_payout_minor: Option<i64>,
    max_run_minor: Option<i64>,
    max_day_minor: Option<i64>,
    approve_first: i64,
    approve_changed: i64,
    last_destination_id: Option<DestinationId>,
    halted: Option<String>,
    method_id: Option<MethodId>,
    method_kind: Option<MethodKind>,
    destination_id: Option<DestinationId>,
    method_status: Option<MethodStatus>,
    usable_from: Option<DateTime<Utc>>,
    paid_in_period: i64,
}

impl CandidateRow {
    fn into_candidate(self) -> Candidate {
        let method = (self.method_id, self.method_kind, self.method_status, self.destination_id);
        let method = match method {
            (Some(method_id), Some(kind), Some(status), Some(destination_id)) => {
                let usable_from = self.usable_from;
                Some(CandidateMethod { method_id, kind, status, usable_from, destination_id })
            }
            _ => None,
        };
        Candidate {
            affiliate_id: self.affiliate_id,
            program_id: self.program_id,
            currency: self.currency,
            available_minor: self.available_minor,
            affiliate_status: self.affiliate_status,
            wallet_status: self.wallet_status,
            program_status: self.program_status,
            timezone: self.timezone,
            auto_payout: self.auto_payout == 1,
            min_payout_minor: self.min_payout_minor,
            approval_minor: self.approval_minor,
            bounds: Bounds {
                payout_minor: self.max_payout_minor,
                run_minor: self.max_run_minor,
                day_minor: self.max_day_minor,
                run_payouts: self.max_payouts_run,
                day_payouts: self.max_payouts_day,
            },
            approve_first: self.approve_first == 1,
            approve_changed: self.approve_changed == 1,
            last_destination_id: self.last_destination_id,
            halted: self.halted,
            method,
            paid_in_period: self.paid_in_period == 1,
        }
    }
}

#[derive(Debug, FromRow)]
struct QueuedRow {
    payout_id: PayoutId,
    amount_minor: i64,
    origin: PayoutOrigin,
    pinned_id: DestinationId,
    #[sqlx(flatten)]
    candidate: CandidateRow,
}

/// Payouts that wait for one rail, org and currency.
#[derive(Debug, Clone, FromRow)]
pub struct Queue {
    pub org_id: OrgId,
    pub method_kind: MethodKind,
    pub currency: Currency,
    pub payouts: i64,
    pub amount_minor: i64,
}

impl Queue {
    /// What the queue's payouts sum up to.
    pub fn amount(&self) -> Money {
        Money::new(self.amount_minor, self.currency)
    }
}

/// A payout about to be sent, with what the gates look at, as it stands now.
#[derive(Debug, Clone)]
pub struct QueuedPayout {
    pub payout_id: PayoutId,
    pub amount: Money,
    pub origin: PayoutOrigin,
    pub candidate: Candidate,
}

impl QueuedRow {
    fn into_queued(self) -> QueuedPayout {
        let Self { payout_id, amount_minor, origin, pinned_id, candidate } = self;
        let amount = Money::new(amount_minor, candidate.currency);
        let mut candidate = candidate.into_candidate();
        if let Some(method) = &mut candidate.method {
            method.stand_for(pinned_id);
        }
        QueuedPayout { payout_id, amount, origin, candidate }
    }
}

impl Store {
    /// The time zones that an org's programs are in.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn program_zones(&self, org: &OrgId) -> Result<ProgramZones, StoreError> {
        let rows: Vec<(String,)> = sql(ZONES).bind(org).read_all(&self.pools).await?;
        Ok(ProgramZones(rows.into_iter().map(|(zone,)| zone).collect()))
    }

    /// One affiliate's wallets as the gates see them, for `explain`.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn candidates_of(
        &self,
        org: &OrgId,
        affiliate: &AffiliateId,
        periods: &[ZonePeriod],
    ) -> Result<Vec<Candidate>, StoreError> {
        let query = sql(CANDIDATES_OF_AFFILIATE).bind(org).bind(affiliate);
        let rows: Vec<CandidateRow> = query.read_all_with(&self.pools, &rows_of(periods)).await?;
        Ok(rows.into_iter().map(CandidateRow::into_candidate).collect())
    }

    /// The next wallets with a balance other than 0 (or those alone that have reached their minimum
    /// and were not paid in the period) after the wallet `after`, as they stand, for a look that
    /// changes nothing.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn candidates_after(
        &self,
        org: &OrgId,
        (periods, reached_only): (&[ZonePeriod], bool),
        after: Option<&WalletKey>,
        limit: i64,
    ) -> Result<Vec<Candidate>, StoreError> {
        let (affiliate, currency) =
            after.map_or(("", ""), |key| (key.affiliate_id.as_str(), key.currency.code()));
        let query = sql(if reached_only { REACHED_AFTER } else { CANDIDATES_AFTER })
            .bind(org)
            .bind(affiliate)
            .bind(currency)
            .bind(limit);
        let rows: Vec<CandidateRow> = query.read_all_with(&self.pools, &rows_of(periods)).await?;
        Ok(rows.into_iter().map(CandidateRow::into_candidate).collect())
    }

    /// What waits to be sent on one rail of an org and is not halted, if anything does.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn queue(
        &self,
        org: &OrgId,
        kind: MethodKind,
        currency: Currency,
    ) -> Result<Option<Queue>, StoreError> {
        sql(QUEUE).bind(org).bind(&kind).bind(&currency).read_maybe(&self.pools).await
    }

    /// What waits to be sent, by org, rail and currency.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn queues(&self) -> Result<Vec<Queue>, StoreError> {
        sql(QUEUES).read_all(&self.pools).await
    }
}

impl Tx {
    /// The next wallets with a balance other than 0 (or those alone that have reached their minimum
    /// and were not paid in the period), locked, after the wallet `after`.
    pub async fn candidates_page(
        &mut self,
        org: &OrgId,
        (periods, reached_only): (&[ZonePeriod], bool),
        after: Option<&WalletKey>,
        limit: i64,
    ) -> Result<Vec<Candidate>, StoreError> {
        let (affiliate, currency) =
            after.map_or(("", ""), |key| (key.affiliate_id.as_str(), key.currency.code()));
        let query = sql(if reached_only { REACHED_PAGE } else { CANDIDATES_PAGE })
            .bind(org)
            .bind(affiliate)
            .bind(currency)
            .bind(limit);
        let rows: Vec<CandidateRow> = query.all_with(self, &rows_of(periods)).await?;
        Ok(rows.into_iter().map(CandidateRow::into_candidate).collect())
    }

    /// One wallet as the gates see it, locked; `None` if there is no such wallet. It is held by its
    /// default method, or by the method of that id.
    pub async fn candidate_lock(
        &mut self,
        org: &OrgId,
        wallet: &WalletKey,
        method: Option<&str>,
    ) -> Result<Option<Candidate>, StoreError> {
        let query = sql(CANDIDATE_LOCK).bind(org).bind(&wallet.affiliate_id);
        let query = query.bind(&wallet.currency).bind(method.unwrap_or_default());
        // No period: it is about what a person asks.
        let periods = rows_of(&ProgramZones::no_keys());
        let row: Option<CandidateRow> = query.all_with(self, &periods).await?.pop();
        Ok(row.map(CandidateRow::into_candidate))
    }

    /// The oldest payouts of a queue that no other worker has in hand and nobody halted, locked.
    pub async fn queued_page(
        &mut self,
        org: &OrgId,
        (kind, currency): (MethodKind, Currency),
        limit: i64,
    ) -> Result<Vec<QueuedPayout>, StoreError> {
        let query = sql(QUEUED_PAGE).bind(org).bind(&kind).bind(&currency);
        let rows: Vec<QueuedRow> = query.bind(limit).all(self).await?;
        Ok(rows.into_iter().map(QueuedRow::into_queued).collect())
    }

    /// The payouts of a submission with what the gates look at, as it stands now.
    pub async fn submission_members(
        &mut self,
        org: &OrgId,
        submission: &crate::domain::SubmissionId,
    ) -> Result<Vec<QueuedPayout>, StoreError> {
        let rows: Vec<QueuedRow> = sql(MEMBERS).bind(org).bind(submission).all(self).await?;
        Ok(rows.into_iter().map(QueuedRow::into_queued).collect())
    }
}
