//! Breaks: what a statement and our books disagree about, and the reads that find it.

use chrono::{DateTime, Utc};
use sqlx::FromRow;

use super::dialect::{Value, sql};
use super::{Store, StoreError, Tx};
use crate::domain::{
    Actor, BreakId, BreakKind, Currency, MethodKind, OrgId, PayoutId, Reference, SubmissionId,
    TransferId, TransferState,
};

// By our reference or the provider's id. Notices are gathered by submission, whose index they
// have, and not once for each transfer.
const TRANSFERS_STATED: &str = "
    WITH named(name) AS MATERIALIZED ({rows}),
    found(name, transfer_id) AS MATERIALIZED (
        SELECT named.name, t.transfer_id FROM named CROSS JOIN transfers t
        WHERE t.org_id = $1 AND t.reference = named.name
        UNION
        SELECT named.name, t.transfer_id FROM named CROSS JOIN transfers t
        WHERE t.org_id = $1 AND t.provider_id = named.name),
    ours AS MATERIALIZED (
        SELECT found.name, t.transfer_id, t.payout_id, t.submission_id, t.currency, t.amount_minor,
               t.reference, t.state
        FROM found CROSS JOIN transfers t
        WHERE t.org_id = $1 AND t.transfer_id = found.transfer_id),
    returned(transfer_id, letter_hash) AS MATERIALIZED (
        SELECT n.transfer_id, MIN(n.letter_hash)
        FROM (SELECT DISTINCT submission_id FROM ours) AS o CROSS JOIN notices n
        WHERE n.org_id = $1 AND n.submission_id = o.submission_id AND n.word = 'returned'
        GROUP BY n.transfer_id)
    SELECT ours.name, ours.transfer_id, ours.payout_id, ours.submission_id, s.method_kind,
           ours.currency, ours.amount_minor, ours.reference, ours.state,
           returned.letter_hash AS returned_by
    FROM ours
    JOIN submissions s ON s.org_id = $1 AND s.submission_id = ours.submission_id
    LEFT JOIN returned ON returned.transfer_id = ours.transfer_id
    ORDER BY ours.name, ours.transfer_id";
const SUBMISSIONS_STATED: &str = "
    WITH named(name) AS MATERIALIZED ({rows}),
    found(name, submission_id) AS MATERIALIZED (
        SELECT named.name, s.submission_id FROM named CROSS JOIN submissions s
        WHERE s.org_id = $1 AND s.reference = named.name
        UNION
        SELECT named.name, s.submission_id FROM named CROSS JOIN submissions s
        WHERE s.org_id = $1 AND s.provider_batch_id = named.name)
    SELECT found.name, found.submission_id, s.method_kind, s.reference, s.currency,
           CAST(SUM(t.amount_minor) AS BIGINT) AS sent_minor,
           CAST(SUM(CASE WHEN t.state = 'rejected' THEN 0 ELSE t.amount_minor END) AS BIGINT)
               AS paid_minor
    FROM found
    JOIN submissions s ON s.org_id = $1 AND s.submission_id = found.submission_id
    JOIN transfers t ON t.org_id = $1 AND t.submission_id = found.submission_id
    GROUP BY found.name, found.submission_id, s.method_kind, s.reference, s.currency
    ORDER BY found.name";
const SETTLED_SINCE: &str = "
    WITH page AS MATERIALIZED (
        SELECT t.transfer_id, t.payout_id, t.submission_id, t.amount_minor, t.reference,
               t.provider_id, t.settled_at, s.reference AS submission_reference,
               s.provider_batch_id, COALESCE(s.first_sent_at, s.created_at) AS sent_at
        FROM transfers t
        JOIN submissions s ON s.org_id = t.org_id AND s.submission_id = t.submission_id
        WHERE t.org_id = $1 AND t.state = 'settled' AND (t.settled_at, t.transfer_id) > ($2, $3)
          AND s.method_kind = $4 AND t.currency = $5
        ORDER BY t.settled_at, t.transfer_id LIMIT $6),
    booked(transfer_id, booked_on, account_index) AS MATERIALIZED (
        SELECT n.transfer_id, MAX(n.said_on), MAX(n.account_index)
        FROM (SELECT DISTINCT submission_id FROM page) AS p CROSS JOIN notices n
        WHERE n.org_id = $1 AND n.submission_id = p.submission_id AND n.word = 'booked'
        GROUP BY n.transfer_id)
    SELECT page.transfer_id, page.payout_id, page.amount_minor, page.reference, page.provider_id,
           page.settled_at, page.submission_reference, page.provider_batch_id, page.sent_at,
           booked.booked_on, booked.account_index
    FROM page LEFT JOIN booked ON booked.transfer_id = page.transfer_id
    ORDER BY page.settled_at, page.transfer_id";
const CURRENCIES_OF_RAIL: &str = "
    SELECT DISTINCT currency FROM submissions WHERE method_kind = $1 ORDER BY currency";

