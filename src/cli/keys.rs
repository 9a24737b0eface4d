//! Master keys: where the settings say that they are, and a store that they open.

use std::path::{Path, PathBuf};

use secrecy::ExposeSecret;
use tracing::warn;

use super::exit::UsageError;
use crate::clock::Clock;
use crate::config::Config;
use crate::store::Store;
use crate::vault::{MasterKeys, Vault, VaultError, make_key_file};

/// Where the master keys are.
pub enum KeyPlace {
    Settings,
    File(PathBuf),
    /// A file that an embedded database has by itself.
    Beside(PathBuf),
}

impl KeyPlace {
    /// The file, if it is one.
    pub fn file(&self) -> Option<&Path> {
        match self {
            Self::Settings => None,
            Self::File(path) | Self::Beside(path) => Some(path),
        }
    }
}

/// Where the settings say that the master keys are.
///
/// # Errors
/// [`UsageError`] if they are nowhere.
pub fn place(config: &Config) -> Result<KeyPlace, UsageError> {
    let vault = &config.vault;
    if !vault.master_keys.expose_secret().is_empty() {
        return Ok(KeyPlace::Settings);
    }
    if !vault.master_key_file.as_os_str().is_empty() {
        return Ok(KeyPlace::File(vault.master_key_file.clone()));
    }
    let beside = |file: PathBuf| {
        let mut name = file.into_os_string();
        name.push(".master-key");
        KeyPlace::Beside(name.into())
    };
    let words = "there is no master key to seal account numbers with: make one with `payoutd vault \
                 init --file PATH` and set vault.master_key_file to that path, or set \
                 vault.master_keys";
    let file = Store::file_of(config.database.url.expose_secret());
    file.map(beside).ok_or_else(|| UsageError(words.to_owned()))
}

/// The master keys, if they are there.
///
/// # Errors
/// [`VaultError`] if they cannot be used.
pub fn read(config: &Config, place: &KeyPlace) -> Result<Option<MasterKeys>, VaultError> {
    match place {
        KeyPlace::Settings => MasterKeys::parse(&config.vault.master_keys).map(Some),
        KeyPlace::File(path) | KeyPlace::Beside(path) => MasterKeys::read_file(path),
    }
}

/// Gives a store its vault. A new embedded database is given a master key of its own, if `make`.
///
/// # Errors
/// [`UsageError`] if there is no master key, or not the one that this database needs.
pub async fn unlock(
    config: &Config,
    store: Store,
    place: &KeyPlace,
    make: bool,
) -> anyhow::Result<Store> {
    let masters = match (read(config, place)?, place) {
        (Some(masters), _) => masters,
        (None, KeyPlace::Beside(path)) if make => {
            // A new key would open nothing of what the lost one sealed.
            if let Some(key) = store.masters_in_use().await?.first() {
                let words = format!(
                    "the master key {} of this database was in {}, which is gone: put it back",
                    key.master_key_id,
                    path.display()
                );
                return Err(UsageError(words).into());
            }
            if let Some(id) = make_key_file(path, &Clock::System)? {
                warn!(event = "vault.key_made", id, path = %path.display(),
                      "made a master key beside the database: keep a copy of it apart from copies \
                       of the database");
            }
            read(config, place)?.ok_or(VaultError::Locked)?
        }
        (None, place) => return Err(missing(place).into()),
    };
    let store = store.with_vault(Vault::new(masters, Clock::System));
    store.masters_fit().await.map_err(|error| {
        let cause = anyhow::Error::from(error);
        match cause.chain().find_map(|cause| cause.downcast_ref::<VaultError>()) {
            Some(VaultError::DoesNotOpen { place }) => {
                let words = format!(
                    "the master keys are not those of this database, although they have the same \
                     ids: {place} does not open"
                );
                UsageError(words).into()
            }
            Some(error) => UsageError(format!("the master keys do not fit: {error}")).into(),
            None => cause,
        }
    })?;
    Ok(store)
}

fn missing(place: &KeyPlace) -> UsageError {
    let file = place.file().unwrap_or(Path::new("")).display();
    UsageError(format!(
        "the master key file {file} is not there: put it back, or make one with `payoutd vault \
         init` if nothing was sealed yet"
    ))
}
