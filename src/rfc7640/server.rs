//! A real server as what is tested: every stream is a connection of its own user, in real time.
//!
//! A relay of streams loses nothing, so a packet counts as lost when it arrives later than the loss
//! wait threshold (RFC 2680, section 2.5) and, behind a queue, what that queue may take. What the
//! tester's own sockets delay is measured first, without the server, and taken off.

mod transfer;

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use bench_clients::drive::{self, drive_all};
use bench_clients::{
    Behaviour, Clock, Credentials, Direction, Ends, FlowLog, FlowPlan, Identify, Log, RunPlan,
    SocketOptions, Target, Via, Wait, target,
};
use flow::policy::Oversize;
use flow::{ByteRate, ByteSize, Nanos, Policy, Timestamp};
use proxy::NewUser;
use tokio::runtime::Runtime;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use traffic::trace::Recorded;

use super::capacity;
use super::config::Config;
use super::procedures::{Bench, run_on};
use super::profile::Stream;
use super::stateful::Pattern;
use super::streams::{Bursts, Port, Sent, figures};
use super::{Figures, Metric, Test};
use crate::driver::Stop;
use crate::driver::external;
use crate::driver::proxy::{PASSWORD, ProxyError, Server};
use crate::driver::real::{RealError, runtime};
use crate::metrics::real_train_gap;
use crate::progress::{Progress, Stage};

/// From the last connection to the first packet.
const LEAD: Duration = Duration::from_millis(50);
/// What receivers wait beyond the loss wait threshold.
const DRAIN: Nanos = Nanos::from_millis(100);
/// Bytes that an open-loop sender may have waiting.
const BACKLOG: ByteSize = ByteSize::new(256 << 20);
/// Length of the calibration.
const CALIBRATION: Nanos = Nanos::from_secs(1);
/// How much later bursts into a queue come than it drains, in percent.
pub const EASE: u64 = 5;
/// Between two looks at whether it should stop.
const LOOK: Duration = Duration::from_millis(100);
/// What a segment of TCP carries on an Ethernet, time stamps taken off.
const SEGMENT: u32 = 1_448;

/// What is tested.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Against {
    /// A server that somebody else runs; `{user}` in its user name stands for that of the profile.
    By {
        /// The way through it.
        via: Via,
        /// Where its connections arrive; what a plain forwarder must have been told.
        target: SocketAddr,
    },
    /// Our proxy, started here with the limits of the plan.
    Own,
}

/// What was found.
#[derive(Clone, Debug, Default)]
pub struct Found {
    /// The tests that were completed.
    pub tests: Vec<Test>,
    /// Whether it was stopped before all were.
    pub interrupted: bool,
    /// Mean packet delay and its variation (99th percentile) of the tester itself, in seconds;
    /// taken off every figure.
    pub own_delay: [f64; 2],
}

/// Why a server could not be tested.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// The sockets.
    #[error(transparent)]
    Real(#[from] RealError),
    /// Our proxy.
    #[error(transparent)]
    Proxy(#[from] ProxyError),
}

impl From<drive::RunError> for ServerError {
    fn from(error: drive::RunError) -> Self {
        Self::Real(error.into())
    }
}

/// Why a test ended early.
enum End {
    Stopped,
    Failed(ServerError),
}

impl<E: Into<ServerError>> From<E> for End {
    fn from(error: E) -> Self {
        Self::Failed(error.into())
    }
}

/// Runs every test that `config` has profiles for through a server; `config` has been checked.
/// After a stop, the tests that were completed by then.
///
/// # Errors
/// See [`ServerError`].
pub fn run_against(
    config: &Config,
    against: &Against,
    progress: Progress,
    stop: &Stop,
) -> Result<Found, ServerError> {
    let runtime = runtime()?;
    let mut bench = Bed::set_up(config, against, runtime, progress, stop)?;
    let mut tests = Vec::new();
    let known = bench.log_everybody_in(config).map_err(End::Failed);
    let ready = known.and_then(|()| bench.calibrate(config));
    let ended = ready.and_then(|()| run_on(config, &mut bench, &mut tests));
    let own_delay = bench.own_delay();
    bench.tear_down()?;
    let interrupted = match ended {
        Ok(()) => false,
        Err(End::Stopped) => true,
        Err(End::Failed(error)) => return Err(error),
    };
    Ok(Found {
        tests,
        interrupted,
        own_delay,
    })
}

/// Sockets, and what is between them.
struct Bed<'a> {
    runtime: Runtime,
    target: Target,
    way: Way,
    port: Port,
    loss_wait: u64,
    own_delay: [f64; 2],
    stage: Stage,
    stop: &'a Stop,
    /// Micro bursts on an unloaded path, by profile: their mean delay in seconds.
    unloaded: Vec<(String, f64)>,
    /// When everything that was loaded is at rest again.
    at_rest: Option<Instant>,
}

