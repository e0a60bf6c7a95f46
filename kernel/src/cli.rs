//! The command line.

use std::error::Error;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use kernel::config::{self, ConfigError, Loaded};

const EXIT_CODES: &str = "\
Exit codes:
  0  done
  1  the environment is at fault
  2  the request is at fault: usage, configuration, a rule that names what is not there";

/// Limits and watches traffic in the kernel.
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
}

#[derive(Args)]
struct File {
    /// The configuration; *.yaml and *.yml are wirefisher's, others TOML.
    file: PathBuf,
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
    }
}

fn load(file: &Path) -> Result<Loaded, Failure> {
    let loaded = config::load(file).map_err(|error| match error {
        ConfigError::Read { .. } => Failure::Request(Box::new(error)),
        ConfigError::Mistakes(mistakes) => Failure::Request(Box::new(mistakes)),
    })?;
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
    say(&format!("{text}{count} {plural}: OK"))
}

/// One text to stdout; a reader that is gone is no fault of ours.
fn say(text: &str) -> Result<(), Failure> {
    let written = writeln!(std::io::stdout().lock(), "{text}");
    match written {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(Failure::Environment(Box::new(error)))
        }
        _ => Ok(()),
    }
}

fn say_to_stderr(text: &str) {
    // If stderr is gone, there is nobody to tell.
    let _ = writeln!(std::io::stderr().lock(), "{text}");
}

impl Failure {
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
