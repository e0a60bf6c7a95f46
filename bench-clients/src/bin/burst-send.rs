//! The sender of seed 004's test: bursts of packets of changing size over TCP.

use std::{net::SocketAddr, process::ExitCode};

use bench_clients::{
    Clock, Endpoint, Stream, Wait,
    payload::Payload,
    program::{self, Console, Counter, Layout, ProgramError, ProxyOptions, Role},
    sender::{SendEnd, SendMode, SendPlan, send},
};
use clap::{Parser, ValueEnum};
use flow::{ByteSize, Nanos, Timestamp};
use tokio_util::sync::CancellationToken;
use traffic::{AnyGenerator, Pattern, Purpose, StreamSeed, bursty::SleepGrain};

/// Sends bursty traffic to the first that connects, or to where it is told, and
/// prints packets, bytes and MiB/s every second.
///
/// Exit codes: 0 the time was up, the other side went away, or SIGTERM; 1 failure;
/// 2 usage; 130 SIGINT.
#[derive(Parser)]
#[command(version)]
struct Options {
    /// Wait for the receiver here
    #[arg(
        long,
        value_name = "ADDR",
        default_value = "0.0.0.0:9090",
        conflicts_with = "connect"
    )]
    listen: SocketAddr,
    /// Connect to the receiver
    #[arg(long, value_name = "HOST:PORT")]
    connect: Option<Endpoint>,
    #[command(flatten)]
    proxy: ProxyOptions,
    /// How the gaps between packets are slept: as written in us, cut to whole ms as
    /// the original program does, or that on 15.6 ms ticks as its system did
    #[arg(long, value_enum, default_value_t = Sleep::Us)]
    sleep: Sleep,
    /// Send another pattern, such as constant:rate=1MB/s,size=1000B
    #[arg(long, value_name = "PATTERN", conflicts_with = "sleep")]
    pattern: Option<Pattern>,
    /// Seed of the random numbers: the same seed, the same packets
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// End after this time, as 30s or 500ms
    #[arg(long, value_name = "TIME")]
    duration: Option<Nanos>,
    /// Keep to the schedule when the receiver does not keep up, instead of waiting for it
    #[arg(long)]
    open_loop: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum Sleep {
    Us,
    Ms,
    Tick,
}

/// Bytes that an open loop may be behind.
const BACKLOG_LIMIT: ByteSize = ByteSize::new(1 << 34);

fn main() -> ExitCode {
    let options = Options::parse();
    let announce = |console: &Console, _: i32| {
        // If nobody reads it, the program ends all the same.
        let _ = console.log("Received shutdown signal, exiting...");
    };
    program::main(Role::Server, announce, |console, stop| {
        run(options, console, stop)
    })
}

async fn run(
    options: Options,
    console: Console,
    stop: CancellationToken,
) -> Result<(), ProgramError> {
    let generator = options.generator()?;
    let connection = tokio::select! {
        connection = options.connection(console) => Some(connection?),
        () = stop.cancelled() => None,
    };
    if let Some(stream) = connection {
        serve(&options, stream, generator, console, stop).await?;
    }
    console.log("Shutting down server")
}

async fn serve(
    options: &Options,
    mut stream: Stream,
    mut generator: AnyGenerator,
    console: Console,
    stop: CancellationToken,
) -> Result<(), ProgramError> {
    console.log("Start sending data...")?;
    console.log("Time    Packets Sent    Bytes Sent    Bandwidth (MiB/s)")?;
    let plan = options.plan(stop);
    let counter = Counter::new(Layout::Sender);
    let mut sink = |at, bytes| counter.count(at, bytes);
    let done = CancellationToken::new();
    let sending = async {
        let sent = send(&mut stream, &mut generator, &plan, &mut sink).await;
        done.cancel();
        sent.map_err(ProgramError::from)
    };
    let printing = counter.print_until(done.clone(), plan.clock, |line| console.line(line));
    let (report, ()) = tokio::try_join!(sending, printing)?;
    if let SendEnd::Closed(_) = report.end {
        console.log("Client disconnected or send error")?;
    }
    console.log(&format!(
        "Sent {} packets, {} bytes in {:.3} s",
        report.sends,
        report.sent.get(),
        plan.clock.now().as_secs_f64()
    ))
}

impl Options {
    async fn connection(&self, console: Console) -> Result<Stream, ProgramError> {
        if let Some(target) = &self.connect {
            console.log(&format!("Connecting to {target}"))?;
            let stream = program::connect(&self.proxy.via()?, target).await?;
            console.log("Connected")?;
            return Ok(stream);
        }
        if self.proxy.proxy.is_some() {
            return Err(ProgramError::Usage(
                "--proxy: say with --connect where the receiver listens".to_owned(),
            ));
        }
        let (listener, port) = program::listen(self.listen)?;
        console.log(&format!("Listening on port {port}..."))?;
        console.log("Waiting for client connection...")?;
        let (stream, peer) = listener.accept().await.map_err(ProgramError::Broken)?;
        console.log(&format!("Client connected: {peer}"))?;
        stream.set_nodelay(true).map_err(ProgramError::Broken)?;
        Ok(stream.into())
    }

    fn plan(&self, stop: CancellationToken) -> SendPlan {
        SendPlan {
            clock: Clock::starting_now(),
            start: Timestamp::ZERO,
            until: self
                .duration
                .map_or(Timestamp::MAX, |length| Timestamp::ZERO + length),
            payload: Payload::new(self.seed),
            mode: if self.open_loop {
                SendMode::OpenLoop {
                    backlog_limit: BACKLOG_LIMIT,
                }
            } else {
                SendMode::Blocking { window: None }
            },
            wait: Wait::Timer,
            stop,
        }
    }

    fn generator(&self) -> Result<AnyGenerator, ProgramError> {
        let pattern = self.pattern.clone().unwrap_or(Pattern::Bursty {
            sleep: self.sleep.grain(),
            // A blocking sender has the real line before it.
            line: None,
        });
        if self.open_loop && pattern.is_blocking_only() {
            return Err(ProgramError::Usage(format!(
                "--open-loop: {pattern} has sends without end at one instant unless something holds it up; leave the option out, or give the pattern a line, as in bursty:sleep=ms,line=117.75MB/s"
            )));
        }
        let seed = StreamSeed::derive(self.seed, 0, 0, 0, Purpose::Traffic);
        pattern.generator(seed).ok_or_else(|| {
            ProgramError::Usage(
                "--pattern: a trace is replayed by weirgate, not by this program".to_owned(),
            )
        })
    }
}

impl Sleep {
    const fn grain(self) -> SleepGrain {
        match self {
            Self::Us => SleepGrain::Micros,
            Self::Ms => SleepGrain::Millis,
            Self::Tick => SleepGrain::Tick,
        }
    }
}