/// What connections go through.
enum Way {
    By(Via),
    Own {
        server: Box<Server>,
        /// Profile and customer in the order of their users.
        customers: Vec<(String, u32)>,
    },
}

impl Way {
    fn via(&self, stream: &Stream) -> Via {
        match self {
            Self::By(via) => external::for_user(via.clone(), &stream.user),
            Self::Own { server, customers } => {
                let mut known = customers.iter();
                let at = known
                    .position(|(name, number)| *name == stream.name && *number == stream.customer);
                Via::Socks5 {
                    proxy: server.address().into(),
                    credentials: Some(Credentials {
                        user: account(at.unwrap_or(0)),
                        password: PASSWORD.to_owned(),
                    }),
                }
            }
        }
    }
}

/// Sockets whose segments are an Ethernet's. Those of loopback are half as large as a first
/// window, and a sender that waits for room for one is late by a tenth of a second.
fn as_by_ethernet() -> SocketOptions {
    SocketOptions {
        segment: Some(SEGMENT),
        ..SocketOptions::default()
    }
}

/// The name of a customer's user at our own proxy.
fn account(at: usize) -> String {
    format!("customer-{at}")
}

/// Every customer of every profile that any of the tests has.
fn customers(config: &Config) -> Vec<Stream> {
    let kinds = [
        config.policer.len(),
        config.queue.len(),
        config.shaper.len(),
    ];
    let kind_of = kinds
        .iter()
        .flat_map(|count| std::iter::repeat_n(*count, *count));
    let mut all = Vec::new();
    for (stream, count) in Stream::all(config).into_iter().zip(kind_of) {
        let most = capacity::most_customers(config, &stream, count);
        all.extend((0..most).map(|number| stream.of_customer(number)));
    }
    all
}

/// What our proxy is told: a stream's bucket is as deep as CBS + EBS.
fn limit(stream: &Stream) -> Policy {
    match stream.policy {
        Policy::SrTcm { rate, cbs, ebs, .. } => {
            let burst = ByteSize::new(cbs.get().saturating_add(ebs.get()));
            Policy::TokenBucket {
                rate,
                burst,
                initial: burst,
                oversize: Oversize::Drop,
            }
        }
        Policy::LeakyBucket { rate, .. } => Policy::LeakyBucket { rate, queue: None },
        other => other,
    }
}

impl<'a> Bed<'a> {
    fn set_up(
        config: &Config,
        against: &Against,
        runtime: Runtime,
        progress: Progress,
        stop: &'a Stop,
    ) -> Result<Self, ServerError> {
        let (way, address) = match against {
            Against::By { via, target } => (Way::By(external::with_password(via)), *target),
            Against::Own => {
                let streams = customers(config);
                let users = streams.iter().enumerate().map(|(at, stream)| NewUser {
                    name: account(at),
                    password: PASSWORD.as_bytes().to_vec(),
                    rules: proxy::Limits::down(limit(stream)).into(),
                });
                let users = users.collect();
                let server = Box::new(runtime.block_on(Server::with(users, |_| ()))?);
                let customers = streams
                    .into_iter()
                    .map(|stream| (stream.name, stream.customer))
                    .collect();
                let any = SocketAddr::new(Ipv4Addr::LOCALHOST.into(), 0);
                (Way::Own { server, customers }, any)
            }
        };
        let target = runtime.block_on(Target::bind(address, as_by_ethernet()));
        let target = target.map_err(|source| RealError::Io {
            what: "listen for the server's connections",
            source,
        })?;
        Ok(Self {
            runtime,
            target,
            way,
            port: Port::of(config),
            loss_wait: config.loss_wait.get(),
            own_delay: [0.0; 2],
            stage: progress.stage("RFC 7640 (runs)", runs(config)),
            stop,
            unloaded: Vec::new(),
            at_rest: None,
        })
    }

