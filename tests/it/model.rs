//! Random days in the life of three wallets, held against a model that knows no ledger: what a
//! wallet holds follows from what was earned, taken back, added, asked out and answered.

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::TimeDelta;
use payoutd::domain::{Money, NewProgram, PayoutStatus};
use payoutd::engine::{Engine, EngineError, EngineSettings};
use payoutd::providers::Standing;

use crate::harness::{Harness, Paper, Wallet, affiliate, banked, program, usd};

/// Steps of one story, and how many stories are told.
const STEPS: usize = 60;
const SEEDS: [u64; 3] = [1, 20, 4_711];

/// The same numbers for the same seed.
struct Dice(u64);

impl Dice {
    fn throw(&mut self, sides: u64) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }

    fn minor(&mut self, most: i64) -> i64 {
        1 + i64::try_from(self.throw(u64::try_from(most).expect("above 0"))).expect("small")
    }

    fn one<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        &of[usize::try_from(self.throw(of.len() as u64)).expect("small")]
    }
}

#[derive(Debug)]
struct Earned {
    affiliate: &'static str,
    amount: i64,
    reversed: i64,
    credited: bool,
    due: chrono::DateTime<chrono::Utc>,
}

/// What the model knows.
#[derive(Default)]
struct Model {
    commissions: BTreeMap<String, Earned>,
    adjusted: BTreeMap<&'static str, i64>,
}

impl Model {
    /// What a wallet holds, given its payouts as they stand.
    fn wallet(&self, affiliate: &str, payouts: &[(PayoutStatus, i64)]) -> Wallet {
        let mine = || self.commissions.values().filter(|one| one.affiliate == affiliate);
        let net = |credited: bool| -> i64 {
            mine().filter(|one| one.credited == credited).map(|one| one.amount - one.reversed).sum()
        };
        let sum = |is: fn(PayoutStatus) -> bool| -> i64 {
            payouts.iter().filter(|(status, _)| is(*status)).map(|(_, minor)| minor).sum()
        };
        let (in_flight, paid) =
            (sum(PayoutStatus::is_open), sum(|status| status == PayoutStatus::Completed));
        let adjusted = self.adjusted.get(affiliate).copied().unwrap_or_default();
        Wallet {
            held: net(false),
            available: net(true) + adjusted - in_flight - paid,
            in_flight,
            paid,
        }
    }
}

const NAMES: [&str; 3] = ["ana", "ben", "cem"];

struct Story<'a> {
    h: &'a Harness,
    engine: Engine,
    paper: Paper,
    dice: Dice,
    model: Model,
    made: usize,
}

