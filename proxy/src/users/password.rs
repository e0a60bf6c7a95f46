//! Passwords: Argon2id, off the reactor, with verified ones remembered for a short time.
//!
//! A login costs the same work whether the name exists or not, so the time of
//! an answer tells nobody which names there are. What was verified is kept as a
//! keyed hash under a key that never leaves the process, and those that ask the
//! same at the same time wait for one answer: a flood of connections with one
//! password, right or wrong, is not a flood of Argon2.

use std::collections::HashMap;
use std::fmt;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher, PasswordVerifier};
use argon2::{Algorithm, Argon2, Params, Version};
use blake2::Blake2sMac256;
use blake2::digest::{KeyInit, Mac};
use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

/// The longest password: what a SOCKS5 client can send (RFC 1929).
pub const MAX_PASSWORD_LEN: usize = 255;

/// How long a right password is believed after its last use without hashing again.
const REMEMBERED_FOR: Duration = Duration::from_secs(600);
/// How long a wrong one is known to be wrong.
const WRONG_FOR: Duration = Duration::from_secs(60);
/// How many of both are remembered at most.
const REMEMBERED: usize = 65_536;

/// The most memory that a hash from elsewhere may need, in KiB.
const MOST_MEMORY_KIB: u32 = 1 << 20;
/// The most work, in KiB times passes: that of libsodium's `SENSITIVE`, seconds of a
/// core. While it is done, others wait for the core.
const MOST_WORK: u64 = 4 << 20;

/// What one Argon2id hash costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PasswordCost {
    /// Memory in KiB, at least 8.
    pub memory_kib: u32,
    /// Passes over the memory, at least 1.
    pub passes: u32,
}

impl PasswordCost {
    /// The least that Argon2 knows: for tests and measurements with throw-away users.
    pub const LEAST: Self = Self {
        memory_kib: 8,
        passes: 1,
    };
}

impl Default for PasswordCost {
    /// 19 MiB and two passes, the least that OWASP's password storage cheat sheet recommends.
    fn default() -> Self {
        Self {
            memory_kib: 19_456,
            passes: 2,
        }
    }
}

/// Why a password could not be hashed or checked; never "it is wrong".
#[derive(Debug, thiserror::Error)]
pub enum PasswordError {
    /// Empty, longer than [`MAX_PASSWORD_LEN`], or with a CR, LF or NUL that no dialect can carry.
    #[error("a password has 1 to {MAX_PASSWORD_LEN} bytes, without CR, LF and NUL")]
    Unfit,
    /// Argon2 refused: impossible cost, or no randomness.
    #[error("cannot hash a password: {0}")]
    Hash(String),
    /// The process is shutting down.
    #[error("password hashing has stopped")]
    Stopped,
}

/// Hashes and verifies.
pub(super) struct Passwords {
    cost: Params,
    /// Verified in place of a hash that does not exist.
    dummy: Arc<str>,
    /// One permit for each hash that may run at once.
    slots: Arc<Semaphore>,
    /// One more for those who are known: they do not stand in line behind strangers.
    slots_of_known: Arc<Semaphore>,
    key: [u8; 16],
    verified: Mutex<HashMap<Proof, Verified>>,
    /// KiB times passes of all that was hashed to verify something.
    #[cfg(test)]
    work: Arc<std::sync::atomic::AtomicU64>,
    /// What is being verified now.
    under_way: Mutex<HashMap<Proof, Arc<tokio::sync::Mutex<()>>>>,
}

/// The keyed hash of a name, its stored hash and a password.
type Proof = [u8; 32];

#[derive(Clone, Copy, Debug)]
struct Verified {
    fits: bool,
    until: Instant,
}

/// A login to be checked.
#[derive(Clone, Debug)]
pub(super) struct Question<'a> {
    /// Who it is said to be.
    pub(super) name: &'a [u8],
    /// The PHC string of that user; `None` if there is no such user, which
    /// costs as much as one that there is.
    pub(super) stored: Option<Arc<str>>,
    pub(super) password: &'a [u8],
    /// Whether it goes before strangers.
    pub(super) known: bool,
}

/// What a password turned out to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The right one.
    Right,
    /// A wrong one; `anew` is whether it had to be hashed to find out.
    Wrong {
        /// Not one that was wrong a moment ago.
        anew: bool,
    },
    /// Not tried: its leave was withdrawn while it stood in line.
    Untried,
}

