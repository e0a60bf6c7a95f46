#![no_main]
//! Greetings, passwords and requests: split invariance, and the client's bytes
//! for what was understood are understood the same.

use libfuzzer_sys::fuzz_target;
use proxy::protocol::client;
use proxy::protocol::socks5::{Command, credentials, greeting, request, request_among};
use weirgate_fuzz::settled;

fuzz_target!(|bytes: &[u8]| {
    let _ = settled(greeting, bytes);
    let _ = settled(request, bytes);
    if let Ok(Some((login, used))) = settled(credentials, bytes)
        && let Ok(again) = client::socks5::password(&login)
    {
        assert_eq!(again, bytes[..used]);
    }
    let both = [Command::Connect, Command::UdpAssociate];
    if let Ok(Some((asked, _))) = settled(|bytes| request_among(bytes, &both), bytes) {
        let again = client::socks5::request(asked.command, &asked.target).unwrap();
        let (heard, used) = request_among(&again, &both).unwrap().unwrap();
        assert_eq!(used, again.len());
        assert_eq!(heard.command, asked.command);
        assert_eq!(heard.target.port, asked.target.port);
    }
});
