//! Guessing is slow: who has guessed wrong a number of times waits, and longer
//! with every further guess.
//!
//! Guesses are counted by source ([`Network`]) and by name. Somebody else's
//! guesses lock nobody out from where they have logged in before: for such a
//! pair of source and name only its own guesses count. A guess that was made
//! a moment ago is not another one: a client that tries the same wrong
//! password again and again does not lock out its neighbours.
//!
//! Everything here is bounded; what is oldest gives way.

use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::net::IpAddr;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use super::presence::Network;

/// Wrong guesses before anybody waits.
const FREE: u32 = 10;
/// The first wait; each further guess doubles it.
const FIRST_WAIT: Duration = Duration::from_secs(1);
const LONGEST_WAIT: Duration = Duration::from_secs(300);
/// Guesses are forgotten so long after the last one.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(900);
/// So long after the last login a source is no longer known for a name.
const KNOWN_FOR: Duration = Duration::from_secs(7 * 86_400);
/// The most that is remembered of each.
const REMEMBERED: usize = 65_536;

/// Who has guessed wrong, and who has logged in from where.
#[derive(Debug, Default)]
pub(super) struct Lockout {
    state: Mutex<State>,
    /// Names are kept as hashes that nobody outside can foresee.
    hasher: RandomState,
}

#[derive(Debug, Default)]
struct State {
    guesses: HashMap<Key, Guesses>,
    known: HashMap<u64, Instant>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Key {
    Source(Network),
    Name(u64),
    /// A source that is known for a name.
    Pair(u64),
}

#[derive(Clone, Copy, Debug)]
struct Guesses {
    wrong: u32,
    last: Instant,
    /// Until when nothing is tried.
    until: Instant,
    /// Whether somebody was turned away since the last guess.
    told: bool,
}

/// One login, as far as it matters here.
#[derive(Clone, Copy, Debug)]
pub(super) struct Attempt {
    source: Network,
    name: u64,
    pair: u64,
}

/// What an attempt may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Leave {
    /// Try; `known` is whether this name has logged in from there before.
    Try {
        /// Whether it goes before strangers.
        known: bool,
    },
    /// Wait; `first` is whether nobody has been told since the last guess.
    Wait {
        /// Whether this is worth a line in the log.
        first: bool,
    },
}

impl Lockout {
    pub(super) fn attempt(&self, source: IpAddr, name: &[u8]) -> Attempt {
        let source = Network::of(source);
        Attempt {
            source,
            name: self.hasher.hash_one(name),
            pair: self.hasher.hash_one((source, name)),
        }
    }

    /// Whether an attempt may be made now.
    pub(super) fn ask(&self, attempt: Attempt) -> Leave {
        let now = Instant::now();
        let mut state = self.state.lock();
        let known = state.knows(attempt, now);
        let mut leave = Leave::Try { known };
        for key in attempt.keys(known).into_iter().flatten() {
            let Some(guesses) = state.guesses.get_mut(&key) else {
                continue;
            };
            if guesses.until > now {
                let first = !std::mem::replace(&mut guesses.told, true);
                leave = Leave::Wait { first };
                break;
            }
        }
        leave
    }

    /// It was wrong.
    pub(super) fn wrong(&self, attempt: Attempt) {
        let now = Instant::now();
        let mut state = self.state.lock();
        let known = state.knows(attempt, now);
        for key in attempt.keys(known).into_iter().flatten() {
            state.wrong(key, now);
        }
    }

    /// It was right.
    pub(super) fn right(&self, attempt: Attempt) {
        let now = Instant::now();
        let mut state = self.state.lock();
        make_room(&mut state.known, KNOWN_FOR, |last| {
            now.duration_since(*last)
        });
        state.known.insert(attempt.pair, now);
        state.guesses.remove(&Key::Pair(attempt.pair));
    }
}

impl Attempt {
    /// Whose guesses count against this attempt, and are counted by it.
    const fn keys(self, known: bool) -> [Option<Key>; 2] {
        if known {
            [Some(Key::Pair(self.pair)), None]
        } else {
            [Some(Key::Source(self.source)), Some(Key::Name(self.name))]
        }
    }
}

impl State {
    fn knows(&self, attempt: Attempt, now: Instant) -> bool {
        let last = self.known.get(&attempt.pair);
        last.is_some_and(|last| now.duration_since(*last) < KNOWN_FOR)
    }

    fn wrong(&mut self, key: Key, now: Instant) {
        let age = |guesses: &Guesses| now.duration_since(guesses.last);
        make_room(&mut self.guesses, FORGOTTEN_AFTER, age);
        let guesses = self.guesses.entry(key).or_insert(Guesses {
            wrong: 0,
            last: now,
            until: now,
            told: false,
        });
        if age(guesses) >= FORGOTTEN_AFTER {
            guesses.wrong = 0;
        }
        guesses.wrong = guesses.wrong.saturating_add(1);
        guesses.last = now;
        guesses.told = false;
        if let Some(beyond) = guesses.wrong.checked_sub(FREE) {
            let wait = FIRST_WAIT.saturating_mul(1 << beyond.min(16));
            guesses.until = now + wait.min(LONGEST_WAIT);
        }
    }
}

