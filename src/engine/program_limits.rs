//! What programs may spend: staff set it, and it counts for what is asked from then on.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::{Engine, EngineError, Work};
use crate::domain::{Caps, Currency, OrgId, ProgramId, ProgramLimits};

impl Engine {
    /// What a program may spend.
    ///
    /// # Errors
    /// [`EngineError::UnknownProgram`].
    pub async fn program_limits(
        &self,
        org: &OrgId,
        program: &ProgramId,
    ) -> Result<ProgramLimits, EngineError> {
        let limits = self.store.program_limits(org, program).await?;
        limits.ok_or_else(|| EngineError::UnknownProgram { program_id: program.clone() })
    }

    /// Says what a program may spend, in place of all that was said before.
    ///
    /// # Errors
    /// [`EngineError::UnknownProgram`]; [`EngineError::NoProgram`] for an amount in a currency that
    /// the program does not have.
    pub async fn limit_program(
        &self,
        work: &Work,
        org: &OrgId,
        program: &ProgramId,
        new: &ProgramLimits,
    ) -> Result<(), EngineError> {
        let before = self.program_limits(org, program).await?;
        self.retrying(|| async {
            let mut tx = self.begin(work).await?;
            if tx.program_lock(org, program).await?.is_none() {
                return Err(EngineError::UnknownProgram { program_id: program.clone() });
            }
            let terms = tx.terms(org, program).await?;
            let known: Vec<Currency> = terms.iter().map(|terms| terms.currency).collect();
            if let Some(currency) = named(new).into_iter().find(|it| !known.contains(it)) {
                let (program_id, currency) = (program.to_string(), currency.to_string());
                return Err(EngineError::NoProgram { program_id, currency });
            }
            tx.program_limits_set(org, program, (new, &known)).await?;
            let detail = json!({ "before": told(&before), "after": told(new) });
            let act = ("program.limits_changed", program.as_str());
            self.keep_act(&mut tx, org, work, act, detail).await?;
            Ok(tx.commit().await?)
        })
        .await
    }
}

/// The currencies that amounts are named in.
fn named(limits: &ProgramLimits) -> BTreeSet<Currency> {
    let limits = &limits.limits;
    let caps = [&limits.amount_per_payout, &limits.amount_per_run, &limits.amount_per_day];
    caps.iter().flat_map(|caps| caps.iter()).map(|amount| amount.currency).collect()
}

fn told(of: &ProgramLimits) -> Value {
    let amounts = |caps: &Caps| -> serde_json::Map<String, Value> {
        let text = |it: crate::domain::Money| (it.currency.to_string(), json!(it.to_string()));
        caps.iter().map(text).collect()
    };
    let ProgramLimits { limits, approve_first, approve_changed } = of;
    json!({
        "payoutsPerRun": limits.payouts_per_run, "payoutsPerDay": limits.payouts_per_day,
        "amountPerPayout": amounts(&limits.amount_per_payout),
        "amountPerRun": amounts(&limits.amount_per_run),
        "amountPerDay": amounts(&limits.amount_per_day),
        "approveFirstPayout": approve_first, "approveChangedMethod": approve_changed,
    })
}
