//! SOCKS5 (RFC 1928) with username/password authentication (RFC 1929).
//!
//! ```text
//! greeting   05 | n | methods[n]                         -> 05 | method (02, or FF: none of them)
//! password   01 | n | name[n] | m | password[m]          -> 01 | status (00, or 01 and close)
//! request    05 | command | 00 | type | address | port   -> 05 | code | 00 | type | bound address | port
//! type       01 IPv4 (4) | 03 name (length byte first) | 04 IPv6 (16); ports are big-endian
//! ```
//!
//! Commands are CONNECT (01) and UDP ASSOCIATE (03), whose datagrams are in
//! [`socks5_udp`](super::socks5_udp). Whoever serves accounts accepts method 02
//! alone: nobody is served without a password. A refusal of the request
//! carries the unspecified address.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use super::cursor::Cursor;
use super::{Credentials, Target, WireError};

pub(super) mod address;

/// The version byte of greeting, request and reply.
pub const VERSION: u8 = 5;
/// The answer that selects username/password.
pub const METHOD_PASSWORD: [u8; 2] = [VERSION, PASSWORD];
/// The answer that lets a client in without a password: for a local proxy only.
pub const METHOD_FREE: [u8; 2] = [VERSION, FREE];
/// The answer to a client whose methods are all refused.
pub const METHOD_NONE: [u8; 2] = [VERSION, 0xff];
/// The answer to the right password.
pub const PASSWORD_RIGHT: [u8; 2] = [PASSWORD_VERSION, 0];
/// The answer to a wrong password and to an unknown name alike.
pub const PASSWORD_WRONG: [u8; 2] = [PASSWORD_VERSION, 1];

const FREE: u8 = 0;
const PASSWORD: u8 = 2;
const PASSWORD_VERSION: u8 = 1;

/// What a client offers first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Greeting {
    /// Whether username/password is among the methods.
    pub offers_password: bool,
    /// Whether "no authentication" is among the methods.
    pub offers_free: bool,
}

/// Parses a greeting (RFC 1928, section 3).
///
/// # Errors
/// [`WireError::Version`] if it is not SOCKS5.
pub fn greeting(bytes: &[u8]) -> Result<Option<(Greeting, usize)>, WireError> {
    let mut cursor = Cursor(bytes);
    expect_version(&mut cursor)?;
    let Some(methods) = cursor.counted() else {
        return Ok(None);
    };
    let greeting = Greeting {
        offers_password: methods.contains(&PASSWORD),
        offers_free: methods.contains(&FREE),
    };
    Ok(Some((greeting, cursor.used(bytes))))
}

/// Parses a username/password message (RFC 1929, section 2).
///
/// An empty name or password is let through: it is wrong, not malformed.
///
/// # Errors
/// [`WireError::PasswordVersion`] if the version is not 1.
pub fn credentials(bytes: &[u8]) -> Result<Option<(Credentials, usize)>, WireError> {
    let mut cursor = Cursor(bytes);
    if let Some(got) = cursor.byte().filter(|&got| got != PASSWORD_VERSION) {
        return Err(WireError::PasswordVersion { got });
    }
    let (Some(name), Some(password)) = (cursor.counted(), cursor.counted()) else {
        return Ok(None);
    };
    let credentials = Credentials {
        name: name.to_vec(),
        password: password.to_vec(),
    };
    Ok(Some((credentials, cursor.used(bytes))))
}

/// What a client asks for (RFC 1928, section 4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Command {
    /// A stream to the target.
    Connect = 1,
    /// Datagrams through the proxy; the target is where the client will send
    /// them from, often unspecified.
    UdpAssociate = 3,
}

/// A request (RFC 1928, section 4).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// What to do.
    pub command: Command,
    /// With what.
    pub target: Target,
}

/// Parses a request (RFC 1928, section 4): where to CONNECT.
///
/// # Errors
/// As [`request_among`], every other command refused.
pub fn request(bytes: &[u8]) -> Result<Option<(Target, usize)>, WireError> {
    let whole = request_among(bytes, &[Command::Connect])?;
    Ok(whole.map(|(request, used)| (request.target, used)))
}

/// Parses a request (RFC 1928, section 4) with one of the `accepted` commands.
///
/// # Errors
/// [`WireError`] for another version, command or address type, and for a name
/// that is none; [`Code::of`] says what to answer. The reserved byte is not judged.
pub fn request_among(
    bytes: &[u8],
    accepted: &[Command],
) -> Result<Option<(Request, usize)>, WireError> {
    let mut cursor = Cursor(bytes);
    expect_version(&mut cursor)?;
    let Some(got) = cursor.byte() else {
        return Ok(None);
    };
    let command = accepted.iter().copied().find(|&known| known as u8 == got);
    let command = command.ok_or(WireError::Command { got })?;
    let _reserved = cursor.byte();
    let target = address::read(&mut cursor)?;
    Ok(target.map(|target| (Request { command, target }, cursor.used(bytes))))
}

