//! The command line.

use std::error::Error;
use std::fmt;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::str::FromStr;

use clap::{Args, Parser, Subcommand};
use ipnet::IpNet;
use proxy::config::file::{File, LogTable};
use proxy::{Config, Database, Server};

mod logging;
mod user;

use logging::LogArgs;

const EXIT_CODES: &str = "\
Exit codes:
  0  done; for `run`: stopped as asked by SIGINT or SIGTERM
  1  the environment is at fault: a port is taken, the database does not open
  2  the request is at fault: usage, config file, unknown user, impossible limit";

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
    /// Serve SOCKS5, HTTP and both dialects of the seeds, recognised by their first bytes.
    Run(Run),
    /// Add, list and change users; a running server follows.
    #[command(subcommand)]
    User(user::Command),
    /// Show and change the rules for everybody.
    #[command(subcommand)]
    Rules(user::RulesCommand),
}

#[derive(Args)]
struct Run {
    /// Read this TOML file; flags go before it.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Listen here, port 0 for any free port [default: 127.0.0.1:1080].
    #[arg(long, value_name = "ADDR")]
    listen: Vec<SocketAddr>,
    #[command(flatten)]
    database: DatabaseArg,
    /// Let users reach this network although it is loopback, private, link-local or otherwise special.
    #[arg(long, value_name = "CIDR")]
    allow_egress: Vec<IpNet>,
}

#[derive(Args)]
struct DatabaseArg {
    /// Where the users are: a SQLite file or sqlite:///absolute/path
    /// [default: $WEIRGATE_DATABASE, or weirgate.db in the state directory].
    #[arg(long, value_name = "URL", global = true)]
    database: Option<Database>,
}

/// What went wrong and whose fault it is.
enum Failure {
    /// Exit code 1.
    Environment(Box<dyn Error>),
    /// Exit code 2.
    Request(Box<dyn Error>),
}

/// Parses, runs, prints one error.
pub(crate) fn main() -> ExitCode {
    let cli = Cli::parse();
    match tokio::runtime::Runtime::new() {
        Err(error) => Failure::environment(error).exit(),
        Ok(runtime) => match runtime.block_on(command(cli)) {
            Ok(()) => ExitCode::SUCCESS,
            Err(failure) => failure.exit(),
        },
    }
}

async fn command(cli: Cli) -> Result<(), Failure> {
    if !matches!(cli.command, Command::Run(_)) {
        cli.log.start(LogTable::default());
    }
    match cli.command {
        Command::Run(run) => serve(run, cli.log).await,
        Command::User(command) => user::run(command).await,
        Command::Rules(command) => user::run_rules(command).await,
    }
}

async fn serve(run: Run, log: LogArgs) -> Result<(), Failure> {
    let file = run
        .config
        .as_deref()
        .map(File::read)
        .transpose()
        .map_err(Failure::request)?;
    let file = file.unwrap_or_default();
    log.start(file.log());
    let database = run.database.resolve(file.database())?;
    let mut config = Config::new(database.clone());
    file.apply(&mut config);
    config.database = database;
    if !run.listen.is_empty() {
        config.listen = run.listen;
    }
    config.allow_egress.extend(run.allow_egress);
    let server = Server::bind(config).await.map_err(Failure::environment)?;
    let stop = Stop::new().map_err(Failure::environment)?;
    let mut out = io::stdout();
    for address in server.addrs() {
        writeln!(out, "listening {address}").map_err(Failure::environment)?;
    }
    out.flush().map_err(Failure::environment)?;
    server.run(stop.asked()).await.map_err(Failure::environment)
}

impl DatabaseArg {
    /// Flag over environment over file over default.
    fn resolve(self, file: Option<Database>) -> Result<Database, Failure> {
        if let Some(database) = self.database {
            return Ok(database);
        }
        if let Some(url) = std::env::var_os("WEIRGATE_DATABASE") {
            return Database::from_str(&url.to_string_lossy()).map_err(Failure::request);
        }
        Ok(file.unwrap_or_else(|| Database::file(state_directory().join("weirgate.db"))))
    }
}

/// Where a program keeps what it must not lose: as systemd says, as the user's
/// environment says, or in their home.
fn state_directory() -> PathBuf {
    let variable = |name| {
        std::env::var_os(name)
            .filter(|value| !value.is_empty())
            .map(PathBuf::from)
    };
    variable("STATE_DIRECTORY")
        .or_else(|| variable("XDG_STATE_HOME").map(|state| state.join("weirgate")))
        .or_else(|| variable("HOME").map(|home| home.join(".local/state/weirgate")))
        .unwrap_or_else(|| PathBuf::from("/var/lib/weirgate"))
}

/// SIGINT and SIGTERM; caught from the moment this exists.
struct Stop {
    #[cfg(unix)]
    terminate: tokio::signal::unix::Signal,
    #[cfg(unix)]
    interrupt: tokio::signal::unix::Signal,
}

impl Stop {
    #[cfg(unix)]
    fn new() -> io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    #[cfg(unix)]
    async fn asked(mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
        // A second signal does not wait for open connections.
        tokio::spawn(async move {
            tokio::select! {
                _ = self.terminate.recv() => {}
                _ = self.interrupt.recv() => {}
            }
            std::process::exit(1);
        });
    }

    #[cfg(not(unix))]
    fn new() -> io::Result<Self> {
        Ok(Self {})
    }

    #[cfg(not(unix))]
    async fn asked(self) {
        let _ = tokio::signal::ctrl_c().await;
    }
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
        let (error, code) = match self {
            Self::Environment(error) => (error, 1),
            Self::Request(error) => (error, 2),
        };
        // Nobody is left to tell if stderr is gone.
        let _ = writeln!(io::stderr(), "error: {}", Chain(&*error));
        ExitCode::from(code)
    }
}

struct Chain<'a>(&'a dyn Error);

impl fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut said = self.0.to_string();
        f.write_str(&said)?;
        let mut next = self.0.source();
        while let Some(error) = next {
            let cause = error.to_string();
            // Some messages hold their cause already.
            if !said.contains(&cause) {
                write!(f, ": {cause}")?;
            }
            said = cause;
            next = error.source();
        }
        Ok(())
    }
}
