//! Bytes that say where they belong: cheap to make, cheap to check.
//!
//! Byte `o` of a flow is a function of the flow's key and of `o`, so a receiver
//! sees every lost, repeated, made-up or crossed byte at the offset where it
//! happened, without keeping what was sent. The words are SplitMix64's (Steele,
//! Lea, Flood, 2014): 64 bits per step, so shifted or foreign data passes for the
//! right data once in 2^64 words, and each word costs about a nanosecond.

use std::fmt;

/// SplitMix64's odd increment, 2^64 over the golden ratio.
const STEP: u64 = 0x9E37_79B9_7F4A_7C15;
/// Bytes of a word.
const WORD: usize = 8;

/// The endless content of one flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Payload {
    origin: u64,
}

/// The first byte that is not the one sent at this place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub struct PayloadFault {
    /// Bytes of the flow before it.
    pub offset: u64,
    /// What was sent there.
    pub expected: u8,
    /// What arrived.
    pub got: u8,
}

impl Payload {
    /// The content of the flow named `key`; other keys give unrelated content.
    #[must_use]
    pub const fn new(key: u64) -> Self {
        Self { origin: mix(key) }
    }

    /// Writes the bytes from `offset` on into `into`.
    pub fn fill(&self, offset: u64, into: &mut [u8]) {
        let (mut index, skip) = split(offset);
        let head = if skip == 0 {
            0
        } else {
            into.len().min(WORD - skip)
        };
        let (first, rest) = into.split_at_mut(head);
        if head > 0 {
            first.copy_from_slice(&self.word(index)[skip..skip + head]);
            index = index.wrapping_add(1);
        }
        let mut words = rest.chunks_exact_mut(WORD);
        for chunk in &mut words {
            chunk.copy_from_slice(&self.word(index));
            index = index.wrapping_add(1);
        }
        let tail = words.into_remainder();
        let length = tail.len();
        tail.copy_from_slice(&self.word(index)[..length]);
    }

    /// Whether `bytes` are those from `offset` on.
    ///
    /// # Errors
    /// The first byte that is not.
    pub fn check(&self, offset: u64, bytes: &[u8]) -> Result<(), PayloadFault> {
        let (_, skip) = split(offset);
        let head = if skip == 0 {
            0
        } else {
            bytes.len().min(WORD - skip)
        };
        let (first, rest) = bytes.split_at(head);
        self.check_bytes(offset, first)?;
        let mut at = offset.wrapping_add(head as u64);
        let mut words = rest.chunks_exact(WORD);
        for chunk in &mut words {
            if chunk != self.word(split(at).0) {
                return self.check_bytes(at, chunk);
            }
            at = at.wrapping_add(WORD as u64);
        }
        self.check_bytes(at, words.remainder())
    }

    /// At most one word, compared byte by byte.
    fn check_bytes(&self, offset: u64, bytes: &[u8]) -> Result<(), PayloadFault> {
        for (&got, offset) in bytes.iter().zip(offset..) {
            let (index, skip) = split(offset);
            let expected = self.word(index)[skip];
            if got != expected {
                return Err(PayloadFault {
                    offset,
                    expected,
                    got,
                });
            }
        }
        Ok(())
    }

    const fn word(&self, index: u64) -> [u8; WORD] {
        mix(self.origin.wrapping_add(index.wrapping_mul(STEP))).to_le_bytes()
    }
}

impl fmt::Display for PayloadFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "byte {} of the flow arrived as {:#04x}, {:#04x} was sent: bytes were lost, made up or crossed with another connection",
            self.offset, self.got, self.expected
        )
    }
}

/// Word index and byte within the word of `offset`.
#[expect(clippy::cast_possible_truncation, reason = "less than a word")]
const fn split(offset: u64) -> (u64, usize) {
    (offset / WORD as u64, (offset % WORD as u64) as usize)
}

/// SplitMix64's output function.
const fn mix(state: u64) -> u64 {
    let z = state.wrapping_add(STEP);
    let z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(key: u64, offset: u64, length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        Payload::new(key).fill(offset, &mut bytes);
        bytes
    }

    #[test]
    fn mixes_as_splitmix64() {
        // First outputs of the reference implementation from seed 1234567.
        let mut state = 1_234_567_u64;
        let mut next = || {
            let word = mix(state);
            state = state.wrapping_add(STEP);
            word
        };
        assert_eq!(next(), 6_457_827_717_110_365_317);
        assert_eq!(next(), 3_203_168_211_198_807_973);
        assert_eq!(next(), 9_817_491_932_198_370_423);
    }

    #[test]
    fn any_cut_of_the_stream_is_the_same_stream() {
        let whole = bytes(7, 0, 100);
        for from in 0..40 {
            for length in 0..60 {
                assert_eq!(bytes(7, from as u64, length), whole[from..from + length]);
                let payload = Payload::new(7);
                assert_eq!(
                    payload.check(from as u64, &whole[from..from + length]),
                    Ok(())
                );
            }
        }
    }

    #[test]
    fn every_single_wrong_byte_is_found_where_it_is() {
        let payload = Payload::new(3);
        for wrong in 0..50 {
            let mut sent = bytes(3, 5, 50);
            sent[wrong] ^= 0x10;
            let fault = payload.check(5, &sent).unwrap_err();
            assert_eq!(fault.offset, 5 + wrong as u64);
            assert_eq!(fault.got, fault.expected ^ 0x10);
        }
    }

    #[test]
    fn lost_repeated_and_crossed_bytes_are_found() {
        let payload = Payload::new(1);
        for shift in 1..1000 {
            assert!(
                payload.check(0, &bytes(1, shift, 64)).is_err(),
                "lost {shift}"
            );
            assert!(
                payload.check(shift, &bytes(1, 0, 64)).is_err(),
                "repeated {shift}"
            );
        }
        for other in 2..1000 {
            assert!(
                payload.check(0, &bytes(other, 0, 64)).is_err(),
                "crossed {other}"
            );
        }
    }
}
