//! Trying every key costs work: who gets how much of it, and when.
//!
//! ```text
//! known      a TCP client from where somebody       first threads, ordinary priority,
//!            was found lately                       the three take turns
//! stranger   a TCP client from elsewhere
//! claimed    a datagram from where somebody was
//!            found, or so it says
//! unproven   a datagram from elsewhere (its         last thread, idle priority,
//!            source may be anybody's)               the two take turns
//! doubtful   where lately nobody was found
//! ```
//!
//! Within each the places take turns, so that somebody waits behind one search for each
//! other place at most, and a flood from one place behind itself. What a flood from
//! places that have failed costs is what others leave over: neither those who were
//! found before nor newcomers wait for it. Connections are served by other threads.

use std::collections::{HashMap, VecDeque};
use std::num::NonZeroUsize;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};
use tokio::sync::oneshot;

use crate::protocol::shadowsocks::Refused;
use crate::users::Network;

/// Searches of one place that wait; one more is refused as if no key had fitted.
const MOST_WAITING: usize = 64;
/// Places of one rank that wait; one more is refused likewise.
const MOST_PLACES: usize = 1_024;
/// Failures in a row after which a place is doubtful, and one where somebody was found
/// lately: many may be behind one address, somebody who floods among them.
const DOUBT: u32 = 4;
const DOUBT_OF_KNOWN: u32 = 1_024;
/// For how long failures count, at least, and of how many places.
const MEMORY: Duration = Duration::from_secs(60);
const MOST_REMEMBERED: usize = 8_192;
/// The idlest that a thread can be.
const IDLE: i32 = 19;

/// How much a place is trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rank {
    Known,
    Stranger,
    Claimed,
    Unproven,
    Doubtful,
}

/// What is known of a place.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    pub(super) network: Network,
    /// Somebody was found there lately.
    pub(super) is_known: bool,
    /// Whoever sends from there also hears there.
    pub(super) is_proven: bool,
}

impl Place {
    const fn key(&self) -> Key {
        (self.network, self.is_proven)
    }
}

#[derive(Debug)]
pub(crate) struct Turnstile {
    searches: Arc<Searches>,
    failures: Mutex<Failures>,
}

#[derive(Debug, Default)]
struct Searches {
    waiting: Mutex<Waiting>,
    /// Something waits for the first threads, or for the last one.
    wake: [Condvar; 2],
}

#[derive(Debug, Default)]
struct Waiting {
    /// Ranks that take turns, for the first threads and for the last one.
    lanes: [Lane; 2],
    over: bool,
}

#[derive(Debug, Default)]
struct Lane {
    ranks: [Places; 3],
    /// Which of the ranks is next.
    next: usize,
}

/// The places of one rank, each with a line of its own.
#[derive(Default)]
struct Places {
    turns: VecDeque<Network>,
    lines: HashMap<Network, VecDeque<Search>>,
}

type Search = Box<dyn FnOnce() + Send>;

impl Turnstile {
    /// With threads that search, fewer than there are cores.
    ///
    /// # Errors
    /// A thread cannot be started.
    pub(crate) fn start() -> std::io::Result<Self> {
        let searches = Arc::<Searches>::default();
        let cores = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
        let last = (cores / 2).max(1);
        for index in 0..=last {
            let (searches, lane) = (Arc::clone(&searches), usize::from(index == last));
            std::thread::Builder::new()
                .name(format!("keys-{index}"))
                .spawn(move || {
                    if lane == 1 {
                        // Of this thread alone; at worst it is as busy as the others.
                        let _ = rustix::process::setpriority_process(None, IDLE);
                    }
                    searches.serve(lane);
                })?;
        }
        Ok(Self {
            searches,
            failures: Mutex::new(Failures::new(Instant::now())),
        })
    }

    /// Has `search` done when it is the turn of `place`; `search` asks now and then
    /// whether anybody still waits for it.
    ///
    /// # Errors
    /// [`Refused::Authentication`] if too many wait.
    pub(super) async fn search<T: Send + 'static>(
        &self,
        place: Place,
        search: impl FnOnce(&dyn Fn() -> bool) -> T + Send + 'static,
    ) -> Result<T, Refused> {
        let (answer, answered) = oneshot::channel();
        let search = move || {
            if !answer.is_closed() {
                let found = search(&|| !answer.is_closed());
                let _ = answer.send(found);
            }
        };
        if !self.searches.push(self.rank(place), place.network, search) {
            return Err(Refused::Authentication);
        }
        answered.await.map_err(|_| Refused::Authentication)
    }

    fn rank(&self, place: Place) -> Rank {
        let failures = self.failures.lock().of(place.key());
        match (place.is_known, place.is_proven) {
            (true, true) if failures < DOUBT_OF_KNOWN => Rank::Known,
            (true, false) if failures < DOUBT_OF_KNOWN => Rank::Claimed,
            (false, true) if failures < DOUBT => Rank::Stranger,
            (false, false) if failures < DOUBT => Rank::Unproven,
            _ => Rank::Doubtful,
        }
    }

    /// Whether somebody was found at `place`.
    pub(super) fn found(&self, place: Place, somebody: bool) {
        let mut failures = self.failures.lock();
        failures.count(place.key(), somebody, Instant::now());
    }
}

