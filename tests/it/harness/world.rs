//! The people of a story: programs, affiliates, commissions, and what became of them.

use chrono::{NaiveDate, NaiveTime, TimeDelta, Weekday};
use payoutd::domain::{
    AffiliateStatus, Destination, MethodKind, MethodStatus, Money, NewAffiliate, NewCommission,
    NewMethod, NewProgram, PayoutId, PeriodLength, Periods, RunId, Scope, WalletKey,
};
use payoutd::engine::{
    Adjustment, AutoRequest, EngineError, PersonRequest, Reversal, Reversed, Rules, Tally, Verdict,
};
use payoutd::store::{AuditFilter, LineRow, PayoutFilter, PayoutRow};
use serde_json::json;
use sqlx::FromRow;

use super::Harness;

/// A wallet's four stored buckets, in minor units.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, FromRow)]
pub struct Wallet {
    pub held: i64,
    pub available: i64,
    pub in_flight: i64,
    pub paid: i64,
}

/// What a commission stands at.
#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
pub struct Commission {
    pub status: String,
    pub allocated: i64,
    pub paid: i64,
}

/// An amount of US cents.
pub fn usd(minor: i64) -> Money {
    Money::new(minor, "USD".parse().expect("a currency"))
}

/// A program without a hold that pays from 10.00 USD by itself.
pub fn program(id: &str) -> NewProgram {
    NewProgram {
        program_id: id.parse().expect("an id"),
        title: id.to_owned(),
        min_payout: usd(1_000),
        hold_days: 0,
        auto_credit: true,
        auto_payout: true,
        timezone: None,
    }
}

/// An active affiliate of a program with a verified PayPal address.
pub fn affiliate(id: &str, program: &str) -> NewAffiliate {
    let email = format!("{id}@example.com");
    let destination =
        Destination::parse(MethodKind::Paypal, &json!({ "email": email }).to_string());
    NewAffiliate {
        affiliate_id: id.parse().expect("an id"),
        program_id: program.parse().expect("an id"),
        partner_id: format!("partner-{id}").parse().expect("an id"),
        name: id.to_owned(),
        email,
        code: id.to_uppercase(),
        status: AffiliateStatus::Active,
        method: Some(NewMethod {
            destination: destination.expect("an address"),
            status: MethodStatus::Verified,
        }),
    }
}

/// The same affiliate with a verified account at a bank.
pub fn banked(affiliate: NewAffiliate) -> NewAffiliate {
    let account = json!({
        "routingNumber": "021000021", "accountNumber": "12345678", "accountType": "checking",
        "accountHolderName": affiliate.name,
    });
    let destination = Destination::parse(MethodKind::Ach, &account.to_string());
    let destination = destination.expect("an account");
    let method = Some(NewMethod { destination, status: MethodStatus::Verified });
    NewAffiliate { method, ..affiliate }
}

impl Harness {
    /// Enrols a program and active, payable affiliates of it.
    pub async fn enrol(&self, program: NewProgram, affiliates: &[&str]) {
        let id = program.program_id.to_string();
        self.enrol_program(program).await;
        let affiliates: Vec<_> = affiliates.iter().map(|name| affiliate(name, &id)).collect();
        self.enrol_affiliates(&affiliates).await;
    }

    pub async fn enrol_program(&self, program: NewProgram) {
        let verdicts = self.engine.enrol_programs(&self.work(), &self.org, &[program]).await;
        assert_eq!(verdicts.expect("an enrolment"), [Verdict::New]);
    }

    pub async fn enrol_affiliates(&self, affiliates: &[NewAffiliate]) {
        let verdicts = self.engine.enrol_affiliates(&self.work(), &self.org, affiliates).await;
        let verdicts = verdicts.expect("an enrolment");
        assert!(verdicts.iter().all(|verdict| *verdict == Verdict::New), "{verdicts:?}");
    }

    /// Brings commissions in, one batch; their verdicts.
    pub async fn accrue(&self, commissions: &[NewCommission]) -> Vec<Verdict> {
        let verdicts = self.engine.accrue(&self.work(), &self.org, commissions).await;
        verdicts.expect("an accrual")
    }

