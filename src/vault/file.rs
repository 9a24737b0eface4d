//! Key files: made once, for their owner alone.

use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use secrecy::SecretString;

use super::{KEY_LEN, MasterKeys, VaultError};
use crate::clock::Clock;
use crate::domain::BatchId;

impl MasterKeys {
    /// Reads the keys of a file; `None` if there is no such file.
    ///
    /// # Errors
    /// [`VaultError`] if it cannot be read, or holds no keys.
    pub fn read_file(path: &Path) -> Result<Option<Self>, VaultError> {
        let text = match fs::read_to_string(path) {
            Ok(text) => SecretString::from(text),
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(VaultError::File { path: path.to_owned(), source }),
        };
        let keys = Self::parse(&text).map_err(|error| VaultError::BadFile {
            path: path.to_owned(),
            reason: match error {
                VaultError::Locked => "it holds no key".to_owned(),
                error => error.to_string(),
            },
        })?;
        Ok(Some(keys))
    }
}

/// Makes a key file with one new master key in it; its id, or `None` if the file is there already.
/// It appears whole or not at all, with mode 0600, whoever else makes it at the same time.
///
/// # Errors
/// [`VaultError::File`].
pub fn make_key_file(path: &Path, clock: &Clock) -> Result<Option<String>, VaultError> {
    // Two keys of one second must not have one id.
    let apart = hex::encode(clock.secret::<3>());
    let id = format!("mk-{}-{apart}", clock.now().format("%Y%m%d"));
    let key = STANDARD.encode(clock.secret::<KEY_LEN>());
    let text = format!(
        "# A master key of payoutd. Account numbers cannot be read without it: keep a copy of this\n\
         # file apart from the copies of the database. The first key here wraps; see `payoutd vault`.\n\
         {id}={key}\n"
    );
    let failed = |source| VaultError::File { path: path.to_owned(), source };
    let aside = aside(path, clock);
    let placed = write(&aside, &text).and_then(|()| fs::hard_link(&aside, path));
    // It may not be there, if it was not even made.
    let _ = fs::remove_file(&aside);
    match placed {
        Ok(()) => Ok(Some(id)),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(None),
        Err(error) => Err(failed(error)),
    }
}

/// Whether nobody but its owner may read the file.
///
/// # Errors
/// The file is gone, or may not be looked at.
pub fn is_private(path: &Path) -> std::io::Result<bool> {
    Ok(fs::metadata(path)?.permissions().mode() & 0o077 == 0)
}

fn aside(path: &Path, clock: &Clock) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!(".{name}.{}.tmp", clock.mint::<BatchId>()))
}

fn write(path: &Path, text: &str) -> std::io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}
