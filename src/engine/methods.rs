//! Methods: where affiliates' money goes. Brought in, changed and disabled here; what proves them
//! is in `proving.rs`. A changed destination is a new one: it has to be proven, and cools off.
//!
//! Every change holds the affiliate's row, so that changes of one affiliate's methods wait for one
//! another, and is kept in the audit log. Rails are asked before a transaction, never inside one.

use chrono::{DateTime, Utc};
use serde_json::json;
use thiserror::Error;
use tracing::info;

use super::outcome::{Stamp, end_payouts};
use super::proving::not_vetted;
use super::telling::{ToldMethod, tell_method};
use super::unreadable::{UNREADABLE, readable};
use super::{Engine, EngineError, Work};
use crate::domain::{
    AffiliateId, Destination, DestinationId, EventKind, MethodId, MethodKind, MethodStatus, OrgId,
    PayoutStatus, VerificationKind, VerificationStatus,
};
use crate::providers::{Problem, Vetted};
use crate::store::{HeldMethod, NewDestination, NewPaymentMethod, PaymentMethod, PayoutMove, Tx};

/// The most methods of one affiliate that are not disabled.
const MOST_METHODS: i64 = 20;

/// What cannot be done to a method. Display names it and says what to do.
#[derive(Debug, Error)]
pub enum MethodError {
    #[error("affiliate {affiliate_id} does not exist in this org")]
    NoAffiliate { affiliate_id: AffiliateId },
    #[error("payment method {method_id} does not exist in this org")]
    NoMethod { method_id: MethodId },
    #[error("affiliate {affiliate_id} has {MOST_METHODS} payment methods: disable one first")]
    TooMany { affiliate_id: AffiliateId },
    #[error("payment method {method_id} is {status}, so it cannot be {verb}")]
    WrongStatus { method_id: MethodId, status: MethodStatus, verb: &'static str },
    #[error("payment method {method_id} is of type {kind}: add another one for another type")]
    OtherType { method_id: MethodId, kind: MethodKind },
    #[error("payment method {method_id} goes there already")]
    SameDestination { method_id: MethodId },
    #[error("payment method {method_id} cannot be verified like this: {words}")]
    NotProvable { method_id: MethodId, words: String },
    #[error("verifications were started too often: try again in {retry_after_s} seconds")]
    TooOften { retry_after_s: u32 },
    #[error("no verification of payment method {method_id} is under way: start one")]
    NotStarted { method_id: MethodId },
    #[error("the deposits of payment method {method_id} have not left yet: wait for them")]
    NotSentYet { method_id: MethodId },
    #[error("these are not the amounts of the deposits: {tries_left} tries left")]
    WrongAmounts { tries_left: i64 },
    #[error("the verification is too old: start it again")]
    Expired,
    #[error("this consent belongs to no verification")]
    UnknownState,
    #[error("this consent was used already: start the verification again")]
    StateUsed,
    #[error("the destination of payment method {method_id} cannot be read: it has to be told anew")]
    Unreadable { method_id: MethodId },
    #[error("payment method {method_id} is not proven: {problem}")]
    NotProven { method_id: MethodId, problem: Problem },
}

impl MethodError {
    /// A stable code, for logs and for the API.
    pub fn code(&self) -> &'static str {
        match self {
            Self::NoAffiliate { .. } => "no_affiliate",
            Self::NoMethod { .. } => "no_method",
            Self::TooMany { .. } => "too_many_methods",
            Self::WrongStatus { .. } => "wrong_method_status",
            Self::OtherType { .. } => "other_type",
            Self::SameDestination { .. } => "same_destination",
            Self::NotProvable { .. } => "not_provable",
            Self::TooOften { .. } => "started_too_often",
            Self::NotStarted { .. } => "verification_not_started",
            Self::NotSentYet { .. } => "deposits_not_sent",
            Self::WrongAmounts { .. } => "wrong_amounts",
            Self::Expired => "verification_expired",
            Self::UnknownState => "unknown_state",
            Self::StateUsed => "state_used",
            Self::Unreadable { .. } => UNREADABLE,
            Self::NotProven { .. } => "not_proven",
        }
    }
}

