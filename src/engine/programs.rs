//! Programs and affiliates, one by one: staff make and change them. What was earned keeps the rules
//! that it was earned by: another hold window is for what comes in from now on.

use serde_json::{Value, json};

use super::{Engine, EngineError, Work};
use crate::domain::{AffiliateId, AffiliateStatus, Money, OrgId, ProgramId, ProgramStatus};
use crate::store::{AffiliateStand, CurrencyTerms, ProgramStand, TermsRow};

/// What changes of a program; `None` stays as it is.
#[derive(Debug, Clone, Default)]
pub struct ProgramChange {
    pub title: Option<String>,
    pub status: Option<ProgramStatus>,
    pub hold_days: Option<i64>,
    pub auto_credit: Option<bool>,
    pub auto_payout: Option<bool>,
    /// The zone of its periods and days, by its IANA name; `Some(None)`: the job's.
    pub timezone: Option<Option<String>>,
    /// Currencies with their terms: new ones come in, others are changed, none goes.
    pub currencies: Vec<CurrencyTerms>,
}

/// What changes of an affiliate; `None` stays as it is.
#[derive(Debug, Clone, Default)]
pub struct AffiliateChange {
    pub name: Option<String>,
    pub email: Option<String>,
    pub code: Option<String>,
    pub status: Option<AffiliateStatus>,
}

impl Engine {
    /// Makes a program with its currencies; whether it did, or had done so before.
    ///
    /// # Errors
    /// [`EngineError::OtherContent`] if the id belongs to another program.
    pub async fn create_program(
        &self,
        work: &Work,
        org: &OrgId,
        (new, currencies): (&ProgramStand, &[CurrencyTerms]),
    ) -> Result<bool, EngineError> {
        let id = &new.program_id;
        self.retrying(|| async {
            let now = self.clock.now();
            let mut tx = self.begin(work).await?;
            tx.org_ensure(org, now).await?;
            if let Some(known) = tx.program_lock(org, id).await? {
                let terms = tx.terms(org, id).await?;
                if let Some(differs) = other_program(&known, &terms, new, currencies) {
                    let id = id.to_string();
                    return Err(EngineError::OtherContent { what: "program", id, differs });
                }
                return Ok(false);
            }
            tx.program_set(org, &ProgramStand { created_at: now, ..new.clone() }).await?;
            for (place, terms) in (0..).zip(currencies) {
                tx.currency_set(org, id, terms, place).await?;
            }
            let detail = json!({
                "title": new.title, "holdDays": new.hold_days, "autoCredit": new.auto_credit == 1,
                "autoPayout": new.auto_payout == 1, "timezone": new.timezone,
                "currencies": told(currencies),
            });
            self.keep_act(&mut tx, org, work, ("program.created", id.as_str()), detail).await?;
            tx.commit().await?;
            Ok(true)
        })
        .await
    }

    /// Changes a program.
    ///
    /// # Errors
    /// [`EngineError::UnknownProgram`].
    pub async fn change_program(
        &self,
        work: &Work,
        org: &OrgId,
        id: &ProgramId,
        change: &ProgramChange,
    ) -> Result<(), EngineError> {
        self.retrying(|| async {
            let mut tx = self.begin(work).await?;
            let known = tx.program_lock(org, id).await?;
            let known =
                known.ok_or_else(|| EngineError::UnknownProgram { program_id: id.clone() })?;
            let terms = tx.terms(org, id).await?;
            let next = ProgramStand {
                title: change.title.clone().unwrap_or_else(|| known.title.clone()),
                status: change.status.unwrap_or(known.status),
                hold_days: change.hold_days.unwrap_or(known.hold_days),
                auto_credit: change.auto_credit.map_or(known.auto_credit, i64::from),
                auto_payout: change.auto_payout.map_or(known.auto_payout, i64::from),
                timezone: change.timezone.clone().unwrap_or_else(|| known.timezone.clone()),
                ..known.clone()
            };
            let mut place = terms.iter().map(|terms| terms.place + 1).max().unwrap_or(0);
            let mut changed = Vec::new();
            for wanted in &change.currencies {
                let has = terms.iter().find(|terms| terms.currency == wanted.currency);
                if has.is_some_and(|terms| terms_of(terms) == *wanted) {
                    continue;
                }
                tx.currency_set(org, id, wanted, has.map_or(place, |terms| terms.place)).await?;
                place += i64::from(has.is_none());
                changed.push(wanted.clone());
            }
            if next == known && changed.is_empty() {
                return Ok(());
            }
            tx.program_set(org, &next).await?;
            let detail = json!({
                "before": told_program(&known), "after": told_program(&next),
                "currencies": told(&changed),
            });
            self.keep_act(&mut tx, org, work, ("program.changed", id.as_str()), detail).await?;
            Ok(tx.commit().await?)
        })
        .await
    }

