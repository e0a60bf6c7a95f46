//! The ciphers.

use std::fmt;
use std::str::FromStr;

/// How bytes are encrypted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Method {
    /// Not at all: whoever listens reads along, and whoever connects is served.
    None,
    /// AES-128-GCM.
    Aes128Gcm,
    /// AES-256-GCM.
    Aes256Gcm,
    /// ChaCha20-Poly1305 as the IETF has it.
    Chacha20IetfPoly1305,
    /// SIP022 with AES-128-GCM.
    Blake3Aes128Gcm,
    /// SIP022 with AES-256-GCM.
    Blake3Aes256Gcm,
}

impl Method {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::None,
        Self::Aes128Gcm,
        Self::Aes256Gcm,
        Self::Chacha20IetfPoly1305,
        Self::Blake3Aes128Gcm,
        Self::Blake3Aes256Gcm,
    ];

    /// Bytes of a key, and of a salt.
    #[must_use]
    pub const fn key_len(self) -> usize {
        match self {
            Self::None => 0,
            Self::Aes128Gcm | Self::Blake3Aes128Gcm => 16,
            Self::Aes256Gcm | Self::Chacha20IetfPoly1305 | Self::Blake3Aes256Gcm => 32,
        }
    }

    /// Whether this is the 2022 edition.
    #[must_use]
    pub const fn is_2022(self) -> bool {
        matches!(self, Self::Blake3Aes128Gcm | Self::Blake3Aes256Gcm)
    }

    /// The name that clients and servers are configured with.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Aes128Gcm => "aes-128-gcm",
            Self::Aes256Gcm => "aes-256-gcm",
            Self::Chacha20IetfPoly1305 => "chacha20-ietf-poly1305",
            Self::Blake3Aes128Gcm => "2022-blake3-aes-128-gcm",
            Self::Blake3Aes256Gcm => "2022-blake3-aes-256-gcm",
        }
    }
}

/// A word that names no [`Method`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "is none of aes-128-gcm, aes-256-gcm, chacha20-ietf-poly1305, 2022-blake3-aes-128-gcm, 2022-blake3-aes-256-gcm and none"
)]
pub struct UnknownMethod;

impl FromStr for Method {
    type Err = UnknownMethod;

    fn from_str(text: &str) -> Result<Self, UnknownMethod> {
        let known = Self::ALL.into_iter();
        let mut named = known.filter(|method| method.name().eq_ignore_ascii_case(text));
        named.next().ok_or(UnknownMethod)
    }
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
