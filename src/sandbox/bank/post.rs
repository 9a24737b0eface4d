//! Folders: which files are finished, and how one is dropped so that nobody reads half of it.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

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

/// Writes under a name that nobody reads, then renames.
pub(super) fn drop_file(folder: &Path, name: &str, text: &str) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    let hidden = folder.join(format!(".{name}.tmp"));
    fs::write(&hidden, text)?;
    fs::rename(&hidden, folder.join(name))
}
