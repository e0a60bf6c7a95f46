//! What can be wrong with a trace, where, and what to do about it.

use super::{CaptureFault, HEADER, MAX_CONNECTIONS, MAX_LINE, MAX_USERS};
use crate::distribution::MAX_SEND;
use std::fmt;
use std::io;

/// Why a trace was refused. Every message of its own ends with the remedy; text
/// from the file is shown without control characters.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TraceError {
    /// The file could not be read on.
    #[error("line {line} cannot be read")]
    Read {
        /// Counted from 1, as in all variants.
        line: u64,
        /// Why.
        source: io::Error,
    },
    /// The first line is not the header.
    #[error("line 1 is {}, not the header: write \"{HEADER}\" there", shown(found))]
    Header {
        /// What stands there.
        found: String,
    },
    /// A line has too few or too many columns.
    #[error(
        "line {line} has {}, not 4: write {HEADER}, and a name with a comma in quotes",
        columns(*found)
    )]
    Columns {
        /// Where.
        line: u64,
        /// How many; 5 stands for any more.
        found: usize,
    },
    /// A line is longer than any valid one.
    #[error("line {line} is longer than {MAX_LINE} bytes: write one packet a line")]
    LongLine {
        /// Where.
        line: u64,
    },
    /// A column is not the number that it should be.
    #[error("line {line}, column {column}: {} {fault}; {}", shown(given), column.remedy())]
    Number {
        /// Where.
        line: u64,
        /// In which column.
        column: Column,
        /// What stands there.
        given: String,
        /// What is wrong with it.
        fault: NumberFault,
    },
    /// A packet is earlier than the one before it.
    #[error(
        "line {line}, column t_ns: {at} is earlier than the {previous} before it; \
         sort the packets by time, as `sort -s -t, -k1,1n` does"
    )]
    OutOfOrder {
        /// Where.
        line: u64,
        /// Its instant.
        at: u64,
        /// The one before.
        previous: u64,
    },
    /// The name of a user is not one.
    #[error(
        "line {line}, column user: the name {} {fault}; name each packet's user",
        shown(given)
    )]
    UserName {
        /// Where.
        line: u64,
        /// What stands there.
        given: String,
        /// What is wrong with it.
        fault: &'static str,
    },
    /// The trace is read for certain users, and this is none of them.
    #[error(
        "line {line}, column user: there is no user {}; add the user or drop its packets",
        shown(given)
    )]
    UnknownUser {
        /// Where.
        line: u64,
        /// The name.
        given: String,
    },
    /// More users than a trace may have.
    #[error("line {line}, column user: more than {MAX_USERS} users; split the trace")]
    TooManyUsers {
        /// Where.
        line: u64,
    },
    /// More packets than are held in memory to be replayed by sender.
    #[error("line {line}: more than {most} packets; shorten the trace, or replay it as one stream")]
    TooManyPackets {
        /// Where.
        line: u64,
        /// How many are held.
        most: usize,
    },
    /// Something is wrong with a capture.
    #[error("{}{fault}", frame_place(*frame))]
    Capture {
        /// Which frame of it, counted from 1; 0 for the whole file.
        frame: u64,
        /// What.
        fault: CaptureFault,
    },
}

impl TraceError {
    /// The line at fault, counted from 1; for a capture the frame, 0 for the whole file.
    #[must_use]
    pub const fn line(&self) -> u64 {
        match self {
            Self::Capture { frame, .. } => *frame,
            Self::Header { .. } => 1,
            Self::Read { line, .. }
            | Self::Columns { line, .. }
            | Self::LongLine { line }
            | Self::Number { line, .. }
            | Self::OutOfOrder { line, .. }
            | Self::UserName { line, .. }
            | Self::UnknownUser { line, .. }
            | Self::TooManyUsers { line }
            | Self::TooManyPackets { line, .. } => *line,
        }
    }

    /// The column at fault, if it is one.
    #[must_use]
    pub const fn column(&self) -> Option<Column> {
        match self {
            Self::Number { column, .. } => Some(*column),
            Self::OutOfOrder { .. } => Some(Column::Time),
            Self::UserName { .. } | Self::UnknownUser { .. } | Self::TooManyUsers { .. } => {
                Some(Column::User)
            }
            Self::Read { .. }
            | Self::Header { .. }
            | Self::Columns { .. }
            | Self::LongLine { .. }
            | Self::TooManyPackets { .. }
            | Self::Capture { .. } => None,
        }
    }
}

/// Why a trace could not be written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WriteError {
    /// A user's name cannot stand in a trace.
    #[error("the user name {} {fault}; give the user another name", shown(given))]
    UserName {
        /// The name.
        given: String,
        /// What is wrong with it.
        fault: &'static str,
    },
    /// A packet of a user without a name.
    #[error("a packet of user number {user}, but only {names} users have names")]
    UnknownUser {
        /// The packet's user.
        user: u32,
        /// How many have names.
        names: usize,
    },
    /// The output failed.
    #[error("the trace cannot be written")]
    Write(#[from] io::Error),
}

/// A column of a trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Column {
    /// `t_ns`.
    Time,
    /// `size`.
    Size,
    /// `user`.
    User,
    /// `connection`.
    Connection,
}

impl Column {
    /// Its name in the header.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Time => "t_ns",
            Self::Size => "size",
            Self::User => "user",
            Self::Connection => "connection",
        }
    }

    const fn remedy(self) -> &'static str {
        match self {
            Self::Time => "write whole nanoseconds since the start",
            Self::Size => "write whole bytes, from 1 to 1073741824",
            Self::User => "write the user's name",
            Self::Connection => "write the connection's number, from 0 to 999999",
        }
    }
}

const _: () = assert!(MAX_SEND.get() == 1_073_741_824 && MAX_CONNECTIONS == 1_000_000);

impl fmt::Display for Column {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What is wrong with a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum NumberFault {
    /// Not digits alone.
    #[error("is not a whole number")]
    NotWhole,
    /// A minus before digits.
    #[error("is negative")]
    Negative,
    /// A size of zero.
    #[error("is no size of a packet")]
    Zero,
    /// More than the column holds.
    #[error("is too large")]
    TooLarge,
}

/// `text` in quotes, escaped, and not more of it than helps.
fn shown(text: &str) -> String {
    const MOST: usize = 40;
    let start: String = text.chars().take(MOST).collect();
    let rest = if start.len() < text.len() { "..." } else { "" };
    format!("\"{}{rest}\"", start.escape_debug())
}

fn frame_place(frame: u64) -> String {
    match frame {
        0 => String::new(),
        frame => format!("frame {frame}: "),
    }
}

fn columns(found: usize) -> String {
    match found {
        1 => "1 column".into(),
        2..=4 => format!("{found} columns"),
        _ => "more than 4 columns".into(),
    }
}
