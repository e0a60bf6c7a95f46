//! `events.csv`: what became of each packet (SPEC, "Files of a run").

use std::io::Write as _;
use std::path::{Path, PathBuf};

use flow::{DropReason, Verdict};
use traffic::Packet;

use crate::output::{OutputError, OutputFile};

/// The file under construction.
pub(super) struct Events {
    path: PathBuf,
    file: OutputFile,
    next: u64,
}

impl Events {
    /// Begins the file `path` with its header.
    pub(super) fn create(path: &Path) -> Result<Self, OutputError> {
        let mut events = Self {
            path: path.to_owned(),
            file: OutputFile::create(path)?,
            next: 0,
        };
        events.line(format_args!("i,t_ns,size,user,dep_ns,why"))?;
        Ok(events)
    }

    /// Adds a packet of one of `users`.
    pub(super) fn write(
        &mut self,
        packet: &Packet,
        users: &[String],
        verdict: Verdict,
    ) -> Result<(), OutputError> {
        let (i, at, size) = (self.next, packet.at.as_nanos(), packet.size.get());
        let user = Cell(users.get(packet.user as usize).map_or("", String::as_str));
        self.next += 1;
        match verdict {
            Verdict::Departs(departure) => {
                let departure = departure.as_nanos();
                self.line(format_args!("{i},{at},{size},{user},{departure},"))
            }
            Verdict::Drop(why) => {
                let why = word(why);
                self.line(format_args!("{i},{at},{size},{user},,{why}"))
            }
        }
    }

    /// Puts the file in its place.
    pub(super) fn finish(self) -> Result<(), OutputError> {
        self.file.finish()
    }

    fn line(&mut self, line: std::fmt::Arguments<'_>) -> Result<(), OutputError> {
        writeln!(self.file, "{line}").map_err(|why| OutputFile::failed(&self.path, why))
    }
}

const fn word(why: DropReason) -> &'static str {
    match why {
        DropReason::Police => "police",
        DropReason::Queue => "queue",
        DropReason::Oversize => "oversize",
    }
}

/// A CSV cell, quoted where it must be.
struct Cell<'a>(&'a str);

impl std::fmt::Display for Cell<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.0.contains([',', '"']) {
            write!(f, "\"{}\"", self.0.replace('"', "\"\""))
        } else {
            f.write_str(self.0)
        }
    }
}
