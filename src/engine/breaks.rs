//! Breaks: a provider's statement is held against our transfers, both ways. What the two disagree
//! about is kept once, with a reason, until a person closes it. It moves no money: where the
//! statement knows more than we do, the check is brought forward.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use chrono::{DateTime, TimeDelta, Utc};
use serde::Serialize;
use serde_json::json;
use tracing::info;

use super::statement::{Sheet, StatedPayment, moved_within, speaks_by_letters};
use super::{Engine, EngineError, Work};
use crate::domain::{BreakId, BreakKind, Currency, MethodKind, OrgId, Statement};
use crate::store::{NewBreak, SettledRow, StatedSubmission, StatedTransfer, Tx};

/// Payments, or settled transfers, compared in one transaction.
const PAGE: usize = 1_000;
/// How long before a statement begins we may have heard of what is booked in it.
const EARLY: TimeDelta = TimeDelta::days(2);
/// The kind of the alerts that breaks raise.
const ALERT: &str = "break";

/// A statement, and what it is held against.
#[derive(Debug, Clone, Copy)]
pub struct Against<'a> {
    /// The rail that the statement's account pays for.
    pub kind: MethodKind,
    /// The one org that is looked at; `None` for all.
    pub org: Option<&'a OrgId>,
    pub statement: &'a Statement,
    /// What the statement is called, for people.
    pub source: &'a str,
    /// Whether what it says of single transfers is kept as notices too, so that they learn of it.
    pub told: bool,
}

impl Against<'_> {
    /// The rails whose payments may be in it. A bank's statement that arrived in an inbox says
    /// which account it is of, and not which rail is paid from that.
    fn rails(&self) -> &[MethodKind] {
        match self.told && speaks_by_letters(self.kind) {
            true => &[MethodKind::Ach, MethodKind::Wire],
            false => std::slice::from_ref(&self.kind),
        }
    }

    /// Whether a settled payment should be in it: a bank's statement covers one account only, the
    /// one that the booking named. Where none was named, a person has to have said so.
    fn covers(&self, settled: &SettledRow, account_index: Option<&str>) -> bool {
        match settled.account_index.as_deref() {
            Some(booked_on) => Some(booked_on) == account_index,
            None => !(self.told && speaks_by_letters(self.kind)),
        }
    }
}

/// What came of comparing a statement.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Compared {
    pub lines: u64,
    /// Payments of the statement that are ours.
    pub ours: u64,
    /// Lines, or payments, that are not.
    pub not_ours: u64,
    /// Submissions whose check was brought forward, because the statement knows more than we do.
    pub checked_soon: u64,
    /// Breaks that were not known before.
    pub found: u64,
    /// Breaks that the statement shows and nobody has closed, found now or before.
    pub open: u64,
    /// Breaks of earlier statements that this one explains.
    pub passed: u64,
}

/// What one page of payments comes to.
#[derive(Default)]
struct Page<'a> {
    ours: u64,
    breaks: Vec<NewBreak>,
    /// References of transfers to be asked about, by rail.
    look: BTreeMap<MethodKind, Vec<String>>,
    /// References of transfers that went out in this statement.
    seen: Vec<String>,
    unknown: Vec<&'a StatedPayment>,
}

impl Engine {
    /// Holds a statement that a rail left for us against every org's transfers.
    ///
    /// # Errors
    /// As [`Engine::hold_against`].
    pub(super) async fn reconcile_statement(
        &self,
        work: &Work,
        kind: MethodKind,
        statement: &Statement,
        source: &str,
    ) -> Result<Compared, EngineError> {
        self.hold_against(work, Against { kind, org: None, statement, source, told: true }).await
    }

