//! Limits: what was asked for so far, of a run and of a day, and what that leaves. Pure; the days are
//! read and written by who walks the wallets, in the transaction of the payouts themselves.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use chrono::{DateTime, Utc};
use chrono_tz::Tz;

use super::Rules;
use crate::domain::{Allowance, Candidate, Currency, Holder, Used};
use crate::store::{AskedByRun, UsageDay, UsageRow};

/// What was asked for within one org.
#[derive(Debug, Clone, Default)]
pub(super) struct Spent {
    runs: HashMap<Holder, Usage>,
    days: HashMap<UsageDay, Usage>,
    /// Days that changed since they were learnt.
    changed: BTreeSet<UsageDay>,
}

#[derive(Debug, Clone, Default)]
struct Usage {
    payouts: i64,
    minors: BTreeMap<Currency, Counted>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Counted {
    payouts: i64,
    minor: i64,
}

impl Usage {
    fn in_currency(&self, currency: Currency) -> Used {
        let minor = self.minors.get(&currency).map_or(0, |counted| counted.minor);
        Used { payouts: self.payouts, minor }
    }

    fn add(&mut self, currency: Currency, (payouts, minor): (i64, i64)) {
        self.payouts += payouts;
        let counted = self.minors.entry(currency).or_default();
        counted.payouts += payouts;
        // Beyond all numbers is beyond every limit.
        counted.minor = counted.minor.saturating_add(minor);
    }
}

/// The day of a program's limits: in its zone, or in UTC. It is the same whoever asks.
fn day_of(candidate: &Candidate, at: DateTime<Utc>) -> UsageDay {
    let zone = candidate.timezone.as_deref().and_then(|name| name.parse().ok());
    UsageDay {
        holder: Holder::program(&candidate.program_id),
        day: day(zone.unwrap_or(Tz::UTC), at),
    }
}

fn day_of_job(rules: &Rules, at: DateTime<Utc>) -> UsageDay {
    UsageDay { holder: Holder::job(&rules.job_id), day: day(rules.periods.zone, at) }
}

fn day(zone: Tz, at: DateTime<Utc>) -> String {
    at.with_timezone(&zone).format("%Y-%m-%d").to_string()
}

impl Spent {
    /// Takes up what the run asked for before, in an attempt that did not come to its end.
    pub fn resume(&mut self, job_id: &str, asked: &[AskedByRun]) {
        for row in asked {
            for holder in [Holder::job(job_id), Holder::program(&row.program_id)] {
                let run = self.runs.entry(holder).or_default();
                run.add(row.currency, (row.payouts, row.amount_minor));
            }
        }
    }

    /// The days that count for these candidates, in the order in which they are held.
    pub fn days(rules: Option<&Rules>, page: &[Candidate], at: DateTime<Utc>) -> Vec<UsageDay> {
        let programs = page.iter().map(|candidate| day_of(candidate, at));
        let job = rules.filter(|_| !page.is_empty()).map(|rules| day_of_job(rules, at));
        programs.chain(job).collect::<BTreeSet<_>>().into_iter().collect()
    }

    /// Those of `days` that nothing is known of yet.
    pub fn unknown(&self, days: Vec<UsageDay>) -> Vec<UsageDay> {
        days.into_iter().filter(|day| !self.days.contains_key(day)).collect()
    }

    /// Takes up what was asked for in `days` so far, as the database has it.
    pub fn learn(&mut self, days: &[UsageDay], rows: &[UsageRow]) {
        for day in days {
            let of_day = |row: &&UsageRow| row.holder == day.holder.as_str() && row.day == day.day;
            let mut usage = Usage::default();
            for row in rows.iter().filter(of_day) {
                match row.currency.parse::<Currency>() {
                    Ok(currency) if !row.is_count() => {
                        let (payouts, minor) = (row.payouts, row.amount_minor);
                        usage.minors.insert(currency, Counted { payouts, minor });
                    }
                    _ => usage.payouts = row.payouts,
                }
            }
            self.days.insert(day.clone(), usage);
        }
        self.changed.clear();
    }

    /// What limits there are over a payout of this candidate, and what was asked for before it.
    pub fn allowed(
        &self,
        rules: Option<&Rules>,
        candidate: &Candidate,
        at: DateTime<Utc>,
    ) -> Vec<Allowance> {
        let currency = candidate.currency;
        let allowance = |day: UsageDay, bounds| {
            let used = |usage: Option<&Usage>| {
                usage.map(|usage| usage.in_currency(currency)).unwrap_or_default()
            };
            let (run, day_used) = (used(self.runs.get(&day.holder)), used(self.days.get(&day)));
            Allowance { holder: day.holder, bounds, run, day: day_used }
        };
        let job =
            rules.map(|rules| allowance(day_of_job(rules, at), rules.limits.bounds(currency)));
        let program = allowance(day_of(candidate, at), candidate.bounds);
        job.into_iter().chain([program]).collect()
    }

    /// Counts a payout that is asked for.
    pub fn take(
        &mut self,
        rules: Option<&Rules>,
        candidate: &Candidate,
        (amount_minor, at): (i64, DateTime<Utc>),
    ) {
        let job = rules.map(|rules| day_of_job(rules, at));
        for day in job.into_iter().chain([day_of(candidate, at)]) {
            let run = self.runs.entry(day.holder.clone()).or_default();
            run.add(candidate.currency, (1, amount_minor));
            let of_day = self.days.entry(day.clone()).or_default();
            of_day.add(candidate.currency, (1, amount_minor));
            self.changed.insert(day);
        }
    }

    /// The days that changed since they were learnt, as they stand now.
    pub fn changed(&self) -> Vec<UsageRow> {
        let mut rows = Vec::new();
        for day in &self.changed {
            let Some(usage) = self.days.get(day) else { continue };
            rows.push(UsageRow::new(day, None, (usage.payouts, 0)));
            let in_currency = |(currency, counted): (&Currency, &Counted)| {
                UsageRow::new(day, Some(currency.code()), (counted.payouts, counted.minor))
            };
            rows.extend(usage.minors.iter().map(in_currency));
        }
        rows
    }
}
