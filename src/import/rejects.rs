//! The rejects file: bad lines as they were, each with its reason, ready to be mended and
//! imported.

use std::ffi::OsString;
use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use super::fields::shape;
use super::header::REJECT_REASON;
use super::{FileError, Header, RowError};

/// A bad row: where it stands and why it was not taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reject {
    /// Name of the file, without its folder.
    pub file: String,
    /// Number of the line, from 1, the header and blank lines counted.
    pub line: u64,
    /// The column at fault; `None` if it is the row as a whole.
    pub column: Option<&'static str>,
    pub reason: String,
}

/// `commissions.csv line 17, column amount: "1.234" has 3 digits after the point, USD has 2`
impl fmt::Display for Reject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.file, self.place_and_reason())
    }
}

impl Reject {
    fn place_and_reason(&self) -> String {
        let Self { line, column, reason, .. } = self;
        match column {
            Some(column) => format!("line {line}, column {column}: {reason}"),
            None => format!("line {line}: {reason}"),
        }
    }
}

/// The rejects of one input, written to `<stem>.rejects.csv`.
///
/// The file comes into being with the first bad row and replaces an older one only then: as long
/// as all is well, whatever is left of an earlier import stays where it is.
#[derive(Debug)]
pub struct Rejects {
    file: String,
    header: Header,
    path: PathBuf,
    output: Option<BufWriter<File>>,
    count: u64,
}

/// A rejects file that was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RejectsWritten {
    pub path: PathBuf,
    /// Number of bad rows in it.
    pub count: u64,
}

impl Rejects {
    /// The rejects of `input`, to be written into `directory`.
    pub(super) fn new(directory: &Path, input: &Path, header: Header) -> Self {
        // Made from the whole stem, the name is always longer than the input's: the rejects of
        // a rejects file never overwrite what they are read from.
        let mut name =
            input.file_stem().map_or_else(|| header.kind.to_string().into(), OsString::from);
        name.push(".rejects.csv");
        let path = directory.join(name);
        Self { file: file_name(input), header, path, output: None, count: 0 }
    }

    /// Writes down a bad row: its bytes as they were and why. Returns the reject, for the report.
    ///
    /// # Errors
    /// [`FileError::Write`].
    pub fn push(&mut self, line: u64, raw: &[u8], error: RowError) -> Result<Reject, FileError> {
        let kept =
            if self.header.has_reason { without_reason(raw, self.header.width()) } else { raw };
        self.push_piece(kept)?;
        self.end_pieces(line, error)
    }

    /// Writes down a piece of a bad row that is too long to be held; [`Rejects::end_pieces`]
    /// closes it.
    pub(super) fn push_piece(&mut self, piece: &[u8]) -> Result<(), FileError> {
        self.write(piece)
    }

    /// Closes a bad row that was written in pieces with the reason.
    pub(super) fn end_pieces(&mut self, line: u64, error: RowError) -> Result<Reject, FileError> {
        let RowError { column, reason } = error;
        let reject = Reject { file: self.file.clone(), line, column, reason };
        let reason = reject.place_and_reason().replace('"', "\"\"");
        self.write(format!(",\"{reason}\"\n").as_bytes())?;
        self.count += 1;
        Ok(reject)
    }

    /// Number of bad rows so far.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Flushes the file, if there is one, and says where it is.
    ///
    /// # Errors
    /// [`FileError::Write`].
    pub fn finish(self) -> Result<Option<RejectsWritten>, FileError> {
        let Self { path, output, count, .. } = self;
        let Some(mut output) = output else { return Ok(None) };
        output.flush().map_err(FileError::writing(&path))?;
        Ok(Some(RejectsWritten { path, count }))
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), FileError> {
        let written = match &mut self.output {
            Some(output) => output.write_all(bytes),
            None => create(&self.path, self.header).and_then(|mut output| {
                output.write_all(bytes)?;
                self.output = Some(output);
                Ok(())
            }),
        };
        written.map_err(FileError::writing(&self.path))
    }
}

/// Begins a new rejects file with its header.
fn create(path: &Path, header: Header) -> io::Result<BufWriter<File>> {
    // Unlinked and not truncated: were the old one a link to the input, the input would be gone.
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    // Rows as they were, account numbers and all: for whoever imported them, and nobody else.
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    let mut output = BufWriter::new(file);
    let columns: Vec<_> = header.columns().collect();
    writeln!(output, "{},{REJECT_REASON}", columns.join(","))?;
    Ok(output)
}

/// The last part of a path, as far as it can be printed.
pub(super) fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned()
}

/// A line of a rejects file that came back, without the reason it was given before, so that
/// reasons do not pile up. A line that lost fields keeps all it has left.
fn without_reason(raw: &[u8], width: usize) -> &[u8] {
    if let Some(at) = own_reason_at(raw) {
        return &raw[..at];
    }
    match shape(raw) {
        Ok(shape) if shape.fields == width => &raw[..shape.last_at - 1],
        _ => raw,
    }
}

/// Where a reason of ours begins, with the comma before it. It is found from the end, because
/// what stands before it may be anything, such as a quote that was never closed.
fn own_reason_at(raw: &[u8]) -> Option<usize> {
    const START: &[u8] = b",\"line ";
    let at = raw.windows(START.len()).rposition(|window| window == START)?;
    let is_numbered = raw.get(at + START.len()).is_some_and(u8::is_ascii_digit);
    let is_one_field = shape(&raw[at + 1..]).is_ok_and(|shape| shape.fields == 1);
    (is_numbered && is_one_field).then_some(at)
}

