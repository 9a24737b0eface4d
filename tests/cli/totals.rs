//! What the books must say, worked out from the rows of the three files alone: a second opinion
//! that shares no code with the program.

use std::collections::BTreeMap;

use payoutd::clock::Clock;
use serde_json::{Map, Value, json};

use crate::orders::decimal;
use crate::place::Place;

type Row = BTreeMap<String, String>;

/// What an affiliate has, in minor units.
#[derive(Default)]
struct Purse {
    held: i64,
    credited: i64,
}

/// One affiliate, and what becomes of its purse.
struct Payee {
    program: Row,
    affiliate: Row,
    purse: Purse,
    /// What is requested: by the first cycle, by the second one.
    requested: [i64; 2],
}

/// The data set, after the cycle before (`0`) or after (`1`) `commission process-held`.
pub struct Totals {
    payees: BTreeMap<String, Payee>,
    commissions: Vec<(Row, bool)>,
    cycle: usize,
}

impl Totals {
    /// Works out the totals of the folder `name`.
    pub fn of(place: &Place, name: &str, cycle: usize) -> Self {
        let rows = |file: &str| rows(&place.read(&format!("{name}/{file}.csv")));
        let programs: BTreeMap<_, _> =
            rows("programs").into_iter().map(|row| (row["program"].clone(), row)).collect();
        let mut payees = BTreeMap::new();
        for affiliate in rows("affiliates") {
            let program = programs[&affiliate["program"]].clone();
            let id = affiliate["affiliate_id"].clone();
            payees.insert(id, Payee::new(program, affiliate));
        }
        let mut commissions = Vec::new();
        let earned = rows("commissions");
        for turn in 0..=cycle {
            commissions.clear();
            payees.values_mut().for_each(|payee| payee.purse = Purse::default());
            for row in &earned {
                let payee = payees.get_mut(&row["affiliate_id"]).expect("an affiliate");
                let credited = payee.is_credited(row, turn);
                let minor = minor(&row["amount"]);
                match credited {
                    true => payee.purse.credited += minor,
                    false => payee.purse.held += minor,
                }
                commissions.push((row.clone(), credited));
            }
            payees.values_mut().for_each(|payee| payee.decide(turn));
        }
        // A wallet opens with the first commission.
        payees.retain(|id, _| commissions.iter().any(|(row, _)| row["affiliate_id"] == *id));
        Self { payees, commissions, cycle }
    }

    /// `commissions` of the summary.
    pub fn commissions(&self) -> Value {
        let mut sums: BTreeMap<&str, Sum> = BTreeMap::new();
        for status in ["held", "qualified", "paid"] {
            let sum = sums.entry(status).or_default();
            self.payees.values().for_each(|payee| sum.add(payee.currency(), 0, 0));
        }
        for (row, credited) in &self.commissions {
            let payee = &self.payees[&row["affiliate_id"]];
            let minor = minor(&row["amount"]);
            let status = match credited {
                false => "held",
                true if payee.is_completed() && minor > 0 => "paid",
                true => "qualified",
            };
            sums.entry(status).or_default().add(payee.currency(), 1, minor);
        }
        sums.into_iter().map(|(status, sum)| (status.to_owned(), sum.json())).collect()
    }

    /// `wallets` of the summary.
    pub fn wallets(&self) -> Value {
        let mut wallets: BTreeMap<&str, [i64; 4]> = BTreeMap::new();
        for payee in self.payees.values() {
            let requested: i64 = payee.requested.iter().sum();
            let sums = wallets.entry(payee.currency()).or_default();
            sums[0] += payee.purse.held;
            sums[1] += payee.purse.credited - requested;
            sums[if payee.is_completed() { 3 } else { 2 }] += requested;
        }
        let wallet = |(currency, sums): (&str, [i64; 4])| {
            let [held, available, in_flight, paid] = sums.map(|minor| money(minor, currency));
            let value = json!({
                "held": held, "available": available, "in_flight": in_flight, "paid": paid,
            });
            (currency.to_owned(), value)
        };
        wallets.into_iter().map(wallet).collect::<Map<_, _>>().into()
    }

    /// `payouts` of the summary, by method, status and currency; with `by_program`, by program too.
    pub fn payouts(&self, by_program: bool) -> BTreeMap<String, (u64, String)> {
        let mut sums: BTreeMap<(String, &str), (u64, i64)> = BTreeMap::new();
        for payee in self.payees.values() {
            for requested in payee.requested.iter().filter(|requested| **requested > 0) {
                let status = if payee.is_completed() { "completed" } else { "pending" };
                let method = &payee.affiliate["method"];
                let mut key = format!("{method} {status} {}", payee.currency());
                if by_program {
                    key = format!("{} {key}", payee.program["program"]);
                }
                let sum = sums.entry((key, payee.currency())).or_default();
                sum.0 += 1;
                sum.1 += requested;
            }
        }
        let row = |((key, currency), (count, sum))| (key, (count, money(sum, currency)));
        sums.into_iter().map(row).collect()
    }

