//! Proving: how a method becomes `verified`. PayPal's by consent, Stripe's by what Stripe says of
//! the account, a bank account by two deposits whose amounts its holder tells, a wire's by a
//! person who looked.

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as BASE64;
use chrono::{DateTime, TimeDelta, Utc};
use serde_json::json;
use sha2::{Digest, Sha256};

use super::methods::{MethodError, held_method, live_method};
use super::telling::ToldMethod;
use super::unreadable::{readable, unreadable};
use super::{Engine, EngineError, Work};
use crate::domain::{
    Actor, CONSENT_LIVES, Challenge, Judgement, MethodId, MethodKind, MethodStatus, MicroDeposits,
    Nonce, OrgId, PayoutStatus, VerificationKind, VerificationStatus,
};
use crate::providers::{Problem, Vetted};
use crate::store::{HeldMethod, NewVerification, PaymentMethod, Tx, VerificationRow};

/// What an affiliate's methods together may be started, in starts of one.
const STARTS_OF_ALL: i64 = 3;

/// How a verification goes on.
#[derive(Debug, Clone)]
pub enum Started {
    /// The holder consents at this address.
    Consent { address: String, until: DateTime<Utc> },
    /// Two deposits leave; the holder tells their amounts.
    Deposits { until: DateTime<Utc> },
    /// The rail said it at once.
    Told { status: MethodStatus, problem: Option<Problem> },
}

