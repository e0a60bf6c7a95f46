#![no_main]
//! AUTH and TARGET: split invariance, and the client's bytes for what was
//! understood are the same bytes.

use libfuzzer_sys::fuzz_target;
use proxy::protocol::auth_target::{auth, target};
use proxy::protocol::client;
use weirgate_fuzz::settled;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(Some((login, used))) = settled(auth, bytes)
        && let Ok(again) = client::auth_target::auth(login.operation, &login.credentials)
    {
        assert_eq!(again, bytes[..used]);
    }
    if let Ok(Some((asked, _))) = settled(target, bytes) {
        assert!(asked.is_of(&asked.user));
        assert_ne!(asked.target.port, 0);
        if let Ok(again) = client::auth_target::target(&asked.target, &asked.user) {
            let (heard, used) = target(&again).unwrap().unwrap();
            assert_eq!((used, &heard.user), (again.len(), &asked.user));
            assert_eq!(heard.target.port, asked.target.port);
        }
    }
    let _ = settled(client::auth_target::reply, bytes);
});
