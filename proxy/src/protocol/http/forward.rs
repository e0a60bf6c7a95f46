//! A request on its way to the origin: what goes on of it, and what we add.

use std::fmt;

use super::fields::{finish, write_field, write_framing};
use super::response::Asked;
use super::{Body, Framing};

/// A request to pass on.
#[derive(Clone, PartialEq, Eq)]
pub struct Forward {
    pub(super) framing: Framing,
    pub(super) asked: Asked,
    /// Request line and fields for the origin, but for those of the connection.
    pub(super) lines: Vec<u8>,
}

impl Forward {
    /// The head for the origin, with Via if `via`. Unless `keep_alive`, the
    /// origin is told that no other request follows.
    #[must_use]
    pub fn head(&self, via: bool, keep_alive: bool) -> Vec<u8> {
        let mut head = self.lines.clone();
        write_framing(&mut head, self.framing);
        finish(&mut head, via, keep_alive);
        head
    }

    /// The method.
    #[must_use]
    pub fn method(&self) -> &[u8] {
        self.words().next().unwrap_or_default()
    }

    /// The path without the query.
    #[must_use]
    pub fn path(&self) -> &[u8] {
        let target = self.words().nth(1).unwrap_or_default();
        target
            .split(|&byte| byte == b'?')
            .next()
            .unwrap_or_default()
    }

    /// Whether a field of this name goes on.
    #[must_use]
    pub fn has_field(&self, name: &str) -> bool {
        self.rows().skip(1).any(|row| is_named(row, name))
    }

    /// Has one field of this name go on, in the place of those that the client sent.
    pub fn set_field(&mut self, name: &str, value: &str) {
        let mut lines = Vec::with_capacity(self.lines.len());
        for (nth, row) in self.rows().enumerate() {
            if nth == 0 || !is_named(row, name) {
                lines.extend(row);
            }
        }
        write_field(&mut lines, name, value.as_bytes());
        self.lines = lines;
    }

    /// Of the request line.
    fn words(&self) -> impl Iterator<Item = &[u8]> {
        self.lines.split(|&byte| byte == b' ')
    }

    /// The request line, then the fields: each with its line's end.
    fn rows(&self) -> impl Iterator<Item = &[u8]> {
        self.lines.split_inclusive(|&byte| byte == b'\n')
    }

    /// Whether it does no harm to send it twice: it has no body and asks for nothing to
    /// be changed (RFC 9110, section 9.2.1).
    #[must_use]
    pub fn may_be_repeated(&self) -> bool {
        let safe: [&[u8]; 3] = [b"GET", b"HEAD", b"OPTIONS"];
        self.framing == Framing::None && safe.contains(&self.method())
    }

    /// How the body ends.
    #[must_use]
    pub const fn framing(&self) -> Framing {
        self.framing
    }

    /// The body, before its first byte.
    #[must_use]
    pub const fn body(&self) -> Body {
        Body::new(self.framing)
    }

    /// What the response must be read against.
    #[must_use]
    pub const fn asked(&self) -> Asked {
        self.asked
    }
}

impl fmt::Debug for Forward {
    /// Without the fields: there are passwords among them.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Forward")
            .field("framing", &self.framing)
            .field("asked", &self.asked)
            .finish_non_exhaustive()
    }
}

/// Whether a line is that of a field.
fn is_named(line: &[u8], name: &str) -> bool {
    let (given, rest) = line.split_at(name.len().min(line.len()));
    given.eq_ignore_ascii_case(name.as_bytes()) && rest.starts_with(b":")
}
