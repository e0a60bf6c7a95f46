//! Wire formats as functions of bytes: no socket, no clock, no state.
//!
//! Every parser has one shape: `Ok(Some((value, used)))` when a whole message
//! stands at the front, `Ok(None)` when more bytes are needed, and an error as
//! soon as no further byte could make it valid. What a parser says about a
//! prefix never changes with how the bytes were split on the way.
//!
//! | codec | of |
//! |---|---|
//! | [`opening`] | which of these a connection begins with |
//! | `socks5`, `socks5_udp` | RFC 1928 with RFC 1929, and its datagrams |
//! | `http` | RFC 9112: CONNECT and absolute-form requests, their bodies and answers |
//! | `auth_target` | seed 000's binary dialect |
//! | `line` | seed 001's line of text |
//! | `https_relay` | seed 003's obfuscated frames |
//! | `proxy_v2` | who connects, as told by a load balancer in front |
//! | `shadowsocks` | SIP004, SIP022 and SIP023, with the feature `shadowsocks` |
//! | [`client`] | the other side of the dialects |

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

pub mod auth_target;
pub mod client;
pub mod http;
pub mod https_relay;
pub mod line;
pub mod opening;
pub mod proxy_v2;
#[cfg(feature = "shadowsocks")]
pub mod shadowsocks;
pub mod socks5;
pub mod socks5_udp;

mod cursor;
#[cfg(test)]
mod testing;

/// The dialects that a client may speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Dialect {
    /// SOCKS5 with username and password.
    Socks5,
    /// HTTP/1.1: CONNECT, and requests with absolute URLs.
    Http,
    /// Seed 001's line of text, answered with one line of text.
    Line,
    /// Seed 000's AUTH and TARGET messages.
    AuthTarget,
}

impl fmt::Display for Dialect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Socks5 => "socks5",
            Self::Http => "http",
            Self::Line => "line",
            Self::AuthTarget => "auth-target",
        })
    }
}

impl std::str::FromStr for Dialect {
    type Err = UnknownDialect;

    fn from_str(text: &str) -> Result<Self, UnknownDialect> {
        let all = [Self::Socks5, Self::Http, Self::Line, Self::AuthTarget];
        all.into_iter()
            .find(|dialect| dialect.to_string() == text)
            .ok_or(UnknownDialect)
    }
}

/// A word that names no [`Dialect`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("is none of socks5, http, line and auth-target")]
pub struct UnknownDialect;

/// Where a client wants to be connected to.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Target {
    /// The host, not yet resolved.
    pub host: Host,
    /// The TCP port.
    pub port: u16,
}

/// A host as a client names it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Host {
    /// An address.
    Address(IpAddr),
    /// A name for the resolver: 1 to 255 bytes, no control characters, no white space.
    Name(String),
}

impl Host {
    /// Reads a host from text: an address in its usual form (brackets round an
    /// IPv6 one are accepted), else a name.
    ///
    /// # Errors
    /// [`WireError::Host`] if it is empty, longer than 255 bytes, not UTF-8, or
    /// holds a control character or white space.
    pub fn parse(text: &[u8]) -> Result<Self, WireError> {
        let text = std::str::from_utf8(text).map_err(|_| WireError::Host)?;
        if let Ok(address) = text.parse::<IpAddr>() {
            return Ok(Self::Address(address));
        }
        if let Some(inner) = text.strip_prefix('[').and_then(|t| t.strip_suffix(']')) {
            let address = inner.parse::<Ipv6Addr>().map_err(|_| WireError::Host)?;
            return Ok(Self::Address(address.into()));
        }
        let sound = !text.is_empty()
            && text.len() <= 255
            && !text.contains(|c: char| c.is_control() || c.is_whitespace());
        if sound {
            Ok(Self::Name(text.to_owned()))
        } else {
            Err(WireError::Host)
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.host {
            Host::Address(IpAddr::V6(address)) => write!(f, "[{address}]:{}", self.port),
            Host::Address(address) => write!(f, "{address}:{}", self.port),
            Host::Name(name) => write!(f, "{name}:{}", self.port),
        }
    }
}

/// Whether a byte may stand in an HTTP token: a method or the name of a field
/// (RFC 9110, section 5.6.2).
const fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(byte, b'!' | b'#'..=b'\'' | b'*' | b'+' | b'-' | b'.' | b'^'..=b'`' | b'|' | b'~')
}

