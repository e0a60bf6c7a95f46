//! The command line.

use std::error::Error;
use std::fmt;
use std::io::{self, Write};
use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};
use proxy::causes::chain;
use proxy::config::file::{FileError, LogTable};
use proxy::pages::Pages;

mod check;
#[cfg(feature = "admin")]
mod health;
#[cfg_attr(
    not(feature = "https-service"),
    allow(dead_code, reason = "a server is told that it was built without")
)]
mod https_service;
mod init;
mod logging;
#[cfg(feature = "otlp")]
mod otlp;
mod run;
#[cfg(feature = "sentry")]
mod sentry;
mod settings;
#[cfg(feature = "shadowsocks")]
mod shadowsocks;
mod systemd;
#[cfg(feature = "top")]
mod top;
mod user;

use logging::LogArgs;
use settings::DatabaseArg;

const EXIT_CODES: &str = "\
Exit codes:
  0  done; for `run`: stopped as asked by SIGINT or SIGTERM
  1  the environment is at fault: a port is taken, the database does not open
  2  the request is at fault: usage, config file, unknown user, impossible limit
  3  for `health`: nobody answers";

/// A proxy that holds one exact bandwidth budget per user over all of that user's connections.
#[derive(Parser)]
#[command(name = "weirgate-proxy", version, after_help = EXIT_CODES)]
struct Cli {
    #[command(flatten)]
    log: LogArgs,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Serve every protocol on every listener; SIGHUP and SIGUSR1 read the config again.
    Run(run::Run),
    /// Serve HTTPS requests of clients that speak seed 003's frames or HTTP, behind a queue and workers.
    #[cfg(feature = "https-service")]
    HttpsService(https_service::HttpsService),
    /// Write a commented config, and make the first user.
    Init(init::Init),
    /// Say what is wrong with a config, or what it comes to.
    CheckConfig(check::Check),
    /// Say whether a server lives, and can serve: for probes.
    #[cfg(feature = "admin")]
    Health(health::Health),
    /// Add, list and change users; a running server follows.
    #[command(subcommand)]
    User(user::Command),
    /// Show and change the rules for everybody.
    #[command(subcommand)]
    Rules(user::RulesCommand),
    /// Show in a terminal who moves how much now; change a limit, end sessions.
    #[cfg(feature = "top")]
    Top(top::Top),
    #[command(flatten)]
    Pages(Pages),
}

/// What went wrong and whose fault it is.
enum Failure {
    /// Exit code 1.
    Environment(Box<dyn Error>),
    /// Exit code 2.
    Request(Box<dyn Error>),
    /// Exit code 3.
    #[cfg(feature = "admin")]
    Absent(Box<dyn Error>),
}

/// Parses, runs, prints one error.
pub(crate) fn main() -> ExitCode {
    match parsed(Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.exit(),
    }
}

fn parsed(cli: Cli) -> Result<(), Failure> {
    let serves = match cli.command {
        Command::Run(_) => true,
        #[cfg(feature = "https-service")]
        Command::HttpsService(_) => true,
        _ => false,
    };
    let inherited = if serves {
        // Before there are threads.
        systemd::inherited().map_err(Failure::environment)?
    } else {
        cli.log.start(LogTable::default(), None)?;
        Vec::new()
    };
    let runtime = tokio::runtime::Runtime::new().map_err(Failure::environment)?;
    runtime.block_on(async {
        match cli.command {
            Command::Run(run) => run.run(cli.log, inherited).await,
            #[cfg(feature = "https-service")]
            Command::HttpsService(service) => service.run(cli.log, inherited).await,
            Command::Init(init) => init.run().await,
            Command::CheckConfig(check) => check.run(cli.log).await,
            #[cfg(feature = "admin")]
            Command::Health(health) => health.run().await,
            Command::User(command) => user::run(command).await,
            Command::Rules(command) => user::run_rules(command).await,
            #[cfg(feature = "top")]
            Command::Top(top) => top.run().await,
            Command::Pages(pages) => pages.write(Cli::command()).map_err(Failure::environment),
        }
    })
}

impl Failure {
    fn environment(error: impl Into<Box<dyn Error>>) -> Self {
        Self::Environment(error.into())
    }

    fn request(error: impl Into<Box<dyn Error>>) -> Self {
        Self::Request(error.into())
    }

    /// Prints the error and what caused it, once.
    fn exit(self) -> ExitCode {
        // Nobody is left to tell if stderr is gone.
        let _ = writeln!(io::stderr(), "error: {self}");
        ExitCode::from(match self {
            Self::Environment(_) => 1,
            Self::Request(_) => 2,
            #[cfg(feature = "admin")]
            Self::Absent(_) => 3,
        })
    }

    fn error(&self) -> &(dyn Error + 'static) {
        match self {
            Self::Environment(error) | Self::Request(error) => &**error,
            #[cfg(feature = "admin")]
            Self::Absent(error) => &**error,
        }
    }

    /// The mistake in a config file, if it is one.
    fn file_error(&self) -> Option<&FileError> {
        self.error().downcast_ref()
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&chain(self.error()))
    }
}

/// One line to stdout.
#[cfg(feature = "admin")]
fn say(line: &str) -> Result<(), Failure> {
    writeln!(io::stdout(), "{line}").map_err(Failure::environment)
}
