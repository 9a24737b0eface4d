//! Wanted: somebody asks for a payout from outside, as the API is spoken: by affiliate and program,
//! to a destination that is on file. A caller who repeats a request under one key gets one payout
//! and one answer.

use std::collections::BTreeMap;

use super::{Engine, EngineError, PersonRequest, Work};
use crate::domain::{
    AffiliateId, Currency, Gate, GateCheck, MethodId, MethodKind, MethodStatus, Money, OrgId,
    PartnerId, ProgramId, WalletKey,
};
use crate::store::{FiledMethod, OnceKey, PayoutRow, StoreError, Tx};

/// No method has it: ids hold no spaces.
const NO_METHOD: &str = " ";

/// What is asked for.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// The person who may ask for their own only; `None` for staff and services.
    pub partner: Option<PartnerId>,
    pub affiliate_id: AffiliateId,
    /// The program that the affiliate has to be in, where it is named.
    pub program: Option<ProgramId>,
    pub currency: Currency,
    /// Minor units.
    pub amount_minor: i64,
    pub by: PaidBy,
    pub note: Option<String>,
}

/// Which of the affiliate's methods it is to be paid by.
#[derive(Debug, Clone, Default)]
pub struct PaidBy {
    /// This one.
    pub method_id: Option<MethodId>,
    /// One of this rail.
    pub kind: Option<MethodKind>,
    /// One whose destination has these fields.
    pub destination: BTreeMap<String, String>,
}

/// What is answered, now or before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answered {
    pub status: u16,
    pub body: String,
}

impl Engine {
    /// Requests a payout as a caller asks, and renders the answer. Under a key, the answer is kept
    /// in the transaction of the payout itself: asked again, the same bytes come back. A refusal by
    /// the gates is an answer like any other, and kept too.
    ///
    /// # Errors
    /// [`EngineError::NoAffiliate`] for an affiliate that is unknown or somebody else's;
    /// [`EngineError::WrongProgram`]; [`EngineError::KeyReused`] if the key came with another body.
    pub async fn request_wanted(
        &self,
        work: &Work,
        org: &OrgId,
        (wanted, once): (&Wanted, Option<&OnceKey>),
        render: impl Fn(Result<&PayoutRow, &[GateCheck]>) -> Answered,
    ) -> Result<Answered, EngineError> {
        self.retrying(|| async {
            let mut tx = self.begin(work).await?;
            if let Some(once) = once
                && !tx.key_claim(org, once, self.clock.now()).await?
            {
                return answered_before(&mut tx, org, once).await;
            }
            let answered = match self.wanted_within(&mut tx, work, org, wanted).await {
                Ok(payout) => render(Ok(&payout)),
                Err(EngineError::Refused { failing }) => render(Err(&failing)),
                Err(other) => return Err(other),
            };
            if let Some(once) = once {
                tx.key_keep(org, once, (answered.status, &answered.body)).await?;
            }
            tx.commit().await?;
            Ok(answered)
        })
        .await
    }

    async fn wanted_within(
        &self,
        tx: &mut Tx,
        work: &Work,
        org: &OrgId,
        wanted: &Wanted,
    ) -> Result<PayoutRow, EngineError> {
        let owner = tx.owner_of(org, &wanted.affiliate_id).await?;
        let own = |partner: &PartnerId| wanted.partner.as_ref().is_none_or(|one| one == partner);
        let Some((_, program)) = owner.filter(|(partner, _)| own(partner)) else {
            return Err(EngineError::NoAffiliate { affiliate_id: wanted.affiliate_id.clone() });
        };
        if wanted.program.as_ref().is_some_and(|named| *named != program) {
            let affiliate_id = wanted.affiliate_id.clone();
            return Err(EngineError::WrongProgram { affiliate_id, program_id: program });
        }
        let (affiliate_id, currency) = (wanted.affiliate_id.clone(), wanted.currency);
        let wallet = WalletKey { affiliate_id, currency };
        // Who has earned nothing yet is refused by the gates, with their numbers.
        match self.lock_or_open(tx, org, &wallet).await {
            Err(EngineError::NoWallet { .. }) => {
                let amount = Money::new(wanted.amount_minor, currency);
                return Err(EngineError::Refused { failing: not_enabled(amount, &program) });
            }
            opened => opened?,
        }
        let method = self.method_for(tx, org, wanted).await?;
        let amount_minor = wanted.amount_minor;
        let request = PersonRequest { wallet, amount_minor, retry_of: None };
        let payout_id = self.request_within(tx, work, org, (&request, method.as_deref())).await?;
        if let Some(note) = &wanted.note {
            tx.payout_note(org, &payout_id, note).await?;
        }
        let gone = || StoreError::Gone { what: "payout", id: payout_id.to_string() };
        Ok(tx.payout(org, &payout_id).await?.ok_or_else(gone)?)
    }

    /// The id of the method that is meant: `None` for the default, one that nothing has where
    /// nothing on file is what was asked for.
    async fn method_for(
        &self,
        tx: &mut Tx,
        org: &OrgId,
        wanted: &Wanted,
    ) -> Result<Option<String>, EngineError> {
        let PaidBy { method_id, kind, destination } = &wanted.by;
        if method_id.is_none() && kind.is_none() && destination.is_empty() {
            return Ok(None);
        }
        let filed = tx.methods_filed(org, &wanted.affiliate_id).await?;
        let meant = |method: &&FiledMethod| {
            method_id.as_ref().is_none_or(|id| *id == method.method_id)
                && kind.is_none_or(|kind| kind == method.kind)
                && destination.iter().all(|(field, value)| is_field(method, field, value))
        };
        // Of several, one that can be paid; of those the default, then the latest.
        let best = filed.iter().filter(meant).max_by_key(|method| {
            (method.status == MethodStatus::Verified, method.is_default, &method.method_id)
        });
        Ok(Some(best.map_or(NO_METHOD.to_owned(), |method| method.method_id.to_string())))
    }
}

/// What fails where the program does not pay in the currency and nothing was earned in it.
fn not_enabled(amount: Money, program: &ProgramId) -> Vec<GateCheck> {
    let currency = amount.currency;
    let check = |gate, wants, found| GateCheck { gate, passed: false, wants, found };
    let nothing = format!("{} {currency}", Money::new(0, currency));
    vec![
        check(Gate::NotEnoughAvailable, format!("{amount} {currency} available"), nothing),
        check(
            Gate::CurrencyNotEnabled,
            format!("{currency} enabled in program {program}"),
            "not enabled".to_owned(),
        ),
    ]
}

/// E-mail addresses are the same in capitals.
fn is_field(method: &FiledMethod, field: &str, value: &str) -> bool {
    let filed = method.destination.as_ref().and_then(|destination| destination.get(field));
    filed.is_some_and(|filed| {
        filed == value || (field == "email" && filed.to_lowercase() == value.trim().to_lowercase())
    })
}

async fn answered_before(
    tx: &mut Tx,
    org: &OrgId,
    once: &OnceKey,
) -> Result<Answered, EngineError> {
    let gone = || StoreError::Gone { what: "idempotency key", id: once.key.clone() };
    let kept = tx.key_answer(org, once).await?.ok_or_else(gone)?;
    if kept.request_hash != once.request_hash {
        return Err(EngineError::KeyReused { key: once.key.clone() });
    }
    let status = u16::try_from(kept.status).map_err(|_| gone())?;
    Ok(Answered { status, body: kept.answer })
}
