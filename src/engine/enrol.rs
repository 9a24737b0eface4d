//! Enrol: programs and affiliates come in. What exists is never overwritten by an import:
//! a changed destination or minimum must come through a door that checks it.

use std::collections::HashMap;

use serde_json::json;

use super::{Engine, EngineError, Verdict, Work};
use crate::domain::{AffiliateId, BatchId, NewAffiliate, NewProgram, OrgId, ProgramId};
use crate::store::{AffiliateRow, ProgramRow};

impl Engine {
    /// Takes programs in; one verdict each, in order.
    ///
    /// # Errors
    /// [`EngineError::Store`]; then none of them went in.
    pub async fn enrol_programs(
        &self,
        work: &Work,
        org: &OrgId,
        programs: &[NewProgram],
    ) -> Result<Vec<Verdict>, EngineError> {
        self.retrying(|| async {
            let now = self.clock.now();
            let mut tx = self.begin(work).await?;
            tx.org_ensure(org, now).await?;
            let ids: Vec<_> = programs.iter().map(|p| &p.program_id).collect();
            let rows = tx.programs_wanted(org, &ids).await?;
            let mut known: HashMap<ProgramId, Vec<ProgramRow>> = HashMap::new();
            for row in rows {
                known.entry(row.program_id.clone()).or_default().push(row);
            }
            let mut verdicts = Vec::with_capacity(programs.len());
            let mut fresh = Vec::new();
            for program in programs {
                let row = program_row(program);
                match known.get(&program.program_id) {
                    Some(known) => {
                        // One of several currencies is as good as the only one.
                        let of_currency = known.iter().find(|known| known.currency == row.currency);
                        let known = of_currency.unwrap_or(&known[0]);
                        verdicts.push(compare_program(known, &row));
                    }
                    None => {
                        known.insert(program.program_id.clone(), vec![row]);
                        fresh.push(program);
                        verdicts.push(Verdict::New);
                    }
                }
            }
            tx.programs_insert(org, &fresh, now).await?;
            for program in &fresh {
                let act = ("program.created", program.program_id.as_str());
                let detail = json!({ "title": program.title, "imported": true });
                self.keep_act(&mut tx, org, work, act, detail).await?;
            }
            tx.commit().await?;
            Ok(verdicts)
        })
        .await
    }

    /// Takes affiliates and their methods in; one verdict each, in order.
    ///
    /// # Errors
    /// [`EngineError::Store`]; then none of them went in.
    pub async fn enrol_affiliates(
        &self,
        work: &Work,
        org: &OrgId,
        affiliates: &[NewAffiliate],
    ) -> Result<Vec<Verdict>, EngineError> {
        self.retrying(|| async {
            let now = self.clock.now();
            let mut tx = self.begin(work).await?;
            let ids: Vec<_> = affiliates.iter().map(|a| &a.affiliate_id).collect();
            let rows = tx.affiliates_wanted(org, &ids).await?;
            let mut known: HashMap<AffiliateId, AffiliateRow> =
                rows.into_iter().map(|row| (row.affiliate_id.clone(), row)).collect();
            let mut programs: Vec<_> = affiliates.iter().map(|a| &a.program_id).collect();
            programs.sort();
            programs.dedup();
            let rows = tx.programs_wanted(org, &programs).await?;
            let programs: Vec<ProgramId> = rows.into_iter().map(|row| row.program_id).collect();
            let destinations: Vec<_> =
                affiliates.iter().map(|a| a.method.as_ref().map(|m| &m.destination)).collect();
            let prints = tx.fingerprints(org, &destinations).await?;
            let mut verdicts = Vec::with_capacity(affiliates.len());
            let mut fresh = Vec::new();
            for (affiliate, fingerprint) in affiliates.iter().zip(prints) {
                let row = affiliate_row(affiliate, fingerprint);
                if affiliate.affiliate_id.is_house() {
                    let reason = "payoutd keeps this id for its own money".to_owned();
                    verdicts.push(Verdict::refused("affiliate_id", reason));
                } else if !programs.contains(&affiliate.program_id) {
                    let reason = format!("program {} does not exist", affiliate.program_id);
                    verdicts.push(Verdict::refused("program", reason));
                } else if let Some(known) = known.get(&affiliate.affiliate_id) {
                    verdicts.push(compare_affiliate(known, &row));
                } else {
                    known.insert(affiliate.affiliate_id.clone(), row);
                    let (method, destination) = (self.clock.mint(), self.clock.mint());
                    fresh.push((affiliate, method, destination));
                    verdicts.push(Verdict::New);
                }
            }
            tx.affiliates_insert(org, &fresh, now).await?;
            if let Some((first, ..)) = fresh.first() {
                // One act for the batch; an affiliate that comes alone is found by its own id.
                let batch: BatchId = self.clock.mint();
                let subject =
                    if fresh.len() == 1 { first.affiliate_id.as_str() } else { batch.as_str() };
                let detail = json!({ "affiliates": fresh.len(), "imported": true });
                let act = ("affiliate.created", subject);
                self.keep_act(&mut tx, org, work, act, detail).await?;
            }
            tx.commit().await?;
            Ok(verdicts)
        })
        .await
    }
}

fn program_row(program: &NewProgram) -> ProgramRow {
    ProgramRow {
        program_id: program.program_id.clone(),
        title: program.title.clone(),
        hold_days: program.hold_days,
        auto_credit: program.auto_credit.into(),
        auto_payout: program.auto_payout.into(),
        timezone: program.timezone.clone(),
        currency: program.min_payout.currency,
        min_payout_minor: program.min_payout.minor,
    }
}

fn affiliate_row(affiliate: &NewAffiliate, fingerprint: Option<String>) -> AffiliateRow {
    let method = affiliate.method.as_ref();
    AffiliateRow {
        affiliate_id: affiliate.affiliate_id.clone(),
        program_id: affiliate.program_id.clone(),
        partner_id: affiliate.partner_id.to_string(),
        name: affiliate.name.clone(),
        email: affiliate.email.clone(),
        code: affiliate.code.clone(),
        status: affiliate.status,
        method_kind: method.map(|method| method.destination.kind()),
        fingerprint,
        method_status: method.map(|method| method.status),
    }
}

fn compare_program(known: &ProgramRow, new: &ProgramRow) -> Verdict {
    Verdict::compare(&[
        ("title", known.title == new.title),
        ("currency", known.currency == new.currency),
        ("hold_days", known.hold_days == new.hold_days),
        ("min_payout", known.min_payout_minor == new.min_payout_minor),
        ("auto_credit", known.auto_credit == new.auto_credit),
        ("auto_payout", known.auto_payout == new.auto_payout),
        ("timezone", new.timezone.is_none() || known.timezone == new.timezone),
    ])
}

fn compare_affiliate(known: &AffiliateRow, new: &AffiliateRow) -> Verdict {
    Verdict::compare(&[
        ("program", known.program_id == new.program_id),
        ("partner_id", known.partner_id == new.partner_id),
        ("name", known.name == new.name),
        ("email", known.email == new.email),
        ("code", known.code == new.code),
        ("status", known.status == new.status),
        ("method", known.method_kind == new.method_kind),
        ("destination", known.fingerprint == new.fingerprint),
        ("method_status", known.method_status == new.method_status),
    ])
}
