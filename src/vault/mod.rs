//! The vault: account numbers and other people's secrets, sealed before they reach the database.
//!
//! An envelope of two layers. A *master key* comes from a file or the environment and is never in
//! the database. Each org has *data keys* of its own, random, kept in the database wrapped by a
//! master key. A value is sealed under its org's data key with AES-256-GCM, bound to the cell that
//! it stands in, so that a value moved to another row, column, table or org does not open.

mod cell;
mod file;
mod master;
mod org;

use std::path::PathBuf;
use std::sync::Arc;

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use secrecy::SecretString;
use serde::Deserialize;
use thiserror::Error;

use crate::clock::Clock;

pub use cell::Cell;
pub use file::{is_private, make_key_file};
pub use master::MasterKeys;
pub use org::{NewOrgKey, OrgKeyRow, OrgVault, key_of, rewrap};

/// The bytes of a key.
const KEY_LEN: usize = 32;

/// `[vault]`: where the master keys are.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VaultSettings {
    /// The keys themselves, as `ID=BASE64`, comma-separated; the first one wraps.
    pub master_keys: SecretString,
    /// A file of such keys, one a line; empty for none.
    pub master_key_file: PathBuf,
}

/// Why something cannot be sealed or opened. Display never holds a key or what is sealed.
#[derive(Debug, Error)]
pub enum VaultError {
    #[error("there is no master key, so account numbers can be neither sealed nor opened")]
    Locked,
    #[error("master key {id} is needed and not configured")]
    NoMasterKey { id: String },
    #[error("data key {key_id} is not among the keys of org {org_id}")]
    NoKey { org_id: String, key_id: String },
    #[error("what is sealed in {place} does not open: it was changed, moved, or is another key's")]
    DoesNotOpen { place: String },
    #[error("{place} does not hold anything sealed")]
    NotSealed { place: String },
    #[error("master key {number} cannot be used: {reason}")]
    BadKey { number: usize, reason: &'static str },
    #[error("the key file {}: {reason}", path.display())]
    BadFile { path: PathBuf, reason: String },
    #[error("the key file {} cannot be used", path.display())]
    File { path: PathBuf, source: std::io::Error },
}

/// The master keys, and the clock that new data keys are made by; cloning shares them.
#[derive(Debug, Clone)]
pub struct Vault {
    inner: Option<Arc<Inner>>,
}

#[derive(Debug)]
struct Inner {
    masters: MasterKeys,
    clock: Clock,
}

impl Vault {
    /// A vault without a key: it seals and opens nothing.
    pub fn locked() -> Self {
        Self { inner: None }
    }

    /// A vault that its keys open.
    pub fn new(masters: MasterKeys, clock: Clock) -> Self {
        Self { inner: Some(Arc::new(Inner { masters, clock })) }
    }

    /// The master keys.
    ///
    /// # Errors
    /// [`VaultError::Locked`].
    pub fn masters(&self) -> Result<&MasterKeys, VaultError> {
        self.inner.as_deref().map(|inner| &inner.masters).ok_or(VaultError::Locked)
    }

    /// The clock that new keys are dated by.
    ///
    /// # Errors
    /// [`VaultError::Locked`].
    pub fn clock(&self) -> Result<&Clock, VaultError> {
        self.inner.as_deref().map(|inner| &inner.clock).ok_or(VaultError::Locked)
    }
}

/// A 256-bit key of AES-GCM. It never prints itself.
struct Key(RandomizedNonceKey);

impl Key {
    fn new(bytes: &[u8; KEY_LEN]) -> Self {
        Self(RandomizedNonceKey::new(&AES_256_GCM, bytes).expect("32 bytes are a key"))
    }

    /// Nonce, ciphertext and tag. The nonce is the library's own, 96 random bits.
    fn seal(&self, bound_to: &[u8], plaintext: &[u8]) -> Vec<u8> {
        let mut body = plaintext.to_vec();
        let nonce = self.0.seal_in_place_append_tag(Aad::from(bound_to), &mut body);
        let nonce = nonce.expect("what fits into a column can be sealed");
        [nonce.as_ref().as_slice(), &body].concat()
    }

    fn open(&self, bound_to: &[u8], sealed: &[u8]) -> Option<Vec<u8>> {
        let (nonce, body) = sealed.split_at_checked(NONCE_LEN)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let mut body = body.to_vec();
        let plaintext = self.0.open_in_place(nonce, Aad::from(bound_to), &mut body).ok()?;
        Some(plaintext.to_vec())
    }
}

/// Texts one after another, each with its length before it: no two lists are the same bytes.
fn joined(parts: &[&str]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for part in parts {
        bytes.extend((part.len() as u64).to_be_bytes());
        bytes.extend(part.as_bytes());
    }
    bytes
}

#[cfg(test)]
mod tests;
