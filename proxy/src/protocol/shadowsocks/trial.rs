//! What a client has sent first, tried with the key of one user after the other.
//!
//! A wrong key is told by as little work as there is: what all trials have in common
//! is done once, and of the sealed bytes the first ones alone are decrypted, without
//! their tag. They are the upper byte of a length (at most 0x3f) or the type of an
//! address (1, 3 or 4). Only what makes sense so far is opened whole: one stream of
//! four, one datagram of 85. The 2022 edition is opened whole at once.

use ring::aead::quic::{self, HeaderProtectionKey};

use super::datagram::{self, Opened};
use super::key::Derivation;
use super::stream::{self, Opener};
use super::{Key, Keys, Method, Refused, handshake};

/// A beginning of a stream, of [`handshake::first_len`] bytes.
#[derive(Debug)]
pub struct StreamTrial {
    method: Method,
    has_identity: bool,
    first: Vec<u8>,
    now: u64,
    sieve: Option<Sieve>,
}

/// A datagram.
#[derive(Debug)]
pub struct DatagramTrial {
    method: Method,
    bytes: Vec<u8>,
    now: u64,
    sieve: Option<Sieve>,
}

impl StreamTrial {
    /// Prepares for many keys; `now` is in seconds since 1970.
    #[must_use]
    pub fn new(method: Method, has_identity: bool, first: &[u8], now: u64) -> Self {
        Self {
            method,
            has_identity,
            first: first.to_vec(),
            now,
            sieve: Sieve::new(method, first),
        }
    }

    /// Tries one.
    ///
    /// # Errors
    /// As [`handshake::open_first`].
    pub fn open(&self, user: &Key) -> Result<Opener, Refused> {
        let (method, has_identity, first) = (self.method, self.has_identity, &self.first);
        let Some(sieve) = &self.sieve else {
            return handshake::open_first(method, user, has_identity, first, self.now);
        };
        let subkey = sieve.subkey(user);
        let high = sieve.first_plain(&subkey)?;
        if usize::from(high) > stream::longest(method) >> 8 {
            return Err(Refused::Authentication);
        }
        handshake::open_under(method, &subkey, has_identity, first, self.now)
    }
}

impl DatagramTrial {
    /// Prepares for many keys; `now` is in seconds since 1970.
    #[must_use]
    pub fn new(method: Method, bytes: Vec<u8>, now: u64) -> Self {
        let sieve = Sieve::new(method, &bytes);
        Self {
            method,
            bytes,
            now,
            sieve,
        }
    }

    /// The datagram.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Tries one user's.
    ///
    /// # Errors
    /// As [`datagram::open`].
    pub fn open(&self, keys: &Keys) -> Result<Opened, Refused> {
        if let Some(sieve) = &self.sieve {
            let address_type = sieve.first_plain(&sieve.subkey(&keys.user))?;
            if !matches!(address_type, 1 | 3 | 4) {
                return Err(Refused::Authentication);
            }
        }
        datagram::open(self.method, keys, &self.bytes, self.now)
    }
}

/// What tells most wrong keys of the AEAD construction.
struct Sieve {
    method: Method,
    derivation: Derivation,
    algorithm: &'static quic::Algorithm,
    /// The block that, encrypted, hides the first sealed bytes.
    block: [u8; 16],
    sealed: u8,
}

impl Sieve {
    fn new(method: Method, bytes: &[u8]) -> Option<Self> {
        // AES-GCM counts blocks big-endian after the nonce, from 2 on (NIST SP 800-38D,
        // 7.1); ChaCha20-Poly1305 little-endian before it, from 1 on (RFC 8439, 2.8).
        let (algorithm, at, counter) = match method {
            Method::Aes128Gcm => (&quic::AES_128, 15, 2),
            Method::Aes256Gcm => (&quic::AES_256, 15, 2),
            Method::Chacha20IetfPoly1305 => (&quic::CHACHA20, 0, 1),
            _ => return None,
        };
        let (salt, sealed) = bytes.split_at_checked(method.key_len())?;
        let mut block = [0; 16];
        *block.get_mut(at)? = counter;
        Some(Self {
            method,
            derivation: Derivation::new(salt),
            algorithm,
            block,
            sealed: *sealed.first()?,
        })
    }

