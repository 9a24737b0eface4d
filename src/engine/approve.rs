//! Approve: a large payout waits until somebody other than its requester lets it go.

use serde_json::json;

use super::outcome::{Stamp, move_payouts};
use super::{Engine, EngineError, Work};
use crate::domain::{Currency, Money, OrgId, PayoutId, PayoutStatus, ProgramId, Role};
use crate::store::{PayoutMove, PayoutRow};

impl Engine {
    /// Lets a pending payout go; `note` is for its history.
    ///
    /// # Errors
    /// [`EngineError::NoPayout`]; [`EngineError::FourEyes`] if the same person asked for it, unless
    /// the settings allow that; [`EngineError::WrongStatus`] unless it is pending.
    pub async fn approve(
        &self,
        work: &Work,
        org: &OrgId,
        payout_id: &PayoutId,
        note: &str,
    ) -> Result<(), EngineError> {
        let payout = self.store.payout(org, payout_id).await?;
        let payout = payout.ok_or(EngineError::NoPayout { payout_id: payout_id.clone() })?;
        if self.settings.four_eyes
            && let Some(one) = self.is_theirs(org, &payout, work.actor.as_str()).await?
        {
            let payout_id = payout_id.clone();
            return Err(EngineError::FourEyes { payout_id, person: one });
        }
        let approved = self
            .retrying(|| async {
                let now = self.clock.now();
                let mut tx = self.begin(work).await?;
                let reason = if note.is_empty() { "approved" } else { note }.to_owned();
                let moves = [PayoutMove { payout_id: payout_id.clone(), code: None, reason }];
                let to = PayoutStatus::Approved;
                let stamp = Stamp { org, actor: &work.actor, now };
                if move_payouts(&mut tx, stamp, to, &moves).await?.is_empty() {
                    return Ok(false);
                }
                tx.payout_approved(org, payout_id, &work.actor, now).await?;
                let amount = Money::new(payout.amount_minor, payout.currency);
                let detail = json!({
                    "affiliateId": payout.affiliate_id, "amount": amount.to_string(),
                    "currency": payout.currency, "requestedBy": payout.requested_by, "note": note,
                });
                let act = ("payout.approved", payout_id.as_str());
                self.keep_act(&mut tx, org, work, act, detail).await?;
                tx.commit().await?;
                Ok(true)
            })
            .await?;
        if approved {
            return Ok(());
        }
        let payout = self.store.payout(org, payout_id).await?;
        let payout = payout.ok_or(EngineError::NoPayout { payout_id: payout_id.clone() })?;
        let hint = match payout.status {
            PayoutStatus::Approved => ": somebody was first",
            status if status.is_open() => ": it is being sent",
            _ => ": it has ended",
        };
        let (payout_id, status) = (payout_id.clone(), payout.status);
        Err(EngineError::WrongStatus { payout_id, status, verb: "approved", hint })
    }

    /// Says from which amount on the payouts of a program wait for an approval: those of more than
    /// `limit`, in its currency; with no amount none does. It counts for payouts requested from
    /// now on.
    ///
    /// # Errors
    /// [`EngineError::NoProgram`] unless the program has that currency; [`EngineError::BadAmount`].
    pub async fn approve_above(
        &self,
        work: &Work,
        org: &OrgId,
        program: &ProgramId,
        (currency, limit_minor): (Currency, Option<i64>),
    ) -> Result<(), EngineError> {
        let limit = limit_minor.map(|minor| Money::new(minor, currency));
        if let Some(amount) = limit.filter(|limit| limit.minor < 0) {
            return Err(EngineError::BadAmount { amount, wants: "0 or more".to_owned() });
        }
        self.retrying(|| async {
            let mut tx = self.begin(work).await?;
            if !tx.approval_limit(org, program, currency, limit_minor).await? {
                let program_id = program.to_string();
                return Err(EngineError::NoProgram { program_id, currency: currency.to_string() });
            }
            let above = limit.map(|limit| limit.to_string());
            let detail = json!({"currency": currency, "approveAbove": above});
            let act = ("program.approval_changed", program.as_str());
            self.keep_act(&mut tx, org, work, act, detail).await?;
            tx.commit().await?;
            Ok(())
        })
        .await
    }
}

impl Engine {
    /// As whom the approver had a hand in the payout before: as who asked for it, as who made the
    /// key that asked for it, or as who is paid by it.
    async fn is_theirs(
        &self,
        org: &OrgId,
        payout: &PayoutRow,
        approver: &str,
    ) -> Result<Option<String>, EngineError> {
        let mut people = Vec::new();
        let mut asked = Some(payout.clone());
        // Who asked for the payout that this one takes the place of asked for this money too.
        while let Some(payout) = asked {
            if let Some(key) = payout.requested_by.strip_prefix("service:") {
                people.extend(self.store.api_key_maker(org, key).await?);
            }
            people.push(payout.requested_by);
            asked = match &payout.retry_of {
                Some(before) => self.store.payout(org, before).await?,
                None => None,
            };
        }
        let partner = self.store.partner_of(org, &payout.affiliate_id).await?;
        people.extend(partner.map(|partner| format!("{}:{partner}", Role::Partner)));
        Ok(people.into_iter().find(|person| is_one_person(person, approver)))
    }
}

/// Whether two actors are one person: `staff:ann` at the API and `cli:ann` at the command line are.
/// A schedule is nobody, and whoever may approve may approve what it asked for.
fn is_one_person(one: &str, other: &str) -> bool {
    let person = |actor: &str| {
        let (role, id) = actor.split_once(':')?;
        (role != "system").then(|| id.to_owned())
    };
    one == other || person(one).is_some_and(|one| person(other).as_ref() == Some(&one))
}

#[cfg(test)]
mod tests {
    use super::is_one_person;

    #[test]
    fn one_person_is_one_whichever_door_they_came_by() {
        assert!(is_one_person("staff:ann", "staff:ann"));
        assert!(is_one_person("partner:ann", "staff:ann"));
        assert!(is_one_person("cli:ann", "staff:ann"));
        assert!(!is_one_person("staff:ann", "staff:ben"));
        assert!(!is_one_person("system:auto-payout", "staff:auto-payout"));
    }
}
