//! A SOCKS5 client with a name and a password (RFC 1928, RFC 1929).
//!
//! ```text
//! client: greeting 05 01 02                  server: method 05 02
//!         password 01 | n | name | m | pass          status 01 00
//!         request  05 | command | 00 | address       reply  05 | code | 00 | bound address
//! ```
//!
//! All three may be sent at once; the answers come in order.

use super::{Field, Unsendable, check, write_counted};
use crate::protocol::cursor::Cursor;
use crate::protocol::socks5::{self, Code, Command, address};
use crate::protocol::{Credentials, Host, Target, WireError};

/// The greeting of a client that can only log in with a password.
pub const GREETING: [u8; 3] = [socks5::VERSION, 1, 2];

/// The username/password message.
///
/// # Errors
/// [`Unsendable`] if name or password is empty or longer than 255 bytes.
pub fn password(credentials: &Credentials) -> Result<Vec<u8>, Unsendable> {
    let Credentials { name, password } = credentials;
    let mut bytes = vec![socks5::PASSWORD_RIGHT[0]];
    for (value, field) in [(name, Field::Name), (password, Field::Password)] {
        check(value, field, 255, |_| true)?;
        write_counted(&mut bytes, value, field)?;
    }
    Ok(bytes)
}

/// A request.
///
/// # Errors
/// [`Unsendable`] if the host is a name that is empty or longer than 255 bytes.
pub fn request(command: Command, target: &Target) -> Result<Vec<u8>, Unsendable> {
    if let Host::Name(name) = &target.host {
        check(name.as_bytes(), Field::Host, 255, |_| true)?;
    }
    let mut bytes = vec![socks5::VERSION, command as u8, 0];
    let field = Field::Host;
    address::write_target(&mut bytes, target).map_err(|_| Unsendable::Character { field })?;
    Ok(bytes)
}

/// Parses the server's choice of a method: whether it takes a password.
///
/// # Errors
/// [`WireError::Version`]; [`WireError::Answer`] for a method that was not offered.
pub fn method(bytes: &[u8]) -> Result<Option<(bool, usize)>, WireError> {
    match *bytes {
        [] | [socks5::VERSION] => Ok(None),
        [socks5::VERSION, 2, ..] => Ok(Some((true, 2))),
        [socks5::VERSION, 0xff, ..] => Ok(Some((false, 2))),
        [socks5::VERSION, got, ..] => Err(WireError::Answer { got }),
        [got, ..] => Err(WireError::Version { got }),
    }
}

/// Parses the server's judgement of the password: whether it is right.
///
/// # Errors
/// [`WireError::PasswordVersion`].
pub fn status(bytes: &[u8]) -> Result<Option<(bool, usize)>, WireError> {
    const VERSION: u8 = socks5::PASSWORD_RIGHT[0];
    match *bytes {
        [] | [VERSION] => Ok(None),
        [VERSION, status, ..] => Ok(Some((status == 0, 2))),
        [got, ..] => Err(WireError::PasswordVersion { got }),
    }
}

/// The server's answer to a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// What came of it.
    pub code: Code,
    /// The server's address towards the target, or where it takes datagrams.
    pub bound: Target,
}