#[cfg(test)]
mod tests {
    use crate::import::FileKind;

    use super::*;

    const HEADER: &str =
        "commission_id,affiliate_id,order_id,order_amount,amount,currency,converted_at";

    fn rejects(directory: &Path, input: &str, has_reason: bool) -> Rejects {
        let kind = FileKind::Commissions;
        let header = Header { kind, has_timezone: false, has_reason };
        Rejects::new(directory, Path::new(input), header)
    }

    fn bad_amount() -> RowError {
        RowError::new("amount", "\"1.234\" has 3 digits after the point, USD has 2")
    }

    #[test]
    fn a_reject_says_file_line_column_and_reason() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut rejects = rejects(folder.path(), "in/commissions.csv", false);
        let reject = rejects.push(17, b"x", bad_amount()).expect("written");
        assert_eq!(
            reject.to_string(),
            "commissions.csv line 17, column amount: \
             \"1.234\" has 3 digits after the point, USD has 2"
        );
        let reject = rejects.push(18, b"x", RowError::of_row("too short")).expect("written");
        assert_eq!(reject.to_string(), "commissions.csv line 18: too short");
    }

    #[test]
    fn bad_lines_are_kept_byte_for_byte_with_their_reason() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut rejects = rejects(folder.path(), "commissions.csv", false);
        rejects.push(17, b"c-1,\xFF\"x\",", bad_amount()).expect("written");
        let written = rejects.finish().expect("flushed").expect("one bad row");
        assert_eq!(written.path, folder.path().join("commissions.rejects.csv"));
        assert_eq!(written.count, 1);
        let expected = [
            HEADER.as_bytes(),
            b",reject_reason\nc-1,\xFF\"x\",,\"line 17, column amount: ",
            b"\"\"1.234\"\" has 3 digits after the point, USD has 2\"\n",
        ];
        assert_eq!(fs::read(written.path).expect("there"), expected.concat());
    }

    #[test]
    fn an_older_file_is_replaced_by_the_first_bad_row_and_not_before() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("commissions.rejects.csv");
        fs::write(&path, "older").expect("written");
        let all_well = rejects(folder.path(), "commissions.csv", false);
        assert_eq!(all_well.finish().expect("nothing to do"), None);
        assert_eq!(fs::read(&path).expect("there"), b"older");
        let mut one_bad = rejects(folder.path(), "commissions.csv", false);
        one_bad.push(2, b"x", bad_amount()).expect("written");
        one_bad.finish().expect("flushed");
        assert!(fs::read(&path).expect("there").starts_with(HEADER.as_bytes()));
    }

    #[test]
    fn the_rejects_of_a_rejects_file_go_elsewhere() {
        let folder = tempfile::tempdir().expect("a folder");
        let rejects = rejects(folder.path(), "commissions.rejects.csv", true);
        assert_eq!(rejects.path, folder.path().join("commissions.rejects.rejects.csv"));
    }

    #[cfg(unix)]
    #[test]
    fn an_older_file_that_is_a_link_to_the_input_costs_the_link_only() {
        let folder = tempfile::tempdir().expect("a folder");
        let input = folder.path().join("commissions.csv");
        fs::write(&input, "precious").expect("written");
        std::os::unix::fs::symlink(&input, folder.path().join("commissions.rejects.csv"))
            .expect("linked");
        let mut rejects = rejects(folder.path(), "commissions.csv", false);
        rejects.push(2, b"x", bad_amount()).expect("written");
        rejects.finish().expect("flushed");
        assert_eq!(fs::read(&input).expect("there"), b"precious");
    }

    #[test]
    fn a_file_that_cannot_be_written_is_named() {
        let folder = tempfile::tempdir().expect("a folder");
        let missing = folder.path().join("missing");
        let error = rejects(&missing, "commissions.csv", false).push(2, b"x", bad_amount());
        let message = error.expect_err("no folder").to_string();
        assert!(message.ends_with("missing/commissions.rejects.csv"), "{message}");
    }

    #[test]
    fn reasons_do_not_pile_up_and_no_field_is_lost() {
        let reason = r#","line 3, column amount: ""1"" is wrong""#;
        for (line, kept) in [
            (format!("1,2,3,4,5,6,7{reason}"), "1,2,3,4,5,6,7"),
            (format!("1,2,3{reason}"), "1,2,3"),
            (format!("1,\"2,3{reason}"), "1,\"2,3"),
            ("1,2,3,4,5,6,7,mended".to_owned(), "1,2,3,4,5,6,7"),
            ("1,2,3,4,5,6,7,".to_owned(), "1,2,3,4,5,6,7"),
            ("1,2,3,4,5,6,7".to_owned(), "1,2,3,4,5,6,7"),
            ("1,2,\"line x".to_owned(), "1,2,\"line x"),
            ("1,\"line 2\",3".to_owned(), "1,\"line 2\",3"),
        ] {
            assert_eq!(without_reason(line.as_bytes(), 8), kept.as_bytes(), "{line}");
        }
    }
}
