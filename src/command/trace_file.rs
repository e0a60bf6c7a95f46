//! A trace or capture that the command line names.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use miette::Diagnostic;
use traffic::trace::Recording;
use traffic::{TraceError, TraceReader};

use super::{Failure, counted, note};
use crate::scenario::problem::split_remedy;

/// A trace that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{}: {message}", path.display())]
pub(super) struct BadTrace {
    path: PathBuf,
    message: String,
    help: String,
    source: Option<io::Error>,
}

impl Diagnostic for BadTrace {
    fn help<'a>(&'a self) -> Option<Box<dyn std::fmt::Display + 'a>> {
        Some(Box::new(&self.help))
    }
}

/// Begins to read the trace or capture at `path`.
pub(super) fn open(path: &Path) -> Result<TraceReader<File>, Failure> {
    let file = File::open(path).map_err(|source| Failure::input(unreadable(path, source)))?;
    TraceReader::new(file).map_err(|error| Failure::input(bad(path, error)))
}

/// What is wrong with the trace at `path`.
pub(super) fn bad(path: &Path, error: TraceError) -> BadTrace {
    let text = error.to_string();
    let (message, help) = split_remedy(&text);
    BadTrace {
        path: path.to_owned(),
        message: message.to_owned(),
        help: help
            .unwrap_or("a trace is CSV with the columns t_ns,size,user,connection, or a capture")
            .to_owned(),
        source: match error {
            TraceError::Read { source, .. } => Some(source),
            _ => None,
        },
    }
}

/// All packets of the trace or capture at `path`, or those of `user` alone, as
/// (nanoseconds, bytes).
pub(super) fn packets(path: &Path, user: Option<&str>) -> Result<Vec<(u64, u64)>, Failure> {
    let mut trace = open(path)?;
    let mut packets = Vec::new();
    while let Some(packet) = trace.next() {
        let packet = packet.map_err(|error| Failure::input(bad(path, error)))?;
        let name = trace.users().get(packet.user as usize).map(String::as_str);
        if user.is_some() && user != name {
            continue;
        }
        if packets.len() == Recording::MAX_PACKETS {
            let error = trace.too_many_packets(Recording::MAX_PACKETS);
            return Err(Failure::input(bad(path, error)));
        }
        packets.push((packet.at.as_nanos(), packet.size.get()));
    }
    note_skipped(&trace);
    if let (Some(user), true) = (user, packets.is_empty()) {
        let users: Vec<&str> = trace.users().iter().map(String::as_str).collect();
        return Err(Failure::input(no_such_user(path, user, &users)));
    }
    Ok(packets)
}

/// What is wrong with a trace as a whole, with the remedy after a semicolon.
pub(super) fn unsuitable(path: &Path, why: &str) -> BadTrace {
    let (message, help) = split_remedy(why);
    BadTrace {
        path: path.to_owned(),
        message: message.to_owned(),
        help: help.unwrap_or("record more of it").to_owned(),
        source: None,
    }
}

fn no_such_user(path: &Path, user: &str, users: &[&str]) -> BadTrace {
    const SHOWN: usize = 8;
    let more = if users.len() > SHOWN { ", ..." } else { "" };
    let users = users[..users.len().min(SHOWN)].join(", ");
    BadTrace {
        path: path.to_owned(),
        message: format!("the trace has no user called {user:?}"),
        help: format!("it has {users}{more}"),
        source: None,
    }
}

/// Says on standard error how much of a capture was left out.
pub(super) fn note_skipped(trace: &TraceReader<File>) {
    let skipped = trace.skipped().unwrap_or(0);
    if skipped > 0 {
        note(&format!(
            "{} without IP left out",
            counted(skipped, "frame")
        ));
    }
}

fn unreadable(path: &Path, source: io::Error) -> BadTrace {
    BadTrace {
        path: path.to_owned(),
        message: "cannot read this trace".to_owned(),
        help: "`weirgate traffic` writes a trace of a scenario".to_owned(),
        source: Some(source),
    }
}
