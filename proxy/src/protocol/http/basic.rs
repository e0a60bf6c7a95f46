//! Basic credentials (RFC 7617).

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

use crate::protocol::Credentials;

/// Padding is written, and not missed.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// The credentials in the value of Proxy-Authorization; `None` for another
/// scheme and for what is not `base64(name ":" password)`.
pub(crate) fn decode(value: &[u8]) -> Option<Credentials> {
    let space = value.iter().position(|&byte| byte == b' ')?;
    let (scheme, rest) = value.split_at_checked(space)?;
    if !scheme.eq_ignore_ascii_case(b"Basic") {
        return None;
    }
    let mut name = BASE64.decode(rest.trim_ascii_start()).ok()?;
    let colon = name.iter().position(|&byte| byte == b':')?;
    let password = name.split_off(colon + 1);
    name.truncate(colon);
    Some(Credentials { name, password })
}

/// The value of Proxy-Authorization. The name must not hold a colon.
pub(crate) fn encode(credentials: &Credentials) -> String {
    let Credentials { name, password } = credentials;
    let plain = [name, &b":"[..], password].concat();
    let mut value = String::from("Basic ");
    BASE64.encode_string(plain, &mut value);
    value
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_example_of_rfc_7617() {
        let credentials = decode(b"Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==").unwrap();
        assert_eq!(credentials.name, b"Aladdin");
        assert_eq!(credentials.password, b"open sesame");
        assert_eq!(encode(&credentials), "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==");
        assert_eq!(
            decode(b"bAsIc   QWxhZGRpbjpvcGVuIHNlc2FtZQ"),
            Some(credentials)
        );
    }

    #[test]
    fn what_is_not_basic() {
        for value in [
            &b""[..],
            b"Basic",
            b"Basic ",
            b"Basic QWxhZGRpbg==",
            b"Basic !!!!",
            b"Basic QWxh ZGRpbjpv",
            b"Basic\tQWxhZGRpbjpvcGVu",
            b"Bearer QWxhZGRpbjpvcGVu",
        ] {
            assert_eq!(decode(value), None, "{}", String::from_utf8_lossy(value));
        }
        let empty = decode(b"Basic Og==").unwrap();
        assert_eq!((empty.name.len(), empty.password.len()), (0, 0));
    }

    proptest! {
        #[test]
        fn round_trip(name in "[^:]{0,40}", password in proptest::collection::vec(any::<u8>(), 0..40)) {
            let credentials = Credentials { name: name.into_bytes(), password };
            prop_assert_eq!(decode(encode(&credentials).as_bytes()), Some(credentials));
        }
    }
}
