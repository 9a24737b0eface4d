//! The gates a payout request has to pass: one function, for a person and for a schedule.
//!
//! Every gate is checked and every failing one is kept, with its numbers, so that "why was I not
//! paid" has a complete answer on record.

use chrono::{DateTime, SecondsFormat, Utc};
use serde::{Deserialize, Serialize};

use super::words::words;
use super::{
    AffiliateId, AffiliateStatus, Allowance, ApprovalReason, ApprovalRules, Bounds, Currency,
    DestinationId, MethodId, MethodKind, MethodStatus, Money, PayoutOrigin, ProgramId,
    ProgramStatus, Used, WalletStatus,
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
        Halted = "halted",
        AbovePayoutLimit = "above_payout_limit",
        RunLimitReached = "run_limit_reached",
        DayLimitReached = "day_limit_reached",
        /// Only a run of a plan holds it: the wallet is no longer as the plan says.
        PlanChanged = "plan_changed",
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

    /// The gates that only a limit closes.
    pub const LIMITS: &[Self] =
        &[Self::AbovePayoutLimit, Self::RunLimitReached, Self::DayLimitReached];

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
    /// What its program lets be paid in this currency.
    pub bounds: Bounds,
    /// Whether its program has a person look at the first payout of an affiliate.
    pub approve_first: bool,
    /// Whether its program has a person look at payouts that go elsewhere than the last one.
    pub approve_changed: bool,
    /// Where the affiliate's latest payout that arrived went to; `None`: none has arrived.
    pub last_destination_id: Option<DestinationId>,
    /// What is halted that it falls under: `everything`, `org`, `provider paypal`.
    pub halted: Option<String>,
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

impl Candidate {
    /// Why a payout of `amount_minor` by `method` has to wait for a person: by the program's rules,
    /// and by those of the job that asks for it. Empty if it need not.
    pub fn approval_reasons(
        &self,
        amount_minor: i64,
        method: &CandidateMethod,
        rules: Option<&ApprovalRules>,
    ) -> Vec<ApprovalReason> {
        let above = |limit: Option<i64>| limit.is_some_and(|limit| amount_minor > limit);
        let of_job = rules.and_then(|rules| rules.above.minor(self.currency));
        let first = self.approve_first || rules.is_some_and(|rules| rules.first_payout);
        let changed = self.approve_changed || rules.is_some_and(|rules| rules.changed_method);
        let elsewhere =
            self.last_destination_id.as_ref().is_some_and(|last| *last != method.destination_id);
        let reasons = [
            (ApprovalReason::AboveLimit, above(self.approval_minor) || above(of_job)),
            (ApprovalReason::FirstPayout, first && self.last_destination_id.is_none()),
            (ApprovalReason::ChangedMethod, changed && elsewhere),
        ];
        reasons.iter().filter(|(_, is)| *is).map(|(reason, _)| *reason).collect()
    }
}

/// Holds `candidate` against every gate, in order, passing or not; `allowed` is what limits there
/// are, and what was asked for before.
pub fn check_gates(candidate: &Candidate, intent: Intent, allowed: &[Allowance]) -> Vec<GateCheck> {
    let gates = Gate::ALL.iter().filter(|gate| **gate != Gate::PlanChanged);
    gates.map(|gate| check(*gate, candidate, intent, allowed)).collect()
}

/// Holds a requested payout against the gates that count when it is sent; those that fail.
pub fn failing_at_send(candidate: &Candidate, intent: Intent) -> Vec<GateCheck> {
    let checks = Gate::AT_SEND.iter().map(|gate| check(*gate, candidate, intent, &[]));
    checks.filter(|check| !check.passed).collect()
}

fn check(gate: Gate, candidate: &Candidate, intent: Intent, allowed: &[Allowance]) -> GateCheck {
    let money = |minor| in_words(minor, candidate.currency);
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
        Gate::Halted => {
            let halted = candidate.halted.as_deref();
            let found = halted.map_or_else(|| "none".to_owned(), |what| format!("halted: {what}"));
            (!automatic || halted.is_none(), "no halt over it".into(), found)
        }
        Gate::AbovePayoutLimit | Gate::RunLimitReached | Gate::DayLimitReached => {
            limit_check(gate, candidate.currency, amount, allowed)
        }
        Gate::PlanChanged => (true, "as its plan says".into(), "no plan".into()),
    };
    GateCheck { gate, passed, wants, found }
}

fn in_words(minor: i64, currency: Currency) -> String {
    format!("{} {currency}", Money::new(minor, currency))
}