    /// New commissions of now, in US cents; `order` starts their ids.
    pub async fn earn(&self, affiliate: &str, order: &str, amounts: &[i64]) {
        let commissions: Vec<_> = amounts
            .iter()
            .enumerate()
            .map(|(i, amount)| self.commission(&format!("{order}-{i}"), affiliate, *amount))
            .collect();
        let verdicts = self.accrue(&commissions).await;
        assert!(verdicts.iter().all(|verdict| *verdict == Verdict::New), "{verdicts:?}");
    }

    /// A commission of now, in US cents.
    pub fn commission(&self, id: &str, affiliate: &str, minor: i64) -> NewCommission {
        commission(id, affiliate, usd(minor), self.clock.now())
    }

    /// Asks a payout for a person.
    pub async fn ask(&self, affiliate: &str, amount_minor: i64) -> Result<PayoutId, EngineError> {
        let request =
            PersonRequest { wallet: self.wallet_key(affiliate), amount_minor, retry_of: None };
        self.engine.request(&self.work(), &self.org, &request).await
    }

    /// Asks for every wallet, outside of any run; `week` (`2026-W10`) is that of its payouts.
    pub async fn ask_all(&self, week: &str, page: i64) -> (RunId, Tally) {
        let run_id: RunId = self.clock.mint();
        let rules = Rules::unlimited("auto-payout", week_of(week), Scope::default());
        let request = AutoRequest { run_id: run_id.clone(), rules, plan: None, page };
        let tally = self.engine.request_automatic(&self.work(), &self.org, &request).await;
        (run_id, tally.expect("a run that ends"))
    }

    /// Takes a commission back for a refund, or `minor` US cents of it.
    pub async fn reverse(
        &self,
        commission: &str,
        refund: &str,
        minor: Option<i64>,
    ) -> Result<Reversed, EngineError> {
        let reversal = Reversal {
            commission_id: commission.parse().expect("an id"),
            refund_id: refund.parse().expect("an id"),
            amount: minor.map(usd),
            reason: "refunded".to_owned(),
        };
        self.engine.reverse(&self.work(), &self.org, &reversal).await
    }

    /// Adds US cents to a wallet, or takes them; whether it did now.
    pub async fn adjust(&self, affiliate: &str, id: &str, minor: i64) -> Result<bool, EngineError> {
        let adjustment = Adjustment {
            adjustment_id: id.parse().expect("an id"),
            wallet: self.wallet_key(affiliate),
            amount_minor: minor,
            reason: "a bonus, or a fee".to_owned(),
        };
        self.engine.adjust(&self.work(), &self.org, &adjustment).await
    }

    /// What a payout pays or nets: commissions and adjustments, each with its amount.
    pub async fn lines(&self, payout: &PayoutId) -> Vec<(String, i64)> {
        let lines = self.store.lines(&self.org, payout, 0, 100).await.expect("lines");
        let item = |line: &LineRow| match (&line.commission_id, &line.adjustment_id) {
            (Some(commission), None) => commission.to_string(),
            (None, Some(adjustment)) => adjustment.to_string(),
            both => panic!("a line of {both:?}"),
        };
        lines.iter().map(|line| (item(line), line.amount_minor)).collect()
    }

    /// What the audit log holds beside what a story earned, in alphabetical order: the clock stands
    /// still.
    pub async fn acts(&self) -> Vec<(String, String)> {
        let filter = AuditFilter { limit: 1_000, ..AuditFilter::default() };
        let rows = self.store.audit_page(&self.org, &filter).await.expect("acts");
        let mut acts: Vec<_> = rows.into_iter().map(|row| (row.action, row.subject)).collect();
        // What a story begins with: who is enrolled, and what they earned.
        let begin = ["commission.accrued", "program.created", "affiliate.created"];
        acts.retain(|(action, _)| !begin.contains(&action.as_str()));
        acts.sort();
        acts
    }

    pub fn wallet_key(&self, affiliate: &str) -> WalletKey {
        WalletKey { affiliate_id: affiliate.parse().expect("an id"), currency: usd(0).currency }
    }

