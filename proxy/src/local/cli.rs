//! The command line.

use std::io::{self, IsTerminal, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, CommandFactory, Parser, Subcommand};
use proxy::pages::Pages;
use proxy::protocol::Dialect;
use tokio::net::TcpListener;

use crate::account::{Account, Server};
use crate::door;
use crate::failure::Failure;
#[cfg(feature = "https-service")]
use crate::fetch;
use crate::remote::Remote;
use crate::secret::{self, PasswordArg};
use crate::speech::Speech;

const EXIT_CODES: &str = "\
The password comes from --password-file, else from $WEIRGATE_PASSWORD, else from what `login
--save-password` kept, else from a prompt. It is never an argument: everybody could read that.

Exit codes:
  0  done; for `run`: stopped as asked by SIGINT or SIGTERM
  1  the environment is at fault: the server is not reached, the port is taken
  2  the request is at fault: usage, a taken name, a wrong password
  4  `fetch`: the answer's status is 400 to 499
  5  `fetch`: the answer's status is 500 or more";

/// Gives applications one local port and speaks with weirgate-proxy for them.
#[derive(Parser)]
#[command(name = "weirgate-local", version, after_help = EXIT_CODES)]
struct Cli {
    /// The file that `login` writes and `run` reads
    /// [default: weirgate/local.toml in the config directory].
    #[arg(long, value_name = "FILE", global = true)]
    account: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Make an account where the server lets anybody do so.
    Register(Identity),
    /// Check name and password, and remember server and name.
    Login(Login),
    /// Serve SOCKS5 and HTTP (CONNECT and http:// URLs) to applications.
    Run(Run),
    /// Fetch one URL through an HTTPS service, and print status, fields and the first 500 characters.
    #[cfg(feature = "https-service")]
    Fetch(fetch::Fetch),
    #[command(flatten)]
    Pages(Pages),
}

#[derive(Args)]
struct Identity {
    /// The user's name.
    name: String,
    /// The remote proxy.
    #[arg(long, value_name = "HOST:PORT")]
    server: Server,
    /// Trust the certificates of this PEM file instead of the system's.
    #[arg(long, value_name = "FILE")]
    roots: Option<PathBuf>,
    /// Speak without TLS: everybody on the way reads the password.
    #[arg(long)]
    insecure_plain: bool,
    #[command(flatten)]
    password: PasswordArg,
}

#[derive(Args)]
struct Login {
    #[command(flatten)]
    identity: Identity,
    /// What to speak with the server: socks5, http, line or auth-target; or shadowsocks, by the name of
    /// its method, such as aes-256-gcm or 2022-blake3-aes-128-gcm (then without TLS).
    #[arg(long, default_value = "socks5")]
    dialect: Speech,
    /// Keep the password in a file beside the account's, readable by you alone.
    #[arg(long)]
    save_password: bool,
}

#[derive(Args)]
struct Run {
    /// Listen here for applications. Whoever reaches it uses your account.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8080")]
    listen: SocketAddr,
    /// Carry datagrams of SOCKS5, too, where the server is spoken with under TLS: they
    /// are not, and whoever is on the way reads them.
    #[arg(long)]
    plain_datagrams: bool,
    #[command(flatten)]
    password: PasswordArg,
}

pub(crate) fn main() -> ExitCode {
    let cli = Cli::parse();
    log();
    let done = tokio::runtime::Runtime::new()
        .map_err(Failure::from)
        .and_then(|runtime| {
            let done = runtime.block_on(command(cli));
            // A prompt that nobody has answered holds a thread.
            runtime.shutdown_background();
            done
        });
    let (error, code) = match done {
        Ok(()) => return ExitCode::SUCCESS,
        Err(Failure::Environment(error)) => (error, 1),
        Err(Failure::Request(error)) => (error, 2),
        #[cfg(feature = "https-service")]
        Err(Failure::Status { status, error }) => {
            let why = error.map_or_else(String::new, |why| format!(": {why}"));
            let code = if status < 500 { 4 } else { 5 };
            (format!("status {status}{why}"), code)
        }
    };
    // Nobody is left to tell if stderr is gone.
    let _ = writeln!(io::stderr(), "error: {error}");
    ExitCode::from(code)
}

async fn command(cli: Cli) -> Result<(), Failure> {
    let Cli { account, command } = cli;
    let path = || account.map_or_else(Account::default_path, Ok);
    match command {
        Command::Register(identity) => {
            let account = identity.account(Speech::Dialect(Dialect::AuthTarget));
            let password = secret::new(identity.password.password_file.as_deref()).await?;
            Remote::new(&account, password)?.register().await?;
            say(&format!("registered {:?}", account.name))
        }
        Command::Login(login) => {
            let path = path()?;
            let account = login.identity.account(login.dialect);
            let given = login.identity.password.password_file.as_deref();
            let password = secret::of(given, None).await?;
            let checked = Remote::new(&account, password.clone())?.check().await?;
            account.save(&path)?;
            let secret = Account::password_path(&path);
            if login.save_password {
                secret::save(&secret, &password)?;
            } else {
                secret::forget(&secret)?;
            }
            let (name, server) = (&account.name, &account.server);
            say(&match checked {
                true => format!("logged in to {server} as {name:?}"),
                false => {
                    format!("{server} will be asked for {name:?}: this dialect cannot tell before")
                }
            })
        }
        Command::Pages(pages) => Ok(pages.write(Cli::command())?),
        #[cfg(feature = "https-service")]
        Command::Fetch(fetch) => fetch.run(path().ok()).await,
        Command::Run(run) => {
            let path = path()?;
            let account = Account::load(&path)?;
            let saved = Account::password_path(&path);
            let given = run.password.password_file.as_deref();
            let password = secret::of(given, Some(&saved)).await?;
            let mut remote = Remote::new(&account, password)?;
            if run.plain_datagrams {
                remote.allow_plain_datagrams();
            }
            let listener = TcpListener::bind(run.listen)
                .await
                .map_err(|error| Failure::Environment(format!("{}: {error}", run.listen)))?;
            say(&format!("listening {}", listener.local_addr()?))?;
            tokio::select! {
                () = door::serve(listener, remote) => Ok(()),
                stopped = stopped() => stopped.map_err(Failure::from),
            }
        }
    }
}

impl Identity {
    fn account(&self, dialect: Speech) -> Account {
        Account {
            server: self.server.clone(),
            name: self.name.clone(),
            dialect,
            tls: !self.insecure_plain && !dialect.is_shadowsocks(),
            roots: self.roots.clone(),
        }
    }
}

fn say(line: &str) -> Result<(), Failure> {
    let mut out = io::stdout();
    writeln!(out, "{line}")?;
    Ok(out.flush()?)
}

/// Returns when the program is asked to stop.
async fn stopped() -> io::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        _ = terminate.recv() => Ok(()),
        interrupted = tokio::signal::ctrl_c() => interrupted,
    }
}

/// Events to stderr, `WEIRGATE_LOG` (error, warn, info, debug, trace) and more severe.
fn log() {
    let level = std::env::var("WEIRGATE_LOG")
        .ok()
        .and_then(|level| level.parse().ok());
    let colour =
        io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|no| no.is_empty());
    tracing_subscriber::fmt()
        .with_writer(io::stderr)
        .with_ansi(colour)
        .with_max_level(level.unwrap_or(tracing::Level::INFO))
        .with_target(false)
        .init();
}
