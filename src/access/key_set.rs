//! A JWK set (RFC 7517), read: the public keys in it that tokens may be signed with.

use jsonwebtoken::jwk::{
    AlgorithmParameters, EllipticCurve, Jwk, KeyAlgorithm, KeyOperations, PublicKeyUse,
};
use jsonwebtoken::{Algorithm, DecodingKey};
use serde::Deserialize;
use serde_json::Value;

/// Keys of a set that are looked at.
const MOST_KEYS: usize = 64;

/// The keys of a set.
#[derive(Default)]
pub(super) struct KeySet {
    keys: Vec<PublicKey>,
}

/// A public key, and the one algorithm that it checks.
#[derive(Clone)]
pub(super) struct PublicKey {
    id: Option<String>,
    pub(super) algorithm: Algorithm,
    pub(super) key: DecodingKey,
}

impl KeySet {
    /// Reads a set; `None` if it is none, or holds no key that is of use. Keys for something else
    /// (encryption, other algorithms, shared secrets) may stand in it and are left out.
    pub(super) fn read(text: &[u8]) -> Option<Self> {
        #[derive(Deserialize)]
        struct Set {
            keys: Vec<Value>,
        }
        let set: Set = serde_json::from_slice(text).ok()?;
        let keys: Vec<_> =
            set.keys.into_iter().take(MOST_KEYS).filter_map(PublicKey::read).collect();
        (!keys.is_empty()).then_some(Self { keys })
    }

    /// The keys that a token may be signed with that names `id` (or none) and says `algorithm`.
    pub(super) fn named(&self, id: Option<&str>, algorithm: Algorithm) -> Vec<PublicKey> {
        let fits = |key: &&PublicKey| {
            let is_named = id.is_none() || key.id.as_deref() == id;
            is_named && key.algorithm == algorithm
        };
        self.keys.iter().filter(fits).cloned().collect()
    }

    pub(super) fn len(&self) -> usize {
        self.keys.len()
    }
}

impl PublicKey {
    fn read(key: Value) -> Option<Self> {
        let key: Jwk = serde_json::from_value(key).ok()?;
        let algorithm = algorithm_of(&key)?;
        let for_signing = match (&key.common.public_key_use, &key.common.key_operations) {
            (Some(purpose), _) => *purpose == PublicKeyUse::Signature,
            (None, Some(operations)) => operations.contains(&KeyOperations::Verify),
            (None, None) => true,
        };
        let decoding = DecodingKey::from_jwk(&key).ok()?;
        let id = key.common.key_id;
        for_signing.then_some(Self { id, algorithm, key: decoding })
    }
}

/// The algorithm of a key: its own word for it, as far as that fits what the key is. Never that of
/// a shared secret, since what is published is no secret.
fn algorithm_of(key: &Jwk) -> Option<Algorithm> {
    let (own, word) = match &key.algorithm {
        AlgorithmParameters::RSA(_) => (Algorithm::RS256, KeyAlgorithm::RS256),
        AlgorithmParameters::EllipticCurve(parts) if parts.curve == EllipticCurve::P256 => {
            (Algorithm::ES256, KeyAlgorithm::ES256)
        }
        AlgorithmParameters::OctetKeyPair(parts) if parts.curve == EllipticCurve::Ed25519 => {
            (Algorithm::EdDSA, KeyAlgorithm::EdDSA)
        }
        _ => return None,
    };
    key.common.key_algorithm.is_none_or(|said| said == word).then_some(own)
}
