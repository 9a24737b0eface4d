//! Wallets and entries: the only way an affiliate's money moves inside payoutd.

use chrono::{DateTime, Utc};
use thiserror::Error;

use super::words::words;
use super::{AffiliateId, Currency};

words! {
    /// Where money stands. `Earned` is the other side of all the rest, so it is never stored:
    /// earned = −(held + available + in_flight + paid), and the five always sum to 0.
    Bucket as "bucket" {
        Earned = "earned",
        Held = "held",
        Available = "available",
        InFlight = "in_flight",
        Paid = "paid",
    }
}

words! {
    /// Why money moved. [`EntryKind::allows`] says from where to where.
    EntryKind as "kind of entry" {
        Accrue = "accrue",
        Release = "release",
        Request = "request",
        Settle = "settle",
        Restore = "restore",
        Return = "return",
        Reverse = "reverse",
        Adjust = "adjust",
    }
}

words! {
    /// A frozen wallet goes on earning and is not paid.
    WalletStatus as "wallet status" {
        Active = "active",
        Frozen = "frozen",
    }
}

impl EntryKind {
    /// Whether an entry of this kind may move money `from` one bucket `to` the other.
    pub fn allows(self, from: Bucket, to: Bucket) -> bool {
        use Bucket::{Available, Earned, Held, InFlight, Paid};
        match self {
            Self::Accrue => from == Earned && (to == Held || to == Available),
            Self::Release => (from, to) == (Held, Available),
            Self::Request => (from, to) == (Available, InFlight),
            Self::Settle => (from, to) == (InFlight, Paid),
            Self::Restore => (from, to) == (InFlight, Available),
            Self::Return => (from, to) == (Paid, Available),
            Self::Reverse => to == Earned && (from == Held || from == Available),
            Self::Adjust => matches!((from, to), (Earned, Available) | (Available, Earned)),
        }
    }

    /// Whether `available` may be below 0 after an entry of this kind: a debt that the next
    /// payout nets. A request never may.
    fn may_owe(self) -> bool {
        matches!(self, Self::Reverse | Self::Adjust)
    }
}

/// The wallet of one affiliate in one currency, within an org.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WalletKey {
    pub affiliate_id: AffiliateId,
    pub currency: Currency,
}

/// A wallet's stored buckets, in minor units, at a version.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Balances {
    pub held: i64,
    pub available: i64,
    pub in_flight: i64,
    pub paid: i64,
    /// Number of entries so far; the next entry carries the next version.
    pub version: i64,
}

/// An amount to be moved in one wallet, and the unique key that says why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Movement {
    pub wallet: WalletKey,
    pub kind: EntryKind,
    pub from: Bucket,
    pub to: Bucket,
    /// Minor units, above 0.
    pub amount_minor: i64,
    /// Unique within the org, for ever: replaying the same cause is a no-op or an error.
    pub entry_key: String,
}

/// A movement that took place: immutable, with the balances it left behind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    pub movement: Movement,
    pub after: Balances,
    pub occurred_at: DateTime<Utc>,
}

/// A movement that would break a wallet. It is refused before anything is written.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum WalletError {
    #[error("entry {key}: {kind} cannot move money from {from} to {to}")]
    NotAllowed { key: String, kind: EntryKind, from: Bucket, to: Bucket },
    #[error("entry {key}: the amount is {amount_minor}, it must be above 0")]
    NotPositive { key: String, amount_minor: i64 },
    #[error("entry {key}: {bucket} holds {holds} minor units, {amount_minor} were asked")]
    NotEnough { key: String, bucket: Bucket, holds: i64, amount_minor: i64 },
    #[error("entry {key}: {bucket} would grow beyond what an amount can be")]
    Overflow { key: String, bucket: Bucket },
}

impl Balances {
    /// What a bucket holds, in minor units; `Earned` as the negative of the rest.
    pub fn holds(&self, bucket: Bucket) -> i128 {
        match bucket {
            Bucket::Held => self.held.into(),
            Bucket::Available => self.available.into(),
            Bucket::InFlight => self.in_flight.into(),
            Bucket::Paid => self.paid.into(),
            Bucket::Earned => -[self.held, self.available, self.in_flight, self.paid]
                .map(i128::from)
                .iter()
                .sum::<i128>(),
        }
    }

