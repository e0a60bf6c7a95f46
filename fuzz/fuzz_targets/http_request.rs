#![no_main]
//! Heads of requests: split invariance, agreement with the parser underneath,
//! and what goes on means one thing: one Host, that of the target, one framing,
//! nothing that was for us, and a lenient origin reads the same.

use libfuzzer_sys::fuzz_target;
use proxy::protocol::http::{Framing, Kind, MAX_HEAD, request};
use weirgate_fuzz::{origin, settled};

/// Fields that were for this hop or for the proxy.
const OURS: [&str; 9] = [
    "http2-settings",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authentication-info",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "upgrade",
];

fuzz_target!(|bytes: &[u8]| {
    let Ok(Some((asked, used))) = settled(request, bytes) else {
        return;
    };
    assert!(used <= MAX_HEAD + 2);
    let mut fields = [httparse::EMPTY_HEADER; 256];
    let parsed = httparse::Request::new(&mut fields).parse(bytes).unwrap();
    assert_eq!(
        parsed,
        httparse::Status::Complete(used),
        "two readers, two heads"
    );
    let Kind::Forward(forward) = asked.kind else {
        return;
    };
    for keep_alive in [false, true] {
        let head = forward.head(false, keep_alive);
        // As much content as it says, up to a bound.
        let (content, whole) = match forward.framing() {
            Framing::None => (Vec::new(), true),
            Framing::Length(length) if length <= 64 => (vec![b'x'; length as usize], true),
            Framing::Length(_) => (Vec::new(), false),
            Framing::Chunked => (b"0\r\n\r\n".to_vec(), true),
            Framing::UntilClose => panic!("a request ends by itself"),
        };
        let (seen, ended) = origin::requests(&[head, content].concat());
        assert_eq!(ended, whole);
        let [seen] = &seen[..] else {
            assert!(!whole);
            continue;
        };
        let target = asked.target.to_string();
        let host = target.strip_suffix(":80").unwrap_or(&target).as_bytes();
        assert_eq!(seen.hosts, [host]);
        let framing = |name: &&String| *name == "content-length" || *name == "transfer-encoding";
        let expected = usize::from(forward.framing() != Framing::None);
        assert_eq!(seen.names.iter().filter(framing).count(), expected);
        for name in &seen.names {
            assert!(!OURS.contains(&&name[..]), "{name}");
            assert!(name != "connection" || !keep_alive);
        }
    }
});
