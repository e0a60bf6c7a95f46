//! The IP datagram within a frame: who sent it in which flow, and its size.

use super::CaptureFault;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// One direction of a conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Flow {
    pub(super) source: IpAddr,
    destination: IpAddr,
    protocol: u8,
    /// Source and destination; zero where there are none, as in later fragments.
    ports: (u16, u16),
}

/// What matters of a datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Datagram {
    pub(super) flow: Flow,
    /// Bytes of the datagram with its header, at least 1.
    pub(super) size: u64,
}

// https://www.tcpdump.org/linktypes.html
const NULL: i32 = 0;
const ETHERNET: i32 = 1;
const RAW_BSD: [i32; 2] = [12, 14];
const RAW: i32 = 101;
const LOOP: i32 = 108;
const LINUX_COOKED: i32 = 113;
const IPV4: i32 = 228;
const IPV6: i32 = 229;
const LINUX_COOKED_2: i32 = 276;

// Ethernet types, and how many bytes a tag has.
const TYPE_IPV4: u16 = 0x0800;
const TYPE_IPV6: u16 = 0x86dd;
const TAGS: [u16; 3] = [0x8100, 0x88a8, 0x9100];
const TAG: usize = 4;

/// The datagram in a frame of type `link`, of which `data` was captured and
/// `original` is the length; `None` if there is none, or too little of it.
pub(super) fn datagram(
    link: i32,
    data: &[u8],
    original: u32,
) -> Result<Option<Datagram>, CaptureFault> {
    let start = match link {
        ETHERNET => after_ethernet(data, 12),
        NULL | LOOP => Some(4),
        RAW | IPV4 | IPV6 => Some(0),
        link if RAW_BSD.contains(&link) => Some(0),
        LINUX_COOKED => after_ethernet(data, 14),
        LINUX_COOKED_2 => is_ip(word(data, 0)).then_some(20),
        link => return Err(CaptureFault::LinkType(link)),
    };
    Ok(start.and_then(|start| ip(data.get(start..)?, u64::from(original), start)))
}

/// Where the datagram begins after an Ethernet type at `at` and tags.
fn after_ethernet(data: &[u8], mut at: usize) -> Option<usize> {
    while word(data, at).is_some_and(|kind| TAGS.contains(&kind)) {
        at += TAG;
    }
    is_ip(word(data, at)).then_some(at + 2)
}

const fn is_ip(kind: Option<u16>) -> bool {
    matches!(kind, Some(TYPE_IPV4 | TYPE_IPV6))
}

/// The datagram at the start of `data`, which lies `before` bytes into a frame
/// of `original` bytes.
fn ip(data: &[u8], original: u64, before: usize) -> Option<Datagram> {
    // What a network card cut up after the capture has no length yet.
    let rest = original.saturating_sub(u64::try_from(before).ok()?);
    let (flow, size) = match data.first()? >> 4 {
        4 => ipv4(data)?,
        6 => ipv6(data)?,
        _ => return None,
    };
    let size = size.unwrap_or(rest).max(1);
    Some(Datagram { flow, size })
}

/// RFC 791, section 3.1.
fn ipv4(data: &[u8]) -> Option<(Flow, Option<u64>)> {
    let header = usize::from(data[0] & 0x0f) * 4;
    let total = word(data, 2)?;
    let first = word(data, 6)? & 0x1fff == 0;
    let protocol = *data.get(9)?;
    let source = Ipv4Addr::from(*data.get(12..16)?.first_chunk::<4>()?);
    let destination = Ipv4Addr::from(*data.get(16..20)?.first_chunk::<4>()?);
    let flow = Flow {
        source: source.into(),
        destination: destination.into(),
        protocol,
        ports: ports(protocol, first, data, header),
    };
    Some((flow, (total > 0).then_some(total.into())))
}

