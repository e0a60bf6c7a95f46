//! The command line.

#[cfg(feature = "bpf")]
mod clients;
#[cfg(feature = "bpf")]
mod control;
#[cfg(feature = "bpf")]
mod message;
#[cfg(feature = "bpf")]
mod run;
#[cfg(feature = "bpf")]
mod show;
#[cfg(feature = "bpf")]
mod watchers;

use std::error::Error;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use kernel::config::{self, ConfigError, Loaded};
#[cfg(feature = "bpf")]
use kernel::engine::EngineError;

const EXIT_CODES: &str = "\
Exit codes:
  0  done; for `run`: stopped as asked by SIGINT, SIGTERM or `clear`
  1  the environment is at fault: a capability, a kernel feature, nothing is running
  2  the request is at fault: usage, configuration, a rule that names what is not there";

/// Limits and watches traffic in the Linux kernel.
#[derive(Parser)]
#[command(name = "weirgate-kernel", version, after_help = EXIT_CODES)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Read a configuration (TOML, or wirefisher's config.yaml) and say what it means.
    Check(File),
    /// Make the rules hold until SIGINT, SIGTERM or `clear`; a changed file is taken over within a second.
    Run(Run),
    /// Show the rates of the running rules, every second.
    Watch(Watch),
    /// Show the running rules, what they have counted, and where programs are attached.
    List(List),
    /// End the running rules, and clean up what a killed `run` left behind.
    Clear(Control),
}

#[derive(Args)]
struct File {
    /// The configuration: wirefisher's if it ends in .yaml or .yml, else TOML.
    file: PathBuf,
}

#[derive(Args)]
struct Run {
    #[command(flatten)]
    file: File,
    #[command(flatten)]
    control: Control,
}

#[derive(Args)]
struct Watch {
    /// One JSON object a line instead of a table.
    #[arg(long)]
    json: bool,
    /// Flows one by one, too.
    #[arg(long)]
    flows: bool,
    /// End after so many seconds.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    seconds: Option<u64>,
    #[command(flatten)]
    control: Control,
}

#[derive(Args)]
struct List {
    /// JSON instead of text.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    control: Control,
}

#[derive(Args)]
struct Control {
    /// Socket through which `watch`, `list` and `clear` find `run`.
    #[arg(
        long = "control",
        value_name = "PATH",
        default_value = "/run/weirgate-kernel.sock"
    )]
    path: PathBuf,
}

/// What went wrong and whose fault it is.
#[derive(Debug)]
enum Failure {
    /// Exit code 1.
    Environment(Box<dyn Error>),
    /// Exit code 2.
    Request(Box<dyn Error>),
}

/// Parses, runs, prints one error.
pub(crate) fn main() -> ExitCode {
    match command(Cli::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.exit(),
    }
}

fn command(command: Command) -> Result<(), Failure> {
    match command {
        Command::Check(File { file }) => check(&file),
        #[cfg(feature = "bpf")]
        Command::Run(Run { file, control }) => run::run(&file.file, &control.path),
        #[cfg(feature = "bpf")]
        Command::Watch(watch) => clients::watch(&watch),
        #[cfg(feature = "bpf")]
        Command::List(list) => clients::list(&list),
        #[cfg(feature = "bpf")]
        Command::Clear(control) => clients::clear(&control.path),
        #[cfg(not(feature = "bpf"))]
        Command::Run(_) | Command::Watch(_) | Command::List(_) | Command::Clear(_) => {
            Err(Failure::Environment(Box::from(WITHOUT_BPF)))
        }
    }
}

#[cfg(not(feature = "bpf"))]
const WITHOUT_BPF: &str = "this weirgate-kernel was built without its part in the kernel: build it \
    with `cargo build -p weirgate-kernel --features bpf`, which needs clang, libelf-dev, zlib1g-dev \
    and pkg-config";

fn load(file: &Path) -> Result<Loaded, Failure> {
    let loaded = config::load(file).map_err(Failure::request)?;
    for warning in &loaded.warnings {
        say_to_stderr(&format!("warning: {warning}"));
    }
    Ok(loaded)
}

fn check(file: &Path) -> Result<(), Failure> {
    let loaded = load(file)?;
    let mut text = String::new();
    for rule in &loaded.rules.rules {
        text.push_str(&format!("{rule}\n"));
    }
    let count = loaded.rules.rules.len();
    let plural = if count == 1 { "rule" } else { "rules" };
    say(&format!("{text}{count} {plural}: OK")).map(drop)
}

/// One text to stdout; whether anybody reads there. A reader that is gone is no fault of ours.
fn say(text: &str) -> Result<bool, Failure> {
    match writeln!(std::io::stdout().lock(), "{text}") {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(Failure::environment(error)),
    }
}

fn say_to_stderr(text: &str) {
    // If stderr is gone, there is nobody to tell.
    let _ = writeln!(std::io::stderr().lock(), "{text}");
}

#[cfg(feature = "bpf")]
impl From<EngineError> for Failure {
    /// Whose fault it is that the rules cannot hold.
    fn from(error: EngineError) -> Self {
        match error {
            EngineError::Rule { .. } | EngineError::TooMany(_) => Self::Request(Box::new(error)),
            _ => Self::environment(error),
        }
    }
}

impl Failure {
    fn environment(error: impl Error + 'static) -> Self {
        Self::Environment(Box::new(error))
    }

    fn request(error: ConfigError) -> Self {
        Self::Request(Box::new(error))
    }

    fn exit(self) -> ExitCode {
        let (error, code) = match &self {
            Self::Environment(error) => (error, 1),
            Self::Request(error) => (error, 2),
        };
        let mut text = format!("error: {error}");
        let mut cause = error.source();
        while let Some(error) = cause {
            text.push_str(&format!(": {error}"));
            cause = error.source();
        }
        say_to_stderr(&text);
        ExitCode::from(code)
    }
}
