//! The wire protocol of seed 003's HTTPS relay service: frames of obfuscated bytes.
//!
//! ```text
//! C->S  magic[8] = p[4] random | s[4] with s[i] = ((p[i] ^ 5A) + i * 17) & FF ; length (4) ; blob[length]
//! S->C  length (4) ; blob[length]
//! blob  key length (1), 33 to 200 | key | data[i] ^ key[i % key length]
//! ```
//!
//! Lengths are big-endian and at most [`MAX_LEN`]; the data are JSON, which
//! [`https_service`](crate::https_service) reads. The key travels in the clear, so this hides
//! nothing from anybody who knows the format: for secrets there is TLS round it.
//!
//! A magic is never mistaken for something else: a PROXY header has 00 where a
//! magic has 57, a TLS handshake 01 where it has 70, and the fifth byte of a line
//! of HTTP would have to be a control character.

use super::WireError;

/// The longest blob.
pub const MAX_LEN: usize = 10 * 1024 * 1024;
/// Bytes in a magic.
pub const MAGIC_LEN: usize = 8;
/// The shortest key.
pub const MIN_KEY: usize = 33;
/// The longest key.
pub const MAX_KEY: usize = 200;

/// Why bytes are not a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// The second half does not follow from the first.
    #[error("no magic")]
    Magic,
    /// Longer than [`MAX_LEN`].
    #[error("a frame of {len} bytes is longer than {MAX_LEN}")]
    TooLong {
        /// Bytes of the blob.
        len: u32,
    },
    /// Not as long as a key must be, or cut off inside its key.
    #[error("the key is not {MIN_KEY} to {MAX_KEY} bytes long")]
    Key,
}

/// The magic that begins with `p`.
#[must_use]
pub const fn magic(p: [u8; 4]) -> [u8; MAGIC_LEN] {
    let [a, b, c, d] = p;
    [
        a,
        b,
        c,
        d,
        a ^ 0x5a,
        (b ^ 0x5a).wrapping_add(0x17),
        (c ^ 0x5a).wrapping_add(0x2e),
        (d ^ 0x5a).wrapping_add(0x45),
    ]
}

/// Takes a magic.
///
/// # Errors
/// [`Malformed::Magic`] at the first byte that does not belong to one.
pub fn opening(bytes: &[u8]) -> Result<Option<((), usize)>, WireError> {
    let Some(p) = bytes.first_chunk::<4>() else {
        return Ok(None);
    };
    let expected = magic(*p);
    let len = bytes.len().min(MAGIC_LEN);
    if bytes.get(..len) != expected.get(..len) {
        return Err(Malformed::Magic.into());
    }
    Ok((len == MAGIC_LEN).then_some(((), MAGIC_LEN)))
}

/// Takes the length of a blob.
///
/// # Errors
/// [`Malformed::TooLong`]
pub fn length(bytes: &[u8]) -> Result<Option<(usize, usize)>, WireError> {
    let Some(len) = bytes.first_chunk::<4>().copied().map(u32::from_be_bytes) else {
        return Ok(None);
    };
    match usize::try_from(len) {
        Ok(blob) if blob <= MAX_LEN => Ok(Some((blob, 4))),
        _ => Err(Malformed::TooLong { len }.into()),
    }
}

/// The data of a blob.
///
/// # Errors
/// [`Malformed::Key`]
pub fn reveal(mut blob: Vec<u8>) -> Result<Vec<u8>, WireError> {
    let (&len, rest) = blob.split_first().ok_or(Malformed::Key)?;
    let len = usize::from(len);
    if !(MIN_KEY..=MAX_KEY).contains(&len) || rest.len() < len {
        return Err(Malformed::Key.into());
    }
    let (head, data) = blob.split_at_mut(1 + len);
    mask(data, head.get(1..).unwrap_or_default());
    blob.drain(..=len);
    Ok(blob)
}

/// What the server sends: length and blob.
///
/// # Errors
/// [`Malformed::TooLong`], [`Malformed::Key`]
pub fn response(key: &[u8], data: &[u8]) -> Result<Vec<u8>, WireError> {
    let mut frame = Vec::with_capacity(5 + key.len() + data.len());
    append(&mut frame, key, data)?;
    Ok(frame)
}

/// What a client sends: magic, length and blob.
///
/// # Errors
/// [`Malformed::TooLong`], [`Malformed::Key`]
pub fn request(p: [u8; 4], key: &[u8], data: &[u8]) -> Result<Vec<u8>, WireError> {
    let mut frame = magic(p).to_vec();
    append(&mut frame, key, data)?;
    Ok(frame)
}