    /// An affiliate's wallet in US dollars.
    pub async fn wallet(&self, affiliate: &str) -> Wallet {
        let text = format!(
            "SELECT held_minor AS held, available_minor AS available, in_flight_minor AS in_flight,
                    paid_minor AS paid
             FROM wallets WHERE affiliate_id = '{affiliate}' AND currency = 'USD'"
        );
        let mut rows: Vec<Wallet> = self.database.rows(&text).await;
        rows.pop().expect("a wallet")
    }

    pub async fn commission_of(&self, id: &str) -> Commission {
        let text = format!(
            "SELECT status, allocated_minor AS allocated, paid_minor AS paid
             FROM commissions WHERE commission_id = '{id}'"
        );
        let mut rows: Vec<Commission> = self.database.rows(&text).await;
        rows.pop().expect("a commission")
    }

    /// How many rows a query counts.
    pub async fn count(&self, from: &str) -> i64 {
        let rows: Vec<(i64,)> = self.database.rows(&format!("SELECT COUNT(*) FROM {from}")).await;
        rows[0].0
    }

    /// Every payout, oldest first.
    pub async fn payouts(&self) -> Vec<PayoutRow> {
        let filter = PayoutFilter { limit: 10_000, ..PayoutFilter::default() };
        self.store.payouts(&self.org, &filter).await.expect("payouts")
    }

    /// Each affiliate with a payout and its status, by affiliate.
    pub async fn outcomes(&self) -> Vec<(String, &'static str)> {
        let outcome = |row: &PayoutRow| (row.affiliate_id.to_string(), row.status.as_str());
        let mut outcomes: Vec<_> = self.payouts().await.iter().map(outcome).collect();
        outcomes.sort();
        outcomes
    }

    /// A payout as it stands.
    pub async fn payout(&self, id: &PayoutId) -> PayoutRow {
        self.store.payout(&self.org, id).await.expect("a read").expect("a payout")
    }

    /// The references of a payout's attempts, oldest first.
    pub async fn references(&self, payout: &PayoutId) -> Vec<String> {
        let attempts = self.store.attempts(&self.org, payout).await.expect("attempts");
        attempts.iter().map(|attempt| attempt.reference.to_string()).collect()
    }

    /// Gives an affiliate a second, verified PayPal address beside its default: that of a donor who
    /// has none afterwards.
    pub async fn second_method(&self, affiliate_id: &str, method: &str, donor: &str) {
        self.enrol_affiliates(&[affiliate(donor, "creator")]).await;
        self.change(&format!(
            "UPDATE payout_methods
             SET affiliate_id = '{affiliate_id}', method_id = '{method}', is_default = 0
             WHERE affiliate_id = '{donor}'"
        ))
        .await;
    }

    /// Changes something behind the store's back that no door changes yet.
    pub async fn change(&self, statement: &str) {
        let changed = self.database.execute(statement).await;
        assert_ne!(changed.expect("a change"), 0, "{statement} changed nothing");
    }
}

/// A commission of an order of ten times its amount.
pub fn commission(
    id: &str,
    affiliate: &str,
    amount: Money,
    converted_at: chrono::DateTime<chrono::Utc>,
) -> NewCommission {
    NewCommission {
        commission_id: id.parse().expect("an id"),
        affiliate_id: affiliate.parse().expect("an id"),
        order_id: format!("order-of-{id}"),
        order_amount: Money::new(amount.minor * 10, amount.currency),
        amount,
        converted_at,
    }
}

/// The periods of a week, by its key.
pub fn week_of(key: &str) -> Periods {
    let (year, week) = key.split_once("-W").expect("a week");
    let (year, week): (i32, i64) = (year.parse().expect("a year"), week.parse().expect("a week"));
    let first = NaiveDate::from_isoywd_opt(year, 1, Weekday::Mon).expect("a year has a first week");
    let instant = first.and_time(NaiveTime::MIN).and_utc() + TimeDelta::weeks(week - 1);
    Periods { length: PeriodLength::Week, instant, zone: chrono_tz::Tz::UTC }
}
