//! Funding: what a rail can spend, and payouts that wait until it can. Too small a balance is our
//! trouble, not a payee's: nobody fails, the oldest go first, and a person is told once.

use tracing::warn;

use super::sending::{
    AWAITING_FUNDS, BLOCKED_FOR, Lane, RAIL_BLOCKED, RAIL_UNREACHABLE, Rails, count_waiting,
};
use super::telling::{ToldShortage, tell_shortage};
use super::{Engine, EngineError, Tally, Work};
use crate::providers::{Funds, Provider};
use crate::store::CircuitRow;

impl Engine {
    /// Asks once in a run what a rail can spend: its balance, less what may have left and its
    /// balance may not show yet. A rail that cannot say is not held back.
    pub(super) async fn learn_budget(
        &self,
        provider: &dyn Provider,
        lane: &Lane,
        rails: &mut Rails,
        tally: &mut Tally,
    ) -> Result<(), EngineError> {
        if rails.knows_budget(lane) {
            return Ok(());
        }
        let budget = match provider.funds(lane.currency).await {
            Funds::CannotAsk => None,
            Funds::Known(balance) => {
                let under_way = self.store.unheard(lane.kind, lane.currency).await?;
                Some(balance.minor.saturating_sub(under_way.minor))
            }
            Funds::Unclear(problem) => {
                tally.note(format!("{} does not tell its balance: {problem}", lane.kind));
                warn!(event = "funds.unclear", provider = %lane.kind, currency = %lane.currency,
                      code = problem.code.as_str(), message = problem.message.as_str());
                None
            }
        };
        rails.set_budget(lane, budget);
        Ok(())
    }

    /// What is left of a lane at the end: if it stopped because of us, it is left alone and a
    /// person is told, once; if it goes again after that, nobody waits any more.
    pub(super) async fn close_the_books(
        &self,
        work: &Work,
        lane: &Lane,
        rails: &Rails,
        tally: &mut Tally,
    ) -> Result<(), EngineError> {
        let Lane { org, kind, currency } = lane;
        let subject = format!("{kind} {currency}");
        let Some((reason, problem)) = rails.stopped(lane) else {
            if rails.is_on_trial(lane) && !rails.is_over(lane) {
                let mut tx = self.begin(work).await?;
                tx.circuit_close(org, *kind, *currency).await?;
                for reason in [AWAITING_FUNDS, RAIL_BLOCKED, RAIL_UNREACHABLE] {
                    self.alert_passes(&mut tx, org, (reason, &subject), work).await?;
                }
                tx.commit().await?;
            }
            return Ok(());
        };
        let now = self.clock.now();
        // A balance that was asked before anything was sent, and a line that was dead, can be tried
        // again at any time.
        let at_once = problem.code == "balance_too_small" || *reason == RAIL_UNREACHABLE;
        let circuit = CircuitRow {
            org_id: org.clone(),
            method_kind: *kind,
            currency: *currency,
            reason: (*reason).to_owned(),
            message: problem.to_string(),
            retry_at: if at_once { now } else { now + BLOCKED_FOR },
        };
        let words = format!("{kind} pays nothing in {currency} for now: {problem}");
        let waiting = self.store.queue(org, *kind, *currency).await?;
        let waiting = waiting.map(|queue| (queue.payouts, queue.amount()));
        let mut tx = self.begin(work).await?;
        tx.circuit_open(&circuit, now).await?;
        // Once, until it passes: not at each run that finds it so.
        let is_new = self.alert(&mut tx, org, (reason, &subject), &words, now).await?;
        if is_new && *reason == AWAITING_FUNDS {
            let message = problem.to_string();
            let told =
                ToldShortage { kind: *kind, currency: *currency, message: &message, waiting };
            tell_shortage(&mut tx, org, &told, now).await?;
        }
        tx.commit().await?;
        self.leave_waiting(lane, (reason, &problem.to_string()), tally).await
    }

    /// Counts what stays in a lane's queue.
    pub(super) async fn leave_waiting(
        &self,
        lane: &Lane,
        why: (&str, &str),
        tally: &mut Tally,
    ) -> Result<(), EngineError> {
        match self.store.queue(&lane.org, lane.kind, lane.currency).await? {
            Some(queue) => count_waiting(tally, &queue, why),
            None => Ok(()),
        }
    }
}
