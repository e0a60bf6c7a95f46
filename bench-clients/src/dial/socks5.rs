//! SOCKS version 5, the client's side.
//!
//! ```text
//! RFC 1928, 3   C->S  05 | nmethods | methods          S->C  05 | method
//! RFC 1929, 2   C->S  01 | ulen | user | plen | pass   S->C  01 | status, 00 is success
//! RFC 1928, 4   C->S  05 | 01 CONNECT | 00 | atyp | address | port
//! RFC 1928, 6   S->C  05 | reply | 00 | atyp | address | port
//! atyp          01 four bytes | 03 length, name | 04 sixteen bytes; port big-endian
//! ```

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
};

use super::{Credentials, Endpoint, Parsed};

const VERSION: u8 = 5;
const AUTHENTICATION_VERSION: u8 = 1;

/// How a proxy wants to know who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// 00: it does not.
    Nothing,
    /// 02: username and password.
    UsernamePassword,
}

/// Why a proxy did not connect (RFC 1928, section 6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// 01
    GeneralFailure,
    /// 02
    NotAllowed,
    /// 03
    NetworkUnreachable,
    /// 04
    HostUnreachable,
    /// 05
    ConnectionRefused,
    /// 06
    TtlExpired,
    /// 07
    CommandNotSupported,
    /// 08
    AddressTypeNotSupported,
    /// Anything else.
    Unassigned(u8),
}

/// A handshake that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Socks5Error {
    /// Not SOCKS5.
    #[error("the proxy answered with version {got:#04x}, not 0x05")]
    Version {
        /// The first byte.
        got: u8,
    },
    /// Method FF: it wants none of those offered.
    #[error("the proxy accepts none of the offered ways to authenticate")]
    NoAcceptableMethod,
    /// It chose what was not offered.
    #[error("the proxy chose method {got:#04x}, which was not offered")]
    MethodNotOffered {
        /// What it chose.
        got: u8,
    },
    /// Not RFC 1929.
    #[error("the proxy answered authentication with version {got:#04x}, not 0x01")]
    AuthenticationVersion {
        /// The first byte.
        got: u8,
    },
    /// Wrong name or password.
    #[error("the proxy refused user name or password (status {status:#04x})")]
    AuthenticationRefused {
        /// Not zero.
        status: u8,
    },
    /// It would not, or could not, connect.
    #[error("the proxy did not connect: {0}")]
    Refused(Refusal),
    /// An address of unknown kind.
    #[error("the proxy answered with address type {got:#04x}")]
    AddressType {
        /// Neither 01, 03 nor 04.
        got: u8,
    },
    /// A bound name that is not UTF-8.
    #[error("the proxy answered with a name that is not text")]
    Name,
    /// User, password or target name is empty or longer than a length byte can say.
    #[error("the {what} is {length} bytes long, not 1 to 255")]
    Length {
        /// Which.
        what: &'static str,
        /// Bytes.
        length: usize,
    },
}

/// Offers username and password if there are credentials, and nothing else then;
/// no authentication otherwise.
#[must_use]
pub const fn greeting(with_credentials: bool) -> [u8; 3] {
    [VERSION, 1, if with_credentials { 2 } else { 0 }]
}

/// Parses the proxy's choice.
///
/// # Errors
/// Another version, no acceptable method, one that this client cannot have offered.
pub fn method_choice(bytes: &[u8]) -> Result<Parsed<Method>, Socks5Error> {
    version(bytes)?;
    let [_, method, ..] = bytes else {
        return Ok(Parsed::Need(2 - bytes.len()));
    };
    match *method {
        0 => Ok(Parsed::Done(Method::Nothing)),
        2 => Ok(Parsed::Done(Method::UsernamePassword)),
        0xff => Err(Socks5Error::NoAcceptableMethod),
        got => Err(Socks5Error::MethodNotOffered { got }),
    }
}

/// The request of RFC 1929.
///
/// # Errors
/// A name or password that is empty or longer than 255 bytes.
pub fn authentication(credentials: &Credentials) -> Result<Vec<u8>, Socks5Error> {
    let mut bytes = vec![AUTHENTICATION_VERSION];
    push_counted(&mut bytes, "user name", &credentials.user)?;
    push_counted(&mut bytes, "password", &credentials.password)?;
    Ok(bytes)
}

