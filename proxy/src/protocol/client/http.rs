//! A client of an HTTP proxy's CONNECT (RFC 9110, section 9.3.6; RFC 7617).
//!
//! ```text
//! client: CONNECT host:port HTTP/1.1 | Host | Proxy-Authorization | empty line
//! server: HTTP/1.1 2xx and whatever fields: raw bytes from here on; any other status: refused
//! ```

use super::{Field, Unsendable, check};
use crate::protocol::http::{Asked, MAX_INTERIM, Malformed, basic, response};
use crate::protocol::{Credentials, Host, Target, WireError};

/// The longest name and the longest password.
const MAX_FIELD: usize = 255;

/// The request.
///
/// # Errors
/// [`Unsendable`] if the host is not of letters, digits, `-`, `.` and `_` or
/// longer than 255 bytes, the name has a colon, name or password is longer than
/// that or has a control character, the name is empty, or the port is 0.
pub fn connect(target: &Target, credentials: &Credentials) -> Result<Vec<u8>, Unsendable> {
    if let Host::Name(name) = &target.host {
        let named = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
        check(name.as_bytes(), Field::Host, 255, named)?;
    }
    if target.port == 0 {
        return Err(Unsendable::Port);
    }
    let Credentials { name, password } = credentials;
    let word = |byte: u8| !byte.is_ascii_control() && byte != b':';
    check(name, Field::Name, MAX_FIELD, word)?;
    if !password.is_empty() {
        let printable = |byte: u8| !byte.is_ascii_control();
        check(password, Field::Password, MAX_FIELD, printable)?;
    }
    let authorization = basic::encode(credentials);
    let head = format!(
        "CONNECT {target} HTTP/1.1\r\nHost: {target}\r\nProxy-Authorization: {authorization}\r\n\r\n"
    );
    Ok(head.into_bytes())
}

/// Parses the answer, interim ones before it included: its status. With 200 to
/// 299 the tunnel is open and what follows comes from the target.
///
/// # Errors
/// [`WireError::Http`].
pub fn reply(bytes: &[u8]) -> Result<Option<(u16, usize)>, WireError> {
    let asked = Asked {
        head: false,
        old: false,
    };
    let mut used = 0;
    for _ in 0..=MAX_INTERIM {
        let rest = bytes.get(used..).unwrap_or_default();
        let Some((response, len)) = response(rest, asked)? else {
            return Ok(None);
        };
        used += len;
        if !response.is_interim() {
            return Ok(Some((response.status, used)));
        }
    }
    Err(Malformed::Interim.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::http::{Kind, Status, answer, request};
    use crate::protocol::testing::settled;
    use proptest::prelude::*;

    fn ada() -> Credentials {
        Credentials {
            name: b"ada".to_vec(),
            password: b"secret".to_vec(),
        }
    }

    fn target(host: &str) -> Target {
        Target {
            host: Host::Name(host.into()),
            port: 443,
        }
    }

    #[test]
    fn the_request_byte_for_byte() {
        let bytes = connect(&target("a.example"), &ada()).unwrap();
        assert_eq!(
            bytes,
            b"CONNECT a.example:443 HTTP/1.1\r\nHost: a.example:443\r\nProxy-Authorization: Basic YWRhOnNlY3JldA==\r\n\r\n"
        );
    }

    #[test]
    fn nothing_becomes_a_field_of_its_own() {
        for host in ["a\r\nX: y", "a b", "a/b", "u@a", "a:1", "\u{4f8b}"] {
            let field = Field::Host;
            let refused = connect(&target(host), &ada());
            assert_eq!(refused, Err(Unsendable::Character { field }), "{host:?}");
        }
        let with = |name: &[u8], password: &[u8]| {
            let credentials = Credentials {
                name: name.to_vec(),
                password: password.to_vec(),
            };
            connect(&target("a"), &credentials).err()
        };
        let field = Field::Name;
        assert_eq!(with(b"a:b", b""), Some(Unsendable::Character { field }));
        assert_eq!(with(b"", b"p"), Some(Unsendable::Empty { field }));
        assert_eq!(with(b"a", b""), None);
        assert_eq!(with(b"a", b"p:\xff"), None);
        let field = Field::Password;
        assert_eq!(with(b"a", b"p\n"), Some(Unsendable::Character { field }));
    }

    #[test]
    fn replies() {
        let early = [answer::ESTABLISHED, b"data"].concat();
        let len = answer::ESTABLISHED.len();
        assert_eq!(reply(&early), Ok(Some((200, len))));
        let refused = Status::ProxyAuthenticationRequired.answer(false);
        assert_eq!(reply(&refused), Ok(Some((407, refused.len()))));
        let interim = b"HTTP/1.1 100 Continue\r\n\r\n";
        let after = [&interim[..], &early].concat();
        assert_eq!(reply(&after), Ok(Some((200, interim.len() + len))));
        assert_eq!(
            reply(&interim.repeat(MAX_INTERIM + 1)),
            Err(Malformed::Interim.into())
        );
        assert_eq!(reply(b"SSH-2.0\r\n"), Err(Malformed::StartLine.into()));
    }

    proptest! {
        #[test]
        fn splits_do_not_matter(pieces in proptest::collection::vec(prop::sample::select(vec![
            "HTTP/1.1 200 OK\r\n", "HTTP/1.1 100 \r\n\r\n", "X: y\r\n", "\r\n", "\n", "HTTP/1.0 407 No\r\n",
        ]), 0..6)) {
            settled(reply, pieces.concat().as_bytes());
        }

        #[test]
        fn round_trip(host in "[a-z][a-z.]{0,40}", port in 1u16.., name in "[ -9;-~]{1,40}", password in "[ -~]{0,40}") {
            let (target, credentials) = (
                Target { host: Host::Name(host), port },
                Credentials { name: name.into_bytes(), password: password.into_bytes() },
            );
            let bytes = connect(&target, &credentials).unwrap();
            let (heard, used) = request(&bytes).unwrap().unwrap();
            prop_assert_eq!((heard.kind, used), (Kind::Connect, bytes.len()));
            prop_assert_eq!(heard.target, target);
            prop_assert_eq!(heard.credentials, Some(credentials));
        }
    }
}
