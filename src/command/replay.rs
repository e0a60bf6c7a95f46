//! `weirgate replay`: one algorithm over a recorded trace, a packet at a time.

mod events;
mod limit;
mod picture;
mod tally;
mod text;

use std::fs::File;

use flow::{Limiter, Policer, Shaper};
use miette::Diagnostic;
use traffic::{TraceError, TraceReader};

use self::events::Events;
use self::limit::{Apply, Each};
use self::picture::Sketch;
use self::tally::Tally;
use super::picture as pictures;
use super::{Failure, Outcome, note, print, trace_file};
use crate::cli::{ReplayArgs, ReplayMode};
use crate::driver::Stop;
use crate::interrupt;
use crate::output::OutputError;

/// What the command line asks for and no algorithm can do.
#[derive(Debug, thiserror::Error, Diagnostic)]
enum BadUsage {
    #[error("`{0}` cannot be applied with --mode shape")]
    #[diagnostic(help("it can only police: write --mode police"))]
    PolicesOnly(&'static str),
    #[error("--queue is the queue of a shaper, and --mode police has none")]
    #[diagnostic(help("leave --queue out, or write --mode shape"))]
    QueueOfPolicer,
}

/// Why a replay ended early.
enum Broken {
    Trace(TraceError),
    Output(OutputError),
}

pub(super) fn run(args: &ReplayArgs) -> Result<Outcome, Failure> {
    check(args).map_err(Failure::input)?;
    let mut others = vec![args.trace.as_path()];
    others.extend(args.events.as_deref());
    pictures::check(args.picture.as_deref(), &others)?;
    let trace = trace_file::open(&args.trace)?;
    // Before there is a file that an interruption could leave behind.
    let stop = interrupt::watch();
    let events = args.events.as_deref().map(Events::create).transpose()?;
    let mut sketch = args.picture.as_ref().map(|_| Sketch::default());
    let replay = Replay {
        args,
        trace,
        events,
        sketch: sketch.as_mut(),
        stop: &stop,
    };
    let tally = args.limiter.visit(replay).map_err(|broken| match broken {
        Broken::Trace(error) => Failure::input(trace_file::bad(&args.trace, error)),
        Broken::Output(error) => error.into(),
    })?;
    let report = tally.report();
    if let (Some(sketch), Some(to)) = (&sketch, &args.picture) {
        pictures::draw(&sketch.drawing(args), to)?;
    }
    if args.json {
        print(&report.json()?)?;
    } else {
        print(&report.text(args))?;
    }
    if stop.requested() {
        note("interrupted: the figures are those of the packets until then");
        return Ok(Outcome::Interrupted);
    }
    Ok(Outcome::Done)
}

fn check(args: &ReplayArgs) -> Result<(), BadUsage> {
    match args.mode {
        ReplayMode::Shape if !args.limiter.modes().shape => {
            Err(BadUsage::PolicesOnly(args.limiter.kind()))
        }
        ReplayMode::Police if args.queue.is_some() => Err(BadUsage::QueueOfPolicer),
        _ => Ok(()),
    }
}

/// Everything that a replay needs but the limiter.
struct Replay<'a> {
    args: &'a ReplayArgs,
    trace: TraceReader<File>,
    events: Option<Events>,
    sketch: Option<&'a mut Sketch>,
    stop: &'a Stop,
}

/// How many packets pass between two looks at the stop flag.
const STOP_EVERY: u64 = 1 << 16;

impl flow::policy::Visitor for Replay<'_> {
    type Out = Result<Tally, Broken>;

    fn visit<L: Limiter + Clone + Send + 'static>(self, limiter: L) -> Self::Out {
        match self.args.mode {
            ReplayMode::Police => self.each(Policer::new(limiter)),
            ReplayMode::Shape => {
                let queue = self.args.limiter.queue().or(self.args.queue);
                self.each(Shaper::new(limiter, queue))
            }
        }
    }
}

impl Replay<'_> {
    fn each<A: Apply + Clone>(mut self, limiter: A) -> Result<Tally, Broken> {
        let mut limiters = Each::new(limiter, self.args.per_user);
        let mut tally = Tally::new(&self.args.limiter, self.args.per_user);
        let mut since_look = 0;
        while let Some(packet) = self.trace.next() {
            since_look += 1;
            if since_look == STOP_EVERY {
                since_look = 0;
                if self.stop.requested() {
                    break;
                }
            }
            let packet = packet.map_err(Broken::Trace)?;
            let verdict = limiters.of(packet.user).offer(packet.at, packet.size);
            tally.add(&packet, verdict);
            if let Some(sketch) = &mut self.sketch {
                sketch.add(&packet, verdict);
            }
            if let Some(events) = &mut self.events {
                events
                    .write(&packet, self.trace.users(), verdict)
                    .map_err(Broken::Output)?;
            }
        }
        if let Some(events) = self.events {
            events.finish().map_err(Broken::Output)?;
        }
        trace_file::note_skipped(&self.trace);
        tally.name(self.trace.users());
        Ok(tally)
    }
}
