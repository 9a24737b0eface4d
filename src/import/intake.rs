//! Takes parsed rows into the books, batch by batch, and keeps a reject for each that is refused.
//!
//! A wrong header is found before anything is written. After that every batch is one transaction
//! of the engine: a stop in the middle leaves whole batches, and the same import goes on.

use std::path::{Path, PathBuf};

use thiserror::Error;

use super::header::FileKind;
use super::reader::{Reader, Row, header_of};
use super::rejects::{Reject, RejectsWritten};
use super::{FileError, OpenError, Record, RowError};
use crate::domain::{NewAffiliate, NewCommission, NewProgram, OrgId};
use crate::engine::{Engine, EngineError, Verdict, Work};

/// Rows per transaction.
const BATCH: usize = 10_000;

/// Why an import ended early. What went in before it stands, and importing again goes on.
#[derive(Debug, Error)]
pub enum ImportError {
    #[error(transparent)]
    Open(#[from] OpenError),
    #[error(transparent)]
    File(#[from] FileError),
    #[error("the rows could not be written; those before them are in, and importing again goes on")]
    Engine(#[from] EngineError),
}

/// Who watches an import.
pub trait Watcher {
    /// A row was refused.
    fn rejected(&mut self, reject: &Reject);
    /// So many bytes of the file were read.
    fn progress(&mut self, file: &str, read: u64, total: u64);
}

/// What became of one file.
#[derive(Debug)]
pub struct FileReport {
    pub kind: FileKind,
    /// Rows that went in.
    pub new: u64,
    /// Rows that were in already.
    pub unchanged: u64,
    /// Rows that were refused.
    pub rejected: u64,
    /// Where the refused rows are, ready to be mended.
    pub rejects: Option<PathBuf>,
}

/// An import into one org.
pub struct Intake<'a> {
    pub engine: &'a Engine,
    pub work: &'a Work,
    pub org: &'a OrgId,
    /// The folder in which rejects are written.
    pub rejects_dir: &'a Path,
}

impl Intake<'_> {
    /// Imports a folder with its three files, or one file whose header tells what it is.
    ///
    /// # Errors
    /// [`ImportError::Open`] if a file is missing or has a wrong header: then nothing changed.
    pub async fn import(
        &self,
        path: &Path,
        watcher: &mut dyn Watcher,
    ) -> Result<Vec<FileReport>, ImportError> {
        if !path.is_dir() {
            let report = match header_of(path)?.kind {
                FileKind::Programs => self.programs(&mut Reader::open(path)?, watcher).await,
                FileKind::Affiliates => self.affiliates(&mut Reader::open(path)?, watcher).await,
                FileKind::Commissions => self.commissions(&mut Reader::open(path)?, watcher).await,
            };
            return Ok(vec![report?]);
        }
        let file = |kind: FileKind| path.join(kind.file_name());
        let mut programs = Reader::open(&file(FileKind::Programs))?;
        let mut affiliates = Reader::open(&file(FileKind::Affiliates))?;
        let mut commissions = Reader::open(&file(FileKind::Commissions))?;
        Ok(vec![
            self.programs(&mut programs, watcher).await?,
            self.affiliates(&mut affiliates, watcher).await?,
            self.commissions(&mut commissions, watcher).await?,
        ])
    }

    async fn programs(
        &self,
        reader: &mut Reader<NewProgram>,
        watcher: &mut dyn Watcher,
    ) -> Result<FileReport, ImportError> {
        let take =
            async |rows: &[NewProgram]| self.engine.enrol_programs(self.work, self.org, rows).await;
        self.take_in(FileKind::Programs, reader, watcher, take).await
    }

    async fn affiliates(
        &self,
        reader: &mut Reader<NewAffiliate>,
        watcher: &mut dyn Watcher,
    ) -> Result<FileReport, ImportError> {
        let take = async |rows: &[NewAffiliate]| {
            self.engine.enrol_affiliates(self.work, self.org, rows).await
        };
        self.take_in(FileKind::Affiliates, reader, watcher, take).await
    }

    async fn commissions(
        &self,
        reader: &mut Reader<NewCommission>,
        watcher: &mut dyn Watcher,
    ) -> Result<FileReport, ImportError> {
        let take =
            async |rows: &[NewCommission]| self.engine.accrue(self.work, self.org, rows).await;
        self.take_in(FileKind::Commissions, reader, watcher, take).await
    }

    async fn take_in<T: Record>(
        &self,
        kind: FileKind,
        reader: &mut Reader<T>,
        watcher: &mut dyn Watcher,
        take: impl AsyncFn(&[T]) -> Result<Vec<Verdict>, EngineError>,
    ) -> Result<FileReport, ImportError> {
        let mut rejects = reader.rejects_in(self.rejects_dir);
        let mut report = FileReport { kind, new: 0, unchanged: 0, rejected: 0, rejects: None };
        while let Some(batch) = reader.next_batch(BATCH, &mut rejects)? {
            batch.rejects.iter().for_each(|reject| watcher.rejected(reject));
            let mut places = Vec::with_capacity(batch.rows.len());
            let mut records = Vec::with_capacity(batch.rows.len());
            for Row { line, raw, record } in batch.rows {
                places.push((line, raw));
                records.push(record);
            }
            for (verdict, (line, raw)) in take(&records).await?.into_iter().zip(&places) {
                match verdict {
                    Verdict::New => report.new += 1,
                    Verdict::Unchanged => report.unchanged += 1,
                    Verdict::Refused { column, reason } | Verdict::Differs { column, reason } => {
                        let error = RowError::new(column, reason);
                        watcher.rejected(&rejects.push(*line, raw, error)?);
                    }
                }
            }
            watcher.progress(kind.file_name(), reader.bytes_read(), reader.total_bytes());
        }
        report.rejected = rejects.count();
        report.rejects = rejects.finish()?.map(|RejectsWritten { path, .. }| path);
        Ok(report)
    }
}