fn append(frame: &mut Vec<u8>, key: &[u8], data: &[u8]) -> Result<(), WireError> {
    let key_len = u8::try_from(key.len()).map_err(|_| Malformed::Key)?;
    if !(MIN_KEY..=MAX_KEY).contains(&key.len()) {
        return Err(Malformed::Key.into());
    }
    let blob = 1 + key.len() + data.len();
    let len = u32::try_from(blob).unwrap_or(u32::MAX);
    if blob > MAX_LEN {
        return Err(Malformed::TooLong { len }.into());
    }
    frame.extend(len.to_be_bytes());
    frame.push(key_len);
    frame.extend(key);
    let start = frame.len();
    frame.extend(data);
    mask(frame.get_mut(start..).unwrap_or_default(), key);
    Ok(())
}

/// XOR, which is its own inverse.
fn mask(data: &mut [u8], key: &[u8]) {
    for piece in data.chunks_mut(key.len().max(1)) {
        for (byte, key) in piece.iter_mut().zip(key) {
            *byte ^= key;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::testing::settled;
    use proptest::prelude::*;

    #[test]
    fn magics_byte_for_byte() {
        for (p, s) in [
            (0x0000_0000_u32, 0x5a71_889f_u32),
            (0x0102_0304, 0x5b6f_87a3),
            (0xffff_ffff, 0xa5bc_d3ea),
            (0xdead_beef, 0x840e_12fa),
        ] {
            let whole = [p.to_be_bytes(), s.to_be_bytes()].concat();
            assert_eq!(magic(p.to_be_bytes())[..], whole);
            assert_eq!(opening(&whole), Ok(Some(((), 8))));
            for wrong in 4..8 {
                let mut bytes = whole.clone();
                bytes[wrong] ^= 1;
                let error = Err(Malformed::Magic.into());
                assert_eq!(opening(&bytes[..=wrong]), error, "as soon as it is seen");
                assert_eq!(opening(&bytes[..wrong]), Ok(None));
            }
        }
    }

    #[test]
    fn frames_byte_for_byte() {
        let key: Vec<u8> = (1..=33).collect();
        let frame = response(&key, b"{}").unwrap();
        let mut expected = vec![0, 0, 0, 36, 33];
        expected.extend(&key);
        expected.extend([b'{' ^ 1, b'}' ^ 2]);
        assert_eq!(frame, expected);
        let sent = request([0xde, 0xad, 0xbe, 0xef], &key, b"{}").unwrap();
        assert_eq!(sent[..8], [0xde, 0xad, 0xbe, 0xef, 0x84, 0x0e, 0x12, 0xfa]);
        assert_eq!(sent[8..], expected);
    }

    #[test]
    fn bounds_are_kept() {
        let too_long = u32::try_from(MAX_LEN + 1).unwrap();
        assert_eq!(length(&[0, 0xa0, 0, 0]), Ok(Some((MAX_LEN, 4))));
        let error = WireError::from(Malformed::TooLong { len: too_long });
        assert_eq!(length(&too_long.to_be_bytes()), Err(error));
        assert_eq!(
            response(&[1; 33], &vec![0; MAX_LEN]).unwrap_err(),
            WireError::from(Malformed::TooLong { len: too_long + 33 })
        );
        for blob in [&b""[..], &[32; 40], &[201; 300], &[33; 33], &[200; 200]] {
            assert_eq!(reveal(blob.to_vec()), Err(Malformed::Key.into()));
        }
        assert_eq!(reveal(vec![33; 34]), Ok(Vec::new()), "a key and no data");
        for key in [32, 201] {
            assert_eq!(response(&vec![0; key], b""), Err(Malformed::Key.into()));
        }
    }

    proptest! {
        #[test]
        fn what_is_hidden_is_revealed(
            p in any::<[u8; 4]>(),
            key in proptest::collection::vec(any::<u8>(), MIN_KEY..=MAX_KEY),
            data in proptest::collection::vec(any::<u8>(), 0..600),
        ) {
            let frame = request(p, &key, &data).unwrap();
            settled(opening, &frame);
            let ((), used) = opening(&frame).unwrap().unwrap();
            settled(length, &frame[used..]);
            let (len, taken) = length(&frame[used..]).unwrap().unwrap();
            let blob = &frame[used + taken..];
            prop_assert_eq!(blob.len(), len);
            prop_assert_eq!(reveal(blob.to_vec()).unwrap(), data);
        }

        #[test]
        fn splits_do_not_matter(bytes in proptest::collection::vec(any::<u8>(), 0..24)) {
            settled(opening, &bytes);
            settled(length, &bytes);
            let _ = reveal(bytes);
        }
    }
}
