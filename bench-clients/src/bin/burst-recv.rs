//! The receiver of seed 004's test: counts what arrives, by the second.

use std::{net::SocketAddr, num::NonZeroUsize, process::ExitCode};

use bench_clients::{
    Clock, Endpoint, Stream,
    payload::Payload,
    program::{self, Console, Counter, Layout, ProgramError, ProxyOptions, Role},
    receiver::{ReadSize, ReceiveEnd, ReceivePlan, receive},
};
use clap::Parser;
use flow::{Nanos, Timestamp};
use tokio_util::sync::CancellationToken;

/// Receives from where it is told, or from the first that connects, and prints
/// packets (reads), bytes and MiB/s every second.
///
/// Exit codes: 0 the time was up, the sender was done, or SIGTERM; 1 failure or
/// damaged data; 2 usage; 130 SIGINT.
#[derive(Parser)]
#[command(version)]
struct Options {
    /// Connect to the sender
    #[arg(
        long,
        value_name = "HOST:PORT",
        default_value = "127.0.0.1:9090",
        conflicts_with = "listen"
    )]
    connect: Endpoint,
    /// Wait for the sender here
    #[arg(long, value_name = "ADDR")]
    listen: Option<SocketAddr>,
    #[command(flatten)]
    proxy: ProxyOptions,
    /// End after this time, as 30s or 500ms
    #[arg(long, value_name = "TIME")]
    duration: Option<Nanos>,
    /// Most bytes of a read, and so of what counts as a packet
    #[arg(long, value_name = "BYTES", default_value = "2048")]
    read_size: NonZeroUsize,
    /// Check every byte: the sender is burst-send with this --seed
    #[arg(long, value_name = "SEED")]
    verify: Option<u64>,
}

fn main() -> ExitCode {
    let options = Options::parse();
    let announce = |console: &Console, number: i32| {
        // If nobody reads it, the program ends all the same.
        let _ = console.log(&format!("Received signal {number}, exiting..."));
    };
    program::main(Role::Client, announce, |console, stop| {
        run(options, console, stop)
    })
}

async fn run(
    options: Options,
    console: Console,
    stop: CancellationToken,
) -> Result<(), ProgramError> {
    console.log(&format!("Client PID: {}", std::process::id()))?;
    let connection = tokio::select! {
        connection = options.connection(console) => Some(connection?),
        () = stop.cancelled() => None,
    };
    if let Some(stream) = connection {
        consume(&options, stream, console, stop).await?;
    }
    console.log("Client shutting down")
}

async fn consume(
    options: &Options,
    mut stream: Stream,
    console: Console,
    stop: CancellationToken,
) -> Result<(), ProgramError> {
    console.log("Connected. Receiving data...")?;
    console.log("Time    Packets Recv    Bytes Recv    Bandwidth (MiB/s)")?;
    let plan = options.plan(stop);
    let counter = Counter::new(Layout::Receiver);
    let mut sink = |at, bytes| counter.count(at, bytes);
    let done = CancellationToken::new();
    let receiving = async {
        let received = receive(&mut stream, &plan, &mut sink).await;
        done.cancel();
        received.map_err(ProgramError::from)
    };
    let printing = counter.print_until(done.clone(), plan.clock, |line| console.log(line));
    let (report, ()) = tokio::try_join!(receiving, printing)?;
    match report.end {
        ReceiveEnd::Eof => console.log("Server closed connection")?,
        ReceiveEnd::Closed(kind) => return Err(ProgramError::Broken(kind.into())),
        ReceiveEnd::Deadline => {}
    }
    console.log(&format!(
        "Received {} packets, {} bytes in {:.3} s",
        report.reads,
        report.received.get(),
        plan.clock.now().as_secs_f64()
    ))
}

impl Options {
    async fn connection(&self, console: Console) -> Result<Stream, ProgramError> {
        if let Some(address) = self.listen {
            let (listener, port) = program::listen(address)?;
            console.log(&format!("Listening on port {port}..."))?;
            let (stream, peer) = listener.accept().await.map_err(ProgramError::Broken)?;
            console.log(&format!("Server connected: {peer}"))?;
            return Ok(stream.into());
        }
        console.log(&format!("Connecting to {}", self.connect))?;
        program::connect(&self.proxy.via()?, &self.connect).await
    }

    fn plan(&self, stop: CancellationToken) -> ReceivePlan {
        ReceivePlan {
            clock: Clock::starting_now(),
            until: self
                .duration
                .map_or(Timestamp::MAX, |length| Timestamp::ZERO + length),
            payload: self.verify.map(Payload::new),
            window: None,
            read_size: ReadSize::Fixed(self.read_size.get()),
            stop,
        }
    }
}
