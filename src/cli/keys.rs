//! Master keys: where the settings say that they are, and a store that they open.

use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use anyhow::Context;
use secrecy::ExposeSecret;
use tracing::warn;
use url::Url;

use super::exit::UsageError;
use crate::clock::Clock;
use crate::config::{Config, state_folder};
use crate::store::Store;
use crate::vault::{MasterKeys, Vault, VaultError, make_key_file};

/// Where the master keys are.
pub enum KeyPlace {
    Settings,
    File(PathBuf),
    /// A file that is the database's own where nothing was set: beside an embedded one, in the state
    /// folder of this host for one of a server.
    Own(PathBuf),
}

impl KeyPlace {
    /// The file, if it is one.
    pub fn file(&self) -> Option<&Path> {
        match self {
            Self::Settings => None,
            Self::File(path) | Self::Own(path) => Some(path),
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
    let words = "there is no master key to seal account numbers with: make one with `payoutd vault \
                 init --file PATH` and set vault.master_key_file to that path, or set \
                 vault.master_keys";
    let url = config.database.url.expose_secret();
    let database = Store::file_of(url).or_else(|| Some(state_folder()?.join(server_name(url)?)));
    let database = database.ok_or_else(|| UsageError(words.to_owned()))?;
    let mut file = database.into_os_string();
    file.push(".master-key");
    Ok(KeyPlace::Own(file.into()))
}

/// A server's database as a file's name, so that each has a key file of its own.
fn server_name(url: &str) -> Option<String> {
    let url = Url::parse(url).ok()?;
    let port = url.port().unwrap_or(5432);
    let name = format!("{}-{port}{}", url.host_str().unwrap_or("local"), url.path());
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    Some(name.chars().map(|c| if is_plain(c) { c } else { '-' }).collect())
}

/// The master keys, if they are there.
///
/// # Errors
/// [`VaultError`] if they cannot be used.
pub fn read(config: &Config, place: &KeyPlace) -> Result<Option<MasterKeys>, VaultError> {
    match place {
        KeyPlace::Settings => MasterKeys::parse(&config.vault.master_keys).map(Some),
        KeyPlace::File(path) | KeyPlace::Own(path) => MasterKeys::read_file(path),
    }
}

/// Makes the folder that a key file goes into, for its owner alone.
fn make_folder_of(file: &Path) -> anyhow::Result<()> {
    let Some(folder) = file.parent().filter(|folder| *folder != Path::new("")) else {
        return Ok(());
    };
    let made = DirBuilder::new().recursive(true).mode(0o700).create(folder);
    made.with_context(|| format!("cannot make {} for the master key", folder.display()))
}

/// Gives a store its vault. A new database is given a master key of its own, if `make`.
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
        (None, KeyPlace::Own(path)) if make => {
            // A new key would open nothing of what the lost one sealed.
            if let Some(key) = store.masters_in_use().await?.first() {
                let words = format!(
                    "the master key {} of this database is not in {}: put it back, or bring it from \
                     the host that made it",
                    key.master_key_id,
                    path.display()
                );
                return Err(UsageError(words).into());
            }
            make_folder_of(path)?;
            if let Some(id) = make_key_file(path, &Clock::System)? {
                warn!(event = "vault.key_made", id, path = %path.display(),
                      "made a master key: keep a copy of it apart from copies of the database, and \
                       give it to every host that uses this database");
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
