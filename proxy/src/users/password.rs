//! Passwords: Argon2id, off the reactor, with verified ones remembered for a short time.
//!
//! A login costs the same work whether the name exists or not, so the time of
//! an answer tells nobody which names there are. A verified pair is kept as a
//! keyed hash under a key that never leaves the process, so a flood of
//! connections is not a flood of Argon2.

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
use tokio::sync::Semaphore;
use tokio::time::Instant;

/// The longest password: what a SOCKS5 client can send (RFC 1929).
pub const MAX_PASSWORD_LEN: usize = 255;

/// How long a verified pair is believed after its last use without hashing again.
const REMEMBERED_FOR: Duration = Duration::from_secs(600);
/// How many verified pairs are remembered at most.
const REMEMBERED: usize = 65_536;

/// The most memory that a hash from elsewhere may need, in KiB.
const MOST_MEMORY_KIB: u32 = 1 << 20;

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
    key: [u8; 16],
    verified: Mutex<HashMap<Proof, Instant>>,
}

/// The keyed hash of a stored hash and the password that fits it.
type Proof = [u8; 32];

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
            key: random()?,
            verified: Mutex::default(),
        })
    }

    /// The PHC string of `password` under a fresh salt.
    ///
    /// # Errors
    /// [`PasswordError`]
    pub(super) async fn hash(&self, password: &[u8]) -> Result<String, PasswordError> {
        check(password)?;
        let (cost, password) = (self.cost.clone(), password.to_vec());
        self.in_slot(move || hash_now(&cost, &password)).await?
    }

    /// Whether `password` fits the stored PHC string; `None` is a user that
    /// does not exist, and costs as much as one that does.
    ///
    /// # Errors
    /// [`PasswordError::Stopped`]
    pub(super) async fn verify(
        &self,
        stored: Option<Arc<str>>,
        password: &[u8],
    ) -> Result<bool, PasswordError> {
        let exists = stored.is_some();
        let stored = stored.unwrap_or_else(|| Arc::clone(&self.dummy));
        let proof = self.proof(&stored, password);
        if self.remembers(&proof) {
            return Ok(exists);
        }
        let password = password.to_vec();
        let fits = self.in_slot(move || verify_now(&stored, &password)).await? && exists;
        if fits {
            self.remember(proof);
        }
        Ok(fits)
    }

    /// Runs `work` on a thread that may block, no more at once than there are slots.
    async fn in_slot<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, PasswordError> {
        let slot = Arc::clone(&self.slots)
            .acquire_owned()
            .await
            .map_err(|_| PasswordError::Stopped)?;
        // The slot goes with the work: a login that gave up still occupies its core.
        let work = move || {
            let _slot = slot;
            work()
        };
        tokio::task::spawn_blocking(work)
            .await
            .map_err(|_| PasswordError::Stopped)
    }

    fn proof(&self, stored: &str, password: &[u8]) -> Proof {
        // A PHC string holds no NUL: the two parts cannot run into each other.
        let mac = <Blake2sMac256 as KeyInit>::new_from_slice(&self.key).map(|mac| {
            mac.chain_update(stored)
                .chain_update([0])
                .chain_update(password)
                .finalize()
                .into_bytes()
                .into()
        });
        mac.unwrap_or_default()
    }

    fn remembers(&self, proof: &Proof) -> bool {
        let now = Instant::now();
        match self.verified.lock().get_mut(proof) {
            Some(until) if *until > now => {
                *until = now + REMEMBERED_FOR;
                true
            }
            _ => false,
        }
    }

    fn remember(&self, proof: Proof) {
        let now = Instant::now();
        let mut verified = self.verified.lock();
        if verified.len() >= REMEMBERED {
            verified.retain(|_, until| *until > now);
        }
        if verified.len() >= REMEMBERED {
            verified.clear();
        }
        verified.insert(proof, now + REMEMBERED_FOR);
    }
}

impl fmt::Debug for Passwords {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Passwords")
            .field("cost", &self.cost)
            .finish_non_exhaustive()
    }
}

/// Unpredictable bytes.
///
/// # Errors
/// [`PasswordError::Hash`] if the system has none.
pub(super) fn random() -> Result<[u8; 16], PasswordError> {
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
/// within [`MOST_MEMORY_KIB`].
pub(super) fn is_hash(text: &str) -> bool {
    PasswordHash::new(text).is_ok_and(|hash| {
        text.starts_with("$argon2")
            && hash.salt.is_some()
            && hash.hash.is_some()
            && Params::try_from(&hash).is_ok_and(|cost| cost.m_cost() <= MOST_MEMORY_KIB)
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

    #[tokio::test]
    async fn only_the_right_password_fits() {
        let passwords = Passwords::new(PasswordCost::LEAST).unwrap();
        let stored: Arc<str> = passwords.hash(b"right").await.unwrap().into();
        assert!(
            stored.starts_with("$argon2id$v=19$m=8,t=1,p=1$"),
            "{stored}"
        );
        for _ in 0..2 {
            assert!(
                passwords
                    .verify(Some(Arc::clone(&stored)), b"right")
                    .await
                    .unwrap()
            );
            assert!(
                !passwords
                    .verify(Some(Arc::clone(&stored)), b"wrong")
                    .await
                    .unwrap()
            );
            assert!(
                !passwords
                    .verify(Some(Arc::clone(&stored)), b"")
                    .await
                    .unwrap()
            );
            assert!(
                !passwords.verify(None, b"nobody").await.unwrap(),
                "the dummy lets nobody in"
            );
        }
        assert!(
            !passwords
                .verify(Some("not a hash".into()), b"right")
                .await
                .unwrap()
        );
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_remembered_is_forgotten() {
        let passwords = Passwords::new(PasswordCost::LEAST).unwrap();
        let stored: Arc<str> = passwords.hash(b"right").await.unwrap().into();
        let proof = passwords.proof(&stored, b"right");
        assert!(!passwords.remembers(&proof));
        assert!(
            passwords
                .verify(Some(Arc::clone(&stored)), b"right")
                .await
                .unwrap()
        );
        assert!(passwords.remembers(&proof));
        assert!(!passwords.remembers(&passwords.proof(&stored, b"wrong")));
        assert!(
            !passwords.remembers(&passwords.proof("another hash", b"right")),
            "a changed password is forgotten at once"
        );
        tokio::time::advance(REMEMBERED_FOR).await;
        assert!(!passwords.remembers(&proof));
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
            &hash[..hash.len() - 8],
            "$6$salt$hash",
        ] {
            assert!(!is_hash(no), "{no}");
        }
        assert!(
            !is_hash(&hash.replace("m=8,", "m=2000000,")),
            "2 GB a login"
        );
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
