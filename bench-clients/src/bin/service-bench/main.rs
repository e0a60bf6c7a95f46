//! What the HTTPS service does under load, from outside: clients of seed 003's
//! protocol after its description, and an origin that takes a time of its own.

mod load;
mod overload;

use std::io::{self, Write};
use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

use bench_clients::Clock;
use bench_clients::service::{Origin, request};
use clap::{Parser, Subcommand};
use flow::Nanos;

/// Measures an HTTPS service and prints what it did, a line a run.
///
/// The origin is part of this program. The service must let these clients in
/// without a login (--guest), or with --user and --password, and must reach the
/// origin (--allow-egress 127.0.0.0/8).
/// Exit codes: 0 done; 1 failure; 2 usage.
#[derive(Parser)]
#[command(version)]
struct Options {
    /// The service
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8888")]
    service: SocketAddr,
    /// The login, if the service wants one
    #[arg(long, requires = "password")]
    user: Option<String>,
    /// Its password: of a throw-away account, as everybody sees it
    #[arg(long, requires = "user")]
    password: Option<String>,
    #[command(subcommand)]
    test: Test,
}

#[derive(Subcommand)]
enum Test {
    /// Clients that ask one thing after the other, each on a new connection
    Load {
        #[arg(long, default_value_t = 50)]
        clients: usize,
        #[arg(long, value_name = "TIME", default_value = "5s")]
        duration: Nanos,
    },
    /// Requests that come when they come, at multiples of what the workers can do
    Overload {
        /// The workers that the service has
        #[arg(long, default_value_t = 20)]
        workers: u32,
        /// How long the origin takes
        #[arg(long, value_name = "TIME", default_value = "50ms")]
        service_time: Nanos,
        /// The load, in multiples of workers / service time
        #[arg(long, value_delimiter = ',', default_value = "0.5,0.9,1,1.5,3")]
        factors: Vec<f64>,
        /// Of each of them
        #[arg(long, value_name = "TIME", default_value = "5s")]
        duration: Nanos,
    },
}

fn main() -> ExitCode {
    let options = Options::parse();
    let done = tokio::runtime::Runtime::new().and_then(|runtime| runtime.block_on(run(options)));
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Nobody is left to tell if stderr is gone.
            let _ = writeln!(io::stderr(), "error: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(options: Options) -> io::Result<()> {
    let login = options.user.zip(options.password);
    let length = |nanos: Nanos| Duration::from_nanos(nanos.get());
    match options.test {
        Test::Load { clients, duration } => {
            let origin = Origin::start(Clock::starting_now(), [Nanos::ZERO].into()).await?;
            let request = request(&origin.url(0), login.as_ref());
            load::run(options.service, request, clients, length(duration)).await
        }
        Test::Overload {
            workers,
            service_time,
            factors,
            duration,
        } => {
            let origin = Origin::start(Clock::starting_now(), [service_time].into()).await?;
            let request = request(&origin.url(0), login.as_ref());
            let capacity = f64::from(workers) / length(service_time).as_secs_f64();
            writeln!(
                io::stdout(),
                "load  offered/s  goodput/s  200     503     504     other  p50 ms  p99 ms  max ms"
            )?;
            for factor in factors {
                let rate = capacity * factor;
                let duration = length(duration);
                let load = overload::Load {
                    factor,
                    rate,
                    duration,
                };
                overload::run(options.service, request.clone(), load).await?;
            }
            Ok(())
        }
    }
}
