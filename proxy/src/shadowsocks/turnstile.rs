//! Trying every key costs work: as much as there is goes round by source.
//!
//! Each place has one search under way; the searches of all places take turns,
//! one for each core. A flood from one place waits behind itself, somebody from
//! elsewhere behind one search at most for each place.

use std::collections::HashMap;
use std::num::NonZeroUsize;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::protocol::shadowsocks::Refused;
use crate::users::Network;

/// Clients of one place that wait; one more is refused as if no key had fitted.
const MOST_WAITING: usize = 256;

#[derive(Debug)]
pub(super) struct Turnstile {
    searches: Arc<Semaphore>,
    places: Mutex<HashMap<Network, Place>>,
}

#[derive(Debug)]
struct Place {
    line: Arc<Semaphore>,
    clients: usize,
}

/// A search that may be made; it is over with this.
#[derive(Debug)]
pub(super) struct Turn<'a> {
    _search: Option<OwnedSemaphorePermit>,
    _line: Option<OwnedSemaphorePermit>,
    turnstile: &'a Turnstile,
    place: Network,
}

impl Turnstile {
    pub(super) fn new() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
        Self {
            searches: Arc::new(Semaphore::new(cores.saturating_sub(1).max(1))),
            places: Mutex::default(),
        }
    }

    /// Waits for a search from `network`.
    ///
    /// # Errors
    /// [`Refused::Authentication`] if too many wait there.
    pub(super) async fn pass(&self, network: Network) -> Result<Turn<'_>, Refused> {
        let line = self.enter(network).ok_or(Refused::Authentication)?;
        let mut turn = Turn {
            _search: None,
            _line: None,
            turnstile: self,
            place: network,
        };
        // Neither is ever closed.
        turn._line = line.acquire_owned().await.ok();
        turn._search = Arc::clone(&self.searches).acquire_owned().await.ok();
        Ok(turn)
    }

    fn enter(&self, network: Network) -> Option<Arc<Semaphore>> {
        let mut places = self.places.lock();
        let place = places.entry(network).or_insert_with(|| Place {
            line: Arc::new(Semaphore::new(1)),
            clients: 0,
        });
        if place.clients >= MOST_WAITING {
            return None;
        }
        place.clients += 1;
        Some(Arc::clone(&place.line))
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let mut places = self.turnstile.places.lock();
        if let Some(place) = places.get_mut(&self.place) {
            place.clients -= 1;
            if place.clients == 0 {
                places.remove(&self.place);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_flood_from_one_place_waits_behind_itself() {
        let turnstile = Arc::new(Turnstile::new());
        let network = |last| Network::of([192, 0, 2, last].into());
        let mut flood = tokio::task::JoinSet::new();
        for _ in 0..MOST_WAITING {
            let turnstile = Arc::clone(&turnstile);
            flood.spawn(async move {
                let _turn = turnstile.pass(network(1)).await.unwrap();
                tokio::time::sleep(std::time::Duration::from_millis(10)).await;
            });
        }
        tokio::time::sleep(std::time::Duration::from_millis(1)).await;
        assert!(turnstile.pass(network(1)).await.is_err(), "too many wait");
        let before = tokio::time::Instant::now();
        drop(turnstile.pass(network(2)).await.unwrap());
        assert!(before.elapsed() <= std::time::Duration::from_millis(10));
        while flood.join_next().await.is_some() {}
        assert!(turnstile.places.lock().is_empty(), "nothing is kept");
        assert!(turnstile.pass(network(1)).await.is_ok());
    }
}