/// What came back from the page where a holder consents.
#[derive(Debug, Clone, Copy)]
pub enum ConsentSaid<'a> {
    Code(&'a str),
    /// The provider's word for why there is no code.
    Declined(&'a str),
}

/// What a consent came to.
#[derive(Debug, Clone)]
pub struct Consented {
    pub method_id: MethodId,
    pub status: MethodStatus,
}

impl Engine {
    /// Starts to prove a method, in the way of its rail; a verification under way is given up.
    ///
    /// # Errors
    /// [`MethodError`]; [`EngineError::NotVetted`] if the rail cannot be asked now.
    pub async fn start_verification(
        &self,
        work: &Work,
        org: &OrgId,
        method_id: &MethodId,
    ) -> Result<Started, EngineError> {
        let method = self.store.method(org, method_id).await?;
        let method =
            method.ok_or_else(|| MethodError::NoMethod { method_id: method_id.clone() })?;
        readable(&method)?;
        match method.kind {
            MethodKind::Paypal => self.start_consent(work, org, &method).await,
            MethodKind::Ach => self.start_deposits(work, org, &method).await,
            MethodKind::StripeConnect => {
                let (status, problem) = self.vet_method(work, org, &method).await?;
                Ok(Started::Told { status, problem })
            }
            MethodKind::Wire => {
                let words = "a person of the payer has to look at it".to_owned();
                Err(MethodError::NotProvable { method_id: method_id.clone(), words }.into())
            }
        }
    }

    async fn start_consent(
        &self,
        work: &Work,
        org: &OrgId,
        method: &PaymentMethod,
    ) -> Result<Started, EngineError> {
        let Some(provider) = self.provider(MethodKind::Paypal) else {
            return Err(no_rail(method));
        };
        let nonce: Nonce = self.clock.mint();
        let state = format!("{}.{}", BASE64.encode(org.as_str()), nonce.as_str());
        let address = match provider.consent_address(&state) {
            Ok(address) => address,
            Err(problem) => return Err(not_vetted(method, problem)),
        };
        let until = self.clock.now() + CONSENT_LIVES;
        let secret_hash = hash_of(&state);
        self.retrying(|| async {
            let mut tx = self.begin(work).await?;
            let held = self.startable(&mut tx, (org, work), method).await?;
            let new = NewVerification {
                verification_id: self.clock.mint(),
                method_id: &held.method_id,
                affiliate_id: &held.affiliate_id,
                kind: VerificationKind::Consent,
                destination_id: &held.destination_id,
                salt: "",
                secret_hash: &secret_hash,
                tries_left: 1,
                payouts: None,
                expires_at: until,
            };
            self.keep_start(&mut tx, (org, work), &new).await?;
            tx.commit().await?;
            Ok(())
        })
        .await?;
        Ok(Started::Consent { address, until })
    }

    /// Takes hold of a method whose verification may start now, and gives up the one under way.
    pub(super) async fn startable(
        &self,
        tx: &mut Tx,
        (org, work): (&OrgId, &Work),
        method: &PaymentMethod,
    ) -> Result<HeldMethod, EngineError> {
        let (method_id, verb) = (&method.method_id, "verified");
        let held = live_method(tx, org, method_id, verb).await?;
        if held.status == MethodStatus::Verified {
            let (method_id, status) = (method_id.clone(), held.status);
            return Err(MethodError::WrongStatus { method_id, status, verb }.into());
        }
        let (now, day) = (self.clock.now(), TimeDelta::days(1));
        let whose = (&held.affiliate_id, method_id);
        let starts = tx.verification_starts(org, whose, now - day).await?;
        let most = self.settings.methods.starts_per_day;
        if starts.of_method >= most || starts.of_affiliate >= most * STARTS_OF_ALL {
            let wait = starts.first_at.map_or(day, |first| first + day - now);
            let retry_after_s = u32::try_from(wait.num_seconds().max(1)).unwrap_or(u32::MAX);
            return Err(MethodError::TooOften { retry_after_s }.into());
        }
        self.supersede(tx, (org, work), method_id).await?;
        Ok(held)
    }

    pub(super) async fn keep_start(
        &self,
        tx: &mut Tx,
        (org, work): (&OrgId, &Work),
        new: &NewVerification<'_>,
    ) -> Result<(), EngineError> {
        tx.verification_insert(org, new, &work.actor, self.clock.now()).await?;
        let detail = json!({
            "affiliateId": new.affiliate_id, "by": new.kind, "verificationId": new.verification_id,
            "expiresAt": new.expires_at,
        });
        let act = ("method.verification_started", new.method_id.as_str());
        self.keep_act(tx, org, work, act, detail).await
    }

    /// Hears what came back from the page where a holder consents. `state` is the only proof of
    /// who comes: it was told to one person, is good once, and not for long.
    ///
    /// # Errors
    /// [`MethodError`]; [`EngineError::NotVetted`] if the provider gives no answer now: then the
    /// same may come back once more.
    pub async fn hear_consent(
        &self,
        state: &str,
        said: ConsentSaid<'_>,
        request_id: &str,
    ) -> Result<(OrgId, Consented), EngineError> {
        let org = org_of(state).ok_or(MethodError::UnknownState)?;
        let consent = self.store.consent(&org, &hash_of(state)).await?;
        let consent = consent.ok_or(MethodError::UnknownState)?;
        self.take_consent(&org, &consent).await?;
        let vetted = match said {
            ConsentSaid::Declined(word) => {
                let words = format!("the holder did not consent ({})", word.escape_debug());
                Vetted::Unable(Problem::new("not_consented", words))
            }
            ConsentSaid::Code(code) => {
                let id = &consent.destination_id;
                let destination = self.store.readable_destination(&org, id).await?;
                match (self.provider(MethodKind::Paypal), &destination) {
                    (_, None) => Vetted::Unable(unreadable()),
                    (Some(provider), Some(one)) => provider.hear_consent(code, one).await,
                    (None, _) => {
                        Vetted::Unclear(Problem::new("rail_not_configured", "nobody to ask"))
                    }
                }
            }
        };
        let work =
            Work { request_id: Some(request_id.to_owned()), ..Work::by_person(starter(&consent)) };
        let consented = self.retrying(|| self.keep_consent(&org, &work, &consent, &vetted)).await?;
        Ok((org, consented))
    }

    /// Takes the one try of a consent, so that nobody else asks with the same code.
    async fn take_consent(
        &self,
        org: &OrgId,
        consent: &VerificationRow,
    ) -> Result<(), EngineError> {
        let now = self.clock.now();
        let mut tx = self.store.begin().await?;
        let id = &consent.verification_id;
        if consent.status == VerificationStatus::Open && now >= consent.expires_at {
            let end = (VerificationStatus::Expired, Some("expired"), None);
            tx.verification_end(org, id, end, now).await?;
            tx.commit().await?;
            return Err(MethodError::Expired.into());
        }
        if !tx.consent_take(org, id).await? {
            return Err(MethodError::StateUsed.into());
        }
        Ok(tx.commit().await?)
    }

    async fn keep_consent(
        &self,
        org: &OrgId,
        work: &Work,
        consent: &VerificationRow,
        vetted: &Vetted,
    ) -> Result<Consented, EngineError> {
        let (now, method_id) = (self.clock.now(), &consent.method_id);
        let mut tx = self.begin(work).await?;
        let held = held_method(&mut tx, org, method_id).await?;
        let told = ToldMethod::of(&held, held.status, None);
        let end = match vetted {
            Vetted::Able => (VerificationStatus::Confirmed, None, None),
            Vetted::Unable(problem) => {
                let (code, words) = (problem.code.as_str(), problem.message.as_str());
                (VerificationStatus::Failed, Some(code), Some(words))
            }
            Vetted::Unclear(_) | Vetted::CannotAsk => {
                tx.consent_give_back(org, &consent.verification_id).await?;
                tx.commit().await?;
                let (affiliate_id, kind) = (held.affiliate_id.to_string(), held.kind);
                let problem = match vetted {
                    Vetted::Unclear(problem) => problem.clone(),
                    _ => Problem::new("cannot_ask", "this rail has no such question"),
                };
                return Err(EngineError::NotVetted { affiliate_id, kind, problem });
            }
        };
        // A method that was changed or disabled meanwhile has given this up.
        if !tx.verification_end(org, &consent.verification_id, end, now).await? {
            return Err(MethodError::StateUsed.into());
        }
        let refused = match vetted {
            Vetted::Unable(problem) => {
                let why = Some((problem.code.as_str(), problem.message.as_str()));
                // Who declines says nothing about the account.
                if problem.code != "not_consented" {
                    let told = ToldMethod { status: MethodStatus::Failed, why, ..told };
                    self.end_proof(&mut tx, (org, work), &told).await?;
                }
                Some(problem.clone())
            }
            _ => {
                let by = VerificationKind::Consent;
                self.prove(&mut tx, (org, work), &told, by, "").await?;
                None
            }
        };
        tx.commit().await?;
        let method_id = method_id.clone();
        match refused {
            Some(problem) => Err(MethodError::NotProven { method_id, problem }.into()),
            None => Ok(Consented { method_id, status: MethodStatus::Verified }),
        }
    }

    /// Hears which amounts a holder found in the account.
    ///
    /// # Errors
    /// [`MethodError`]: nothing is under way, the deposits have not left, the amounts are wrong,
    /// or they come too late.
    pub async fn confirm_deposits(
        &self,
        work: &Work,
        org: &OrgId,
        method_id: &MethodId,
        told: MicroDeposits,
    ) -> Result<(), EngineError> {
        // What a wrong word changes is kept: the refusal comes after the commit.
        let refused = self.retrying(|| self.judge_deposits(work, org, method_id, told)).await?;
        refused.map_or(Ok(()), |refused| Err(refused.into()))
    }

    async fn judge_deposits(
        &self,
        work: &Work,
        org: &OrgId,
        method_id: &MethodId,
        told: MicroDeposits,
    ) -> Result<Option<MethodError>, EngineError> {
        let now = self.clock.now();
        let mut tx = self.begin(work).await?;
        let held = live_method(&mut tx, org, method_id, "verified").await?;
        let open = tx.verification_open(org, method_id).await?;
        let open = open.filter(|open| open.kind == VerificationKind::MicroDeposits);
        let Some(open) = open else {
            return Err(MethodError::NotStarted { method_id: method_id.clone() }.into());
        };
        let left = |status: &PayoutStatus| {
            matches!(status, PayoutStatus::Processing | PayoutStatus::Completed)
        };
        if !tx.deposits(org, &open).await?.iter().all(left) {
            return Err(MethodError::NotSentYet { method_id: method_id.clone() }.into());
        }
        let challenge = Challenge {
            salt: open.salt.clone(),
            hash: open.secret_hash.clone(),
            tries_left: open.tries_left,
            expires_at: open.expires_at,
        };
        let (place, id) = ((org, work), &open.verification_id);
        let method = ToldMethod::of(&held, held.status, None);
        let fail = |code, words| ToldMethod {
            status: MethodStatus::Failed,
            why: Some((code, words)),
            ..method
        };
        let refused = match challenge.judge(told, now) {
            Judgement::Right => {
                let end = (VerificationStatus::Confirmed, None, None);
                tx.verification_end(org, id, end, now).await?;
                let by = VerificationKind::MicroDeposits;
                self.prove(&mut tx, place, &method, by, "").await?;
                None
            }
            Judgement::Wrong { tries_left } => {
                tx.verification_tries(org, id, tries_left).await?;
                let detail = json!({ "affiliateId": held.affiliate_id, "triesLeft": tries_left });
                let act = ("method.wrong_amounts", method_id.as_str());
                self.keep_act(&mut tx, org, work, act, detail).await?;
                if tries_left == 0 {
                    let (code, words) = ("wrong_amounts", "the amounts were told wrong too often");
                    let end = (VerificationStatus::Failed, Some(code), Some(words));
                    tx.verification_end(org, id, end, now).await?;
                    self.end_proof(&mut tx, place, &fail(code, words)).await?;
                }
                Some(MethodError::WrongAmounts { tries_left })
            }
            Judgement::Expired => {
                let (code, words) = ("verification_expired", "nobody told the amounts in time");
                let end = (VerificationStatus::Expired, Some(code), Some(words));
                tx.verification_end(org, id, end, now).await?;
                self.end_proof(&mut tx, place, &fail(code, words)).await?;
                Some(MethodError::Expired)
            }
        };
        tx.commit().await?;
        Ok(refused)
    }

    /// Takes a person's word that a method is its holder's, or is not. A disabled one stays so.
    ///
    /// # Errors
    /// [`MethodError::NoMethod`], [`MethodError::WrongStatus`], [`MethodError::Unreadable`].
    pub async fn judge_method(
        &self,
        work: &Work,
        org: &OrgId,
        method_id: &MethodId,
        (is_good, note): (bool, &str),
    ) -> Result<(), EngineError> {
        if is_good && let Some(method) = self.store.method(org, method_id).await? {
            readable(&method)?;
        }
        self.retrying(|| async {
            let mut tx = self.begin(work).await?;
            let verb = if is_good { "verified" } else { "rejected" };
            let held = live_method(&mut tx, org, method_id, verb).await?;
            if is_good && held.status == MethodStatus::Verified {
                let (method_id, status) = (method_id.clone(), held.status);
                return Err(MethodError::WrongStatus { method_id, status, verb }.into());
            }
            self.supersede(&mut tx, (org, work), method_id).await?;
            let told = ToldMethod::of(&held, held.status, None);
            if is_good {
                let by = VerificationKind::Manual;
                self.prove(&mut tx, (org, work), &told, by, note).await?;
            } else {
                let why = Some(("rejected", note));
                let told = ToldMethod { status: MethodStatus::Failed, why, ..told };
                self.end_proof(&mut tx, (org, work), &told).await?;
            }
            tx.commit().await?;
            Ok(())
        })
        .await
    }
}

/// The org that a consent's word names.
fn org_of(state: &str) -> Option<OrgId> {
    let (org, _) = state.split_once('.')?;
    String::from_utf8(BASE64.decode(org).ok()?).ok()?.parse().ok()
}

fn hash_of(state: &str) -> String {
    hex::encode(Sha256::digest(state.as_bytes()))
}

/// Who started a verification, and finishes it now.
fn starter(consent: &VerificationRow) -> Actor {
    let (role, id) = consent.started_by.split_once(':').unwrap_or(("partner", ""));
    Actor::caller(role, id)
}

pub(super) fn no_rail(method: &PaymentMethod) -> EngineError {
    let section = method.kind.section();
    let words = format!("the rail is not configured, see [providers.{section}]");
    not_vetted(method, Problem::new("rail_not_configured", words))
}

pub(super) fn not_vetted(method: &PaymentMethod, problem: Problem) -> EngineError {
    let affiliate_id = method.affiliate_id.to_string();
    EngineError::NotVetted { affiliate_id, kind: method.kind, problem }
}
