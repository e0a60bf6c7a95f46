//! The finite buffer between a blocking sender and the receiver.
//!
//! A sender that blocks in the model blocks on a buffer of stated size. Over real
//! sockets it would block on whatever the kernel holds: two send and two receive
//! buffers that grow to megabytes, some minutes of a limit of 5000 B/s. So that both
//! drivers mean the same buffer, sender and receiver of a flow, which live in one
//! process, share this count, and the sender waits while `buffer` bytes are on their
//! way. The receiver reads as fast as bytes come, so what is on its way stands in
//! front of the limiter.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use flow::{ByteSize, Timestamp};
use tokio::sync::Notify;

/// How many bytes of a flow may be on their way.
#[derive(Debug)]
pub struct Window {
    size: u64,
    received: AtomicU64,
    /// When the last bytes were received, in nanoseconds of the run.
    freed_at: AtomicU64,
    closed: AtomicBool,
    changed: Notify,
}

/// What a sender may send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room {
    /// At least 1.
    pub bytes: u64,
    /// If it had to wait: when the room came to be, the return of a `send` that
    /// blocked until then.
    pub blocked_until: Option<Timestamp>,
}

impl Window {
    /// A window of `size` bytes, of one byte if `size` is zero.
    #[must_use]
    pub fn new(size: ByteSize) -> Self {
        Self {
            size: size.get().max(1),
            received: AtomicU64::new(0),
            freed_at: AtomicU64::new(0),
            closed: AtomicBool::new(false),
            changed: Notify::new(),
        }
    }

    /// The receiver: `bytes` arrived at `at`.
    pub fn release(&self, bytes: ByteSize, at: Timestamp) {
        self.freed_at.store(at.as_nanos(), Ordering::Relaxed);
        self.received.fetch_add(bytes.get(), Ordering::Release);
        self.changed.notify_one();
    }

    /// The receiver: nothing more will arrive.
    pub fn close(&self) {
        self.closed.store(true, Ordering::Release);
        self.changed.notify_one();
    }

    /// The one sender, which has sent `sent` bytes: waits until all of them have arrived, and
    /// says when the last did. `None` once the receiver has ended.
    pub async fn arrived(&self, sent: u64) -> Option<Timestamp> {
        loop {
            if self.received.load(Ordering::Acquire) >= sent {
                let freed_at = self.freed_at.load(Ordering::Relaxed);
                return Some(Timestamp::from_nanos(freed_at));
            }
            if self.closed.load(Ordering::Acquire) {
                return None;
            }
            self.changed.notified().await;
        }
    }

    /// The one sender, which has sent `sent` bytes: waits until it may send more.
    /// `None` once the receiver has ended.
    pub async fn room(&self, sent: u64) -> Option<Room> {
        let mut waited = false;
        loop {
            if self.closed.load(Ordering::Acquire) {
                return None;
            }
            let received = self.received.load(Ordering::Acquire);
            let under_way = sent.saturating_sub(received);
            if let Some(bytes) = self.size.checked_sub(under_way).filter(|&room| room > 0) {
                let freed_at = || Timestamp::from_nanos(self.freed_at.load(Ordering::Relaxed));
                return Some(Room {
                    bytes,
                    blocked_until: waited.then(freed_at),
                });
            }
            waited = true;
            self.changed.notified().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio_test::{assert_pending, assert_ready_eq, task::spawn};

    #[test]
    fn blocks_at_exactly_its_size_and_opens_by_what_arrived() {
        let window = Window::new(ByteSize::new(100));
        let free = |bytes| {
            Some(Room {
                bytes,
                blocked_until: None,
            })
        };
        assert_ready_eq!(spawn(window.room(0)).poll(), free(100));
        assert_ready_eq!(spawn(window.room(99)).poll(), free(1));
        let mut blocked = spawn(window.room(100));
        assert_pending!(blocked.poll());
        window.release(ByteSize::new(7), Timestamp::from_nanos(55));
        assert!(blocked.is_woken());
        let opened = Room {
            bytes: 7,
            blocked_until: Some(Timestamp::from_nanos(55)),
        };
        assert_ready_eq!(blocked.poll(), Some(opened));
        assert_pending!(spawn(window.room(107)).poll());
    }

    #[test]
    fn a_closed_loop_goes_on_when_the_last_byte_has_arrived() {
        let window = Window::new(ByteSize::new(100));
        let mut waiting = spawn(window.arrived(8));
        assert_pending!(waiting.poll());
        window.release(ByteSize::new(7), Timestamp::from_nanos(5));
        assert_pending!(waiting.poll());
        window.release(ByteSize::new(1), Timestamp::from_nanos(9));
        assert_ready_eq!(waiting.poll(), Some(Timestamp::from_nanos(9)));
        window.close();
        assert_ready_eq!(spawn(window.arrived(9)).poll(), None);
    }

    #[test]
    fn a_receiver_that_ended_frees_the_sender() {
        let window = Window::new(ByteSize::new(1));
        let mut blocked = spawn(window.room(1));
        assert_pending!(blocked.poll());
        window.close();
        assert!(blocked.is_woken());
        assert_ready_eq!(blocked.poll(), None);
    }
}
