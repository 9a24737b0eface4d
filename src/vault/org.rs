//! One org's keys: they seal, open, and make fingerprints.

use std::fmt;

use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use chrono::{DateTime, Utc};

use super::master::Unwrapped;
use super::{Cell, KEY_LEN, Key, Vault, VaultError, joined};
use crate::domain::{KeyId, OrgId};

/// What a key is for, in the column `purpose`.
const SEALS: &str = "seal";
const INDEXES: &str = "index";

/// A key of an org as the database keeps it.
#[derive(Debug, Clone)]
pub struct OrgKeyRow {
    pub key_id: KeyId,
    pub purpose: String,
    pub master_key_id: String,
    pub wrapped: String,
    pub retired_at: Option<DateTime<Utc>>,
}

/// A key of an org that was made just now, to be inserted.
#[derive(Debug, Clone)]
pub struct NewOrgKey {
    pub row: OrgKeyRow,
    pub created_at: DateTime<Utc>,
}

impl NewOrgKey {
    /// A key that seals, and one that indexes. The second is never changed: what it made is
    /// compared with what it makes.
    ///
    /// # Errors
    /// [`VaultError::Locked`].
    pub fn pair(vault: &Vault, org: &OrgId) -> Result<[Self; 2], VaultError> {
        Ok([Self::make(vault, org, SEALS)?, Self::make(vault, org, INDEXES)?])
    }

    /// A key that seals.
    ///
    /// # Errors
    /// [`VaultError::Locked`].
    pub fn sealing(vault: &Vault, org: &OrgId) -> Result<Self, VaultError> {
        Self::make(vault, org, SEALS)
    }

    fn make(vault: &Vault, org: &OrgId, purpose: &str) -> Result<Self, VaultError> {
        let (masters, clock) = (vault.masters()?, vault.clock()?);
        let key_id: KeyId = clock.mint();
        let master_key_id = masters.wrapping_id().to_owned();
        let bound_to = binding(org, &key_id, purpose, &master_key_id);
        let wrapped = masters.wrap(&bound_to, &clock.secret());
        let purpose = purpose.to_owned();
        let row = OrgKeyRow { key_id, purpose, master_key_id, wrapped, retired_at: None };
        Ok(Self { row, created_at: clock.now() })
    }
}

/// The same key, wrapped by the first master key; `None` if it is already.
///
/// # Errors
/// [`VaultError`] if it cannot be unwrapped.
pub fn rewrap(
    vault: &Vault,
    org: &OrgId,
    row: &OrgKeyRow,
) -> Result<Option<(String, String)>, VaultError> {
    let masters = vault.masters()?;
    let master_key_id = masters.wrapping_id();
    if row.master_key_id == master_key_id {
        return Ok(None);
    }
    let bytes = unwrap(vault, org, row)?;
    let bound_to = binding(org, &row.key_id, &row.purpose, master_key_id);
    Ok(Some((master_key_id.to_owned(), masters.wrap(&bound_to, &bytes))))
}

fn unwrap(vault: &Vault, org: &OrgId, row: &OrgKeyRow) -> Result<[u8; KEY_LEN], VaultError> {
    let bound_to = binding(org, &row.key_id, &row.purpose, &row.master_key_id);
    match vault.masters()?.unwrap(&row.master_key_id, &bound_to, &row.wrapped) {
        Unwrapped::Key(bytes) => Ok(bytes),
        Unwrapped::NoSuchMaster => Err(VaultError::NoMasterKey { id: row.master_key_id.clone() }),
        Unwrapped::DoesNotOpen => {
            let place = format!("data key {} of org {org}", row.key_id);
            Err(VaultError::DoesNotOpen { place })
        }
    }
}

fn binding(org: &OrgId, key_id: &KeyId, purpose: &str, master_key_id: &str) -> Vec<u8> {
    joined(&["org_keys", org.as_str(), key_id.as_str(), purpose, master_key_id])
}

/// The id of the data key that something is sealed under.
pub fn key_of(sealed: &str) -> Option<&str> {
    sealed.split_once(':').map(|(key_id, _)| key_id)
}

