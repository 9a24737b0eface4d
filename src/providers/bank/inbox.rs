//! The inbox: each finished file is a letter, and is put away once its news is stored. Nothing
//! is ever deleted.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Read};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::{Folders, fault_at, letters, outbox};
use crate::providers::{Letter, Problem};

/// The folder of the archive for what nobody can read.
const UNREADABLE: &str = "unreadable";
/// Letters that are collected at once; the others come next time.
const MOST_LETTERS: usize = 1_000;
/// Bytes of a name that are kept behind a hash.
const LONGEST_TAIL: usize = 200;
/// Bytes of a letter that is read. A larger one is kept, for a person.
const LARGEST_LETTER: u64 = 64 << 20;

/// Whether nothing lies unread: neither in the inbox, whatever it is, nor among what nobody could
/// read, until a person has taken it away.
///
/// # Errors
/// [`Problem`] if one of the folders cannot be looked into.
pub(super) fn is_read(folders: &Folders) -> Result<bool, Problem> {
    let unreadable = folders.archive.join(UNREADABLE);
    Ok(holds_nothing(&folders.inbox)? && (!unreadable.exists() || holds_nothing(&unreadable)?))
}

fn holds_nothing(folder: &Path) -> Result<bool, Problem> {
    let entries = fs::read_dir(folder).map_err(|error| fault_at(folder, &error))?;
    let is_hidden = |entry: &fs::DirEntry| entry.file_name().to_string_lossy().starts_with('.');
    Ok(entries.filter_map(Result::ok).all(|entry| is_hidden(&entry)))
}

/// The finished files that can be opened, in the order of their names.
///
/// # Errors
/// [`Problem`] if the inbox cannot be looked into, or nothing but files that cannot be opened lies
/// in it.
pub(super) fn collect(folders: &Folders) -> Result<Vec<Letter>, Problem> {
    let (mut letters, mut shut) = (Vec::new(), None);
    for path in finished(&folders.inbox)? {
        match open(folders, &path) {
            Ok(letter) => letters.push(letter),
            Err(problem) => shut = Some(problem),
        }
        if letters.len() == MOST_LETTERS {
            break;
        }
    }
    match shut {
        Some(problem) if letters.is_empty() => Err(problem),
        _ => Ok(letters),
    }
}

/// Moves the file of a letter to `received/` or `unreadable/` in the archive. Does nothing if it
/// is not there any more, or is a file of payments.
///
/// # Errors
/// [`Problem`] if it cannot be moved, or is another file by now.
pub(super) fn put_away(folders: &Folders, letter: &Letter) -> Result<(), Problem> {
    if letters::is_payments(letter) {
        return Ok(());
    }
    let Some(file) = file_of(folders, letter)? else { return Ok(()) };
    let problem = |error: io::Error| fault_at(&file, &error);
    match hash_of(&file) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(problem(error)),
        Ok(hash) if hash != letter.hash => {
            let words = format!("{} has changed since it was read", file.display());
            return Err(Problem::new("letter_changed", words));
        }
        Ok(_) => {}
    }
    let kept = if letter.kind == letters::UNREADABLE { UNREADABLE } else { "received" };
    let folder = folders.archive.join(kept);
    fs::create_dir_all(&folder).map_err(|error| fault_at(&folder, &error))?;
    let place = free_place(&folder, letter).map_err(problem)?;
    match fs::rename(&file, &place) {
        Err(error) if error.kind() == ErrorKind::CrossesDevices => {
            move_by_copy(&file, &place).map_err(problem)?;
        }
        moved => moved.map_err(problem)?,
    }
    outbox::sync_folder(&folder)
}

/// The file of a letter. A name that is no UTF-8 is known by what can be shown of it.
fn file_of(folders: &Folders, letter: &Letter) -> Result<Option<PathBuf>, Problem> {
    let is_it = |path: &PathBuf| name_of(path) == letter.name;
    Ok(finished(&folders.inbox)?.into_iter().find(is_it))
}

fn name_of(path: &Path) -> String {
    path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

/// Files that nobody writes any more: no dotfiles, and none under a name for unfinished ones.
fn finished(inbox: &Path) -> Result<Vec<PathBuf>, Problem> {
    let list = || -> io::Result<Vec<PathBuf>> {
        let mut files = Vec::new();
        for entry in fs::read_dir(inbox)? {
            let entry = entry?;
            let name = entry.file_name();
            let name = name.to_string_lossy().to_ascii_lowercase();
            let unfinished = [".tmp", ".part", ".filepart"].iter().any(|end| name.ends_with(end));
            if !name.starts_with('.') && !unfinished && entry.file_type()?.is_file() {
                files.push(entry.path());
            }
        }
        files.sort();
        Ok(files)
    };
    list().map_err(|error| fault_at(inbox, &error))
}

fn open(folders: &Folders, path: &Path) -> Result<Letter, Problem> {
    let problem = |error: io::Error| fault_at(path, &error);
    let name = name_of(path);
    let size = fs::metadata(path).map_err(problem)?.len();
    if size > LARGEST_LETTER {
        let hash = hash_of(path).map_err(problem)?;
        let words = format!("it has {size} bytes; at most {LARGEST_LETTER} are read");
        return Ok(letters::unreadable(name, hash, words));
    }
    let bytes = fs::read(path).map_err(problem)?;
    let hash = hex::encode(Sha256::digest(&bytes));
    Ok(letters::read(name, hash, &bytes, &|identity| outbox::sent_with_identity(folders, identity)))
}

fn hash_of(path: &Path) -> io::Result<String> {
    let mut file = File::open(path)?;
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 1 << 16];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(hex::encode(hasher.finalize())),
            read => hasher.update(&buffer[..read]),
        }
    }
}

/// The letter's own name, unless another letter has it: then with a part of its hash before it.
fn free_place(folder: &Path, letter: &Letter) -> io::Result<PathBuf> {
    let own = folder.join(&letter.name);
    match own.try_exists()? && hash_of(&own)? != letter.hash {
        false => Ok(own),
        true => {
            // The longest name leaves no room for the hash before it.
            let tail = letter.name.char_indices().rev().map(|(at, _)| at);
            let from = tail.take_while(|at| letter.name.len() - at <= LONGEST_TAIL).last();
            let tail = &letter.name[from.unwrap_or_default()..];
            Ok(folder.join(format!("{}-{tail}", &letter.hash[..16])))
        }
    }
}

/// Between two file systems: the copy is whole and durable before the original goes.
fn move_by_copy(file: &Path, place: &Path) -> io::Result<()> {
    let part = place.with_extension("part");
    fs::copy(file, &part)?;
    File::open(&part)?.sync_all()?;
    fs::rename(&part, place)?;
    fs::remove_file(file)
}