/// A port from decimal digits: `u16::from_str` alone would take a sign.
fn parse_port(text: &[u8]) -> Result<u16, WireError> {
    let digits = text.iter().all(u8::is_ascii_digit);
    let port = std::str::from_utf8(text)
        .ok()
        .filter(|_| digits)
        .and_then(|text| text.parse().ok());
    port.filter(|&port| port != 0).ok_or(WireError::Port)
}

/// A name and a password as they came over the wire: bytes, unchecked.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// The user's name.
    pub name: Vec<u8>,
    /// The password, never printed.
    pub password: Vec<u8>,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials")
            .field("name", &String::from_utf8_lossy(&self.name))
            .finish_non_exhaustive()
    }
}

/// Why bytes are not what their dialect asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// No dialect begins with this byte.
    #[error("no known protocol begins with {first:#04x}")]
    Unrecognised {
        /// The byte.
        first: u8,
    },
    /// A SOCKS message with another version.
    #[error("SOCKS version {got:#04x}, not 0x05")]
    Version {
        /// The version byte.
        got: u8,
    },
    /// A username/password message with another version (RFC 1929 has 1).
    #[error("username/password version {got:#04x}, not 0x01")]
    PasswordVersion {
        /// The version byte.
        got: u8,
    },
    /// Neither CONNECT nor a command that we know of.
    #[error("SOCKS command {got:#04x} is not supported")]
    Command {
        /// The command byte.
        got: u8,
    },
    /// Neither IPv4, IPv6 nor a name.
    #[error("SOCKS address type {got:#04x} is not supported")]
    AddressType {
        /// The address type byte.
        got: u8,
    },
    /// Not a host.
    #[error("the host is empty, too long or not text")]
    Host,
    /// Not a port.
    #[error("the port is not a number from 1 to 65535")]
    Port,
    /// The line is not `host port user password` and CR LF.
    #[error("the line is not \"host port user password\" ended by CR LF")]
    Line,
    /// The line does not end where it must.
    #[error("the line is longer than {} bytes", line::MAX_LEN)]
    LineTooLong,
    /// An AUTH message that neither registers nor logs in.
    #[error("AUTH operation {got:#04x} is neither 0 (register) nor 1 (login)")]
    Operation {
        /// The operation byte.
        got: u8,
    },
    /// A datagram that ends inside its header.
    #[error("the datagram ends inside its header")]
    Truncated,
    /// A fragment of a datagram; fragments are dropped (RFC 1928, section 7).
    #[error("fragment {got:#04x} of a datagram")]
    Fragment {
        /// The fragment byte, not 0.
        got: u8,
    },
    /// An answer that the dialect does not have.
    #[error("the server's answer {got:#04x} means nothing")]
    Answer {
        /// The first byte that is wrong.
        got: u8,
    },
    /// An impossible PROXY protocol header.
    #[error("PROXY protocol: {0}")]
    ProxyV2(#[from] proxy_v2::Malformed),
    /// An impossible frame of the HTTPS relay.
    #[error("HTTPS relay: {0}")]
    HttpsRelay(#[from] https_relay::Malformed),
    /// An impossible HTTP message.
    #[error("HTTP: {0}")]
    Http(#[from] http::Malformed),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_addresses_where_they_can_be() {
        let address = |text: &str| Host::Address(text.parse().unwrap());
        assert_eq!(Host::parse(b"10.0.0.1"), Ok(address("10.0.0.1")));
        assert_eq!(Host::parse(b"::1"), Ok(address("::1")));
        assert_eq!(Host::parse(b"[::1]"), Ok(address("::1")));
        assert_eq!(
            Host::parse(b"a.example"),
            Ok(Host::Name("a.example".into()))
        );
        for bad in [
            &b""[..],
            b"a b",
            b"a\0",
            b"\xff",
            b"[a]",
            b"[10.0.0.1]",
            &[b'a'; 256],
        ] {
            assert_eq!(Host::parse(bad), Err(WireError::Host), "{bad:?}");
        }
    }

    #[test]
    fn a_password_is_never_printed() {
        let credentials = Credentials {
            name: b"al".to_vec(),
            password: b"secret".to_vec(),
        };
        assert!(!format!("{credentials:?}").contains("secret"));
    }
}