/// The keys of one org, unwrapped. It never prints them.
pub struct OrgVault {
    org: OrgId,
    /// Every key that seals or sealed.
    seals: Vec<(KeyId, Key)>,
    current: Option<KeyId>,
    index: Option<hmac::Key>,
}

impl OrgVault {
    /// Unwraps the keys of an org.
    ///
    /// # Errors
    /// [`VaultError`] if one cannot be unwrapped.
    pub fn unlock(vault: &Vault, org: &OrgId, rows: &[OrgKeyRow]) -> Result<Self, VaultError> {
        let mut keys = Self { org: org.clone(), seals: Vec::new(), current: None, index: None };
        for row in rows {
            let bytes = unwrap(vault, org, row)?;
            if row.purpose == INDEXES {
                keys.index = Some(hmac::Key::new(hmac::HMAC_SHA256, &bytes));
                continue;
            }
            keys.seals.push((row.key_id.clone(), Key::new(&bytes)));
            if row.retired_at.is_none() {
                keys.current = Some(row.key_id.clone());
            }
        }
        Ok(keys)
    }

    /// Whether there is a key to seal with and one to index with.
    pub fn is_complete(&self) -> bool {
        self.current.is_some() && self.index.is_some()
    }

    /// The key that seals from now on.
    pub fn current(&self) -> Option<&KeyId> {
        self.current.as_ref()
    }

    /// Seals a text for its cell: the key's id, a colon, and base64.
    ///
    /// # Errors
    /// [`VaultError::NoKey`] if the org has no key yet.
    pub fn seal(&self, cell: Cell<'_>, plaintext: &str) -> Result<String, VaultError> {
        let current = self.current.as_ref().ok_or_else(|| self.no_key("to seal with"))?;
        let sealed = self
            .key(current.as_str())?
            .seal(&self.bound_to(cell, current.as_str()), plaintext.as_bytes());
        Ok(format!("{current}:{}", STANDARD_NO_PAD.encode(sealed)))
    }

    /// Opens what was sealed for this cell.
    ///
    /// # Errors
    /// [`VaultError::DoesNotOpen`] if it was changed or is another cell's;
    /// [`VaultError::NotSealed`] and [`VaultError::NoKey`].
    pub fn open(&self, cell: Cell<'_>, sealed: &str) -> Result<String, VaultError> {
        let not_sealed = || VaultError::NotSealed { place: cell.to_string() };
        let (key_id, body) = sealed.split_once(':').ok_or_else(not_sealed)?;
        let body = STANDARD_NO_PAD.decode(body).map_err(|_| not_sealed())?;
        let opened = self.key(key_id)?.open(&self.bound_to(cell, key_id), &body);
        let text = opened.and_then(|bytes| String::from_utf8(bytes).ok());
        text.ok_or_else(|| VaultError::DoesNotOpen { place: cell.to_string() })
    }

    /// A text's fingerprint within this org: equal texts have equal ones, and nobody without the
    /// key can make one or try texts against it. `of` keeps those of different things apart.
    ///
    /// # Errors
    /// [`VaultError::NoKey`] if the org has no key yet.
    pub fn fingerprint(&self, of: &'static str, text: &str) -> Result<String, VaultError> {
        let key = self.index.as_ref().ok_or_else(|| self.no_key("to index with"))?;
        Ok(hex::encode(hmac::sign(key, &joined(&[of, text]))))
    }

    fn key(&self, key_id: &str) -> Result<&Key, VaultError> {
        let found = self.seals.iter().find(|(id, _)| id.as_str() == key_id);
        found.map(|(_, key)| key).ok_or_else(|| self.no_key(key_id))
    }

    fn no_key(&self, key_id: &str) -> VaultError {
        VaultError::NoKey { org_id: self.org.to_string(), key_id: key_id.to_owned() }
    }

    fn bound_to(&self, cell: Cell<'_>, key_id: &str) -> Vec<u8> {
        joined(&[self.org.as_str(), cell.table, cell.column, cell.row, key_id])
    }
}

impl fmt::Debug for OrgVault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OrgVault").field("org", &self.org).field("current", &self.current).finish()
    }
}