    /// Compares a statement with our transfers, both ways, and keeps what differs. Doing it again
    /// finds nothing new.
    ///
    /// # Errors
    /// [`EngineError::Store`], and [`EngineError::Money`] if the lines of one payment sum up to
    /// more than an amount can be; what was found before it stands.
    pub async fn hold_against(
        &self,
        work: &Work,
        against: Against<'_>,
    ) -> Result<Compared, EngineError> {
        let sheet = Sheet::of(against.kind, against.statement)?;
        let lines = against.statement.lines.len() as u64;
        let mut compared = Compared { lines, not_ours: sheet.not_ours, ..Compared::default() };
        let orgs = match against.org {
            Some(org) => vec![org.clone()],
            None => self.store.orgs().await?,
        };
        let mut unknown: Vec<&StatedPayment> = sheet.payments.iter().collect();
        for org in &orgs {
            let mut left = Vec::new();
            for page in unknown.chunks(PAGE) {
                left.extend(self.compare_page(work, org, against, page, &mut compared).await?);
            }
            unknown = left;
            for kind in against.rails() {
                let against = (against, *kind);
                self.compare_missing(work, org, against, &sheet, &mut compared).await?;
            }
        }
        self.keep_unknown(work, against, &orgs, &unknown, &mut compared).await?;
        info!(event = "statement.compared", provider = %against.kind, source = against.source,
              lines, ours = compared.ours, found = compared.found, open = compared.open);
        Ok(compared)
    }

    /// Closes a break by a person's word.
    ///
    /// # Errors
    /// [`EngineError::NoBreak`] if there is no such open break in this org.
    pub async fn close_break(
        &self,
        work: &Work,
        org: &OrgId,
        id: &BreakId,
        note: &str,
    ) -> Result<(), EngineError> {
        self.retrying(|| async {
            let mut tx = self.begin(work).await?;
            let closed = tx.break_close(org, id, &work.actor, note, self.clock.now()).await?;
            let closed = closed.ok_or_else(|| EngineError::NoBreak { break_id: id.clone() })?;
            self.pass_alerts(&mut tx, work, org, vec![closed]).await?;
            let act = ("break.closed", id.as_str());
            self.keep_act(&mut tx, org, work, act, json!({ "note": note })).await?;
            Ok(tx.commit().await?)
        })
        .await?;
        info!(event = "break.closed", org_id = %org, break_id = %id, actor = %work.actor);
        Ok(())
    }

