//! Sealing and opening in place.

use aes::cipher::{BlockCipherDecrypt, BlockCipherEncrypt, KeyInit};
use aes::{Aes128, Aes192, Aes256};
use ring::aead::{self, Aad, LessSafeKey, Nonce, UnboundKey};

use super::{Key, Method, Refused, TAG_LEN};

/// One direction of a session.
#[derive(Debug)]
pub struct Cipher(Kind);

#[derive(Debug)]
enum Kind {
    /// A key, and how often it was used.
    Aead {
        key: LessSafeKey,
        used: u64,
    },
    Feedback(Feedback),
}

impl Cipher {
    /// A session under a subkey that begins with `salt`.
    ///
    /// # Errors
    /// [`Refused::Malformed`] for a method without encryption.
    pub fn new(method: Method, subkey: &Key, salt: &[u8]) -> Result<Self, Refused> {
        let algorithm = match method {
            Method::None => return Err(Refused::Malformed("no encryption")),
            Method::Aes128Cfb | Method::Aes192Cfb | Method::Aes256Cfb => {
                let feedback = Feedback::new(subkey, salt)?;
                return Ok(Self(Kind::Feedback(feedback)));
            }
            Method::Aes128Gcm | Method::Blake3Aes128Gcm => &aead::AES_128_GCM,
            Method::Aes256Gcm | Method::Blake3Aes256Gcm => &aead::AES_256_GCM,
            Method::Chacha20IetfPoly1305 => &aead::CHACHA20_POLY1305,
        };
        let key = UnboundKey::new(algorithm, subkey.bytes());
        let key = key.map_err(|_| Refused::Malformed("a key of another length"))?;
        let key = LessSafeKey::new(key);
        Ok(Self(Kind::Aead { key, used: 0 }))
    }

    /// Opens what was sealed next in place: the plain bytes are those before the tag,
    /// if there is one.
    ///
    /// # Errors
    /// [`Refused::Authentication`]; nothing more is to be opened then.
    pub fn open(&mut self, sealed: &mut [u8]) -> Result<usize, Refused> {
        match &mut self.0 {
            Kind::Aead { key, used } => {
                let len = open(key, counted(*used), sealed)?;
                *used += 1;
                Ok(len)
            }
            Kind::Feedback(feedback) => {
                feedback.decrypt(sealed);
                Ok(sealed.len())
            }
        }
    }

    /// As [`Cipher::open`], with a nonce from elsewhere.
    ///
    /// # Errors
    /// [`Refused::Authentication`]
    pub fn open_with(&self, nonce: [u8; 12], sealed: &mut [u8]) -> Result<usize, Refused> {
        match &self.0 {
            Kind::Aead { key, .. } => open(key, nonce, sealed),
            Kind::Feedback(_) => Err(Refused::Authentication),
        }
    }

    /// Seals everything in `out` from `from` on, next.
    pub fn seal(&mut self, out: &mut Vec<u8>, from: usize) {
        if let Some(tag) = self.seal_in_place(out.get_mut(from..).unwrap_or_default()) {
            out.extend_from_slice(&tag);
        }
    }

    /// Seals `plain` where it is, next: the tag that belongs after it, if any does.
    pub fn seal_in_place(&mut self, plain: &mut [u8]) -> Option<[u8; TAG_LEN]> {
        match &mut self.0 {
            Kind::Aead { key, used } => {
                let tag = tag(key, counted(*used), plain);
                *used += 1;
                Some(tag)
            }
            Kind::Feedback(feedback) => {
                feedback.encrypt(plain);
                None
            }
        }
    }

    /// As [`Cipher::seal`], with a nonce that was never used with this key; what has
    /// no nonces is left as it is, and nothing opens it.
    pub fn seal_with(&self, nonce: [u8; 12], out: &mut Vec<u8>, from: usize) {
        if let Kind::Aead { key, .. } = &self.0 {
            let tag = tag(key, nonce, out.get_mut(from..).unwrap_or_default());
            out.extend_from_slice(&tag);
        }
    }
}

fn open(key: &LessSafeKey, nonce: [u8; 12], sealed: &mut [u8]) -> Result<usize, Refused> {
    let nonce = Nonce::assume_unique_for_key(nonce);
    let opened = key.open_in_place(nonce, Aad::empty(), sealed);
    opened
        .map(|plain| plain.len())
        .map_err(|_| Refused::Authentication)
}

fn tag(key: &LessSafeKey, nonce: [u8; 12], plain: &mut [u8]) -> [u8; TAG_LEN] {
    let nonce = Nonce::assume_unique_for_key(nonce);
    let tag = key.seal_in_place_separate_tag(nonce, Aad::empty(), plain);
    // Fails only for plain texts of gigabytes; then the tag opens nothing.
    let tag = tag.ok().and_then(|tag| tag.as_ref().first_chunk().copied());
    tag.unwrap_or_default()
}

/// CFB with segments of 128 bits (NIST SP 800-38A, 6.3), cut anywhere.
struct Feedback {
    aes: Block,
    /// What the next bytes are hidden with, as far as it was not used, and the
    /// encrypted bytes of this block before that.
    register: [u8; 16],
    at: usize,
}

