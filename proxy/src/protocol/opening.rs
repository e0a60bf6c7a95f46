//! Which dialect a connection begins with, by its first bytes.
//!
//! | bytes | opening |
//! |---|---|
//! | `00`, `01` | AUTH of `auth_target`: no text begins so |
//! | `05` | `socks5` |
//! | `16` | a TLS handshake record; what is inside has an opening of its own |
//! | `0D 0A 0D 0A 00 0D 0A 51 55 49 54 0A` | `proxy_v2`; what follows has one too |
//! | a word of an HTTP method's letters, a space, not a port | `http` |
//! | other text, also beyond ASCII | `line`: `host port user password` |
//! | a magic of `https_relay`, where that is served | `https_relay` |
//! | anything else, `04` (SOCKS4 has no passwords) among it | refused |
//!
//! The two dialects of text differ in their second word: a line has a port
//! there, digits between two spaces, and no request target can look so. Where
//! only one of them is served, the first byte decides.
//!
//! A PROXY header says who the client is, so it is believed only where the
//! caller has put it among the accepted openings: for a peer on its list.

use super::line::LONGEST_PORT;
use super::{Dialect, WireError, https_relay, is_token, proxy_v2, socks5};

/// What a connection can begin with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Opening {
    /// SOCKS5.
    Socks5 = 1,
    /// Seed 001's line of text.
    Line = 2,
    /// Seed 000's AUTH message.
    AuthTarget = 4,
    /// An HTTP request.
    Http = 8,
    /// A TLS ClientHello.
    Tls = 16,
    /// A PROXY protocol header, version 2.
    ProxyV2 = 32,
    /// A frame of seed 003's HTTPS relay: only on listeners of the HTTPS service.
    HttpsRelay = 64,
}

/// A set of openings: what a listener serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Openings(u8);

impl Openings {
    /// None of them.
    pub const NONE: Self = Self(0);
    /// The dialects themselves, without TLS and PROXY headers round them.
    pub const DIALECTS: Self = Self::NONE
        .with(Opening::Socks5)
        .with(Opening::Line)
        .with(Opening::AuthTarget)
        .with(Opening::Http);
    /// All that a proxy's own listeners serve.
    pub const ALL: Self = Self::DIALECTS.with(Opening::Tls).with(Opening::ProxyV2);

    /// These and `opening`.
    #[must_use]
    pub const fn with(self, opening: Opening) -> Self {
        Self(self.0 | opening as u8)
    }

    /// These without `opening`.
    #[must_use]
    pub const fn without(self, opening: Opening) -> Self {
        Self(self.0 & !(opening as u8))
    }

    /// Whether `opening` is one of these.
    #[must_use]
    pub const fn contains(self, opening: Opening) -> bool {
        self.0 & opening as u8 != 0
    }
}

impl From<Dialect> for Opening {
    fn from(dialect: Dialect) -> Self {
        match dialect {
            Dialect::Socks5 => Self::Socks5,
            Dialect::Http => Self::Http,
            Dialect::Line => Self::Line,
            Dialect::AuthTarget => Self::AuthTarget,
        }
    }
}

impl FromIterator<Opening> for Openings {
    fn from_iter<I: IntoIterator<Item = Opening>>(openings: I) -> Self {
        openings.into_iter().fold(Self::NONE, Self::with)
    }
}

/// What a connection begins with, if it is one of `accepted`.
///
/// Nothing is used up: the opening's own parser starts at the same byte.
///
/// # Errors
/// [`WireError::Unrecognised`] if nothing that is accepted begins so.
pub fn recognise(bytes: &[u8], accepted: Openings) -> Result<Option<Opening>, WireError> {
    let Some(&first) = bytes.first() else {
        return Ok(None);
    };
    if accepted.contains(Opening::HttpsRelay) {
        match https_relay::opening(bytes) {
            Ok(Some(_)) => return Ok(Some(Opening::HttpsRelay)),
            // Every other opening that stands beside it is longer than a magic.
            Ok(None) => return Ok(None),
            Err(_) => {}
        }
    }
    let opening = match first {
        0 | 1 => Some(Opening::AuthTarget),
        socks5::VERSION => Some(Opening::Socks5),
        TLS_HANDSHAKE => Some(Opening::Tls),
        b'\r' if accepted.contains(Opening::ProxyV2) => match signature(bytes) {
            Some(whole) => whole.then_some(Opening::ProxyV2),
            None => return Ok(None),
        },
        0x21..=0x7e | 0xc2..=0xf4 => match text(bytes, accepted) {
            Some(opening) => Some(opening),
            None => return Ok(None),
        },
        _ => None,
    };
    opening
        .filter(|&opening| accepted.contains(opening))
        .map(Some)
        .ok_or(WireError::Unrecognised { first })
}

