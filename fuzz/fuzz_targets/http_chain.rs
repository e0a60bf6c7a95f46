#![no_main]
//! A kept-alive connection: requests with their bodies, one after the other,
//! forwarded as the proxy would. A lenient origin must see as many requests as
//! were let through, to the hosts that were judged, with the content that was
//! counted.

use libfuzzer_sys::fuzz_target;
use proxy::protocol::http::{Body, Kind, Step, request};
use weirgate_fuzz::origin;

fuzz_target!(|bytes: &[u8]| {
    let mut rest = bytes;
    let mut stream = Vec::new();
    let mut expected = Vec::new();
    while let Ok(Some((asked, used))) = request(rest) {
        rest = &rest[used..];
        let Kind::Forward(forward) = asked.kind else {
            break;
        };
        let before = stream.len();
        stream.extend(forward.head(true, true));
        let (mut body, mut decoded) = (forward.body(), Body::decoded(forward.framing()));
        let start = rest;
        while let Ok(Some(Step::Forward(count) | Step::Skip(count))) = body.step(rest) {
            rest = &rest[count..];
        }
        if !body.has_ended() {
            // Cut off: both connections close, and no origin acts on half a request.
            stream.truncate(before);
            break;
        }
        let mut from = &start[..start.len() - rest.len()];
        let mut onward = forward.body();
        while let Ok(Some(step @ (Step::Forward(count) | Step::Skip(count)))) = onward.step(from) {
            if let Step::Forward(_) = step {
                stream.extend_from_slice(&from[..count]);
            }
            from = &from[count..];
        }
        let mut content = Vec::new();
        let mut from = &start[..start.len() - rest.len()];
        while let Ok(Some(step @ (Step::Forward(count) | Step::Skip(count)))) = decoded.step(from) {
            if let Step::Forward(_) = step {
                content.extend_from_slice(&from[..count]);
            }
            from = &from[count..];
        }
        let target = asked.target.to_string();
        let host = target
            .strip_suffix(":80")
            .unwrap_or(&target)
            .as_bytes()
            .to_vec();
        expected.push((host, content));
        if !asked.keep_alive {
            break;
        }
    }
    let (seen, whole) = origin::requests(&stream);
    assert!(whole);
    let seen: Vec<_> = seen
        .into_iter()
        .map(|one| (one.hosts.concat(), one.content))
        .collect();
    assert_eq!(seen, expected);
});
