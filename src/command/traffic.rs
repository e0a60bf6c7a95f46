//! `weirgate traffic`: writes the traffic that a scenario offers, or a capture, as a trace.

mod picture;

use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

use miette::Diagnostic;
use traffic::trace::WriteError;
use traffic::{Packet, TraceWriter};

use super::picture as pictures;
use super::trace_file::{self, open};
use super::{Failure, Outcome, counted, note, print};
use crate::cli::TrafficArgs;
use crate::driver::Stop;
use crate::interrupt;
use crate::output::OutputFile;
use crate::scenario::{Overrides, Scenario};

/// A scenario without a schedule of its own.
#[derive(Debug, thiserror::Error, Diagnostic)]
#[error(
    "`{kind}` traffic of the user `{user}` has no schedule: it sends as much as the limiter lets through"
)]
#[diagnostic(help(
    "`weirgate traffic` writes open-loop traffic; give the user a pattern with a rate"
))]
struct NoSchedule {
    kind: &'static str,
    user: String,
}

pub(super) fn run(args: &TrafficArgs) -> Result<Outcome, Failure> {
    pictures::check(args.picture.as_deref(), &[&args.out, &args.file])?;
    if is_capture(&args.file) {
        return convert(args);
    }
    let scenario = Scenario::load(&args.file, &Overrides::default()).map_err(Failure::input)?;
    if let Some(user) = scenario.users.iter().find(|u| u.pattern.is_blocking_only()) {
        return Err(Failure::input(NoSchedule {
            kind: user.pattern.kind(),
            user: user.name.clone(),
        }));
    }
    let Some(written) = write(&scenario, &args.out, &interrupt::watch())? else {
        note("interrupted: the trace was not written");
        return Ok(Outcome::Interrupted);
    };
    if let Some(to) = &args.picture {
        let names: Vec<&str> = scenario
            .users
            .iter()
            .map(|user| user.name.as_str())
            .collect();
        let name = format!("{}, seed {}", scenario.name, scenario.seed);
        let drawing = picture::drawing(&name, &names, &written, scenario.offered(0));
        pictures::draw(&drawing, to)?;
    }
    print(&format!(
        "{}: {}, {} in {} (repetition 0, seed {})\n",
        args.out.display(),
        counted(written.packets, "packet"),
        counted(written.bytes, "byte"),
        scenario.duration,
        scenario.seed,
    ))?;
    Ok(Outcome::Done)
}

/// What a trace holds.
#[derive(Default)]
struct Written {
    packets: u64,
    bytes: u64,
    /// Nanoseconds of the first and of the last packet.
    ends: Option<(u64, u64)>,
}

impl Written {
    fn add(&mut self, packet: &Packet) {
        let at = packet.at.as_nanos();
        self.packets += 1;
        self.bytes += packet.size.get();
        self.ends = Some((self.ends.map_or(at, |(first, _)| first), at));
    }

    /// Nanoseconds from the first packet to the last.
    fn span(&self) -> u64 {
        self.ends
            .map_or(0, |(first, last)| last.saturating_sub(first))
    }
}

/// How many packets pass between two looks at the stop flag.
const STOP_EVERY: u64 = 1 << 16;

/// `None` if it was stopped: half a trace would pass for a whole one.
fn write(scenario: &Scenario, out: &Path, stop: &Stop) -> Result<Option<Written>, Failure> {
    let file = OutputFile::create(out)?;
    let failed = |why: WriteError| Failure::from(OutputFile::failed(out, io_error(why)));
    let names = scenario.users.iter().map(|user| &user.name);
    let mut trace = TraceWriter::new(file, names).map_err(failed)?;
    let mut written = Written::default();
    for packet in scenario.offered(0) {
        trace.write(&packet).map_err(failed)?;
        written.add(&packet);
        if written.packets.is_multiple_of(STOP_EVERY) && stop.requested() {
            return Ok(None);
        }
    }
    let file = trace.finish().map_err(|why| OutputFile::failed(out, why))?;
    file.finish()?;
    Ok(Some(written))
}

/// Whether to read `path` as a capture; what cannot be read is left to what reads scenarios.
fn is_capture(path: &Path) -> bool {
    let mut start = Vec::new();
    let read = File::open(path).and_then(|file| file.take(4).read_to_end(&mut start));
    read.is_ok() && traffic::trace::is_capture(&start)
}

/// Reads the capture twice: the hosts come first in a trace's writer.
fn convert(args: &TrafficArgs) -> Result<Outcome, Failure> {
    let bad = |error| Failure::input(trace_file::bad(&args.file, error));
    let stop = interrupt::watch();
    let interrupted = || {
        note("interrupted: the trace was not written");
        Ok(Outcome::Interrupted)
    };
    let mut first = open(&args.file)?;
    for packet in first.by_ref() {
        packet.map_err(bad)?;
        if stop.requested() {
            return interrupted();
        }
    }
    let failed = |why: WriteError| Failure::from(OutputFile::failed(&args.out, io_error(why)));
    let file = OutputFile::create(&args.out)?;
    let mut trace = TraceWriter::new(file, first.users()).map_err(failed)?;
    let mut written = Written::default();
    for packet in open(&args.file)? {
        let packet = packet.map_err(bad)?;
        trace.write(&packet).map_err(failed)?;
        written.add(&packet);
        if stop.requested() {
            return interrupted();
        }
    }
    let file = trace
        .finish()
        .map_err(|why| OutputFile::failed(&args.out, why))?;
    file.finish()?;
    trace_file::note_skipped(&first);
    if let Some(to) = &args.picture {
        let name = args.file.file_name().unwrap_or_default().to_string_lossy();
        let names: Vec<&str> = first.users().iter().map(String::as_str).collect();
        let packets = open(&args.file)?.map_while(Result::ok);
        pictures::draw(&picture::drawing(&name, &names, &written, packets), to)?;
    }
    print(&format!(
        "{}: {}, {} of {}\n",
        args.out.display(),
        counted(written.packets, "packet"),
        counted(written.bytes, "byte"),
        counted(first.users().len() as u64, "host"),
    ))?;
    Ok(Outcome::Done)
}

fn io_error(error: WriteError) -> io::Error {
    match error {
        WriteError::Write(source) => source,
        other => io::Error::other(other),
    }
}
