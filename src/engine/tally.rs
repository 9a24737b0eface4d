//! What a job saw and did: counted the same way by every job, kept with its run.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use serde::{Deserialize, Serialize};

use crate::domain::{Money, MoneyError, MoneyTotals, OrgId};

/// Counts and amounts of a job's work. `seen` = `acted` + `skipped` + `failed` + what is still
/// open.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tally {
    /// What was looked at: commissions, wallets, payouts or transfers, as the job has it.
    pub seen: u64,
    /// What was moved.
    pub acted: u64,
    pub failed: u64,
    /// What was moved, per currency.
    pub amounts: MoneyTotals,
    /// What was passed over, by reason.
    pub skipped: BTreeMap<String, Skips>,
    /// What was moved, by outcome (`settled`, `rejected`, …) where a job has several.
    pub outcomes: BTreeMap<String, Skips>,
    /// What an operator should know, one sentence each.
    pub notes: Vec<String>,
    /// What of it was each org's; not kept with the run, for an org is told its own alone.
    #[serde(skip)]
    pub by_org: BTreeMap<OrgId, OrgTally>,
}

/// An org's part in what a job did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OrgTally {
    pub seen: u64,
    pub acted: u64,
    pub failed: u64,
    pub amounts: MoneyTotals,
    /// What was passed over, by reason.
    pub skipped: BTreeMap<String, Skips>,
}

impl OrgTally {
    /// How many were passed over.
    pub fn skipped_count(&self) -> u64 {
        self.skipped.values().map(|skips| skips.count).sum()
    }

    fn merge(&mut self, other: &Self) -> Result<(), MoneyError> {
        self.seen += other.seen;
        self.acted += other.acted;
        self.failed += other.failed;
        self.amounts.merge(&other.amounts)?;
        for (word, skips) in &other.skipped {
            let sum = self.skipped.entry(word.clone()).or_default();
            sum.count += skips.count;
            sum.amount.merge(&skips.amount)?;
        }
        Ok(())
    }
}

/// How far work is, while it is under way: for who looks from outside. Cloning shares it.
#[derive(Debug, Clone, Default)]
pub struct Progress(Arc<[AtomicU64; 4]>);

/// Counts of work that is under way.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    pub seen: u64,
    pub acted: u64,
    pub skipped: u64,
    pub failed: u64,
}

impl Progress {
    /// Adds what a part of the work came to.
    pub fn add(&self, part: &Tally) {
        let counts = [part.seen, part.acted, part.skipped_count(), part.failed];
        for (sum, count) in self.0.iter().zip(counts) {
            sum.fetch_add(count, Ordering::Relaxed);
        }
    }

    /// How far it is.
    pub fn counts(&self) -> Counts {
        let [seen, acted, skipped, failed] =
            self.0.each_ref().map(|sum| sum.load(Ordering::Relaxed));
        Counts { seen, acted, skipped, failed }
    }
}

/// How many, and how much.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Skips {
    pub count: u64,
    pub amount: MoneyTotals,
}

impl Skips {
    /// Adds one of `amount`.
    ///
    /// # Errors
    /// [`MoneyError::Overflow`].
    pub fn add(&mut self, amount: Money) -> Result<(), MoneyError> {
        self.count += 1;
        self.amount.add(amount)
    }
}

impl Tally {
    /// Counts one act and its amount.
    ///
    /// # Errors
    /// [`MoneyError::Overflow`].
    pub fn act(&mut self, amount: Money) -> Result<(), MoneyError> {
        self.acted += 1;
        self.amounts.add(amount)
    }

    /// Counts one that was passed over.
    ///
    /// # Errors
    /// [`MoneyError::Overflow`].
    pub fn skip(&mut self, reason: &str, amount: Money) -> Result<(), MoneyError> {
        self.skipped.entry(reason.to_owned()).or_default().add(amount)
    }

    /// Counts one under its outcome.
    ///
    /// # Errors
    /// [`MoneyError::Overflow`].
    pub fn outcome(&mut self, outcome: &str, amount: Money) -> Result<(), MoneyError> {
        self.outcomes.entry(outcome.to_owned()).or_default().add(amount)
    }

    /// Keeps a sentence for the operator, once.
    pub fn note(&mut self, note: impl Into<String>) {
        let note = note.into();
        if !self.notes.contains(&note) {
            self.notes.push(note);
        }
    }

    /// How many were passed over.
    pub fn skipped_count(&self) -> u64 {
        self.skipped.values().map(|skips| skips.count).sum()
    }

    /// Adds what a job came to in one org.
    ///
    /// # Errors
    /// [`MoneyError::Overflow`].
    pub fn merge_of(&mut self, org: &OrgId, other: Self) -> Result<(), MoneyError> {
        let part = OrgTally {
            seen: other.seen,
            acted: other.acted,
            failed: other.failed,
            amounts: other.amounts.clone(),
            skipped: other.skipped.clone(),
        };
        self.by_org.entry(org.clone()).or_default().merge(&part)?;
        self.merge(Self { by_org: BTreeMap::new(), ..other })
    }

    /// Adds another tally of the same job.
    ///
    /// # Errors
    /// [`MoneyError::Overflow`].
    pub fn merge(&mut self, other: Self) -> Result<(), MoneyError> {
        self.seen += other.seen;
        self.acted += other.acted;
        self.failed += other.failed;
        self.amounts.merge(&other.amounts)?;
        for (theirs, ours) in
            [(other.skipped, &mut self.skipped), (other.outcomes, &mut self.outcomes)]
        {
            for (word, skips) in theirs {
                let sum = ours.entry(word).or_default();
                sum.count += skips.count;
                sum.amount.merge(&skips.amount)?;
            }
        }
        other.notes.into_iter().for_each(|note| self.note(note));
        for (org, part) in &other.by_org {
            self.by_org.entry(org.clone()).or_default().merge(part)?;
        }
        Ok(())
    }
}