/// A method that somebody brings.
#[derive(Debug, Clone)]
pub struct BroughtMethod {
    pub affiliate_id: AffiliateId,
    pub destination: Destination,
    pub label: String,
    /// Whether it becomes the one that is paid; the first one does anyhow.
    pub is_default: bool,
}

/// What is to become of a method; `None` leaves things as they are.
#[derive(Debug, Clone, Default)]
pub struct MethodEdit {
    pub label: Option<String>,
    pub destination: Option<Destination>,
    /// Makes it the one that is paid.
    pub make_default: bool,
}

impl Engine {
    /// Takes a method in, `pending` until it is proven; what its rail can say at once is asked.
    /// The same destination again is the same method: its id, and whether it is a new one.
    ///
    /// # Errors
    /// [`MethodError::NoAffiliate`], [`MethodError::TooMany`].
    pub async fn add_method(
        &self,
        work: &Work,
        org: &OrgId,
        brought: &BroughtMethod,
    ) -> Result<(MethodId, bool), EngineError> {
        let vetted = self.vet(&brought.destination).await;
        let (affiliate, destination) = (&brought.affiliate_id, &brought.destination);
        self.retrying(|| async {
            let now = self.clock.now();
            let mut tx = self.begin(work).await?;
            let Some(owner) = tx.affiliate_lock(org, affiliate).await? else {
                return Err(MethodError::NoAffiliate { affiliate_id: affiliate.clone() }.into());
            };
            if let Some(known) = tx.method_same(org, affiliate, destination).await? {
                return Ok((known, false));
            }
            let held = tx.methods_held(org, affiliate).await?;
            if held.live >= MOST_METHODS {
                return Err(MethodError::TooMany { affiliate_id: affiliate.clone() }.into());
            }
            let method_id: MethodId = self.clock.mint();
            let destination_id = self.keep_destination(&mut tx, org, destination, now).await?;
            let new = NewPaymentMethod {
                method_id: &method_id,
                affiliate_id: affiliate,
                kind: destination.kind(),
                destination_id: &destination_id,
                label: &brought.label,
                is_default: brought.is_default || held.defaults == 0,
                // Whoever gets into an account adds a method of their own beside the owner's.
                cools: held.ever > 0,
            };
            tx.payment_method_insert(org, &new, now).await?;
            let told = ToldMethod::new(&method_id, affiliate, new.kind, MethodStatus::Pending);
            tell_method(&mut tx, org, EventKind::MethodCreated, &told, now).await?;
            let detail = json!({
                "affiliateId": affiliate, "type": new.kind, "isDefault": new.is_default,
            });
            let act = ("method.created", method_id.as_str());
            self.keep_act(&mut tx, org, work, act, detail).await?;
            let place = (&destination_id, owner.partner_id.as_str());
            self.look_for_twin(&mut tx, org, (&method_id, affiliate), place).await?;
            self.keep_vetted(&mut tx, (org, work), &told, &vetted).await?;
            tx.commit().await?;
            Ok((method_id, true))
        })
        .await
    }

    /// Changes a method. Another destination has to be proven anew; payouts that were asked to
    /// the one before keep it.
    ///
    /// # Errors
    /// [`MethodError::NoMethod`]; [`MethodError::WrongStatus`] of a disabled one.
    pub async fn change_method(
        &self,
        work: &Work,
        org: &OrgId,
        method_id: &MethodId,
        edit: &MethodEdit,
    ) -> Result<(), EngineError> {
        let vetted = match &edit.destination {
            Some(destination) => self.vet(destination).await,
            None => Vetted::CannotAsk,
        };
        self.retrying(|| async {
            let mut tx = self.begin(work).await?;
            let held = live_method(&mut tx, org, method_id, "changed").await?;
            if edit.make_default && held.is_default == 0 {
                tx.method_promote(org, &held).await?;
                self.keep_method_act(&mut tx, (org, work), "method.made_default", &held).await?;
            }
            if let Some(label) = &edit.label {
                tx.method_label(org, method_id, label).await?;
                self.keep_method_act(&mut tx, (org, work), "method.renamed", &held).await?;
            }
            if let Some(destination) = &edit.destination {
                self.redirect(&mut tx, (org, work), &held, destination, &vetted).await?;
            }
            tx.commit().await?;
            Ok(())
        })
        .await
    }