/// Parses the server's answer to a request.
///
/// # Errors
/// [`WireError::Version`], [`WireError::AddressType`], [`WireError::Host`].
pub fn reply(bytes: &[u8]) -> Result<Option<(Reply, usize)>, WireError> {
    let mut cursor = Cursor(bytes);
    match cursor.byte() {
        Some(socks5::VERSION) => {}
        Some(got) => return Err(WireError::Version { got }),
        None => return Ok(None),
    }
    let code = cursor.byte().map(Code::from_byte);
    let _reserved = cursor.byte();
    let bound = address::read(&mut cursor)?;
    let reply = code.zip(bound).map(|(code, bound)| Reply { code, bound });
    Ok(reply.map(|reply| (reply, cursor.used(bytes))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::testing::settled;
    use proptest::prelude::*;

    fn credentials(name: &[u8], password: &[u8]) -> Credentials {
        Credentials {
            name: name.to_vec(),
            password: password.to_vec(),
        }
    }

    #[test]
    fn the_server_reads_what_the_client_says() {
        let (greeting, _) = socks5::greeting(&GREETING).unwrap().unwrap();
        assert!(greeting.offers_password && !greeting.offers_free);
        let target = Target {
            host: Host::Name("a.example".into()),
            port: 443,
        };
        let bytes = request(Command::UdpAssociate, &target).unwrap();
        let both = [Command::Connect, Command::UdpAssociate];
        let (heard, used) = socks5::request_among(&bytes, &both).unwrap().unwrap();
        assert_eq!((heard.command, used), (Command::UdpAssociate, bytes.len()));
        assert_eq!(heard.target, target);
    }

    #[test]
    fn nothing_wraps_its_length() {
        let long = |len| Target {
            host: Host::Name("a".repeat(len)),
            port: 1,
        };
        assert!(request(Command::Connect, &long(255)).is_ok());
        assert_eq!(
            request(Command::Connect, &long(256)),
            Err(Unsendable::TooLong {
                field: Field::Host,
                most: 255
            })
        );
        assert!(password(&credentials(&[b'n'; 255], &[b'p'; 255])).is_ok());
        assert_eq!(
            password(&credentials(&[b'n'; 256], b"p")),
            Err(Unsendable::TooLong {
                field: Field::Name,
                most: 255
            })
        );
        let field = Field::Password;
        assert_eq!(
            password(&credentials(b"n", b"")),
            Err(Unsendable::Empty { field })
        );
    }

    #[test]
    fn answers() {
        assert_eq!(method(&socks5::METHOD_PASSWORD), Ok(Some((true, 2))));
        assert_eq!(method(&socks5::METHOD_NONE), Ok(Some((false, 2))));
        assert_eq!(method(&[5, 0]), Err(WireError::Answer { got: 0 }));
        assert_eq!(method(&[4]), Err(WireError::Version { got: 4 }));
        assert_eq!(status(&socks5::PASSWORD_RIGHT), Ok(Some((true, 2))));
        assert_eq!(status(&socks5::PASSWORD_WRONG), Ok(Some((false, 2))));
        assert_eq!(status(&[5]), Err(WireError::PasswordVersion { got: 5 }));
        let refused = socks5::reply(Code::ConnectionRefused, socks5::UNBOUND);
        let (refused, used) = reply(&refused).unwrap().unwrap();
        assert_eq!((refused.code, used), (Code::ConnectionRefused, 10));
        assert_eq!(reply(&[0x48]), Err(WireError::Version { got: 0x48 }));
        assert_eq!(reply(&[5, 0, 0, 9]), Err(WireError::AddressType { got: 9 }));
    }

    proptest! {
        #[test]
        fn splits_do_not_matter(bytes in proptest::collection::vec(prop_oneof![4 => 0u8..6, 1 => any::<u8>()], 0..30)) {
            settled(method, &bytes);
            settled(status, &bytes);
            settled(reply, &bytes);
        }

        #[test]
        fn round_trip(
            name in proptest::collection::vec(any::<u8>(), 1..256),
            secret in proptest::collection::vec(any::<u8>(), 1..256),
            bound in any::<std::net::SocketAddr>(),
            code in (0u8..9).prop_map(Code::from_byte),
        ) {
            let credentials = Credentials { name, password: secret };
            let bytes = password(&credentials).unwrap();
            prop_assert_eq!(socks5::credentials(&bytes), Ok(Some((credentials, bytes.len()))));
            let bytes = socks5::reply(code, bound);
            let (heard, used) = reply(&bytes).unwrap().unwrap();
            prop_assert_eq!((heard.code, used), (code, bytes.len()));
            let canonical = Host::Address(bound.ip().to_canonical());
            prop_assert_eq!(heard.bound, Target { host: canonical, port: bound.port() });
        }
    }
}
