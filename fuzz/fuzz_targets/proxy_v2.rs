#![no_main]
//! PROXY headers: split invariance, and a header written again says the same.
//! Half the inputs get the signature for free.

use libfuzzer_sys::fuzz_target;
use proxy::protocol::proxy_v2::{Header, MAX_LEN, SIGNATURE, header};
use weirgate_fuzz::settled;

fuzz_target!(|bytes: &[u8]| {
    let signed = [&SIGNATURE[..], bytes].concat();
    for bytes in [bytes, &signed] {
        let Ok(Some((said, used))) = settled(header, bytes) else {
            continue;
        };
        assert!((16..=MAX_LEN).contains(&used));
        let again = said.to_bytes();
        let (heard, used) = header(&again).unwrap().unwrap();
        assert_eq!(used, again.len());
        match (said, heard) {
            (
                Header::Proxied {
                    source,
                    destination,
                    ..
                },
                Header::Proxied {
                    source: from,
                    destination: to,
                    ..
                },
            ) => assert_eq!((source, destination), (from, to)),
            (said, heard) => assert_eq!(said, heard),
        }
    }
});
