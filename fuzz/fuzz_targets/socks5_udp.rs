#![no_main]
//! Datagrams: what was understood, written again, is understood the same.

use libfuzzer_sys::fuzz_target;
use proxy::protocol::Host;
use proxy::protocol::socks5_udp::{MAX_HEADER, parse, write_target_header};

fuzz_target!(|bytes: &[u8]| {
    let Ok(datagram) = parse(bytes) else { return };
    assert!(bytes.ends_with(datagram.data));
    assert!(bytes.len() - datagram.data.len() <= MAX_HEADER);
    let mut again = Vec::new();
    write_target_header(&mut again, &datagram.target).unwrap();
    again.extend_from_slice(datagram.data);
    let heard = parse(&again).unwrap();
    assert_eq!(
        (heard.data, heard.target.port),
        (datagram.data, datagram.target.port)
    );
    match (&datagram.target.host, &heard.target.host) {
        (Host::Address(before), Host::Address(after)) => assert_eq!(before.to_canonical(), *after),
        (before, after) => assert_eq!(before, after),
    }
});
