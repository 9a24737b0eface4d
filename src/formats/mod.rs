//! File formats that money moves in: read and written, pure text in and out.
//!
//! A writer never cuts what would change where money goes or how much it is: what does not fit is
//! an error that names the field. A reader takes what a bank may write, gives what it could read,
//! and says by line or element what it could not.

pub mod ascii;
pub mod iso20022;
pub mod nacha;

use thiserror::Error;

/// A value that has no room, or no right form, in its field. It does not repeat the value, which
/// may be an account number.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{field}: {reason}")]
pub struct Unfit {
    pub field: &'static str,
    pub reason: String,
}

impl Unfit {
    fn new(field: &'static str, reason: impl Into<String>) -> Self {
        Self { field, reason: reason.into() }
    }
}
