//! A bank: it takes finished files out of an outbox, judges and pays what is in them, and drops
//! its answers into an inbox. Credits by NACHA file and by pain.001.
//!
//! Nothing happens between scans: a scan is a control call, or a second while the sandbox serves.

mod answer;
mod behaviour;
mod control;
mod iso;
mod judge;
mod ledger;
mod nacha;
mod post;
mod scan;

use std::path::PathBuf;

use chrono::{DateTime, NaiveDate, TimeDelta, Utc};

use crate::clock::Clock;
use behaviour::Behaviours;

pub(super) use control::routes as control_routes;
pub use ledger::PaymentStatus;
pub(super) use ledger::{Event, Ledger};
pub(super) use scan::{keep_scanning, scan};

/// The bank's folders, clock and manners.
#[derive(Debug, Default)]
pub(super) struct Bank {
    doors: Vec<Door>,
    pub(super) behaviours: Behaviours,
    /// Whether everything settles on the day that it is taken.
    pub(super) settles_at_once: bool,
    /// How far the bank's days are ahead of the clock.
    ahead: TimeDelta,
}

/// Where files come from, and where answers go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Door {
    outbox: PathBuf,
    inbox: PathBuf,
}

impl Bank {
    pub(super) fn open(&mut self, outbox: PathBuf, inbox: PathBuf) {
        let door = Door { outbox, inbox };
        if !self.doors.contains(&door) {
            self.doors.push(door);
        }
    }

    fn now(&self, clock: &Clock) -> DateTime<Utc> {
        clock.now() + self.ahead
    }

    fn today(&self, clock: &Clock) -> NaiveDate {
        self.now(clock).date_naive()
    }
}
