use proptest::prelude::*;

use super::*;
use crate::protocol::Host;

const NOW: u64 = 1_700_000_000;

fn unhex(text: &str) -> Vec<u8> {
    let byte = |at| u8::from_str_radix(&text[at..at + 2], 16).unwrap();
    (0..text.len()).step_by(2).map(byte).collect()
}

fn keys(method: Method, with_port: bool) -> Keys {
    if !method.is_2022() {
        return Keys::parse(method, "hellotheworld2").unwrap();
    }
    let key = if method.key_len() == 16 {
        "AAECAwQFBgcICQoLDA0ODw=="
    } else {
        "AAECAwQFBgcICQoLDA0ODwABAgMEBQYHCAkKCwwNDg8="
    };
    let both = format!("{key}:{key}");
    Keys::parse(method, if with_port { &both } else { key }).unwrap()
}

/// Everything that `opener` makes of `bytes`.
fn opened(opener: &mut Opener, mut bytes: Vec<u8>) -> Result<Vec<u8>, Refused> {
    let mut plain = Vec::new();
    while let Some((payload, used)) = opener.open(&mut bytes)? {
        plain.extend(&bytes[payload]);
        bytes.drain(..used);
    }
    assert!(bytes.is_empty(), "{} bytes left over", bytes.len());
    Ok(plain)
}

fn read(method: Method, keys: &Keys, bytes: &[u8], now: u64) -> Result<(Target, Vec<u8>), Refused> {
    let len = first_len(method, keys.port.is_some());
    let (first, rest) = bytes.split_at(len);
    let mut opener = open_first(method, &keys.user, keys.port.is_some(), first, now)?;
    let plain = opened(&mut opener, rest.to_vec())?;
    let (target, from) = request(method, &plain)?.unwrap();
    Ok((target, plain[from..].to_vec()))
}

#[test]
fn the_seeds_goldens_open_and_are_what_we_seal() {
    for (method, sealed) in [
        (
            Method::Aes128Gcm,
            "676b3e41f21aa19f868b44dd0449bb150369f7fb45350bd886887bd7ac29d76327fc0a5707761ec8ce7ac05a2722",
        ),
        (
            Method::Chacha20IetfPoly1305,
            "c3fe43d54b24910742ef33882c1ed531161a8d6b57eba80fe793f306fd8a5fc95989491447ec5e435895a8d3eeb3",
        ),
    ] {
        let salt: Vec<u8> = (0..32).take(method.key_len()).collect();
        let golden = [&salt[..], &unhex(sealed)].concat();
        let (target, payload) = read(method, &keys(method, false), &golden, NOW).unwrap();
        assert_eq!(target.to_string(), "127.0.0.1:80");
        assert_eq!(payload, b"hello");
        let mut ours = Vec::new();
        ask(
            method,
            &keys(method, false),
            &salt,
            &target,
            b"hello",
            NOW,
            &mut ours,
        )
        .unwrap();
        assert_eq!(ours, golden);
    }
}

#[test]
fn both_ways_by_every_method() {
    for method in Method::ALL.into_iter().skip(1) {
        for with_port in [false, true] {
            let keys = keys(method, with_port);
            let salt = vec![3; method.salt_len()];
            let target = Target {
                host: Host::Name("a.example".into()),
                port: 443,
            };
            for len in [0, 1, 0x3fff, 0x4000, 100_000] {
                let payload: Vec<u8> = (0..len).map(|at: u32| at.to_be_bytes()[3]).collect();
                let mut sent = Vec::new();
                let mut sealer =
                    ask(method, &keys, &salt, &target, &payload, NOW, &mut sent).unwrap();
                sealer.seal(b"more", &mut sent);
                let (to, got) = read(method, &keys, &sent, NOW + 30).unwrap();
                assert_eq!(to, target);
                assert!(got == [&payload[..], b"more"].concat(), "{method} {len}");
                if let Some(port) = keys.port.as_ref().filter(|_| method.is_2022()) {
                    let named = identity(method, port, &sent).unwrap();
                    assert_eq!(named, keys.user.fingerprint());
                }
                let own = vec![4; method.salt_len()];
                let mut back = Vec::new();
                let mut sealer =
                    answer(method, &keys.user, &own, &salt, &payload, NOW, &mut back).unwrap();
                sealer.seal(b"more", &mut back);
                let (first, rest) = back.split_at(answer_len(method));
                let mut opener = open_answer(method, &keys.user, &salt, first, NOW).unwrap();
                let got = opened(&mut opener, rest.to_vec()).unwrap();
                assert!(got == [&payload[..], b"more"].concat(), "{method} {len}");
            }
        }
    }
}

#[test]
fn what_is_old_or_reflected_is_refused() {
    let method = Method::Blake3Aes128Gcm;
    let keys = keys(method, false);
    let target = Target {
        host: Host::Name("a".into()),
        port: 1,
    };
    let mut sent = Vec::new();
    ask(method, &keys, &[1; 16], &target, b"x", NOW, &mut sent).unwrap();
    for now in [NOW - 31, NOW + 31] {
        let late = read(method, &keys, &sent, now);
        assert!(matches!(late, Err(Refused::Time { .. })));
    }
    let mut back = Vec::new();
    answer(method, &keys.user, &[2; 16], &[1; 16], b"x", NOW, &mut back).unwrap();
    assert!(read(method, &keys, &back, NOW).is_err());
    let first = &back[..answer_len(method)];
    let other = open_answer(method, &keys.user, &[9; 16], first, NOW);
    assert!(matches!(other, Err(Refused::Malformed(_))));
}

#[test]
fn requests_that_make_no_sense_are_refused() {
    let classic = |plain: &[u8]| request(Method::Aes128Gcm, plain);
    assert_eq!(classic(b"\x01\x7f\0\0\x01\0"), Ok(None));
    assert!(classic(b"\x01\x7f\0\0\x01\0\0").is_err(), "port 0");
    assert!(classic(b"\x02").is_err());
    let modern = |plain: &[u8]| request(Method::Blake3Aes128Gcm, plain);
    let host = b"\x01\x7f\0\0\x01\0\x50";
    assert!(modern(host).is_err(), "no padding length");
    assert!(
        modern(&[host, &b"\0\0"[..]].concat()).is_err(),
        "nothing at all"
    );
    assert!(modern(&[host, &b"\0\x02x"[..]].concat()).is_err());
    let (_, from) = modern(&[host, &b"\0\x02xx"[..]].concat()).unwrap().unwrap();
    assert_eq!(from, host.len() + 4);
}

proptest! {
    #[test]
    fn any_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..120), plain in proptest::collection::vec(0u8..5, 0..300)) {
        for method in Method::ALL {
            for with_port in [false, true] {
                let keys = keys(method, with_port);
                let _ = open_first(method, &keys.user, with_port, &bytes, NOW);
                let _ = identity(method, &keys.user, &bytes);
                let _ = open_answer(method, &keys.user, &bytes, &bytes, NOW);
            }
            if let Ok(Some((_, from))) = request(method, &plain) {
                prop_assert!(from <= plain.len());
            }
        }
    }
}
