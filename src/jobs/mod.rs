//! Jobs: what runs when. Thin: a job's file says which engine function it calls, and nothing
//! here moves money.

mod again;
mod announce;
mod asked;
mod audit_ledger;
mod calendar;
mod catalog;
mod definition;
mod execute;
mod look;
mod outlook;
mod planning;
mod policy;
mod prune;
mod pulse;
mod reconcile_transfers;
mod release_holds;
mod request_payouts;
mod runner;
mod schedule;
mod seen;
mod standing;
mod submit_transfers;
mod tick;

pub use again::{Backfill, Backfilled};
pub use announce::{PREVIEW, to_announce};
pub use asked::JobError;
pub use calendar::{Calendar, CalendarError, CalendarKeys};
pub use catalog::{Catalog, CatalogError};
pub use definition::{Definition, DefinitionError, Heartbeat, JobKind, Task};
pub use outlook::Outlook;
pub use planning::NotPlanned;
pub use policy::{Misfire, MisfirePolicy, Overlap, Retry, Span};
pub use pulse::Pulse;
pub use runner::{RunError, Runner, RunnerSettings};
pub use schedule::{Dst, Due, Schedule, ScheduleError, Vanished};
pub use seen::{count_from_zero, count_payouts};
pub use standing::JobStanding;
pub use tick::REPLICA_GONE;
