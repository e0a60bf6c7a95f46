//! The chunks of a TCP session, one direction each.

use std::ops::Range;

use super::cipher::Cipher;
use super::{Method, Refused, TAG_LEN};

/// The bytes of a sealed length.
pub const LENGTH_LEN: usize = 2 + TAG_LEN;

/// From sealed bytes to plain ones.
#[derive(Debug)]
pub struct Opener {
    cipher: Cipher,
    longest: usize,
    next: Next,
}

/// What comes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    Length,
    /// A payload of so many bytes, its tag not counted.
    Payload(usize),
}

/// From plain bytes to sealed ones.
#[derive(Debug)]
pub struct Sealer {
    cipher: Cipher,
    longest: usize,
}

/// The longest payload of a chunk.
#[must_use]
pub const fn longest(method: Method) -> usize {
    if method.is_2022() { 0xffff } else { 0x3fff }
}

impl Opener {
    /// A session whose next chunk begins with its length.
    #[must_use]
    pub const fn new(method: Method, cipher: Cipher) -> Self {
        Self {
            cipher,
            longest: longest(method),
            next: Next::Length,
        }
    }

    /// How many bytes the next step needs.
    #[must_use]
    pub const fn needed(&self) -> usize {
        match self.next {
            Next::Length => LENGTH_LEN,
            Next::Payload(len) => len + TAG_LEN,
        }
    }

    /// Opens the next piece in place, if it is all here: where its payload is,
    /// if it is one, and how many bytes are used up. Each piece is opened once.
    ///
    /// # Errors
    /// [`Refused`]: nothing more can be opened.
    pub fn open(&mut self, bytes: &mut [u8]) -> Result<Option<(Range<usize>, usize)>, Refused> {
        let used = self.needed();
        let Some(piece) = bytes.get_mut(..used) else {
            return Ok(None);
        };
        let len = self.cipher.open(piece)?;
        match self.next {
            Next::Length => {
                let [high, low, ..] = *piece else {
                    return Err(Refused::Malformed("no length"));
                };
                self.expect(usize::from(u16::from_be_bytes([high, low])))?;
                Ok(Some((0..0, used)))
            }
            Next::Payload(_) => {
                self.next = Next::Length;
                Ok(Some((0..len, used)))
            }
        }
    }

    /// What was opened with this cipher elsewhere says that a payload of `len` comes next.
    pub(super) const fn expect(&mut self, len: usize) -> Result<(), Refused> {
        if len > self.longest {
            return Err(Refused::Malformed("a chunk that is too long"));
        }
        self.next = Next::Payload(len);
        Ok(())
    }
}

impl Sealer {
    /// A session of which nothing has been sealed by chunks.
    #[must_use]
    pub const fn new(method: Method, cipher: Cipher) -> Self {
        Self {
            cipher,
            longest: longest(method),
        }
    }

    /// Appends `payload` as chunks of about equal length.
    pub fn seal(&mut self, payload: &[u8], out: &mut Vec<u8>) {
        if payload.is_empty() {
            return;
        }
        let chunks = payload.len().div_ceil(self.longest);
        let size = payload.len().div_ceil(chunks);
        out.reserve(payload.len() + chunks * (LENGTH_LEN + TAG_LEN));
        for chunk in payload.chunks(size) {
            // A chunk is never longer than the longest, and that fits.
            let len = u16::try_from(chunk.len()).unwrap_or(u16::MAX);
            self.seal_piece(&len.to_be_bytes(), out);
            self.seal_piece(chunk, out);
        }
    }

    /// Appends one sealed piece.
    pub(super) fn seal_piece(&mut self, piece: &[u8], out: &mut Vec<u8>) {
        let from = out.len();
        out.extend_from_slice(piece);
        self.cipher.seal(out, from);
    }
}
