//! What can go wrong with a whole file, as opposed to one of its rows.

use std::io;
use std::path::{Path, PathBuf};

use thiserror::Error;

use super::HeaderError;

/// A file that the operating system would not let us read or write.
#[derive(Debug, Error)]
pub enum FileError {
    #[error("cannot read {}", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("cannot write {}", path.display())]
    Write { path: PathBuf, source: io::Error },
}

impl FileError {
    /// Says which file an error of reading was about.
    pub(super) fn reading(path: &Path) -> impl FnOnce(io::Error) -> Self + use<> {
        let path = path.to_owned();
        move |source| Self::Read { path, source }
    }

    /// Says which file an error of writing was about.
    pub(super) fn writing(path: &Path) -> impl FnOnce(io::Error) -> Self + use<> {
        let path = path.to_owned();
        move |source| Self::Write { path, source }
    }
}

/// A file that cannot be imported at all. Nothing of it was taken.
#[derive(Debug, Error)]
pub enum OpenError {
    #[error(transparent)]
    File(#[from] FileError),
    #[error(transparent)]
    Header(#[from] HeaderError),
}
