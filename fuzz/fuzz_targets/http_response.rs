#![no_main]
//! Heads of responses: split invariance, agreement with the parser underneath,
//! and a head written for the client, parsed again, says the same.

use libfuzzer_sys::fuzz_target;
use proxy::protocol::http::{Asked, Framing, response};
use weirgate_fuzz::settled;

fuzz_target!(|input: (u8, &[u8])| {
    let (flags, bytes) = input;
    let asked = Asked {
        head: flags & 1 != 0,
        old: flags & 2 != 0,
    };
    let keep_alive = flags & 4 != 0;
    let Ok(Some((said, used))) = settled(|bytes| response(bytes, asked), bytes) else {
        return;
    };
    let mut fields = [httparse::EMPTY_HEADER; 256];
    let parsed = httparse::Response::new(&mut fields).parse(bytes).unwrap();
    assert_eq!(
        parsed,
        httparse::Status::Complete(used),
        "two readers, two heads"
    );
    let head = said.head(false, keep_alive);
    if head.is_empty() {
        assert!(said.is_interim() && asked.old);
        return;
    }
    let (heard, used) = response(&head, asked).unwrap().unwrap();
    assert_eq!((heard.status, used), (said.status, head.len()));
    let decoded = asked.old && said.framing() == Framing::Chunked;
    let expected = if decoded {
        Framing::UntilClose
    } else {
        said.framing()
    };
    assert_eq!(heard.framing(), expected);
    let stays = said.is_interim() || keep_alive && said.is_delimited();
    assert_eq!(heard.keep_alive, stays);
});
