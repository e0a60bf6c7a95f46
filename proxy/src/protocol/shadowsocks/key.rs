//! Keys, and what is derived from them.

use std::fmt;

use base64::Engine as _;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};
use hkdf::HkdfExtract;
use md5::{Digest as _, Md5};
use sha1::Sha1;

use super::Method;

const INFO: &[u8] = b"ss-subkey";
const SESSION: &str = "shadowsocks 2022 session subkey";
const IDENTITY: &str = "shadowsocks 2022 identity subkey";

const BASE64: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// A key or a subkey; never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Key {
    bytes: [u8; 32],
    len: usize,
}

/// The keys of one user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Keys {
    /// The user's own.
    pub user: Key,
    /// That of the port, under which identities are, if there is one.
    pub port: Option<Key>,
}

/// Why a password is no key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// The 2022 edition has keys, not passwords.
    #[error("{method} needs a key of {} bytes in base64, or two as \"key of the port:key of the user\"", method.key_len())]
    NotAKey {
        /// The method.
        method: Method,
    },
    /// No password.
    #[error("an empty password")]
    Empty,
}

impl Keys {
    /// The keys that a password stands for.
    ///
    /// # Errors
    /// [`KeyError`]
    pub fn parse(method: Method, password: &str) -> Result<Self, KeyError> {
        if password.is_empty() && method != Method::None {
            return Err(KeyError::Empty);
        }
        if !method.is_2022() {
            let user = Key::from_password(method, password.as_bytes());
            return Ok(Self { user, port: None });
        }
        let key = |text: &str| Key::from_base64(method, text);
        match password.split_once(':') {
            None => Ok(Self {
                user: key(password)?,
                port: None,
            }),
            Some((port, user)) => Ok(Self {
                user: key(user)?,
                port: Some(key(port)?),
            }),
        }
    }
}

impl Key {
    fn new(method: Method, bytes: [u8; 32]) -> Self {
        Self {
            bytes,
            len: method.key_len(),
        }
    }

    #[cfg(test)]
    pub(super) fn from_bytes(method: Method, key: &[u8]) -> Self {
        let mut bytes = [0; 32];
        bytes[..key.len()].copy_from_slice(key);
        Self::new(method, bytes)
    }

    /// OpenSSL's `EVP_BytesToKey` with MD5, no salt and one round.
    #[must_use]
    pub fn from_password(method: Method, password: &[u8]) -> Self {
        let first: [u8; 16] = Md5::digest(password).into();
        let second = Md5::new().chain_update(first).chain_update(password);
        let mut bytes = [0; 32];
        let (low, high) = bytes.split_at_mut(16);
        low.copy_from_slice(&first);
        high.copy_from_slice(&second.finalize());
        Self::new(method, bytes)
    }

    /// The key that base64 text stands for.
    ///
    /// # Errors
    /// [`KeyError::NotAKey`] if it is none, or of another length.
    pub fn from_base64(method: Method, text: &str) -> Result<Self, KeyError> {
        let decoded = BASE64.decode(text).ok();
        let decoded = decoded.filter(|decoded| decoded.len() == method.key_len());
        let decoded = decoded.ok_or(KeyError::NotAKey { method })?;
        let mut bytes = [0; 32];
        for (to, from) in bytes.iter_mut().zip(decoded) {
            *to = from;
        }
        Ok(Self::new(method, bytes))
    }

    /// The bytes.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or(&self.bytes)
    }

    /// What a session with this salt is encrypted with.
    #[must_use]
    pub fn subkey(&self, method: Method, salt: &[u8]) -> Self {
        if method.is_2022() {
            return Self::new(method, self.derived(SESSION, salt));
        }
        if method.is_cfb() {
            return self.clone();
        }
        Derivation::new(salt).subkey(method, self)
    }

    /// What an identity header with this salt is encrypted with, under a port's key.
    #[must_use]
    pub fn identity_subkey(&self, method: Method, salt: &[u8]) -> Self {
        Self::new(method, self.derived(IDENTITY, salt))
    }

    /// What stands for a user's key in an identity header.
    #[must_use]
    pub fn fingerprint(&self) -> [u8; 16] {
        let hash = blake3::hash(self.bytes());
        let first = hash.as_bytes().first_chunk();
        first.copied().unwrap_or_default()
    }

    fn derived(&self, context: &str, salt: &[u8]) -> [u8; 32] {
        let mut hasher = blake3::Hasher::new_derive_key(context);
        hasher.update(self.bytes()).update(salt);
        *hasher.finalize().as_bytes()
    }
}

/// What the subkeys of all users have in common for one salt, by the AEAD construction.
#[derive(Clone, Debug)]
pub struct Derivation(HkdfExtract<Sha1>);

impl Derivation {
    /// For this salt.
    #[must_use]
    pub fn new(salt: &[u8]) -> Self {
        Self(HkdfExtract::new(Some(salt)))
    }

    /// A user's subkey.
    #[must_use]
    pub fn subkey(&self, method: Method, user: &Key) -> Key {
        let mut bytes = [0; 32];
        let room = bytes.get_mut(..method.key_len()).unwrap_or_default();
        let mut extract = self.0.clone();
        extract.input_ikm(user.bytes());
        // Fails only for a length beyond 255 hashes.
        let _ = extract.finalize().1.expand(INFO, room);
        Key::new(method, bytes)
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Key").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(key: &Key) -> String {
        let bytes = key.bytes().iter();
        bytes.map(|byte| format!("{byte:02x}")).collect()
    }

    #[test]
    fn subkeys_are_those_of_the_seed() {
        let subkey = |method: Method| {
            let salt: Vec<u8> = (0..32).take(method.key_len()).collect();
            let key = Key::from_password(method, b"hellotheworld2");
            hex(&key.subkey(method, &salt))
        };
        assert_eq!(
            subkey(Method::Aes128Gcm),
            "809d8b0a3a95d98214c002f3a3799f5f"
        );
        let long = "e428299e51bca06079ecffe9b33a60149d2aa01be23df4e5bcea5d98f8e1f000";
        assert_eq!(subkey(Method::Chacha20IetfPoly1305), long);
        assert_eq!(subkey(Method::Aes256Gcm), long);
    }

    #[test]
    fn the_2022_edition_has_keys() {
        let method = Method::Blake3Aes128Gcm;
        let (port, user) = ("AAECAwQFBgcICQoLDA0ODw==", "Dw4NDAsKCQgHBgUEAwIBAA==");
        let keys = Keys::parse(method, &format!("{port}:{user}")).unwrap();
        assert_eq!(hex(&keys.user), "0f0e0d0c0b0a09080706050403020100");
        assert!(keys.port.is_some_and(|key| key.bytes()[1] == 1));
        assert!(Keys::parse(method, user).unwrap().port.is_none());
        for wrong in ["secret", "", ":", "AAEC", &format!("{port}:")] {
            assert!(Keys::parse(method, wrong).is_err(), "{wrong}");
        }
        assert!(Keys::parse(Method::Blake3Aes256Gcm, user).is_err());
        assert!(Keys::parse(Method::Aes128Gcm, "").is_err());
    }

    #[test]
    fn a_key_is_never_printed() {
        let key = Key::from_password(Method::Aes128Gcm, b"x");
        assert_eq!(format!("{key:?}"), "Key { .. }");
    }
}
