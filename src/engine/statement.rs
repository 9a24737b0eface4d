//! A statement beside our books, without any I/O: its lines by payment, and what they disagree
//! with us about.

use std::collections::{HashMap, HashSet};

use chrono::{DateTime, NaiveDate, NaiveTime, TimeDelta, Utc};

use crate::domain::{
    BreakKind, Currency, Direction, MethodKind, Money, MoneyError, Statement, StatementLine,
    TransferState,
};
use crate::store::{SettledRow, StatedSubmission, StatedTransfer};

/// How far the provider's clock and ours may be apart.
const SKEW: TimeDelta = TimeDelta::minutes(5);

/// A statement's lines, by the payment that they are about.
#[derive(Debug, Default)]
pub(super) struct Sheet {
    pub payments: Vec<StatedPayment>,
    /// Lines that are about no payment of ours: fees, money that came in, other people's.
    pub not_ours: u64,
    /// Every name of every payment.
    names: HashSet<String>,
}

/// What a statement says of one payment: all its lines of one name and currency.
#[derive(Debug, Clone)]
pub(super) struct StatedPayment {
    /// Our reference, as the lines repeat it; or the provider's id, where they repeat none.
    pub name: String,
    /// The provider's id of it, beside our reference.
    pub provider_id: Option<String>,
    pub currency: Currency,
    /// How often it went out, and how much in all.
    pub sent: (u32, i64),
    /// How much of it came back.
    pub back_minor: i64,
    pub booked_on: Option<NaiveDate>,
    /// What the first line says about itself.
    pub text: String,
}

/// What comes of a payment that both sides know.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Verdict {
    /// What the two sides disagree about, and how.
    pub disagreement: Option<(BreakKind, String)>,
    /// Whether the statement knows more than we do, so that the provider should be asked.
    pub look: bool,
}

/// Whether a rail speaks by letters alone: then nobody can be asked, and the account that its
/// statements are of has other people's payments in it too.
pub(super) fn speaks_by_letters(kind: MethodKind) -> bool {
    matches!(kind, MethodKind::Ach | MethodKind::Wire)
}

impl Sheet {
    /// Sorts the lines of a statement of the rail `kind`.
    ///
    /// # Errors
    /// [`MoneyError::Overflow`] if one payment's lines sum up to more than an amount can be.
    pub fn of(kind: MethodKind, statement: &Statement) -> Result<Self, MoneyError> {
        let mut sheet = Self::default();
        let mut places: HashMap<(String, Currency), usize> = HashMap::new();
        for line in &statement.lines {
            let Some(name) = name_of(kind, line) else {
                sheet.not_ours += 1;
                continue;
            };
            let place =
                *places.entry((name.to_owned(), line.amount.currency)).or_insert_with(|| {
                    sheet.payments.push(StatedPayment::begun(name, line));
                    sheet.payments.len() - 1
                });
            sheet.payments[place].add(line)?;
            sheet.names.insert(name.to_owned());
            sheet.names.extend(line.provider_id.clone());
        }
        Ok(sheet)
    }

    /// Whether the statement has a transfer, by itself or in its submission's sum.
    pub fn has(&self, settled: &SettledRow) -> bool {
        let has = |name: &str| self.names.contains(name);
        has(settled.reference.as_str())
            || has(settled.submission_reference.as_str())
            || settled.provider_id.as_deref().is_some_and(has)
            || settled.provider_batch_id.as_deref().is_some_and(has)
    }
}

/// The name of the payment that a line is about, if it may be one of ours.
fn name_of(kind: MethodKind, line: &StatementLine) -> Option<&str> {
    let is_payment = line.direction == Direction::Out || line.is_return;
    // A bank gives an id to each of its fees. In a list of transfers, each line is a transfer.
    let id = line.provider_id.as_deref().filter(|_| !speaks_by_letters(kind) && !line.is_return);
    let name = line.reference.as_deref().or(id);
    name.filter(|name| is_payment && !name.is_empty())
}

impl StatedPayment {
    fn begun(name: &str, line: &StatementLine) -> Self {
        Self {
            name: name.to_owned(),
            provider_id: line.provider_id.clone().filter(|id| !line.is_return && id != name),
            currency: line.amount.currency,
            sent: (0, 0),
            back_minor: 0,
            booked_on: line.booked_on,
            text: line.text.clone(),
        }
    }

    fn add(&mut self, line: &StatementLine) -> Result<(), MoneyError> {
        let sum = |left: i64, right: i64| {
            left.checked_add(right).ok_or(MoneyError::Overflow { left, right })
        };
        let minor = line.amount.minor;
        match (line.direction, line.is_return) {
            (Direction::Out, false) => self.sent = (self.sent.0 + 1, sum(self.sent.1, minor)?),
            (Direction::In, _) => self.back_minor = sum(self.back_minor, minor)?,
            // A return that was taken back.
            (Direction::Out, true) => self.back_minor = sum(self.back_minor, -minor)?,
        }
        Ok(())
    }

