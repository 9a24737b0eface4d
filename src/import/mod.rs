//! Bringing in programs, affiliates and commissions from CSV files that nobody vouches for.
//!
//! A file is streamed line by line in bounded memory; each line becomes a record of the domain or
//! a [`Reject`] that says why not, and bad lines are kept as they were in a rejects file. Only
//! `intake.rs` knows the engine; all the rest is pure of any database.

mod error;
mod fields;
mod header;
mod intake;
mod lines;
mod reader;
mod rejects;
mod rows;

#[cfg(test)]
mod reader_tests;
#[cfg(test)]
mod rows_tests;

pub use error::{FileError, OpenError};
pub use header::{FileKind, Header, HeaderError, identify};
pub use intake::{FileReport, ImportError, Intake, Watcher};
pub use reader::{Batch, Reader, Row, header_of};
pub use rejects::{Reject, Rejects, RejectsWritten};
pub use rows::{Record, RowError, parse_affiliate, parse_commission, parse_program};