impl Story<'_> {
    fn id(&mut self, what: &str) -> String {
        self.made += 1;
        format!("{what}-{}-{}", self.dice.0 % 1_000, self.made)
    }

    async fn earn(&mut self) {
        let affiliate = *self.dice.one(&NAMES);
        let (id, amount) = (self.id("c"), self.dice.minor(2_000));
        // cem's program credits at once.
        let credited = affiliate == "cem";
        let due = self.h.clock.now() + TimeDelta::days(2);
        self.h.accrue(&[self.h.commission(&id, affiliate, amount)]).await;
        let earned = Earned { affiliate, amount, reversed: 0, credited, due };
        self.model.commissions.insert(id, earned);
    }

    async fn release(&mut self) {
        self.h.clock.advance(TimeDelta::hours(20));
        self.h.job("release-holds").await;
        let now = self.h.clock.now();
        let due = self.model.commissions.values_mut().filter(|one| one.due <= now);
        // What is reversed whole is never credited; it counts 0 either way.
        due.for_each(|one| one.credited = true);
    }

    async fn reverse(&mut self) {
        let ids: Vec<String> = self.model.commissions.keys().cloned().collect();
        if ids.is_empty() {
            return;
        }
        let (id, refund) = (self.dice.one(&ids).clone(), self.id("r"));
        let left = {
            let one = &self.model.commissions[&id];
            one.amount - one.reversed
        };
        let asked = (self.dice.throw(3) > 0).then(|| self.dice.minor(2_000));
        let answer = self.h.reverse(&id, &refund, asked).await;
        let taken = asked.unwrap_or(left);
        if left == 0 || taken > left {
            assert!(matches!(answer, Err(EngineError::NothingLeft { .. })), "{answer:?}");
            return;
        }
        assert_eq!(answer.expect("reversed").amount, usd(taken));
        self.model.commissions.get_mut(&id).expect("known").reversed += taken;
        assert!(self.h.reverse(&id, &refund, asked).await.expect("known").repeated);
    }

    async fn adjust(&mut self) {
        let (affiliate, id) = (*self.dice.one(&NAMES), self.id("a"));
        let minor = self.dice.minor(800) * if self.dice.throw(2) == 0 { 1 } else { -1 };
        self.h.adjust(affiliate, &id, minor).await.expect("adjusted");
        *self.model.adjusted.entry(affiliate).or_default() += minor;
    }

    async fn ask(&mut self) {
        let affiliate = *self.dice.one(&NAMES);
        let available = self.expected(affiliate).await.available;
        let asked = match self.dice.throw(3) {
            0 => available,
            1 => available + 1,
            _ => self.dice.minor(1_500),
        };
        let answer = self.h.ask(affiliate, asked).await;
        let granted = asked > 0 && asked <= available;
        assert_eq!(answer.is_ok(), granted, "{affiliate} asked {asked} of {available}: {answer:?}");
    }

    async fn ask_all(&mut self) {
        self.made += 1;
        self.h.ask_all(&format!("2026-W{}", self.made), 2).await;
    }

    async fn cancel(&mut self) {
        let payouts = self.h.payouts().await;
        if let Some(payout) = payouts.iter().find(|payout| payout.status == PayoutStatus::Pending) {
            let id = &payout.payout_id;
            self.h
                .engine
                .cancel(&self.h.work(), &self.h.org, id, "a mistake")
                .await
                .expect("cancelled");
        }
    }

    async fn send(&mut self) {
        self.h.submit_with(&self.engine).await;
    }

    /// The rail answers: paid, not paid, came back, or nothing yet.
    async fn hear(&mut self) {
        let answers = [
            Standing::Settled,
            Standing::Settled,
            Standing::Rejected,
            Standing::Returned,
            Standing::Open,
        ];
        self.paper.told().standing = Some(*self.dice.one(&answers));
        self.h.clock.advance(TimeDelta::hours(self.dice.minor(30)));
        self.h.reconcile_with(&self.engine).await;
    }

    async fn step(&mut self) {
        match self.dice.throw(12) {
            0 | 1 => self.earn().await,
            2 => self.release().await,
            3 | 4 => self.reverse().await,
            5 => self.adjust().await,
            6 | 7 => self.ask().await,
            8 => self.ask_all().await,
            9 => self.cancel().await,
            10 => self.send().await,
            _ => self.hear().await,
        }
    }

    async fn expected(&self, affiliate: &str) -> Wallet {
        let payouts = self.h.payouts().await;
        let mine = payouts.iter().filter(|payout| payout.affiliate_id.as_str() == affiliate);
        let mine: Vec<_> = mine.map(|payout| (payout.status, payout.amount_minor)).collect();
        self.model.wallet(affiliate, &mine)
    }
}

/// Three affiliates at a bank that is a rail of paper; each has a wallet.
async fn story(h: &Harness, seed: u64) -> Story<'_> {
    let min_payout = Money::new(1, usd(0).currency);
    for (id, hold_days) in [("patient", 2), ("prompt", 0)] {
        h.enrol_program(NewProgram { min_payout, hold_days, ..program(id) }).await;
    }
    let programs = ["patient", "patient", "prompt"];
    let affiliates = NAMES.iter().zip(programs).map(|(name, id)| banked(affiliate(name, id)));
    h.enrol_affiliates(&affiliates.collect::<Vec<_>>()).await;
    let paper = Paper::new();
    let engine = h.engine_with(vec![Arc::new(paper.clone())], EngineSettings::default());
    let mut story = Story { h, engine, paper, dice: Dice(seed), model: Model::default(), made: 0 };
    for name in NAMES {
        h.adjust(name, &format!("start-{name}"), 1).await.expect("adjusted");
        story.model.adjusted.insert(name, 1);
    }
    story
}

async fn tell_one(h: &Harness, seed: u64) {
    let mut story = story(h, seed).await;
    for step in 0..STEPS {
        story.step().await;
        for name in NAMES {
            assert_eq!(
                h.wallet(name).await,
                story.expected(name).await,
                "{name}, seed {seed}, step {step}"
            );
        }
        let broken = h.broken().await;
        assert_eq!(broken, [], "seed {seed}, step {step}: {:?}", h.engine.audit().await);
    }
}

on_both! {
    async fn a_first_random_story_agrees_with_the_model(h: &Harness) {
        tell_one(h, SEEDS[0]).await;
    }

    async fn a_second_random_story_agrees_with_the_model(h: &Harness) {
        tell_one(h, SEEDS[1]).await;
    }

    async fn a_third_random_story_agrees_with_the_model(h: &Harness) {
        tell_one(h, SEEDS[2]).await;
    }
}
