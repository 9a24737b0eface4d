//! A file as batches of good rows. Bad rows go to the rejects as they are met.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::marker::PhantomData;
use std::path::{Path, PathBuf};

use super::fields::Splitter;
use super::lines::{Line, Lines};
use super::rejects::file_name;
use super::{FileError, Header, OpenError, Record, Reject, Rejects, RowError, identify};

/// Most bytes of a line. The longest honest row is a hundredth of it.
const LONGEST_LINE: usize = 1 << 20;
/// A batch ends early once its lines have this many bytes, so that memory is bounded however
/// many rows were asked for.
const BATCH_BYTES: usize = 16 << 20;
const BUFFER_BYTES: usize = 64 << 10;

/// Reads the records `T` of one file, in batches.
pub struct Reader<T, R = BufReader<File>> {
    path: PathBuf,
    header: Header,
    lines: Lines<R>,
    splitter: Splitter,
    total_bytes: u64,
    records: PhantomData<fn() -> T>,
}

/// A good row: good as far as the file alone can tell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row<T> {
    /// Number of the line, from 1, the header and blank lines counted.
    pub line: u64,
    /// The line as it was, for [`Rejects::push`] should the store refuse it.
    pub raw: Vec<u8>,
    pub record: T,
}

/// Some rows of a file, in its order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch<T> {
    pub rows: Vec<Row<T>>,
    /// The bad rows met on the way. They are in the rejects file already.
    pub rejects: Vec<Reject>,
}

/// Tells what kind of file is at `path`, by its header.
///
/// # Errors
/// [`OpenError`] if it cannot be read or its header is none of the three.
pub fn header_of(path: &Path) -> Result<Header, OpenError> {
    let mut lines = Lines::new(open(path)?.0, LONGEST_LINE);
    let line = first_line(&mut lines, path)?;
    Ok(identify(&file_name(path), line)?)
}

impl<T: Record> Reader<T> {
    /// Opens the file at `path` and checks its header.
    ///
    /// # Errors
    /// [`OpenError`] if it cannot be read or its header is not that of such records.
    pub fn open(path: &Path) -> Result<Self, OpenError> {
        let (input, total_bytes) = open(path)?;
        Self::over(input, path, total_bytes, LONGEST_LINE)
    }
}

impl<T: Record, R: BufRead> Reader<T, R> {
    /// Reads from any input; `path` names it in errors and in the rejects.
    pub(super) fn over(
        input: R,
        path: &Path,
        total_bytes: u64,
        longest_line: usize,
    ) -> Result<Self, OpenError> {
        let mut lines = Lines::new(input, longest_line);
        let line = first_line(&mut lines, path)?;
        let header = Header::parse(T::KIND, &file_name(path), line)?;
        let (path, splitter) = (path.to_owned(), Splitter::new());
        Ok(Self { path, header, lines, splitter, total_bytes, records: PhantomData })
    }

    /// Where bad rows of this file go: a file in `directory`, not yet created.
    pub fn rejects_in(&self, directory: &Path) -> Rejects {
        Rejects::new(directory, &self.path, self.header)
    }

    /// Bytes read so far.
    pub fn bytes_read(&self) -> u64 {
        self.lines.bytes_read()
    }

    /// Size of the file in bytes when it was opened.
    pub fn total_bytes(&self) -> u64 {
        self.total_bytes
    }

    /// The next rows, or `None` at the end of the file. A batch has at most `limit` rows, good
    /// and bad together, and at least one; it has fewer than `limit` if they are long.
    ///
    /// # Errors
    /// [`FileError`] if the file cannot be read on or the rejects cannot be written.
    pub fn next_batch(
        &mut self,
        limit: usize,
        rejects: &mut Rejects,
    ) -> Result<Option<Batch<T>>, FileError> {
        let mut batch = Batch { rows: Vec::new(), rejects: Vec::new() };
        let mut bytes = 0;
        while batch.rows.len() + batch.rejects.len() < limit.max(1) && bytes < BATCH_BYTES {
            let Some(met) = self.next_row(rejects)? else { break };
            match met {
                Ok(row) => {
                    bytes += row.raw.len();
                    batch.rows.push(row);
                }
                Err(reject) => batch.rejects.push(reject),
            }
        }
        let is_end = batch.rows.is_empty() && batch.rejects.is_empty();
        Ok((!is_end).then_some(batch))
    }

    /// The next row, good or bad, or `None` at the end of the file.
    fn next_row(
        &mut self,
        rejects: &mut Rejects,
    ) -> Result<Option<Result<Row<T>, Reject>>, FileError> {
        let line = self.lines.next_line().map_err(FileError::reading(&self.path))?;
        let raw = match line {
            None => return Ok(None),
            Some(Line::Whole(raw)) => raw.to_vec(),
            Some(Line::TooLong(start)) => {
                rejects.push_piece(start)?;
                return Ok(Some(Err(self.reject_long_line(rejects)?)));
            }
        };
        let line = self.lines.number();
        let columns = self.header.kind.columns();
        let fields = self.splitter.split(&raw, columns);
        match fields.and_then(|fields| T::parse(fields, self.header)) {
            Ok(record) => Ok(Some(Ok(Row { line, raw, record }))),
            Err(error) => Ok(Some(Err(rejects.push(line, &raw, error)?))),
        }
    }

    /// Copies what is left of a line that is too long to be held, piece by piece.
    fn reject_long_line(&mut self, rejects: &mut Rejects) -> Result<Reject, FileError> {
        let reading = || FileError::reading(&self.path);
        while let Some(piece) = self.lines.next_piece().map_err(reading())? {
            rejects.push_piece(piece)?;
        }
        let longest = self.lines.longest();
        let error = RowError::of_row(format!("it has more than {longest} bytes"));
        rejects.end_pieces(self.lines.number(), error)
    }
}

/// The file at `path` and its size in bytes.
fn open(path: &Path) -> Result<(BufReader<File>, u64), FileError> {
    let file = File::open(path).map_err(FileError::reading(path))?;
    let size = file.metadata().map_err(FileError::reading(path))?.len();
    Ok((BufReader::with_capacity(BUFFER_BYTES, file), size))
}

/// The header line, cut if it is too long, or `None` if there is no line at all.
fn first_line<'a, R: BufRead>(
    lines: &'a mut Lines<R>,
    path: &Path,
) -> Result<Option<&'a [u8]>, FileError> {
    let line = lines.next_line().map_err(FileError::reading(path))?;
    Ok(line.map(|line| match line {
        Line::Whole(bytes) | Line::TooLong(bytes) => bytes,
    }))
}
