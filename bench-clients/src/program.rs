//! What the two test programs share: their output, their proxy options, how they end.

mod console;
mod seconds;

use std::{io, path::PathBuf, process::ExitCode};

use clap::Args;
use tokio::net::{TcpListener, TcpSocket};
use tokio_util::sync::CancellationToken;

pub use self::{
    console::{Console, Role},
    seconds::{Counter, Layout},
};
use crate::{
    Endpoint, Via,
    dial::{self, DialError, SocketOptions},
};

/// Where the password of the proxy may be, so that no other user of the machine sees it.
pub const PASSWORD_VARIABLE: &str = "WEIRGATE_PROXY_PASSWORD";
/// A password file is one line; more than this is another file.
const LONGEST_PASSWORD_FILE: u64 = 4096;

/// How to go through a proxy.
#[derive(Args, Clone, Debug)]
pub struct ProxyOptions {
    /// The proxy to connect through, as [`Via`] writes it.
    // Text, not `Via`: clap would repeat a wrong one with the password in it.
    #[arg(
        long,
        value_name = "URL",
        conflicts_with = "listen",
        help = "Connect through a proxy: socks5://USER[:PASSWORD]@HOST:PORT or \
                line://USER[:PASSWORD]@HOST:PORT (the handshake of seed 001)"
    )]
    pub proxy: Option<String>,
    /// Read the proxy password from the first line of FILE, - is standard input;
    /// the variable WEIRGATE_PROXY_PASSWORD serves as well. An argument is visible to
    /// every user of the machine
    #[arg(long, value_name = "FILE", requires = "proxy")]
    pub proxy_password_file: Option<PathBuf>,
}