/// Parses the answer of RFC 1929.
///
/// # Errors
/// Another version, or a refusal.
pub fn authentication_reply(bytes: &[u8]) -> Result<Parsed<()>, Socks5Error> {
    match *bytes {
        [] => Ok(Parsed::Need(2)),
        [got, ..] if got != AUTHENTICATION_VERSION => {
            Err(Socks5Error::AuthenticationVersion { got })
        }
        [_] => Ok(Parsed::Need(1)),
        [_, 0, ..] => Ok(Parsed::Done(())),
        [_, status, ..] => Err(Socks5Error::AuthenticationRefused { status }),
    }
}

/// A CONNECT request; a name is left to the proxy to resolve.
///
/// # Errors
/// A name that is empty or longer than 255 bytes.
pub fn connect_request(target: &Endpoint) -> Result<Vec<u8>, Socks5Error> {
    let mut bytes = vec![VERSION, 1, 0];
    match target {
        Endpoint::Address(SocketAddr::V4(v4)) => {
            bytes.push(1);
            bytes.extend(v4.ip().octets());
        }
        Endpoint::Address(SocketAddr::V6(v6)) => {
            bytes.push(4);
            bytes.extend(v6.ip().octets());
        }
        Endpoint::Name(name, _) => {
            bytes.push(3);
            push_counted(&mut bytes, "target's name", name)?;
        }
    }
    bytes.extend(target.port().to_be_bytes());
    Ok(bytes)
}

/// Parses the answer to a request: the address that the proxy bound.
///
/// # Errors
/// Another version, a refusal, an unknown kind of address.
pub fn connect_reply(bytes: &[u8]) -> Result<Parsed<Endpoint>, Socks5Error> {
    version(bytes)?;
    if let Some(&code) = bytes.get(1)
        && code != 0
    {
        return Err(Socks5Error::Refused(Refusal::from_code(code)));
    }
    let (head, rest) = bytes.split_at(bytes.len().min(4));
    // The shortest form that can still follow, so that nothing behind is read.
    let missing = match *head {
        [_, _, _, 1] => (4 + 2_usize).saturating_sub(rest.len()),
        [_, _, _, 4] => (16 + 2_usize).saturating_sub(rest.len()),
        [_, _, _, 3] => match rest.first() {
            Some(&length) => (1 + usize::from(length) + 2).saturating_sub(rest.len()),
            None => 1,
        },
        [_, _, _, got] => return Err(Socks5Error::AddressType { got }),
        // The verdict first: a proxy may send no more than that.
        [] | [_] => 2 - head.len(),
        _ => 4 - head.len(),
    };
    if missing > 0 {
        return Ok(Parsed::Need(missing));
    }
    bound(head[3], rest).map(Parsed::Done)
}

/// The address in `rest`, which is complete.
fn bound(kind: u8, rest: &[u8]) -> Result<Endpoint, Socks5Error> {
    let (host, port) = rest.split_at(rest.len() - 2);
    let port = u16::from_be_bytes([port[0], port[1]]);
    let ip: IpAddr = if let Ok(octets) = <[u8; 4]>::try_from(host)
        && kind == 1
    {
        Ipv4Addr::from(octets).into()
    } else if let Ok(octets) = <[u8; 16]>::try_from(host)
        && kind == 4
    {
        Ipv6Addr::from(octets).into()
    } else {
        let name = std::str::from_utf8(&host[1..]).map_err(|_| Socks5Error::Name)?;
        return Ok(Endpoint::Name(name.to_owned(), port));
    };
    Ok(Endpoint::Address(SocketAddr::new(ip, port)))
}

fn version(bytes: &[u8]) -> Result<(), Socks5Error> {
    match bytes.first() {
        Some(&got) if got != VERSION => Err(Socks5Error::Version { got }),
        _ => Ok(()),
    }
}