/// The type of a TLS record that holds a handshake message (RFC 8446, section 5.1).
const TLS_HANDSHAKE: u8 = 0x16;

/// No method that anybody has registered is longer.
const LONGEST_METHOD: usize = 32;

/// Whether `bytes` begin with the PROXY signature; `None` as long as they may.
fn signature(bytes: &[u8]) -> Option<bool> {
    let len = bytes.len().min(proxy_v2::SIGNATURE.len());
    if bytes.get(..len) != proxy_v2::SIGNATURE.get(..len) {
        return Some(false);
    }
    (len == proxy_v2::SIGNATURE.len()).then_some(true)
}

/// Which of the dialects of text this is; `None` as long as it may be either.
fn text(bytes: &[u8], accepted: Openings) -> Option<Opening> {
    if !accepted.contains(Opening::Http) {
        return Some(Opening::Line);
    }
    if !accepted.contains(Opening::Line) {
        return Some(Opening::Http);
    }
    let letters = bytes
        .iter()
        .take(LONGEST_METHOD + 1)
        .take_while(|&&byte| is_token(byte))
        .count();
    if letters > LONGEST_METHOD {
        return Some(Opening::Line);
    }
    let rest = match bytes.get(letters) {
        Some(b' ') => bytes.get(letters + 1..).unwrap_or_default(),
        Some(_) => return Some(Opening::Line),
        None => return None,
    };
    let digits = rest
        .iter()
        .take(LONGEST_PORT + 1)
        .take_while(|byte| byte.is_ascii_digit())
        .count();
    match rest.get(digits) {
        Some(b' ') if (1..=LONGEST_PORT).contains(&digits) => Some(Opening::Line),
        Some(_) => Some(Opening::Http),
        None if digits > LONGEST_PORT => Some(Opening::Http),
        None => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn all(bytes: &[u8]) -> Result<Option<Opening>, WireError> {
        recognise(bytes, Openings::ALL)
    }

    #[test]
    fn the_first_byte_decides_the_binary_dialects() {
        assert_eq!(all(b""), Ok(None));
        assert_eq!(all(&[0]), Ok(Some(Opening::AuthTarget)));
        assert_eq!(all(&[1]), Ok(Some(Opening::AuthTarget)));
        assert_eq!(all(&[5]), Ok(Some(Opening::Socks5)));
        assert_eq!(all(&[0x16]), Ok(Some(Opening::Tls)));
        for first in [2, 3, 4, 6, b'\n', b' ', 0x7f, 0x80, 0xc1, 0xff] {
            assert_eq!(all(&[first]), Err(WireError::Unrecognised { first }));
        }
    }

    #[test]
    fn the_second_word_tells_http_from_a_line() {
        let http = [
            &b"CONNECT a.example:443 HTTP/1.1\r\n"[..],
            b"CONNECT 10.0.0.1:443 HTTP/1.1\r\n",
            b"CONNECT [::1]:443 HTTP/1.1\r\n",
            b"CONNECT 1:443 HTTP/1.1\r\n",
            b"CONNECT 123456 ",
            b"GET http://a.example/ HTTP/1.1\r\n",
            b"GET / HTTP/1.1\r\n",
            b"GET  ",
            b"PROXY TCP4 10.0.0.1 ",
        ];
        for bytes in http {
            let text = String::from_utf8_lossy(bytes);
            assert_eq!(all(bytes), Ok(Some(Opening::Http)), "{text}");
        }
        let lines = [
            &b"127.0.0.1 8000 aaaa bbbb\r\n"[..],
            b"localhost 80 u p\r\n",
            b"GET 80 u p\r\n",
            b"::1 80 u p\r\n",
            b"[",
            b"\xe4\xbe\x8b",
            b"GET\r\n",
            b"a-name-that-is-longer-than-any-method",
        ];
        for bytes in lines {
            let text = String::from_utf8_lossy(bytes);
            assert_eq!(all(bytes), Ok(Some(Opening::Line)), "{text}");
        }
        for bytes in [&b"GET"[..], b"GET ", b"GET 80", b"GET 99999"] {
            assert_eq!(all(bytes), Ok(None));
        }
    }

    #[test]
    fn what_is_not_served_is_not_recognised() {
        let first = |bytes: &[u8], accepted| recognise(bytes, accepted);
        let no_http = Openings::ALL.without(Opening::Http);
        let no_line = Openings::ALL.without(Opening::Line);
        assert_eq!(first(b"G", no_http), Ok(Some(Opening::Line)));
        assert_eq!(first(b"1", no_line), Ok(Some(Opening::Http)));
        let neither = no_http.without(Opening::Line);
        assert_eq!(
            first(b"G", neither),
            Err(WireError::Unrecognised { first: b'G' })
        );
        for (byte, opening) in [
            (0, Opening::AuthTarget),
            (5, Opening::Socks5),
            (0x16, Opening::Tls),
            (b'\r', Opening::ProxyV2),
        ] {
            assert_eq!(
                first(&[byte], Openings::ALL.without(opening)),
                Err(WireError::Unrecognised { first: byte })
            );
        }
        assert!(!Openings::DIALECTS.contains(Opening::Tls));
        assert_eq!(
            Openings::from_iter([Opening::Line, Opening::Http]),
            Openings::NONE.with(Opening::Http).with(Opening::Line)
        );
    }

    #[test]
    fn a_magic_is_recognised_where_the_relay_is_served() {
        let service = Openings::NONE
            .with(Opening::Http)
            .with(Opening::HttpsRelay)
            .with(Opening::Tls)
            .with(Opening::ProxyV2);
        // Whatever the first byte looks like.
        for first in [0, 1, 5, 0x16, b'\r', b'G', 0x80, 0xff] {
            let magic = https_relay::magic([first, 3, 1, 2]);
            assert_eq!(recognise(&magic[..7], service), Ok(None));
            assert_eq!(recognise(&magic, service), Ok(Some(Opening::HttpsRelay)));
            assert_ne!(all(&magic), Ok(Some(Opening::HttpsRelay)));
        }
        for (bytes, opening) in [
            (&b"GET http://a/ HTTP/1.1\r\n"[..], Opening::Http),
            (b"CONNECT a:1 HTTP/1.1\r\n", Opening::Http),
            (&[0x16, 3, 1, 2, 0, 1, 0, 1], Opening::Tls),
            (&proxy_v2::SIGNATURE, Opening::ProxyV2),
        ] {
            assert_eq!(recognise(bytes, service), Ok(Some(opening)));
        }
        assert!(recognise(&[0; 8], service).is_err(), "no magic");
    }

    #[test]
    fn the_proxy_signature_is_whole_or_nothing() {
        for cut in 1..proxy_v2::SIGNATURE.len() {
            let mut bytes = proxy_v2::SIGNATURE[..cut].to_vec();
            assert_eq!(all(&bytes), Ok(None));
            bytes.push(b'x');
            assert_eq!(all(&bytes), Err(WireError::Unrecognised { first: b'\r' }));
        }
        assert_eq!(all(&proxy_v2::SIGNATURE), Ok(Some(Opening::ProxyV2)));
    }

    proptest! {
        #[test]
        fn splits_do_not_matter(
            bytes in prop_oneof![
                proptest::collection::vec(any::<u8>(), 0..20),
                "[A-Z]{0,34} ?[0-9]{0,7}[ :]?.{0,3}".prop_map(String::into_bytes),
            ],
            accepted in any::<u8>().prop_map(Openings),
        ) {
            let whole = recognise(&bytes, accepted);
            for cut in 0..bytes.len() {
                let part = recognise(&bytes[..cut], accepted);
                prop_assert!(part == Ok(None) || part == whole);
            }
            if let Ok(Some(opening)) = whole {
                prop_assert!(accepted.contains(opening));
            }
        }
    }
}
