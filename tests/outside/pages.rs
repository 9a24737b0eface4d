//! Tables in the documents.

use std::path::PathBuf;

/// A file of the repository.
pub fn text(path: &str) -> String {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The rows of the table of `text` whose header begins with the column `first`: their cells.
pub fn table(text: &str, first: &str) -> Vec<Vec<String>> {
    let header = format!("| {first} |");
    let rows = text.lines().skip_while(|line| !line.starts_with(&header)).skip(2);
    let rows = rows.take_while(|line| line.starts_with('|'));
    let cells = |line: &str| -> Vec<String> {
        let cells: Vec<_> = line.split('|').map(|cell| cell.trim().to_owned()).collect();
        cells[1..cells.len() - 1].to_vec()
    };
    let rows: Vec<_> = rows.map(cells).collect();
    assert!(!rows.is_empty(), "no table begins with the column {first}");
    rows
}

/// The words of a cell that are between backticks.
pub fn quoted(cell: &str) -> Vec<String> {
    cell.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}