impl Passwords {
    /// Prepares hashing at `cost`, with as many hashes at once as the machine
    /// has cores, one left for the traffic.
    ///
    /// # Errors
    /// [`PasswordError::Hash`] if `cost` is out of Argon2's range or there is no randomness.
    pub(super) fn new(cost: PasswordCost) -> Result<Self, PasswordError> {
        let cost = Params::new(cost.memory_kib, cost.passes, 1, None).map_err(failed)?;
        let cores = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
        Ok(Self {
            dummy: hash_now(&cost, b"nobody")?.into(),
            cost,
            slots: Arc::new(Semaphore::new(cores.saturating_sub(1).max(1))),
            slots_of_known: Arc::new(Semaphore::new(1)),
            key: random()?,
            verified: Mutex::default(),
            #[cfg(test)]
            work: Arc::default(),
            under_way: Mutex::default(),
        })
    }

    /// The PHC string of `password` under a fresh salt.
    ///
    /// # Errors
    /// [`PasswordError`]
    pub(super) async fn hash(&self, password: &[u8]) -> Result<String, PasswordError> {
        check(password)?;
        let (cost, password) = (self.cost.clone(), password.to_vec());
        let slot = self.slot(false).await?;
        blocking(slot, move || hash_now(&cost, &password)).await?
    }

    /// Whether a password is right. `may` is asked once more before anything is
    /// hashed.
    ///
    /// # Errors
    /// [`PasswordError::Stopped`]
    pub(super) async fn verify(
        &self,
        question: Question<'_>,
        may: impl Fn() -> bool,
    ) -> Result<Verdict, PasswordError> {
        let exists = question.stored.is_some();
        let stored = question.stored.unwrap_or_else(|| Arc::clone(&self.dummy));
        let proof = self.proof(question.name, &stored, question.password);
        if let Some(verdict) = self.remembered(&proof) {
            return Ok(verdict);
        }
        let turn = Arc::clone(self.under_way.lock().entry(proof).or_default());
        let turn = Turn {
            passwords: self,
            proof,
            turn,
        };
        let _first = turn.turn.lock().await;
        if let Some(verdict) = self.remembered(&proof) {
            return Ok(verdict);
        }
        let password = question.password.to_vec();
        let slot = self.slot(question.known).await?;
        if !may() {
            return Ok(Verdict::Untried);
        }
        #[cfg(test)]
        self.note_work(&stored);
        let fits = blocking(slot, move || verify_now(&stored, &password)).await? && exists;
        self.remember(proof, fits);
        Ok(if fits {
            Verdict::Right
        } else {
            Verdict::Wrong { anew: true }
        })
    }

    #[cfg(test)]
    fn note_work(&self, stored: &str) {
        // What is no hash costs nothing to refuse.
        let cost = PasswordHash::new(stored).map(|hash| Params::try_from(&hash));
        let Ok(Ok(cost)) = cost else {
            return;
        };
        let work = u64::from(cost.m_cost()) * u64::from(cost.t_cost());
        self.work
            .fetch_add(work, std::sync::atomic::Ordering::SeqCst);
    }

    /// What verifying has cost so far, in KiB times passes.
    #[cfg(test)]
    pub(super) fn work(&self) -> u64 {
        self.work.load(std::sync::atomic::Ordering::SeqCst)
    }

    /// Room for one hash.
    async fn slot(&self, known: bool) -> Result<OwnedSemaphorePermit, PasswordError> {
        let slots = if known {
            &self.slots_of_known
        } else {
            &self.slots
        };
        let slot = Arc::clone(slots).acquire_owned().await;
        slot.map_err(|_| PasswordError::Stopped)
    }

    fn proof(&self, name: &[u8], stored: &str, password: &[u8]) -> Proof {
        let length = u64::try_from(name.len()).unwrap_or(u64::MAX);
        // The length, and a PHC string that holds no NUL: no part can run into another.
        let mac = <Blake2sMac256 as KeyInit>::new_from_slice(&self.key).map(|mac| {
            mac.chain_update(length.to_be_bytes())
                .chain_update(name)
                .chain_update(stored)
                .chain_update([0])
                .chain_update(password)
                .finalize()
                .into_bytes()
                .into()
        });
        mac.unwrap_or_default()
    }

    fn remembered(&self, proof: &Proof) -> Option<Verdict> {
        let now = Instant::now();
        let mut verified = self.verified.lock();
        let known = verified.get_mut(proof).filter(|known| known.until > now)?;
        if known.fits {
            known.until = now + REMEMBERED_FOR;
            Some(Verdict::Right)
        } else {
            Some(Verdict::Wrong { anew: false })
        }
    }

