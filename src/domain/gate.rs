//! The gates a payout request has to pass: one function, for a person and for a schedule.
//!
//! Every gate is checked and every failing one is kept, with its numbers, so that "why was I not
//! paid" has a complete answer on record.

use chrono::{DateTime, SecondsFormat, Utc};
use serde::{Deserialize, Serialize};

use super::words::words;
use super::{
    AffiliateId, AffiliateStatus, Currency, DestinationId, MethodId, MethodKind, MethodStatus,
    Money, PayoutOrigin, ProgramId, ProgramStatus, WalletStatus,
};

words! {
    /// What a payout request is held against. The order of declaration is the order in which a
    /// skip is counted: under its first failing gate.
    Gate as "gate" {
        NotActive = "not_active",
        NoMethod = "no_method",
        MethodUnverified = "method_unverified",
        MethodCooling = "method_cooling",
        NegativeBalance = "negative_balance",
        BelowMinimum = "below_minimum",
        CurrencyNotEnabled = "currency_not_enabled",
        NotEnoughAvailable = "not_enough_available",
        WalletFrozen = "wallet_frozen",
        ProgramNotActive = "program_not_active",
        AutoPayoutOff = "auto_payout_off",
        PeriodTaken = "period_taken",
    }
}

impl Gate {
    /// The gates that are held again when a payout is about to be sent: what was settled at the
    /// request (amounts, the period) is not asked twice, who may be paid is.
    pub const AT_SEND: &[Self] = &[
        Self::NotActive,
        Self::NoMethod,
        Self::MethodUnverified,
        Self::MethodCooling,
        Self::WalletFrozen,
        Self::ProgramNotActive,
    ];

    /// The order in which a person who asks is answered: what the balance covers, the minimum, the
    /// method; then everything else. The first that fails is what the refusal is called.
    pub fn in_answer(self) -> usize {
        let first =
            [Self::NotEnoughAvailable, Self::BelowMinimum, Self::NoMethod, Self::MethodUnverified];
        let place = |gates: &[Self]| gates.iter().position(|gate| *gate == self);
        place(&first).or_else(|| place(Self::ALL).map(|at| first.len() + at)).unwrap_or(usize::MAX)
    }
}

/// Everything the gates look at: one wallet with its affiliate, program and default method.
#[derive(Debug, Clone)]
pub struct Candidate {
    pub affiliate_id: AffiliateId,
    pub program_id: ProgramId,
    pub currency: Currency,
    pub available_minor: i64,
    pub affiliate_status: AffiliateStatus,
    pub wallet_status: WalletStatus,
    pub program_status: ProgramStatus,
    /// The zone of the program's periods and days; without one it is the job's.
    pub timezone: Option<String>,
    pub auto_payout: bool,
    /// Smallest payout of the program in this currency; `None` if the currency is not enabled.
    pub min_payout_minor: Option<i64>,
    /// A payout of more than this waits for an approval; `None`: none does.
    pub approval_minor: Option<i64>,
    pub method: Option<CandidateMethod>,
    /// Whether an automatic payout of this wallet exists for the period asked.
    pub paid_in_period: bool,
}

/// The default method of a candidate, as it stands now.
#[derive(Debug, Clone)]
pub struct CandidateMethod {
    pub method_id: MethodId,
    pub kind: MethodKind,
    pub status: MethodStatus,
    /// From when on it may be paid; `None` if it need not cool off.
    pub usable_from: Option<DateTime<Utc>>,
    /// Where it pays to; what that is is none of the gates' business.
    pub destination_id: DestinationId,
}

impl CandidateMethod {
    /// The method as it stands for a payout that is pinned to `destination_id`. If it was pointed
    /// elsewhere since, its word is about another destination: this one was verified when the
    /// payout was asked, and stays good unless the method is disabled.
    pub fn stand_for(&mut self, destination_id: DestinationId) {
        if self.destination_id == destination_id {
            return;
        }
        self.destination_id = destination_id;
        self.usable_from = None;
        if self.status != MethodStatus::Disabled {
            self.status = MethodStatus::Verified;
        }
    }
}

/// What is asked of a candidate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Intent {
    pub origin: PayoutOrigin,
    /// Minor units; a schedule asks for all that is available.
    pub amount_minor: i64,
    /// When it is asked.
    pub at: DateTime<Utc>,
}

impl Intent {
    /// What a schedule asks: all that is available.
    pub fn auto(candidate: &Candidate, at: DateTime<Utc>) -> Self {
        Self { origin: PayoutOrigin::Auto, amount_minor: candidate.available_minor, at }
    }
}

