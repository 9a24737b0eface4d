//! Plans: what a run would do, written down so that it can be read, named by its hash, and done.

use serde::Serialize;
use serde_json::json;

use super::{
    AffiliateId, Currency, DestinationId, Gate, MethodKind, Money, OrgId, ProgramId, WalletKey,
};

/// What a plan says about one wallet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlanLine {
    pub affiliate_id: AffiliateId,
    pub currency: Currency,
    pub program_id: ProgramId,
    /// The key of the period that it is paid, or would be paid, in.
    pub period: String,
    /// Minor units, as they stood. What is not paid may change without the plan being another.
    pub available_minor: i64,
    /// The payout; `None` for a wallet that is passed over.
    pub pays: Option<Planned>,
    /// The gates that fail, in order; none for a wallet that is paid.
    pub failing: Vec<Gate>,
}

/// A payout of a plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Planned {
    /// Minor units.
    pub amount_minor: i64,
    pub method_kind: MethodKind,
    pub destination_id: DestinationId,
    /// Why it waits for a person, with commas between; empty if it does not.
    pub approval: String,
}

/// What a plan and the world as it is do not agree about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LineDifference {
    pub org_id: OrgId,
    pub affiliate_id: AffiliateId,
    pub currency: Currency,
    /// `paid`, `amount`, `rail`, `destination`, `program`, `period`, `approval`, `gates` or `wallet`.
    pub what: &'static str,
    pub planned: String,
    pub found: String,
}

impl PlanLine {
    /// The wallet that it is about.
    pub fn wallet(&self) -> WalletKey {
        WalletKey { affiliate_id: self.affiliate_id.clone(), currency: self.currency }
    }

    /// What is available, as it stood.
    pub fn available(&self) -> Money {
        Money::new(self.available_minor, self.currency)
    }

    /// The line as it goes into the plan's hash: everything that makes it another plan.
    pub fn canonical(&self) -> String {
        let pays = self.pays.as_ref().map(|pays| {
            json!([pays.amount_minor, pays.method_kind, pays.destination_id, pays.approval])
        });
        let of = [self.affiliate_id.as_str(), self.currency.code(), self.program_id.as_str()];
        json!([of, self.period, pays, self.failing]).to_string()
    }

    /// What this line says and `found`, of the same wallet, does not; empty if they agree.
    pub fn differences(&self, org: &OrgId, found: &Self) -> Vec<LineDifference> {
        let words = |line: &Self| {
            let amount = |minor| format!("{} {}", Money::new(minor, line.currency), line.currency);
            let pays = line.pays.as_ref();
            let gates: Vec<_> = line.failing.iter().map(|gate| gate.as_str()).collect();
            [
                ("paid", if pays.is_some() { "yes".to_owned() } else { "no".to_owned() }),
                ("amount", pays.map_or_else(String::new, |pays| amount(pays.amount_minor))),
                ("rail", pays.map_or_else(String::new, |pays| pays.method_kind.to_string())),
                (
                    "destination",
                    pays.map_or_else(String::new, |pays| pays.destination_id.to_string()),
                ),
                ("program", line.program_id.to_string()),
                ("period", line.period.clone()),
                ("approval", pays.map_or_else(String::new, |pays| pays.approval.clone())),
                ("gates", gates.join(",")),
            ]
        };
        let both = self.pays.is_some() && found.pays.is_some();
        let of_payouts = ["amount", "rail", "destination", "approval"];
        let pairs = words(self).into_iter().zip(words(found));
        pairs
            .filter(|((what, planned), (_, is))| {
                planned != is && (both || !of_payouts.contains(what))
            })
            .map(|((what, planned), (_, is))| self.difference(org, what, &planned, &is))
            .collect()
    }

    /// The difference that the wallet of this line is no longer there to be decided about.
    pub fn gone(&self, org: &OrgId) -> LineDifference {
        self.difference(org, "wallet", "to be decided about", "nothing to pay, or out of scope")
    }

    /// The difference that the plan says nothing about the wallet of this line.
    pub fn unplanned(&self, org: &OrgId) -> LineDifference {
        self.difference(org, "wallet", "not in the plan", "to be decided about")
    }

    fn difference(
        &self,
        org: &OrgId,
        what: &'static str,
        planned: &str,
        found: &str,
    ) -> LineDifference {
        let or_none = |text: &str| if text.is_empty() { "none" } else { text }.to_owned();
        LineDifference {
            org_id: org.clone(),
            affiliate_id: self.affiliate_id.clone(),
            currency: self.currency,
            what,
            planned: or_none(planned),
            found: or_none(found),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line() -> PlanLine {
        PlanLine {
            affiliate_id: "ana".parse().expect("an id"),
            currency: "USD".parse().expect("a currency"),
            program_id: "creator".parse().expect("an id"),
            period: "2026-W10".to_owned(),
            available_minor: 5_000,
            pays: Some(Planned {
                amount_minor: 5_000,
                method_kind: MethodKind::Paypal,
                destination_id: "de_1".parse().expect("an id"),
                approval: String::new(),
            }),
            failing: Vec::new(),
        }
    }

    #[test]
    fn whatever_makes_another_payment_makes_another_line_and_is_named() {
        type Spoil = fn(&mut PlanLine);
        let spoils: [(Spoil, &[&str]); 8] = [
            (|line| line.pays.as_mut().expect("paid").amount_minor = 4_999, &["amount"]),
            (|line| line.pays.as_mut().expect("paid").method_kind = MethodKind::Ach, &["rail"]),
            (
                |line| {
                    let other = "de_2".parse().expect("an id");
                    line.pays.as_mut().expect("paid").destination_id = other;
                },
                &["destination"],
            ),
            (
                |line| line.pays.as_mut().expect("paid").approval = "first_payout".to_owned(),
                &["approval"],
            ),
            (|line| line.program_id = "other".parse().expect("an id"), &["program"]),
            (|line| line.period = "2026-W11".to_owned(), &["period"]),
            (
                |line| (line.pays, line.failing) = (None, vec![Gate::WalletFrozen]),
                &["paid", "gates"],
            ),
            (|line| line.failing = vec![Gate::WalletFrozen], &["gates"]),
        ];
        let org: OrgId = "acme".parse().expect("an id");
        for (spoil, expected) in spoils {
            let mut found = line();
            spoil(&mut found);
            assert_ne!(line().canonical(), found.canonical(), "{expected:?}");
            let what: Vec<_> =
                line().differences(&org, &found).into_iter().map(|one| one.what).collect();
            assert_eq!(what, expected);
        }
        assert_eq!(line().differences(&org, &line()), []);
    }

    #[test]
    fn what_is_passed_over_may_earn_more_without_being_another_line() {
        let poor = PlanLine { pays: None, failing: vec![Gate::BelowMinimum], ..line() };
        let less = PlanLine { available_minor: 1, ..poor.clone() };
        assert_eq!(poor.canonical(), less.canonical());
    }
}
