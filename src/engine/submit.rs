//! Submit: approved money leaves, in three beats. *Plan* (a transaction: transfers with their
//! references, the hash of the bytes, a lease) · *act* (the provider alone, no transaction in
//! scope) · *record* (a transaction, fenced by the lease). No beat sees both a transaction and a
//! provider's answer in the making, so a crash anywhere leaves a state that says what to ask.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use tracing::warn;

use super::outcome::{Stamp, end_payouts, move_payouts};
use super::sending::{Lane, Rails, count, send_patiently, send_record};
use super::submission::{Failing, Member, Refusal, body_hash, gate_problem, named, outgoing};
use super::{Engine, EngineError, Reach, Tally, Work};
use crate::domain::{
    BatchId, Currency, Intent, Money, PayoutStatus, Scope, TransferState, failing_at_send,
};
use crate::providers::{Outgoing, Provider, Sent};
use crate::store::{PayoutMove, Queue, QueuedPayout, StoreError, SubmissionRow, Transfer, Tx};

/// A submission in hand: planned and leased, about to be sent.
pub struct Planned {
    row: SubmissionRow,
    transfers: Vec<Transfer>,
    lease_token: String,
    outgoing: Outgoing,
    body: String,
    provider: Arc<dyn Provider>,
}

enum Step {
    /// Send this.
    Send(Box<Planned>),
    /// Nothing to send this time, but there may be more.
    Again,
    /// The next ones, of this amount, are more than the rail can pay.
    Short(Money),
    Done,
}

/// Where the next submission comes from.
#[derive(Debug, Clone, Copy)]
enum Source {
    /// It was planned before, and certainly not sent.
    Prepared,
    /// The oldest payouts that wait.
    Queue,
}

impl Planned {
    fn amount_minor(&self) -> i64 {
        let minors = self.transfers.iter().map(|transfer| transfer.amount.minor);
        minors.fold(0, i64::saturating_add)
    }
}

impl Engine {
    /// Sends everything that waits on a configured rail. Payouts whose rail is not configured
    /// stay pending, and the tally says so. With [`Reach::All`] a rail that was left alone for a
    /// while (no funds, slow down) is tried at once.
    ///
    /// # Errors
    /// [`EngineError`] of the store; what was sent before it stands.
    pub async fn submit_all(
        &self,
        work: &Work,
        reach: Reach,
        scope: &Scope,
    ) -> Result<Tally, EngineError> {
        let mut tally = Tally::default();
        let due_by = reach.due_by(self.clock.now());
        let mut rails = Rails::new(due_by, self.store.circuits().await?);
        for lane in self.lanes(due_by).await? {
            if !lane.is_in(scope) {
                continue;
            }
            let mut part = Tally::default();
            match self.submit_lane(work, &lane, &mut rails, &mut part).await {
                Err(EngineError::Store(StoreError::Vault(error))) => {
                    self.leave_sealed(work, &lane, &error, &mut part).await?;
                }
                sent => sent?,
            }
            tally.merge_of(&lane.org, part)?;
        }
        self.count_halted(scope, &mut tally).await?;
        Ok(tally)
    }

    /// Every lane with something to send: prepared before, or still in its queue.
    async fn lanes(&self, due_by: DateTime<Utc>) -> Result<BTreeSet<Lane>, EngineError> {
        let prepared = self.store.queues_prepared(due_by).await?;
        let prepared =
            prepared.into_iter().map(|(org, kind, currency)| Lane { org, kind, currency });
        let queues = self.store.queues().await?;
        let queued = queues.into_iter().map(|queue| Lane {
            org: queue.org_id,
            kind: queue.method_kind,
            currency: queue.currency,
        });
        Ok(prepared.chain(queued).collect())
    }

    /// Sends what waits on one lane: what was planned before, then its queue, then what a refusal
    /// took apart meanwhile.
    async fn submit_lane(
        &self,
        work: &Work,
        lane: &Lane,
        rails: &mut Rails,
        tally: &mut Tally,
    ) -> Result<(), EngineError> {
        let Some(provider) = self.provider(lane.kind) else {
            let section = lane.kind.section();
            let words = format!("the rail is not configured, see [providers.{section}]");
            return self.leave_waiting(lane, ("rail_not_configured", &words), tally).await;
        };
        if let Some(circuit) = rails.closed(lane) {
            let words = format!("{}; tried again at {}", circuit.message, circuit.retry_at);
            return self.leave_waiting(lane, (&circuit.reason, &words), tally).await;
        }
        if self.is_halted(lane).await? {
            return Ok(());
        }
        self.learn_budget(provider.as_ref(), lane, rails, tally).await?;
        for beat in [Source::Prepared, Source::Queue, Source::Prepared] {
            self.send_from(work, beat, lane, rails, tally).await?;
        }
        self.close_the_books(work, lane, rails, tally).await
    }

