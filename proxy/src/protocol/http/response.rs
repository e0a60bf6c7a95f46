//! An origin's response on its way to the client.
//!
//! ```text
//! HTTP/1.1 status [reason] CR LF | fields | CR LF | body
//! ```
//!
//! What a body is depends on the request too: none after HEAD, after 1xx, 204
//! and 304 (RFC 9112, section 6.3). A response that could be framed in two ways
//! is refused like a request: the client gets 502.

use std::fmt;

use super::fields::{Fields, finish, write_field, write_framing};
use super::{Body, Framing, MAX_FIELDS, Malformed, head};
use crate::protocol::WireError;

/// What of a request its response must be read against.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asked {
    /// The method was HEAD.
    pub head: bool,
    /// The client speaks HTTP/1.0: it knows neither chunks nor interim responses.
    pub old: bool,
}

/// A response head.
#[derive(Clone, PartialEq, Eq)]
pub struct Response {
    /// The status, 100 to 999 without 101.
    pub status: u16,
    /// Whether the origin takes another request on this connection afterwards.
    pub keep_alive: bool,
    framing: Framing,
    /// What the fields say of the body, whether there is one or not.
    said: Framing,
    old_client: bool,
    lines: Vec<u8>,
}

impl Response {
    /// Whether another head follows, that of the final response. More than
    /// [`MAX_INTERIM`](super::MAX_INTERIM) of them are nothing to wait for.
    #[must_use]
    pub const fn is_interim(&self) -> bool {
        self.status < 200
    }

    /// How the body ends on the origin's connection.
    #[must_use]
    pub const fn framing(&self) -> Framing {
        self.framing
    }

    /// The body, before its first byte.
    #[must_use]
    pub const fn body(&self) -> Body {
        if self.old_client {
            Body::decoded(self.framing)
        } else {
            Body::new(self.framing)
        }
    }

    /// Whether the client can tell where the body ends without the connection's end.
    #[must_use]
    pub const fn is_delimited(&self) -> bool {
        match self.framing {
            Framing::None | Framing::Length(_) => true,
            Framing::Chunked => !self.old_client,
            Framing::UntilClose => false,
        }
    }

    /// Adds a field of ours to those that go on.
    pub fn add_field(&mut self, name: &str, value: &str) {
        write_field(&mut self.lines, name, value.as_bytes());
    }

    /// The head for the client, with Via if `via`. The client is told that the
    /// connection closes unless it stays open: `keep_alive`, and
    /// [`Response::is_delimited`]. Empty for an interim response to a client
    /// that knows none.
    #[must_use]
    pub fn head(&self, via: bool, keep_alive: bool) -> Vec<u8> {
        if self.is_interim() && self.old_client {
            return Vec::new();
        }
        let mut head = self.lines.clone();
        if self.said != Framing::Chunked || !self.old_client {
            write_framing(&mut head, self.said);
        }
        let stays = self.is_interim() || (keep_alive && self.is_delimited());
        finish(&mut head, via, stays);
        head
    }
}

impl fmt::Debug for Response {
    /// Without the fields: there are secrets among them.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Response")
            .field("status", &self.status)
            .field("framing", &self.framing)
            .field("keep_alive", &self.keep_alive)
            .finish_non_exhaustive()
    }
}

/// Parses a response head.
///
/// # Errors
/// [`WireError::Http`]: answer 502.
pub fn response(bytes: &[u8], asked: Asked) -> Result<Option<(Response, usize)>, WireError> {
    let Some(len) = head::len(bytes, check_start_line)? else {
        return Ok(None);
    };
    let response = parse(bytes.get(..len).unwrap_or_default(), asked)?;
    Ok(Some((response, len)))
}

fn check_start_line(line: &[u8]) -> Result<(), Malformed> {
    let named = line.starts_with(b"HTTP/");
    match httparse::Response::new(&mut []).parse(line) {
        Ok(_) => Ok(()),
        Err(error) => Err(head::start_line_error(error, named)),
    }
}

