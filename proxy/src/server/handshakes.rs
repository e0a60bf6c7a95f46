//! Clients that have not logged in: a bounded number of them.
//!
//! Where the bound is reached, the client that has waited longest gives way to
//! the one that comes: an honest handshake takes milliseconds, so those that
//! wait longest are those that do not mean it.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

/// The handshakes under way.
#[derive(Clone, Debug)]
pub(crate) struct Handshakes {
    places: Arc<Mutex<Places>>,
}

#[derive(Debug, Default)]
struct Places {
    most: usize,
    next: u64,
    taken: BTreeMap<u64, CancellationToken>,
}

/// One handshake under way; it ends with this.
#[derive(Debug)]
pub(crate) struct Place {
    number: u64,
    evicted: CancellationToken,
    places: Arc<Mutex<Places>>,
}

impl Handshakes {
    pub(super) fn new(most: usize) -> Self {
        let handshakes = Self {
            places: Arc::default(),
        };
        handshakes.set_most(most);
        handshakes
    }

    /// Another bound, which holds from the next client on.
    pub(super) fn set_most(&self, most: usize) {
        self.places.lock().most = most.max(1);
    }

    /// How many are under way, and how many have been begun.
    #[cfg(feature = "admin")]
    pub(crate) fn figures(&self) -> (u64, u64) {
        let places = self.places.lock();
        let under_way = u64::try_from(places.taken.len()).unwrap_or(u64::MAX);
        (under_way, places.next)
    }

    /// Takes a place, the oldest one's if there is none free.
    pub(crate) fn enter(&self) -> Place {
        let evicted = CancellationToken::new();
        let mut places = self.places.lock();
        let number = places.next;
        places.next += 1;
        places.taken.insert(number, evicted.clone());
        let oldest = if places.taken.len() > places.most {
            places.taken.pop_first()
        } else {
            None
        };
        drop(places);
        if let Some((_, oldest)) = oldest {
            oldest.cancel();
        }
        Place {
            number,
            evicted,
            places: Arc::clone(&self.places),
        }
    }
}

impl Place {
    /// Returns when somebody else has got this place.
    pub(crate) async fn evicted(&self) {
        self.evicted.cancelled().await;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.places.lock().taken.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_gives_way() {
        let handshakes = Handshakes::new(2);
        let places = [handshakes.enter(), handshakes.enter(), handshakes.enter()];
        let evicted = places.each_ref().map(|place| place.evicted.is_cancelled());
        assert_eq!(evicted, [true, false, false]);
        drop(places);
        let (one, _other) = (handshakes.enter(), handshakes.enter());
        assert!(!one.evicted.is_cancelled(), "places are free again");
    }
}
