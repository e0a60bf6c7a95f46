//! The PROXY protocol, version 2 (HAProxy's `proxy-protocol.txt`, section 2.2).
//!
//! ```text
//! 0D 0A 0D 0A 00 0D 0A 51 55 49 54 0A | version and command | family and transport | length | ...
//! version and command    20 LOCAL | 21 PROXY
//! family and transport   11 TCP, 12 UDP over IPv4 | 21 TCP, 22 UDP over IPv6 | with a 0 or 3 in it: unknown to us
//! length                 of all that follows, big-endian
//! ...                    source address | destination address | source port | destination port | TLVs
//! TLV                    type | length (2) | value; type 03 is a CRC-32C over the whole header
//! ```
//!
//! LOCAL means that the sender speaks for itself, and a family or transport
//! without ports that it speaks for somebody unknown: the connection's own
//! addresses count then, and what follows is skipped unread. TLVs are skipped,
//! but the checksum must be right where there is one, and they must end where
//! the header ends.
//!
//! Anybody can write such a header. It means something from a peer that the
//! operator has listed, and from nobody else.

use std::net::{IpAddr, SocketAddr};

use super::WireError;
use super::cursor::Cursor;

/// What every header begins with.
pub const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";

/// The longest header that is read: addresses, a certificate's names, a unique
/// ID and more of the operator's own fit many times over.
pub const MAX_LEN: usize = 4096;

/// What a header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Header {
    /// The sender itself connects: a health check.
    Local,
    /// On behalf of somebody whose address it does not say in a way we know.
    Unknown,
    /// On behalf of somebody.
    Proxied {
        /// How they are connected to the sender.
        transport: Transport,
        /// Their address.
        source: SocketAddr,
        /// The address that they connected to.
        destination: SocketAddr,
    },
}

/// What carries a proxied connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Transport {
    /// TCP.
    Stream = 1,
    /// UDP.
    Datagram = 2,
}

/// Why bytes are not a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// It does not begin with [`SIGNATURE`].
    #[error("no signature")]
    Signature,
    /// Neither version 2 LOCAL nor version 2 PROXY.
    #[error("version and command {got:#04x} is neither 0x20 (LOCAL) nor 0x21 (PROXY)")]
    Command {
        /// The byte.
        got: u8,
    },
    /// A family or a transport that the specification does not have.
    #[error("family and transport {got:#04x} do not exist")]
    Family {
        /// The byte.
        got: u8,
    },
    /// Longer than [`MAX_LEN`].
    #[error("the header of {len} bytes is longer than {MAX_LEN}")]
    TooLong {
        /// The whole header.
        len: usize,
    },
    /// Shorter than its addresses.
    #[error("the header ends inside its addresses")]
    Addresses,
    /// A TLV reaches beyond the end.
    #[error("a TLV does not end where the header ends")]
    Tlv,
    /// The checksum is wrong, or there are two.
    #[error("the checksum is wrong")]
    Checksum,
}

/// Parses a header.
///
/// # Errors
/// [`WireError::ProxyV2`] as soon as no further byte could help.
pub fn header(bytes: &[u8]) -> Result<Option<(Header, usize)>, WireError> {
    Ok(parse(bytes)?)
}

fn parse(bytes: &[u8]) -> Result<Option<(Header, usize)>, Malformed> {
    let here = bytes.len().min(SIGNATURE.len());
    if bytes.get(..here) != SIGNATURE.get(..here) {
        return Err(Malformed::Signature);
    }
    let mut cursor = Cursor(bytes.get(here..).unwrap_or_default());
    let Some(command) = cursor.byte().map(Command::of).transpose()? else {
        return Ok(None);
    };
    let Some(family) = cursor.byte().map(|byte| family(byte, command)) else {
        return Ok(None);
    };
    let family = family?;
    let Some(body) = cursor.u16().map(usize::from) else {
        return Ok(None);
    };
    let len = FIXED + body;
    if len > MAX_LEN {
        return Err(Malformed::TooLong { len });
    }
    let Some(whole) = bytes.get(..len) else {
        return Ok(None);
    };
    let header = match (command, family) {
        (Command::Local, _) => Header::Local,
        (Command::Proxy, None) => Header::Unknown,
        (Command::Proxy, Some(family)) => proxied(whole, family)?,
    };
    Ok(Some((header, len)))
}

