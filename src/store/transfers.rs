//! Transfers: the attempts to move single payouts' money, and what was learned of each.

use chrono::{DateTime, Utc};
use sqlx::FromRow;

use super::destinations::SealedDestination;
use super::dialect::{Value, sql};
use super::{NewSubmission, StoreError, Tx};
use crate::domain::{
    AffiliateId, Currency, Destination, DestinationId, Money, OrgId, PayoutId, PayoutOrigin,
    Reference, SubmissionId, TransferId, TransferState,
};

const TRANSFER_INSERT: &str = "
    INSERT INTO transfers (org_id, transfer_id, submission_id, position, payout_id, affiliate_id,
                           currency, amount_minor, reference, state, created_at, updated_at)
    {rows}";

const TRANSFERS_OF: &str = "
    SELECT t.transfer_id, t.payout_id, t.affiliate_id, t.currency, t.amount_minor, t.reference,
           t.state, t.provider_id, t.settled_at, p.origin, p.destination_id, d.kind, d.sealed,
           d.key_id
    FROM transfers t JOIN payouts p ON p.org_id = t.org_id AND p.payout_id = t.payout_id
    LEFT JOIN destinations d ON d.org_id = p.org_id AND d.destination_id = p.destination_id
    WHERE t.org_id = $1 AND t.submission_id = $2 ORDER BY t.position";

const TRANSFERS_FOLLOW: &str = "
    UPDATE transfers SET state = $3, updated_at = $4
    WHERE org_id = $1 AND submission_id = $2 AND state IN ($5, $6, $7, $8)";
const TRANSFERS_MOVE: &str = "
    WITH moved(transfer_id, provider_id, provider_status, code, message, note) AS MATERIALIZED ({rows})
    UPDATE transfers
    SET state = $2, provider_id = COALESCE(moved.provider_id, transfers.provider_id),
        provider_status = moved.provider_status, problem_code = moved.code,
        problem_message = moved.message, note = COALESCE(moved.note, transfers.note),
        updated_at = $3,
        settled_at = CASE WHEN $2 = 'settled' THEN $3 ELSE transfers.settled_at END
    FROM moved
    WHERE transfers.org_id = $1 AND transfers.transfer_id = moved.transfer_id
      AND transfers.state IN ($4, $5, $6, $7)
    RETURNING transfers.transfer_id, transfers.payout_id, transfers.affiliate_id,
              transfers.currency, transfers.amount_minor";
const TRANSFERS_NOTE: &str = "
    WITH seen(transfer_id, provider_id, provider_status, code, message, note) AS MATERIALIZED ({rows})
    UPDATE transfers
    SET provider_id = COALESCE(seen.provider_id, transfers.provider_id),
        provider_status = seen.provider_status, problem_code = seen.code,
        problem_message = seen.message, note = COALESCE(seen.note, transfers.note),
        updated_at = $2
    FROM seen WHERE transfers.org_id = $1 AND transfers.transfer_id = seen.transfer_id";

/// A transfer to be inserted, `prepared`.
#[derive(Debug, Clone)]
pub struct NewTransfer {
    pub transfer_id: TransferId,
    pub payout_id: PayoutId,
    pub affiliate_id: AffiliateId,
    pub amount: Money,
    pub reference: Reference,
}

#[derive(Debug, FromRow)]
struct TransferRow {
    transfer_id: TransferId,
    payout_id: PayoutId,
    affiliate_id: AffiliateId,
    currency: Currency,
    amount_minor: i64,
    reference: Reference,
    state: TransferState,
    provider_id: Option<String>,
    settled_at: Option<DateTime<Utc>>,
    origin: PayoutOrigin,
    #[sqlx(flatten)]
    destination: SealedDestination,
}

/// A transfer as it stands, with its payout's pinned destination.
#[derive(Debug, Clone)]
pub struct Transfer {
    pub transfer_id: TransferId,
    pub payout_id: PayoutId,
    pub affiliate_id: AffiliateId,
    pub amount: Money,
    pub reference: Reference,
    pub state: TransferState,
    pub provider_id: Option<String>,
    pub settled_at: Option<DateTime<Utc>>,
    pub origin: PayoutOrigin,
    pub destination_id: DestinationId,
    /// Where it goes, if that can be read; nothing new leaves without.
    pub destination: Option<Destination>,
}

/// What was learned about a transfer.
#[derive(Debug, Clone)]
pub struct TransferNews {
    pub transfer_id: TransferId,
    pub provider_id: Option<String>,
    pub provider_status: Option<String>,
    pub code: Option<String>,
    pub message: Option<String>,
    /// What a person may want to know beside it.
    pub note: Option<String>,
    /// Whether the destination is at fault, and not to be paid to again as it is.
    pub of_method: bool,
}