/// RFC 8200, section 3, with the extension headers of its section 4 that may
/// stand before the transport's.
fn ipv6(data: &[u8]) -> Option<(Flow, Option<u64>)> {
    const HEADER: u16 = 40;
    const FRAGMENT: u8 = 44;
    const AUTHENTICATION: u8 = 51;
    let payload = word(data, 4)?;
    let source = Ipv6Addr::from(*data.get(8..24)?.first_chunk::<16>()?);
    let destination = Ipv6Addr::from(*data.get(24..40)?.first_chunk::<16>()?);
    let (mut protocol, mut at, mut first) = (*data.get(6)?, usize::from(HEADER), true);
    while matches!(protocol, 0 | 43 | 60 | FRAGMENT | AUTHENTICATION) {
        let Some(&[next, length]) = data.get(at..at + 2).and_then(|two| two.first_chunk()) else {
            break;
        };
        if protocol == FRAGMENT {
            first = word(data, at + 2).is_some_and(|offset| offset >> 3 == 0);
        }
        at += match protocol {
            FRAGMENT => 8,
            AUTHENTICATION => (usize::from(length) + 2) * 4,
            _ => (usize::from(length) + 1) * 8,
        };
        protocol = next;
    }
    let flow = Flow {
        source: source.into(),
        destination: destination.into(),
        protocol,
        ports: ports(protocol, first, data, at),
    };
    let size = (payload > 0).then(|| u64::from(payload) + u64::from(HEADER));
    Some((flow, size))
}

/// The ports of TCP, UDP, DCCP, SCTP and UDP-Lite, which lie at the same place.
fn ports(protocol: u8, first: bool, data: &[u8], at: usize) -> (u16, u16) {
    if !first || !matches!(protocol, 6 | 17 | 33 | 132 | 136) {
        return (0, 0);
    }
    word(data, at).zip(word(data, at + 2)).unwrap_or_default()
}

/// Two bytes at `at` as a number.
fn word(data: &[u8], at: usize) -> Option<u16> {
    let bytes = data.get(at..at.checked_add(2)?)?;
    bytes.first_chunk().map(|bytes| u16::from_be_bytes(*bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// UDP from 10.0.0.1:1000 to 10.0.0.2:53, 128 bytes by its own account.
    const UDP: [u8; 28] = [
        0x45, 0, 0, 128, 0, 0, 0, 0, 64, 17, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2, 0x03, 0xe8, 0, 53, 0,
        108, 0, 0,
    ];

    fn ethernet(head: &[u8]) -> Vec<u8> {
        [&[0; 12], head, &UDP].concat()
    }

    #[test]
    fn the_same_datagram_is_found_behind_every_link() {
        let expected = datagram(RAW, &UDP, 128).unwrap().unwrap();
        assert_eq!(expected.size, 128);
        assert_eq!(expected.flow.ports, (1000, 53));
        let cooked_2 = [&[8, 0][..], &[0; 18], &UDP].concat();
        for (link, frame) in [
            (ETHERNET, ethernet(&[8, 0])),
            (ETHERNET, ethernet(&[0x81, 0, 0, 5, 8, 0])),
            (ETHERNET, ethernet(&[0x88, 0xa8, 0, 5, 0x81, 0, 0, 6, 8, 0])),
            (NULL, [&[2, 0, 0, 0], &UDP[..]].concat()),
            (LINUX_COOKED, [&[0; 14][..], &[8, 0], &UDP].concat()),
            (LINUX_COOKED_2, cooked_2),
        ] {
            assert_eq!(
                datagram(link, &frame, 200).unwrap(),
                Some(expected),
                "{link}"
            );
        }
    }

    #[test]
    fn a_length_that_the_card_fills_in_later_is_that_of_the_frame() {
        let mut frame = ethernet(&[8, 0]);
        frame[14 + 3] = 0;
        assert_eq!(
            datagram(ETHERNET, &frame, 3014).unwrap().unwrap().size,
            3000
        );
    }

    #[test]
    fn what_is_no_ip_or_cut_off_is_no_datagram() {
        assert_eq!(datagram(ETHERNET, &ethernet(&[8, 6]), 60).unwrap(), None);
        for length in 0..20 {
            assert_eq!(
                datagram(RAW, &UDP[..length], 128).unwrap(),
                None,
                "{length}"
            );
        }
        // Without the ports it still counts for its hosts.
        assert!(datagram(RAW, &UDP[..20], 128).unwrap().is_some());
        assert!(matches!(
            datagram(105, &UDP, 128),
            Err(CaptureFault::LinkType(105))
        ));
    }

    #[test]
    fn extension_headers_of_ipv6_are_passed_over() {
        let mut data = vec![0x60, 0, 0, 0, 0, 24, 0, 64];
        data.extend([0; 32]);
        data.extend([17, 0, 0, 0, 0, 0, 0, 0]);
        data.extend([0x03, 0xe8, 0, 53, 0, 16, 0, 0]);
        let found = datagram(RAW, &data, 64).unwrap().unwrap();
        assert_eq!((found.size, found.flow.ports), (64, (1000, 53)));
        assert_eq!(found.flow.protocol, 17);
    }
}