/// One gate, held against one candidate, with the numbers it looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GateCheck {
    pub gate: Gate,
    pub passed: bool,
    /// What the gate wants (`at least 50.00 USD`).
    pub wants: String,
    /// What it found (`12.34 USD`).
    pub found: String,
}

/// Holds `candidate` against every gate, in order, passing or not.
pub fn check_gates(candidate: &Candidate, intent: Intent) -> Vec<GateCheck> {
    Gate::ALL.iter().map(|gate| check(*gate, candidate, intent)).collect()
}

/// Holds a requested payout against the gates that count when it is sent; those that fail.
pub fn failing_at_send(candidate: &Candidate, intent: Intent) -> Vec<GateCheck> {
    let checks = Gate::AT_SEND.iter().map(|gate| check(*gate, candidate, intent));
    checks.filter(|check| !check.passed).collect()
}

fn check(gate: Gate, candidate: &Candidate, intent: Intent) -> GateCheck {
    let money = |minor| {
        let currency = candidate.currency;
        format!("{} {currency}", Money::new(minor, currency))
    };
    let amount = intent.amount_minor;
    let available = candidate.available_minor;
    let automatic = intent.origin == PayoutOrigin::Auto;
    let (passed, wants, found) = match gate {
        Gate::NotActive => {
            let status = candidate.affiliate_status;
            (status == AffiliateStatus::Active, "affiliate active".into(), status.to_string())
        }
        Gate::NoMethod | Gate::MethodUnverified | Gate::MethodCooling => {
            method_check(gate, candidate.method.as_ref(), intent)
        }
        Gate::NegativeBalance => {
            (available >= 0, "a balance of 0 or more".into(), money(available))
        }
        Gate::BelowMinimum => {
            let minimum = candidate.min_payout_minor.unwrap_or(0).max(1);
            (amount >= minimum, format!("at least {}", money(minimum)), money(amount))
        }
        Gate::CurrencyNotEnabled => {
            let found =
                if candidate.min_payout_minor.is_some() { "enabled" } else { "not enabled" };
            let wants =
                format!("{} enabled in program {}", candidate.currency, candidate.program_id);
            (candidate.min_payout_minor.is_some(), wants, found.into())
        }
        Gate::NotEnoughAvailable => {
            (amount <= available, format!("{} available", money(amount)), money(available))
        }
        Gate::WalletFrozen => {
            let status = candidate.wallet_status;
            (status == WalletStatus::Active, "wallet active".into(), status.to_string())
        }
        Gate::ProgramNotActive => {
            let status = candidate.program_status;
            (status == ProgramStatus::Active, "program active".into(), status.to_string())
        }
        Gate::AutoPayoutOff => {
            let found = if candidate.auto_payout { "on" } else { "off" };
            (!automatic || candidate.auto_payout, "auto payout on".into(), found.into())
        }
        Gate::PeriodTaken => {
            let found = if candidate.paid_in_period { "one" } else { "none" };
            (
                !automatic || !candidate.paid_in_period,
                "no automatic payout in this period yet, whatever became of it".into(),
                found.into(),
            )
        }
    };
    GateCheck { gate, passed, wants, found }
}