/// A gate of limits, against each holder's: the first that is reached is the one to tell.
fn limit_check(
    gate: Gate,
    currency: Currency,
    amount: i64,
    allowed: &[Allowance],
) -> (bool, String, String) {
    let mut passing = None;
    for allowance in allowed {
        let Allowance { holder, bounds, run, day } = allowance;
        let (most_minor, most_payouts, used, span) = match gate {
            Gate::AbovePayoutLimit => (bounds.payout_minor, None, Used::default(), "a payout"),
            Gate::RunLimitReached => (bounds.run_minor, bounds.run_payouts, *run, "a run"),
            _ => (bounds.day_minor, bounds.day_payouts, *day, "a day"),
        };
        let most: Vec<_> = most_minor
            .map(|most| in_words(most, currency))
            .into_iter()
            .chain(most_payouts.map(|most| format!("{most} payouts")))
            .collect();
        if most.is_empty() {
            continue;
        }
        let wants = format!("at most {} {span} of {}", most.join(" and "), holder.as_str());
        let found = match gate {
            Gate::AbovePayoutLimit => in_words(amount, currency),
            _ => format!(
                "{} more after {} and {} payouts",
                in_words(amount, currency),
                in_words(used.minor, currency),
                used.payouts
            ),
        };
        let fits = most_minor.is_none_or(|most| used.minor.saturating_add(amount) <= most)
            && most_payouts.is_none_or(|most| used.payouts < most);
        if !fits {
            return (false, wants, found);
        }
        passing.get_or_insert((true, wants, found));
    }
    passing.unwrap_or_else(|| (true, "no limit".into(), in_words(amount, currency)))
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
    use crate::domain::Holder;

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
            bounds: Bounds::default(),
            approve_first: false,
            approve_changed: false,
            last_destination_id: None,
            halted: None,
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
        let checks = check_gates(candidate, Intent::auto(candidate, now()), &[]);
        checks.into_iter().filter(|check| !check.passed).map(|check| check.gate).collect()
    }

    #[test]
    fn a_payable_candidate_passes_every_gate() {
        assert_eq!(failing(&payable()), []);
        let checks = check_gates(&payable(), Intent::auto(&payable(), now()), &[]);
        assert_eq!(checks.len(), Gate::ALL.len() - 1);
    }

    #[test]
    fn each_gate_fails_on_its_own() {
        type Spoil = fn(&mut Candidate);
        let spoils: [(Spoil, &[Gate]); 12] = [
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
            (|c| c.halted = Some("org".to_owned()), &[Gate::Halted]),
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
        let halted = Some("everything".to_owned());
        let candidate = Candidate { auto_payout: false, paid_in_period: true, halted, ..payable() };
        let gates = [Gate::AutoPayoutOff, Gate::PeriodTaken, Gate::Halted];
        assert_eq!(failing(&candidate), gates);
        assert!(check_gates(&candidate, person(5_000), &[]).iter().all(|check| check.passed));
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
        let checks = check_gates(&payable(), person(5_001), &[]);
        let failed: Vec<_> = checks.iter().filter(|check| !check.passed).collect();
        assert_eq!(failed.len(), 1);
        assert_eq!(failed[0].gate, Gate::NotEnoughAvailable);
        assert_eq!(
            (failed[0].wants.as_str(), failed[0].found.as_str()),
            ("50.01 USD available", "50.00 USD")
        );
    }

    fn reached(bounds: Bounds, run: Used, day: Used) -> Vec<(Gate, String, String)> {
        let allowance = Allowance { holder: Holder::job("weekly"), bounds, run, day };
        let checks = check_gates(&payable(), Intent::auto(&payable(), now()), &[allowance]);
        let failing = checks.into_iter().filter(|check| !check.passed);
        failing.map(|check| (check.gate, check.wants, check.found)).collect()
    }

    #[test]
    fn a_limit_lets_pass_what_just_fits_and_nothing_beyond() {
        let used = |payouts, minor| Used { payouts, minor };
        let bounds = |run_minor, run_payouts| Bounds {
            run_minor: Some(run_minor),
            run_payouts: Some(run_payouts),
            ..Bounds::default()
        };
        let none = Used::default();
        assert_eq!(reached(bounds(8_000, 3), used(2, 3_000), none), []);
        let gates = |found: Vec<(Gate, String, String)>| -> Vec<_> {
            found.into_iter().map(|(gate, _, _)| gate).collect()
        };
        assert_eq!(gates(reached(bounds(7_999, 3), used(2, 3_000), none)), [Gate::RunLimitReached]);
        assert_eq!(gates(reached(bounds(8_000, 2), used(2, 3_000), none)), [Gate::RunLimitReached]);
        let day = Bounds { day_minor: Some(i64::MAX), ..Bounds::default() };
        assert_eq!(reached(day, none, used(0, i64::MAX - 5_000)), []);
        let payout = Bounds { payout_minor: Some(4_999), ..Bounds::default() };
        assert_eq!(gates(reached(payout, none, none)), [Gate::AbovePayoutLimit]);
    }

    #[test]
    fn a_reached_limit_is_told_with_its_numbers() {
        let bounds = Bounds { day_minor: Some(7_000), day_payouts: Some(9), ..Bounds::default() };
        let used = Used { payouts: 2, minor: 3_000 };
        let told = reached(bounds, Used::default(), used);
        let (wants, found) = (
            "at most 70.00 USD and 9 payouts a day of job:weekly",
            "50.00 USD more after 30.00 USD and 2 payouts",
        );
        assert_eq!(told, [(Gate::DayLimitReached, wants.to_owned(), found.to_owned())]);
    }

    #[test]
    fn a_payout_waits_for_a_person_by_the_programs_rules_or_by_the_jobs() {
        let reasons = |candidate: &Candidate, rules: &ApprovalRules| {
            let method = candidate.method.as_ref().expect("a method");
            candidate.approval_reasons(5_000, method, Some(rules))
        };
        let (none, all) = (
            ApprovalRules::default(),
            ApprovalRules {
                above: [Money::new(4_999, payable().currency)].into_iter().collect(),
                first_payout: true,
                changed_method: true,
            },
        );
        assert_eq!(reasons(&payable(), &none), []);
        let first = [ApprovalReason::AboveLimit, ApprovalReason::FirstPayout];
        assert_eq!(reasons(&payable(), &all), first);
        let other = "de_0".parse().ok();
        let moved = Candidate {
            last_destination_id: other,
            approval_minor: Some(4_999),
            approve_first: true,
            approve_changed: true,
            ..payable()
        };
        let changed = [ApprovalReason::AboveLimit, ApprovalReason::ChangedMethod];
        assert_eq!(reasons(&moved, &none), changed);
        let same = Candidate { last_destination_id: "de_1".parse().ok(), ..moved };
        assert_eq!(reasons(&same, &none), [ApprovalReason::AboveLimit]);
    }
}