    async fn redirect(
        &self,
        tx: &mut Tx,
        (org, work): (&OrgId, &Work),
        held: &HeldMethod,
        destination: &Destination,
        vetted: &Vetted,
    ) -> Result<(), EngineError> {
        let (method_id, affiliate) = (&held.method_id, &held.affiliate_id);
        if destination.kind() != held.kind {
            let (method_id, kind) = (method_id.clone(), held.kind);
            return Err(MethodError::OtherType { method_id, kind }.into());
        }
        match tx.method_same(org, affiliate, destination).await? {
            Some(same) if same == *method_id => return Ok(()),
            Some(method_id) => return Err(MethodError::SameDestination { method_id }.into()),
            None => {}
        }
        let now = self.clock.now();
        if held.status != MethodStatus::Verified {
            // They would have been held back at the next send: the old destination was no good.
            let why = ("method_unverified", "its method was not verified when it was changed");
            self.cancel_waiting(tx, (org, work), method_id, why).await?;
        }
        self.supersede(tx, (org, work), method_id).await?;
        let destination_id = self.keep_destination(tx, org, destination, now).await?;
        tx.method_redirect(org, method_id, &destination_id).await?;
        let told = ToldMethod::new(method_id, affiliate, held.kind, MethodStatus::Pending);
        tell_method(tx, org, EventKind::MethodChanged, &told, now).await?;
        let detail = json!({
            "affiliateId": affiliate, "type": held.kind, "before": held.destination_id,
            "after": destination_id,
        });
        self.keep_act(tx, org, work, ("method.changed", method_id.as_str()), detail).await?;
        self.alert_passes(tx, org, (DUPLICATE, method_id.as_str()), work).await?;
        if let Some(owner) = tx.affiliate_lock(org, affiliate).await? {
            let place = (&destination_id, owner.partner_id.as_str());
            self.look_for_twin(tx, org, (method_id, affiliate), place).await?;
        }
        self.keep_vetted(tx, (org, work), &told, vetted).await
    }

    /// Disables a method, for good: nothing more is paid to it, not even what waits.
    ///
    /// # Errors
    /// [`MethodError::NoMethod`]; one that is disabled already stays so.
    pub async fn disable_method(
        &self,
        work: &Work,
        org: &OrgId,
        method_id: &MethodId,
        note: &str,
    ) -> Result<(), EngineError> {
        self.retrying(|| async {
            let mut tx = self.begin(work).await?;
            let held = held_method(&mut tx, org, method_id).await?;
            if held.status == MethodStatus::Disabled {
                return Ok(());
            }
            self.supersede(&mut tx, (org, work), method_id).await?;
            let told = ToldMethod::of(&held, MethodStatus::Disabled, Some(("disabled", note)));
            self.end_proof(&mut tx, (org, work), &told).await?;
            self.cancel_waiting(&mut tx, (org, work), method_id, ("method_disabled", note)).await?;
            self.alert_passes(&mut tx, org, (DUPLICATE, method_id.as_str()), work).await?;
            tx.commit().await?;
            Ok(())
        })
        .await
    }

