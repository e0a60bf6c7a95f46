//! A client of seed 001's line handshake.
//!
//! ```text
//! client: host SP port SP user SP password CR LF      server: bind_host SP bind_port CR LF
//! ```
//!
//! A server that refuses says nothing and closes.

use super::{Field, Unsendable, check};
use crate::protocol::line::MAX_LEN;
use crate::protocol::{Credentials, Host, Target, WireError, parse_port};

/// The longest host, name and password: with a port they always fit a line.
const MAX_FIELD: usize = 255;

/// The request line.
///
/// # Errors
/// [`Unsendable`] if a field is empty or longer than 255 bytes, host or name
/// has white space, anything has a line's end in it, or the port is 0.
pub fn request(target: &Target, credentials: &Credentials) -> Result<Vec<u8>, Unsendable> {
    let Credentials { name, password } = credentials;
    let host = match &target.host {
        Host::Address(address) => address.to_string(),
        Host::Name(name) => name.clone(),
    };
    let word = |byte: u8| byte != b' ' && byte != b'\n';
    let visible = |byte: u8| !byte.is_ascii_control() && byte != b' ';
    check(host.as_bytes(), Field::Host, MAX_FIELD, visible)?;
    check(name, Field::Name, MAX_FIELD, word)?;
    check(password, Field::Password, MAX_FIELD, |byte| byte != b'\n')?;
    if target.port == 0 {
        return Err(Unsendable::Port);
    }
    let mut line = format!("{host} {} ", target.port).into_bytes();
    for part in [name, &b" "[..], password, b"\r\n"] {
        line.extend(part);
    }
    Ok(line)
}

/// Parses the server's line: its own address towards the target.
///
/// # Errors
/// [`WireError`] if the line is longer than [`MAX_LEN`] or is not a host, a
/// space and a port ended by CR LF.
pub fn reply(bytes: &[u8]) -> Result<Option<(Target, usize)>, WireError> {
    let window = bytes.get(..MAX_LEN).unwrap_or(bytes);
    let Some(end) = window.iter().position(|&byte| byte == b'\n') else {
        return if bytes.len() < MAX_LEN {
            Ok(None)
        } else {
            Err(WireError::LineTooLong)
        };
    };
    let line = window.get(..end).and_then(|line| line.strip_suffix(b"\r"));
    let space = |line: &[u8]| line.iter().position(|&byte| byte == b' ');
    let (host, port) = line
        .and_then(|line| line.split_at_checked(space(line)?))
        .ok_or(WireError::Line)?;
    let target = Target {
        host: Host::parse(host)?,
        port: parse_port(port.get(1..).unwrap_or_default())?,
    };
    Ok(Some((target, end + 1)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::line;
    use crate::protocol::testing::settled;
    use proptest::prelude::*;

    fn target(host: &str, port: u16) -> Target {
        Target {
            host: Host::Name(host.into()),
            port,
        }
    }

    fn credentials(name: &[u8], password: &[u8]) -> Credentials {
        Credentials {
            name: name.to_vec(),
            password: password.to_vec(),
        }
    }

    #[test]
    fn the_seeds_line() {
        let host = Host::parse(b"127.0.0.1").unwrap();
        let bytes = request(&Target { host, port: 8000 }, &credentials(b"aaaa", b"bbbb"));
        assert_eq!(bytes.unwrap(), b"127.0.0.1 8000 aaaa bbbb\r\n");
        assert_eq!(
            reply(b"127.0.0.1 40312\r\nHTTP").unwrap().unwrap().1,
            17,
            "what follows is payload"
        );
    }

    #[test]
    fn no_field_breaks_the_line() {
        let right = (target("a", 1), credentials(b"n", b"p"));
        assert!(request(&right.0, &right.1).is_ok());
        for host in ["a b", "a\r\n", "a\n", "a\t", "a\0"] {
            let field = Field::Host;
            let refused = request(&target(host, 1), &right.1);
            assert_eq!(refused, Err(Unsendable::Character { field }), "{host:?}");
        }
        for name in [&b"a b"[..], b"a\n", b" "] {
            let field = Field::Name;
            let refused = request(&right.0, &credentials(name, b"p"));
            assert_eq!(refused, Err(Unsendable::Character { field }));
        }
        let field = Field::Password;
        let refused = request(&right.0, &credentials(b"n", b"p\r\nGET"));
        assert_eq!(refused, Err(Unsendable::Character { field }));
        let refused = request(&right.0, &credentials(b"n", b""));
        assert_eq!(refused, Err(Unsendable::Empty { field }));
        assert_eq!(request(&target("a", 0), &right.1), Err(Unsendable::Port));
    }

    #[test]
    fn the_longest_fields_fit() {
        let name = [b'n'; MAX_FIELD];
        let line = request(
            &target(&"h".repeat(MAX_FIELD), 65535),
            &credentials(&name, &name),
        )
        .unwrap();
        assert!(line.len() <= MAX_LEN);
        assert!(line::request(&line).unwrap().is_some());
    }

    #[test]
    fn impossible_replies() {
        for bytes in [&b"\r\n"[..], b"127.0.0.1\r\n", b"127.0.0.1 1\n"] {
            assert_eq!(reply(bytes), Err(WireError::Line));
        }
        assert_eq!(reply(b" 1\r\n"), Err(WireError::Host));
        assert_eq!(reply(b"a 1 2\r\n"), Err(WireError::Port));
        assert_eq!(reply(&[b'a'; MAX_LEN]), Err(WireError::LineTooLong));
    }

    proptest! {
        #[test]
        fn splits_do_not_matter(text in "[a1 .\r\n]{0,30}", long in proptest::collection::vec(any::<u8>(), 0..40)) {
            settled(reply, text.as_bytes());
            settled(reply, &long);
        }

        #[test]
        fn round_trip(
            host in "[a-z][a-z.]{0,40}",
            port in 1u16..,
            name in proptest::collection::vec(any::<u8>(), 1..40),
            password in proptest::collection::vec(any::<u8>(), 1..40),
            bound in any::<std::net::SocketAddr>(),
        ) {
            let (target, credentials) = (target(&host, port), Credentials { name, password });
            if let Ok(bytes) = request(&target, &credentials) {
                let (heard, used) = line::request(&bytes).unwrap().unwrap();
                prop_assert_eq!(used, bytes.len());
                prop_assert_eq!(heard.target, target);
                prop_assert_eq!(heard.credentials, credentials);
            }
            if bound.port() != 0 {
                let bytes = line::reply(bound);
                let canonical = Host::Address(bound.ip().to_canonical());
                let expected = Target { host: canonical, port: bound.port() };
                prop_assert_eq!(reply(&bytes), Ok(Some((expected, bytes.len()))));
            }
        }
    }
}
