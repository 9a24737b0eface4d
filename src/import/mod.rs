//! Bringing in programs, affiliates and commissions from CSV files that nobody vouches for.
//!
//! This half is pure of any database: it streams a file line by line in bounded memory, turns
//! each line into a record of the domain or a [`Reject`] that says why not, and keeps the bad
//! lines as they were in a rejects file. It imports the domain only.

mod error;
mod fields;
mod header;
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
pub use reader::{Batch, Reader, Row, header_of};
pub use rejects::{Reject, Rejects, RejectsWritten};
pub use rows::{Record, RowError, parse_affiliate, parse_commission, parse_program};