    /// Plans and sends until nothing is left or the lane is over. Several go at once only while
    /// all before them were accepted: one tells whether the others may follow.
    async fn send_from(
        &self,
        work: &Work,
        source: Source,
        lane: &Lane,
        rails: &mut Rails,
        tally: &mut Tally,
    ) -> Result<(), EngineError> {
        let mut width = 1;
        while !work.stop.is_cancelled() && !rails.is_over(lane) {
            let mut planned = Vec::with_capacity(width);
            while planned.len() < width {
                match self.plan_next(work, source, lane, rails, tally).await? {
                    Step::Again => {}
                    Step::Send(next) => {
                        rails.spend(lane, next.amount_minor());
                        planned.push(*next);
                    }
                    Step::Short(wants) => {
                        rails.run_dry(lane, wants);
                        break;
                    }
                    Step::Done => break,
                }
            }
            if planned.is_empty() {
                break;
            }
            let all_accepted = self.send_planned(work, planned, rails, tally).await?;
            width = if all_accepted { self.settings.calls_in_flight } else { 1 };
        }
        Ok(())
    }

    async fn plan_next(
        &self,
        work: &Work,
        source: Source,
        lane: &Lane,
        rails: &Rails,
        tally: &mut Tally,
    ) -> Result<Step, EngineError> {
        let budget = rails.budget(lane);
        match source {
            Source::Prepared => self.plan_prepared(work, lane, rails.due_by, budget, tally).await,
            Source::Queue => self.plan_queue(work, lane, budget, tally).await,
        }
    }

    /// Sends several at once; whether all were accepted. What came of each is recorded before
    /// any error is passed on.
    async fn send_planned(
        &self,
        work: &Work,
        planned: Vec<Planned>,
        rails: &mut Rails,
        tally: &mut Tally,
    ) -> Result<bool, EngineError> {
        let sends = planned.iter().map(|planned| async move {
            let sent = self.act(planned).await;
            let recorded = self.record(work, planned, &sent).await;
            (planned, sent, recorded)
        });
        let (mut failed, mut all_accepted) = (None, true);
        for (planned, sent, recorded) in futures::future::join_all(sends).await {
            rails.hear(&planned.row, &sent);
            all_accepted &= matches!(sent, Sent::Accepted { .. });
            match recorded {
                Ok(counted) => {
                    work.progress.add(&counted);
                    tally.merge(counted)?;
                }
                Err(error) => failed = Some(error),
            }
        }
        failed.map_or(Ok(all_accepted), Err)
    }

    /// First beat, for the next payouts of a queue; `None` when nothing is left to send.
    ///
    /// # Errors
    /// [`EngineError`]; then nothing was planned.
    pub async fn plan(&self, work: &Work, queue: &Queue) -> Result<Option<Planned>, EngineError> {
        let mut tally = Tally::default();
        let (org, kind) = (queue.org_id.clone(), queue.method_kind);
        let lane = Lane { org, kind, currency: queue.currency };
        loop {
            match self.plan_queue(work, &lane, None, &mut tally).await? {
                Step::Send(planned) => return Ok(Some(*planned)),
                Step::Again => {}
                Step::Done | Step::Short(_) => return Ok(None),
            }
        }
    }

    async fn plan_queue(
        &self,
        work: &Work,
        lane: &Lane,
        budget: Option<i64>,
        tally: &mut Tally,
    ) -> Result<Step, EngineError> {
        let Some(provider) = self.provider(lane.kind) else { return Ok(Step::Done) };
        let (step, cancelled) = self
            .retrying(|| async {
                let mut tx = self.begin(work).await?;
                let limit = i64::try_from(provider.terms().batch_size).unwrap_or(i64::MAX);
                let rail = (lane.kind, lane.currency);
                let page = tx.queued_page(&lane.org, rail, limit).await?;
                if page.is_empty() {
                    return Ok((Step::Done, Tally::default()));
                }
                let stamp = Stamp { org: &lane.org, actor: &work.actor, now: self.clock.now() };
                let (payable, failing) = hold_at_gates(page, stamp.now);
                let cancelled = cancel_failing(&mut tx, stamp, &failing).await?;
                let oldest = payable.first().map(|payout| payout.amount);
                let payable = affordable(payable, budget);
                if let (Some(oldest), true) = (oldest, payable.is_empty()) {
                    tx.commit().await?;
                    return Ok((Step::Short(oldest), cancelled));
                }
                let members = payable.into_iter().map(Member::from).collect();
                let Some(submission) = self.compose(provider.as_ref(), members) else {
                    tx.commit().await?;
                    return Ok((Step::Again, cancelled));
                };
                tx.submission_insert(stamp.org, &submission, stamp.now).await?;
                let moves = submission.transfers.iter().map(|transfer| PayoutMove {
                    payout_id: transfer.payout_id.clone(),
                    code: None,
                    reason: format!("handed to its rail as {}", transfer.reference),
                });
                let moves: Vec<_> = moves.collect();
                let to = PayoutStatus::Processing;
                move_payouts(&mut tx, stamp, to, &moves).await?;
                let row = tx.submission(stamp.org, &submission.submission_id).await?;
                let mut tally = cancelled;
                let step = self.take_in_hand(&mut tx, stamp, row, provider, &mut tally).await?;
                tx.commit().await?;
                Ok((step, tally))
            })
            .await?;
        tally.merge(cancelled)?;
        Ok(step)
    }

