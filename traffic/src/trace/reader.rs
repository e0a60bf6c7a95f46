//! A trace read packet by packet.

use super::capture::{self, CaptureReader};
use super::lines::Lines;
use super::{
    CaptureFault, Column, MAX_CONNECTIONS, MAX_USERS, NumberFault, TraceError, name_fault,
};
use crate::distribution::MAX_SEND;
use crate::source::Packet;
use flow::{ByteSize, Timestamp};
use std::collections::HashMap;
use std::io::{self, Read};

/// The packets of a trace, in its order, as they are read.
///
/// Text or a capture, told apart by the first bytes. Users are numbered as they
/// first appear, or as the caller has them; those of a capture are the sending
/// hosts by address. The first error ends the stream. Memory is bounded: for text
/// by a line and the users' names, for a capture by its largest frame, some
/// thousand packets that are put in order, and its flows.
#[derive(Debug)]
pub struct TraceReader<R: Read> {
    source: Source<R>,
    users: Users,
    ended: bool,
}

/// What was looked at to know the format, and the rest.
type Input<R> = io::Chain<io::Cursor<Vec<u8>>, R>;

#[derive(Debug)]
enum Source<R: Read> {
    Text {
        lines: Box<Lines<Input<R>>>,
        previous: u64,
    },
    Capture(Box<CaptureReader<Input<R>>>),
}

impl<R: Read> TraceReader<R> {
    /// Reads the header of `input`, which need not be buffered.
    ///
    /// # Errors
    /// [`TraceError::Header`] if the first line is another, [`TraceError::Capture`]
    /// if it is a capture that cannot be read, or the error of reading it.
    pub fn new(input: R) -> Result<Self, TraceError> {
        Self::with_users(input, Users::default())
    }

    /// The same for the users `names`, numbered in this order; any other is an error.
    ///
    /// # Errors
    /// As for [`Self::new`].
    pub fn for_users<S: Into<String>>(
        input: R,
        names: impl IntoIterator<Item = S>,
    ) -> Result<Self, TraceError> {
        let mut users = Users::default();
        for name in names {
            users.insert(name.into());
        }
        users.closed = true;
        Self::with_users(input, users)
    }

    fn with_users(input: R, users: Users) -> Result<Self, TraceError> {
        Ok(Self {
            source: Source::new(input)?,
            users,
            ended: false,
        })
    }

    /// The names of the users so far, in order of their numbers.
    #[must_use]
    pub fn users(&self) -> &[String] {
        &self.users.names
    }

    /// The line that was read last, counted from 1; for a capture the frame.
    #[must_use]
    pub const fn line(&self) -> u64 {
        match &self.source {
            Source::Text { lines, .. } => lines.number(),
            Source::Capture(capture) => capture.frames(),
        }
    }

    /// How many frames of a capture carried no IP datagram and were left out so
    /// far; `None` for text.
    #[must_use]
    pub const fn skipped(&self) -> Option<u64> {
        match &self.source {
            Source::Text { .. } => None,
            Source::Capture(capture) => Some(capture.skipped()),
        }
    }

    /// That there are more packets than `most`, at the place that was reached.
    #[must_use]
    pub fn too_many_packets(&self, most: usize) -> TraceError {
        match &self.source {
            Source::Text { lines, .. } => TraceError::TooManyPackets {
                line: lines.number(),
                most,
            },
            Source::Capture(capture) => TraceError::Capture {
                frame: capture.frames(),
                fault: CaptureFault::TooManyPackets(most),
            },
        }
    }

    fn packet(&mut self) -> Result<Option<Packet>, TraceError> {
        match &mut self.source {
            Source::Text { lines, previous } => text_packet(lines, previous, &mut self.users),
            Source::Capture(capture) => capture.packet(&mut self.users),
        }
    }
}

impl<R: Read> Source<R> {
    fn new(mut input: R) -> Result<Self, TraceError> {
        let mut start = Vec::new();
        let read = input.by_ref().take(4).read_to_end(&mut start);
        read.map_err(|source| TraceError::Read { line: 1, source })?;
        let is_capture = capture::is_capture(&start);
        let input = io::Cursor::new(start.clone()).chain(input);
        if is_capture {
            let capture = CaptureReader::new(&start, input)?;
            return Ok(Self::Capture(Box::new(capture)));
        }
        let mut lines = Box::new(Lines::new(input));
        lines.header()?;
        Ok(Self::Text { lines, previous: 0 })
    }
}