    /// `last_auto_payout` of the summary, after the run of this cycle.
    pub fn decisions(&self) -> Value {
        let (mut paid, mut skipped) = (Sum::default(), BTreeMap::<&str, Sum>::new());
        for payee in self.payees.values() {
            paid.add(payee.currency(), 0, 0);
            let before: i64 = payee.requested[..self.cycle].iter().sum();
            let available = payee.purse.credited - before;
            match payee.failing_gate(available) {
                _ if available == 0 => {}
                None => paid.add(payee.currency(), 1, available),
                Some(gate) => skipped.entry(gate).or_default().add(payee.currency(), 1, available),
            }
        }
        let skipped: Map<_, _> =
            skipped.into_iter().map(|(gate, sum)| (gate.to_owned(), sum.json())).collect();
        json!({"paid": paid.json(), "skipped": skipped})
    }

    /// The sandbox's books: who got how much, as (amount, currency).
    pub fn paid(&self) -> BTreeMap<String, (String, String)> {
        let completed = self.payees.values().filter(|payee| payee.is_completed());
        let row = |payee: &Payee| {
            let sum = money(payee.requested.iter().sum(), payee.currency());
            (payee.affiliate["email"].clone(), (sum, payee.currency().to_owned()))
        };
        completed.map(row).collect()
    }
}

impl Payee {
    fn new(program: Row, affiliate: Row) -> Self {
        Self { program, affiliate, purse: Purse::default(), requested: [0, 0] }
    }

    fn currency(&self) -> &str {
        &self.program["currency"]
    }

    fn is_credited(&self, commission: &Row, turn: usize) -> bool {
        let days: i64 = self.program["hold_days"].parse().expect("a number");
        let converted: chrono::DateTime<chrono::Utc> =
            commission["converted_at"].parse().expect("an instant");
        let passed = converted + chrono::TimeDelta::days(days) <= Clock::System.now();
        passed && (turn > 0 || days == 0 || self.program["auto_credit"] == "true")
    }

    fn decide(&mut self, turn: usize) {
        let available = self.purse.credited - self.requested.iter().sum::<i64>();
        if available > 0 && self.failing_gate(available).is_none() {
            self.requested[turn] = available;
        }
    }

    fn failing_gate(&self, available: i64) -> Option<&'static str> {
        let Self { affiliate, program, .. } = self;
        if affiliate["status"] != "active" {
            return Some("not_active");
        }
        if affiliate["method"].is_empty() {
            return Some("no_method");
        }
        if affiliate["method_status"] != "verified" {
            return Some("method_unverified");
        }
        if available < minor(&program["min_payout"]) {
            return Some("below_minimum");
        }
        (program["auto_payout"] != "true").then_some("auto_payout_off")
    }

    /// Only one rail is there to pay by.
    fn is_completed(&self) -> bool {
        self.affiliate["method"] == "paypal" && self.requested.iter().any(|minor| *minor > 0)
    }
}

/// How many, and how much in each currency.
#[derive(Default)]
struct Sum {
    count: u64,
    minor: BTreeMap<String, i64>,
}

impl Sum {
    fn add(&mut self, currency: &str, count: u64, minor: i64) {
        self.count += count;
        *self.minor.entry(currency.to_owned()).or_default() += minor;
    }

    fn json(&self) -> Value {
        let amount = |(currency, minor): (&String, &i64)| {
            (currency.clone(), Value::from(money(*minor, currency)))
        };
        let amounts: Map<_, _> = self.minor.iter().map(amount).collect();
        json!({"count": self.count, "amount": amounts})
    }
}

fn rows(bytes: &[u8]) -> Vec<Row> {
    let mut reader = csv::Reader::from_reader(bytes);
    reader.deserialize().map(|row| row.expect("a row of ours")).collect()
}

/// A decimal in the currency's own digits as minor units.
fn minor(text: &str) -> i64 {
    text.replace('.', "").parse().expect("an amount")
}

fn money(minor: i64, currency: &str) -> String {
    let digits = match currency {
        "JPY" => 0,
        "KWD" => 3,
        _ => 2,
    };
    decimal(minor.try_into().expect("no debts"), digits)
}