impl Drop for Turnstile {
    fn drop(&mut self) {
        self.searches.waiting.lock().over = true;
        self.searches.wake.iter().for_each(|wake| {
            wake.notify_all();
        });
    }
}

impl Searches {
    fn push(&self, rank: Rank, network: Network, search: impl FnOnce() + Send + 'static) -> bool {
        let (lane, of) = match rank {
            Rank::Known => (0, 0),
            Rank::Stranger => (0, 1),
            Rank::Claimed => (0, 2),
            Rank::Unproven => (1, 0),
            Rank::Doubtful => (1, 1),
        };
        let pushed = self.waiting.lock().lanes[lane].ranks[of].push(network, Box::new(search));
        self.wake[lane].notify_one();
        pushed
    }

    fn serve(&self, lane: usize) {
        loop {
            let mut waiting = self.waiting.lock();
            let search = loop {
                if waiting.over {
                    return;
                }
                if let Some(search) = waiting.lanes[lane].pop() {
                    break search;
                }
                self.wake[lane].wait(&mut waiting);
            };
            drop(waiting);
            // Nobody else's search is to end with this one.
            let _ = catch_unwind(AssertUnwindSafe(search));
        }
    }
}

impl Lane {
    fn pop(&mut self) -> Option<Search> {
        let ranks = self.ranks.len();
        for rank in (self.next..).map(|rank| rank % ranks).take(ranks) {
            if let Some(search) = self.ranks[rank].pop() {
                self.next = (rank + 1) % ranks;
                return Some(search);
            }
        }
        None
    }
}

impl Places {
    fn push(&mut self, network: Network, search: Search) -> bool {
        let is_new = !self.lines.contains_key(&network);
        if is_new && self.lines.len() >= MOST_PLACES {
            return false;
        }
        let line = self.lines.entry(network).or_default();
        if line.len() >= MOST_WAITING {
            return false;
        }
        line.push_back(search);
        if is_new {
            self.turns.push_back(network);
        }
        true
    }

    fn pop(&mut self) -> Option<Search> {
        let network = self.turns.pop_front()?;
        let line = self.lines.get_mut(&network)?;
        let search = line.pop_front();
        if line.is_empty() {
            self.lines.remove(&network);
        } else {
            self.turns.push_back(network);
        }
        search
    }
}

impl std::fmt::Debug for Places {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Places")
            .field("places", &self.lines.len())
            .finish_non_exhaustive()
    }
}

/// Searches of a place in a row that found nobody.
#[derive(Debug)]
struct Failures {
    since: Instant,
    current: HashMap<Key, u32>,
    previous: HashMap<Key, u32>,
}

/// A place, and whether it is proven: datagrams that say they are from somewhere do no
/// harm to who is there.
type Key = (Network, bool);

impl Failures {
    fn new(now: Instant) -> Self {
        Self {
            since: now,
            current: HashMap::new(),
            previous: HashMap::new(),
        }
    }

    fn of(&self, place: Key) -> u32 {
        let current = self.current.get(&place);
        let found = current.or_else(|| self.previous.get(&place));
        found.copied().unwrap_or_default()
    }

