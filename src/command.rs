//! The commands: each reads its arguments, calls the part that does the work,
//! prints the result, and says how it went.

mod check;
mod compare;
mod fit;
mod merge;
mod picture;
mod probe;
mod replay;
mod report;
mod rfc7640;
mod scenario;
mod sweep;
mod trace_file;
mod traffic;
mod tune;

use std::io::{self, IsTerminal as _, Write as _};
use std::process::ExitCode;

use miette::{Diagnostic, MietteHandlerOpts, Report};

use crate::cli::{Cli, Command};
use crate::output::OutputError;

/// How a command ended that did what it should.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// All is well.
    Done,
    /// A claim written in a scenario did not hold, or a bound was exceeded.
    ClaimBroken,
    /// A run is worse than the one it was compared with.
    Regression,
    /// Ctrl-C; what was measured so far has been written.
    Interrupted,
}

impl From<Outcome> for ExitCode {
    fn from(outcome: Outcome) -> Self {
        Self::from(match outcome {
            Outcome::Done => 0,
            Outcome::ClaimBroken => 3,
            Outcome::Regression => 5,
            Outcome::Interrupted => 130,
        })
    }
}

/// Why a command could not do what it should.
#[derive(Debug)]
pub enum Failure {
    /// The usage, a scenario or a trace is wrong: the author can mend it.
    Input(Vec<Report>),
    /// The program or its environment failed.
    Environment(Report),
}

impl Failure {
    /// A mistake in what was given.
    pub fn input(error: impl Diagnostic + Send + Sync + 'static) -> Self {
        Self::Input(vec![Report::new(error)])
    }

    /// A failure of the environment.
    pub fn environment(error: impl Diagnostic + Send + Sync + 'static) -> Self {
        Self::Environment(Report::new(error))
    }

    /// Prints every mistake once, to standard error.
    pub fn print(&self) {
        let reports = match self {
            Self::Input(reports) => reports.as_slice(),
            Self::Environment(report) => std::slice::from_ref(report),
        };
        let mut err = io::stderr().lock();
        for report in reports {
            // If even standard error is closed, the exit code is all that is left.
            let _ = writeln!(err, "{report:?}");
        }
    }
}

impl From<Failure> for ExitCode {
    fn from(failure: Failure) -> Self {
        Self::from(match failure {
            Failure::Input(_) => 2,
            Failure::Environment(_) => 1,
        })
    }
}

impl From<OutputError> for Failure {
    fn from(error: OutputError) -> Self {
        Self::environment(error)
    }
}

/// Standard output could not be written.
#[derive(Debug, thiserror::Error, Diagnostic)]
#[error("cannot write to standard output")]
pub struct StdoutError(#[from] io::Error);

/// Does what the command line says.
///
/// # Errors
/// [`Failure::Input`] for what the caller can mend, [`Failure::Environment`] for the rest.
pub fn run(cli: Cli) -> Result<Outcome, Failure> {
    match cli.command {
        Command::Scenario(args) => scenario::run(&args),
        Command::Check(args) => check::run(&args),
        Command::Traffic(args) => traffic::run(&args),
        Command::Replay(args) => replay::run(&args),
        Command::Rfc7640(args) => rfc7640::run(&args),
        Command::Fit(args) => fit::run(&args),
        Command::Probe(args) => probe::run(&args),
        Command::Report(args) => report::run(&args),
        Command::Compare(args) => compare::run(&args),
        Command::Sweep(args) => sweep::run(&args),
        Command::Merge(args) => merge::run(&args),
        Command::Tune(args) => tune::run(&args),
    }
}

/// Chooses how errors are drawn: with colours and the terminal's width on a
/// terminal, plain and of a fixed width in a file or a pipe.
pub fn setup_messages() {
    let terminal = io::stderr().is_terminal();
    let installed = miette::set_hook(Box::new(move |_| {
        let options = MietteHandlerOpts::new()
            .terminal_links(false)
            .context_lines(1);
        let options = if terminal {
            options
        } else {
            options.color(false).unicode(true).width(100)
        };
        Box::new(options.build())
    }));
    // Only the first hook counts; a second call changes nothing.
    drop(installed);
}

/// Writes `text` to standard output. That nobody reads it any more (`| head`) is no failure.
fn print(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Failure::environment(StdoutError(error)))
        }
        _ => Ok(()),
    }
}

/// Writes a line for people to standard error.
fn note(line: &str) {
    // If even standard error is closed, nobody listens.
    let _ = writeln!(io::stderr(), "{line}");
}

/// "1 packet", "2 packets".
fn counted(n: u64, what: &str) -> String {
    if n == 1 {
        format!("1 {what}")
    } else {
        format!("{n} {what}s")
    }
}
