//! What a command prints: tables that line up, or JSON.

use std::io::{ErrorKind, Write};

use comfy_table::presets::NOTHING;
use comfy_table::{CellAlignment, Table};
use serde::Serialize;

use crate::domain::{Money, MoneyTotals};

/// Where and how a command prints.
#[derive(Debug, Clone, Copy)]
pub struct Output {
    pub json: bool,
}

impl Output {
    /// Prints a value as JSON.
    ///
    /// # Errors
    /// Standard output cannot be written.
    pub fn json(self, value: &impl Serialize) -> anyhow::Result<()> {
        self.text(&serde_json::to_string_pretty(value)?)
    }

    /// Prints text and a line break. A reader that went away (`| head`) is no error.
    ///
    /// # Errors
    /// Standard output cannot be written.
    pub fn text(self, text: &str) -> anyhow::Result<()> {
        let mut stdout = std::io::stdout().lock();
        match writeln!(stdout, "{text}").and_then(|()| stdout.flush()) {
            Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
            done => Ok(done?),
        }
    }
}

/// A table with a heading; the columns named in `right` hold numbers.
pub fn table(headings: &[&str], right: &[usize], rows: Vec<Vec<String>>) -> String {
    let mut table = Table::new();
    table.load_style(NOTHING).set_header(headings.iter().map(|heading| heading.to_uppercase()));
    table.add_rows(rows);
    for index in right {
        if let Some(column) = table.column_mut(*index) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    let lines: Vec<_> = table.lines().map(|line| line.trim_end().to_owned()).collect();
    lines.join("\n")
}

/// An amount with its currency: `12.30 USD`.
pub fn money(amount: Money) -> String {
    format!("{amount} {}", amount.currency)
}

/// Sums with their currencies: `12.30 USD, 5 JPY`.
pub fn totals(totals: &MoneyTotals) -> String {
    totals.to_string()
}

/// A time to the second, in UTC: `2026-11-22 17:03:00Z`.
pub fn time(at: chrono::DateTime<chrono::Utc>) -> String {
    at.format("%Y-%m-%d %H:%M:%SZ").to_string()
}
