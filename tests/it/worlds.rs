//! Random small worlds: what the run decides about everybody, on both databases, is what a few
//! plain lines of Rust say it must be.

use std::collections::BTreeMap;

use payoutd::domain::{
    AffiliateStatus, Currency, Destination, MethodKind, MethodStatus, Money, NewAffiliate,
    NewMethod, NewProgram, OrgId,
};

use crate::harness::{Harness, affiliate, commission, program};

const WORLDS: u64 = 48;

/// A small generator (SplitMix64): the same seed makes the same world everywhere.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (z ^ (z >> 31)) % sides
    }

    fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.roll(of.len() as u64) as usize]
    }
}

struct World {
    programs: Vec<NewProgram>,
    affiliates: Vec<NewAffiliate>,
    /// Minor units earned, by affiliate.
    earned: Vec<Vec<i64>>,
}

/// What must be decided: `None` is paid, else every failing gate, in order.
type Decision = (String, i64, Vec<&'static str>);

fn method(dice: &mut Dice, name: &str) -> Option<NewMethod> {
    let paypal = format!(r#"{{"email":"{name}@example.com"}}"#);
    let (kind, json) = match dice.roll(6) {
        0 => return None,
        1 => (MethodKind::StripeConnect, r#"{"account":"acct_1"}"#.to_owned()),
        _ => (MethodKind::Paypal, paypal),
    };
    use MethodStatus::{Disabled, Failed, Pending, Verified};
    let status = dice.pick(&[Verified, Verified, Verified, Verified, Pending, Failed, Disabled]);
    Some(NewMethod { destination: Destination::parse(kind, &json).expect("usable"), status })
}

fn world(seed: u64) -> World {
    let mut dice = Dice(seed);
    let programs: Vec<NewProgram> = (0..3)
        .map(|i| {
            let currency: Currency = dice.pick(&["USD", "JPY", "KWD"]).parse().expect("a currency");
            let minimum = dice.pick(&[0, 1, 500, 1_000, 2_000]);
            NewProgram {
                min_payout: Money::new(minimum, currency),
                auto_payout: dice.roll(5) > 0,
                ..program(&format!("program-{i}"))
            }
        })
        .collect();
    let mut affiliates = Vec::new();
    let mut earned = Vec::new();
    for i in 0..4 + dice.roll(8) {
        let name = format!("w{seed}-{i}");
        use AffiliateStatus::{Active, Pending, Suspended};
        affiliates.push(NewAffiliate {
            status: dice.pick(&[Active, Active, Active, Active, Pending, Suspended]),
            method: method(&mut dice, &name),
            ..affiliate(&name, &format!("program-{}", dice.roll(3)))
        });
        let amounts = [0, 0, 1, 499, 500, 501, 1_999, 2_000, 2_500];
        earned.push((0..dice.roll(7)).map(|_| dice.pick(&amounts)).collect());
    }
    World { programs, affiliates, earned }
}

/// The rules, said once more and differently.
fn expected(world: &World) -> Vec<Decision> {
    let mut decisions = Vec::new();
    for (affiliate, earned) in world.affiliates.iter().zip(&world.earned) {
        let program = world.programs.iter().find(|p| p.program_id == affiliate.program_id);
        let program = program.expect("every affiliate has one");
        let available: i64 = earned.iter().sum();
        if available == 0 {
            continue;
        }
        let verified = affiliate.method.as_ref().map(|m| m.status == MethodStatus::Verified);
        let gates = [
            ("not_active", affiliate.status != AffiliateStatus::Active),
            ("no_method", verified.is_none()),
            ("method_unverified", verified == Some(false)),
            ("below_minimum", available < program.min_payout.minor),
            ("auto_payout_off", !program.auto_payout),
        ];
        let failing = gates.iter().filter(|(_, fails)| *fails).map(|(gate, _)| *gate).collect();
        decisions.push((affiliate.affiliate_id.to_string(), available, failing));
    }
    decisions.sort();
    decisions
}

async fn settle_in(h: &Harness, org: &OrgId, world: &World) {
    let work = h.work();
    h.engine.enrol_programs(&work, org, &world.programs).await.expect("enrolled");
    h.engine.enrol_affiliates(&work, org, &world.affiliates).await.expect("enrolled");
    let mut commissions = Vec::new();
    for (affiliate, earned) in world.affiliates.iter().zip(&world.earned) {
        let program = world.programs.iter().find(|p| p.program_id == affiliate.program_id);
        let currency = program.expect("every affiliate has one").min_payout.currency;
        for (i, minor) in earned.iter().enumerate() {
            let name = affiliate.affiliate_id.as_str();
            let amount = Money::new(*minor, currency);
            commissions.push(commission(&format!("{name}-{i}"), name, amount, h.clock.now()));
        }
    }
    h.engine.accrue(&work, org, &commissions).await.expect("accrued");
}

async fn decided(h: &Harness, org: &OrgId, world: &World) -> Vec<Decision> {
    let mut decisions = Vec::new();
    for affiliate in &world.affiliates {
        let of_affiliate = h.store.decisions_of(org, &affiliate.affiliate_id, 9).await;
        for decision in of_affiliate.expect("decisions") {
            let failing: Vec<_> = decision
                .failing()
                .expect("gates")
                .iter()
                .map(|check| check.gate.as_str())
                .collect();
            assert_eq!(decision.payout_id.is_some(), failing.is_empty());
            let name = decision.affiliate_id.to_string();
            decisions.push((name, decision.available_minor, failing));
        }
    }
    decisions.sort();
    decisions
}

on_both! {
    async fn a_run_decides_about_every_world_as_the_rules_say(h: &Harness) {
        let mut worlds: BTreeMap<OrgId, World> = BTreeMap::new();
        for seed in 0..WORLDS {
            let org: OrgId = format!("org-{seed:02}").parse().expect("an id");
            let world = world(seed);
            settle_in(h, &org, &world).await;
            worlds.insert(org, world);
        }
        let tally = h.tally("auto-payout").await;
        let (mut seen, mut paid, mut by_paypal) = (0, 0, 0);
        for (org, world) in &worlds {
            let expected = expected(world);
            assert_eq!(decided(h, org, world).await, expected, "{org}");
            seen += expected.len() as u64;
            for (name, _, failing) in expected.iter().filter(|(_, _, failing)| failing.is_empty()) {
                let affiliate = world.affiliates.iter().find(|a| a.affiliate_id.as_str() == name);
                let method = affiliate.and_then(|a| a.method.as_ref()).expect("paid by a method");
                by_paypal += u64::from(method.destination.kind() == MethodKind::Paypal);
                paid += u64::from(failing.is_empty());
            }
        }
        assert_eq!((tally.seen, tally.acted), (seen, paid));
        assert!(paid > 50 && seen - paid > 50, "{paid} of {seen}: too one-sided to prove much");

        let submitted = h.submit().await;
        assert_eq!(submitted.acted, by_paypal);
        assert_eq!(submitted.skipped["rail_not_configured"].count, paid - by_paypal);
        assert_eq!(h.reconcile().await.outcomes["settled"].count, by_paypal);
        assert_eq!(h.count("payouts WHERE status = 'completed'").await, by_paypal as i64);
    }
}
