//! The text form of a way to a target.

use std::fmt;
use std::str::FromStr;

use super::{Credentials, Endpoint, Via};

/// A proxy written wrongly. It never repeats a password.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ViaError {
    /// No known scheme.
    #[error(
        "write a proxy as socks5://USER:PASSWORD@HOST:PORT, http://, tcp://, line:// or ss://METHOD:PASSWORD@HOST:PORT likewise"
    )]
    Scheme,
    /// Not `HOST:PORT`. What was given is not repeated: a password may be in it.
    #[error("an address is HOST:PORT, an IPv6 address stands in brackets as in [::1]:1080")]
    Address,
    /// Neither the line handshake nor shadowsocks knows users without a password.
    #[error(
        "the line handshake and shadowsocks need USER:PASSWORD@ or METHOD:PASSWORD@ before the host"
    )]
    CredentialsMissing,
    /// A forwarder asks for none.
    #[error("a plain forwarder knows no users: write tcp://HOST:PORT")]
    CredentialsUnused,
    /// A bad `%XX`.
    #[error("a % in user name or password must be followed by two hexadecimal digits, %25 is a %")]
    Escape,
}

impl FromStr for Via {
    type Err = ViaError;

    fn from_str(text: &str) -> Result<Self, ViaError> {
        if text == "direct" {
            return Ok(Self::Direct);
        }
        let (scheme, rest) = text.split_once("://").ok_or(ViaError::Scheme)?;
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        let (credentials, address) = match rest.rsplit_once('@') {
            Some((before, address)) => (Some(credentials(before)?), address),
            None => (None, rest),
        };
        let proxy = || address.parse();
        match scheme {
            "socks5" | "socks5h" => Ok(Self::Socks5 {
                proxy: proxy()?,
                credentials,
            }),
            "line" => Ok(Self::Line {
                proxy: proxy()?,
                credentials: credentials.ok_or(ViaError::CredentialsMissing)?,
            }),
            "ss" => Ok(Self::Shadowsocks {
                proxy: proxy()?,
                credentials: credentials.ok_or(ViaError::CredentialsMissing)?,
            }),
            "http" => Ok(Self::Http {
                proxy: proxy()?,
                credentials,
            }),
            "tcp" if credentials.is_some() => Err(ViaError::CredentialsUnused),
            "tcp" => Ok(Self::Forward { proxy: proxy()? }),
            _ => Err(ViaError::Scheme),
        }
    }
}

impl fmt::Display for Via {
    /// As [`FromStr`] reads it, without the password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (scheme, credentials) = match self {
            Self::Direct => return f.write_str("direct"),
            Self::Socks5 { credentials, .. } => ("socks5", credentials.as_ref()),
            Self::Http { credentials, .. } => ("http", credentials.as_ref()),
            Self::Line { credentials, .. } => ("line", Some(credentials)),
            Self::Shadowsocks { credentials, .. } => ("ss", Some(credentials)),
            Self::Forward { .. } => ("tcp", None),
        };
        write!(f, "{scheme}://")?;
        if let Some(credentials) = credentials {
            for byte in credentials.user.bytes() {
                if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
                    write!(f, "{}", char::from(byte))?;
                } else {
                    write!(f, "%{byte:02X}")?;
                }
            }
            f.write_str("@")?;
        }
        match self.proxy() {
            Some(proxy) => proxy.fmt(f),
            None => Ok(()),
        }
    }
}

impl Via {
    /// The same way with another password: one that is not written where others can
    /// read it. Nothing changes where there is no user.
    #[must_use]
    pub fn with_password(mut self, password: String) -> Self {
        match &mut self {
            Self::Socks5 {
                credentials: Some(credentials),
                ..
            }
            | Self::Http {
                credentials: Some(credentials),
                ..
            }
            | Self::Line { credentials, .. }
            | Self::Shadowsocks { credentials, .. } => credentials.password = password,
            Self::Direct | Self::Socks5 { .. } | Self::Http { .. } | Self::Forward { .. } => {}
        }
        self
    }

    /// Whether there is a user without a password.
    #[must_use]
    pub fn wants_password(&self) -> bool {
        match self {
            Self::Socks5 { credentials, .. } | Self::Http { credentials, .. } => credentials
                .as_ref()
                .is_some_and(|credentials| credentials.password.is_empty()),
            Self::Line { credentials, .. } | Self::Shadowsocks { credentials, .. } => {
                credentials.password.is_empty()
            }
            Self::Direct | Self::Forward { .. } => false,
        }
    }
}