/// The bytes before the addresses.
const FIXED: usize = SIGNATURE.len() + 4;

#[derive(Clone, Copy)]
enum Command {
    Local = 0x20,
    Proxy = 0x21,
}

impl Command {
    fn of(got: u8) -> Result<Self, Malformed> {
        match got {
            0x20 => Ok(Self::Local),
            0x21 => Ok(Self::Proxy),
            _ => Err(Malformed::Command { got }),
        }
    }
}

#[derive(Clone, Copy)]
struct Family {
    v6: bool,
    transport: Transport,
}

/// `None` for one without ports: unspecified or of Unix sockets.
fn family(got: u8, command: Command) -> Result<Option<Family>, Malformed> {
    if let Command::Local = command {
        return Ok(None);
    }
    let transport = match got & 0x0f {
        0 => None,
        1 => Some(Transport::Stream),
        2 => Some(Transport::Datagram),
        _ => return Err(Malformed::Family { got }),
    };
    let v6 = match got >> 4 {
        0 | 3 => None,
        1 => Some(false),
        2 => Some(true),
        _ => return Err(Malformed::Family { got }),
    };
    Ok(v6
        .zip(transport)
        .map(|(v6, transport)| Family { v6, transport }))
}

fn proxied(whole: &[u8], family: Family) -> Result<Header, Malformed> {
    let mut cursor = Cursor(whole.get(FIXED..).unwrap_or_default());
    let Family { v6, transport } = family;
    let addresses = if v6 {
        addresses::<16>(&mut cursor)
    } else {
        addresses::<4>(&mut cursor)
    };
    let (source, destination) = addresses.ok_or(Malformed::Addresses)?;
    check_tlvs(cursor, whole)?;
    Ok(Header::Proxied {
        transport,
        source,
        destination,
    })
}

