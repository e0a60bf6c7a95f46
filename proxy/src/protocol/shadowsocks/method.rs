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
    /// AES-128 in CFB mode: encrypted, and nobody is authenticated.
    Aes128Cfb,
    /// AES-192 in CFB mode.
    Aes192Cfb,
    /// AES-256 in CFB mode.
    Aes256Cfb,
}

impl Method {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::None,
        Self::Aes128Gcm,
        Self::Aes256Gcm,
        Self::Chacha20IetfPoly1305,
        Self::Blake3Aes128Gcm,
        Self::Blake3Aes256Gcm,
        Self::Aes128Cfb,
        Self::Aes192Cfb,
        Self::Aes256Cfb,
    ];

    /// Bytes of a key.
    #[must_use]
    pub const fn key_len(self) -> usize {
        match self {
            Self::None => 0,
            Self::Aes128Gcm | Self::Blake3Aes128Gcm | Self::Aes128Cfb => 16,
            Self::Aes192Cfb => 24,
            Self::Aes256Gcm
            | Self::Chacha20IetfPoly1305
            | Self::Blake3Aes256Gcm
            | Self::Aes256Cfb => 32,
        }
    }

    /// Bytes of a salt, or of what the first block is fed with (an IV).
    #[must_use]
    pub const fn salt_len(self) -> usize {
        if self.is_cfb() { 16 } else { self.key_len() }
    }

    /// Whether this is the 2022 edition.
    #[must_use]
    pub const fn is_2022(self) -> bool {
        matches!(self, Self::Blake3Aes128Gcm | Self::Blake3Aes256Gcm)
    }

    /// Whether this is one of the old ones, a stream without tags.
    #[must_use]
    pub const fn is_cfb(self) -> bool {
        matches!(self, Self::Aes128Cfb | Self::Aes192Cfb | Self::Aes256Cfb)
    }

    /// Whether only who has the key can send something that opens: else whoever
    /// connects may be served, and nothing tells two users apart.
    #[must_use]
    pub const fn authenticates(self) -> bool {
        !matches!(self, Self::None) && !self.is_cfb()
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
            Self::Aes128Cfb => "aes-128-cfb",
            Self::Aes192Cfb => "aes-192-cfb",
            Self::Aes256Cfb => "aes-256-cfb",
        }
    }
}

/// A word that names no [`Method`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "is none of aes-128-gcm, aes-256-gcm, chacha20-ietf-poly1305, 2022-blake3-aes-128-gcm, 2022-blake3-aes-256-gcm, none, aes-128-cfb, aes-192-cfb and aes-256-cfb"
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
