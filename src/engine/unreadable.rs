//! Destinations that cannot be read: damaged, or moved from another row. One such row is set aside
//! alone, before anything is sent to it. A key that is missing is our side's trouble: nobody fails
//! for it, and everybody of the org waits.

use tracing::error;

use super::methods::MethodError;
use super::outcome::Stamp;
use super::sending::{Lane, count_waiting};
use super::submission::Refusal;
use super::{Engine, EngineError, Tally, Work};
use crate::domain::Destination;
use crate::providers::Problem;
use crate::store::{PaymentMethod, Transfer, Tx};
use crate::vault::VaultError;

/// What it is called where the destination of a payout or a method cannot be read.
pub(super) const UNREADABLE: &str = "destination_unreadable";
/// What payouts wait for where the keys of their org cannot be used.
const VAULT_REFUSED: &str = "vault_refused";

/// Why a method whose destination cannot be read is neither paid nor proven.
pub(super) fn unreadable() -> Problem {
    let words = "its destination cannot be read any more: it has to be told anew";
    Problem::new(UNREADABLE, words).of_method()
}

/// The destination of a method, where it can be read.
pub(super) fn readable(method: &PaymentMethod) -> Result<&Destination, MethodError> {
    let unreadable = || MethodError::Unreadable { method_id: method.method_id.clone() };
    method.destination.as_ref().ok_or_else(unreadable)
}

impl Engine {
    /// Why transfers that were certainly not sent may not be; `None` where every destination can
    /// be read. A person is told of each that cannot.
    pub(super) async fn refusal_of_unreadable(
        &self,
        tx: &mut Tx,
        stamp: Stamp<'_>,
        transfers: &[Transfer],
    ) -> Result<Option<Refusal>, EngineError> {
        let broken: Vec<_> = transfers.iter().filter(|one| one.destination.is_none()).collect();
        for transfer in &broken {
            let Transfer { payout_id, affiliate_id, destination_id, .. } = transfer;
            let words = format!(
                "payout {payout_id} of affiliate {affiliate_id} was not sent, and its money is \
                 available again: destination {destination_id} does not open, it was changed or \
                 moved in the database"
            );
            let about = (UNREADABLE, payout_id.as_str());
            self.alert(tx, stamp.org, about, &words, stamp.now).await?;
        }
        let items = broken.iter().map(|one| (one.reference.clone(), unreadable())).collect();
        let problem = Problem::new(UNREADABLE, "the destination of a member cannot be read");
        Ok((!broken.is_empty()).then_some(Refusal { items, problem }))
    }

    /// Leaves what waits on a lane whose keys cannot be used, and tells a person, once per org.
    pub(super) async fn leave_sealed(
        &self,
        work: &Work,
        lane: &Lane,
        cause: &VaultError,
        tally: &mut Tally,
    ) -> Result<(), EngineError> {
        let Lane { org, kind, currency } = lane;
        error!(event = "lane.sealed", org_id = %org, provider = %kind, currency = %currency,
               error = %cause);
        let words = format!("nothing more is sent: {cause}");
        let mut tx = self.begin(work).await?;
        let about = (VAULT_REFUSED, org.as_str());
        self.alert(&mut tx, org, about, &words, self.clock.now()).await?;
        tx.commit().await?;
        // The run says that it did not do all.
        tally.seen += 1;
        tally.failed += 1;
        tally.note(format!("payouts of org {org} wait for {kind} {currency}: {words}"));
        match self.store.queue(org, *kind, *currency).await? {
            Some(queue) => count_waiting(tally, &queue, (VAULT_REFUSED, &words)),
            None => Ok(()),
        }
    }
}
