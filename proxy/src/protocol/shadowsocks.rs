//! Shadowsocks: the AEAD construction (SIP004, shadowsocks.org, "AEAD Ciphers"),
//! the 2022 edition (SIP022) with identity headers (SIP023), and the stream ciphers of
//! old in CFB mode.
//!
//! ```text
//! key      AEAD: EVP_BytesToKey(MD5, password)     2022: the base64 password; "port:user" is two keys
//! subkey   AEAD: HKDF-SHA1(key, salt, "ss-subkey") 2022: BLAKE3-derive("shadowsocks 2022 session subkey", key | salt)
//! seal(x)  x encrypted, then a tag of 16 bytes; nonce: 12 bytes, little-endian, 0, 1, 2, ... per seal
//! address  type 01 IPv4 (4) | 03 name (length byte first) | 04 IPv6 (16); then the port, big-endian
//!
//! TCP, AEAD, both ways       salt | chunk...          chunk  seal(length u16 BE, <= 0x3fff) | seal(payload)
//!                            the client's payload begins with the address
//! TCP, 2022, from the client salt | identity? | seal(00 | time u64 BE | length u16) | seal(address |
//!                            padding length u16 | padding | payload) | chunk...      chunks up to 0xffff
//!          towards the client salt | seal(01 | time | salt of the client | length) | seal(payload) | chunk...
//!   identity                 AES-ECB(BLAKE3-derive("shadowsocks 2022 identity subkey", port key | salt),
//!                            BLAKE3(user key)[..16])
//! TCP and UDP, CFB           first block | address, payload under AES-CFB with the key itself; no tag
//! UDP, AEAD, both ways       salt | seal(address | data)                              nonce 0
//! UDP, 2022                  AES-ECB(port key, or user key without identity, session u64 | number u64) |
//!                            AES-ECB(port key, BLAKE3(user key)[..16] XOR (session | number))? | seal(body)
//!                            subkey from the session in place of a salt, nonce: bytes 4..16 of session | number
//!   body, from the client    00 | time | padding length | padding | address | data
//!         towards the client 01 | time | session of the client | padding length | padding | address | data
//! ```
//!
//! A salt has the length of the key. Times are seconds since 1970 and may be 30 s off.
//! Towards the client the separate header is under the user's key. Who sent something is
//! known only once it opens: with AEAD every key is tried, an identity names the user.
//! What is authentic and makes no sense is refused exactly as what is not authentic.

use std::time::Duration;

pub mod cipher;
pub mod datagram;
pub mod handshake;
pub mod key;
pub mod method;
pub mod stream;
pub mod trial;

pub use key::{Key, KeyError, Keys};
pub use method::{Method, UnknownMethod};

/// The bytes of a tag.
pub const TAG_LEN: usize = 16;
/// The bytes of an identity header.
pub const IDENTITY_LEN: usize = 16;
/// How far a clock may be off (SIP022, section 3.1.3).
pub const CLOCK_SKEW: Duration = Duration::from_secs(30);

/// Why something is not served; the peer is not told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// No key opens it.
    #[error("not authentic")]
    Authentication,
    /// It was sent before.
    #[error("replayed")]
    Replay,
    /// The clock of the sender, or of a recording, is off.
    #[error("the time {sent} is too far from {now}")]
    Time {
        /// Seconds since 1970, as sent.
        sent: u64,
        /// Seconds since 1970, as we have them.
        now: u64,
    },
    /// An authentic message that makes no sense.
    #[error("malformed: {0}")]
    Malformed(&'static str),
}

/// Whether a time is within [`CLOCK_SKEW`].
const fn check_time(sent: u64, now: u64) -> Result<(), Refused> {
    if sent.abs_diff(now) <= CLOCK_SKEW.as_secs() {
        Ok(())
    } else {
        Err(Refused::Time { sent, now })
    }
}
