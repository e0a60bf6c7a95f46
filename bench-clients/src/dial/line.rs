//! The line handshake of seed 001, the client's side.
//!
//! ```text
//! C->R  host SP port SP username SP password CRLF
//! R->C  bind_host SP bind_port CRLF       then raw bytes both ways
//! any failure: no reply, end of stream
//! ```

use super::{Credentials, Endpoint, Parsed};

/// Bytes of a reply that we wait for: a long name, a port and room to spare.
const LONGEST_REPLY: usize = 300;

/// A handshake that failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LineError {
    /// The protocol has no way to write it.
    #[error(
        "the {what} is empty or holds a blank or a control character, which the line handshake cannot carry"
    )]
    Unwritable {
        /// Which field.
        what: &'static str,
    },
    /// Not `host port`.
    #[error("the proxy answered {got:?} in place of host and port")]
    Reply {
        /// The line, or its first bytes.
        got: String,
    },
}

/// The request.
///
/// # Errors
/// A field that is empty or holds white space or control characters.
pub fn request(target: &Endpoint, credentials: &Credentials) -> Result<Vec<u8>, LineError> {
    let host = match target {
        Endpoint::Address(address) => address.ip().to_string(),
        Endpoint::Name(name, _) => name.clone(),
    };
    for (what, field) in [
        ("target's name", &host),
        ("user name", &credentials.user),
        ("password", &credentials.password),
    ] {
        if field.is_empty() || field.contains(|c: char| c.is_whitespace() || c.is_control()) {
            return Err(LineError::Unwritable { what });
        }
    }
    let Credentials { user, password } = credentials;
    Ok(format!("{host} {} {user} {password}\r\n", target.port()).into_bytes())
}

/// Parses the reply. It asks for a byte at a time: the length is not known before
/// the end, and what follows belongs to the target.
///
/// # Errors
/// A line that is not a host and a port.
pub fn reply(bytes: &[u8]) -> Result<Parsed<Endpoint>, LineError> {
    let bad = || LineError::Reply {
        got: String::from_utf8_lossy(bytes).trim_end().to_owned(),
    };
    let Some(line) = bytes.strip_suffix(b"\n") else {
        if bytes.len() >= LONGEST_REPLY {
            return Err(bad());
        }
        return Ok(Parsed::Need(1));
    };
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let line = std::str::from_utf8(line).map_err(|_| bad())?;
    let (host, port) = line.split_once(' ').ok_or_else(bad)?;
    if host.is_empty() || !port.bytes().all(|b| b.is_ascii_digit()) {
        return Err(bad());
    }
    let port = port.parse().map_err(|_| bad())?;
    Ok(Parsed::Done(Endpoint::new(host, port)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(host: &str, user: &str, password: &str) -> Result<Vec<u8>, LineError> {
        let credentials = Credentials {
            user: user.to_owned(),
            password: password.to_owned(),
        };
        request(&Endpoint::new(host, 80), &credentials)
    }

    /// Feeds bytes one by one; returns the answer and how many it took.
    fn feed(bytes: &[u8]) -> Result<(Endpoint, usize), LineError> {
        for have in 0..=bytes.len() {
            match reply(&bytes[..have])? {
                Parsed::Done(bound) => return Ok((bound, have)),
                Parsed::Need(more) => assert_eq!(more, 1),
            }
        }
        panic!("not complete: {bytes:?}")
    }

    #[test]
    fn writes_the_seeds_line() {
        assert_eq!(
            line("example.org", "aaaa", "pw").unwrap(),
            b"example.org 80 aaaa pw\r\n"
        );
        assert_eq!(line("::1", "ü", "ß").unwrap(), "::1 80 ü ß\r\n".as_bytes());
    }

    #[test]
    fn refuses_what_would_break_the_line() {
        for (host, user, password, what) in [
            ("a b", "u", "p", "target's name"),
            ("", "u", "p", "target's name"),
            ("h", "u\r\nx", "p", "user name"),
            ("h", "u", "p w", "password"),
            ("h", "u", "", "password"),
            ("h", "u", "p\u{a0}w", "password"),
        ] {
            let unwritable = LineError::Unwritable { what };
            assert_eq!(line(host, user, password), Err(unwritable));
        }
    }

    #[test]
    fn reads_the_bound_address_and_leaves_what_follows() {
        let bound = Endpoint::new("127.0.0.1", 40_000);
        assert_eq!(feed(b"127.0.0.1 40000\r\nearly"), Ok((bound.clone(), 17)));
        assert_eq!(feed(b"127.0.0.1 40000\nearly"), Ok((bound, 16)));
        assert_eq!(feed(b"::1 1\r\n"), Ok((Endpoint::new("::1", 1), 7)));
    }

    #[test]
    fn an_answer_that_is_none_is_an_error() {
        for bytes in [
            &b"\r\n"[..],
            b"127.0.0.1\r\n",
            b"127.0.0.1 \r\n",
            b"127.0.0.1 99999\r\n",
            b"127.0.0.1 +1\r\n",
            b" 80\r\n",
            b"HTTP/1.1 400 Bad Request\r\n",
            b"\xff 1\r\n",
            &[b'x'; 400],
        ] {
            assert!(
                matches!(feed(bytes), Err(LineError::Reply { .. })),
                "{bytes:?}"
            );
        }
    }
}