    /// First beat, for a submission that was planned before and certainly not sent: its members
    /// are held at the gates again.
    async fn plan_prepared(
        &self,
        work: &Work,
        lane: &Lane,
        due_by: DateTime<Utc>,
        budget: Option<i64>,
        tally: &mut Tally,
    ) -> Result<Step, EngineError> {
        let Some(provider) = self.provider(lane.kind) else { return Ok(Step::Done) };
        let (org, rail) = (&lane.org, (lane.kind, lane.currency));
        let (step, dismantled) = self
            .retrying(|| async {
                let now = self.clock.now();
                let mut tx = self.begin(work).await?;
                let Some(row) = tx.submission_to_send(org, rail, due_by).await? else {
                    return Ok((Step::Done, Tally::default()));
                };
                let members = tx.submission_members(org, &row.submission_id).await?;
                let stamp = Stamp { org, actor: &work.actor, now };
                if members.iter().any(|member| member.candidate.halted.is_some()) {
                    self.part_halted(&mut tx, stamp, provider.as_ref(), &row, &members).await?;
                    tx.commit().await?;
                    return Ok((Step::Again, Tally::default()));
                }
                let wants = sum(&members, lane.currency);
                let (_, failing) = hold_at_gates(members, now);
                let mut tally = Tally::default();
                if failing.is_empty() && budget.is_some_and(|budget| wants.minor > budget) {
                    return Ok((Step::Short(wants), Tally::default()));
                }
                if failing.is_empty() {
                    let step = self.take_in_hand(&mut tx, stamp, row, provider, &mut tally).await?;
                    tx.commit().await?;
                    return Ok((step, tally));
                }
                let transfers = tx.transfers_of(org, &row.submission_id).await?;
                let refusal = Refusal::of_gates(&transfers, &failing);
                tx.submission_refuse(org, &row.submission_id, now).await?;
                let tally = self.dismantle(&mut tx, stamp, provider.as_ref(), &transfers, &refusal);
                let tally = tally.await?;
                tx.commit().await?;
                Ok((Step::Again, tally))
            })
            .await?;
        tally.merge(dismantled)?;
        Ok(step)
    }

    /// Leases a prepared submission: from the commit on, its bytes may have left. One with members
    /// whose destination cannot be read is taken apart instead.
    async fn take_in_hand(
        &self,
        tx: &mut Tx,
        stamp: Stamp<'_>,
        row: SubmissionRow,
        provider: &Arc<dyn Provider>,
        tally: &mut Tally,
    ) -> Result<Step, EngineError> {
        let now = stamp.now;
        let transfers = tx.transfers_of(&row.org_id, &row.submission_id).await?;
        if let Some(refusal) = self.refusal_of_unreadable(tx, stamp, &transfers).await? {
            tx.submission_refuse(stamp.org, &row.submission_id, now).await?;
            let apart = self.dismantle(tx, stamp, provider.as_ref(), &transfers, &refusal);
            tally.merge(apart.await?)?;
            return Ok(Step::Again);
        }
        let mut outgoing = outgoing(&row, &transfers, now);
        outgoing.attempt += 1;
        outgoing.leave = self.leave_of(&row);
        let body = provider.render(&outgoing);
        let hash = body_hash(&body);
        let lease_token = self.clock.mint::<BatchId>().to_string();
        let until = tx.database_now().await? + self.settings.lease;
        let taken = tx.submission_sending(
            &row.org_id,
            &row.submission_id,
            &lease_token,
            (until, now),
            &hash,
        );
        if !taken.await? {
            return Ok(Step::Again);
        }
        let provider = Arc::clone(provider);
        Ok(Step::Send(Box::new(Planned { row, transfers, lease_token, outgoing, body, provider })))
    }

