//! Jobs: what runs when. Thin: a job's file says which engine function it calls, and nothing
//! here moves money.

mod announce;
mod asked;
mod audit_ledger;
mod catalog;
mod definition;
mod outlook;
mod planning;
mod policy;
mod prune;
mod reconcile_transfers;
mod release_holds;
mod request_payouts;
mod runner;
mod schedule;
mod submit_transfers;

pub use announce::{PREVIEW, to_announce};
pub use asked::JobError;
pub use catalog::{Catalog, CatalogError};
pub use definition::{Definition, DefinitionError, Heartbeat, JobKind, Task};
pub use outlook::Outlook;
pub use planning::NotPlanned;
pub use policy::{Misfire, MisfirePolicy, Overlap, Retry, Span};
pub use runner::{RunError, Runner, RunnerSettings};
pub use schedule::{Schedule, ScheduleError};
