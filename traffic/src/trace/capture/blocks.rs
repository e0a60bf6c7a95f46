//! The frames of both file formats, with their instants.

use super::CaptureFault;
use super::error::compression;
use super::frame::{self, Datagram};
use pcap_parser::traits::PcapReaderIterator;
use pcap_parser::{Block, LegacyPcapReader, PcapBlockOwned, PcapError, PcapNGReader};
use std::io::{self, Read};

/// The buffer at first, and the largest block that it grows for.
const BUFFER: usize = 1 << 18;
const LARGEST: usize = 1 << 24;

/// Interfaces of one section.
const MAX_INTERFACES: usize = 1 << 16;

const NANOS_PER_SEC: u64 = 1_000_000_000;

/// A frame as far as it matters here.
#[derive(Debug)]
pub(super) struct Frame {
    /// Nanoseconds since the epoch of the file.
    pub(super) at: i128,
    /// `None` if it carries no IP.
    pub(super) datagram: Option<Datagram>,
}

pub(super) fn is_pcap(start: &[u8]) -> bool {
    matches!(
        start,
        [0xa1, 0xb2, 0xc3, 0xd4]
            | [0xd4, 0xc3, 0xb2, 0xa1]
            | [0xa1, 0xb2, 0x3c, 0x4d]
            | [0x4d, 0x3c, 0xb2, 0xa1]
            | [0xa1, 0xb2, 0xcd, 0x34]
            | [0x34, 0xcd, 0xb2, 0xa1]
    )
}

pub(super) fn is_pcapng(start: &[u8]) -> bool {
    matches!(start, [0x0a, 0x0d, 0x0d, 0x0a])
}

/// Reads frame by frame.
pub(super) struct Blocks<R: Read> {
    file: Format<R>,
    context: Context,
    capacity: usize,
    frames: u64,
}

enum Format<R: Read> {
    Pcap(LegacyPcapReader<Whole<R>>),
    Pcapng(PcapNGReader<Whole<R>>),
}

/// What the blocks so far say about those that follow.
#[derive(Debug, Default)]
struct Context {
    interfaces: Vec<Interface>,
    big_endian: bool,
}

#[derive(Clone, Copy, Debug)]
struct Interface {
    link: i32,
    /// Units of a second.
    resolution: u128,
    /// Seconds.
    offset: i64,
}

impl<R: Read> Blocks<R> {
    /// Reads `input`, which begins with `start`.
    pub(super) fn new(start: &[u8], input: R) -> Result<Self, CaptureFault> {
        if let Some(program) = compression(start) {
            return Err(CaptureFault::Compressed(program));
        }
        let input = Whole(input);
        let file = if is_pcapng(start) {
            PcapNGReader::new(BUFFER, input).map(Format::Pcapng)
        } else {
            LegacyPcapReader::new(BUFFER, input).map(Format::Pcap)
        };
        Ok(Self {
            file: file.map_err(|error| match error {
                PcapError::ReadError => CaptureFault::Read(None),
                _ => CaptureFault::Header,
            })?,
            context: Context::default(),
            capacity: BUFFER,
            frames: 0,
        })
    }

    /// The frames so far.
    pub(super) const fn frames(&self) -> u64 {
        self.frames
    }

    /// The next frame; `None` at the end.
    pub(super) fn frame(&mut self) -> Result<Option<Frame>, CaptureFault> {
        loop {
            match self.step()? {
                Step::Frame(frame) => {
                    self.frames += 1;
                    return Ok(Some(frame));
                }
                Step::Other => {}
                Step::More => self.refill()?,
                Step::Larger => self.grow()?,
                Step::End => return Ok(None),
            }
        }
    }

    fn step(&mut self) -> Result<Step, CaptureFault> {
        let context = &mut self.context;
        let file = self.file.reader();
        let (length, step) = match file.next() {
            Ok((length, block)) => (length, context.block(block)?),
            Err(PcapError::Eof) => return Ok(Step::End),
            Err(PcapError::Incomplete(_)) => return Ok(Step::More),
            Err(PcapError::BufferTooSmall) => return Ok(Step::Larger),
            Err(PcapError::UnexpectedEof) => {
                return if file.data().is_empty() {
                    Ok(Step::End)
                } else {
                    Err(CaptureFault::Truncated)
                };
            }
            Err(_) => return Err(CaptureFault::Damaged),
        };
        file.consume(length);
        Ok(step)
    }

    fn refill(&mut self) -> Result<(), CaptureFault> {
        let refilled = self.file.reader().refill();
        refilled.map_err(|_| CaptureFault::Read(None))
    }

    fn grow(&mut self) -> Result<(), CaptureFault> {
        if self.capacity >= LARGEST {
            return Err(CaptureFault::TooLarge);
        }
        self.capacity *= 4;
        self.file.reader().grow(self.capacity);
        self.refill()
    }
}