    /// Second beat: the provider alone. The lease is renewed while the call is under way.
    pub async fn act(&self, planned: &Planned) -> Sent {
        let heartbeat = self.settings.heartbeat.to_std().unwrap_or(Duration::from_secs(5));
        let signs_of_life = async {
            loop {
                tokio::time::sleep(heartbeat).await;
                if let Err(error) = self.renew(planned).await {
                    // Without the lease the record is refused and the look-up decides.
                    warn!(event = "submission.lease.not_renewed", error = %error,
                          submission_id = %planned.row.submission_id);
                }
            }
        };
        let Planned { provider, outgoing, body, .. } = planned;
        let sent = send_patiently(provider.as_ref(), outgoing, body);
        tokio::select! {
            sent = sent => sent,
            () = signs_of_life => unreachable!("they end with the send"),
        }
    }

    async fn renew(&self, planned: &Planned) -> Result<bool, EngineError> {
        let until = self.store.database_now().await? + self.settings.lease;
        let mut tx = self.store.begin().await?;
        let Planned { row, lease_token, .. } = planned;
        let held = tx.submission_renew(&row.org_id, &row.submission_id, lease_token, until).await?;
        tx.commit().await?;
        Ok(held)
    }

    /// Third beat: what came of it, written only while the lease is held. If it is not, nothing
    /// is written and reconcile asks the provider.
    ///
    /// # Errors
    /// [`EngineError`]; then the submission stays in hand until its lease runs out.
    pub async fn record(
        &self,
        work: &Work,
        planned: &Planned,
        sent: &Sent,
    ) -> Result<Tally, EngineError> {
        self.retrying(|| async {
            let now = self.clock.now();
            let mut tx = self.store.begin().await?;
            let Planned { row, transfers, lease_token, provider, .. } = planned;
            let record = send_record(sent, now);
            let (org, id) = (&row.org_id, &row.submission_id);
            let mut tally = Tally::default();
            if !tx.submission_record(org, id, lease_token, &record, now).await? {
                tally.note(format!("{} lost its lease; its look-up decides", named(org, row)));
                tally.seen += transfers.len() as u64;
                tally.failed += transfers.len() as u64;
                return Ok(tally);
            }
            let follow = match sent {
                Sent::Accepted { .. } => TransferState::Accepted,
                Sent::Unknown(_) => TransferState::Unknown,
                Sent::NotSent(_) | Sent::Throttled { .. } | Sent::Blocked(_) | Sent::Short(_) => {
                    TransferState::Prepared
                }
                Sent::Refused { items, problem } => {
                    let stamp = Stamp { org, actor: &work.actor, now };
                    let items = items.iter().cloned().collect();
                    let refusal = Refusal { items, problem: problem.clone() };
                    let tally =
                        self.dismantle(&mut tx, stamp, provider.as_ref(), transfers, &refusal);
                    let tally = tally.await?;
                    tx.commit().await?;
                    return Ok(tally);
                }
            };
            tx.transfers_follow(org, id, follow, now).await?;
            tx.commit().await?;
            count(&mut tally, row, transfers, sent)?;
            Ok(tally)
        })
        .await
    }
}

/// The oldest payouts that a budget covers: nobody is passed over because they are owed more.
fn affordable(payable: Vec<QueuedPayout>, budget: Option<i64>) -> Vec<QueuedPayout> {
    let Some(mut left) = budget else { return payable };
    let fits = |payout: &QueuedPayout| {
        left = left.saturating_sub(payout.amount.minor);
        left >= 0
    };
    payable.into_iter().take_while(fits).collect()
}

/// What a budget has to cover; a sum beyond all numbers is beyond every budget.
fn sum(members: &[QueuedPayout], currency: Currency) -> Money {
    let minors = members.iter().map(|member| member.amount.minor);
    Money::new(minors.fold(0, i64::saturating_add), currency)
}

fn hold_at_gates(page: Vec<QueuedPayout>, at: DateTime<Utc>) -> (Vec<QueuedPayout>, Failing) {
    let mut payable = Vec::with_capacity(page.len());
    let mut failing = Vec::new();
    for queued in page {
        let intent = Intent { origin: queued.origin, amount_minor: queued.amount.minor, at };
        let checks = failing_at_send(&queued.candidate, intent);
        match checks.is_empty() {
            true => payable.push(queued),
            false => failing.push((queued, checks)),
        }
    }
    (payable, failing)
}

/// Who may no longer be paid gets the money back as available, with the gate as the reason.
async fn cancel_failing(
    tx: &mut Tx,
    stamp: Stamp<'_>,
    failing: &Failing,
) -> Result<Tally, EngineError> {
    let mut tally = Tally::default();
    let mut moves = Vec::with_capacity(failing.len());
    for (queued, checks) in failing {
        let problem = gate_problem(checks);
        tally.seen += 1;
        tally.skip(&problem.code, queued.amount)?;
        let (code, reason) = (Some(problem.code), problem.message);
        moves.push(PayoutMove { payout_id: queued.payout_id.clone(), code, reason });
    }
    end_payouts(tx, stamp, PayoutStatus::Cancelled, &moves).await?;
    Ok(tally)
}
