//! Folders: which files are finished, and how one is dropped so that nobody reads half of it.

use std::path::{Path, PathBuf};
use std::{fs, io};

use crate::sandbox::{FaultKind, Sandbox};

/// What the bank has to say in one file.
pub(super) struct Letter {
    /// `camt.054`, `nacha.return`, …
    pub(super) kind: &'static str,
    pub(super) extension: &'static str,
    pub(super) text: String,
}

/// The finished files of a folder, in the order of their names. A folder that is not there yet is
/// empty.
pub(super) fn finished(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut files = Vec::new();
    for entry in entries {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let unfinished = [".tmp", ".part"].iter().any(|end| name.ends_with(end));
        if entry.file_type()?.is_file() && !name.starts_with('.') && !unfinished {
            files.push(entry.path());
        }
    }
    files.sort();
    Ok(files)
}

/// Drops a letter under its kind and number. A fault on `DROP /camt.054` (or another kind) loses
/// it, drops it twice or in half.
pub(super) fn drop_letter(
    sandbox: &Sandbox,
    inbox: &Path,
    number: &str,
    letter: &Letter,
) -> io::Result<()> {
    let Letter { kind, extension, text } = letter;
    let fault = sandbox.faults().strike(&format!("DROP /{kind}"), text.as_bytes());
    let name = format!("{kind}-{number}.{extension}");
    match fault.map(|fault| fault.fault) {
        Some(FaultKind::LostRequest | FaultKind::LostResponse) => Ok(()),
        Some(FaultKind::Doubled) => {
            drop_file(inbox, &name, text)?;
            drop_file(inbox, &format!("{kind}-{number}-again.{extension}"), text)
        }
        Some(FaultKind::Garbled) => {
            let half: String = text.chars().take(text.chars().count() / 2).collect();
            drop_file(inbox, &name, &half)
        }
        _ => drop_file(inbox, &name, text),
    }
}

/// Writes under a name that nobody reads, then renames.
fn drop_file(folder: &Path, name: &str, text: &str) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    let hidden = folder.join(format!(".{name}.tmp"));
    fs::write(&hidden, text)?;
    fs::rename(&hidden, folder.join(name))
}
