//! Captures as traces: both formats, what they say wrong, and that nothing in
//! them can bring the reader down.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "helpers of tests: a failure is the test's"
)]

use proptest::prelude::*;
use std::net::Ipv4Addr;
use weirgate_traffic::trace::{CaptureFault, Recording};
use weirgate_traffic::{TraceError, TraceReader};

/// (instant in ns, from host, from port, to port, bytes of the datagram).
type Datagram = (u64, u8, u16, u16, u16);

const DATAGRAMS: [Datagram; 5] = [
    (1_000_000_500, 1, 1000, 53, 100),
    (1_000_001_500, 2, 53, 1000, 1500),
    (1_000_004_500, 1, 1001, 53, 40),
    (1_000_004_500, 1, 1000, 53, 60),
    (2_000_000_500, 2, 53, 1001, 28),
];

/// As `(t_ns, size, user, connection)`.
const EXPECTED: [(u64, u64, u32, u32); 5] = [
    (0, 100, 0, 0),
    (1_000, 1500, 1, 0),
    (4_000, 40, 0, 1),
    (4_000, 60, 0, 0),
    (1_000_000_000, 28, 1, 1),
];

fn frame(&(_, host, from, to, size): &Datagram) -> Vec<u8> {
    let mut frame = [vec![0; 12], vec![0x08, 0x00]].concat();
    frame.extend([0x45, 0]);
    frame.extend(size.to_be_bytes());
    frame.extend([0, 0, 0, 0, 64, 17, 0, 0]);
    frame.extend(Ipv4Addr::new(10, 0, 0, host).octets());
    frame.extend(Ipv4Addr::new(10, 0, 0, 9).octets());
    frame.extend(from.to_be_bytes());
    frame.extend(to.to_be_bytes());
    frame
}

fn arp() -> Vec<u8> {
    [vec![0; 12], vec![0x08, 0x06], vec![0; 28]].concat()
}

#[derive(Clone, Copy, Debug)]
enum Order {
    Little,
    Big,
}

impl Order {
    fn u32(self, value: u32) -> [u8; 4] {
        match self {
            Self::Little => value.to_le_bytes(),
            Self::Big => value.to_be_bytes(),
        }
    }

    fn u16(self, value: u16) -> [u8; 2] {
        match self {
            Self::Little => value.to_le_bytes(),
            Self::Big => value.to_be_bytes(),
        }
    }
}

fn low(value: u64) -> u32 {
    u32::try_from(value & 0xffff_ffff).unwrap()
}

/// Nanosecond pcap: header, then the frames.
fn pcap(order: Order, link: u32, frames: &[(u64, Vec<u8>)]) -> Vec<u8> {
    let mut file = order.u32(0xa1b2_3c4d).to_vec();
    file.extend([order.u16(2), order.u16(4)].concat());
    file.extend([0, 0, 65535, link].map(|field| order.u32(field)).concat());
    for (at, frame) in frames {
        let length = u32::try_from(frame.len()).unwrap();
        let (seconds, nanos) = (low(at / 1_000_000_000), low(at % 1_000_000_000));
        file.extend(
            [seconds, nanos, length, length + 4]
                .map(|f| order.u32(f))
                .concat(),
        );
        file.extend(frame);
    }
    file
}

fn block(order: Order, kind: u32, body: &[u8]) -> Vec<u8> {
    let padding = vec![0; body.len().next_multiple_of(4) - body.len()];
    let length = u32::try_from(12 + body.len() + padding.len()).unwrap();
    [
        &order.u32(kind),
        &order.u32(length),
        body,
        &padding,
        &order.u32(length),
    ]
    .concat()
}

/// pcapng with one Ethernet interface whose times are in units of `resolution`.
fn pcapng(
    order: Order,
    resolution: u8,
    times: impl Fn(u64) -> u64,
    frames: &[(u64, Vec<u8>)],
) -> Vec<u8> {
    let section = [
        &order.u32(0x1a2b_3c4d)[..],
        &order.u16(1),
        &order.u16(0),
        &[0xff; 8],
    ]
    .concat();
    let mut file = block(order, 0x0a0d_0d0a, &section);
    let options = [
        &order.u16(9)[..],
        &order.u16(1),
        &[resolution, 0, 0, 0],
        &[0; 4],
    ]
    .concat();
    let interface = [&order.u16(1)[..], &order.u16(0), &order.u32(0), &options].concat();
    file.extend(block(order, 1, &interface));
    for (at, frame) in frames {
        let (at, length) = (times(*at), u32::try_from(frame.len()).unwrap());
        let fields = [0, low(at >> 32), low(at), length, length + 4];
        let body = [fields.map(|field| order.u32(field)).concat(), frame.clone()].concat();
        file.extend(block(order, 6, &body));
    }
    file
}

fn frames() -> Vec<(u64, Vec<u8>)> {
    let mut frames: Vec<_> = DATAGRAMS.iter().map(|d| (d.0, frame(d))).collect();
    frames.insert(2, (1_000_002_000, arp()));
    frames
}

fn read(file: &[u8]) -> Result<Vec<(u64, u64, u32, u32)>, TraceError> {
    TraceReader::new(file)?
        .map(|packet| packet.map(|p| (p.at.as_nanos(), p.size.get(), p.user, p.connection)))
        .collect()
}

fn fault(file: &[u8]) -> (u64, CaptureFault) {
    match read(file).unwrap_err() {
        TraceError::Capture { frame, fault } => (frame, fault),
        other => panic!("{other:?}"),
    }
}

