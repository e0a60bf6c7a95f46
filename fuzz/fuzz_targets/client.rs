#![no_main]
//! What a server says to our clients: split invariance.

use libfuzzer_sys::fuzz_target;
use proxy::protocol::client::{auth_target, http, line, socks5};
use weirgate_fuzz::settled;

fuzz_target!(|bytes: &[u8]| {
    let _ = settled(socks5::method, bytes);
    let _ = settled(socks5::status, bytes);
    let _ = settled(socks5::reply, bytes);
    let _ = settled(auth_target::reply, bytes);
    let _ = settled(line::reply, bytes);
    let _ = settled(http::reply, bytes);
});