    fn subkey(&self, user: &Key) -> Key {
        self.derivation.subkey(self.method, user)
    }

    /// What the first sealed byte is under a subkey.
    fn first_plain(&self, subkey: &Key) -> Result<u8, Refused> {
        // The mask of QUIC's header protection (RFC 9001, 5.4) is that block.
        let key = HeaderProtectionKey::new(self.algorithm, subkey.bytes());
        let mask = key.and_then(|key| key.new_mask(&self.block));
        let [first, ..] = mask.map_err(|_| Refused::Authentication)?;
        Ok(self.sealed ^ first)
    }
}

impl std::fmt::Debug for Sieve {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sieve").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::{Host, Target};

    const NOW: u64 = 1_700_000_000;

    fn keys(method: Method, number: u32) -> Keys {
        if !method.is_2022() {
            return Keys::parse(method, &format!("secret {number}")).unwrap();
        }
        let bytes = vec![number.to_le_bytes()[0]; method.key_len()];
        let text = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, bytes);
        Keys::parse(method, &text).unwrap()
    }

    /// With as many salts and keys that a sieve with a hole lets one through.
    #[test]
    fn a_trial_opens_what_opening_opens_and_nothing_else() {
        let target = Target {
            host: Host::Name("a.example".into()),
            port: 53,
        };
        for method in Method::ALL.into_iter().filter(|one| one.authenticates()) {
            for round in 0..40_u32 {
                let salt: Vec<u8> = round.to_le_bytes().repeat(8)[..method.key_len()].to_vec();
                let own = keys(method, round % 5);
                let mut words = Vec::new();
                handshake::ask(method, &own, &salt, &target, b"hello", NOW, &mut words).unwrap();
                let first = &words[..handshake::first_len(method, false)];
                let stream = StreamTrial::new(method, false, first, NOW);
                let mut sender = datagram::Sender::client(method, &own, round.into()).unwrap();
                let sent = sender.ask(&salt, &target, b"data", NOW).unwrap();
                let trial = DatagramTrial::new(method, sent.clone(), NOW);
                for number in 0..5 {
                    let user = keys(method, number);
                    assert_eq!(
                        stream.open(&user.user).is_ok(),
                        user == own,
                        "{method} {round} {number}"
                    );
                    let opened = trial.open(&user);
                    assert_eq!(opened, datagram::open(method, &user, &sent, NOW));
                    assert_eq!(opened.is_ok(), user == own);
                }
                let mut flipped = first.to_vec();
                *flipped.last_mut().unwrap() ^= 1;
                let flipped = StreamTrial::new(method, false, &flipped, NOW);
                assert!(flipped.open(&own.user).is_err());
            }
        }
    }

    #[test]
    fn a_stream_goes_on_with_what_a_trial_has_opened() {
        let method = Method::Aes256Gcm;
        let (own, salt) = (keys(method, 1), [7; 32]);
        let target = Target {
            host: Host::Address([192, 0, 2, 1].into()),
            port: 80,
        };
        let mut words = Vec::new();
        handshake::ask(method, &own, &salt, &target, b"hello", NOW, &mut words).unwrap();
        let (first, rest) = words.split_at_mut(handshake::first_len(method, false));
        let mut opener = StreamTrial::new(method, false, first, NOW)
            .open(&own.user)
            .unwrap();
        let (payload, _) = opener.open(rest).unwrap().unwrap();
        assert!(rest[payload].ends_with(b"hello"));
    }

    #[test]
    fn what_is_too_short_fits_nobody() {
        for method in Method::ALL.into_iter().filter(|one| one.authenticates()) {
            let own = keys(method, 1);
            for len in 0..method.key_len() + 20 {
                let bytes = vec![0; len];
                let stream = StreamTrial::new(method, false, &bytes, NOW);
                assert!(stream.open(&own.user).is_err(), "{method} {len}");
                let datagram = DatagramTrial::new(method, bytes, NOW);
                assert!(datagram.open(&own).is_err(), "{method} {len}");
            }
        }
    }
}
