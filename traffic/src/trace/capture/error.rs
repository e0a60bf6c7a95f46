//! What can be wrong with a capture, and what to do about it.

use std::io;

/// What is wrong with a capture. Every message ends with the remedy.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CaptureFault {
    /// The file could not be read on.
    #[error("the capture cannot be read on; see whether the file is still there")]
    Read(#[source] Option<io::Error>),
    /// It is compressed.
    #[error("the file is compressed by {0}; decompress it first")]
    Compressed(&'static str),
    /// It begins like a capture and does not go on like one.
    #[error("the file's header is damaged; capture again, as `tcpdump -w FILE` does")]
    Header,
    /// Of a variant nobody writes any more.
    #[error("the file is of a modified pcap format; rewrite it with `editcap -F pcap IN OUT`")]
    Modified,
    /// The file ends within a frame.
    #[error(
        "the file ends in the middle of it; cut the rest off with `tcpdump -r IN -w OUT`, or capture again"
    )]
    Truncated,
    /// A block makes no sense.
    #[error("it is damaged; keep what is before it with `editcap -r IN OUT 1-N`")]
    Damaged,
    /// A block is larger than any that makes sense.
    #[error("it claims to be larger than 16 MiB; the file is damaged before it")]
    TooLarge,
    /// A link type that is not known.
    #[error(
        "it is of link type {0}, and Ethernet, Linux cooked, loopback and raw IP are known; \
         capture on an interface of one of these"
    )]
    LinkType(i32),
    /// A frame of an interface that was not described.
    #[error("it is of interface {0}, which the file does not describe; the file is damaged")]
    Interface(u32),
    /// A resolution of time beyond what can be counted.
    #[error("its interface counts time in a unit that makes no sense; the file is damaged")]
    Resolution,
    /// A frame without an instant.
    #[error("it has no time stamp; capture with enhanced packet blocks, as dumpcap does")]
    NoTime,
    /// An obsolete block.
    #[error("it is an obsolete packet block; rewrite the file with `editcap IN OUT`")]
    Obsolete,
    /// Earlier by more than what is put in order.
    #[error("it is much earlier than those before it; sort the capture with `reordercap IN OUT`")]
    OutOfOrder,
    /// Longer than instants reach.
    #[error(
        "it is more than 584 years later than the first; the time stamps are damaged, drop such packets"
    )]
    TooLong,
    /// Nothing in it is IP.
    #[error("no frame until here carries IP; capture where IP packets pass")]
    NoDatagram,
    /// More hosts than a trace may have users.
    #[error("more than 100000 hosts; split the capture")]
    TooManyHosts,
    /// More flows than are told apart.
    #[error("more than 1000000 flows; split the capture")]
    TooManyFlows,
    /// More packets than are held in memory to be replayed by sender.
    #[error("more than {0} packets; shorten the capture, or replay it as one stream")]
    TooManyPackets(usize),
    /// The capture is read for certain hosts, and this is none of them.
    #[error("there is no user {0}; add the user or filter the host out")]
    UnknownHost(String),
}

/// What compressed a file that begins with `start`.
pub(super) fn compression(start: &[u8]) -> Option<&'static str> {
    match start {
        [0x1f, 0x8b, ..] => Some("gzip"),
        [0x28, 0xb5, 0x2f, 0xfd] => Some("zstd"),
        [0xfd, b'7', b'z', b'X'] => Some("xz"),
        [b'B', b'Z', b'h', b'1'..=b'9'] => Some("bzip2"),
        [0x04, 0x22, 0x4d, 0x18] => Some("lz4"),
        _ => None,
    }
}