/// The gates about the method alone. With no method at all there is none to verify: that is the
/// first of them.
fn method_check(
    gate: Gate,
    method: Option<&CandidateMethod>,
    intent: Intent,
) -> (bool, String, String) {
    let or_none = |word: Option<String>| word.unwrap_or_else(|| "none".into());
    match gate {
        Gate::MethodUnverified => {
            let status = method.map(|method| method.status);
            // What proves a method goes to one that is not proven yet.
            let wanted = |status| match intent.origin {
                PayoutOrigin::Verification => status != MethodStatus::Disabled,
                PayoutOrigin::Auto | PayoutOrigin::Person => status == MethodStatus::Verified,
            };
            let found = or_none(status.map(|status| status.to_string()));
            (status.is_none_or(wanted), "method verified".into(), found)
        }
        Gate::MethodCooling => {
            let until = method.and_then(|method| method.usable_from);
            let until = until.filter(|until| intent.at < *until);
            let found = until.map(|until| until.to_rfc3339_opts(SecondsFormat::Secs, true));
            let found = found.map_or_else(|| "usable".into(), |until| format!("until {until}"));
            (until.is_none(), "a destination that has cooled off since it changed".into(), found)
        }
        _ => {
            let found = method.map(|method| method.kind.to_string());
            (found.is_some(), "a payout method".into(), or_none(found))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn payable() -> Candidate {
        Candidate {
            affiliate_id: "aff-1".parse().expect("an id"),
            program_id: "creator".parse().expect("an id"),
            currency: "USD".parse().expect("a currency"),
            available_minor: 5_000,
            affiliate_status: AffiliateStatus::Active,
            wallet_status: WalletStatus::Active,
            program_status: ProgramStatus::Active,
            timezone: None,
            auto_payout: true,
            min_payout_minor: Some(5_000),
            approval_minor: None,
            method: Some(CandidateMethod {
                method_id: "pm_1".parse().expect("an id"),
                kind: MethodKind::Paypal,
                status: MethodStatus::Verified,
                usable_from: None,
                destination_id: "de_1".parse().expect("an id"),
            }),
            paid_in_period: false,
        }
    }

    fn now() -> DateTime<Utc> {
        "2026-03-02T09:00:00Z".parse().expect("an instant")
    }

    fn person(amount_minor: i64) -> Intent {
        Intent { origin: PayoutOrigin::Person, amount_minor, at: now() }
    }

    fn failing(candidate: &Candidate) -> Vec<Gate> {
        let checks = check_gates(candidate, Intent::auto(candidate, now()));
        checks.into_iter().filter(|check| !check.passed).map(|check| check.gate).collect()
    }

    #[test]
    fn a_payable_candidate_passes_every_gate() {
        assert_eq!(failing(&payable()), []);
        assert_eq!(check_gates(&payable(), Intent::auto(&payable(), now())).len(), Gate::ALL.len());
    }

    #[test]
    fn each_gate_fails_on_its_own() {
        type Spoil = fn(&mut Candidate);
        let spoils: [(Spoil, &[Gate]); 11] = [
            (|c| c.affiliate_status = AffiliateStatus::Suspended, &[Gate::NotActive]),
            (|c| c.affiliate_status = AffiliateStatus::Pending, &[Gate::NotActive]),
            (|c| c.method = None, &[Gate::NoMethod]),
            (
                |c| c.method.as_mut().expect("there").status = MethodStatus::Pending,
                &[Gate::MethodUnverified],
            ),
            (
                |c| {
                    let later = now() + chrono::TimeDelta::milliseconds(1);
                    c.method.as_mut().expect("there").usable_from = Some(later);
                },
                &[Gate::MethodCooling],
            ),
            (|c| c.available_minor = -1, &[Gate::NegativeBalance, Gate::BelowMinimum]),
            (|c| c.available_minor = 4_999, &[Gate::BelowMinimum]),
            (|c| c.min_payout_minor = None, &[Gate::CurrencyNotEnabled]),
            (|c| c.wallet_status = WalletStatus::Frozen, &[Gate::WalletFrozen]),
            (|c| c.program_status = ProgramStatus::Paused, &[Gate::ProgramNotActive]),
            (|c| c.auto_payout = false, &[Gate::AutoPayoutOff]),
        ];
        for (spoil, expected) in spoils {
            let mut candidate = payable();
            spoil(&mut candidate);
            assert_eq!(failing(&candidate), expected);
        }
    }

    #[test]
    fn a_minimum_of_zero_still_pays_nobody_nothing() {
        let candidate = Candidate { available_minor: 0, min_payout_minor: Some(0), ..payable() };
        assert_eq!(failing(&candidate), [Gate::BelowMinimum]);
    }

    #[test]
    fn a_person_is_not_bound_by_the_schedules_own_gates() {
        let candidate = Candidate { auto_payout: false, paid_in_period: true, ..payable() };
        assert_eq!(failing(&candidate), [Gate::AutoPayoutOff, Gate::PeriodTaken]);
        assert!(check_gates(&candidate, person(5_000)).iter().all(|check| check.passed));
    }

    #[test]
    fn a_changed_destination_may_be_paid_from_the_instant_that_it_has_cooled_off() {
        let mut candidate = payable();
        candidate.method.as_mut().expect("there").usable_from = Some(now());
        assert_eq!(failing(&candidate), []);
    }

    #[test]
    fn what_proves_a_method_is_sent_to_one_that_is_not_proven_and_never_to_a_disabled_one() {
        let mut candidate = payable();
        let intent = Intent { origin: PayoutOrigin::Verification, ..person(12) };
        for status in MethodStatus::ALL {
            candidate.method.as_mut().expect("there").status = *status;
            let failing = failing_at_send(&candidate, intent);
            assert_eq!(failing.is_empty(), *status != MethodStatus::Disabled, "{status}");
        }
    }

    #[test]
    fn nobody_is_paid_more_than_is_available() {
        let checks = check_gates(&payable(), person(5_001));
        let failed: Vec<_> = checks.iter().filter(|check| !check.passed).collect();
        assert_eq!(failed.len(), 1);
        assert_eq!(failed[0].gate, Gate::NotEnoughAvailable);
        assert_eq!(
            (failed[0].wants.as_str(), failed[0].found.as_str()),
            ("50.01 USD available", "50.00 USD")
        );
    }
}