impl FromStr for Endpoint {
    type Err = ViaError;

    /// `HOST:PORT`; an IPv6 address stands in brackets.
    fn from_str(text: &str) -> Result<Self, ViaError> {
        let bad = || ViaError::Address;
        if let Ok(address) = text.parse() {
            return Ok(Self::Address(address));
        }
        let (host, port) = text.rsplit_once(':').ok_or_else(bad)?;
        let port = port.parse().map_err(|_| bad())?;
        if host.is_empty() || host.contains(|c: char| "[]:/@".contains(c) || c.is_whitespace()) {
            return Err(bad());
        }
        Ok(Self::Name(host.to_owned(), port))
    }
}

/// `USER[:PASSWORD]`.
fn credentials(text: &str) -> Result<Credentials, ViaError> {
    let (user, password) = text.split_once(':').unwrap_or((text, ""));
    Ok(Credentials {
        user: unescape(user)?,
        password: unescape(password)?,
    })
}

/// Replaces `%XX` (RFC 3986, section 2.1).
fn unescape(text: &str) -> Result<String, ViaError> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut parts = text.split('%');
    bytes.extend(parts.next().unwrap_or_default().as_bytes());
    for part in parts {
        let (digits, rest) = part.split_at_checked(2).ok_or(ViaError::Escape)?;
        if !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(ViaError::Escape);
        }
        bytes.push(u8::from_str_radix(digits, 16).map_err(|_| ViaError::Escape)?);
        bytes.extend(rest.as_bytes());
    }
    String::from_utf8(bytes).map_err(|_| ViaError::Escape)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_every_form() {
        let ann = |password: &str| Credentials {
            user: "ann".to_owned(),
            password: password.to_owned(),
        };
        let socks = |proxy: &str, credentials| Via::Socks5 {
            proxy: proxy.parse().unwrap(),
            credentials,
        };
        for (text, via) in [
            ("direct", Via::Direct),
            ("socks5://h:1", socks("h:1", None)),
            ("socks5h://h:1/", socks("h:1", None)),
            (
                "socks5://ann:p%40%25:x@[::1]:1080",
                socks("[::1]:1080", Some(ann("p@%:x"))),
            ),
            (
                "socks5://ann@127.0.0.1:1",
                socks("127.0.0.1:1", Some(ann(""))),
            ),
            (
                "line://ann:pw@h:8889",
                Via::Line {
                    proxy: Endpoint::new("h", 8889),
                    credentials: ann("pw"),
                },
            ),
        ] {
            assert_eq!(text.parse(), Ok(via), "{text}");
        }
    }

    #[test]
    fn writes_what_it_reads_but_for_passwords() {
        for (text, written) in [
            ("direct", "direct"),
            ("tcp://h:1/", "tcp://h:1"),
            ("http://h:1", "http://h:1"),
            ("socks5h://a%40b:secret@[::1]:1", "socks5://a%40b@[::1]:1"),
            ("line://ann:secret@h:1", "line://ann@h:1"),
        ] {
            let via: Via = text.parse().unwrap();
            assert_eq!(via.to_string(), written);
            let again: Via = written.parse().unwrap();
            assert_eq!(again.with_password("secret".to_owned()), via);
        }
    }

    #[test]
    fn says_what_is_wrong_and_keeps_the_password_to_itself() {
        for text in [
            "",
            "h:1",
            "https://ann:secret@h:1",
            "tcp://ann:secret@h:1",
            "socks5://ann:secret@h",
            "socks5://ann:secret:h:1",
            "socks5://ann:secret@h:70000",
            "socks5://ann:secret@::1:1",
            "socks5://ann:secret@:1",
            "socks5://ann:secret%4@h:1",
            "socks5://ann:secret%+4@h:1",
            "socks5://ann:secret%ff@h:1",
            "line://h:1",
        ] {
            let error = text.parse::<Via>().unwrap_err().to_string();
            assert!(!error.contains("secret"), "{error}");
        }
        let via: Via = "socks5://ann:secret@h:1".parse().unwrap();
        assert!(!format!("{via:?}").contains("secret"));
    }

    #[test]
    fn takes_a_password_from_elsewhere() {
        let via: Via = "line://ann@h:1".parse().unwrap();
        assert_eq!(
            via.with_password("pw".to_owned()),
            "line://ann:pw@h:1".parse().unwrap()
        );
        assert_eq!(Via::Direct.with_password("pw".to_owned()), Via::Direct);
    }
}