    /// The names that it may be found by.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        std::iter::once(self.name.as_str()).chain(self.provider_id.as_deref())
    }

    /// Whether it went out at all in this statement.
    pub fn went_out(&self) -> bool {
        self.sent.0 > 0
    }

    /// How much went out; of what was sent more than once, without what came back.
    pub fn sent_minor(&self) -> i64 {
        if self.sent.0 > 1 { self.sent.1 - self.back_minor } else { self.sent.1 }
    }

    /// How much went out, if it did in this currency.
    pub fn minor_in(&self, currency: Currency) -> Option<i64> {
        (self.currency == currency).then(|| self.sent_minor())
    }

    /// What the statement has, for people.
    pub fn in_words(&self) -> String {
        let amount = |minor| format!("{} {}", Money::new(minor, self.currency), self.currency);
        let mut words = format!("the statement has {} out", amount(self.sent.1));
        if self.sent.0 > 1 {
            words.push_str(&format!(" in {} payments", self.sent.0));
        }
        if self.back_minor != 0 {
            words.push_str(&format!(", {} back", amount(self.back_minor)));
        }
        if let Some(day) = self.booked_on {
            words.push_str(&format!(", booked on {day}"));
        }
        if !self.text.is_empty() {
            words.push_str(&format!(" ({})", self.text));
        }
        words
    }

    /// Holds it against the transfer that it is; `told` as in [`super::Against`].
    pub fn beside(&self, ours: &StatedTransfer, told: bool) -> Verdict {
        use TransferState::{Accepted, Prepared, Rejected, Settled, Unknown};
        let came_back = self.back_minor > 0 || ours.returned_by.is_some();
        let differs = self.went_out() && !self.is_amount(ours.currency, &[ours.amount_minor]);
        // What no letter told, no look-up will find either.
        let untold = speaks_by_letters(ours.method_kind) && !told && ours.returned_by.is_none();
        let whole = Money::new(ours.amount_minor, ours.currency);
        let disagreement = match ours.state {
            Rejected | Prepared if self.went_out() && !came_back => {
                let words = format!("{}; we hold it as {}", self.in_words(), ours.state);
                Some((BreakKind::PaidThere, words))
            }
            _ if differs => {
                let words = format!("{}; ours is {whole} {}", self.in_words(), ours.currency);
                Some((BreakKind::AmountDiffers, words))
            }
            Settled if self.back_minor > 0 && untold => {
                let words = format!("{}; no letter said that it came back", self.in_words());
                Some((BreakKind::ReturnedThere, words))
            }
            _ => None,
        };
        let look = match ours.state {
            Unknown | Accepted => true,
            Settled => self.back_minor > 0,
            _ => false,
        };
        Verdict { disagreement, look }
    }

    /// Holds it against the submission that it is the sum of. A bank may book what it took, or
    /// what it paid.
    pub fn beside_whole(&self, ours: &StatedSubmission) -> Option<String> {
        let sums = [ours.sent_minor, ours.paid_minor];
        let agrees = !self.went_out() || self.is_amount(ours.currency, &sums);
        (!agrees).then(|| {
            let sum = Money::new(ours.paid_minor, ours.currency);
            format!("{}; our transfers in it sum up to {sum} {}", self.in_words(), ours.currency)
        })
    }

    /// Whether what went out is one of these amounts. What went out twice and came back twice is
    /// nothing, and no other amount.
    fn is_amount(&self, currency: Currency, amounts: &[i64]) -> bool {
        let nothing = self.sent.0 > 1 && self.sent_minor() == 0;
        self.currency == currency && (nothing || amounts.contains(&self.sent_minor()))
    }
}

/// Whether a settled transfer's money certainly moved within the statement's time: on the day that
/// the rail's letters name, else somewhere between our first send and our hearing of it.
pub(super) fn moved_within(settled: &SettledRow, from: DateTime<Utc>, to: DateTime<Utc>) -> bool {
    let named: Option<NaiveDate> = settled.booked_on.as_deref().and_then(|day| day.parse().ok());
    match named {
        // A bank's day is not UTC's; its noon is within the same day nearly everywhere.
        Some(day) => {
            let noon = NaiveTime::from_hms_opt(12, 0, 0).expect("noon exists");
            let noon = day.and_time(noon).and_utc();
            from <= noon && noon < to
        }
        None => settled.sent_at - from >= SKEW && to - settled.settled_at >= SKEW,
    }
}
