//! The AUTH/TARGET dialect of seed 000.
//!
//! ```text
//! client: AUTH    op | n | name[n] | m | password[m]      op 00 register, 01 login
//! server: reply   00 registered | 01 logged in | 02 no such user | 0A wrong password
//! client: TARGET  n | address[n] | port | m | user[m]     after reply 01, on the same connection
//! server: nothing; from here on raw bytes both ways
//! ```
//!
//! Lengths are single bytes, the port is big-endian and not 0, the address is a
//! name or an address as text. There is no reply where the dialect has none:
//! to an operation other than 0 and 1, to the registration of a name that is
//! taken or where nobody may register, to a TARGET that cannot be served. The
//! server closes instead.
//!
//! Names and passwords are bytes: a name must be UTF-8 to exist, a password
//! need not be. TARGET's user must be the one who logged in, byte for byte
//! ([`TargetRequest::is_of`]); whoever serves it checks that before it dials.

use super::cursor::Cursor;
use super::{Credentials, Host, Target, WireError};

/// What an AUTH message asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Operation {
    /// A new account.
    Register = 0,
    /// Admission to an account that is there.
    Login = 1,
}

impl Operation {
    fn from_byte(got: u8) -> Result<Self, WireError> {
        match got {
            0 => Ok(Self::Register),
            1 => Ok(Self::Login),
            _ => Err(WireError::Operation { got }),
        }
    }
}

/// An AUTH message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Auth {
    /// What to do.
    pub operation: Operation,
    /// For whom.
    pub credentials: Credentials,
}

/// Parses an AUTH message.
///
/// An empty name or password is let through: it is wrong, not malformed.
///
/// # Errors
/// [`WireError::Operation`] as soon as the first byte is neither 0 nor 1.
pub fn auth(bytes: &[u8]) -> Result<Option<(Auth, usize)>, WireError> {
    let mut cursor = Cursor(bytes);
    let Some(operation) = cursor.byte().map(Operation::from_byte).transpose()? else {
        return Ok(None);
    };
    let (Some(name), Some(password)) = (cursor.counted(), cursor.counted()) else {
        return Ok(None);
    };
    let credentials = Credentials {
        name: name.to_vec(),
        password: password.to_vec(),
    };
    let auth = Auth {
        operation,
        credentials,
    };
    Ok(Some((auth, cursor.used(bytes))))
}

/// The one byte that answers an AUTH message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Reply {
    /// The account is made; the client logs in on another connection.
    Registered = 0,
    /// TARGET may follow.
    LoggedIn = 1,
    /// No such user.
    UnknownUser = 2,
    /// Not this user's password.
    WrongPassword = 10,
}

impl Reply {
    /// The reply on the wire.
    #[must_use]
    pub const fn bytes(self) -> [u8; 1] {
        [self as u8]
    }
}

/// A TARGET message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TargetRequest {
    /// Where to.
    pub target: Target,
    /// On whose account, as the client claims.
    pub user: Vec<u8>,
}

impl TargetRequest {
    /// Whether it claims the account of `name`, who has logged in.
    #[must_use]
    pub fn is_of(&self, name: &[u8]) -> bool {
        self.user == name
    }
}