/// Reply codes (RFC 1928, section 6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Code {
    /// Connected.
    Succeeded = 0,
    /// Nothing more exact can be said.
    GeneralFailure = 1,
    /// The rules forbid the target.
    NotAllowed = 2,
    /// No route to the target's network.
    NetworkUnreachable = 3,
    /// No such host, or no answer from it.
    HostUnreachable = 4,
    /// The target refused.
    ConnectionRefused = 5,
    /// A packet was forwarded too often.
    TtlExpired = 6,
    /// A command that is not served, BIND among them.
    CommandNotSupported = 7,
    /// An address type other than 1, 3 and 4.
    AddressTypeNotSupported = 8,
}

impl Code {
    /// The code that a server sent; what no RFC knows is a general failure.
    #[must_use]
    pub const fn from_byte(byte: u8) -> Self {
        match byte {
            0 => Self::Succeeded,
            2 => Self::NotAllowed,
            3 => Self::NetworkUnreachable,
            4 => Self::HostUnreachable,
            5 => Self::ConnectionRefused,
            6 => Self::TtlExpired,
            7 => Self::CommandNotSupported,
            8 => Self::AddressTypeNotSupported,
            _ => Self::GeneralFailure,
        }
    }

    /// What to answer to a request that does not parse.
    #[must_use]
    pub const fn of(error: WireError) -> Self {
        match error {
            WireError::Command { .. } => Self::CommandNotSupported,
            WireError::AddressType { .. } => Self::AddressTypeNotSupported,
            _ => Self::GeneralFailure,
        }
    }
}

/// The server's answer to a request. `bound` is its own address towards the
/// target; with any code but [`Code::Succeeded`], [`UNBOUND`].
#[must_use]
pub fn reply(code: Code, bound: SocketAddr) -> Vec<u8> {
    let mut reply = vec![VERSION, code as u8, 0];
    address::write(&mut reply, bound);
    reply
}

/// The address of a refusal.
pub const UNBOUND: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);