/// Why a program ended before it should.
#[derive(Debug, thiserror::Error)]
pub enum ProgramError {
    /// Nothing is wrong with the machine, but with what was asked.
    #[error("{0}")]
    Usage(String),
    /// Standard output.
    #[error("cannot write to standard output")]
    Output(#[source] io::Error),
    /// The password.
    #[error("cannot read the password from {}", path.display())]
    Password {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Listening.
    #[error("cannot listen on {address}")]
    Listen {
        /// Where.
        address: std::net::SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// Connecting.
    #[error("cannot connect to {target}")]
    Connect {
        /// Where.
        target: Endpoint,
        /// Why.
        source: DialError,
    },
    /// The connection broke.
    #[error("the connection broke")]
    Broken(#[source] io::Error),
    /// The system.
    #[error("cannot start")]
    Start(#[source] io::Error),
    /// Sending.
    #[error("cannot send")]
    Send(#[from] crate::sender::SendError),
    /// Receiving.
    #[error("cannot receive")]
    Receive(#[from] crate::receiver::ReceiveError),
}

/// How a program that did nothing wrong ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The time was up, the other side was done, or SIGTERM: exit code 0.
    Done,
    /// SIGINT: exit code 130.
    Interrupted,
}

impl ProxyOptions {
    /// The way to the target, with the password from wherever it is.
    ///
    /// # Errors
    /// The proxy is written wrongly, or the password file cannot be read.
    pub fn via(&self) -> Result<Via, ProgramError> {
        let Some(proxy) = &self.proxy else {
            return Ok(Via::Direct);
        };
        let via = proxy.parse::<Via>();
        let via = via.map_err(|error| ProgramError::Usage(format!("--proxy: {error}")))?;
        let password = match &self.proxy_password_file {
            Some(path) => Some(first_line(path).map_err(|source| ProgramError::Password {
                path: path.clone(),
                source,
            })?),
            None => std::env::var(PASSWORD_VARIABLE).ok(),
        };
        Ok(match password {
            Some(password) => via.with_password(password),
            None => via,
        })
    }
}

fn first_line(path: &std::path::Path) -> io::Result<String> {
    use io::{BufRead, BufReader, Read};
    let source: Box<dyn Read> = if path.as_os_str() == "-" {
        Box::new(io::stdin())
    } else {
        Box::new(std::fs::File::open(path)?)
    };
    let mut line = String::new();
    BufReader::new(source.take(LONGEST_PASSWORD_FILE)).read_line(&mut line)?;
    let length = line.trim_end_matches(['\r', '\n']).len();
    line.truncate(length);
    Ok(line)
}

/// A listening socket, and its port.
///
/// # Errors
/// The port is taken, or the address is not ours.
pub fn listen(address: std::net::SocketAddr) -> Result<(TcpListener, u16), ProgramError> {
    let bind = || {
        let socket = if address.is_ipv4() {
            TcpSocket::new_v4()?
        } else {
            TcpSocket::new_v6()?
        };
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        let listener = socket.listen(5)?;
        let port = listener.local_addr()?.port();
        Ok((listener, port))
    };
    bind().map_err(|source| ProgramError::Listen { address, source })
}

/// A connection to `target` by way of the proxy, if there is one.
///
/// # Errors
/// Target or proxy said no.
pub async fn connect(via: &Via, target: &Endpoint) -> Result<dial::Stream, ProgramError> {
    match dial::connect(via, target, &SocketOptions::default()).await {
        Ok(connection) => Ok(connection.stream),
        Err(source) => Err(ProgramError::Connect {
            target: target.clone(),
            source,
        }),
    }
}

/// Runs `program` on a runtime of its own; prints the one error that ends it. The
/// token is cancelled by SIGINT and SIGTERM, after `announce` was told which.
pub fn main<F>(
    role: Role,
    announce: fn(&Console, i32),
    program: impl FnOnce(Console, CancellationToken) -> F,
) -> ExitCode
where
    F: Future<Output = Result<(), ProgramError>>,
{
    let console = Console::new(role);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build();
    let result = match runtime {
        Ok(runtime) => runtime.block_on(with_signals(&console, announce, program)),
        Err(error) => Err(ProgramError::Start(error)),
    };
    match result {
        Ok(Outcome::Done) => ExitCode::SUCCESS,
        Ok(Outcome::Interrupted) => ExitCode::from(130),
        // Who reads no more has seen enough.
        Err(ProgramError::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => {
            ExitCode::SUCCESS
        }
        Err(error) => {
            console.error(&error);
            let usage = matches!(error, ProgramError::Usage(_));
            ExitCode::from(if usage { 2 } else { 1 })
        }
    }
}

async fn with_signals<F>(
    console: &Console,
    announce: fn(&Console, i32),
    program: impl FnOnce(Console, CancellationToken) -> F,
) -> Result<Outcome, ProgramError>
where
    F: Future<Output = Result<(), ProgramError>>,
{
    // Caught before the program says anything, so that it ends in order from then on.
    let mut signals = Signals::catch().map_err(ProgramError::Start)?;
    let stop = CancellationToken::new();
    let mut program = std::pin::pin!(program(*console, stop.clone()));
    tokio::select! {
        biased;
        result = &mut program => result.map(|()| Outcome::Done),
        number = signals.first() => {
            announce(console, number);
            stop.cancel();
            program.await?;
            Ok(if number == SIGINT { Outcome::Interrupted } else { Outcome::Done })
        }
    }
}

const SIGINT: i32 = 2;
#[cfg(unix)]
const SIGTERM: i32 = 15;

/// The signals that ask a program to end.
#[cfg(unix)]
struct Signals {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
}

#[cfg(unix)]
impl Signals {
    fn catch() -> io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    /// The number of the first one.
    async fn first(&mut self) -> i32 {
        tokio::select! {
            _ = self.interrupt.recv() => SIGINT,
            _ = self.terminate.recv() => SIGTERM,
        }
    }
}

/// The signals that ask a program to end.
#[cfg(windows)]
struct Signals(tokio::signal::windows::CtrlC);

#[cfg(windows)]
impl Signals {
    fn catch() -> io::Result<Self> {
        tokio::signal::windows::ctrl_c().map(Self)
    }

    /// The number of the first one.
    async fn first(&mut self) -> i32 {
        let _ = self.0.recv().await;
        SIGINT
    }
}