    fn remember(&self, proof: Proof, fits: bool) {
        let now = Instant::now();
        let until = now + if fits { REMEMBERED_FOR } else { WRONG_FOR };
        let mut verified = self.verified.lock();
        if verified.len() >= REMEMBERED {
            verified.retain(|_, known| known.until > now);
        }
        if verified.len() >= REMEMBERED {
            verified.clear();
        }
        verified.insert(proof, Verified { fits, until });
    }
}

/// Somebody who asks what others may be asking too.
struct Turn<'a> {
    passwords: &'a Passwords,
    proof: Proof,
    turn: Arc<tokio::sync::Mutex<()>>,
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let mut under_way = self.passwords.under_way.lock();
        // The map's and this one: nobody else waits.
        if Arc::strong_count(&self.turn) <= 2 {
            under_way.remove(&self.proof);
        }
    }
}

/// Runs `work` on a thread that may block. The slot goes with it: a login that
/// gave up still occupies its core.
async fn blocking<T: Send + 'static>(
    slot: OwnedSemaphorePermit,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, PasswordError> {
    let work = move || {
        let _slot = slot;
        work()
    };
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|_| PasswordError::Stopped)
}

impl fmt::Debug for Passwords {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Passwords")
            .field("cost", &self.cost)
            .finish_non_exhaustive()
    }
}

/// A password that nobody guesses: 100 bits in letters and digits that are
/// easily told apart.
///
/// # Errors
/// [`PasswordError::Hash`] if the system has no randomness.
pub fn random_password() -> Result<String, PasswordError> {
    const LETTERS: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";
    let mut bits = u128::from_ne_bytes(random()?);
    let mut password = String::with_capacity(20);
    for _ in 0..20 {
        let index = usize::try_from(bits & 31).unwrap_or_default();
        password.push(char::from(LETTERS[index]));
        bits >>= 5;
    }
    Ok(password)
}

/// Unpredictable bytes.
///
/// # Errors
/// [`PasswordError::Hash`] if the system has none.
pub(crate) fn random() -> Result<[u8; 16], PasswordError> {
    argon2::password_hash::try_generate_salt().map_err(failed)
}

/// Whether this can be a password.
///
/// # Errors
/// [`PasswordError::Unfit`]
pub(super) fn check(password: &[u8]) -> Result<(), PasswordError> {
    let fits = (1..=MAX_PASSWORD_LEN).contains(&password.len())
        && !password.iter().any(|byte| b"\r\n\0".contains(byte));
    if fits {
        Ok(())
    } else {
        Err(PasswordError::Unfit)
    }
}

/// Whether this is a hash that one login may cost: of any of Argon2's kinds,
/// within [`MOST_MEMORY_KIB`] and [`MOST_WORK`].
pub(super) fn is_hash(text: &str) -> bool {
    PasswordHash::new(text).is_ok_and(|hash| {
        text.starts_with("$argon2")
            && hash.salt.is_some()
            && hash.hash.is_some()
            && Params::try_from(&hash).is_ok_and(|cost| {
                let work = u64::from(cost.m_cost()) * u64::from(cost.t_cost());
                cost.m_cost() <= MOST_MEMORY_KIB && work <= MOST_WORK
            })
    })
}

fn hash_now(cost: &Params, password: &[u8]) -> Result<String, PasswordError> {
    let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, cost.clone());
    let hash: PasswordHash = argon2.hash_password(password).map_err(failed)?;
    Ok(hash.to_string())
}

/// A stored hash that does not parse fits nothing.
fn verify_now(stored: &str, password: &[u8]) -> bool {
    PasswordHash::new(stored)
        .is_ok_and(|hash| Argon2::default().verify_password(password, &hash).is_ok())
}

