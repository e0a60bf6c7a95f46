//! What is spoken with the remote proxy.

use std::fmt;
use std::str::FromStr;

use proxy::protocol::Dialect;
#[cfg(feature = "shadowsocks")]
use proxy::protocol::shadowsocks::Method;

/// A dialect, or shadowsocks by one of its methods.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Speech {
    Dialect(Dialect),
    #[cfg(feature = "shadowsocks")]
    Shadowsocks(Method),
}

/// A word that names no [`Speech`].
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error(
    "is none of socks5, http, line, auth-target, aes-128-gcm, aes-256-gcm, chacha20-ietf-poly1305, 2022-blake3-aes-128-gcm and 2022-blake3-aes-256-gcm"
)]
pub(crate) struct UnknownSpeech;

impl Speech {
    /// Whether it is encrypted by itself, without TLS.
    pub(crate) const fn is_shadowsocks(self) -> bool {
        !matches!(self, Self::Dialect(_))
    }
}

impl FromStr for Speech {
    type Err = UnknownSpeech;

    fn from_str(text: &str) -> Result<Self, UnknownSpeech> {
        if let Ok(dialect) = text.parse() {
            return Ok(Self::Dialect(dialect));
        }
        #[cfg(feature = "shadowsocks")]
        if let Ok(method) = text.parse::<Method>()
            && method.authenticates()
        {
            return Ok(Self::Shadowsocks(method));
        }
        Err(UnknownSpeech)
    }
}

impl fmt::Display for Speech {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dialect(dialect) => dialect.fmt(f),
            #[cfg(feature = "shadowsocks")]
            Self::Shadowsocks(method) => method.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_is_read_as_it_is_written() {
        for word in ["socks5", "http", "line", "auth-target", "aes-256-gcm"] {
            let read: Speech = word.parse().unwrap();
            assert_eq!(read.to_string(), word);
        }
        for word in ["none", "ss", "aes-256-cfb", ""] {
            assert!(word.parse::<Speech>().is_err(), "{word}");
        }
    }
}
