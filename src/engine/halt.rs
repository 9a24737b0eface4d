//! Halt: a person stops sending, for everything, an org, a rail or a program. Nothing is cancelled:
//! what is held back waits, and goes once the halt is lifted. Approval does not get round it.

use serde_json::json;
use tracing::warn;

use super::outcome::Stamp;
use super::sending::{HALTED, Lane, count_waiting};
use super::{Engine, EngineError, Tally, Work};
use crate::domain::{Halt, HaltScope, OrgId, ProgramId, Scope};
use crate::providers::{Leave, Problem, Provider};
use crate::store::{QueuedPayout, SubmissionRow, Transfer, Tx};

impl Engine {
    /// Stops sending from now on; false if that is halted already: the first reason stays.
    ///
    /// # Errors
    /// [`EngineError::UnknownProgram`] for a program that the org does not have.
    pub async fn halt(&self, work: &Work, halt: &Halt, reason: &str) -> Result<bool, EngineError> {
        let orgs = self.orgs_of(halt).await?;
        let begun = self
            .retrying(|| async {
                let now = self.clock.now();
                let mut tx = self.begin(work).await?;
                if let (HaltScope::Program, Some(org)) = (halt.scope, &halt.org) {
                    let program_id: ProgramId =
                        halt.subject.parse().expect("a halted program has an id");
                    if tx.program_lock(org, &program_id).await?.is_none() {
                        return Err(EngineError::UnknownProgram { program_id });
                    }
                }
                if !tx.halt(halt, (&work.actor, reason), now).await? {
                    return Ok(false);
                }
                self.keep_halt(&mut tx, work, (halt, "halt.set"), (&orgs, reason)).await?;
                tx.commit().await?;
                Ok(true)
            })
            .await?;
        if begun {
            warn!(event = "halt.set", what = %halt, reason, actor = %work.actor);
        }
        Ok(begun)
    }

    /// Lets what was halted be sent again.
    ///
    /// # Errors
    /// [`EngineError::NotHalted`].
    pub async fn lift(&self, work: &Work, halt: &Halt, reason: &str) -> Result<(), EngineError> {
        let orgs = self.orgs_of(halt).await?;
        self.retrying(|| async {
            let mut tx = self.begin(work).await?;
            if !tx.halt_lift(halt).await? {
                return Err(EngineError::NotHalted { what: halt.to_string() });
            }
            self.keep_halt(&mut tx, work, (halt, "halt.lifted"), (&orgs, reason)).await?;
            Ok(tx.commit().await?)
        })
        .await?;
        warn!(event = "halt.lifted", what = %halt, reason, actor = %work.actor);
        Ok(())
    }

    /// A halt of everything is in the audit log of each org.
    async fn orgs_of(&self, halt: &Halt) -> Result<Vec<OrgId>, EngineError> {
        match &halt.org {
            Some(org) => Ok(vec![org.clone()]),
            None => Ok(self.store.orgs().await?),
        }
    }

    async fn keep_halt(
        &self,
        tx: &mut Tx,
        work: &Work,
        (halt, action): (&Halt, &'static str),
        (orgs, reason): (&[OrgId], &str),
    ) -> Result<(), EngineError> {
        let what = halt.to_string();
        for org in orgs {
            let detail = json!({ "scope": halt.scope, "subject": halt.subject, "reason": reason });
            self.keep_act(tx, org, work, (action, &what), detail).await?;
        }
        Ok(())
    }

    /// Whether nothing at all leaves on a lane. What is halted of one program is left out where
    /// payouts are claimed.
    pub(super) async fn is_halted(&self, lane: &Lane) -> Result<bool, EngineError> {
        let halts = self.store.halts(Some(&lane.org)).await?;
        Ok(halts.iter().any(|halt| halt.covers(lane.kind, None)))
    }

    /// What a rail asks right before a submission's bytes leave.
    pub(super) fn leave_of(&self, row: &SubmissionRow) -> Leave {
        let (engine, row) = (self.clone(), row.clone());
        Leave::asked(move || {
            let (engine, row) = (engine.clone(), row.clone());
            async move { engine.holds_back(&row).await }
        })
    }

    /// What keeps a submission's bytes from leaving at this moment. If that cannot be found out,
    /// they stay.
    async fn holds_back(&self, row: &SubmissionRow) -> Option<Problem> {
        match self.store.submission_halted(row).await {
            Ok(None) => None,
            Ok(Some(what)) => Some(Problem::new(HALTED, format!("halted: {what}"))),
            Err(error) => {
                let words = format!("whether it is halted cannot be read: {error}");
                Some(Problem::new("halts_unreadable", words))
            }
        }
    }

    /// Counts what waits under a halt.
    pub(super) async fn count_halted(
        &self,
        scope: &Scope,
        tally: &mut Tally,
    ) -> Result<(), EngineError> {
        let halts = self.store.halts(None).await?;
        if halts.is_empty() {
            return Ok(());
        }
        for queue in self.store.halted_queues().await? {
            let (org, kind) = (queue.org_id.clone(), queue.method_kind);
            if (Lane { org, kind, currency: queue.currency }).is_in(scope) {
                count_waiting(tally, &queue, (HALTED, "halted, see `payoutd halt list`"))?;
            }
        }
        Ok(())
    }

    /// Parts a submission, certainly not sent, of which some payouts are halted: those wait by
    /// themselves, the others need not wait with them.
    pub(super) async fn part_halted(
        &self,
        tx: &mut Tx,
        stamp: Stamp<'_>,
        provider: &dyn Provider,
        row: &SubmissionRow,
        members: &[QueuedPayout],
    ) -> Result<(), EngineError> {
        let is_halted = |transfer: &&Transfer| {
            members.iter().any(|member| {
                member.payout_id == transfer.payout_id && member.candidate.halted.is_some()
            })
        };
        let transfers = tx.transfers_of(stamp.org, &row.submission_id).await?;
        let (halted, others): (Vec<_>, Vec<_>) = transfers.iter().partition(is_halted);
        tx.submission_refuse(stamp.org, &row.submission_id, stamp.now).await?;
        let why = Problem::new(HALTED, "parted from payouts that are halted");
        self.send_again(tx, stamp, provider, &[&halted, &others], &why).await
    }
}
