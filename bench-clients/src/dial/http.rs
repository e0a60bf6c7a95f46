//! The tunnel of HTTP/1.1 (RFC 9110, section 9.3.6), the client's side.
//!
//! ```text
//! C->P  CONNECT host:port HTTP/1.1 CRLF Host: host:port CRLF [Proxy-Authorization: Basic ... CRLF] CRLF
//! P->C  HTTP/1.1 2xx reason CRLF fields CRLF CRLF       then raw bytes both ways
//! ```

use super::{Credentials, Endpoint, Parsed};

/// Bytes of a head that we wait for.
const LONGEST_HEAD: usize = 16 << 10;

/// A request that was not granted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HttpError {
    /// A user name with a colon, or a control character in either (RFC 7617, section 2).
    #[error("Basic credentials cannot carry a colon in the user name, nor control characters")]
    Unwritable,
    /// Another status than 2xx.
    #[error("the proxy answered with status {status}")]
    Refused {
        /// The three digits.
        status: u16,
    },
    /// No status line, or a head that does not end.
    #[error("the proxy answered {got:?} in place of an HTTP response")]
    Reply {
        /// Its first bytes.
        got: String,
    },
}

/// The request.
///
/// # Errors
/// Credentials that cannot be written.
pub fn request(target: &Endpoint, credentials: Option<&Credentials>) -> Result<Vec<u8>, HttpError> {
    let authority = target.to_string();
    let login = match credentials {
        Some(Credentials { user, password }) => {
            let control = |text: &str| text.contains(char::is_control);
            if user.contains(':') || control(user) || control(password) {
                return Err(HttpError::Unwritable);
            }
            let token = base64(format!("{user}:{password}").as_bytes());
            format!("Proxy-Authorization: Basic {token}\r\n")
        }
        None => String::new(),
    };
    let head = format!("CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n{login}\r\n");
    Ok(head.into_bytes())
}

/// Parses the reply. It asks for a byte at a time: what follows the head belongs to
/// the target.
///
/// # Errors
/// A status other than 2xx, or no response at all.
pub fn reply(bytes: &[u8]) -> Result<Parsed<()>, HttpError> {
    let bad = || HttpError::Reply {
        got: String::from_utf8_lossy(&bytes[..bytes.len().min(64)]).into_owned(),
    };
    if !bytes.ends_with(b"\r\n\r\n") {
        let begun = &b"HTTP/1."[..bytes.len().min(7)];
        if !bytes.starts_with(begun) || bytes.len() >= LONGEST_HEAD {
            return Err(bad());
        }
        return Ok(Parsed::Need(1));
    }
    let line = bytes.split(|byte| *byte == b'\r').next().unwrap_or(bytes);
    let line = std::str::from_utf8(line).map_err(|_| bad())?;
    let status = line.split(' ').nth(1).filter(|digits| digits.len() == 3);
    let status: u16 = status
        .and_then(|digits| digits.parse().ok())
        .ok_or_else(bad)?;
    match status {
        200..300 => Ok(Parsed::Done(())),
        _ => Err(HttpError::Refused { status }),
    }
}

/// RFC 4648, section 4.
fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for group in bytes.chunks(3) {
        let at = |i: usize| u32::from(group.get(i).copied().unwrap_or(0));
        let word = at(0) << 16 | at(1) << 8 | at(2);
        for i in 0..4 {
            let index = (word >> (18 - 6 * i)) & 63;
            text.push(if i <= group.len() {
                char::from(LETTERS[index as usize])
            } else {
                '='
            });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_that_of_the_rfc() {
        for (plain, coded) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foobar", "Zm9vYmFy"),
            ("Aladdin:open sesame", "QWxhZGRpbjpvcGVuIHNlc2FtZQ=="),
        ] {
            assert_eq!(base64(plain.as_bytes()), coded);
        }
    }

    #[test]
    fn asks_for_a_tunnel() {
        let ann = Credentials {
            user: "ann".to_owned(),
            password: "pw".to_owned(),
        };
        assert_eq!(
            request(&"[::1]:80".parse().unwrap(), None).unwrap(),
            b"CONNECT [::1]:80 HTTP/1.1\r\nHost: [::1]:80\r\n\r\n"
        );
        assert_eq!(
            request(&"h:80".parse().unwrap(), Some(&ann)).unwrap(),
            b"CONNECT h:80 HTTP/1.1\r\nHost: h:80\r\nProxy-Authorization: Basic YW5uOnB3\r\n\r\n"
        );
        let colon = Credentials {
            user: "a:b".to_owned(),
            ..ann
        };
        let refused = request(&"h:80".parse().unwrap(), Some(&colon));
        assert_eq!(refused, Err(HttpError::Unwritable));
    }

    #[test]
    fn reads_no_byte_behind_the_head() {
        let head = b"HTTP/1.1 200 Connection established\r\nVia: x\r\n\r\n";
        for end in 0..head.len() {
            assert_eq!(reply(&head[..end]), Ok(Parsed::Need(1)), "{end}");
        }
        assert_eq!(reply(head), Ok(Parsed::Done(())));
    }

    #[test]
    fn says_what_the_proxy_said() {
        let refused = reply(b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n");
        assert_eq!(refused, Err(HttpError::Refused { status: 407 }));
        for bad in [
            &b"SSH-2.0-x"[..],
            b"HTTP/1.1 2000 x\r\n\r\n",
            b"HTTP/1.1\r\n\r\n",
        ] {
            assert!(matches!(reply(bad), Err(HttpError::Reply { .. })));
        }
        let endless = [&b"HTTP/1.1 200 OK\r\n"[..], &[b'a'; LONGEST_HEAD]].concat();
        assert!(matches!(reply(&endless), Err(HttpError::Reply { .. })));
    }
}