fn text_packet<R: Read>(
    lines: &mut Lines<R>,
    previous: &mut u64,
    users: &mut Users,
) -> Result<Option<Packet>, TraceError> {
    let Some((line, [time, size, user, connection])) = lines.record()? else {
        return Ok(None);
    };
    let at = number(time, line, Column::Time)?;
    let size = number(size, line, Column::Size)?;
    let connection = number(connection, line, Column::Connection)?;
    if at < *previous {
        return Err(TraceError::OutOfOrder {
            line,
            at,
            previous: *previous,
        });
    }
    *previous = at;
    Ok(Some(Packet {
        at: Timestamp::from_nanos(at),
        size: ByteSize::new(size),
        user: users.number(user, line)?,
        connection: u32::try_from(connection).unwrap_or(u32::MAX),
    }))
}

impl<R: Read> Iterator for TraceReader<R> {
    type Item = Result<Packet, TraceError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        let packet = self.packet().transpose();
        self.ended = !matches!(packet, Some(Ok(_)));
        packet
    }
}

/// Reads a number and holds it to its column's range.
fn number(text: &[u8], line: u64, column: Column) -> Result<u64, TraceError> {
    let text = text.trim_ascii();
    parse(text, column).map_err(|fault| TraceError::Number {
        line,
        column,
        given: String::from_utf8_lossy(text).into_owned(),
        fault,
    })
}

fn parse(text: &[u8], column: Column) -> Result<u64, NumberFault> {
    let (negative, digits) = match text {
        [b'-', digits @ ..] => (true, digits),
        digits => (false, digits),
    };
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return Err(NumberFault::NotWhole);
    }
    if negative {
        return Err(NumberFault::Negative);
    }
    let number = digits.iter().try_fold(0_u64, |number, digit| {
        number.checked_mul(10)?.checked_add(u64::from(digit - b'0'))
    });
    let most = match column {
        Column::Time | Column::User => u64::MAX,
        Column::Size => MAX_SEND.get(),
        Column::Connection => u64::from(MAX_CONNECTIONS) - 1,
    };
    match number {
        Some(0) if column == Column::Size => Err(NumberFault::Zero),
        Some(number) if number <= most => Ok(number),
        _ => Err(NumberFault::TooLarge),
    }
}

/// Names and numbers of users.
#[derive(Debug, Default)]
pub(super) struct Users {
    names: Vec<String>,
    numbers: HashMap<String, u32>,
    /// The user of the previous packet, most often the next one's too.
    recent: u32,
    /// Whether others may not appear.
    closed: bool,
}

impl Users {
    pub(super) fn number(&mut self, name: &[u8], line: u64) -> Result<u32, TraceError> {
        let recent = usize::try_from(self.recent).ok();
        let recent = recent.and_then(|index| self.names.get(index));
        if recent.is_none_or(|recent| recent.as_bytes() != name) {
            self.recent = self.find_or_add(name, line)?;
        }
        Ok(self.recent)
    }

    fn find_or_add(&mut self, name: &[u8], line: u64) -> Result<u32, TraceError> {
        let fault = match str::from_utf8(name) {
            Err(_) => Some("is not UTF-8"),
            Ok(name) => match self.numbers.get(name) {
                Some(number) => return Ok(*number),
                None => name_fault(name),
            },
        };
        let given = String::from_utf8_lossy(name).into_owned();
        if let Some(fault) = fault {
            Err(TraceError::UserName { line, given, fault })
        } else if self.closed {
            Err(TraceError::UnknownUser { line, given })
        } else if self.names.len() >= MAX_USERS {
            Err(TraceError::TooManyUsers { line })
        } else {
            Ok(self.insert(given))
        }
    }

    /// A name that is there twice keeps its first number.
    fn insert(&mut self, name: String) -> u32 {
        let number = u32::try_from(self.names.len()).unwrap_or(u32::MAX);
        self.names.push(name.clone());
        *self.numbers.entry(name).or_insert(number)
    }
}