fn addresses<const N: usize>(cursor: &mut Cursor<'_>) -> Option<(SocketAddr, SocketAddr)>
where
    IpAddr: From<[u8; N]>,
{
    let [source, destination] = [cursor.array::<N>()?, cursor.array::<N>()?].map(IpAddr::from);
    let ports = (cursor.u16()?, cursor.u16()?);
    Some((
        SocketAddr::new(source, ports.0),
        SocketAddr::new(destination, ports.1),
    ))
}

const TLV_CHECKSUM: u8 = 3;

/// Walks the TLVs, from `cursor` to the end of the header.
fn check_tlvs(mut cursor: Cursor<'_>, whole: &[u8]) -> Result<(), Malformed> {
    let mut checked = false;
    while !cursor.0.is_empty() {
        let (Some(kind), Some(len)) = (cursor.byte(), cursor.u16()) else {
            return Err(Malformed::Tlv);
        };
        let at = cursor.used(whole);
        let value = cursor.slice(len.into()).ok_or(Malformed::Tlv)?;
        if kind == TLV_CHECKSUM {
            let expected = <[u8; 4]>::try_from(value).map_err(|_| Malformed::Tlv)?;
            if checked || checksum(whole, at) != u32::from_be_bytes(expected) {
                return Err(Malformed::Checksum);
            }
            checked = true;
        }
    }
    Ok(())
}

/// The CRC-32C of a header whose checksum stands at `at`: its four bytes count as 0.
fn checksum(whole: &[u8], at: usize) -> u32 {
    const CRC32C: crc::Crc<u32> = crc::Crc::<u32>::new(&crc::CRC_32_ISCSI);
    let mut digest = CRC32C.digest();
    digest.update(whole.get(..at).unwrap_or_default());
    digest.update(&[0; 4]);
    digest.update(whole.get(at + 4..).unwrap_or_default());
    digest.finalize()
}

impl Header {
    /// The header as bytes, without TLVs. Where the families of source and
    /// destination differ, both are written as IPv6.
    #[must_use]
    pub fn to_bytes(self) -> Vec<u8> {
        let mut body = Vec::with_capacity(2 * 16 + 2 * 2);
        let [command, family] = match self {
            Self::Local => [Command::Local as u8, 0],
            Self::Unknown => [Command::Proxy as u8, 0],
            Self::Proxied {
                transport,
                source,
                destination,
            } => {
                let family = write_addresses(&mut body, source, destination);
                [Command::Proxy as u8, family << 4 | transport as u8]
            }
        };
        let mut bytes = SIGNATURE.to_vec();
        // Of addresses alone the body has 0, 12 or 36 bytes.
        bytes.extend([command, family, 0, u8::try_from(body.len()).unwrap_or(0)]);
        bytes.extend(body);
        bytes
    }
}

/// Returns the family: 1 for IPv4, 2 for IPv6.
fn write_addresses(out: &mut Vec<u8>, source: SocketAddr, destination: SocketAddr) -> u8 {
    let family = match (source.ip(), destination.ip()) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            out.extend(source.octets());
            out.extend(destination.octets());
            1
        }
        (source, destination) => {
            for ip in [source, destination] {
                let v6 = match ip {
                    IpAddr::V4(ip) => ip.to_ipv6_mapped(),
                    IpAddr::V6(ip) => ip,
                };
                out.extend(v6.octets());
            }
            2
        }
    };
    out.extend(source.port().to_be_bytes());
    out.extend(destination.port().to_be_bytes());
    family
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::testing::settled;
    use proptest::prelude::*;

    fn bytes(command: u8, family: u8, body: &[u8]) -> Vec<u8> {
        let mut bytes = SIGNATURE.to_vec();
        bytes.extend([command, family]);
        bytes.extend(u16::try_from(body.len()).unwrap().to_be_bytes());
        bytes.extend(body);
        bytes
    }

    const V4: [u8; 12] = [10, 1, 2, 3, 192, 0, 2, 1, 0x9c, 0x40, 0x01, 0xbb];

    fn v4(tlvs: &[u8]) -> Vec<u8> {
        bytes(0x21, 0x11, &[&V4[..], tlvs].concat())
    }

    fn tcp(source: &str, destination: &str) -> Header {
        Header::Proxied {
            transport: Transport::Stream,
            source: source.parse().unwrap(),
            destination: destination.parse().unwrap(),
        }
    }

    fn parsed(bytes: &[u8]) -> Result<Option<(Header, usize)>, Malformed> {
        super::parse(bytes)
    }

    #[test]
    fn addresses_of_both_families() {
        let mut four = v4(&[]);
        four.extend(b"\x05\x01\x02");
        let expected = tcp("10.1.2.3:40000", "192.0.2.1:443");
        assert_eq!(parsed(&four), Ok(Some((expected, 28))));
        let mut body = vec![0; 36];
        body[15] = 1;
        body[31] = 2;
        body[33] = 80;
        let expected = tcp("[::1]:80", "[::2]:0");
        assert_eq!(parsed(&bytes(0x21, 0x21, &body)), Ok(Some((expected, 52))));
        let Ok(Some((Header::Proxied { transport, .. }, 28))) = parsed(&bytes(0x21, 0x12, &V4))
        else {
            panic!("UDP over IPv4");
        };
        assert_eq!(transport, Transport::Datagram);
    }

    #[test]
    fn local_and_unknown_skip_what_follows() {
        for body in [&b""[..], b"\xff\xff\xff", &V4] {
            let len = 16 + body.len();
            for family in [0, 0x11, 0xff] {
                assert_eq!(
                    parsed(&bytes(0x20, family, body)),
                    Ok(Some((Header::Local, len)))
                );
            }
            for family in [0, 0x01, 0x10, 0x22 & 0xf0, 0x31, 0x32] {
                assert_eq!(
                    parsed(&bytes(0x21, family, body)),
                    Ok(Some((Header::Unknown, len))),
                    "{family:#x}"
                );
            }
        }
    }

    #[test]
    fn what_is_refused() {
        for got in [0x22, 0x11, 0x01, 0, 0xff, 0x2f] {
            assert_eq!(
                parsed(&bytes(got, 0x11, &V4)),
                Err(Malformed::Command { got })
            );
        }
        for got in [0x13, 0x41, 0xf1, 0x1f, 0x03, 0x40] {
            assert_eq!(
                parsed(&bytes(0x21, got, &V4)),
                Err(Malformed::Family { got })
            );
        }
        assert_eq!(
            parsed(&bytes(0x21, 0x11, &V4[..11])),
            Err(Malformed::Addresses)
        );
        assert_eq!(parsed(&bytes(0x21, 0x21, &V4)), Err(Malformed::Addresses));
        assert_eq!(parsed(b"PROXY TCP4"), Err(Malformed::Signature));
        assert_eq!(parsed(b"\r\n\r\n\0\r\nQUIT\r"), Err(Malformed::Signature));
    }

    #[test]
    fn a_length_is_judged_before_its_bytes_come() {
        let mut head = SIGNATURE.to_vec();
        head.extend([0x20, 0, 0x0f, 0xf0]);
        assert_eq!(parsed(&head), Ok(None), "{MAX_LEN} bytes are allowed");
        head[15] = 0xf1;
        assert_eq!(parsed(&head), Err(Malformed::TooLong { len: MAX_LEN + 1 }));
    }

    #[test]
    fn tlvs_end_with_the_header() {
        let fine = [
            &b""[..],
            b"\x04\0\0",
            b"\x02\0\x01a",
            b"\xe0\0\x02ab\x05\0\x01x",
        ];
        for tlvs in fine {
            assert!(parsed(&v4(tlvs)).unwrap().is_some(), "{tlvs:?}");
        }
        for tlvs in [
            &b"\x04"[..],
            b"\x04\0",
            b"\x04\0\x01",
            b"\x04\0\0\x04\xff\xff",
        ] {
            assert_eq!(parsed(&v4(tlvs)), Err(Malformed::Tlv), "{tlvs:?}");
        }
    }

    #[test]
    fn a_checksum_must_be_right() {
        // The check value of CRC-32C (RFC 3720, appendix B.4: 32 bytes of 0).
        assert_eq!(checksum(&[0; 32], 7), 0x8a91_36aa);
        let mut right = v4(b"\x04\0\x01p\x03\0\x04\0\0\0\0");
        let at = right.len() - 4;
        let sum = checksum(&right, at).to_be_bytes();
        right[at..].copy_from_slice(&sum);
        assert!(parsed(&right).unwrap().is_some());
        let kind = at - 3; // Another type is no checksum.
        for flipped in (FIXED..right.len()).filter(|&flipped| flipped != kind) {
            let mut wrong = right.clone();
            wrong[flipped] ^= 1;
            assert!(parsed(&wrong).is_err(), "byte {flipped}");
        }
        assert_eq!(parsed(&v4(b"\x03\0\x03\0\0\0")), Err(Malformed::Tlv));
        let twice = v4(b"\x03\0\x04\0\0\0\0\x03\0\x04\0\0\0\0");
        assert_eq!(parsed(&twice), Err(Malformed::Checksum));
    }

    proptest! {
        #[test]
        fn splits_do_not_matter(
            command in prop_oneof![8 => 0x20u8..0x22, 1 => any::<u8>()],
            family in prop_oneof![8 => prop::sample::select(vec![0u8, 0x11, 0x12, 0x21, 0x22, 0x31]), 1 => any::<u8>()],
            body in proptest::collection::vec(prop_oneof![4 => 0u8..5, 1 => any::<u8>()], 0..60),
            cut in 0usize..80,
        ) {
            let mut bytes = bytes(command, family, &body);
            settled(header, &bytes);
            bytes.truncate(cut);
            bytes.extend([0; 4]);
            settled(header, &bytes);
        }

        #[test]
        fn round_trip(source in any::<SocketAddr>(), destination in any::<SocketAddr>(), udp in any::<bool>()) {
            let transport = if udp { Transport::Datagram } else { Transport::Stream };
            let plain = |address: SocketAddr| SocketAddr::new(address.ip(), address.port());
            let (source, destination) = (plain(source), plain(destination));
            let proxied = Header::Proxied { transport, source, destination };
            for expected in [Header::Local, Header::Unknown, proxied] {
                let bytes = expected.to_bytes();
                let (got, used) = header(&bytes).unwrap().unwrap();
                prop_assert_eq!(used, bytes.len());
                match (got, expected) {
                    (Header::Proxied { source: from, destination: to, .. }, Header::Proxied { .. }) => {
                        prop_assert_eq!(from.ip().to_canonical(), source.ip().to_canonical());
                        prop_assert_eq!(to.ip().to_canonical(), destination.ip().to_canonical());
                        prop_assert_eq!((from.port(), to.port()), (source.port(), destination.port()));
                    }
                    (got, expected) => prop_assert_eq!(got, expected),
                }
            }
        }
    }
}
