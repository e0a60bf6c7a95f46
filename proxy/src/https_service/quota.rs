//! What one address and one user may ask for in a window of time, and the
//! fields that say so (draft-ietf-httpapi-ratelimit-headers-10).

use std::fmt::Write as _;
use std::hash::Hash;
use std::num::NonZeroUsize;
use std::time::Duration;

use flow::Timestamp;
use lru::LruCache;

use crate::config::https_service::Quota;

/// So many askers are remembered; the one that asked longest ago is forgotten first.
const MOST_KEYS: NonZeroUsize = NonZeroUsize::MIN.saturating_add((1 << 16) - 1);

/// The windows of all who have asked lately.
#[derive(Debug)]
pub(crate) struct Quotas<K: Hash + Eq> {
    quota: Quota,
    /// What the fields call it.
    name: &'static str,
    windows: LruCache<K, Window>,
}

#[derive(Clone, Copy, Debug)]
struct Window {
    since: Timestamp,
    requests: u64,
    bytes: u64,
}

/// What is left to one who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Left {
    name: &'static str,
    window_seconds: u64,
    /// Until the next window begins, rounded up.
    pub(crate) reset_seconds: u64,
    /// The quota and what is left of it.
    requests: Option<(u64, u64)>,
    bytes: Option<(u64, u64)>,
}

impl<K: Hash + Eq> Quotas<K> {
    /// `None` if anything may be asked for.
    pub(crate) fn new(quota: Quota, name: &'static str) -> Option<Self> {
        (quota.requests.is_some() || quota.bytes.is_some()).then(|| Self {
            quota,
            name,
            windows: LruCache::new(MOST_KEYS),
        })
    }

    /// Whether one more request may come from `key`, which is counted then; and
    /// what is left.
    pub(crate) fn ask(&mut self, key: K, now: Timestamp) -> (bool, Left) {
        let Quota {
            requests,
            bytes,
            window,
        } = self.quota;
        let length = nanos(window);
        let current = self.windows.get_or_insert_mut(key, || Window::new(now));
        current.renew(length, now);
        let may = requests.is_none_or(|most| current.requests < most)
            && bytes.is_none_or(|most| current.bytes < most.get());
        if may {
            current.requests += 1;
        }
        let left = Left {
            name: self.name,
            window_seconds: seconds(length),
            reset_seconds: seconds(length.saturating_sub(now.since(current.since).get())),
            requests: requests.map(|most| (most, most.saturating_sub(current.requests))),
            bytes: bytes.map(|most| (most.get(), most.get().saturating_sub(current.bytes))),
        };
        (may, left)
    }

    /// Bytes have moved for `key` until now: they count in its window of this moment,
    /// however long they have taken, if it is still known.
    pub(crate) fn moved(&mut self, key: K, bytes: u64, now: Timestamp) {
        if let Some(window) = self.windows.peek_mut(&key) {
            window.renew(nanos(self.quota.window), now);
            window.bytes = window.bytes.saturating_add(bytes);
        }
    }
}

impl Window {
    const fn new(since: Timestamp) -> Self {
        Self {
            since,
            requests: 0,
            bytes: 0,
        }
    }

    /// Begins anew if it is over.
    fn renew(&mut self, length: u64, now: Timestamp) {
        if now.since(self.since).get() >= length {
            *self = Self::new(now);
        }
    }
}

fn nanos(window: Duration) -> u64 {
    u64::try_from(window.as_nanos()).unwrap_or(u64::MAX)
}

const fn seconds(nanos: u64) -> u64 {
    nanos.div_ceil(flow::time::NANOS_PER_SEC)
}

/// The values of `RateLimit-Policy` and `RateLimit`.
pub(crate) fn fields(left: &[Left]) -> (String, String) {
    let (mut policy, mut limit) = (String::new(), String::new());
    for part in left {
        let (w, t) = (part.window_seconds, part.reset_seconds);
        let kinds = [
            (part.requests, "", ""),
            (part.bytes, "-bytes", ";qu=\"content-bytes\""),
        ];
        for (pair, suffix, unit) in kinds {
            let Some((q, r)) = pair else { continue };
            let (name, comma) = (part.name, if policy.is_empty() { "" } else { ", " });
            // Writing to a String does not fail.
            let _ = write!(policy, "{comma}\"{name}{suffix}\";q={q}{unit};w={w}");
            let _ = write!(limit, "{comma}\"{name}{suffix}\";r={r};t={t}");
        }
    }
    (policy, limit)
}

#[cfg(test)]
mod tests {
    use flow::ByteSize;

    use super::*;

    fn at(millis: u64) -> Timestamp {
        Timestamp::from_nanos(millis * 1_000_000)
    }

    fn quotas(requests: Option<u64>, bytes: Option<u64>) -> Quotas<u8> {
        let quota = Quota {
            requests,
            bytes: bytes.map(ByteSize::new),
            window: Duration::from_secs(10),
        };
        Quotas::new(quota, "address").unwrap()
    }

    #[test]
    fn each_has_windows_of_its_own() {
        let mut quotas = quotas(Some(2), None);
        assert!(quotas.ask(1, at(0)).0);
        assert!(quotas.ask(1, at(500)).0);
        let (may, left) = quotas.ask(1, at(9_999));
        assert!(!may);
        assert_eq!(left.reset_seconds, 1, "rounded up");
        assert!(quotas.ask(2, at(9_999)).0, "somebody else");
        assert!(quotas.ask(1, at(10_000)).0, "the next window");
        assert!(Quotas::<u8>::new(Quota::default(), "address").is_none());
    }

    #[test]
    fn who_has_moved_the_bytes_waits() {
        let mut quotas = quotas(None, Some(100));
        assert!(quotas.ask(1, at(0)).0);
        quotas.moved(1, 99, at(0));
        assert!(quotas.ask(1, at(1)).0);
        quotas.moved(1, 1, at(1));
        assert!(!quotas.ask(1, at(2)).0);
        quotas.moved(7, 1_000, at(2));
        assert!(quotas.ask(1, at(10_000)).0);
        // A tunnel that began in a window which is over.
        quotas.moved(1, 100, at(25_000));
        assert!(
            !quotas.ask(1, at(30_000)).0,
            "in the window that it ends in"
        );
    }

    #[test]
    fn fields_of_the_draft() {
        let mut quotas = quotas(Some(3), Some(50));
        let (_, left) = quotas.ask(1, at(0));
        let (policy, limit) = fields(&[left]);
        assert_eq!(
            policy,
            "\"address\";q=3;w=10, \"address-bytes\";q=50;qu=\"content-bytes\";w=10"
        );
        assert_eq!(limit, "\"address\";r=2;t=10, \"address-bytes\";r=50;t=10");
    }
}
