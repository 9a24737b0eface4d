//! Methods: whether a destination can receive money, as its own rail says.

use tracing::info;

use super::{Engine, EngineError, Work};
use crate::domain::{AffiliateId, MethodKind, MethodStatus, OrgId};
use crate::providers::{Problem, Vetted};
use crate::store::MethodChange;

impl Engine {
    /// Asks the rail of an affiliate's method whether it can receive money, and keeps the answer
    /// as the method's status. A method that a person has disabled stays so.
    ///
    /// # Errors
    /// [`EngineError::NoMethod`]; [`EngineError::NotVetted`] if the rail gives no answer: then
    /// the status stays as it was.
    pub async fn verify_method(
        &self,
        work: &Work,
        org: &OrgId,
        affiliate: &AffiliateId,
    ) -> Result<(MethodStatus, Option<Problem>), EngineError> {
        let method = self.store.method_of(org, affiliate).await?;
        let method = method.filter(|method| method.status != MethodStatus::Disabled);
        let method =
            method.ok_or_else(|| EngineError::NoMethod { affiliate_id: affiliate.to_string() })?;
        let kind = method.destination.kind();
        let vetted = match self.provider(kind) {
            Some(provider) => provider.vet(&method.destination).await,
            None => Vetted::Unclear(Problem::new("rail_not_configured", "nobody can be asked")),
        };
        let (status, problem) = match vetted {
            Vetted::Able => (MethodStatus::Verified, None),
            Vetted::Unable(problem) => (MethodStatus::Failed, Some(problem)),
            Vetted::Unclear(problem) => return Err(not_vetted(affiliate, kind, problem)),
            Vetted::CannotAsk => {
                let words = "this rail has no such question; a person has to verify the method";
                return Err(not_vetted(affiliate, kind, Problem::new("cannot_ask", words)));
            }
        };
        let (code, reason) = problem.clone().map(|p| (p.code, p.message)).unzip();
        let (method_id, destination_id) = (method.method_id, method.destination_id);
        let change = MethodChange { method_id, destination_id, status, code, reason };
        let mut tx = self.begin(work).await?;
        tx.methods_change(org, std::slice::from_ref(&change)).await?;
        tx.commit().await?;
        info!(event = "method.vetted", org_id = %org, method_id = %change.method_id, status = %status,
              code = change.code.as_deref(), actor = %work.actor);
        Ok((status, problem))
    }
}

fn not_vetted(affiliate: &AffiliateId, kind: MethodKind, problem: Problem) -> EngineError {
    EngineError::NotVetted { affiliate_id: affiliate.to_string(), kind, problem }
}