    /// Their side: each payment of the statement beside our transfer of its name. Returns those
    /// that this org knows nothing of.
    async fn compare_page<'a>(
        &self,
        work: &Work,
        org: &OrgId,
        against: Against<'_>,
        payments: &[&'a StatedPayment],
        compared: &mut Compared,
    ) -> Result<Vec<&'a StatedPayment>, EngineError> {
        let (news, unknown) = self
            .retrying(|| async {
                let now = self.clock.now();
                let mut news = Compared::default();
                let mut tx = self.begin(work).await?;
                let page = self.judge(&mut tx, org, against, payments).await?;
                for (kind, references) in &page.look {
                    let references = texts(references);
                    news.checked_soon +=
                        tx.submissions_check_now(org, *kind, &references, now).await?;
                }
                let (note, seen) = (format!("{} has it", against.source), texts(&page.seen));
                let explained = (BreakKind::MissingThere, seen.as_slice());
                let passed = tx.breaks_pass(org, explained, &work.actor, &note, now).await?;
                news.passed = passed.len() as u64;
                self.pass_alerts(&mut tx, work, org, passed).await?;
                news.ours = page.ours;
                self.keep_breaks(&mut tx, org, against.source, &page.breaks, &mut news).await?;
                tx.commit().await?;
                Ok((news, page.unknown))
            })
            .await?;
        compared.add(news);
        Ok(unknown)
    }

    /// What a page of payments comes to beside what this org has.
    async fn judge<'a>(
        &self,
        tx: &mut Tx,
        org: &OrgId,
        against: Against<'_>,
        payments: &[&'a StatedPayment],
    ) -> Result<Page<'a>, EngineError> {
        let names: Vec<&str> = payments.iter().flat_map(|payment| payment.names()).collect();
        let transfers = tx.transfers_stated(org, &names).await?;
        let transfers: HashMap<_, _> =
            transfers.into_iter().map(|transfer| (transfer.name.clone(), transfer)).collect();
        let wholes = tx.submissions_stated(org, &names).await?;
        let wholes: HashMap<_, _> =
            wholes.into_iter().map(|whole| (whole.name.clone(), whole)).collect();
        let mut page = Page::default();
        for payment in payments.iter().copied() {
            if let Some(ours) = payment.names().find_map(|name| transfers.get(name)) {
                self.judge_transfer(against, payment, ours, &mut page);
            } else if let Some(ours) = payment.names().find_map(|name| wholes.get(name)) {
                self.judge_whole(against, payment, ours, &mut page);
            } else {
                page.unknown.push(payment);
            }
        }
        Ok(page)
    }

    fn judge_transfer(
        &self,
        against: Against<'_>,
        payment: &StatedPayment,
        ours: &StatedTransfer,
        page: &mut Page<'_>,
    ) {
        page.ours += 1;
        let verdict = payment.beside(ours, against.told);
        if payment.went_out() {
            page.seen.push(ours.reference.to_string());
        }
        if verdict.look {
            page.look.entry(ours.method_kind).or_default().push(ours.reference.to_string());
        }
        if let Some((kind, reason)) = verdict.disagreement {
            page.breaks.push(NewBreak {
                method_kind: ours.method_kind,
                transfer_id: Some(ours.transfer_id.clone()),
                payout_id: Some(ours.payout_id.clone()),
                ours_minor: Some(ours.amount_minor),
                theirs_minor: payment.minor_in(ours.currency),
                ..self.draft(against, kind, ours.reference.as_str(), ours.currency, reason)
            });
        }
    }

    fn judge_whole(
        &self,
        against: Against<'_>,
        payment: &StatedPayment,
        ours: &StatedSubmission,
        page: &mut Page<'_>,
    ) {
        page.ours += 1;
        if let Some(reason) = payment.beside_whole(ours) {
            let kind = BreakKind::AmountDiffers;
            page.breaks.push(NewBreak {
                method_kind: ours.method_kind,
                ours_minor: Some(ours.paid_minor),
                theirs_minor: payment.minor_in(ours.currency),
                ..self.draft(against, kind, ours.reference.as_str(), ours.currency, reason)
            });
        }
    }

    /// Our side: what settled in the statement's time, and the statement does not have.
    async fn compare_missing(
        &self,
        work: &Work,
        org: &OrgId,
        (against, kind): (Against<'_>, MethodKind),
        sheet: &Sheet,
        compared: &mut Compared,
    ) -> Result<(), EngineError> {
        let Statement { currency, from, to, .. } = *against.statement;
        let account = self.store.account_index(org, &against.statement.account).await?;
        let begin = from.checked_sub_signed(EARLY).unwrap_or(from);
        let mut after: (DateTime<Utc>, String) = (begin, String::new());
        loop {
            let start = (after.0, after.1.as_str());
            let rail = (kind, currency);
            let page = self.store.settled_since(org, rail, start, PAGE as i64).await?;
            let Some(last) = page.last() else { return Ok(()) };
            after = (last.settled_at, last.transfer_id.to_string());
            let is_missing = |settled: &&SettledRow| {
                moved_within(settled, from, to)
                    && !sheet.has(settled)
                    && against.covers(settled, account.as_deref())
            };
            let breaks: Vec<_> = page
                .iter()
                .filter(is_missing)
                .map(|settled| NewBreak {
                    method_kind: kind,
                    ..self.missing_there(against, settled)
                })
                .collect();
            self.keep_page(work, org, against.source, &breaks, compared).await?;
        }
    }

    fn missing_there(&self, against: Against<'_>, settled: &SettledRow) -> NewBreak {
        let Statement { id, from, to, currency, .. } = against.statement;
        let day = |at: DateTime<Utc>| at.format("%Y-%m-%d %H:%MZ");
        let when = match &settled.booked_on {
            Some(day) => format!("its letters say that it was booked on {day}"),
            None => {
                format!("it was sent at {} and settled at {}", settled.sent_at, settled.settled_at)
            }
        };
        let (from, to) = (day(*from), day(*to));
        let reason = format!("{when}; statement {id} of {from} to {to} does not have it");
        let (kind, subject) = (BreakKind::MissingThere, settled.reference.as_str());
        NewBreak {
            transfer_id: Some(settled.transfer_id.clone()),
            payout_id: Some(settled.payout_id.clone()),
            ours_minor: Some(settled.amount_minor),
            ..self.draft(against, kind, subject, *currency, reason)
        }
    }

    /// Payments that no org knows go to the first org that uses the rail.
    async fn keep_unknown(
        &self,
        work: &Work,
        against: Against<'_>,
        orgs: &[OrgId],
        unknown: &[&StatedPayment],
        compared: &mut Compared,
    ) -> Result<(), EngineError> {
        let (out, other): (Vec<_>, Vec<_>) =
            unknown.iter().copied().partition(|payment| payment.went_out());
        compared.not_ours += other.len() as u64;
        if out.is_empty() {
            return Ok(());
        }
        let users = match against.org {
            Some(org) => vec![org.clone()],
            None => self.store.orgs_of_rail(against.kind).await?,
        };
        let Some(keeper) = users.first().or(orgs.first()) else { return Ok(()) };
        let whose = match users.len() {
            0 | 1 => String::new(),
            _ => format!("; several orgs use {}, and this is the first", against.kind),
        };
        for page in out.chunks(PAGE) {
            let breaks: Vec<_> =
                page.iter().map(|payment| self.unknown_here(against, payment, &whose)).collect();
            self.keep_page(work, keeper, against.source, &breaks, compared).await?;
        }
        Ok(())
    }

    fn unknown_here(&self, against: Against<'_>, payment: &StatedPayment, whose: &str) -> NewBreak {
        let words = payment.in_words();
        let reason = format!("{words}; no transfer of ours has this name{whose}");
        let (kind, subject) = (BreakKind::UnknownHere, payment.name.as_str());
        NewBreak {
            theirs_minor: Some(payment.sent_minor()),
            ..self.draft(against, kind, subject, payment.currency, reason)
        }
    }

    /// A break about which nothing is known but what it is.
    fn draft(
        &self,
        against: Against<'_>,
        kind: BreakKind,
        subject: &str,
        currency: Currency,
        reason: String,
    ) -> NewBreak {
        NewBreak {
            break_id: self.clock.mint(),
            kind,
            method_kind: against.kind,
            subject: subject.to_owned(),
            transfer_id: None,
            payout_id: None,
            currency,
            ours_minor: None,
            theirs_minor: None,
            source: against.source.to_owned(),
            reason,
        }
    }

    async fn keep_page(
        &self,
        work: &Work,
        org: &OrgId,
        source: &str,
        breaks: &[NewBreak],
        compared: &mut Compared,
    ) -> Result<(), EngineError> {
        if breaks.is_empty() {
            return Ok(());
        }
        let news = self
            .retrying(|| async {
                let mut news = Compared::default();
                let mut tx = self.begin(work).await?;
                self.keep_breaks(&mut tx, org, source, breaks, &mut news).await?;
                tx.commit().await?;
                Ok(news)
            })
            .await?;
        compared.add(news);
        Ok(())
    }

    /// Keeps breaks, and raises one alert for each kind of them that is new from this source.
    async fn keep_breaks(
        &self,
        tx: &mut Tx,
        org: &OrgId,
        source: &str,
        breaks: &[NewBreak],
        news: &mut Compared,
    ) -> Result<(), EngineError> {
        let now = self.clock.now();
        let found = tx.breaks_insert(org, breaks, now).await?;
        news.found += found.len() as u64;
        news.open += tx.breaks_still_open(org, breaks).await? as u64;
        for kind in found.into_iter().collect::<BTreeSet<_>>() {
            let message =
                format!("{source} and our books disagree ({kind}): see `payoutd reconcile breaks`");
            self.alert(tx, org, (ALERT, &alert_subject(kind, source)), &message, now).await?;
        }
        Ok(())
    }

    /// Closes the alerts of breaks that were closed, where none of their kind and source is left.
    async fn pass_alerts(
        &self,
        tx: &mut Tx,
        work: &Work,
        org: &OrgId,
        closed: Vec<(BreakKind, String)>,
    ) -> Result<(), EngineError> {
        for (kind, source) in closed.into_iter().collect::<BTreeSet<_>>() {
            if tx.breaks_open_of(org, kind, &source).await? == 0 {
                let subject = alert_subject(kind, &source);
                self.alert_passes(tx, org, (ALERT, &subject), work).await?;
            }
        }
        Ok(())
    }
}

impl Compared {
    fn add(&mut self, other: Self) {
        self.lines += other.lines;
        self.ours += other.ours;
        self.not_ours += other.not_ours;
        self.checked_soon += other.checked_soon;
        self.found += other.found;
        self.open += other.open;
        self.passed += other.passed;
    }
}

fn alert_subject(kind: BreakKind, source: &str) -> String {
    format!("{kind}: {source}")
}

fn texts(texts: &[String]) -> Vec<&str> {
    texts.iter().map(String::as_str).collect()
}
