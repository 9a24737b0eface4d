//! The outbox: a file is placed exactly once, and what proves it survives a crash.
//!
//! Four steps, each of them durable before the next:
//! 1. the bytes as `.NAME.tmp` in the outbox, which no bank picks up;
//! 2. a copy as `sent/NAME` in the archive;
//! 3. `.NAME.tmp` becomes `NAME`, and the bank may take it;
//! 4. the bank takes it away.
//!
//! So without `sent/NAME` nothing was ever shown to the bank, with `sent/NAME` and `.NAME.tmp`
//! step 3 is to be done, and with `sent/NAME` alone it was done. A copy and no hard link: what a
//! bank does to its file must not reach the archive. Nothing in `sent/` may be deleted while its
//! submission is under way.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Read, Write};
use std::path::Path;

use super::{Folders, fault, fault_at};
use crate::formats::nacha;
use crate::providers::{Problem, Sent};

/// Where a file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Whereabouts {
    /// It was never shown to the bank.
    NotPlaced,
    /// It lies in the outbox.
    Waiting,
    /// The bank has taken it.
    PickedUp,
}

/// Places a file, or finds that it was placed.
pub(super) fn place(folders: &Folders, name: &str, body: &str) -> Sent {
    match placing(folders, name, body) {
        Ok(()) => Sent::Accepted { provider_batch_id: None },
        Err(Failed::Before(problem)) => Sent::NotSent(problem),
        Err(Failed::After(problem)) => Sent::Unknown(problem),
    }
}

/// A problem by whether the bank may have seen the file.
enum Failed {
    Before(Problem),
    After(Problem),
}

fn placing(folders: &Folders, name: &str, body: &str) -> Result<(), Failed> {
    let hidden = folders.outbox.join(format!(".{name}.tmp"));
    let sent = folders.sent().join(name);
    // A replica that lost its lease may still be at work here: one at a time.
    let _turn = turn(folders).map_err(Failed::Before)?;
    match fs::read(&sent) {
        Ok(bytes) if bytes == body.as_bytes() => {}
        Ok(_) => {
            let words = format!("{} was sent with other bytes", sent.display());
            return Err(Failed::After(Problem::new("sent_otherwise", words)));
        }
        Err(error) if error.kind() == ErrorKind::NotFound => {
            prepare(folders, &hidden, name, body).map_err(Failed::Before)?;
            return show(folders, &hidden, name).map_err(Failed::After);
        }
        Err(error) => return Err(Failed::After(fault_at(&sent, &error))),
    }
    match fs::read(&hidden) {
        Ok(bytes) if bytes == body.as_bytes() => {
            show(folders, &hidden, name).map_err(Failed::After)
        }
        Ok(_) => {
            let words = format!("{} holds other bytes than were sent", hidden.display());
            Err(Failed::After(Problem::new("sent_otherwise", words)))
        }
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(error) => Err(Failed::After(fault_at(&hidden, &error))),
    }
}

/// Steps 1 and 2. What is left of an earlier try is written over.
fn prepare(folders: &Folders, hidden: &Path, name: &str, body: &str) -> Result<(), Problem> {
    let shown = folders.outbox.join(name);
    if exists(&shown)? {
        let words = format!("{} is there, and the archive knows nothing of it", shown.display());
        return Err(Problem::new("unknown_file", words));
    }
    write_durably(hidden, body.as_bytes())?;
    // The hidden file has to be there for certain before the archive says that it was.
    sync_folder(&folders.outbox)?;
    let part = folders.sent().join(format!(".{name}.part"));
    write_durably(&part, body.as_bytes())?;
    rename(&part, &folders.sent().join(name))?;
    // From here on the file is on its way: if this fails, the next try finds it half done.
    sync_folder(&folders.sent())
}

/// Step 3.
fn show(folders: &Folders, hidden: &Path, name: &str) -> Result<(), Problem> {
    rename(hidden, &folders.outbox.join(name))?;
    sync_folder(&folders.outbox)
}

/// Where the file of that name is.
///
/// # Errors
/// [`Problem`] if a folder cannot be looked into.
pub(super) fn whereabouts(folders: &Folders, name: &str) -> Result<Whereabouts, Problem> {
    let hidden = folders.outbox.join(format!(".{name}.tmp"));
    if !exists(&folders.sent().join(name))? {
        return Ok(Whereabouts::NotPlaced);
    }
    // An outbox that is not there (a share that is not mounted) must not look like an empty one.
    fs::read_dir(&folders.outbox).map_err(|error| fault_at(&folders.outbox, &error))?;
    match (exists(&hidden)?, exists(&folders.outbox.join(name))?) {
        (true, _) => Ok(Whereabouts::NotPlaced),
        (false, true) => Ok(Whereabouts::Waiting),
        (false, false) => Ok(Whereabouts::PickedUp),
    }
}

/// The name of the file that was sent under a NACHA file identity, without its extension.
pub(super) fn sent_with_identity(folders: &Folders, identity: &str) -> Option<String> {
    let files = fs::read_dir(folders.sent()).ok()?;
    files.filter_map(Result::ok).find_map(|file| {
        let path = file.path();
        let name = path.file_name()?.to_str()?;
        let stem = name.strip_suffix(".ach").filter(|name| !name.starts_with('.'))?;
        let mut first_line = Vec::with_capacity(nacha::LINE);
        File::open(&path).ok()?.take(nacha::LINE as u64).read_to_end(&mut first_line).ok()?;
        let header = nacha::read(&first_line).ok()?.file.header;
        (header.identity() == identity).then(|| stem.to_owned())
    })
}

/// Whether the folders are there and can be written to.
///
/// # Errors
/// [`Problem`] with the first one that cannot.
pub(super) fn probe(folders: &Folders) -> Result<(), Problem> {
    let _turn = turn(folders)?;
    for folder in [&folders.outbox, &folders.inbox, &folders.sent()] {
        let probe = folder.join(".payoutd-probe.tmp");
        write_durably(&probe, b"")?;
        fs::remove_file(&probe).map_err(|error| fault_at(&probe, &error))?;
    }
    Ok(())
}

/// The right to work in the outbox, until it is dropped or the process dies. Makes the archive's
/// folders; the outbox and the inbox are the operator's, so that a share that is not mounted is
/// not taken for one that is empty.
fn turn(folders: &Folders) -> Result<File, Problem> {
    let sent = folders.sent();
    fs::create_dir_all(&sent).map_err(|error| fault_at(&sent, &error))?;
    let path = folders.archive.join(".lock");
    let lock = || -> io::Result<File> {
        let file = File::options().create(true).truncate(false).write(true).open(&path)?;
        file.lock()?;
        Ok(file)
    };
    lock().map_err(|error| fault_at(&path, &error))
}

fn write_durably(path: &Path, bytes: &[u8]) -> Result<(), Problem> {
    let write = || -> io::Result<()> {
        let mut file = File::create(path)?;
        file.write_all(bytes)?;
        file.sync_all()
    };
    write().map_err(|error| fault_at(path, &error))
}

fn rename(from: &Path, to: &Path) -> Result<(), Problem> {
    fs::rename(from, to).map_err(|error| fault_at(to, &error))
}

pub(super) fn sync_folder(folder: &Path) -> Result<(), Problem> {
    let synced = File::open(folder).and_then(|folder| folder.sync_all());
    synced.map_err(|error| fault_at(folder, &error))
}

fn exists(path: &Path) -> Result<bool, Problem> {
    path.try_exists().map_err(|error| fault(&path.display().to_string(), &error.to_string()))
}