/// What became of a look at the file.
enum Step {
    Frame(Frame),
    /// A block that is no frame.
    Other,
    /// The buffer must be filled again.
    More,
    /// The buffer must be larger.
    Larger,
    End,
}

impl<R: Read> Format<R> {
    fn reader(&mut self) -> &mut dyn PcapReaderIterator {
        match self {
            Self::Pcap(reader) => reader,
            Self::Pcapng(reader) => reader,
        }
    }
}

impl Context {
    fn block(&mut self, block: PcapBlockOwned<'_>) -> Result<Step, CaptureFault> {
        match block {
            PcapBlockOwned::LegacyHeader(header) => {
                if header.is_modified_format() || header.magic_number == 0x34cd_b2a1 {
                    return Err(CaptureFault::Modified);
                }
                let resolution = if header.is_nanosecond_precision() {
                    NANOS_PER_SEC
                } else {
                    1_000_000
                };
                self.interfaces = vec![Interface {
                    // The upper bits tell of a frame check sequence.
                    link: header.network.0 & 0xffff,
                    resolution: resolution.into(),
                    offset: 0,
                }];
                Ok(Step::Other)
            }
            PcapBlockOwned::Legacy(block) => {
                let interface = self.interface(0)?;
                let at =
                    u128::from(block.ts_sec) * interface.resolution + u128::from(block.ts_usec);
                interface.frame(at, block.data, block.origlen)
            }
            PcapBlockOwned::NG(block) => self.pcapng(&block),
        }
    }

    fn pcapng(&mut self, block: &Block<'_>) -> Result<Step, CaptureFault> {
        match block {
            Block::SectionHeader(section) => {
                self.interfaces.clear();
                self.big_endian = section.big_endian();
                Ok(Step::Other)
            }
            Block::InterfaceDescription(described) => {
                if self.interfaces.len() >= MAX_INTERFACES {
                    return Err(CaptureFault::Damaged);
                }
                let offset = described.if_tsoffset;
                self.interfaces.push(Interface {
                    link: described.linktype.0,
                    resolution: resolution(described.if_tsresol)?,
                    // The parser takes every file's for little-endian.
                    offset: if self.big_endian {
                        offset.swap_bytes()
                    } else {
                        offset
                    },
                });
                Ok(Step::Other)
            }
            Block::EnhancedPacket(packet) => {
                let interface = self.interface(packet.if_id)?;
                let at = u128::from(packet.ts_high) << 32 | u128::from(packet.ts_low);
                // The parser leaves the padding at the end of the data.
                let captured = usize::try_from(packet.caplen).unwrap_or(usize::MAX);
                let data = packet.data.get(..captured).unwrap_or(packet.data);
                interface.frame(at, data, packet.origlen)
            }
            Block::SimplePacket(_) => Err(CaptureFault::NoTime),
            Block::Unknown(other) if other.block_type == 2 => Err(CaptureFault::Obsolete),
            _ => Ok(Step::Other),
        }
    }

    fn interface(&self, number: u32) -> Result<&Interface, CaptureFault> {
        let index = usize::try_from(number).ok();
        index
            .and_then(|index| self.interfaces.get(index))
            .ok_or(CaptureFault::Interface(number))
    }
}

impl Interface {
    /// A frame at `at`, in units of the resolution.
    fn frame(&self, at: u128, data: &[u8], original: u32) -> Result<Step, CaptureFault> {
        let nanos = at.saturating_mul(NANOS_PER_SEC.into()) / self.resolution;
        let nanos = i128::try_from(nanos).map_err(|_| CaptureFault::Resolution)?;
        Ok(Step::Frame(Frame {
            at: nanos + i128::from(self.offset) * i128::from(NANOS_PER_SEC),
            datagram: frame::datagram(self.link, data, original)?,
        }))
    }
}

/// Units of a second, from the option `if_tsresol`: a power of ten, or of two
/// if the highest bit is set.
fn resolution(option: u8) -> Result<u128, CaptureFault> {
    let power = u32::from(option & 0x7f);
    let units = if option & 0x80 == 0 {
        10_u128.checked_pow(power)
    } else {
        1_u128.checked_shl(power)
    };
    units
        .filter(|units| *units <= u128::from(u64::MAX))
        .ok_or(CaptureFault::Resolution)
}

/// Fills every buffer as long as there is something to read: the parser takes a
/// short read of its first bytes for the whole file.
struct Whole<R>(R);

impl<R: Read> Read for Whole<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut read = 0;
        while read < buffer.len() {
            match self.0.read(&mut buffer[read..]) {
                Ok(0) => break,
                Ok(more) => read += more,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // It will fail again when there is nothing else to hand out.
                Err(_) if read > 0 => break,
                Err(error) => return Err(error),
            }
        }
        Ok(read)
    }
}