fn failed(error: impl fmt::Display) -> PasswordError {
    PasswordError::Hash(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    const WRONG: Verdict = Verdict::Wrong { anew: true };
    const WRONG_AGAIN: Verdict = Verdict::Wrong { anew: false };

    async fn ask(passwords: &Passwords, stored: Option<&Arc<str>>, password: &[u8]) -> Verdict {
        let question = Question {
            name: b"ada",
            stored: stored.map(Arc::clone),
            password,
            known: false,
        };
        passwords.verify(question, || true).await.unwrap()
    }

    #[tokio::test]
    async fn only_the_right_password_fits() {
        let passwords = Passwords::new(PasswordCost::LEAST).unwrap();
        let stored: Arc<str> = passwords.hash(b"right").await.unwrap().into();
        assert!(
            stored.starts_with("$argon2id$v=19$m=8,t=1,p=1$"),
            "{stored}"
        );
        for wrong in [WRONG, WRONG_AGAIN] {
            assert_eq!(
                ask(&passwords, Some(&stored), b"right").await,
                Verdict::Right
            );
            assert_eq!(ask(&passwords, Some(&stored), b"wrong").await, wrong);
            assert_eq!(ask(&passwords, Some(&stored), b"").await, wrong);
            // The dummy lets nobody in.
            assert_eq!(ask(&passwords, None, b"nobody").await, wrong);
        }
        assert_eq!(
            ask(&passwords, Some(&"no hash".into()), b"right").await,
            WRONG
        );
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_remembered_is_forgotten() {
        let passwords = Passwords::new(PasswordCost::LEAST).unwrap();
        let stored: Arc<str> = passwords.hash(b"right").await.unwrap().into();
        let remembered = |name: &[u8], stored: &str, password: &[u8]| {
            passwords.remembered(&passwords.proof(name, stored, password))
        };
        assert_eq!(remembered(b"ada", &stored, b"right"), None);
        ask(&passwords, Some(&stored), b"right").await;
        ask(&passwords, Some(&stored), b"wrong").await;
        assert_eq!(remembered(b"ada", &stored, b"right"), Some(Verdict::Right));
        assert_eq!(remembered(b"ada", &stored, b"wrong"), Some(WRONG_AGAIN));
        // A changed password is forgotten at once; another name is another question.
        assert_eq!(remembered(b"ada", "another hash", b"right"), None);
        assert_eq!(remembered(b"bob", &stored, b"right"), None);
        tokio::time::advance(WRONG_FOR).await;
        assert_eq!(remembered(b"ada", &stored, b"wrong"), None);
        tokio::time::advance(REMEMBERED_FOR).await;
        assert_eq!(remembered(b"ada", &stored, b"right"), None);
    }

    #[tokio::test]
    async fn a_crowd_with_one_password_costs_one_hash() {
        let passwords = Arc::new(Passwords::new(PasswordCost::LEAST).unwrap());
        let stored: Arc<str> = passwords.hash(b"right").await.unwrap().into();
        for (password, anew) in [(&b"right"[..], Verdict::Right), (b"wrong", WRONG)] {
            let mut crowd = tokio::task::JoinSet::new();
            for _ in 0..500 {
                let (passwords, stored) = (Arc::clone(&passwords), Arc::clone(&stored));
                crowd.spawn(async move { ask(&passwords, Some(&stored), password).await });
            }
            let verdicts = crowd.join_all().await;
            let count = |verdict| verdicts.iter().filter(|one| **one == verdict).count();
            match anew {
                Verdict::Right => assert_eq!(count(Verdict::Right), 500),
                _ => assert_eq!((count(WRONG), count(WRONG_AGAIN)), (1, 499)),
            }
        }
        assert!(passwords.under_way.lock().is_empty());
    }

    #[tokio::test]
    async fn leave_is_asked_again_before_anything_is_hashed() {
        let passwords = Passwords::new(PasswordCost::LEAST).unwrap();
        let question = Question {
            name: b"ada",
            stored: None,
            password: b"guess",
            known: false,
        };
        let verdict = passwords.verify(question, || false).await.unwrap();
        assert_eq!(verdict, Verdict::Untried);
    }

    #[tokio::test]
    async fn what_is_a_hash() {
        let passwords = Passwords::new(PasswordCost::LEAST).unwrap();
        let hash = passwords.hash(b"right").await.unwrap();
        assert!(is_hash(&hash));
        for no in [
            "",
            "right",
            "$argon2id$",
            &hash[..hash.len() - 10],
            "$6$salt$hash",
        ] {
            assert!(!is_hash(no), "{no}");
        }
        assert!(
            !is_hash(&hash.replace("m=8,", "m=2000000,")),
            "2 GB a login"
        );
        let sensitive = "m=1048576,t=4,";
        assert!(is_hash(&hash.replace("m=8,t=1,", sensitive)));
        for hours in ["m=1048576,t=5,", "m=8,t=4294967295,"] {
            assert!(!is_hash(&hash.replace("m=8,t=1,", hours)), "{hours}");
        }
    }

    #[tokio::test]
    async fn unfit_passwords_are_refused() {
        let passwords = Passwords::new(PasswordCost::LEAST).unwrap();
        for unfit in [&b""[..], &[b'a'; 256], b"a\nb", b"a\0"] {
            assert!(matches!(
                passwords.hash(unfit).await,
                Err(PasswordError::Unfit)
            ));
        }
    }
}
