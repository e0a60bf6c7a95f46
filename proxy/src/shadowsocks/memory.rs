//! Memory to seal and open in. A connection needs some for a moment, and for longer only
//! while its client does not keep up: a thread needs a little, not each of its connections.

use std::cell::RefCell;

/// Pieces that a thread keeps.
const MOST_SPARE: usize = 16;
/// The largest that is kept.
const LARGEST: usize = 256 * 1024;

thread_local! {
    static SPARE: RefCell<Vec<Vec<u8>>> = const { RefCell::new(Vec::new()) };
}

/// Memory that somebody has written to before, or none yet.
pub(super) fn lend() -> Vec<u8> {
    SPARE.with_borrow_mut(Vec::pop).unwrap_or_default()
}

/// Keeps `memory` for the next who needs some, unless there is enough.
pub(super) fn give_back(memory: Vec<u8>) {
    SPARE.with_borrow_mut(|spare| {
        if spare.len() < MOST_SPARE && (1..=LARGEST).contains(&memory.capacity()) {
            spare.push(memory);
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_keeps_little() {
        give_back(Vec::new());
        give_back(vec![0; LARGEST + 1]);
        assert_eq!(lend().capacity(), 0);
        for _ in 0..2 * MOST_SPARE {
            give_back(vec![1; 100]);
        }
        let kept = std::iter::repeat_with(lend).take_while(|memory| memory.len() == 100);
        assert_eq!(kept.count(), MOST_SPARE);
    }
}