    /// Whether the server knows every user of the plan: better now than after an hour of tests.
    fn log_everybody_in(&self, config: &Config) -> Result<(), ServerError> {
        for stream in customers(config) {
            self.open(&stream, &self.way.via(&stream))?;
        }
        Ok(())
    }

    fn tear_down(self) -> Result<(), ServerError> {
        self.stage.end("in real time");
        if let Way::Own { server, .. } = self.way {
            self.runtime.block_on(server.stop())?;
        }
        Ok(())
    }

    /// What the tester's own sockets do to bursts of the first profile, without a server.
    fn calibrate(&mut self, config: &Config) -> Result<(), End> {
        let Some(stream) = Stream::all(config).into_iter().next() else {
            return Ok(());
        };
        let port = Port {
            duration: self.port.duration.min(CALIBRATION.get()),
            ..self.port
        };
        let size = (port.packet * 10).min(stream.policy.largest().get().max(port.packet));
        let bursts = Bursts {
            size,
            interval: stream.interval(size),
            start: 0,
            port: 0,
        };
        let mut sent = port.send(&[bursts]);
        let gap = self.train_gap(&stream);
        let logs = self.drive(&sent, &[(&stream, Via::Direct)], 0)?;
        note_arrivals(&mut sent, 0, &logs, u64::MAX);
        let found = figures(&sent, &port, gap);
        self.own_delay =
            [Metric::Pd, Metric::Pdv].map(|metric| found.get(&metric).copied().unwrap_or_default());
        Ok(())
    }

    fn open(&self, stream: &Stream, via: &Via) -> Result<Ends, ServerError> {
        let identify = match via {
            Via::Forward { .. } => Identify::Preamble,
            _ => Identify::OwnPort,
        };
        let options = as_by_ethernet();
        let opened = self
            .runtime
            .block_on(self.target.open(via, identify, &options));
        opened.map_err(|source: target::OpenError| {
            ServerError::Real(RealError::Open {
                user: stream.user.clone(),
                source,
            })
        })
    }

    /// Sends the packets of each stream by its way, and waits `beyond` for the last.
    fn drive(
        &mut self,
        sent: &[Sent],
        ways: &[(&Stream, Via)],
        beyond: u64,
    ) -> Result<Vec<FlowLog>, End> {
        let last = sent.last().map_or(0, |packet| packet.at);
        let mut plans = Vec::new();
        for (number, (stream, via)) in ways.iter().enumerate() {
            let ends = self.open(stream, via)?;
            plans.push(scheduled(
                ends,
                sent.iter().filter(|packet| packet.stream == number),
            ));
        }
        self.run(plans, Nanos::new(last + 1_000_000), Nanos::new(beyond))
    }

    /// Runs `plans` from rest, until the end or the stop.
    fn run(
        &mut self,
        plans: Vec<FlowPlan>,
        duration: Nanos,
        beyond: Nanos,
    ) -> Result<Vec<FlowLog>, End> {
        let (at_rest, stop) = (self.at_rest.take(), self.stop);
        let logs = self.runtime.block_on(async {
            if let Some(at_rest) = at_rest {
                tokio::time::sleep_until(at_rest).await;
            }
            let token = CancellationToken::new();
            let run = RunPlan {
                clock: Clock::starting_in(LEAD),
                duration,
                drain: Nanos::new(beyond.get().saturating_add(DRAIN.get())),
                stop: token.clone(),
            };
            let watching = async {
                loop {
                    tokio::time::sleep(LOOK).await;
                    if stop.requested() {
                        token.cancel();
                    }
                }
            };
            tokio::select! {
                logs = drive_all(plans, &run) => logs,
                () = watching => Ok(Vec::new()),
            }
        })?;
        if self.stop.requested() {
            return Err(End::Stopped);
        }
        Ok(logs)
    }

    /// From now on `streams` take so long to come to rest.
    fn rest(&mut self, streams: &[&Stream]) {
        let longest = streams.iter().map(|stream| stream.recovery()).max();
        self.at_rest = Some(Instant::now() + Duration::from_nanos(longest.unwrap_or(0)));
    }
}