    /// Enrols an affiliate; whether it did, or had done so before.
    ///
    /// # Errors
    /// [`EngineError::UnknownProgram`]; [`EngineError::OtherContent`] if the id belongs to another
    /// enrolment.
    pub async fn create_affiliate(
        &self,
        work: &Work,
        org: &OrgId,
        new: &AffiliateStand,
    ) -> Result<bool, EngineError> {
        let id = &new.affiliate_id;
        if id.is_house() {
            let (id, differs) = (id.to_string(), "owner");
            return Err(EngineError::OtherContent { what: "affiliate", id, differs });
        }
        self.retrying(|| async {
            let mut tx = self.begin(work).await?;
            if let Some(known) = tx.affiliate_stand(org, id).await? {
                if let Some(differs) = other_affiliate(&known, new) {
                    let id = id.to_string();
                    return Err(EngineError::OtherContent { what: "affiliate", id, differs });
                }
                return Ok(false);
            }
            if tx.program_lock(org, &new.program_id).await?.is_none() {
                let program_id = new.program_id.clone();
                return Err(EngineError::UnknownProgram { program_id });
            }
            let created_at = self.clock.now();
            tx.affiliate_set(org, &AffiliateStand { created_at, ..new.clone() }).await?;
            let detail = json!({
                "program": new.program_id, "partnerId": new.partner_id, "status": new.status,
            });
            self.keep_act(&mut tx, org, work, ("affiliate.created", id.as_str()), detail).await?;
            tx.commit().await?;
            Ok(true)
        })
        .await
    }

    /// Changes an affiliate. Its program and the person behind it are never changed: that would give
    /// one person's money to another.
    ///
    /// # Errors
    /// [`EngineError::NoAffiliate`].
    pub async fn change_affiliate(
        &self,
        work: &Work,
        org: &OrgId,
        id: &AffiliateId,
        change: &AffiliateChange,
    ) -> Result<(), EngineError> {
        self.retrying(|| async {
            let mut tx = self.begin(work).await?;
            let known = tx.affiliate_stand(org, id).await?;
            let known =
                known.ok_or_else(|| EngineError::NoAffiliate { affiliate_id: id.clone() })?;
            let next = AffiliateStand {
                name: change.name.clone().unwrap_or_else(|| known.name.clone()),
                email: change.email.clone().unwrap_or_else(|| known.email.clone()),
                code: change.code.clone().unwrap_or_else(|| known.code.clone()),
                status: change.status.unwrap_or(known.status),
                ..known.clone()
            };
            if next == known {
                return Ok(());
            }
            tx.affiliate_set(org, &next).await?;
            // Names and addresses are people's own: that they changed is told, and not to what.
            let fields = [
                ("name", next.name != known.name),
                ("email", next.email != known.email),
                ("code", next.code != known.code),
                ("status", next.status != known.status),
            ];
            let fields: Vec<_> =
                fields.iter().filter(|(_, is)| *is).map(|(name, _)| name).collect();
            let detail = json!({
                "fields": fields, "statusBefore": known.status, "status": next.status,
            });
            self.keep_act(&mut tx, org, work, ("affiliate.changed", id.as_str()), detail).await?;
            Ok(tx.commit().await?)
        })
        .await
    }
}

fn terms_of(row: &TermsRow) -> CurrencyTerms {
    CurrencyTerms {
        currency: row.currency,
        min_payout_minor: row.min_payout_minor,
        approval_minor: row.approval_minor,
    }
}

fn other_program(
    known: &ProgramStand,
    terms: &[TermsRow],
    new: &ProgramStand,
    currencies: &[CurrencyTerms],
) -> Option<&'static str> {
    let terms: Vec<_> = terms.iter().map(terms_of).collect();
    let fields = [
        ("title", known.title == new.title),
        ("status", known.status == new.status),
        ("holdDays", known.hold_days == new.hold_days),
        ("autoCredit", known.auto_credit == new.auto_credit),
        ("autoPayout", known.auto_payout == new.auto_payout),
        ("timezone", known.timezone == new.timezone),
        ("currencies", terms == currencies),
    ];
    fields.iter().find(|(_, equal)| !equal).map(|(field, _)| *field)
}

fn other_affiliate(known: &AffiliateStand, new: &AffiliateStand) -> Option<&'static str> {
    let fields = [
        ("program", known.program_id == new.program_id),
        ("partnerId", known.partner_id == new.partner_id),
        ("name", known.name == new.name),
        ("email", known.email == new.email),
        ("code", known.code == new.code),
        ("status", known.status == new.status),
    ];
    fields.iter().find(|(_, equal)| !equal).map(|(field, _)| *field)
}

fn told_program(program: &ProgramStand) -> Value {
    json!({
        "title": program.title, "status": program.status, "holdDays": program.hold_days,
        "autoCredit": program.auto_credit == 1, "autoPayout": program.auto_payout == 1,
        "timezone": program.timezone,
    })
}

fn told(currencies: &[CurrencyTerms]) -> Vec<Value> {
    let told = |terms: &CurrencyTerms| {
        let text = |minor| Money::new(minor, terms.currency).to_string();
        json!({
            "currency": terms.currency, "minPayout": text(terms.min_payout_minor),
            "approvalAbove": terms.approval_minor.map(text),
        })
    };
    currencies.iter().map(told).collect()
}
