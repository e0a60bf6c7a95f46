#![no_main]
//! One input is a set of openings and the first bytes of a connection.

use libfuzzer_sys::fuzz_target;
use proxy::protocol::opening::{Opening, Openings, recognise};
use proxy::protocol::{auth_target, http, line, proxy_v2, socks5};
use weirgate_fuzz::settled;

const ALL: [Opening; 6] = [
    Opening::Socks5,
    Opening::Line,
    Opening::AuthTarget,
    Opening::Http,
    Opening::Tls,
    Opening::ProxyV2,
];

fuzz_target!(|input: (u8, &[u8])| {
    let (set, bytes) = input;
    let accepted: Openings = ALL
        .into_iter()
        .filter(|&one| set & one as u8 != 0)
        .collect();
    let recognised = settled(
        |bytes| Ok(recognise(bytes, accepted)?.map(|opening| (opening, 0))),
        bytes,
    );
    if let Ok(Some((opening, _))) = recognised {
        assert!(accepted.contains(opening));
    }
    // Whatever a parser understands is recognised as its own, if all are served.
    let all: Openings = ALL.into_iter().collect();
    let of = |opening| assert_eq!(recognise(bytes, all), Ok(Some(opening)));
    if let Ok(Some(_)) = socks5::greeting(bytes) {
        of(Opening::Socks5);
    }
    if let Ok(Some(_)) = auth_target::auth(bytes) {
        of(Opening::AuthTarget);
    }
    if let Ok(Some(_)) = proxy_v2::header(bytes) {
        of(Opening::ProxyV2);
    }
    if let Ok(Some(_)) = line::request(bytes) {
        of(Opening::Line);
    }
    if let Ok(Some(_)) = http::request(bytes)
        && !bytes.starts_with(b"\r\n")
        && bytes
            .iter()
            .position(|&byte| byte == b' ')
            .is_some_and(|method| method <= 32)
        && bytes[0].is_ascii_graphic()
    {
        of(Opening::Http);
    }
});
