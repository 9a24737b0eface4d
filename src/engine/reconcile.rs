//! Reconcile: the one path that settles. It asks the provider what became of every open
//! transfer, and goes on asking after completion for as long as the rail can return money.
//!
//! It takes no hint about what changed: it looks at what is due, asks, and applies the answer
//! through guarded transitions, so that asking twice changes nothing.

use chrono::{DateTime, TimeDelta, Utc};
use futures::StreamExt;
use tracing::{error, info, warn};

use super::asking::{Answer, Claimed};
use super::outcome::{Stamp, end_transfers};
use super::sorted::{Sorted, is_open};
use super::submission::named;
use super::unreadable::UNREADABLE;
use super::{Engine, EngineError, Tally, Work, telling};
use crate::domain::{Money, OrgId, Scope, SubmissionState, TransferState};
use crate::providers::{Found, ItemReport, Problem, Sent};
use crate::store::{CheckRecord, StoreError, SubmissionRow, Tx};

/// Pauses between checks of one submission, growing; the last one repeats.
const PAUSES: [TimeDelta; 7] = [
    TimeDelta::seconds(15),
    TimeDelta::minutes(1),
    TimeDelta::minutes(5),
    TimeDelta::minutes(15),
    TimeDelta::hours(1),
    TimeDelta::hours(6),
    TimeDelta::hours(24),
];
/// Where in the pauses a submission in review is at the least: a person's word has its turn between
/// two checks.
const REVIEWED: i64 = 3;
/// How often money that arrived is looked after while it may still come back.
const WATCHED: TimeDelta = TimeDelta::days(1);
/// Re-sends of the same bytes that a provider has refused in a row, over at least
/// [`REFUSED_FOR`], after which a person is asked to look.
const REFUSALS_NEEDED: i64 = 3;
const REFUSED_FOR: TimeDelta = TimeDelta::minutes(15);

/// How much a run takes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// What is due.
    Due,
    /// Everything open, due or not: a person asked.
    All,
}

impl Reach {
    /// The instant up to which waiting things count as due.
    pub fn due_by(self, now: DateTime<Utc>) -> DateTime<Utc> {
        match self {
            Self::Due => now,
            Self::All => now + TimeDelta::days(36_500),
        }
    }
}

impl Engine {
    /// Asks the providers about what is due (or, with [`Reach::All`], about everything open) and
    /// applies what they say.
    ///
    /// # Errors
    /// [`EngineError`] of the store. What is wrong with one submission keeps no other from being
    /// asked about: the first error is passed on at the end.
    pub async fn reconcile(
        &self,
        work: &Work,
        reach: Reach,
        scope: &Scope,
    ) -> Result<Tally, EngineError> {
        let mut tally = Tally::default();
        self.read_mail(work, &mut tally).await?;
        self.expire_leases(work, reach, &mut tally).await?;
        let due_by = reach.due_by(self.clock.now());
        let mut failed = None;
        for org in self.store.orgs_to_check(due_by).await? {
            if scope.has_org(&org) {
                let mut part = Tally::default();
                let first = match self.reconcile_org(work, &org, reach, &mut part).await {
                    // Its keys are one org's own trouble.
                    Err(error @ EngineError::Store(StoreError::Vault(_))) => {
                        error!(event = "org.sealed", org_id = %org, code = error.code(), %error);
                        Some(error)
                    }
                    asked => asked?,
                };
                tally.merge_of(&org, part)?;
                failed = failed.or(first);
            }
        }
        failed.map_or(Ok(tally), Err)
    }