    /// Asks the rail of an affiliate's default method whether it can receive money, and keeps the
    /// answer. A method that a person has disabled stays so.
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
        match method.filter(|method| method.status != MethodStatus::Disabled) {
            Some(method) => self.vet_method(work, org, &method).await,
            None => Err(EngineError::NoMethod { affiliate_id: affiliate.to_string() }),
        }
    }

    /// Asks the rail of a method whether it can receive money, and keeps the answer.
    pub(super) async fn vet_method(
        &self,
        work: &Work,
        org: &OrgId,
        method: &PaymentMethod,
    ) -> Result<(MethodStatus, Option<Problem>), EngineError> {
        let destination = readable(method)?;
        let vetted = match self.provider(method.kind) {
            Some(_) => self.vet(destination).await,
            None => Vetted::Unclear(Problem::new("rail_not_configured", "nobody can be asked")),
        };
        let (status, problem) = match &vetted {
            Vetted::Able => (MethodStatus::Verified, None),
            Vetted::Unable(problem) => (MethodStatus::Failed, Some(problem.clone())),
            Vetted::Unclear(problem) => return Err(not_vetted(method, problem.clone())),
            Vetted::CannotAsk => {
                let words = "this rail has no such question; a person has to verify the method";
                return Err(not_vetted(method, Problem::new("cannot_ask", words)));
            }
        };
        let mut tx = self.begin(work).await?;
        let held = live_method(&mut tx, org, &method.method_id, "verified").await?;
        let told = ToldMethod::of(&held, held.status, None);
        if held.destination_id != method.destination_id {
            // It was changed while its rail was asked: the answer is about the one before.
            let problem = Problem::new("changed_meanwhile", "the method was changed meanwhile");
            return Err(not_vetted(method, problem));
        }
        self.keep_vetted(&mut tx, (org, work), &told, &vetted).await?;
        tx.commit().await?;
        info!(event = "method.vetted", org_id = %org, method_id = %method.method_id, status = %status,
              code = problem.as_ref().map(|problem| problem.code.as_str()), actor = %work.actor);
        Ok((status, problem))
    }

    /// What the rail of a destination can say at once.
    async fn vet(&self, destination: &Destination) -> Vetted {
        match self.provider(destination.kind()) {
            Some(provider) => provider.vet(destination).await,
            None => Vetted::CannotAsk,
        }
    }

    /// Keeps what a rail said of a method; what it could not say changes nothing.
    async fn keep_vetted(
        &self,
        tx: &mut Tx,
        place: (&OrgId, &Work),
        told: &ToldMethod<'_>,
        vetted: &Vetted,
    ) -> Result<(), EngineError> {
        match vetted {
            Vetted::Able => self.prove(tx, place, told, VerificationKind::Capability, "").await,
            Vetted::Unable(problem) => {
                let why = Some((problem.code.as_str(), problem.message.as_str()));
                let told = ToldMethod { status: MethodStatus::Failed, why, ..*told };
                self.end_proof(tx, place, &told).await
            }
            Vetted::Unclear(_) | Vetted::CannotAsk => Ok(()),
        }
    }

    /// Keeps that a method is proven. From here on it may be paid, if it need not cool off.
    pub(super) async fn prove(
        &self,
        tx: &mut Tx,
        (org, work): (&OrgId, &Work),
        told: &ToldMethod<'_>,
        by: VerificationKind,
        note: &str,
    ) -> Result<(), EngineError> {
        let now = self.clock.now();
        let usable_from = now + self.settings.methods.cooling;
        tx.method_verified(org, told.method_id, by, (now, usable_from)).await?;
        let told = ToldMethod { status: MethodStatus::Verified, why: None, ..*told };
        tell_method(tx, org, EventKind::MethodVerified, &told, now).await?;
        let detail = json!({ "affiliateId": told.affiliate_id, "by": by, "note": note });
        self.keep_act(tx, org, work, ("method.verified", told.method_id.as_str()), detail).await
    }

    /// Keeps that a method has failed, or is disabled, and why.
    pub(super) async fn end_proof(
        &self,
        tx: &mut Tx,
        (org, work): (&OrgId, &Work),
        told: &ToldMethod<'_>,
    ) -> Result<(), EngineError> {
        let now = self.clock.now();
        let (code, reason) = told.why.unwrap_or_default();
        tx.method_unverified(org, told.method_id, told.status, (code, reason)).await?;
        let (event, action) = match told.status {
            MethodStatus::Disabled => (EventKind::MethodDisabled, "method.disabled"),
            _ => (EventKind::MethodFailed, "method.failed"),
        };
        tell_method(tx, org, event, told, now).await?;
        let detail = json!({ "affiliateId": told.affiliate_id, "code": code, "reason": reason });
        self.keep_act(tx, org, work, (action, told.method_id.as_str()), detail).await
    }

    /// Ends the verification under way, if there is one: what it would prove is no more. Deposits
    /// that have not left stay.
    pub(super) async fn supersede(
        &self,
        tx: &mut Tx,
        (org, work): (&OrgId, &Work),
        method: &MethodId,
    ) -> Result<(), EngineError> {
        let Some(open) = tx.verification_open(org, method).await? else { return Ok(()) };
        let now = self.clock.now();
        let end = (VerificationStatus::Superseded, None, None);
        tx.verification_end(org, &open.verification_id, end, now).await?;
        let deposits: Vec<_> = open.first_payout.into_iter().chain(open.second_payout).collect();
        let moves: Vec<_> = deposits.into_iter().map(|id| move_of(id, SUPERSEDED)).collect();
        let stamp = Stamp { org, actor: &work.actor, now };
        end_payouts(tx, stamp, PayoutStatus::Cancelled, &moves).await?;
        Ok(())
    }

    async fn cancel_waiting(
        &self,
        tx: &mut Tx,
        (org, work): (&OrgId, &Work),
        method: &MethodId,
        why: (&str, &str),
    ) -> Result<(), EngineError> {
        let waiting = tx.payouts_waiting_for_method(org, method).await?;
        let moves: Vec<_> = waiting.into_iter().map(|id| move_of(id, why)).collect();
        let stamp = Stamp { org, actor: &work.actor, now: self.clock.now() };
        end_payouts(tx, stamp, PayoutStatus::Cancelled, &moves).await?;
        Ok(())
    }

    async fn keep_destination(
        &self,
        tx: &mut Tx,
        org: &OrgId,
        destination: &Destination,
        now: DateTime<Utc>,
    ) -> Result<DestinationId, EngineError> {
        let destination_id: DestinationId = self.clock.mint();
        let new = NewDestination {
            destination_id: destination_id.clone(),
            destination: destination.clone(),
        };
        tx.destinations_insert(org, &[new], now).await?;
        Ok(destination_id)
    }

    /// Two people who are paid to one account may be one person: somebody has to look.
    async fn look_for_twin(
        &self,
        tx: &mut Tx,
        org: &OrgId,
        (method, affiliate): (&MethodId, &AffiliateId),
        place: (&DestinationId, &str),
    ) -> Result<(), EngineError> {
        let Some((twin, other)) = tx.method_twin(org, method, place).await? else { return Ok(()) };
        let words = format!(
            "method {method} of affiliate {affiliate} goes to the same account as method {twin} of \
             affiliate {other}"
        );
        let now = self.clock.now();
        self.alert(tx, org, (DUPLICATE, method.as_str()), &words, now).await?;
        Ok(())
    }

    async fn keep_method_act(
        &self,
        tx: &mut Tx,
        (org, work): (&OrgId, &Work),
        action: &'static str,
        held: &HeldMethod,
    ) -> Result<(), EngineError> {
        let detail = json!({ "affiliateId": held.affiliate_id });
        self.keep_act(tx, org, work, (action, held.method_id.as_str()), detail).await
    }
}

