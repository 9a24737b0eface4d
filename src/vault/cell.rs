//! Cells: where in the database something sealed stands.

use std::fmt;

/// One value's place in its org: what is sealed for it opens nowhere else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cell<'a> {
    pub table: &'static str,
    pub column: &'static str,
    /// The row's key, without the org.
    pub row: &'a str,
}

impl<'a> Cell<'a> {
    /// The cell of `column` in the row `row` of `table`.
    pub fn new(table: &'static str, column: &'static str, row: &'a str) -> Self {
        Self { table, column, row }
    }
}

impl fmt::Display for Cell<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{} of {}", self.table, self.column, self.row)
    }
}
