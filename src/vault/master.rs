//! Master keys: what wraps the orgs' data keys.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use secrecy::{ExposeSecret, SecretString};

use super::{KEY_LEN, Key, VaultError};

/// Longest id of a master key.
const LONGEST_ID: usize = 64;

/// The master keys in force, at least one. The first wraps; the others only unwrap what they
/// wrapped before.
pub struct MasterKeys(Vec<MasterKey>);

struct MasterKey {
    id: String,
    key: Key,
}

impl MasterKeys {
    /// Reads `ID=KEY` entries, separated by commas or line ends; a line that begins with `#` is a
    /// comment. A key is 32 bytes in base64 or hex.
    ///
    /// # Errors
    /// [`VaultError::BadKey`] by the entry's number; [`VaultError::Locked`] if there is none.
    pub fn parse(text: &SecretString) -> Result<Self, VaultError> {
        let lines = text.expose_secret().lines().map(str::trim);
        let entries = lines.filter(|line| !line.starts_with('#')).flat_map(|line| line.split(','));
        let mut keys: Vec<MasterKey> = Vec::new();
        for entry in entries.map(str::trim).filter(|entry| !entry.is_empty()) {
            let number = keys.len() + 1;
            let bad = |reason| VaultError::BadKey { number, reason };
            let (id, key) = entry.split_once('=').ok_or(bad("it is not ID=KEY"))?;
            let is_allowed = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
            if id.is_empty() || id.len() > LONGEST_ID || !id.chars().all(is_allowed) {
                return Err(bad("its id is not 1 to 64 letters, digits, dots, - or _"));
            }
            if keys.iter().any(|known| known.id == id) {
                return Err(bad("its id is another key's too"));
            }
            let bytes = decode(key).ok_or(bad("it is not 32 bytes in base64 or hex"))?;
            if bytes.iter().all(|byte| *byte == bytes[0]) {
                return Err(bad("it is not random: make one with `payoutd vault init`"));
            }
            keys.push(MasterKey { id: id.to_owned(), key: Key::new(&bytes) });
        }
        if keys.is_empty() {
            return Err(VaultError::Locked);
        }
        Ok(Self(keys))
    }

    /// The ids, the wrapping one first.
    pub fn ids(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|key| key.id.as_str())
    }

    /// The id of the key that wraps.
    pub fn wrapping_id(&self) -> &str {
        &self.0[0].id
    }

    /// Wraps a data key under the first master key.
    pub(super) fn wrap(&self, bound_to: &[u8], data_key: &[u8; KEY_LEN]) -> String {
        STANDARD.encode(self.0[0].key.seal(bound_to, data_key))
    }

    pub(super) fn unwrap(&self, id: &str, bound_to: &[u8], wrapped: &str) -> Unwrapped {
        let Some(master) = self.0.iter().find(|master| master.id == id) else {
            return Unwrapped::NoSuchMaster;
        };
        let opened = STANDARD.decode(wrapped).ok().and_then(|w| master.key.open(bound_to, &w));
        match opened.and_then(|bytes| bytes.try_into().ok()) {
            Some(bytes) => Unwrapped::Key(bytes),
            None => Unwrapped::DoesNotOpen,
        }
    }
}

/// What came of unwrapping.
pub(super) enum Unwrapped {
    Key([u8; KEY_LEN]),
    NoSuchMaster,
    DoesNotOpen,
}

impl fmt::Debug for MasterKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.ids()).finish()
    }
}

/// 64 hex digits are 48 bytes in base64, so the two are never taken for each other.
fn decode(text: &str) -> Option<[u8; KEY_LEN]> {
    let bytes = if text.len() == 2 * KEY_LEN { hex::decode(text).ok() } else { None };
    bytes.or_else(|| STANDARD.decode(text).ok()).and_then(|bytes| bytes.try_into().ok())
}