impl Bench for Bed<'_> {
    type Error = End;

    fn ran(&mut self) {
        self.stage.step();
    }

    fn pass(&mut self, sent: &mut [Sent], streams: &[&Stream]) -> Result<(), End> {
        let ways: Vec<(&Stream, Via)> = streams
            .iter()
            .map(|stream| (*stream, self.way.via(stream)))
            .collect();
        let waits: Vec<u64> = streams
            .iter()
            .map(|stream| {
                let queued = stream.queue.map_or(0, |queue| stream.interval(queue.get()));
                self.loss_wait.saturating_add(queued)
            })
            .collect();
        let longest = waits.iter().copied().max().unwrap_or(0);
        let logs = self.drive(sent, &ways, longest)?;
        for (stream, wait) in waits.iter().enumerate() {
            note_arrivals(sent, stream, &logs, *wait);
        }
        self.rest(streams);
        Ok(())
    }

    fn transfers(
        &mut self,
        loads: &[(&Stream, &Pattern)],
        first: u64,
    ) -> Result<Vec<Figures>, End> {
        let found = self.under_tcp(loads, first)?;
        let streams: Vec<&Stream> = loads.iter().map(|(stream, _)| *stream).collect();
        self.rest(&streams);
        Ok(found)
    }

    /// As of all real receivers: a reader's wake-up must not cut a train.
    fn train_gap(&self, stream: &Stream) -> u64 {
        ByteRate::new(stream.rate).map_or(0, |rate| real_train_gap(rate).get())
    }

    fn own_delay(&self) -> [f64; 2] {
        self.own_delay
    }

    fn ease(&self) -> u64 {
        EASE
    }

    fn words(&self, pattern: &Pattern) -> String {
        format!(
            "{}, at most {} B under way, without a delay emulator, {} packets at once each second",
            pattern.objects_in_words(),
            transfer::window(pattern),
            super::stateful::MICRO_BURST,
        )
    }
}

/// How many runs there will be at most, but those of hunts.
fn runs(config: &Config) -> u64 {
    let alone = [
        (config.policer.len(), 3),
        (config.queue.len(), 2),
        (config.shaper.len(), 2),
    ];
    let profiles: usize = alone.iter().map(|(count, _)| count).sum();
    let mut tests = alone
        .iter()
        .map(|(count, each)| count * each)
        .sum::<usize>();
    for (count, _) in alone.into_iter().filter(|(count, _)| *count > 0) {
        tests += 1 + usize::from(config.capacity.is_some());
        tests += if config.ports > 1 { count + 1 } else { 0 };
    }
    let both = !config.policer.is_empty() && !config.shaper.is_empty();
    tests += config.concurrent.len().max(usize::from(both));
    tests += config.stateful.len().max(usize::from(profiles > 1));
    tests as u64 * u64::from(config.runs)
}

/// A flow that sends `packets` when they are due.
fn scheduled<'a>(ends: Ends, packets: impl Iterator<Item = &'a Sent>) -> FlowPlan {
    let sends: Vec<traffic::Send> = packets
        .map(|packet| traffic::Send {
            at: Timestamp::from_nanos(packet.at),
            size: ByteSize::new(packet.size),
        })
        .collect();
    FlowPlan {
        ends,
        direction: Direction::Down,
        generator: Box::new(Recorded::new(sends.into())),
        behaviour: Behaviour::OpenLoop {
            backlog_limit: BACKLOG,
        },
        start: Timestamp::ZERO,
        wait: Wait::Timer,
        sends: Log::new(),
        receipts: Log::of_receipts(),
    }
}

/// Notes when the last byte of each packet of `stream` arrived, unless that was later than `wait`.
fn note_arrivals(sent: &mut [Sent], stream: usize, logs: &[FlowLog], wait: u64) {
    let Some(log) = logs.get(stream) else {
        return;
    };
    let mut receipts = log.receipts.iter();
    let (mut arrived, mut at, mut needed) = (0_u64, 0_u64, 0_u64);
    for packet in sent.iter_mut().filter(|packet| packet.stream == stream) {
        needed += packet.size;
        while arrived < needed {
            let Some((instant, bytes)) = receipts.next() else {
                break;
            };
            at = instant.as_nanos();
            arrived += bytes.get();
        }
        let whole = arrived >= needed && at.saturating_sub(packet.at) <= wait;
        packet.left = whole.then_some(at.max(packet.at));
    }
}