    fn count(&mut self, place: Key, somebody: bool, now: Instant) {
        let before = self.of(place);
        if somebody && before == 0 {
            return;
        }
        if now.duration_since(self.since) > MEMORY || self.current.len() >= MOST_REMEMBERED {
            self.previous = std::mem::take(&mut self.current);
            self.since = now;
        }
        let failures = if somebody {
            0
        } else {
            before.saturating_add(1)
        };
        self.current.insert(place, failures);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network(last: u8) -> Network {
        Network::of([192, 0, 2, last].into())
    }

    /// A search that says its number.
    fn saying(number: u32, said: &Arc<Mutex<Vec<u32>>>) -> Search {
        let said = Arc::clone(said);
        Box::new(move || said.lock().push(number))
    }

    #[test]
    fn places_take_turns_and_so_do_ranks() {
        let said = Arc::default();
        let mut lane = Lane::default();
        for number in 0..10 {
            assert!(lane.ranks[0].push(network(1), saying(100 + number, &said)));
        }
        assert!(lane.ranks[0].push(network(2), saying(200, &said)));
        for number in 0..3 {
            assert!(lane.ranks[1].push(network(3), saying(300 + number, &said)));
        }
        while let Some(search) = lane.pop() {
            search();
        }
        let order: Vec<_> = [
            100, 300, 200, 301, 101, 302, 102, 103, 104, 105, 106, 107, 108, 109,
        ]
        .into();
        assert_eq!(*said.lock(), order);
        assert!(lane.ranks.iter().all(|rank| rank.lines.is_empty()));
    }

    #[test]
    fn what_waits_is_bounded() {
        let mut places = Places::default();
        let nothing = || -> Search { Box::new(|| ()) };
        for _ in 0..MOST_WAITING {
            assert!(places.push(network(1), nothing()));
        }
        assert!(!places.push(network(1), nothing()), "one place");
        for number in 1..MOST_PLACES {
            let [.., high, low] = number.to_be_bytes();
            assert!(places.push(Network::of([10, 0, high, low].into()), nothing()));
        }
        assert!(!places.push(network(2), nothing()), "all places");
        let mut searches = 0;
        while places.pop().is_some() {
            searches += 1;
        }
        assert_eq!(searches, MOST_WAITING + MOST_PLACES - 1);
    }

    #[test]
    fn who_fails_is_doubted_until_somebody_is_found_or_it_is_long_ago() {
        let turnstile = Turnstile::start().unwrap();
        let place = |is_known, is_proven| Place {
            network: network(1),
            is_known,
            is_proven,
        };
        assert_eq!(turnstile.rank(place(false, true)), Rank::Stranger);
        assert_eq!(turnstile.rank(place(false, false)), Rank::Unproven);
        assert_eq!(turnstile.rank(place(true, false)), Rank::Claimed);
        for _ in 0..DOUBT {
            turnstile.found(place(false, true), false);
        }
        assert_eq!(turnstile.rank(place(false, true)), Rank::Doubtful);
        assert_eq!(turnstile.rank(place(true, true)), Rank::Known);
        for _ in DOUBT..DOUBT_OF_KNOWN {
            turnstile.found(place(true, true), false);
        }
        assert_eq!(turnstile.rank(place(true, true)), Rank::Doubtful);
        assert_eq!(turnstile.rank(place(true, false)), Rank::Claimed);
        turnstile.found(place(true, true), true);
        assert_eq!(turnstile.rank(place(true, true)), Rank::Known);
        // Whoever sends datagrams in somebody's name does them no harm.
        for _ in 0..DOUBT_OF_KNOWN {
            turnstile.found(place(true, false), false);
        }
        assert_eq!(turnstile.rank(place(true, false)), Rank::Doubtful);
        assert_eq!(turnstile.rank(place(true, true)), Rank::Known);
        assert_eq!(turnstile.rank(place(false, true)), Rank::Stranger);

        let start = Instant::now();
        let mut failures = Failures::new(start);
        let key = |last| (network(last), true);
        failures.count(key(1), false, start);
        for minute in 1..=3 {
            let now = start + (MEMORY + Duration::from_secs(1)) * minute;
            failures.count(key(2), false, now);
            assert_eq!(failures.of(key(1)), u32::from(minute < 2), "{minute}");
            assert_eq!(failures.of(key(2)), minute);
        }
    }

    #[tokio::test]
    async fn newcomers_do_not_wait_for_those_who_have_failed() {
        let turnstile = Arc::new(Turnstile::start().unwrap());
        let place = |last| Place {
            network: network(last),
            is_known: false,
            is_proven: true,
        };
        for _ in 0..DOUBT {
            turnstile.found(place(1), false);
        }
        // The thread for what is doubtful is held until the newcomer was served.
        let (release, held) = std::sync::mpsc::channel::<()>();
        let flood = {
            let turnstile = Arc::clone(&turnstile);
            tokio::spawn(async move {
                let search = move |_: &dyn Fn() -> bool| held.recv().is_ok();
                turnstile.search(place(1), search).await
            })
        };
        assert_eq!(turnstile.search(place(2), |_| 2).await, Ok(2));
        release.send(()).unwrap();
        assert_eq!(flood.await.unwrap(), Ok(true));
    }

    #[tokio::test]
    async fn a_search_that_nobody_waits_for_is_not_begun_and_a_panic_ends_one_alone() {
        let turnstile = Arc::new(Turnstile::start().unwrap());
        let place = Place {
            network: network(1),
            is_known: false,
            is_proven: true,
        };
        for _ in 0..DOUBT {
            turnstile.found(place, false);
        }
        // All on the one thread for what is doubtful, one after the other.
        let (release, held) = std::sync::mpsc::channel::<()>();
        let first = turnstile.search(place, move |_| held.recv().is_ok());
        let begun = Arc::new(Mutex::new(false));
        let of_second = Arc::clone(&begun);
        let second = turnstile.search(place, move |_| *of_second.lock() = true);
        let second = tokio::time::timeout(Duration::from_millis(1), second);
        let release = async { (second.await.is_err(), release.send(())) };
        let (first, (gave_up, _)) = tokio::join!(first, release);
        assert!(first == Ok(true) && gave_up);
        let broken = turnstile.search(place, |_| -> u8 { std::panic::resume_unwind(Box::new(1)) });
        assert_eq!(broken.await, Err(Refused::Authentication));
        assert_eq!(turnstile.search(place, |_| 7).await, Ok(7));
        assert!(!*begun.lock(), "nobody waited for it");
    }
}
