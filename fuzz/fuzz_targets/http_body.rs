#![no_main]
//! Bodies: what goes on does not depend on how the bytes were split, is a body
//! of the same content, and a lenient reader finds its end at the same place.

use libfuzzer_sys::fuzz_target;
use proxy::protocol::WireError;
use proxy::protocol::http::{Body, Framing, Step};

/// What goes on, how much is used, and whether the body has ended.
fn run(mut body: Body, input: &[u8], sizes: &[u8]) -> (Vec<u8>, usize, Result<bool, WireError>) {
    let (mut out, mut used) = (Vec::new(), 0);
    let mut sizes = sizes.iter().cycle();
    loop {
        let size = sizes
            .next()
            .map_or(usize::MAX / 2, |&size| usize::from(size) + 1);
        let piece = &input[used..input.len().min(used + size)];
        let blind = usize::try_from(body.blind())
            .unwrap_or(usize::MAX)
            .min(piece.len());
        if blind > 0 && size % 3 == 0 {
            out.extend_from_slice(&piece[..blind]);
            body.moved(blind as u64);
            used += blind;
            continue;
        }
        match body.step(piece) {
            Ok(Some(Step::Forward(count))) => {
                assert!((1..=piece.len()).contains(&count));
                out.extend_from_slice(&piece[..count]);
                used += count;
            }
            Ok(Some(Step::Skip(count))) => {
                assert!((1..=piece.len()).contains(&count));
                used += count;
            }
            Ok(Some(Step::End)) => return (out, used, Ok(true)),
            Ok(None) => return (out, used, Ok(false)),
            Err(error) => return (out, used, Err(error)),
        }
    }
}

fuzz_target!(|input: (u8, [u8; 4], &[u8])| {
    let (kind, sizes, bytes) = input;
    let framing = match kind % 4 {
        0 => Framing::Length(u64::from(kind)),
        1 => Framing::UntilClose,
        _ => Framing::Chunked,
    };
    for body in [Body::new(framing), Body::decoded(framing)] {
        let whole = run(body.clone(), bytes, &[]);
        assert_eq!(run(body.clone(), bytes, &sizes), whole);
        assert_eq!(run(body, bytes, &[0]), whole);
    }
    let (out, used, ended) = run(Body::new(framing), bytes, &[]);
    assert!(out.len() <= used);
    if framing == Framing::Chunked {
        let (again, all, _) = run(Body::new(framing), &out, &[]);
        assert_eq!((&again, all), (&out, out.len()));
        let content = run(Body::decoded(framing), bytes, &[]).0;
        assert_eq!(run(Body::decoded(framing), &out, &[]).0, content);
        if ended == Ok(true) {
            let head = b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n";
            let stream = [head, &out[..], b"GET / HTTP/1.1\r\n\r\n"].concat();
            let (seen, whole) = weirgate_fuzz::origin::requests(&stream);
            assert!(whole && seen.len() == 2, "{seen:?}");
            assert_eq!(seen[0].content, content);
        }
    }
});