    /// A send whose lease ran out is `unknown`, never `prepared`: its bytes may have left. When a
    /// person asks about everything, sends in hand are waited for (at most one lease long).
    async fn expire_leases(
        &self,
        work: &Work,
        reach: Reach,
        tally: &mut Tally,
    ) -> Result<(), EngineError> {
        let started = self.store.database_now().await?;
        loop {
            let database_now = self.store.database_now().await?;
            for (org, submission) in self.store.leases_expired(database_now).await? {
                let mut tx = self.begin(work).await?;
                let now = self.clock.now();
                if tx.submission_expire(&org, &submission, database_now, now).await? {
                    tally.note(format!("submission {submission} of org {org} was in hand of a process that stopped; it is looked up"));
                    warn!(event = "submission.lease.expired", submission_id = %submission, org_id = %org);
                }
                tx.commit().await?;
            }
            let in_hand = self.store.lease_last().await?;
            let patience = started + self.settings.lease;
            if reach == Reach::Due
                || in_hand.is_none()
                || database_now > patience
                || work.stop.is_cancelled()
            {
                return Ok(());
            }
            tokio::time::sleep(std::time::Duration::from_millis(250)).await;
        }
    }

    /// Asks about one org's; the first error that was one submission's own.
    async fn reconcile_org(
        &self,
        work: &Work,
        org: &OrgId,
        reach: Reach,
        tally: &mut Tally,
    ) -> Result<Option<EngineError>, EngineError> {
        let (mut after, mut failed) = (String::new(), None);
        while !work.stop.is_cancelled() {
            let claimed = self.claim(work, org, reach, &after).await?;
            let Some(last) = claimed.last() else { break };
            after = last.row.submission_id.to_string();
            let mut applied = futures::stream::iter(claimed)
                .map(|claimed| async {
                    let name = named(org, &claimed.row);
                    (name, self.ask_and_apply(work, claimed).await)
                })
                .buffer_unordered(self.settings.calls_in_flight);
            // Nothing else is waited for in this loop: a call that nobody polls keeps what it
            // holds (the rail's token, a connection) from those that wait for it.
            while let Some((name, one)) = applied.next().await {
                match one {
                    Ok(one) => {
                        work.progress.add(&one);
                        tally.merge(one)?;
                    }
                    Err(lost @ EngineError::LeaseLost { .. }) => return Err(lost),
                    Err(error) => {
                        error!(event = "submission.not_applied", name, code = error.code(), %error);
                        failed.get_or_insert(error);
                    }
                }
            }
        }
        Ok(failed)
    }

    async fn ask_and_apply(&self, work: &Work, mut claimed: Claimed) -> Result<Tally, EngineError> {
        let Some(answer) = self.ask(work, &mut claimed).await? else {
            return Ok(Tally::default());
        };
        let Answer::Resent(Sent::Accepted { provider_batch_id }) = answer else {
            return self.apply_once(work, claimed, answer).await;
        };
        claimed.row = self.found_again(work, &claimed, provider_batch_id).await?;
        match self.ask(work, &mut claimed).await? {
            Some(answer) => self.apply_once(work, claimed, answer).await,
            None => Ok(Tally::default()),
        }
    }

    /// A send whose answer was lost turns out to be accepted.
    async fn found_again(
        &self,
        work: &Work,
        claimed: &Claimed,
        provider_batch_id: Option<String>,
    ) -> Result<SubmissionRow, EngineError> {
        let Claimed { row, .. } = claimed;
        let record = CheckRecord {
            state: SubmissionState::Accepted,
            provider_batch_id,
            problem: None,
            next_check_at: Some(claimed.until),
            claimed_until: Some(claimed.until),
            counts: false,
            refused: false,
        };
        self.retrying(|| async {
            let now = self.clock.now();
            let mut tx = self.begin(work).await?;
            tx.submission_checked(&row.org_id, &row.submission_id, &record, now).await?;
            let to = TransferState::Accepted;
            tx.transfers_follow(&row.org_id, &row.submission_id, to, now).await?;
            let row = tx.submission(&row.org_id, &row.submission_id).await?;
            tx.commit().await?;
            info!(event = "submission.found_again", submission_id = %row.submission_id,
                  provider_batch_id = row.provider_batch_id);
            Ok(row)
        })
        .await
    }

