//! How a payout ends: its status, its wallet, its commissions, in one transaction.

use std::collections::HashMap;

use chrono::{DateTime, Utc};

use super::telling::ToldMethod;
use super::{EngineError, ledger, telling};
use crate::domain::{
    Actor, Bucket, EntryKind, EventKind, MethodStatus, Movement, OrgId, PayoutId, PayoutStatus,
    TransferState, WalletKey,
};
use crate::store::{
    Allocation, Blame, FailedMethod, MovedPayout, MovedTransfer, PayoutMove, StoreError,
    TransferNews, Tx,
};

/// Who changes something, where and when.
#[derive(Clone, Copy)]
pub(super) struct Stamp<'a> {
    pub org: &'a OrgId,
    pub actor: &'a Actor,
    pub now: DateTime<Utc>,
}

/// Moves payouts to the status `to` and tells it. Payouts that stand where they cannot become `to`
/// are left alone. Every change of a payout's status comes by here: whoever is to be told of one,
/// is told of all.
pub(super) async fn move_payouts(
    tx: &mut Tx,
    stamp: Stamp<'_>,
    to: PayoutStatus,
    moves: &[PayoutMove],
) -> Result<Vec<MovedPayout>, EngineError> {
    let Stamp { org, actor, now } = stamp;
    let moved = tx.payouts_move(org, to, moves, actor, now).await?;
    let ids: Vec<&PayoutId> = moved.iter().map(|payout| &payout.payout_id).collect();
    telling::tell_payouts(tx, org, EventKind::of_payout(to), &ids, now).await?;
    Ok(moved)
}

/// Moves payouts to the end `to`, and their money with them. Payouts that stand where they
/// cannot become `to` are left alone: the caller compares what comes back.
///
/// The entry's key names the payout, so that no payout can settle, be restored or be returned
/// twice, whichever transfer or answer asks for it.
pub(super) async fn end_payouts(
    tx: &mut Tx,
    stamp: Stamp<'_>,
    to: PayoutStatus,
    moves: &[PayoutMove],
) -> Result<Vec<MovedPayout>, EngineError> {
    let (kind, from_bucket, to_bucket, allocation) = match to {
        PayoutStatus::Completed => {
            (EntryKind::Settle, Bucket::InFlight, Bucket::Paid, Allocation::Pay)
        }
        PayoutStatus::Returned => {
            (EntryKind::Return, Bucket::Paid, Bucket::Available, Allocation::Unpay)
        }
        PayoutStatus::Failed | PayoutStatus::Cancelled => {
            (EntryKind::Restore, Bucket::InFlight, Bucket::Available, Allocation::Free)
        }
        _ => unreachable!("{to} is not an end of a payout"),
    };
    let Stamp { org, actor, now } = stamp;
    let moved = move_payouts(tx, stamp, to, moves).await?;
    let movement = |payout: &MovedPayout| Movement {
        wallet: WalletKey { affiliate_id: payout.affiliate_id.clone(), currency: payout.currency },
        kind,
        from: from_bucket,
        to: to_bucket,
        amount_minor: payout.amount_minor,
        entry_key: format!("{kind}:{}", payout.payout_id),
    };
    ledger::post(tx, org, moved.iter().map(movement).collect(), actor, now).await?;
    let ids: Vec<PayoutId> = moved.iter().map(|payout| payout.payout_id.clone()).collect();
    tx.lines_allocate(org, &ids, allocation).await?;
    if to != PayoutStatus::Completed {
        end_proofs(tx, stamp, to, &moved, moves).await?;
    }
    Ok(moved)
}

/// A deposit that did not arrive, or came back, proves nothing any more: the verification fails
/// with it. One that was only called off says nothing about the account.
async fn end_proofs(
    tx: &mut Tx,
    stamp: Stamp<'_>,
    to: PayoutStatus,
    moved: &[MovedPayout],
    moves: &[PayoutMove],
) -> Result<(), EngineError> {
    let moves: HashMap<_, _> = moves.iter().map(|one| (&one.payout_id, one)).collect();
    let deposits = moved.iter().filter(|payout| payout.affiliate_id.is_house());
    let ended = deposits.filter_map(|payout| {
        let why = moves.get(&payout.payout_id)?;
        Some((&payout.payout_id, why.code.as_deref(), why.reason.as_str()))
    });
    let ended: Vec<_> = ended.collect();
    if ended.is_empty() {
        return Ok(());
    }
    let methods_too = to != PayoutStatus::Cancelled;
    let failed = tx.verifications_fail(stamp.org, &ended, methods_too, stamp.now).await?;
    tell_failed(tx, stamp, &failed).await
}

async fn tell_failed(
    tx: &mut Tx,
    stamp: Stamp<'_>,
    failed: &[FailedMethod],
) -> Result<(), EngineError> {
    for failed in failed {
        let why = failed.why();
        let told = ToldMethod {
            why,
            ..ToldMethod::new(
                &failed.method_id,
                &failed.affiliate_id,
                failed.kind,
                MethodStatus::Failed,
            )
        };
        telling::tell_method(tx, stamp.org, EventKind::MethodFailed, &told, stamp.now).await?;
    }
    Ok(())
}

/// Moves transfers to the end `to` (`settled`, `rejected`, `returned`) and their payouts with
/// them; a destination that is at fault is no longer verified. Those that stand elsewhere (the other of webhook and poll was first) are left alone.
pub(super) async fn end_transfers(
    tx: &mut Tx,
    stamp: Stamp<'_>,
    to: TransferState,
    news: &[TransferNews],
) -> Result<Vec<MovedTransfer>, EngineError> {
    if news.is_empty() {
        return Ok(Vec::new());
    }
    let (status, words) = match to {
        TransferState::Settled => (PayoutStatus::Completed, "the provider confirmed it"),
        TransferState::Rejected => (PayoutStatus::Failed, "the provider did not pay it"),
        TransferState::Returned => (PayoutStatus::Returned, "the money came back"),
        _ => unreachable!("{to} is not an end of a transfer"),
    };
    let moved = tx.transfers_move(stamp.org, to, news, stamp.now).await?;
    let news: HashMap<_, _> = news.iter().map(|news| (&news.transfer_id, news)).collect();
    let payout_move = |transfer: &MovedTransfer| {
        let news = news.get(&transfer.transfer_id);
        let code = news.and_then(|news| news.code.clone());
        let message = news.and_then(|news| news.message.clone());
        PayoutMove {
            payout_id: transfer.payout_id.clone(),
            code,
            reason: message.unwrap_or_else(|| words.to_owned()),
        }
    };
    let blame = |transfer: &MovedTransfer| {
        let news = news.get(&transfer.transfer_id).filter(|news| news.of_method)?;
        let (code, reason) = (news.code.clone(), news.message.clone());
        Some(Blame { payout_id: transfer.payout_id.clone(), code, reason })
    };
    if to != TransferState::Settled {
        let blames: Vec<Blame> = moved.iter().filter_map(blame).collect();
        let failed = tx.methods_blame(stamp.org, &blames).await?;
        tell_failed(tx, stamp, &failed).await?;
    }
    let moves: Vec<PayoutMove> = moved.iter().map(payout_move).collect();
    let ended = end_payouts(tx, stamp, status, &moves).await?;
    if ended.len() != moved.len() {
        // A transfer and its payout end together or not at all.
        let (wanted, changed) = (moved.len() as u64, ended.len() as u64);
        return Err(StoreError::Changed { what: "payouts of transfers", wanted, changed }.into());
    }
    Ok(moved)
}