const BREAKS_INSERT: &str = "
    INSERT INTO breaks (org_id, break_id, kind, method_kind, subject, transfer_id, payout_id,
                        currency, ours_minor, theirs_minor, source, reason, found_at)
    {rows}
    ON CONFLICT DO NOTHING RETURNING kind";
const BREAKS_STILL_OPEN: &str = "
    WITH told(kind, method_kind, subject) AS MATERIALIZED ({rows})
    SELECT b.break_id FROM told CROSS JOIN breaks b
    WHERE b.org_id = $1 AND b.kind = told.kind AND b.method_kind = told.method_kind
      AND b.subject = told.subject AND b.closed_at IS NULL";
const BREAKS_PASS: &str = "
    WITH told(subject) AS MATERIALIZED ({rows})
    UPDATE breaks SET closed_at = $3, closed_by = $4, note = $5
    FROM told
    WHERE breaks.org_id = $1 AND breaks.kind = $2 AND breaks.subject = told.subject
      AND breaks.closed_at IS NULL
    RETURNING breaks.kind, breaks.source";
const BREAK_CLOSE: &str = "
    UPDATE breaks SET closed_at = $3, closed_by = $4, note = $5
    WHERE org_id = $1 AND break_id = $2 AND closed_at IS NULL
    RETURNING kind, source";
const BREAKS_OPEN_OF: &str = "
    SELECT COUNT(*) FROM breaks
    WHERE org_id = $1 AND kind = $2 AND source = $3 AND closed_at IS NULL";
const BREAKS: &str = "
    SELECT break_id, kind, method_kind, subject, transfer_id, payout_id, currency, ours_minor,
           theirs_minor, source, reason, found_at, closed_at, closed_by, note
    FROM breaks
    WHERE org_id = $1 AND (closed_at IS NULL OR $2 = 1) AND break_id > $3
    ORDER BY break_id LIMIT $4";

/// A transfer that a statement's line names.
#[derive(Debug, Clone, FromRow)]
pub struct StatedTransfer {
    /// The name by which it was found: our reference, or the provider's id.
    pub name: String,
    pub transfer_id: TransferId,
    pub payout_id: PayoutId,
    pub submission_id: SubmissionId,
    pub method_kind: MethodKind,
    pub currency: Currency,
    pub amount_minor: i64,
    pub reference: Reference,
    pub state: TransferState,
    /// The letter that said that it came back, if one did.
    pub returned_by: Option<String>,
}

/// A submission that a statement's line names as a whole: a batch that is booked in one sum.
#[derive(Debug, Clone, FromRow)]
pub struct StatedSubmission {
    pub name: String,
    pub submission_id: SubmissionId,
    pub method_kind: MethodKind,
    pub reference: Reference,
    pub currency: Currency,
    /// The sum of all its transfers.
    pub sent_minor: i64,
    /// The sum of those that were not rejected.
    pub paid_minor: i64,
}

/// A settled transfer, and when its money may have moved.
#[derive(Debug, Clone, FromRow)]
pub struct SettledRow {
    pub transfer_id: TransferId,
    pub payout_id: PayoutId,
    pub amount_minor: i64,
    pub reference: Reference,
    pub provider_id: Option<String>,
    pub settled_at: DateTime<Utc>,
    pub submission_reference: Reference,
    pub provider_batch_id: Option<String>,
    /// When its submission was first sent.
    pub sent_at: DateTime<Utc>,
    /// The day on which the rail's letters say that it was booked, as `2026-11-23`.
    pub booked_on: Option<String>,
    /// The fingerprint of the account of ours that they name for it.
    pub account_index: Option<String>,
}

/// A break to be kept.
#[derive(Debug, Clone)]
pub struct NewBreak {
    pub break_id: BreakId,
    pub kind: BreakKind,
    pub method_kind: MethodKind,
    /// Our reference; where we have none, the name that the statement has.
    pub subject: String,
    pub transfer_id: Option<TransferId>,
    pub payout_id: Option<PayoutId>,
    pub currency: Currency,
    pub ours_minor: Option<i64>,
    pub theirs_minor: Option<i64>,
    /// The statement.
    pub source: String,
    pub reason: String,
}

/// A break as it stands.
#[derive(Debug, Clone, FromRow)]
pub struct BreakRow {
    pub break_id: BreakId,
    pub kind: BreakKind,
    pub method_kind: MethodKind,
    pub subject: String,
    pub transfer_id: Option<String>,
    pub payout_id: Option<String>,
    pub currency: Currency,
    pub ours_minor: Option<i64>,
    pub theirs_minor: Option<i64>,
    pub source: String,
    pub reason: String,
    pub found_at: DateTime<Utc>,
    pub closed_at: Option<DateTime<Utc>>,
    pub closed_by: Option<String>,
    pub note: Option<String>,
}