    async fn apply_once(
        &self,
        work: &Work,
        claimed: Claimed,
        answer: Answer,
    ) -> Result<Tally, EngineError> {
        let problem = match answer {
            Answer::Looked(Found::Items(reports)) => {
                return self.apply_reports(work, &claimed, &reports).await;
            }
            Answer::Resent(Sent::Refused { problem, .. }) => {
                return self.ask_again_later(work, &claimed, &problem, true).await;
            }
            Answer::Looked(Found::Nothing(problem) | Found::Unclear(problem))
            | Answer::Unaskable(problem)
            | Answer::Resent(
                Sent::NotSent(problem)
                | Sent::Throttled { problem, .. }
                | Sent::Blocked(problem)
                | Sent::Short(problem)
                | Sent::Unknown(problem),
            ) => problem,
            Answer::Resent(Sent::Accepted { .. }) => {
                Problem::new("accepted", "accepted again while it was looked up")
            }
        };
        self.ask_again_later(work, &claimed, &problem, false).await
    }

    async fn ask_again_later(
        &self,
        work: &Work,
        claimed: &Claimed,
        problem: &Problem,
        refused: bool,
    ) -> Result<Tally, EngineError> {
        let Claimed { row, transfers, .. } = claimed;
        let mut tally = Tally::default();
        let open = transfers.iter().filter(|transfer| is_open(transfer)).count() as u64;
        tally.seen += open;
        tally.failed += open;
        tally.note(format!("{}: {problem}", named(&row.org_id, row)));
        warn!(event = "submission.not_answered", submission_id = %row.submission_id,
              provider = %row.method_kind, code = problem.code.as_str(), message = problem.message.as_str());
        self.retrying(|| async {
            let now = self.clock.now();
            let unaskable =
                matches!(problem.code.as_str(), "window_passed" | "body_changed" | UNREADABLE);
            let unclear = unaskable || (refused && self.stays_refused(row));
            let review = open > 0 && (unclear || self.is_past_horizon(row, now));
            let last_settled = transfers.iter().filter_map(|transfer| transfer.settled_at).max();
            let record = CheckRecord {
                state: if review { SubmissionState::Review } else { row.state },
                provider_batch_id: None,
                problem: Some((problem.code.clone(), problem.message.clone())),
                next_check_at: self.next_check(row, (open > 0, review), last_settled, now),
                claimed_until: Some(claimed.until),
                counts: true,
                refused,
            };
            let mut tx = self.begin(work).await?;
            if review {
                self.ask_a_person(&mut tx, row, &problem.to_string(), now).await?;
            }
            tx.submission_checked(&row.org_id, &row.submission_id, &record, now).await?;
            tx.commit().await?;
            Ok(())
        })
        .await?;
        Ok(tally)
    }

    /// Whether this refusal is one of several in a row, over a while. That makes it likely that
    /// the first send was not taken either, but it is no proof: a person has to look.
    fn stays_refused(&self, row: &SubmissionRow) -> bool {
        let since = row.refused_since.map(|since| self.clock.now() - since);
        row.refusals + 1 >= REFUSALS_NEEDED && since.is_some_and(|since| since >= REFUSED_FOR)
    }

    /// Applies what the provider says of each transfer, in one transaction.
    async fn apply_reports(
        &self,
        work: &Work,
        claimed: &Claimed,
        reports: &[ItemReport],
    ) -> Result<Tally, EngineError> {
        let Claimed { row, transfers, .. } = claimed;
        let sorted = Sorted::new(transfers, reports);
        self.retrying(|| async {
            let now = self.clock.now();
            let mut tx = self.begin(work).await?;
            let stamp = Stamp { org: &row.org_id, actor: &work.actor, now };
            let seen = sorted.open_before + sorted.returned.len() as u64;
            let mut tally = Tally { seen, ..Tally::default() };
            for dispute in &sorted.disputes {
                tally.note(dispute.words.as_str());
                let about = (dispute.kind, dispute.subject.as_str());
                self.alert(&mut tx, &row.org_id, about, &dispute.words, now).await?;
            }
            tx.transfers_note(&row.org_id, &sorted.noted, now).await?;
            for (to, news) in [
                (TransferState::Settled, &sorted.settled),
                (TransferState::Rejected, &sorted.rejected),
                (TransferState::Returned, &sorted.returned),
            ] {
                for moved in end_transfers(&mut tx, stamp, to, news).await? {
                    let amount = Money::new(moved.amount_minor, moved.currency);
                    tally.act(amount)?;
                    tally.outcome(to.as_str(), amount)?;
                }
            }
            for amount in &sorted.still_open {
                tally.outcome("open", *amount)?;
            }
            self.record_reports(work, &mut tx, claimed, &sorted).await?;
            tx.commit().await?;
            Ok(tally)
        })
        .await
    }