/// A transfer whose state changed just now.
#[derive(Debug, Clone, FromRow)]
pub struct MovedTransfer {
    pub transfer_id: TransferId,
    pub payout_id: PayoutId,
    pub affiliate_id: AffiliateId,
    pub currency: Currency,
    pub amount_minor: i64,
}

/// The states that may become `to`, padded to the width of the statements.
fn states_before(to: TransferState) -> [TransferState; 4] {
    let from: Vec<_> =
        TransferState::ALL.iter().copied().filter(|from| from.may_become(to)).collect();
    std::array::from_fn(|i| from[i.min(from.len() - 1)])
}

impl Tx {
    /// Inserts the transfers of a submission that was inserted just now.
    pub(super) async fn transfers_insert(
        &mut self,
        org: &OrgId,
        submission: &NewSubmission,
        now: DateTime<Utc>,
    ) -> Result<(), StoreError> {
        let row = |(position, t): (usize, &NewTransfer)| {
            let position = i64::try_from(position).expect("a submission has few transfers");
            vec![
                org.into(),
                (&t.transfer_id).into(),
                (&submission.submission_id).into(),
                position.into(),
                (&t.payout_id).into(),
                (&t.affiliate_id).into(),
                (&t.amount.currency).into(),
                t.amount.minor.into(),
                (&t.reference).into(),
                (&TransferState::Prepared).into(),
                now.into(),
                now.into(),
            ]
        };
        let rows: Vec<Vec<Value>> = submission.transfers.iter().enumerate().map(row).collect();
        sql(TRANSFER_INSERT).run_with(self, &rows).await?;
        Ok(())
    }

    /// The transfers of a submission, in the order of its body.
    pub async fn transfers_of(
        &mut self,
        org: &OrgId,
        submission: &SubmissionId,
    ) -> Result<Vec<Transfer>, StoreError> {
        let rows: Vec<TransferRow> = sql(TRANSFERS_OF).bind(org).bind(submission).all(self).await?;
        let keys = self.vault_of(org).await?;
        let read = |row: TransferRow| {
            let destination = row.destination.read(&keys)?;
            Ok(Transfer {
                transfer_id: row.transfer_id,
                payout_id: row.payout_id,
                affiliate_id: row.affiliate_id,
                amount: Money::new(row.amount_minor, row.currency),
                reference: row.reference,
                state: row.state,
                provider_id: row.provider_id,
                settled_at: row.settled_at,
                origin: row.origin,
                destination_id: row.destination.destination_id,
                destination,
            })
        };
        rows.into_iter().map(read).collect()
    }

    /// Moves all of a submission's transfers that may become `to`.
    pub async fn transfers_follow(
        &mut self,
        org: &OrgId,
        submission: &SubmissionId,
        to: TransferState,
        now: DateTime<Utc>,
    ) -> Result<u64, StoreError> {
        let update = sql(TRANSFERS_FOLLOW).bind(org).bind(submission).bind(&to).bind(now);
        states_before(to).iter().fold(update, |update, from| update.bind(from)).run(self).await
    }

    /// Moves single transfers to `to`, those of them that may become it, with what was learned.
    pub async fn transfers_move(
        &mut self,
        org: &OrgId,
        to: TransferState,
        news: &[TransferNews],
        now: DateTime<Utc>,
    ) -> Result<Vec<MovedTransfer>, StoreError> {
        let update = sql(TRANSFERS_MOVE).bind(org).bind(&to).bind(now);
        let update = states_before(to).iter().fold(update, |update, from| update.bind(from));
        update.all_with(self, &news_rows(news)).await
    }

    /// Notes what was learned about transfers without moving them.
    pub async fn transfers_note(
        &mut self,
        org: &OrgId,
        news: &[TransferNews],
        now: DateTime<Utc>,
    ) -> Result<(), StoreError> {
        sql(TRANSFERS_NOTE).bind(org).bind(now).run_with(self, &news_rows(news)).await?;
        Ok(())
    }
}

fn news_rows(news: &[TransferNews]) -> Vec<Vec<Value>> {
    let row = |n: &TransferNews| {
        vec![
            (&n.transfer_id).into(),
            n.provider_id.clone().into(),
            n.provider_status.clone().into(),
            n.code.clone().into(),
            n.message.clone().into(),
            n.note.clone().into(),
        ]
    };
    news.iter().map(row).collect()
}
