#![no_main]
//! Frames of seed 003: split invariance of magic and length, and that what is
//! revealed of a blob is what was hidden in it.

use libfuzzer_sys::fuzz_target;
use proxy::protocol::https_relay::{MAX_KEY, MIN_KEY, length, magic, opening, request, reveal};
use weirgate_fuzz::settled;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(Some(((), used))) = settled(opening, bytes) {
        let (p, _) = bytes[..used].split_first_chunk::<4>().unwrap();
        assert_eq!(magic(*p)[..], bytes[..used]);
    }
    let _ = settled(length, bytes);
    if let Ok(data) = reveal(bytes.to_vec()) {
        let key_len = usize::from(bytes[0]);
        assert!((MIN_KEY..=MAX_KEY).contains(&key_len));
        let frame = request([0; 4], &bytes[1..=key_len], &data).unwrap();
        assert_eq!(&frame[12..], bytes, "the same key hides the same data the same way");
    }
});