#[test]
fn hosts_are_users_and_flows_their_connections() {
    for order in [Order::Little, Order::Big] {
        assert_eq!(read(&pcap(order, 1, &frames())).unwrap(), EXPECTED);
        assert_eq!(
            read(&pcapng(order, 9, |at| at, &frames())).unwrap(),
            EXPECTED
        );
    }
    let file = pcap(Order::Little, 1, &frames());
    let mut reader = TraceReader::new(&file[..]).unwrap();
    assert_eq!(reader.by_ref().count(), 5);
    assert_eq!(reader.users(), ["10.0.0.1", "10.0.0.2"]);
    assert_eq!(reader.skipped(), Some(1));
}

#[test]
fn times_are_kept_in_whatever_unit_they_are_written() {
    // 2^-32 s and 10^-12 s: finer than a nanosecond.
    let binary = |at: u64| u64::try_from((u128::from(at) << 32).div_ceil(1_000_000_000)).unwrap();
    let file = pcapng(Order::Little, 0x80 | 32, binary, &frames());
    assert_eq!(read(&file).unwrap(), EXPECTED);
    let file = pcapng(Order::Big, 12, |at| at * 1_000, &frames());
    assert_eq!(read(&file).unwrap(), EXPECTED);
    let file = pcapng(Order::Big, 0x7f, |at| at, &frames());
    assert!(matches!(fault(&file), (1, CaptureFault::Resolution)));
}

#[test]
fn a_capture_that_is_a_little_out_of_order_is_put_in_order() {
    let mut frames = frames();
    frames.swap(0, 4);
    frames.swap(1, 5);
    let sizes = |file: &[u8]| -> Vec<u64> { read(file).unwrap().iter().map(|p| p.1).collect() };
    let found = read(&pcap(Order::Little, 1, &frames)).unwrap();
    assert!(found.is_sorted_by_key(|packet| packet.0));
    assert_eq!(found[0].0, 0);
    assert_eq!(sizes(&pcap(Order::Little, 1, &frames))[0], 100);
}

#[test]
fn a_capture_that_is_far_out_of_order_is_refused() {
    let one = frame(&DATAGRAMS[0]);
    let mut frames: Vec<_> = (1..6000).map(|at| (at * 1_000, one.clone())).collect();
    frames.push((0, one));
    let found = fault(&pcap(Order::Little, 1, &frames));
    assert!(
        matches!(found, (6000, CaptureFault::OutOfOrder)),
        "{found:?}"
    );
}

#[test]
fn frames_larger_than_the_buffer_are_read() {
    let mut large = frame(&DATAGRAMS[0]);
    large.resize(3_000_000, 7);
    let frames = [(5, large), (6, frame(&DATAGRAMS[1]))];
    assert_eq!(read(&pcap(Order::Little, 1, &frames)).unwrap().len(), 2);
    assert_eq!(
        read(&pcapng(Order::Little, 9, |at| at, &frames))
            .unwrap()
            .len(),
        2
    );
}

#[test]
fn every_mistake_is_named_with_its_frame_and_a_remedy() {
    let good = pcap(Order::Little, 1, &frames());
    let mut short = good.clone();
    short.pop();
    let mut huge = good.clone();
    huge[24 + 8..24 + 12].copy_from_slice(&[0, 0, 0, 0x7f]);
    huge.resize(18 << 20, 0);
    let simple = [
        pcapng(Order::Little, 9, |at| at, &[]),
        block(Order::Little, 3, &[28, 0, 0, 0, 0, 0, 0, 0]),
    ]
    .concat();
    for (file, frame, start) in [
        (&short[..], 6, "frame 6: the file ends in the middle"),
        (&huge[..], 1, "frame 1: it claims to be larger than 16 MiB"),
        (&good[..20], 0, "the file's header is damaged"),
        (
            &pcap(Order::Little, 105, &frames()),
            1,
            "frame 1: it is of link type 105",
        ),
        (
            &pcap(Order::Little, 1, &[(0, arp())]),
            1,
            "frame 1: no frame until here carries IP",
        ),
        (&simple, 1, "frame 1: it has no time stamp"),
        (b"\x1f\x8b\x08\x00rest", 0, "the file is compressed by gzip"),
    ] {
        let error = read(file).unwrap_err();
        let text = error.to_string();
        assert!(text.starts_with(start) && text.contains("; "), "{text}");
        assert_eq!(error.line(), frame, "{text}");
    }
}

#[test]
fn a_capture_is_replayed_by_sender() {
    let file = pcap(Order::Little, 1, &frames());
    let recording = Recording::read(TraceReader::new(&file[..]).unwrap()).unwrap();
    let senders: Vec<_> = recording.senders().collect();
    assert_eq!(senders, [(0, 0), (0, 1), (1, 0), (1, 1)]);
    assert_eq!(recording.user("10.0.0.2"), Some(1));
}

proptest! {
    /// Whatever stands in a file: packets in order, or one error.
    #[test]
    fn damaged_files_do_no_harm(
        big in any::<bool>(),
        next in any::<bool>(),
        cut in 0_usize..700,
        changes in prop::collection::vec((0_usize..700, any::<u8>()), 0..6),
    ) {
        let order = if big { Order::Big } else { Order::Little };
        let mut file = if next {
            pcapng(order, 9, |at| at, &frames())
        } else {
            pcap(order, 1, &frames())
        };
        for (at, byte) in changes {
            if let Some(place) = file.get_mut(at) {
                *place = byte;
            }
        }
        file.truncate(cut);
        if let Ok(packets) = read(&file) {
            prop_assert!(packets.is_sorted_by_key(|packet| packet.0));
            prop_assert!(packets.iter().all(|packet| packet.1 > 0));
        }
    }
}
