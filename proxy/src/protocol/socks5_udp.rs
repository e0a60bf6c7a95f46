//! The datagrams of SOCKS5's UDP ASSOCIATE (RFC 1928, section 7).
//!
//! ```text
//! 00 00 | fragment | type | address | port | data
//! type   01 IPv4 (4) | 03 name (length byte first) | 04 IPv6 (16); the port is big-endian
//! ```
//!
//! Towards the proxy the address is where the data shall go, towards the client
//! where it came from, with its true type. Fragments are not put together, so a
//! datagram whose fragment byte is not 0 is dropped, as the RFC allows. A
//! datagram is whole or it is nothing: nobody waits for its rest. The two
//! reserved bytes are not judged.

use std::net::SocketAddr;

use super::cursor::Cursor;
use super::socks5::address;
use super::{Target, WireError};

/// The longest header: reserved bytes, fragment, type, a name of 255 bytes with
/// its length, port.
pub const MAX_HEADER: usize = 2 + 1 + 1 + 1 + 255 + 2;

/// The longest header in front of data that came from an address.
pub const MAX_REPLY_HEADER: usize = 2 + 1 + 1 + 16 + 2;

/// One datagram taken out of its header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Datagram<'a> {
    /// Where to, or where from.
    pub target: Target,
    /// What was sent.
    pub data: &'a [u8],
}

/// Parses a datagram.
///
/// # Errors
/// [`WireError::Fragment`], [`WireError::AddressType`], [`WireError::Host`], or
/// [`WireError::Truncated`]: drop it.
pub fn parse(datagram: &[u8]) -> Result<Datagram<'_>, WireError> {
    let mut cursor = Cursor(datagram);
    let _reserved = cursor.array::<2>();
    if let Some(got) = cursor.byte().filter(|&got| got != 0) {
        return Err(WireError::Fragment { got });
    }
    let target = address::read(&mut cursor)?.ok_or(WireError::Truncated)?;
    Ok(Datagram {
        target,
        data: cursor.0,
    })
}

/// Puts the header for data from `source` into `out`, after what is there.
pub fn write_header(out: &mut Vec<u8>, source: SocketAddr) {
    out.extend(START);
    address::write(out, source);
}

/// Puts the header for data to `target` into `out`, after what is there.
///
/// # Errors
/// [`WireError::Host`] if a name is empty or longer than 255 bytes; `out` is
/// unchanged then.
pub fn write_target_header(out: &mut Vec<u8>, target: &Target) -> Result<(), WireError> {
    let before = out.len();
    out.extend(START);
    address::write_target(out, target).inspect_err(|_| out.truncate(before))
}

/// Reserved bytes and "not a fragment".
const START: [u8; 3] = [0; 3];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::Host;
    use proptest::prelude::*;

    fn header(source: &str) -> Vec<u8> {
        let mut out = Vec::new();
        write_header(&mut out, source.parse().unwrap());
        out
    }

    #[test]
    fn parses_all_address_types() {
        let v4 = parse(b"\0\0\0\x01\x0a\x01\x02\x03\x00\x35data").unwrap();
        assert_eq!(
            (v4.target.to_string().as_str(), v4.data),
            ("10.1.2.3:53", &b"data"[..])
        );
        let name = parse(b"\0\0\0\x03\x09a.example\x01\xbb").unwrap();
        assert_eq!(name.target.to_string(), "a.example:443");
        assert_eq!(name.data, b"", "an empty datagram is a datagram");
        let mut v6 = b"\0\0\0\x04".to_vec();
        v6.extend([0; 15]);
        v6.extend([1, 0, 53, b'x']);
        assert_eq!(parse(&v6).unwrap().target.to_string(), "[::1]:53");
    }

    #[test]
    fn drops_what_it_must() {
        for got in [1, 0x7f, 0x80, 0xff] {
            let fragment = [0, 0, got, 1, 10, 1, 2, 3, 0, 53];
            assert_eq!(parse(&fragment), Err(WireError::Fragment { got }));
        }
        assert_eq!(
            parse(&[0, 0, 0, 2, 0, 0]),
            Err(WireError::AddressType { got: 2 })
        );
        assert_eq!(parse(b"\0\0\0\x03\0\0\x35"), Err(WireError::Host));
        let whole = b"\0\0\0\x03\x09a.example\x01\xbb";
        for cut in 0..whole.len() {
            assert_eq!(parse(&whole[..cut]), Err(WireError::Truncated), "{cut}");
        }
    }

    #[test]
    fn writes_the_true_type() {
        assert_eq!(header("10.1.2.3:258"), [0, 0, 0, 1, 10, 1, 2, 3, 1, 2]);
        assert_eq!(
            header("[::ffff:10.1.2.3]:258"),
            header("10.1.2.3:258"),
            "a mapped address is IPv4"
        );
        let v6 = header("[2001:db8::1]:258");
        assert_eq!(v6.len(), MAX_REPLY_HEADER);
        assert_eq!(v6[3], 4);
    }

    #[test]
    fn a_name_never_wraps_its_length() {
        let mut out = vec![7];
        let target = |len: usize| Target {
            host: Host::Name("a".repeat(len)),
            port: 1,
        };
        assert_eq!(
            write_target_header(&mut out, &target(256)),
            Err(WireError::Host)
        );
        assert_eq!(
            write_target_header(&mut out, &target(0)),
            Err(WireError::Host)
        );
        assert_eq!(out, [7]);
        write_target_header(&mut out, &target(255)).unwrap();
        assert_eq!(out.len(), 1 + MAX_HEADER);
    }

    proptest! {
        #[test]
        fn round_trip(ip in any::<std::net::IpAddr>(), name in "[a-z]{1,255}", port in any::<u16>(), data in proptest::collection::vec(any::<u8>(), 0..40)) {
            for host in [Host::Address(ip.to_canonical()), Host::Name(name)] {
                let target = Target { host, port };
                let mut bytes = Vec::new();
                write_target_header(&mut bytes, &target).unwrap();
                bytes.extend(&data);
                prop_assert_eq!(parse(&bytes), Ok(Datagram { target, data: &data }));
            }
            let mut bytes = Vec::new();
            write_header(&mut bytes, SocketAddr::new(ip, port));
            let target = Target { host: Host::Address(ip.to_canonical()), port };
            prop_assert_eq!(parse(&bytes), Ok(Datagram { target, data: &[] }));
        }

        #[test]
        fn any_bytes(bytes in proptest::collection::vec(prop_oneof![4 => 0u8..5, 1 => any::<u8>()], 0..40)) {
            if let Ok(datagram) = parse(&bytes) {
                prop_assert!(bytes.ends_with(datagram.data));
            }
        }
    }
}