fn parse(head: &[u8], asked: Asked) -> Result<Response, Malformed> {
    let mut fields = [httparse::EMPTY_HEADER; MAX_FIELDS];
    let mut parsed = httparse::Response::new(&mut fields);
    match parsed.parse(head) {
        Ok(httparse::Status::Complete(len)) if len == head.len() => {}
        _ => return Err(Malformed::Field),
    }
    let (Some(status), Some(version)) = (parsed.code, parsed.version) else {
        return Err(Malformed::StartLine);
    };
    let reason = parsed.reason.unwrap_or_default();
    match status {
        101 => return Err(Malformed::Upgrade),
        100.. => {}
        _ => return Err(Malformed::StartLine),
    }
    let fields = Fields::new(parsed.headers)?;
    let options = fields.connection()?;
    let old = version == 0;
    let said = fields.framing(old)?;
    let (framing, said) = body(status, asked, said);
    let mut lines = format!("HTTP/1.1 {status} {reason}\r\n").into_bytes();
    fields.write_onward(&mut lines, &options, |_| true);
    Ok(Response {
        status,
        keep_alive: !old && !options.contains(b"close") && framing != Framing::UntilClose,
        framing,
        said,
        old_client: asked.old,
        lines,
    })
}

/// How the body is framed, and what the head says of it (RFC 9112, section 6.3;
/// RFC 9110, sections 8.6 and 15.3.5).
const fn body(status: u16, asked: Asked, said: Framing) -> (Framing, Framing) {
    match status {
        ..200 | 204 => (Framing::None, Framing::None),
        304 => (Framing::None, said),
        _ if asked.head => (Framing::None, said),
        _ => match said {
            Framing::None => (Framing::UntilClose, Framing::UntilClose),
            said => (said, said),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::testing::settled;
    use proptest::prelude::*;

    const GET: Asked = Asked {
        head: false,
        old: false,
    };
    const HEAD: Asked = Asked {
        head: true,
        old: false,
    };
    const OLD: Asked = Asked {
        head: false,
        old: true,
    };

    fn parsed(head: &str, asked: Asked) -> Response {
        let bytes = [head.as_bytes(), b"body"].concat();
        let (response, used) = response(&bytes, asked).unwrap().unwrap();
        assert_eq!(used, head.len());
        response
    }

    fn refused(head: &str) -> Malformed {
        match response(head.as_bytes(), GET) {
            Err(WireError::Http(malformed)) => malformed,
            other => panic!("{head:?}: {other:?}"),
        }
    }

    fn text(head: Vec<u8>) -> String {
        String::from_utf8(head).unwrap()
    }

    #[test]
    fn a_response_goes_on_without_what_was_for_us() {
        let response = parsed(
            "HTTP/1.1 200 OK\r\nContent-Length: 007\r\nConnection: keep-alive, X-Hop\r\nX-Hop: 1\r\nKeep-Alive: timeout=5\r\nUpgrade: h2c\r\nTrailer: X\r\nProxy-Authenticate: Basic\r\nSet-Cookie: a\r\nSet-Cookie:\tb \r\n\r\n",
            GET,
        );
        assert_eq!(response.status, 200);
        assert_eq!(response.framing(), Framing::Length(7));
        assert!(response.keep_alive && response.is_delimited());
        let expected = "HTTP/1.1 200 OK\r\nSet-Cookie: a\r\nSet-Cookie: b\r\nContent-Length: 7\r\n";
        assert_eq!(text(response.head(false, true)), format!("{expected}\r\n"));
        assert_eq!(
            text(response.head(true, false)),
            format!("{expected}Via: 1.1 weirgate\r\nConnection: close\r\n\r\n")
        );
    }

    #[test]
    fn bodies_end_as_the_request_and_the_status_say() {
        let framing = |head, asked| parsed(head, asked).framing();
        let length = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n";
        let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n";
        let neither = "HTTP/1.1 200 OK\r\n\r\n";
        assert_eq!(framing(length, GET), Framing::Length(4));
        assert_eq!(framing(chunked, GET), Framing::Chunked);
        assert_eq!(framing(neither, GET), Framing::UntilClose);
        for head in [length, chunked, neither] {
            assert_eq!(framing(head, HEAD), Framing::None);
        }
        assert!(text(parsed(length, HEAD).head(false, true)).contains("Content-Length: 4\r\n"));
        for status in [100, 103, 204, 304] {
            let head = format!("HTTP/1.1 {status} \r\nContent-Length: 4\r\n\r\n");
            let response = parsed(&head, GET);
            assert_eq!(response.framing(), Framing::None);
            let told = text(response.head(false, true)).contains("Content-Length");
            assert_eq!(told, status == 304, "{status}");
        }
    }

    #[test]
    fn a_connection_stays_where_the_end_is_known() {
        let neither = parsed("HTTP/1.1 200 OK\r\n\r\n", GET);
        assert!(!neither.keep_alive && !neither.is_delimited());
        assert!(text(neither.head(false, true)).contains("Connection: close\r\n"));
        let close = parsed(
            "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: Close\r\n\r\n",
            GET,
        );
        assert!(!close.keep_alive && close.is_delimited());
        assert_eq!(
            text(close.head(false, true)),
            "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
        );
        let old = parsed("HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n", GET);
        assert!(!old.keep_alive && old.is_delimited());
        let interim = parsed("HTTP/1.1 100 Continue\r\n\r\n", GET);
        assert!(interim.is_interim());
        assert_eq!(
            text(interim.head(false, false)),
            "HTTP/1.1 100 Continue\r\n\r\n"
        );
    }

    #[test]
    fn an_old_client_gets_neither_chunks_nor_interim_responses() {
        let chunked = parsed("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", OLD);
        assert!(!chunked.is_delimited());
        assert_eq!(
            text(chunked.head(false, true)),
            "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n"
        );
        let mut body = chunked.body();
        assert_eq!(body.step(b"1\r\nx"), Ok(Some(super::super::Step::Skip(3))));
        let interim = parsed("HTTP/1.1 100 Continue\r\n\r\n", OLD);
        assert_eq!(interim.head(true, true), b"");
    }

    #[test]
    fn what_could_mean_two_things_is_refused() {
        let with = |fields: &str| refused(&format!("HTTP/1.1 200 OK\r\n{fields}\r\n\r\n"));
        assert_eq!(
            with("Content-Length: 4\r\nTransfer-Encoding: chunked"),
            Malformed::TwoFramings
        );
        let name = "Content-Length";
        assert_eq!(
            with("Content-Length: 4\r\ncontent-length: 4"),
            Malformed::Repeated { name }
        );
        for value in ["4, 4", "+4", "-4", "0x4", "", "4 4", "9223372036854775808"] {
            assert_eq!(
                with(&format!("Content-Length: {value}")),
                Malformed::Value { name },
                "{value}"
            );
        }
        assert_eq!(with("Transfer-Encoding: gzip, chunked"), Malformed::Coding);
        assert_eq!(with("Transfer-Encoding : chunked"), Malformed::Field);
        assert_eq!(with("X: a\r\n b"), Malformed::Folded);
        assert_eq!(refused("HTTP/1.1 200 OK\nX: y\r\n\r\n"), Malformed::LineEnd);
        assert_eq!(
            refused("HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"),
            Malformed::Coding
        );
        assert_eq!(
            refused("HTTP/1.1 101 Switching Protocols\r\n\r\n"),
            Malformed::Upgrade
        );
        for line in ["HTTP/2 200 OK", "HTTP/1.2 200 OK"] {
            assert_eq!(refused(&format!("{line}\r\n")), Malformed::Version);
        }
        for line in ["HTTP/1.1 20 OK", "HTTP/1.1  200 OK", "ICY 200 OK", ""] {
            assert_eq!(refused(&format!("{line}\r\n")), Malformed::StartLine);
        }
        assert_eq!(refused("HTTP/1.1 099 OK\r\n\r\n"), Malformed::StartLine);
    }

    proptest! {
        #[test]
        fn splits_do_not_matter(pieces in proptest::collection::vec(prop::sample::select(vec![
            "HTTP/1.1 200 OK\r\n", "HTTP/1.0 204 \r\n", "Content-Length: 3\r\n", "Transfer-Encoding: chunked\r\n",
            "Connection: close\r\n", "\r\n", "\n", "X: y", "\r", " ",
        ]), 0..8), old in any::<bool>(), head in any::<bool>()) {
            settled(|bytes| response(bytes, Asked { head, old }), pieces.concat().as_bytes());
        }

        #[test]
        fn what_goes_on_says_the_same(
            status in 200u16..600,
            framing in prop::sample::select(vec!["", "Content-Length: 5\r\n", "Transfer-Encoding: chunked\r\n"]),
            fields in proptest::collection::vec("X-[a-zA-Z]{1,8}: [!-~]{0,8}\r\n", 0..5),
            head in any::<bool>(), via in any::<bool>(), keep_alive in any::<bool>(),
        ) {
            let asked = Asked { head, old: false };
            let text = format!("HTTP/1.1 {status} Some Reason\r\n{framing}{}\r\n", fields.concat());
            let (before, _) = response(text.as_bytes(), asked).unwrap().unwrap();
            let onward = before.head(via, keep_alive);
            let (after, used) = response(&onward, asked).unwrap().unwrap();
            prop_assert_eq!(used, onward.len());
            prop_assert_eq!((after.status, after.framing()), (before.status, before.framing()));
            prop_assert_eq!(after.keep_alive, keep_alive && before.is_delimited());
        }
    }
}
