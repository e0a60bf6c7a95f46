//! What a relay costs and how exactly it limits, from outside: throughput,
//! connections, memory, latency, limits. It knows nothing of the server but how
//! to reach the origin through it, and the number of its process.

mod beside;
mod connect;
mod idle;
mod latency;
mod limit;
mod origin;
mod table;
mod throughput;
mod via;
mod windows;

use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, Subcommand};
use flow::{ByteRate, ByteSize, Nanos};

use bench_clients::process::Server;
use via::Via;

/// Measures a relay and prints lines of `name<TAB>row<TAB>value`.
///
/// The origin is part of this program and listens at --origin and the next port.
/// Exit codes: 0 done; 1 failure; 2 usage.
#[derive(Parser)]
#[command(version)]
struct Options {
    /// The way to the origin: tcp://HOST:PORT (a forwarder, or the origin itself),
    /// socks5://USER:PASSWORD@HOST:PORT or http://USER:PASSWORD@HOST:PORT
    #[arg(long, value_name = "URL", default_value = "tcp://127.0.0.1:7001")]
    via: Via,
    /// Where the origin listens; a forwarder must forward there
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:7001")]
    origin: SocketAddr,
    /// The server's process, for its time and memory; 0 is none
    #[arg(long)]
    pid: Option<u32>,
    /// What to call the server in the table
    #[arg(long, default_value = "server")]
    name: String,
    #[command(subcommand)]
    test: Test,
}

#[derive(Subcommand)]
enum Test {
    /// Downloads as fast as they go
    Throughput {
        #[arg(long, default_value_t = 1)]
        connections: usize,
        #[arg(long, value_name = "TIME", default_value = "3s")]
        duration: Nanos,
        /// Uploads in place of downloads
        #[arg(long)]
        upload: bool,
    },
    /// Connections with login, one after the other, many at once
    Connect {
        #[arg(long, default_value_t = 32)]
        under_way: usize,
        #[arg(long, value_name = "TIME", default_value = "5s")]
        duration: Nanos,
    },
    /// Connections that do nothing
    Idle {
        #[arg(long, default_value_t = 2_000)]
        connections: usize,
    },
    /// There and back
    Latency {
        #[arg(long, value_name = "SIZE", default_value = "1B")]
        size: ByteSize,
        #[arg(long, default_value_t = 20_000)]
        rounds: usize,
    },
    /// The echo of a quiet connection, alone and beside busy ones
    Beside {
        /// Downloads without end
        #[arg(long, default_value_t = 31)]
        busy: usize,
        /// Each of another user: `{}` in the name of --via is 0 for the quiet one, 1 and so on for them
        #[arg(long)]
        others: bool,
        #[arg(long, value_name = "TIME", default_value = "5s")]
        duration: Nanos,
    },
    /// What a limit lets through
    Limit {
        /// The limit as configured
        #[arg(long)]
        rate: ByteRate,
        /// The burst as configured
        #[arg(long, default_value = "0B")]
        burst: ByteSize,
        #[arg(long, default_value_t = 1)]
        connections: usize,
        #[arg(long, value_name = "TIME", default_value = "5s")]
        duration: Nanos,
        /// Uploads in place of downloads
        #[arg(long)]
        upload: bool,
        /// So many users, `{}` in the name of --via is their number from 0 on,
        /// with the limit and the connections each
        #[arg(long, default_value_t = 1)]
        users: usize,
    },
    /// Turns such lines into a Markdown table, a column for each name
    Table {
        /// The file
        lines: PathBuf,
    },
}

/// What every test needs.
struct Bench {
    via: Via,
    origin: SocketAddr,
    server: Server,
    name: String,
    records: origin::Records,
}

fn main() -> ExitCode {
    match run(Options::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Nobody is left to tell if stderr is gone.
            let _ = writeln!(io::stderr(), "error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: Options) -> io::Result<()> {
    if let Test::Table { lines } = &options.test {
        return table::print(lines);
    }
    let bench = Bench {
        records: origin::start(options.origin)?,
        via: options.via,
        origin: options.origin,
        server: Server(options.pid.filter(|&pid| pid > 0)),
        name: options.name,
    };
    match options.test {
        Test::Throughput {
            connections,
            duration,
            upload,
        } => throughput::run(&bench, connections, length(duration), upload),
        Test::Connect {
            under_way,
            duration,
        } => connect::run(&bench, under_way, length(duration)),
        Test::Idle { connections } => idle::run(&bench, connections),
        Test::Latency { size, rounds } => latency::run(&bench, size, rounds),
        Test::Beside {
            busy,
            others,
            duration,
        } => beside::run(
            &bench,
            &beside::Plan {
                busy,
                others,
                duration: length(duration),
            },
        ),
        Test::Limit {
            rate,
            burst,
            connections,
            duration,
            upload,
            users,
        } => limit::run(
            &bench,
            &limit::Plan {
                rate,
                burst,
                connections,
                duration: length(duration),
                upload,
                users,
            },
        ),
        Test::Table { .. } => Ok(()),
    }
}

fn length(nanos: Nanos) -> Duration {
    Duration::from_nanos(nanos.get())
}

impl Bench {
    /// One figure.
    fn say(&self, row: &str, value: &str) -> io::Result<()> {
        writeln!(io::stdout(), "{}\t{row}\t{value}", self.name)
    }
}
