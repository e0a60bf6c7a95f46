//! Sealing and opening in place.

use aes::cipher::{BlockCipherDecrypt, BlockCipherEncrypt, KeyInit};
use aes::{Aes128, Aes256};
use ring::aead::{self, Aad, LessSafeKey, Nonce, UnboundKey};

use super::{Key, Method, Refused, TAG_LEN};

/// One direction of a session: its key, and how often it was used.
#[derive(Debug)]
pub struct Cipher {
    key: LessSafeKey,
    used: u64,
}

impl Cipher {
    /// A session under a subkey.
    ///
    /// # Errors
    /// [`Refused::Malformed`] for a method without encryption.
    pub fn new(method: Method, subkey: &Key) -> Result<Self, Refused> {
        let algorithm = match method {
            Method::None => return Err(Refused::Malformed("no encryption")),
            Method::Aes128Gcm | Method::Blake3Aes128Gcm => &aead::AES_128_GCM,
            Method::Aes256Gcm | Method::Blake3Aes256Gcm => &aead::AES_256_GCM,
            Method::Chacha20IetfPoly1305 => &aead::CHACHA20_POLY1305,
        };
        let key = UnboundKey::new(algorithm, subkey.bytes());
        let key = key.map_err(|_| Refused::Malformed("a key of another length"))?;
        Ok(Self {
            key: LessSafeKey::new(key),
            used: 0,
        })
    }

    /// Opens what was sealed next in place: the plain bytes are those before the tag.
    ///
    /// # Errors
    /// [`Refused::Authentication`]; nothing more is to be opened then.
    pub fn open(&mut self, sealed: &mut [u8]) -> Result<usize, Refused> {
        let len = self.open_with(counted(self.used), sealed)?;
        self.used += 1;
        Ok(len)
    }

    /// As [`Cipher::open`], with a nonce from elsewhere.
    ///
    /// # Errors
    /// [`Refused::Authentication`]
    pub fn open_with(&self, nonce: [u8; 12], sealed: &mut [u8]) -> Result<usize, Refused> {
        let nonce = Nonce::assume_unique_for_key(nonce);
        let opened = self.key.open_in_place(nonce, Aad::empty(), sealed);
        opened
            .map(|plain| plain.len())
            .map_err(|_| Refused::Authentication)
    }

    /// Seals everything in `out` from `from` on, next.
    pub fn seal(&mut self, out: &mut Vec<u8>, from: usize) {
        let tag = self.seal_in_place(out.get_mut(from..).unwrap_or_default());
        out.extend_from_slice(&tag);
    }

    /// Seals `plain` where it is, next: the tag that belongs after it.
    pub fn seal_in_place(&mut self, plain: &mut [u8]) -> [u8; TAG_LEN] {
        let tag = self.tag(counted(self.used), plain);
        self.used += 1;
        tag
    }

    /// As [`Cipher::seal`], with a nonce that was never used with this key.
    pub fn seal_with(&self, nonce: [u8; 12], out: &mut Vec<u8>, from: usize) {
        let tag = self.tag(nonce, out.get_mut(from..).unwrap_or_default());
        out.extend_from_slice(&tag);
    }

    fn tag(&self, nonce: [u8; 12], plain: &mut [u8]) -> [u8; TAG_LEN] {
        let nonce = Nonce::assume_unique_for_key(nonce);
        let tag = self
            .key
            .seal_in_place_separate_tag(nonce, Aad::empty(), plain);
        // Fails only for plain texts of gigabytes; then the tag opens nothing.
        let tag = tag.ok().and_then(|tag| tag.as_ref().first_chunk().copied());
        tag.unwrap_or_default()
    }
}

fn counted(used: u64) -> [u8; 12] {
    let mut nonce = [0; 12];
    if let Some(low) = nonce.first_chunk_mut() {
        *low = used.to_le_bytes();
    }
    nonce
}

/// AES on a single block.
pub(super) enum Block {
    Short(Aes128),
    Long(Aes256),
}

impl Block {
    pub(super) fn new(key: &Key) -> Result<Self, Refused> {
        let wrong = |_| Refused::Malformed("a key of another length");
        match key.bytes().len() {
            16 => Aes128::new_from_slice(key.bytes()).map(Self::Short),
            _ => Aes256::new_from_slice(key.bytes()).map(Self::Long),
        }
        .map_err(wrong)
    }

    pub(super) fn encrypt(&self, mut block: [u8; 16]) -> [u8; 16] {
        match self {
            Self::Short(aes) => aes.encrypt_block((&mut block).into()),
            Self::Long(aes) => aes.encrypt_block((&mut block).into()),
        }
        block
    }

    pub(super) fn decrypt(&self, mut block: [u8; 16]) -> [u8; 16] {
        match self {
            Self::Short(aes) => aes.decrypt_block((&mut block).into()),
            Self::Long(aes) => aes.decrypt_block((&mut block).into()),
        }
        block
    }
}
