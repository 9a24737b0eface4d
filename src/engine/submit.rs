//! Submit: approved money leaves, in three beats. *Plan* (a transaction: transfers with their
//! references, the hash of the bytes, a lease) · *act* (the provider alone, no transaction in
//! scope) · *record* (a transaction, fenced by the lease). No beat sees both a transaction and a
//! provider's answer in the making, so a crash anywhere leaves a state that says what to ask.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use tracing::warn;

use super::outcome::{Stamp, end_payouts};
use super::sending::{Breaker, count, not_configured, send_patiently, send_record};
use super::submission::{Member, Refusal, body_hash, named, outgoing};
use super::{Engine, EngineError, Reach, Tally, Work};
use crate::domain::{
    BatchId, Currency, GateCheck, MethodKind, OrgId, PayoutStatus, Scope, TransferState,
    failing_at_send,
};
use crate::providers::{Outgoing, Problem, Provider, Sent};
use crate::store::{PayoutMove, Queue, QueuedPayout, SubmissionRow, Transfer, Tx};

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
    Done,
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
        let mut breaker = Breaker::new(reach.due_by(self.clock.now()));
        for (org, kind, currency) in self.store.queues_prepared(breaker.due_by).await? {
            if scope.has_org(&org) && scope.has_method(kind) && scope.has_currency(currency) {
                let rail = (kind, currency);
                self.submit_prepared(work, &org, rail, &mut breaker, &mut tally).await?;
            }
        }
        for queue in self.store.queues().await? {
            if !scope.has_org(&queue.org_id)
                || !scope.has_method(queue.method_kind)
                || !scope.has_currency(queue.currency)
            {
                continue;
            }
            if self.provider(queue.method_kind).is_none() {
                not_configured(&mut tally, &queue)?;
                continue;
            }
            self.submit_queue(work, &queue, &mut breaker, &mut tally).await?;
        }
        Ok(tally)
    }

    async fn submit_queue(
        &self,
        work: &Work,
        queue: &Queue,
        breaker: &mut Breaker,
        tally: &mut Tally,
    ) -> Result<(), EngineError> {
        let (org, kind) = (&queue.org_id, queue.method_kind);
        while !work.stop.is_cancelled() && !breaker.is_open(org, kind) {
            match self.plan_queue(work, queue, tally).await? {
                Step::Done => break,
                Step::Again => {}
                Step::Send(planned) => self.send_planned(work, &planned, breaker, tally).await?,
            }
        }
        // What a refusal took apart is ready to be sent again.
        self.submit_prepared(work, org, (kind, queue.currency), breaker, tally).await
    }

    async fn submit_prepared(
        &self,
        work: &Work,
        org: &OrgId,
        rail: (MethodKind, Currency),
        breaker: &mut Breaker,
        tally: &mut Tally,
    ) -> Result<(), EngineError> {
        while !work.stop.is_cancelled() && !breaker.is_open(org, rail.0) {
            match self.plan_prepared(work, org, rail, breaker.due_by, tally).await? {
                Step::Done => break,
                Step::Again => {}
                Step::Send(planned) => self.send_planned(work, &planned, breaker, tally).await?,
            }
        }
        Ok(())
    }

    async fn send_planned(
        &self,
        work: &Work,
        planned: &Planned,
        breaker: &mut Breaker,
        tally: &mut Tally,
    ) -> Result<(), EngineError> {
        let sent = self.act(planned).await;
        breaker.hear(&planned.row, &sent);
        tally.merge(self.record(work, planned, &sent).await?).map_err(EngineError::from)
    }

    /// First beat, for the next payouts of a queue; `None` when nothing is left to send.
    ///
    /// # Errors
    /// [`EngineError`]; then nothing was planned.
    pub async fn plan(&self, work: &Work, queue: &Queue) -> Result<Option<Planned>, EngineError> {
        let mut tally = Tally::default();
        loop {
            match self.plan_queue(work, queue, &mut tally).await? {
                Step::Send(planned) => return Ok(Some(*planned)),
                Step::Again => {}
                Step::Done => return Ok(None),
            }
        }
    }

    async fn plan_queue(
        &self,
        work: &Work,
        queue: &Queue,
        tally: &mut Tally,
    ) -> Result<Step, EngineError> {
        let Some(provider) = self.provider(queue.method_kind) else { return Ok(Step::Done) };
        let (step, cancelled) = self
            .retrying(|| async {
                let mut tx = self.begin(work).await?;
                let limit = i64::try_from(provider.terms().batch_size).unwrap_or(i64::MAX);
                let page = tx.queued_page(queue, limit).await?;
                if page.is_empty() {
                    return Ok((Step::Done, Tally::default()));
                }
                let stamp = Stamp { org: &queue.org_id, actor: &work.actor, now: self.clock.now() };
                let (payable, failing) = hold_at_gates(page);
                let cancelled = cancel_failing(&mut tx, stamp, &failing).await?;
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
                tx.payouts_move(stamp.org, to, &moves, stamp.actor, stamp.now).await?;
                let row = tx.submission(stamp.org, &submission.submission_id).await?;
                let planned = self.take_in_hand(&mut tx, row, provider, stamp.now).await?;
                tx.commit().await?;
                Ok((planned, cancelled))
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
        org: &OrgId,
        rail: (MethodKind, Currency),
        due_by: DateTime<Utc>,
        tally: &mut Tally,
    ) -> Result<Step, EngineError> {
        let Some(provider) = self.provider(rail.0) else { return Ok(Step::Done) };
        let (step, dismantled) = self
            .retrying(|| async {
                let now = self.clock.now();
                let mut tx = self.begin(work).await?;
                let Some(row) = tx.submission_to_send(org, rail, due_by).await? else {
                    return Ok((Step::Done, Tally::default()));
                };
                let members = tx.submission_members(org, &row.submission_id).await?;
                let (_, failing) = hold_at_gates(members);
                if failing.is_empty() {
                    let planned = self.take_in_hand(&mut tx, row, provider, now).await?;
                    tx.commit().await?;
                    return Ok((planned, Tally::default()));
                }
                let stamp = Stamp { org, actor: &work.actor, now };
                let transfers = tx.transfers_of(org, &row.submission_id).await?;
                let refusal = refusal_of_gates(&transfers, &failing);
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

    /// Leases a prepared submission: from the commit on, its bytes may have left.
    async fn take_in_hand(
        &self,
        tx: &mut Tx,
        row: SubmissionRow,
        provider: &Arc<dyn Provider>,
        now: DateTime<Utc>,
    ) -> Result<Step, EngineError> {
        let transfers = tx.transfers_of(&row.org_id, &row.submission_id).await?;
        let mut outgoing = outgoing(&row, &transfers, now);
        outgoing.attempt += 1;
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
        tokio::select! {
            sent = send_patiently(planned.provider.as_ref(), &planned.outgoing, &planned.body) => sent,
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

impl From<QueuedPayout> for Member {
    fn from(queued: QueuedPayout) -> Self {
        Self {
            payout_id: queued.payout_id,
            affiliate_id: queued.candidate.affiliate_id,
            amount: queued.amount,
            destination: queued.destination,
        }
    }
}

type Failing = Vec<(QueuedPayout, Vec<GateCheck>)>;

fn hold_at_gates(page: Vec<QueuedPayout>) -> (Vec<QueuedPayout>, Failing) {
    let mut payable = Vec::with_capacity(page.len());
    let mut failing = Vec::new();
    for queued in page {
        let checks = failing_at_send(&queued.candidate, queued.amount.minor);
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

fn gate_problem(checks: &[GateCheck]) -> Problem {
    let code = checks.first().map_or("gate", |check| check.gate.as_str());
    let words =
        |check: &GateCheck| format!("{}: wants {}, found {}", check.gate, check.wants, check.found);
    Problem::new(code, checks.iter().map(words).collect::<Vec<_>>().join("; "))
}

fn refusal_of_gates(transfers: &[Transfer], failing: &Failing) -> Refusal {
    let problem = Problem::new("gate", "a member may no longer be paid");
    let named = |transfer: &Transfer| {
        let (_, checks) =
            failing.iter().find(|(queued, _)| queued.payout_id == transfer.payout_id)?;
        Some((transfer.reference.clone(), gate_problem(checks)))
    };
    Refusal { items: transfers.iter().filter_map(named).collect(), problem }
}