fn push_counted(bytes: &mut Vec<u8>, what: &'static str, text: &str) -> Result<(), Socks5Error> {
    let length = text.len();
    match u8::try_from(length) {
        Ok(count @ 1..) => bytes.push(count),
        _ => return Err(Socks5Error::Length { what, length }),
    }
    bytes.extend(text.as_bytes());
    Ok(())
}

impl Refusal {
    const fn from_code(code: u8) -> Self {
        match code {
            1 => Self::GeneralFailure,
            2 => Self::NotAllowed,
            3 => Self::NetworkUnreachable,
            4 => Self::HostUnreachable,
            5 => Self::ConnectionRefused,
            6 => Self::TtlExpired,
            7 => Self::CommandNotSupported,
            8 => Self::AddressTypeNotSupported,
            other => Self::Unassigned(other),
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::GeneralFailure => "general failure",
            Self::NotAllowed => "not allowed by its rules",
            Self::NetworkUnreachable => "network unreachable",
            Self::HostUnreachable => "host unreachable",
            Self::ConnectionRefused => "connection refused by the target",
            Self::TtlExpired => "TTL expired",
            Self::CommandNotSupported => "command not supported",
            Self::AddressTypeNotSupported => "address type not supported",
            Self::Unassigned(code) => return write!(f, "reply {code:#04x}"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Feeds `bytes` in the pieces that the parser asks for; returns the answer and
    /// how many bytes it took.
    fn feed<T>(
        bytes: &[u8],
        parse: fn(&[u8]) -> Result<Parsed<T>, Socks5Error>,
    ) -> Result<(T, usize), Socks5Error> {
        let mut have = 0;
        loop {
            match parse(&bytes[..have])? {
                Parsed::Done(answer) => return Ok((answer, have)),
                Parsed::Need(0) => panic!("needs nothing and is not done"),
                Parsed::Need(more) => {
                    // Single bytes in between end nothing but what is wrong already.
                    for cut in have + 1..have + more {
                        match parse(&bytes[..cut])? {
                            Parsed::Need(n) => assert_eq!(cut + n, have + more),
                            Parsed::Done(_) => panic!("done before its end"),
                        }
                    }
                    have += more;
                }
            }
        }
    }

    fn credentials(user: &str, password: &str) -> Credentials {
        Credentials {
            user: user.to_owned(),
            password: password.to_owned(),
        }
    }

    #[test]
    fn greets_with_exactly_what_it_can_do() {
        assert_eq!(greeting(true), [5, 1, 2]);
        assert_eq!(greeting(false), [5, 1, 0]);
    }

    #[test]
    fn reads_the_choice_and_not_a_byte_more() {
        let choice = |bytes| feed(bytes, method_choice);
        assert_eq!(choice(&[5, 2, 1, 0]), Ok((Method::UsernamePassword, 2)));
        assert_eq!(choice(&[5, 0]), Ok((Method::Nothing, 2)));
        assert_eq!(choice(&[5, 0xff]), Err(Socks5Error::NoAcceptableMethod));
        assert_eq!(
            choice(&[5, 1]),
            Err(Socks5Error::MethodNotOffered { got: 1 })
        );
        assert_eq!(choice(b"HTTP"), Err(Socks5Error::Version { got: b'H' }));
    }

    #[test]
    fn writes_name_and_password_with_their_lengths() {
        assert_eq!(
            authentication(&credentials("ann", "pw")).unwrap(),
            b"\x01\x03ann\x02pw"
        );
        let long = "x".repeat(255);
        let bytes = authentication(&credentials(&long, &long)).unwrap();
        assert_eq!((bytes.len(), bytes[1], bytes[257]), (513, 255, 255));
        for (user, password, what) in [
            ("", "pw", "user name"),
            ("ann", "", "password"),
            (&"x".repeat(256), "pw", "user name"),
        ] {
            let error = authentication(&credentials(user, password)).unwrap_err();
            assert!(matches!(error, Socks5Error::Length { what: w, .. } if w == what));
        }
    }

    #[test]
    fn reads_the_verdict_on_them() {
        let verdict = |bytes| feed(bytes, authentication_reply);
        assert_eq!(verdict(&[1, 0, 5]), Ok(((), 2)));
        let refused = Socks5Error::AuthenticationRefused { status: 1 };
        assert_eq!(verdict(&[1, 1]), Err(refused));
        assert_eq!(
            verdict(&[5, 0]),
            Err(Socks5Error::AuthenticationVersion { got: 5 })
        );
    }

    #[test]
    fn writes_all_three_kinds_of_target() {
        let request = |host, port| connect_request(&Endpoint::new(host, port)).unwrap();
        assert_eq!(request("127.0.0.1", 80), [5, 1, 0, 1, 127, 0, 0, 1, 0, 80]);
        assert_eq!(
            request("example.org", 443),
            b"\x05\x01\x00\x03\x0bexample.org\x01\xbb"
        );
        let v6 = request("::1", 9090);
        assert_eq!(v6[..4], [5, 1, 0, 4]);
        assert_eq!(v6[4..20], Ipv6Addr::LOCALHOST.octets());
        assert_eq!(v6[20..], [0x23, 0x82]);
        assert!(connect_request(&Endpoint::Name("x".repeat(256), 1)).is_err());
        assert!(connect_request(&Endpoint::Name(String::new(), 1)).is_err());
    }

    #[test]
    fn reads_all_three_kinds_of_bound_address_and_leaves_what_follows() {
        let reply = |bytes| feed(bytes, connect_reply);
        let v4 = [
            5, 0, 0, 1, 10, 0, 0, 1, 0x1f, 0x90, b'e', b'a', b'r', b'l', b'y',
        ];
        assert_eq!(reply(&v4), Ok((Endpoint::new("10.0.0.1", 8080), 10)));
        let mut v6 = vec![5, 0, 0, 4];
        v6.extend(Ipv6Addr::LOCALHOST.octets());
        v6.extend([0, 1, b'e']);
        assert_eq!(reply(&v6), Ok((Endpoint::new("::1", 1), 22)));
        let name = b"\x05\x00\x00\x03\x05proxy\x00\x07early";
        assert_eq!(reply(name), Ok((Endpoint::new("proxy", 7), 12)));
        assert_eq!(
            reply(b"\x05\x00\x00\x03\x00\x00\x07"),
            Ok((Endpoint::new("", 7), 7))
        );
    }

    #[test]
    fn tells_the_refusals_apart() {
        for (code, refusal) in [
            (1, Refusal::GeneralFailure),
            (2, Refusal::NotAllowed),
            (3, Refusal::NetworkUnreachable),
            (4, Refusal::HostUnreachable),
            (5, Refusal::ConnectionRefused),
            (6, Refusal::TtlExpired),
            (7, Refusal::CommandNotSupported),
            (8, Refusal::AddressTypeNotSupported),
            (9, Refusal::Unassigned(9)),
        ] {
            let bytes = [5, code, 0, 1, 0, 0, 0, 0, 0, 0];
            assert_eq!(connect_reply(&bytes), Err(Socks5Error::Refused(refusal)));
        }
        // A proxy that cuts the answer short after the code has still answered.
        let refused = Socks5Error::Refused(Refusal::NotAllowed);
        assert_eq!(connect_reply(&[5, 2]), Err(refused));
    }

    #[test]
    fn what_is_not_socks5_is_an_error_not_a_wait() {
        assert_eq!(connect_reply(b"H"), Err(Socks5Error::Version { got: b'H' }));
        let odd = [5, 0, 0, 2];
        assert_eq!(
            connect_reply(&odd),
            Err(Socks5Error::AddressType { got: 2 })
        );
        let name = [5, 0, 0, 3, 1, 0xff, 0, 1];
        assert_eq!(connect_reply(&name), Err(Socks5Error::Name));
    }

    #[test]
    fn no_bytes_panic() {
        for first in 0..=255 {
            for second in 0..=255 {
                let mut bytes = vec![first, second, 0, second, first];
                bytes.resize(4 + usize::from(second), first);
                for cut in 0..bytes.len().min(24) {
                    let _ = method_choice(&bytes[..cut]);
                    let _ = authentication_reply(&bytes[..cut]);
                    let _ = connect_reply(&bytes[..cut]);
                }
            }
        }
    }
}