    /// Keeps when a submission that was answered is asked about again, and whether a person has
    /// to look because it has been open for longer than its rail takes.
    async fn record_reports(
        &self,
        work: &Work,
        tx: &mut Tx,
        claimed: &Claimed,
        sorted: &Sorted,
    ) -> Result<(), EngineError> {
        let row = &claimed.row;
        let now = self.clock.now();
        let open = !sorted.still_open.is_empty();
        let review = open && self.is_past_horizon(row, now);
        if review {
            self.ask_a_person(tx, row, "the provider has not decided it", now).await?;
        } else if row.state == SubmissionState::Review {
            let about = ("review", row.submission_id.as_str());
            self.alert_passes(tx, &row.org_id, about, work).await?;
        }
        let last_settled = match sorted.settled.is_empty() {
            true => sorted.last_settled,
            false => Some(now),
        };
        let record = CheckRecord {
            state: if review { SubmissionState::Review } else { SubmissionState::Accepted },
            provider_batch_id: None,
            problem: None,
            next_check_at: self.next_check(row, (open, review), last_settled, now),
            claimed_until: Some(claimed.until),
            counts: true,
            refused: false,
        };
        tx.submission_checked(&row.org_id, &row.submission_id, &record, now).await?;
        let to = TransferState::Accepted;
        tx.transfers_follow(&row.org_id, &row.submission_id, to, now).await?;
        Ok(())
    }

    async fn ask_a_person(
        &self,
        tx: &mut Tx,
        row: &SubmissionRow,
        why: &str,
        now: DateTime<Utc>,
    ) -> Result<(), EngineError> {
        let sent = row.first_sent_at.map(|at| at.to_rfc3339()).unwrap_or_default();
        let words = format!(
            "{}, sent {sent} as {}, has no end: {why}. Look at the provider, then say what you \
             found with `payout mark` or `payout resend`",
            named(&row.org_id, row),
            row.reference
        );
        // It is told once, however often the provider still says nothing.
        if row.state != SubmissionState::Review {
            telling::tell_review(tx, &row.org_id, &row.submission_id, now).await?;
        }
        self.alert(tx, &row.org_id, ("review", row.submission_id.as_str()), &words, now).await?;
        Ok(())
    }

    /// Whether a submission has been open for longer than its rail takes to decide.
    fn is_past_horizon(&self, row: &SubmissionRow, now: DateTime<Utc>) -> bool {
        let horizon = self.provider(row.method_kind).map(|provider| provider.terms().horizon);
        let ends = row.first_sent_at.zip(horizon).map(|(sent, horizon)| sent + horizon);
        ends.is_some_and(|ends| now >= ends)
    }

    /// When to ask again: soon while something is open, not so soon once a person is to look, then
    /// for as long as the rail can return money that arrived.
    fn next_check(
        &self,
        row: &SubmissionRow,
        (open, review): (bool, bool),
        last_settled: Option<DateTime<Utc>>,
        now: DateTime<Utc>,
    ) -> Option<DateTime<Utc>> {
        if open {
            let checks = if review { row.checks.max(REVIEWED) } else { row.checks };
            return Some(now + self.pause(checks));
        }
        let watch = self.provider(row.method_kind).map(|provider| provider.terms().watch);
        let watched = last_settled.zip(watch).is_some_and(|(at, watch)| now < at + watch);
        watched.then(|| now + self.clock.jittered(WATCHED))
    }

    fn pause(&self, checks: i64) -> TimeDelta {
        let step = usize::try_from(checks).unwrap_or(0).min(PAUSES.len() - 1);
        self.clock.jittered(PAUSES[step])
    }
}