/// Makes room for one more: first without what is older than `longest`, then
/// without the older half.
fn make_room<K, V>(map: &mut HashMap<K, V>, longest: Duration, age: impl Fn(&V) -> Duration) {
    if map.len() < REMEMBERED {
        return;
    }
    map.retain(|_, value| age(value) < longest);
    if map.len() < REMEMBERED {
        return;
    }
    let mut ages: Vec<_> = map.values().map(&age).collect();
    let middle = ages.len() / 2;
    let (_, median, _) = ages.select_nth_unstable(middle);
    let median = *median;
    map.retain(|_, value| age(value) < median);
}

#[cfg(test)]
mod tests {
    use super::*;

    const STRANGER: Leave = Leave::Try { known: false };

    fn attempt(lockout: &Lockout, source: &str, name: &str) -> Attempt {
        lockout.attempt(source.parse().unwrap(), name.as_bytes())
    }

    /// How long an attempt would have to wait from now on.
    async fn wait(lockout: &Lockout, attempt: Attempt) -> u64 {
        let since = Instant::now();
        while let Leave::Wait { .. } = lockout.ask(attempt) {
            tokio::time::advance(Duration::from_secs(1)).await;
        }
        since.elapsed().as_secs()
    }

    #[tokio::test(start_paused = true)]
    async fn each_further_guess_waits_longer_up_to_a_bound() {
        let lockout = Lockout::default();
        let guess = attempt(&lockout, "192.0.2.1", "ada");
        for _ in 1..FREE {
            lockout.wrong(guess);
        }
        assert_eq!(lockout.ask(guess), STRANGER);
        let mut waits = Vec::new();
        for _ in 0..11 {
            lockout.wrong(guess);
            assert_eq!(lockout.ask(guess), Leave::Wait { first: true });
            assert_eq!(lockout.ask(guess), Leave::Wait { first: false });
            waits.push(wait(&lockout, guess).await);
        }
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300]);
        tokio::time::advance(FORGOTTEN_AFTER).await;
        lockout.wrong(guess);
        assert_eq!(lockout.ask(guess), STRANGER, "forgotten");
    }

    #[tokio::test(start_paused = true)]
    async fn sources_and_names_are_counted_apart() {
        let lockout = Lockout::default();
        for number in 0..FREE {
            let name = format!("user{number}");
            lockout.wrong(attempt(&lockout, "2001:db8::1", &name));
        }
        // The same network of 64 bits, whatever the name.
        let same = attempt(&lockout, "2001:db8::ffff", "other");
        assert_ne!(lockout.ask(same), STRANGER);
        let other = attempt(&lockout, "2001:db8:0:1::1", "user0");
        assert_eq!(lockout.ask(other), STRANGER);
        for last in 0..FREE {
            lockout.wrong(attempt(&lockout, &format!("192.0.2.{last}"), "ada"));
        }
        // The same name, wherever it comes from.
        assert_ne!(
            lockout.ask(attempt(&lockout, "198.51.100.1", "ada")),
            STRANGER
        );
        assert_eq!(
            lockout.ask(attempt(&lockout, "198.51.100.1", "bob")),
            STRANGER
        );
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_is_locked_out_from_where_they_are_known() {
        let lockout = Lockout::default();
        let home = attempt(&lockout, "192.0.2.1", "ada");
        lockout.right(home);
        for _ in 0..2 * FREE {
            // A neighbour behind the same address, and a stranger elsewhere.
            lockout.wrong(attempt(&lockout, "192.0.2.1", "bob"));
            lockout.wrong(attempt(&lockout, "198.51.100.1", "ada"));
        }
        assert_eq!(lockout.ask(home), Leave::Try { known: true });
        assert_ne!(lockout.ask(attempt(&lockout, "192.0.2.1", "eve")), STRANGER);
        // But nobody guesses for ever from there either.
        for _ in 0..FREE {
            lockout.wrong(home);
        }
        assert_eq!(lockout.ask(home), Leave::Wait { first: true });
        tokio::time::advance(KNOWN_FOR).await;
        assert_eq!(lockout.ask(home), STRANGER);
    }

    #[tokio::test(start_paused = true)]
    async fn memory_is_bounded() {
        let lockout = Lockout::default();
        for number in 0..200_000_u32 {
            let source = IpAddr::from(number.to_be_bytes());
            let attempt = lockout.attempt(source, &number.to_be_bytes());
            lockout.wrong(attempt);
            lockout.right(attempt);
            if number % 1_000 == 0 {
                tokio::time::advance(Duration::from_millis(1)).await;
            }
        }
        let state = lockout.state.lock();
        assert!(state.guesses.len() <= REMEMBERED && state.known.len() <= REMEMBERED);
        assert!(state.guesses.len() > REMEMBERED / 4);
    }
}