impl Feedback {
    fn new(key: &Key, first: &[u8]) -> Result<Self, Refused> {
        let first = first.first_chunk().copied();
        Ok(Self {
            aes: Block::new(key)?,
            register: first.ok_or(Refused::Malformed("no first block"))?,
            at: 0,
        })
    }

    fn encrypt(&mut self, bytes: &mut [u8]) {
        for byte in bytes {
            let hidden = self.next();
            *byte ^= *hidden;
            *hidden = *byte;
        }
    }

    fn decrypt(&mut self, bytes: &mut [u8]) {
        for byte in bytes {
            let hidden = self.next();
            (*byte, *hidden) = (*byte ^ *hidden, *byte);
        }
    }

    fn next(&mut self) -> &mut u8 {
        if self.at == 0 {
            self.register = self.aes.encrypt(self.register);
        }
        let at = self.at;
        self.at = (at + 1) % self.register.len();
        &mut self.register[at]
    }
}

impl std::fmt::Debug for Feedback {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Feedback").finish_non_exhaustive()
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
    Middle(Aes192),
    Long(Aes256),
}

impl Block {
    pub(super) fn new(key: &Key) -> Result<Self, Refused> {
        let wrong = |_| Refused::Malformed("a key of another length");
        match key.bytes().len() {
            16 => Aes128::new_from_slice(key.bytes()).map(Self::Short),
            24 => Aes192::new_from_slice(key.bytes()).map(Self::Middle),
            _ => Aes256::new_from_slice(key.bytes()).map(Self::Long),
        }
        .map_err(wrong)
    }

    pub(super) fn encrypt(&self, mut block: [u8; 16]) -> [u8; 16] {
        match self {
            Self::Short(aes) => aes.encrypt_block((&mut block).into()),
            Self::Middle(aes) => aes.encrypt_block((&mut block).into()),
            Self::Long(aes) => aes.encrypt_block((&mut block).into()),
        }
        block
    }

    pub(super) fn decrypt(&self, mut block: [u8; 16]) -> [u8; 16] {
        match self {
            Self::Short(aes) => aes.decrypt_block((&mut block).into()),
            Self::Middle(aes) => aes.decrypt_block((&mut block).into()),
            Self::Long(aes) => aes.decrypt_block((&mut block).into()),
        }
        block
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unhex(text: &str) -> Vec<u8> {
        let byte = |at| u8::from_str_radix(&text[at..at + 2], 16).unwrap();
        (0..text.len()).step_by(2).map(byte).collect()
    }

    /// NIST SP 800-38A, F.3.13, F.3.15 and F.3.17, in pieces of every size.
    #[test]
    fn cfb_is_that_of_the_standard() {
        let plain = unhex(concat!(
            "6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e51",
            "30c81c46a35ce411e5fbc1191a0a52eff69f2445df4f9b17ad2b417be66c3710"
        ));
        let first: Vec<u8> = (0..16).collect();
        for (method, key, sealed) in [
            (
                Method::Aes128Cfb,
                "2b7e151628aed2a6abf7158809cf4f3c",
                concat!(
                    "3b3fd92eb72dad20333449f8e83cfb4ac8a64537a0b3a93fcde3cdad9f1ce58b",
                    "26751f67a3cbb140b1808cf187a4f4dfc04b05357c5d1c0eeac4c66f9ff7f2e6"
                ),
            ),
            (
                Method::Aes192Cfb,
                "8e73b0f7da0e6452c810f32b809079e562f8ead2522c6b7b",
                concat!(
                    "cdc80d6fddf18cab34c25909c99a417467ce7f7f81173621961a2b70171d3d7a",
                    "2e1e8a1dd59b88b1c8e60fed1efac4c9c05f9f9ca9834fa042ae8fba584b09ff"
                ),
            ),
            (
                Method::Aes256Cfb,
                "603deb1015ca71be2b73aef0857d77811f352c073b6108d72d9810a30914dff4",
                concat!(
                    "dc7e84bfda79164b7ecd8486985d386039ffed143b28b1c832113c6331e5407b",
                    "df10132415e54b92a13ed0a8267ae2f975a385741ab9cef82031623d55b1e471"
                ),
            ),
        ] {
            let key = Key::from_bytes(method, &unhex(key));
            let mut sealer = Cipher::new(method, &key, &first).unwrap();
            let mut opener = Cipher::new(method, &key, &first).unwrap();
            let mut at = 0;
            for len in 0..=11 {
                let till = plain.len().min(at + len);
                let mut piece = plain[at..till].to_vec();
                assert_eq!(sealer.seal_in_place(&mut piece), None);
                assert_eq!(piece, unhex(sealed)[at..till], "{method} from {at}");
                assert_eq!(opener.open(&mut piece), Ok(piece.len()));
                assert_eq!(piece, plain[at..till], "{method} from {at}");
                at = till;
            }
            assert_eq!(at, plain.len());
        }
        assert!(
            Cipher::new(
                Method::Aes128Cfb,
                &Key::from_bytes(Method::Aes128Cfb, &[0; 16]),
                &[]
            )
            .is_err()
        );
    }
}
