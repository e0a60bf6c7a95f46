//! Reading binary fields one after the other.

/// The bytes not yet read. A read that finds too few empties it, so that every
/// later read finds too few as well.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cursor<'a>(pub(super) &'a [u8]);

impl<'a> Cursor<'a> {
    pub(super) fn byte(&mut self) -> Option<u8> {
        self.array::<1>().map(|[byte]| byte)
    }

    pub(super) fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let head = self.0.first_chunk::<N>().copied();
        self.0 = self.0.get(N..).unwrap_or_default();
        head
    }

    /// Two bytes, the higher one first.
    pub(super) fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_be_bytes)
    }

    pub(super) fn slice(&mut self, len: usize) -> Option<&'a [u8]> {
        let rest = self.0;
        self.0 = rest.get(len..).unwrap_or_default();
        rest.get(..len)
    }

    /// A length byte and as many bytes.
    pub(super) fn counted(&mut self) -> Option<&'a [u8]> {
        let len = usize::from(self.byte()?);
        self.slice(len)
    }

    /// How many of `whole`'s bytes have been read.
    pub(super) fn used(&self, whole: &[u8]) -> usize {
        whole.len() - self.0.len()
    }
}