    /// The balances after `movement`, one version on.
    ///
    /// # Errors
    /// [`WalletError`] if the kind may not move money that way, the amount is not above 0, a
    /// bucket would fall below 0 (only `available` may, and only by a reversal or an
    /// adjustment), or a sum overflows.
    pub fn after(&self, movement: &Movement) -> Result<Self, WalletError> {
        let Movement { kind, from, to, amount_minor, entry_key: key, .. } = movement;
        let (kind, from, to, amount_minor) = (*kind, *from, *to, *amount_minor);
        if !kind.allows(from, to) {
            return Err(WalletError::NotAllowed { key: key.clone(), kind, from, to });
        }
        if amount_minor <= 0 {
            return Err(WalletError::NotPositive { key: key.clone(), amount_minor });
        }
        let mut next = *self;
        let overflow = |bucket| WalletError::Overflow { key: key.clone(), bucket };
        if let Some(holds) = next.stored(from) {
            let left = holds.checked_sub(amount_minor).ok_or_else(|| overflow(from))?;
            if left < 0 && !(from == Bucket::Available && kind.may_owe()) {
                let (key, holds) = (key.clone(), *holds);
                return Err(WalletError::NotEnough { key, bucket: from, holds, amount_minor });
            }
            *holds = left;
        }
        if let Some(holds) = next.stored(to) {
            *holds = holds.checked_add(amount_minor).ok_or_else(|| overflow(to))?;
        }
        next.version = next.version.checked_add(1).ok_or_else(|| overflow(to))?;
        Ok(next)
    }

    fn stored(&mut self, bucket: Bucket) -> Option<&mut i64> {
        match bucket {
            Bucket::Earned => None,
            Bucket::Held => Some(&mut self.held),
            Bucket::Available => Some(&mut self.available),
            Bucket::InFlight => Some(&mut self.in_flight),
            Bucket::Paid => Some(&mut self.paid),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn movement(kind: EntryKind, from: Bucket, to: Bucket, amount_minor: i64) -> Movement {
        let wallet = WalletKey {
            affiliate_id: "aff-1".parse().expect("an id"),
            currency: "USD".parse().expect("a currency"),
        };
        Movement { wallet, kind, from, to, amount_minor, entry_key: "test:1".into() }
    }

    #[test]
    fn a_request_never_takes_more_than_is_available() {
        let wallet = Balances { available: 99, held: 1_000, ..Balances::default() };
        let request = movement(EntryKind::Request, Bucket::Available, Bucket::InFlight, 100);
        assert!(matches!(wallet.after(&request), Err(WalletError::NotEnough { holds: 99, .. })));
    }

    #[test]
    fn a_reversal_may_leave_a_debt_and_a_request_may_not_deepen_it() {
        let wallet = Balances { available: 10, ..Balances::default() };
        let reverse = movement(EntryKind::Reverse, Bucket::Available, Bucket::Earned, 30);
        let owing = wallet.after(&reverse).expect("a debt is allowed");
        assert_eq!(owing.available, -20);
        let request = movement(EntryKind::Request, Bucket::Available, Bucket::InFlight, 1);
        assert!(owing.after(&request).is_err());
    }

    #[test]
    fn zero_and_negative_amounts_move_nothing() {
        for amount in [0, -1, i64::MIN] {
            let accrue = movement(EntryKind::Accrue, Bucket::Earned, Bucket::Held, amount);
            let refused = Balances::default().after(&accrue);
            assert!(matches!(refused, Err(WalletError::NotPositive { .. })), "{amount}");
        }
    }

    #[test]
    fn each_kind_moves_money_one_way_only() {
        let allowed = |kind: EntryKind| {
            let pairs =
                Bucket::ALL.iter().flat_map(|from| Bucket::ALL.iter().map(move |to| (from, to)));
            pairs.filter(|(from, to)| kind.allows(**from, **to)).count()
        };
        let counts: Vec<_> = EntryKind::ALL.iter().map(|kind| allowed(*kind)).collect();
        assert_eq!(counts, [2, 1, 1, 1, 1, 1, 2, 2]);
    }

    fn any_movement() -> impl Strategy<Value = Movement> {
        let amounts = prop_oneof![-2..2_000_i64, Just(i64::MAX), Just(i64::MAX - 1)];
        let (kinds, buckets) = (EntryKind::ALL, Bucket::ALL);
        (
            prop::sample::select(kinds),
            prop::sample::select(buckets),
            prop::sample::select(buckets),
            amounts,
        )
            .prop_map(|(kind, from, to, amount)| movement(kind, from, to, amount))
    }

    proptest! {
        #[test]
        fn the_five_buckets_sum_to_zero_and_only_available_is_ever_below_it(
            movements in prop::collection::vec(any_movement(), 0..200),
        ) {
            let mut wallet = Balances::default();
            let mut applied = 0;
            for movement in &movements {
                if let Ok(next) = wallet.after(movement) {
                    applied += 1;
                    prop_assert_eq!(next.holds(movement.to) - wallet.holds(movement.to), i128::from(movement.amount_minor));
                    wallet = next;
                }
                let sum: i128 = Bucket::ALL.iter().map(|bucket| wallet.holds(*bucket)).sum();
                prop_assert_eq!(sum, 0);
                prop_assert!(wallet.held >= 0 && wallet.in_flight >= 0 && wallet.paid >= 0);
                prop_assert_eq!(wallet.version, applied);
            }
        }
    }
}
