#![no_main]
//! The line handshake, both sides: split invariance and round trips.

use libfuzzer_sys::fuzz_target;
use proxy::protocol::client;
use proxy::protocol::line::{MAX_LEN, request};
use weirgate_fuzz::settled;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(Some((asked, used))) = settled(request, bytes) {
        assert!(used <= MAX_LEN);
        if let Ok(again) = client::line::request(&asked.target, &asked.credentials) {
            let (heard, used) = request(&again).unwrap().unwrap();
            assert_eq!(used, again.len());
            assert_eq!(heard, asked);
        }
    }
    let _ = settled(client::line::reply, bytes);
});
