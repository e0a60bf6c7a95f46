//! The line handshake of seed 001.
//!
//! ```text
//! client: host SP port SP user SP password CR LF
//! server: bind_host SP bind_port CR LF      the proxy's own address towards the target
//! both:   raw bytes
//! ```
//!
//! Whatever goes wrong, the server says nothing and closes. The first three
//! fields hold no space; the password is the rest of the line, so it may.
//! Fields are bytes: the name must be UTF-8 to exist, the password need not be.

use std::net::SocketAddr;

use super::{Credentials, Host, Target, WireError, parse_port};

/// The longest line, CR LF included: a name of 255 bytes for each of three
/// fields, a port and the separators come to 775.
pub const MAX_LEN: usize = 1024;

/// No port has more digits, leading zeros included: by them a line is told from HTTP.
pub(super) const LONGEST_PORT: usize = 5;

/// One request line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// Where to.
    pub target: Target,
    /// Who asks.
    pub credentials: Credentials,
}

/// Parses the request line.
///
/// # Errors
/// [`WireError`] if the line is longer than [`MAX_LEN`], does not end in CR LF,
/// lacks a field, or names an impossible host or port.
pub fn request(bytes: &[u8]) -> Result<Option<(Request, usize)>, WireError> {
    let window = bytes.get(..MAX_LEN).unwrap_or(bytes);
    let Some(end) = window.iter().position(|&byte| byte == b'\n') else {
        return if bytes.len() < MAX_LEN {
            Ok(None)
        } else {
            Err(WireError::LineTooLong)
        };
    };
    let line = window
        .get(..end)
        .and_then(|line| line.strip_suffix(b"\r"))
        .ok_or(WireError::Line)?;
    Ok(Some((fields(line)?, end + 1)))
}

/// The server's line: `address` is the local end of its connection to the target.
#[must_use]
pub fn reply(address: SocketAddr) -> Vec<u8> {
    format!("{} {}\r\n", address.ip().to_canonical(), address.port()).into_bytes()
}

fn fields(line: &[u8]) -> Result<Request, WireError> {
    let mut fields = line.splitn(4, |&byte| byte == b' ');
    let mut next = || {
        fields
            .next()
            .filter(|field| !field.is_empty())
            .ok_or(WireError::Line)
    };
    let (host, port, name, password) = (next()?, next()?, next()?, next()?);
    if port.len() > LONGEST_PORT {
        return Err(WireError::Port);
    }
    let target = Target {
        host: Host::parse(host)?,
        port: parse_port(port)?,
    };
    let credentials = Credentials {
        name: name.to_vec(),
        password: password.to_vec(),
    };
    Ok(Request {
        target,
        credentials,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parsed(line: &[u8]) -> Result<Option<(Request, usize)>, WireError> {
        request(line)
    }

    #[test]
    fn the_seeds_line() {
        let (request, used) = parsed(b"127.0.0.1 8000 aaaa bbbb\r\nGET").unwrap().unwrap();
        assert_eq!(request.target.to_string(), "127.0.0.1:8000");
        assert_eq!(request.credentials.name, b"aaaa");
        assert_eq!(request.credentials.password, b"bbbb");
        assert_eq!(used, 26, "what follows the line is payload");
    }

    #[test]
    fn the_password_is_the_rest_of_the_line() {
        let (request, _) = parsed(b"a.example 1 u pass  word \r\n").unwrap().unwrap();
        assert_eq!(request.credentials.password, b"pass  word ");
        let (request, _) = parsed(b"a.example 1 u \xff\r\r\n").unwrap().unwrap();
        assert_eq!(request.credentials.password, b"\xff\r");
    }

    #[test]
    fn what_is_not_a_line_is_refused() {
        for line in [
            &b"\r\n"[..],
            b"h\r\n",
            b"h 1\r\n",
            b"h 1 u\r\n",
            b"h 1 u \r\n",
            b"h  1 u p\r\n",
            b" h 1 u p\r\n",
            b"h 1 u p\n",
            b"\n",
        ] {
            assert_eq!(
                parsed(line),
                Err(WireError::Line),
                "{:?}",
                String::from_utf8_lossy(line)
            );
        }
        for port in [
            "0",
            "65536",
            "+1",
            "-1",
            "1a",
            "\u{0661}",
            "99999999999",
            "000080",
        ] {
            let line = format!("h {port} u p\r\n");
            assert_eq!(parsed(line.as_bytes()), Err(WireError::Port), "{port}");
        }
    }

    #[test]
    fn a_line_has_an_end() {
        let mut line = vec![b'a'; MAX_LEN];
        assert_eq!(parsed(&line), Err(WireError::LineTooLong));
        line.push(b'\n');
        assert_eq!(parsed(&line), Err(WireError::LineTooLong));
        line.truncate(MAX_LEN - 1);
        assert_eq!(parsed(&line), Ok(None));
    }

    #[test]
    fn replies_name_the_bound_address() {
        assert_eq!(
            reply("127.0.0.1:40312".parse().unwrap()),
            b"127.0.0.1 40312\r\n"
        );
        assert_eq!(
            reply("[::ffff:10.1.2.3]:9".parse().unwrap()),
            b"10.1.2.3 9\r\n"
        );
        assert_eq!(
            reply("[2001:db8::1]:9".parse().unwrap()),
            b"2001:db8::1 9\r\n"
        );
    }

    proptest! {
        #[test]
        fn splits_do_not_matter(bytes in proptest::collection::vec(prop_oneof![Just(b' '), Just(b'\r'), Just(b'\n'), Just(b'1'), any::<u8>()], 0..80), cut in 0usize..80) {
            let whole = request(&bytes);
            match request(bytes.get(..cut).unwrap_or(&bytes)) {
                Ok(None) => {}
                decided => prop_assert_eq!(decided, whole),
            }
        }

        #[test]
        fn round_trip(host in "[a-z]{1,20}", port in 1u16.., name in "[!-~]{1,40}", password in "[ -~]{1,40}") {
            let line = format!("{host} {port} {name} {password}\r\n");
            let (parsed, used) = request(line.as_bytes()).unwrap().unwrap();
            prop_assert_eq!(used, line.len());
            prop_assert_eq!(parsed.target, Target { host: Host::parse(host.as_bytes()).unwrap(), port });
            prop_assert_eq!(parsed.credentials, Credentials { name: name.into_bytes(), password: password.into_bytes() });
        }
    }
}