/// What an alert is called about two people's methods that go to one account.
const DUPLICATE: &str = "duplicate_account";
/// Why deposits do not leave any more.
const SUPERSEDED: (&str, &str) = ("superseded", "what it was to prove has changed");

fn move_of(payout_id: crate::domain::PayoutId, (code, reason): (&str, &str)) -> PayoutMove {
    PayoutMove { payout_id, code: Some(code.to_owned()), reason: reason.to_owned() }
}

/// A method, with its affiliate's row held.
pub(super) async fn held_method(
    tx: &mut Tx,
    org: &OrgId,
    id: &MethodId,
) -> Result<HeldMethod, EngineError> {
    let held = tx.method_lock(org, id).await?;
    held.ok_or_else(|| MethodError::NoMethod { method_id: id.clone() }.into())
}

/// A method that is not disabled, with its affiliate's row held.
pub(super) async fn live_method(
    tx: &mut Tx,
    org: &OrgId,
    id: &MethodId,
    verb: &'static str,
) -> Result<HeldMethod, EngineError> {
    let held = held_method(tx, org, id).await?;
    if held.status == MethodStatus::Disabled {
        let (method_id, status) = (id.clone(), held.status);
        return Err(MethodError::WrongStatus { method_id, status, verb }.into());
    }
    Ok(held)
}
