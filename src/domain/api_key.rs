//! API keys as text: `ak_live_` and the id, by which the key is found, then the secret, by which it
//! is proven.

use std::str::FromStr;

use sha2::{Digest, Sha256};

use super::ApiKeyId;

/// What every key begins with, so that one that leaks is recognised by who scans for keys.
const START: &str = "ak_live_";
/// What the id of a key begins with.
const ID_START: &str = "key_";
/// The secret of a key, in hex.
const SECRET_LENGTH: usize = 64;
/// The rest of a key's id: a ULID.
const ID_LENGTH: usize = 26;

/// A key, whole. It has no `Debug`: it is a secret.
#[derive(Clone)]
pub struct ApiKey {
    id: ApiKeyId,
    secret: String,
}

impl ApiKey {
    /// The key of this id and secret.
    pub fn new(id: ApiKeyId, secret: [u8; SECRET_LENGTH / 2]) -> Self {
        Self { id, secret: hex::encode(secret) }
    }

    /// Reads a key; `None` if it cannot be one.
    pub fn parse(text: &str) -> Option<Self> {
        let (id, secret) = text.strip_prefix(START)?.split_once('_')?;
        let is_plain = |text: &str, length: usize| {
            text.len() == length && text.bytes().all(|byte| byte.is_ascii_alphanumeric())
        };
        let fits = is_plain(id, ID_LENGTH) && is_plain(secret, SECRET_LENGTH);
        let id = ApiKeyId::from_str(&format!("{ID_START}{id}")).ok()?;
        fits.then(|| Self { id, secret: secret.to_owned() })
    }

    /// By what it is found. Not secret.
    pub fn id(&self) -> &ApiKeyId {
        &self.id
    }

    /// The whole key, for whoever asked for it, once.
    pub fn reveal(&self) -> String {
        let id = self.id.as_str();
        format!("{START}{}_{}", id.strip_prefix(ID_START).unwrap_or(id), self.secret)
    }

    /// What is stored of it. A plain hash is enough: the secret has 256 bits, and cannot be guessed.
    pub fn hash(&self) -> String {
        hex::encode(Sha256::digest(self.reveal()))
    }
}

#[cfg(test)]
mod tests {
    use super::super::Minted;
    use super::*;

    #[test]
    fn a_key_is_read_as_it_was_shown_and_hashed_as_a_whole() {
        let key = ApiKey::new(ApiKeyId::from_parts(1_700_000_000_000, 7), [0xab; 32]);
        let text = key.reveal();
        assert!(text.starts_with("ak_live_01HF7YAT00"), "{text}");
        let read = ApiKey::parse(&text).expect("a key");
        assert_eq!((read.id(), read.hash()), (key.id(), key.hash()));
        let other = ApiKey::parse(&text.replace("abab", "abac")).expect("a key");
        assert_eq!(other.id(), key.id());
        assert_ne!(other.hash(), key.hash());
    }

    #[test]
    fn what_cannot_be_a_key_is_none() {
        let key = ApiKey::new(ApiKeyId::from_parts(1, 2), [1; 32]).reveal();
        for text in [
            "",
            "ak_live_",
            "ak_live__",
            &key[..key.len() - 1],
            &format!("{key}0"),
            &format!(" {key}"),
            &key.replace("ak_live_", "ak_test_"),
            &key.replacen('0', "\u{0}", 1),
            &key.replace("_0", "_é"),
        ] {
            assert!(ApiKey::parse(text).is_none(), "{text}");
        }
    }
}
