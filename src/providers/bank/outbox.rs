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
//! submission is under way. The copy's time of modification is the last instant at which the bank
//! certainly did not have the file: a bank that fetches late also settles late.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Read, Write};
use std::path::Path;

use chrono::{DateTime, Utc};

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
    /// The bank has taken it, and not before this instant.
    PickedUp { not_before: DateTime<Utc> },
}

/// A file to be placed.
pub(super) struct Parcel {
    pub(super) name: String,
    pub(super) body: String,
    pub(super) now: DateTime<Utc>,
    /// Whether this is the first try of all, so that the bank cannot have seen the file before.
    pub(super) is_first: bool,
}

/// Places a file, or finds that it was placed.
pub(super) fn place(folders: &Folders, parcel: &Parcel) -> Sent {
    let Parcel { name, body, is_first, .. } = parcel;
    let hidden = folders.outbox.join(format!(".{name}.tmp"));
    let sent = folders.sent().join(name);
    let uncertain =
        |problem| if *is_first { Sent::NotSent(problem) } else { Sent::Unknown(problem) };
    // A replica that lost its lease may still be at work here: one at a time.
    let _turn = match turn(folders, *is_first) {
        Ok(turn) => turn,
        Err(problem) => return uncertain(problem),
    };
    match fs::read(&sent) {
        Ok(bytes) if bytes == body.as_bytes() => finish(folders, &hidden, parcel),
        Ok(_) => Sent::Unknown(other_bytes(&sent)),
        Err(error) if error.kind() == ErrorKind::NotFound => begin(folders, &hidden, parcel),
        Err(error) => uncertain(fault_at(&sent, &error)),
    }
}

/// All steps: the archive knows nothing of the file. What is left of an earlier try is written
/// over.
fn begin(folders: &Folders, hidden: &Path, parcel: &Parcel) -> Sent {
    let shown = folders.outbox.join(&parcel.name);
    match exists(&shown) {
        Ok(false) => {}
        Ok(true) => {
            let words = format!("{} is there, and the archive has no copy", shown.display());
            return Sent::Unknown(Problem::new("not_in_archive", words));
        }
        Err(problem) => return Sent::NotSent(problem),
    }
    match prepare(folders, hidden, &parcel.name, &parcel.body) {
        Ok(()) => finish(folders, hidden, parcel),
        Err(problem) => Sent::NotSent(problem),
    }
}

/// Step 1, and what step 2 can fail at without a trace.
fn prepare(folders: &Folders, hidden: &Path, name: &str, body: &str) -> Result<(), Problem> {
    write_durably(hidden, body.as_bytes())?;
    // The hidden file has to be there for certain before the archive says that it was.
    sync_folder(&folders.outbox)?;
    let part = folders.sent().join(format!(".{name}.part"));
    write_durably(&part, body.as_bytes())?;
    rename(&part, &folders.sent().join(name))
}

/// Step 3, unless it was done. From here on the next try has to send the same bytes, so whatever
/// fails is unknown.
fn finish(folders: &Folders, hidden: &Path, parcel: &Parcel) -> Sent {
    match fs::read(hidden) {
        Ok(bytes) if bytes == parcel.body.as_bytes() => {}
        Ok(_) => return Sent::Unknown(other_bytes(hidden)),
        // No hidden file in an outbox that is not there proves nothing.
        Err(error) if error.kind() == ErrorKind::NotFound => {
            return match fs::read_dir(&folders.outbox) {
                Ok(_) => Sent::Accepted { provider_batch_id: None },
                Err(error) => Sent::Unknown(fault_at(&folders.outbox, &error)),
            };
        }
        Err(error) => return Sent::Unknown(fault_at(hidden, &error)),
    }
    let copy = folders.sent().join(&parcel.name);
    let shown = date(&copy, parcel.now)
        .and_then(|()| sync_folder(&folders.sent()))
        .and_then(|()| show(folders, hidden, &parcel.name));
    match shown {
        Ok(()) => Sent::Accepted { provider_batch_id: None },
        Err(problem) => Sent::Unknown(problem),
    }
}

fn other_bytes(path: &Path) -> Problem {
    let words = format!("{} holds other bytes than are to be sent", path.display());
    Problem::new("sent_otherwise", words)
}

/// Step 3.
fn show(folders: &Folders, hidden: &Path, name: &str) -> Result<(), Problem> {
    rename(hidden, &folders.outbox.join(name))?;
    sync_folder(&folders.outbox)
}

/// Notes in the archive that the bank does not have the file at this instant.
fn date(copy: &Path, now: DateTime<Utc>) -> Result<(), Problem> {
    let file = File::options().append(true).open(copy);
    let dated = file.and_then(|file| file.set_modified(now.into()).and_then(|()| file.sync_all()));
    dated.map_err(|error| fault_at(copy, &error))
}

/// Where the file of that name is at this instant.
///
/// # Errors
/// [`Problem`] if a folder cannot be looked into.
pub(super) fn whereabouts(
    folders: &Folders,
    name: &str,
    now: DateTime<Utc>,
) -> Result<Whereabouts, Problem> {
    let copy = folders.sent().join(name);
    let hidden = folders.outbox.join(format!(".{name}.tmp"));
    // An outbox that is not there (a share that is not mounted) must not look like an empty one.
    fs::read_dir(&folders.outbox).map_err(|error| fault_at(&folders.outbox, &error))?;
    if !exists(&copy)? || exists(&hidden)? {
        return Ok(Whereabouts::NotPlaced);
    }
    if exists(&folders.outbox.join(name))? {
        date(&copy, now)?;
        return Ok(Whereabouts::Waiting);
    }
    let dated = fs::metadata(&copy).and_then(|copy| copy.modified());
    let not_before = dated.map_err(|error| fault_at(&copy, &error))?.into();
    Ok(Whereabouts::PickedUp { not_before })
}

/// Whether a file lies in the outbox, or is about to.
///
/// # Errors
/// [`Problem`] if that cannot be seen: an outbox that is not there is not an empty one.
pub(super) fn is_waiting(folders: &Folders, name: &str) -> Result<bool, Problem> {
    fs::read_dir(&folders.outbox).map_err(|error| fault_at(&folders.outbox, &error))?;
    let hidden = folders.outbox.join(format!(".{name}.tmp"));
    Ok(exists(&folders.outbox.join(name))? || exists(&hidden)?)
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
    let _turn = turn(folders, true)?;
    for folder in [&folders.outbox, &folders.inbox, &folders.sent()] {
        let probe = folder.join(".payoutd-probe.tmp");
        write_durably(&probe, b"")?;
        fs::remove_file(&probe).map_err(|error| fault_at(&probe, &error))?;
    }
    Ok(())
}

/// The right to work in the outbox, until it is dropped or the process dies.
///
/// The folders are the operator's, and `sent/` is made only where nothing can have been sent: a
/// share that is not mounted must not be taken for one that is empty.
fn turn(folders: &Folders, may_make: bool) -> Result<File, Problem> {
    let sent = folders.sent();
    let lock = || -> io::Result<File> {
        if may_make && !sent.try_exists()? {
            fs::create_dir(&sent)?;
        }
        let file =
            File::options().create(true).truncate(false).write(true).open(sent.join(".lock"))?;
        file.lock()?;
        Ok(file)
    };
    lock().map_err(|error| fault_at(&sent, &error))
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