fn expect_version(cursor: &mut Cursor<'_>) -> Result<(), WireError> {
    match cursor.byte() {
        Some(got) if got != VERSION => Err(WireError::Version { got }),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::testing::settled;
    use proptest::prelude::*;
    use std::net::Ipv6Addr;

    #[test]
    fn greetings() {
        let offers = |offers_password, offers_free| Greeting {
            offers_password,
            offers_free,
        };
        assert_eq!(greeting(&[5, 2, 0, 2]), Ok(Some((offers(true, true), 4))));
        assert_eq!(greeting(&[5, 1, 0]), Ok(Some((offers(false, true), 3))));
        assert_eq!(greeting(&[5, 0]), Ok(Some((offers(false, false), 2))));
        assert_eq!(
            greeting(&[5, 1, 2, 1, 9]),
            Ok(Some((offers(true, false), 3))),
            "the password is pipelined"
        );
        assert_eq!(greeting(&[5, 2, 2]), Ok(None));
        assert_eq!(greeting(&[4, 1]), Err(WireError::Version { got: 4 }));
    }

    #[test]
    fn passwords() {
        let expected = Credentials {
            name: b"al".to_vec(),
            password: b"pw\xff".to_vec(),
        };
        assert_eq!(
            credentials(b"\x01\x02al\x03pw\xff\x05"),
            Ok(Some((expected, 8)))
        );
        let empty = Credentials {
            name: Vec::new(),
            password: Vec::new(),
        };
        assert_eq!(credentials(&[1, 0, 0]), Ok(Some((empty, 3))));
        assert_eq!(
            credentials(&[5, 0, 0]),
            Err(WireError::PasswordVersion { got: 5 })
        );
        let mut longest = vec![1, 255];
        longest.extend([b'a'; 255]);
        longest.push(255);
        longest.extend([b'b'; 254]);
        assert_eq!(credentials(&longest), Ok(None));
        longest.push(b'b');
        assert_eq!(credentials(&longest).unwrap().unwrap().1, 513);
    }

    #[test]
    fn requests() {
        let target = |bytes: &[u8]| {
            request(bytes).map(|whole| whole.map(|(target, used)| (target.to_string(), used)))
        };
        assert_eq!(
            target(&[5, 1, 0, 1, 127, 0, 0, 1, 0, 80]),
            Ok(Some(("127.0.0.1:80".into(), 10)))
        );
        assert_eq!(
            target(b"\x05\x01\x00\x03\x09a.example\x01\xbbGET"),
            Ok(Some(("a.example:443".into(), 16)))
        );
        let mut v6 = vec![5, 1, 0, 4];
        v6.extend(Ipv6Addr::LOCALHOST.octets());
        v6.extend([0, 80]);
        assert_eq!(target(&v6), Ok(Some(("[::1]:80".into(), 22))));
        assert_eq!(
            target(b"\x05\x01\x00\x03\x09127.0.0.1\x00\x50"),
            Ok(Some(("127.0.0.1:80".into(), 16))),
            "an address as a name is an address"
        );
    }

    #[test]
    fn commands_are_those_that_are_accepted() {
        let both = [Command::Connect, Command::UdpAssociate];
        let udp = [5, 3, 0, 1, 0, 0, 0, 0, 0, 0];
        let (request, used) = request_among(&udp, &both).unwrap().unwrap();
        assert_eq!((request.command, used), (Command::UdpAssociate, 10));
        assert_eq!(request.target.to_string(), "0.0.0.0:0");
        assert_eq!(
            request_among(&[5, 2], &both),
            Err(WireError::Command { got: 2 })
        );
        assert_eq!(
            request_among(&[5, 1], &[]),
            Err(WireError::Command { got: 1 })
        );
    }

    #[test]
    fn codes_keep_their_numbers() {
        for byte in 0..=8 {
            assert_eq!(Code::from_byte(byte) as u8, byte);
        }
        assert_eq!(Code::from_byte(9), Code::GeneralFailure);
        assert_eq!(Code::from_byte(0xff), Code::GeneralFailure);
    }

    #[test]
    fn refusals_have_their_codes() {
        let code = |bytes: &[u8]| request(bytes).map_err(Code::of).unwrap_err();
        assert_eq!(code(&[5, 2]), Code::CommandNotSupported);
        assert_eq!(code(&[5, 3]), Code::CommandNotSupported);
        assert_eq!(code(&[5, 0x7f]), Code::CommandNotSupported);
        assert_eq!(code(&[5, 1, 0, 2]), Code::AddressTypeNotSupported);
        assert_eq!(code(&[5, 1, 0, 0]), Code::AddressTypeNotSupported);
        assert_eq!(code(&[5, 1, 0, 3, 0, 0, 80]), Code::GeneralFailure);
        assert_eq!(code(&[4, 1]), Code::GeneralFailure);
    }

    #[test]
    fn replies_byte_for_byte() {
        assert_eq!(
            reply(Code::Succeeded, "10.1.2.3:258".parse().unwrap()),
            [5, 0, 0, 1, 10, 1, 2, 3, 1, 2]
        );
        assert_eq!(
            reply(Code::ConnectionRefused, UNBOUND),
            [5, 5, 0, 1, 0, 0, 0, 0, 0, 0]
        );
        let v6 = reply(Code::Succeeded, "[::1]:1".parse().unwrap());
        assert_eq!(
            (v6.len(), v6.get(..4), v6.get(19..)),
            (22, Some(&[5, 0, 0, 4][..]), Some(&[1, 0, 1][..]))
        );
    }

    fn bytes() -> impl Strategy<Value = Vec<u8>> {
        let small = prop_oneof![4 => 0u8..8, 1 => any::<u8>()];
        let start = prop_oneof![
            Just(vec![]),
            Just(vec![5, 1, 0]),
            Just(vec![5, 1, 0, 3]),
            Just(vec![1])
        ];
        (start, proptest::collection::vec(small, 0..40))
            .prop_map(|(start, rest)| [start, rest].concat())
    }

    proptest! {
        #[test]
        fn splits_do_not_matter(bytes in bytes()) {
            settled(greeting, &bytes);
            settled(credentials, &bytes);
            settled(request, &bytes);
            settled(|bytes| request_among(bytes, &[Command::Connect, Command::UdpAssociate]), &bytes);
        }

        #[test]
        fn round_trip(name in proptest::collection::vec(any::<u8>(), 0..256), password in proptest::collection::vec(any::<u8>(), 0..256)) {
            let mut bytes = vec![1, u8::try_from(name.len()).unwrap()];
            bytes.extend(&name);
            bytes.push(u8::try_from(password.len()).unwrap());
            bytes.extend(&password);
            let whole = bytes.len();
            bytes.push(5);
            prop_assert_eq!(credentials(&bytes), Ok(Some((Credentials { name, password }, whole))));
        }
    }
}
