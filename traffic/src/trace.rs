//! Recorded traffic: as text, `t_ns,size,user,connection`, a packet a line, or as
//! a capture in one of the formats of tcpdump and Wireshark (pcap, pcapng).
//!
//! Instants are whole nanoseconds from the start of the run and never decrease,
//! sizes whole bytes, users names (quoted if they hold a comma), connections
//! numbers from 0. Reading and writing stream: neither holds more than a line.

mod capture;
mod error;
mod lines;
mod reader;
mod recording;
mod writer;

pub use capture::CaptureFault;
pub use error::{Column, NumberFault, TraceError, WriteError};
pub use reader::TraceReader;
pub use recording::{Recorded, Recording};
pub use writer::TraceWriter;

/// The first line of a trace.
pub const HEADER: &str = "t_ns,size,user,connection";

/// Columns of a trace.
const COLUMNS: usize = 4;

/// The longest line, in bytes.
pub const MAX_LINE: usize = 1024;

/// The longest name of a user, in bytes.
pub const MAX_NAME: usize = 255;

/// The most users of one trace.
pub const MAX_USERS: usize = 100_000;

/// Connections are numbered below this.
pub const MAX_CONNECTIONS: u32 = 1_000_000;

/// Whether a file that begins with `start` (four bytes suffice) is read as a
/// capture: pcap, pcapng, or compressed, which is an error of its own.
#[must_use]
pub fn is_capture(start: &[u8]) -> bool {
    capture::is_capture(start)
}

/// What is wrong with `name` as the name of a user.
fn name_fault(name: &str) -> Option<&'static str> {
    if name.is_empty() {
        Some("is empty")
    } else if name.len() > MAX_NAME {
        Some("is longer than 255 bytes")
    } else if name.chars().any(char::is_control) {
        Some("has a control character")
    } else {
        None
    }
}
