//! A client of seed 000's AUTH/TARGET dialect.
//!
//! ```text
//! client: AUTH    op | n | name | m | password           server: one byte
//!         TARGET  n | address | port | m | user                  nothing
//! ```
//!
//! A server that registers nobody, or not this name, closes without a byte. So
//! does one that does not reach the target. Seed 000's own server loses a
//! TARGET that is sent before its reply; ours does not.

use super::{Field, Unsendable, check, write_counted};
use crate::protocol::auth_target::{Operation, Reply};
use crate::protocol::{Credentials, Host, Target, WireError};

/// An AUTH message.
///
/// # Errors
/// [`Unsendable`] if name or password is empty or longer than 255 bytes.
pub fn auth(operation: Operation, credentials: &Credentials) -> Result<Vec<u8>, Unsendable> {
    let Credentials { name, password } = credentials;
    let mut bytes = vec![operation as u8];
    for (value, field) in [(name, Field::Name), (password, Field::Password)] {
        check(value, field, 255, |_| true)?;
        write_counted(&mut bytes, value, field)?;
    }
    Ok(bytes)
}

/// A TARGET message on the account of `user`, who has logged in.
///
/// # Errors
/// [`Unsendable`] if host or user is empty or longer than 255 bytes, or the
/// port is 0.
pub fn target(target: &Target, user: &[u8]) -> Result<Vec<u8>, Unsendable> {
    let host = match &target.host {
        Host::Address(address) => address.to_canonical().to_string(),
        Host::Name(name) => name.clone(),
    };
    if target.port == 0 {
        return Err(Unsendable::Port);
    }
    let mut bytes = Vec::new();
    check(host.as_bytes(), Field::Host, 255, |_| true)?;
    write_counted(&mut bytes, host.as_bytes(), Field::Host)?;
    bytes.extend(target.port.to_be_bytes());
    check(user, Field::Name, 255, |_| true)?;
    write_counted(&mut bytes, user, Field::Name)?;
    Ok(bytes)
}

/// Parses the answer to AUTH.
///
/// # Errors
/// [`WireError::Answer`] for a byte that the dialect does not have.
pub fn reply(bytes: &[u8]) -> Result<Option<(Reply, usize)>, WireError> {
    let reply = match bytes.first() {
        None => return Ok(None),
        Some(0) => Reply::Registered,
        Some(1) => Reply::LoggedIn,
        Some(2) => Reply::UnknownUser,
        Some(10) => Reply::WrongPassword,
        Some(&got) => return Err(WireError::Answer { got }),
    };
    Ok(Some((reply, 1)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::auth_target as server;
    use proptest::prelude::*;

    #[test]
    fn the_seeds_bytes() {
        let credentials = Credentials {
            name: b"gofire".to_vec(),
            password: b"2147483648".to_vec(),
        };
        assert_eq!(
            auth(Operation::Login, &credentials).unwrap(),
            b"\x01\x06gofire\x0a2147483648"
        );
        let address = Target {
            host: Host::parse(b"127.0.0.1").unwrap(),
            port: 80,
        };
        assert_eq!(
            target(&address, b"gofire").unwrap(),
            b"\x09127.0.0.1\0\x50\x06gofire"
        );
    }

    #[test]
    fn replies() {
        for (byte, expected) in [
            (0, Reply::Registered),
            (1, Reply::LoggedIn),
            (2, Reply::UnknownUser),
            (10, Reply::WrongPassword),
        ] {
            assert_eq!(reply(&[byte, 7]), Ok(Some((expected, 1))));
            assert_eq!(expected.bytes(), [byte]);
        }
        assert_eq!(reply(&[]), Ok(None));
        for got in (3..10).chain(11..=255) {
            assert_eq!(reply(&[got]), Err(WireError::Answer { got }));
        }
    }

    #[test]
    fn nothing_wraps_its_length() {
        let long = |len| Target {
            host: Host::Name("a".repeat(len)),
            port: 1,
        };
        assert!(target(&long(255), &[b'u'; 255]).is_ok());
        let most = 255;
        let field = Field::Host;
        assert_eq!(
            target(&long(256), b"u"),
            Err(Unsendable::TooLong { field, most })
        );
        assert_eq!(target(&long(0), b"u"), Err(Unsendable::Empty { field }));
        let field = Field::Name;
        assert_eq!(
            target(&long(1), &[b'u'; 256]),
            Err(Unsendable::TooLong { field, most })
        );
        let zero = Target { port: 0, ..long(1) };
        assert_eq!(target(&zero, b"u"), Err(Unsendable::Port));
    }

    proptest! {
        #[test]
        fn round_trip(
            name in proptest::collection::vec(any::<u8>(), 1..256),
            password in proptest::collection::vec(any::<u8>(), 1..256),
            ip in any::<std::net::IpAddr>(),
            port in 1u16..,
        ) {
            let credentials = Credentials { name: name.clone(), password };
            let operation = Operation::Register;
            let bytes = auth(operation, &credentials).unwrap();
            let expected = server::Auth { operation, credentials };
            prop_assert_eq!(server::auth(&bytes), Ok(Some((expected, bytes.len()))));
            let there = Target { host: Host::Address(ip.to_canonical()), port };
            let bytes = target(&there, &name).unwrap();
            let expected = server::TargetRequest { target: there, user: name };
            prop_assert_eq!(server::target(&bytes), Ok(Some((expected, bytes.len()))));
        }
    }
}
