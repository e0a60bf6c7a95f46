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
    /// A stream without chunks.
    Anything,
}

/// From plain bytes to sealed ones.
#[derive(Debug)]
pub struct Sealer {
    cipher: Cipher,
    longest: usize,
    is_chunked: bool,
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
            next: if method.is_cfb() {
                Next::Anything
            } else {
                Next::Length
            },
        }
    }

    /// How many bytes the next step needs at least.
    #[must_use]
    pub const fn needed(&self) -> usize {
        match self.next {
            Next::Length => LENGTH_LEN,
            Next::Payload(len) => len + TAG_LEN,
            Next::Anything => 1,
        }
    }

    /// Opens the next piece in place, if it is all here: where its payload is,
    /// if it is one, and how many bytes are used up. Each piece is opened once.
    ///
    /// # Errors
    /// [`Refused`]: nothing more can be opened.
    pub fn open(&mut self, bytes: &mut [u8]) -> Result<Option<(Range<usize>, usize)>, Refused> {
        let used = match self.next {
            Next::Anything => bytes.len().max(1),
            _ => self.needed(),
        };
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
            Next::Anything => Ok(Some((0..len, used))),
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
            is_chunked: !method.is_cfb(),
        }
    }

    /// Appends `payload` as chunks of about equal length.
    pub fn seal(&mut self, payload: &[u8], out: &mut Vec<u8>) {
        if payload.is_empty() {
            return;
        }
        if !self.is_chunked {
            self.seal_piece(payload, out);
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

    /// How many of `most` bytes a single chunk has room for, if it is worth while to
    /// seal them where they are: the short chunks of the AEAD methods would need many
    /// such places.
    #[must_use]
    pub const fn fits(&self, most: usize) -> Option<usize> {
        if self.longest < 0xffff {
            return None;
        }
        Some(if most < self.longest {
            most
        } else {
            self.longest
        })
    }

    /// Seals the `len` bytes that lie in `chunk` after the first [`LENGTH_LEN`] where
    /// they are: how many bytes of `chunk` that makes. `None`, and nothing is sealed,
    /// if there is no room for the tag or it is more than one chunk.
    pub fn seal_in_place(&mut self, chunk: &mut [u8], len: usize) -> Option<usize> {
        if len > self.longest || !self.is_chunked {
            return None;
        }
        let (head, rest) = chunk.split_first_chunk_mut::<LENGTH_LEN>()?;
        let (payload, rest) = rest.split_at_mut_checked(len)?;
        let tag = rest.first_chunk_mut::<TAG_LEN>()?;
        let len = u16::try_from(len).ok()?;
        let (length, tag_of_length) = head.split_first_chunk_mut::<2>()?;
        *length = len.to_be_bytes();
        tag_of_length.copy_from_slice(&self.cipher.seal_in_place(length)?);
        *tag = self.cipher.seal_in_place(payload)?;
        Some(LENGTH_LEN + payload.len() + TAG_LEN)
    }

    /// Appends one sealed piece.
    pub(super) fn seal_piece(&mut self, piece: &[u8], out: &mut Vec<u8>) {
        let from = out.len();
        out.extend_from_slice(piece);
        self.cipher.seal(out, from);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::shadowsocks::Key;

    fn cipher(method: Method) -> Cipher {
        Cipher::new(method, &Key::from_password(method, b"secret"), &[]).unwrap()
    }

    #[test]
    fn what_is_sealed_in_place_is_what_is_sealed_elsewhere() {
        let method = Method::Blake3Aes256Gcm;
        let mut apart = Sealer::new(method, cipher(method));
        let mut in_place = Sealer::new(method, cipher(method));
        for len in [1, 15, 1_400, 0xffff] {
            let payload: Vec<u8> = (0..len).map(|at: usize| at.to_le_bytes()[0]).collect();
            let mut expected = Vec::new();
            apart.seal(&payload, &mut expected);
            let mut chunk = vec![7; LENGTH_LEN + len + TAG_LEN + 3];
            chunk[LENGTH_LEN..LENGTH_LEN + len].copy_from_slice(&payload);
            let sealed = in_place.seal_in_place(&mut chunk, len).unwrap();
            assert_eq!(chunk[..sealed], expected);
            assert_eq!(chunk[sealed..], [7; 3]);
        }
    }

    #[test]
    fn what_has_no_room_is_not_sealed() {
        let method = Method::Blake3Aes128Gcm;
        let mut sealer = Sealer::new(method, cipher(method));
        for (room, len) in [
            (0, 0),
            (LENGTH_LEN + 9, 10),
            (LENGTH_LEN + 10 + TAG_LEN - 1, 10),
            (1 << 17, 1 << 16),
        ] {
            let mut chunk = vec![7; room];
            assert_eq!(sealer.seal_in_place(&mut chunk, len), None);
            assert!(chunk.iter().all(|&byte| byte == 7), "{room} {len}");
        }
        assert_eq!(sealer.fits(10), Some(10));
        assert_eq!(sealer.fits(1 << 20), Some(0xffff));
        let method = Method::Aes128Gcm;
        assert_eq!(Sealer::new(method, cipher(method)).fits(10), None);
    }
}