impl Store {
    /// The breaks of an org after the id `after`, oldest first: the open ones, or all.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn breaks(
        &self,
        org: &OrgId,
        closed_too: bool,
        after: &str,
        limit: i64,
    ) -> Result<Vec<BreakRow>, StoreError> {
        let query = sql(BREAKS).bind(org).bind(closed_too).bind(after).bind(limit);
        query.read_all(&self.pools).await
    }

    /// An org's settled transfers of a rail and currency that come after the one given, by the
    /// instant of their settlement.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn settled_since(
        &self,
        org: &OrgId,
        (kind, currency): (MethodKind, Currency),
        (settled_at, transfer_id): (DateTime<Utc>, &str),
        limit: i64,
    ) -> Result<Vec<SettledRow>, StoreError> {
        let query = sql(SETTLED_SINCE).bind(org).bind(settled_at).bind(transfer_id);
        query.bind(&kind).bind(&currency).bind(limit).read_all(&self.pools).await
    }

    /// The currencies in which anything was ever sent over a rail.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn currencies_of_rail(&self, kind: MethodKind) -> Result<Vec<Currency>, StoreError> {
        let query = sql(CURRENCIES_OF_RAIL).bind(&kind);
        let rows: Vec<(Currency,)> = query.read_all(&self.pools).await?;
        Ok(rows.into_iter().map(|(currency,)| currency).collect())
    }
}

impl Tx {
    /// The transfers of an org that these names name, on whatever rail.
    pub async fn transfers_stated(
        &mut self,
        org: &OrgId,
        names: &[&str],
    ) -> Result<Vec<StatedTransfer>, StoreError> {
        sql(TRANSFERS_STATED).bind(org).all_with(self, &texts(names)).await
    }

    /// The submissions of an org that these names name as a whole.
    pub async fn submissions_stated(
        &mut self,
        org: &OrgId,
        names: &[&str],
    ) -> Result<Vec<StatedSubmission>, StoreError> {
        sql(SUBMISSIONS_STATED).bind(org).all_with(self, &texts(names)).await
    }

    /// Keeps breaks, those that were never found before; of which kind those are.
    pub async fn breaks_insert(
        &mut self,
        org: &OrgId,
        breaks: &[NewBreak],
        now: DateTime<Utc>,
    ) -> Result<Vec<BreakKind>, StoreError> {
        let row = |b: &NewBreak| {
            vec![
                org.into(),
                (&b.break_id).into(),
                (&b.kind).into(),
                (&b.method_kind).into(),
                b.subject.as_str().into(),
                b.transfer_id.as_ref().into(),
                b.payout_id.as_ref().into(),
                (&b.currency).into(),
                Value::Int(b.ours_minor),
                Value::Int(b.theirs_minor),
                b.source.as_str().into(),
                b.reason.as_str().into(),
                now.into(),
            ]
        };
        let rows: Vec<Vec<Value>> = breaks.iter().map(row).collect();
        let kinds: Vec<(BreakKind,)> = sql(BREAKS_INSERT).all_with(self, &rows).await?;
        Ok(kinds.into_iter().map(|(kind,)| kind).collect())
    }

    /// How many of these breaks nobody has closed.
    pub async fn breaks_still_open(
        &mut self,
        org: &OrgId,
        breaks: &[NewBreak],
    ) -> Result<usize, StoreError> {
        let row = |b: &NewBreak| {
            vec![(&b.kind).into(), (&b.method_kind).into(), b.subject.as_str().into()]
        };
        let rows: Vec<Vec<Value>> = breaks.iter().map(row).collect();
        let open: Vec<(BreakId,)> = sql(BREAKS_STILL_OPEN).bind(org).all_with(self, &rows).await?;
        Ok(open.len())
    }

    /// Closes open breaks of a kind because their cause is gone; their kinds and sources.
    pub async fn breaks_pass(
        &mut self,
        org: &OrgId,
        (kind, subjects): (BreakKind, &[&str]),
        actor: &Actor,
        note: &str,
        now: DateTime<Utc>,
    ) -> Result<Vec<(BreakKind, String)>, StoreError> {
        let update = sql(BREAKS_PASS).bind(org).bind(&kind).bind(now).bind(actor.as_str());
        update.bind(note).all_with(self, &texts(subjects)).await
    }

    /// Closes an open break by a person's word; its kind and source, `None` if there is no such
    /// open break.
    pub async fn break_close(
        &mut self,
        org: &OrgId,
        id: &BreakId,
        actor: &Actor,
        note: &str,
        now: DateTime<Utc>,
    ) -> Result<Option<(BreakKind, String)>, StoreError> {
        let update = sql(BREAK_CLOSE).bind(org).bind(id).bind(now).bind(actor.as_str());
        update.bind(note).maybe(self).await
    }

    /// How many breaks of a kind that a source showed are open.
    pub async fn breaks_open_of(
        &mut self,
        org: &OrgId,
        kind: BreakKind,
        source: &str,
    ) -> Result<i64, StoreError> {
        let query = sql(BREAKS_OPEN_OF).bind(org).bind(&kind).bind(source);
        let row: Option<(i64,)> = query.maybe(self).await?;
        Ok(row.map_or(0, |(count,)| count))
    }
}

/// One text a row.
fn texts(texts: &[&str]) -> Vec<Vec<Value>> {
    texts.iter().map(|text| vec![Value::from(*text)]).collect()
}
