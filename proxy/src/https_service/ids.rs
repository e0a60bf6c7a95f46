//! Numbers of requests, and keys of frames.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::protocol::https_relay;

/// Numbers that no other request has.
#[derive(Debug)]
pub(super) struct Ids {
    base: u64,
    next: AtomicU64,
}

impl Ids {
    pub(super) fn new() -> Self {
        // Without randomness a process has numbers of its own still.
        let base = match crate::users::random() {
            Ok([a, b, c, d, e, f, g, h, ..]) => u64::from_ne_bytes([a, b, c, d, e, f, g, h]),
            Err(_) => u64::from(std::process::id()),
        };
        Self {
            base,
            next: AtomicU64::new(0),
        }
    }

    fn number(&self) -> u64 {
        self.next.fetch_add(1, Ordering::Relaxed)
    }

    pub(super) fn next(&self) -> String {
        format!("{:016x}{:08x}", self.base, self.number())
    }

    /// A key for one frame. It goes with the frame: nothing hangs on that it
    /// cannot be guessed.
    pub(super) fn key(&self) -> [u8; https_relay::MIN_KEY + 7] {
        let mut state = self.base ^ self.number();
        let mut key = [0; https_relay::MIN_KEY + 7];
        for piece in key.chunks_mut(8) {
            // SplitMix64.
            state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut z = state;
            z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            z ^= z >> 31;
            piece.copy_from_slice(z.to_ne_bytes().get(..piece.len()).unwrap_or_default());
        }
        key
    }
}