/// Parses a TARGET message.
///
/// # Errors
/// [`WireError::Host`] for an address that is none, [`WireError::Port`] for port 0.
pub fn target(bytes: &[u8]) -> Result<Option<(TargetRequest, usize)>, WireError> {
    let mut cursor = Cursor(bytes);
    let Some(host) = cursor.counted().map(Host::parse).transpose()? else {
        return Ok(None);
    };
    let Some(port) = cursor.u16() else {
        return Ok(None);
    };
    if port == 0 {
        return Err(WireError::Port);
    }
    let Some(user) = cursor.counted() else {
        return Ok(None);
    };
    let request = TargetRequest {
        target: Target { host, port },
        user: user.to_vec(),
    };
    Ok(Some((request, cursor.used(bytes))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::testing::settled;
    use proptest::prelude::*;

    #[test]
    fn the_seeds_bytes() {
        // Login of xuzikang, then www.example.com:443, both in one packet.
        let bytes = b"\x01\x08xuzikang\x0a2018211514\x0fwww.example.com\x01\xbb\x08xuzikangGET";
        let (login, used) = auth(bytes).unwrap().unwrap();
        assert_eq!(login.operation, Operation::Login);
        assert_eq!(login.credentials.name, b"xuzikang");
        assert_eq!(login.credentials.password, b"2018211514");
        assert_eq!(used, 21);
        let (request, more) = target(&bytes[used..]).unwrap().unwrap();
        assert_eq!(request.target.to_string(), "www.example.com:443");
        assert!(request.is_of(b"xuzikang"));
        assert!(!request.is_of(b"gofire"));
        assert!(!request.is_of(b"xuzikan"));
        assert_eq!(&bytes[used + more..], b"GET");
    }

    #[test]
    fn only_two_operations_exist() {
        let (auth_, used) = auth(&[0, 1, b'a', 1, b'b']).unwrap().unwrap();
        assert_eq!((auth_.operation, used), (Operation::Register, 5));
        for got in 2..=255 {
            assert_eq!(auth(&[got]), Err(WireError::Operation { got }));
        }
    }

    #[test]
    fn replies_byte_for_byte() {
        let replies = [
            Reply::Registered,
            Reply::LoggedIn,
            Reply::UnknownUser,
            Reply::WrongPassword,
        ];
        assert_eq!(replies.map(Reply::bytes), [[0], [1], [2], [10]]);
    }

    #[test]
    fn names_are_bytes() {
        let (auth, used) = auth(b"\x01\x02\xff\x00\x00").unwrap().unwrap();
        assert_eq!(auth.credentials.name, b"\xff\0");
        assert_eq!((auth.credentials.password.len(), used), (0, 5));
        let mut longest = vec![1, 255];
        longest.extend([b'n'; 255]);
        longest.push(255);
        longest.extend([b'p'; 254]);
        assert_eq!(super::auth(&longest), Ok(None));
        longest.push(b'p');
        assert_eq!(super::auth(&longest).unwrap().unwrap().1, 513);
    }

    #[test]
    fn impossible_targets() {
        assert_eq!(target(b"\x00\x00\x50\x01a"), Err(WireError::Host));
        assert_eq!(target(b"\x01\xff\x00\x50\x01a"), Err(WireError::Host));
        assert_eq!(target(b"\x03a b\x00\x50\x01a"), Err(WireError::Host));
        assert_eq!(target(b"\x01a\x00\x00"), Err(WireError::Port));
        let (v6, _) = target(b"\x03::1\x00\x50\x00").unwrap().unwrap();
        assert_eq!(v6.target.to_string(), "[::1]:80");
        assert!(!v6.is_of(b"a"), "nobody is not somebody");
    }

    proptest! {
        #[test]
        fn splits_do_not_matter(bytes in proptest::collection::vec(prop_oneof![4 => 0u8..8, 1 => any::<u8>()], 0..40)) {
            settled(auth, &bytes);
            settled(target, &bytes);
        }

        #[test]
        fn round_trip(
            login in any::<bool>(),
            name in proptest::collection::vec(any::<u8>(), 0..256),
            password in proptest::collection::vec(any::<u8>(), 0..256),
            host in "[a-z][a-z.]{0,30}",
            port in 1u16..,
        ) {
            let len = |bytes: &[u8]| u8::try_from(bytes.len()).unwrap();
            let operation = if login { Operation::Login } else { Operation::Register };
            let mut bytes = vec![operation as u8, len(&name)];
            bytes.extend(&name);
            bytes.push(len(&password));
            bytes.extend(&password);
            let whole = bytes.len();
            bytes.push(7);
            let credentials = Credentials { name: name.clone(), password };
            prop_assert_eq!(auth(&bytes), Ok(Some((Auth { operation, credentials }, whole))));

            let mut bytes = vec![len(host.as_bytes())];
            bytes.extend(host.as_bytes());
            bytes.extend(port.to_be_bytes());
            bytes.push(len(&name));
            bytes.extend(&name);
            let whole = bytes.len();
            let target_ = Target { host: Host::parse(host.as_bytes()).unwrap(), port };
            prop_assert_eq!(target(&bytes), Ok(Some((TargetRequest { target: target_, user: name }, whole))));
        }
    }
}
