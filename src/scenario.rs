//! What to run, valid by construction: the resolved form of a scenario file.

mod check;
mod file;
pub(crate) mod limits;
mod load;
pub(crate) mod metric;
mod offered;
pub mod problem;
pub mod requests;
mod section;
pub mod sweep;
mod write;

use std::net::SocketAddr;
use std::path::PathBuf;

use bench_clients::Via;
use flow::{ByteRate, ByteSize, Nanos, Policy, Timestamp};
use traffic::Pattern;

pub use file::{Origin, Overrides, parse};
pub use load::LoadError;
pub use offered::Traces;
pub use requests::{Loaded, RequestScenario};
pub use sweep::Sweep;

/// A scenario, resolved: every default filled in, every field checked against the others.
#[derive(Clone, Debug, PartialEq)]
pub struct Scenario {
    /// File stem unless the file says otherwise; names the report's folder.
    pub name: String,
    /// Which question it answers, for the report's head.
    pub question: String,
    /// Length of a run.
    pub duration: Nanos,
    /// The one seed everything else is derived from.
    pub seed: u64,
    /// Which drivers run, in order.
    pub drivers: Vec<DriverKind>,
    /// How the limiter is applied unless an algorithm says otherwise.
    pub mode: Mode,
    /// Limit of a shaper's queue; `None` is unlimited.
    pub queue: Option<ByteSize>,
    /// Bytes that fit between a blocking sender and the limiter in stream mode.
    pub buffer: ByteSize,
    /// Whether senders wait for room (stream mode) or send on schedule.
    pub sender: SenderKind,
    /// The direction that is driven and limited.
    pub direction: Direction,
    /// The (r, b) that figures are judged against.
    pub reference: Reference,
    /// How often each driver repeats.
    pub repetitions: Repetitions,
    /// When the model stops repeating before that; `None`: never.
    pub until: Option<Until>,
    /// Width of a bin of the time series.
    pub bin: Nanos,
    /// Who sends.
    pub users: Vec<User>,
    /// What limits, in order of the report.
    pub algorithms: Vec<Algorithm>,
    /// Changes of rate while running, in order of time; they apply to every
    /// limited user without a rate of its own.
    pub rate_changes: Vec<RateChange>,
    /// What must hold for exit code 0.
    pub claims: Vec<Claim>,
    /// Recorded traces that users send again.
    pub traces: Traces,
}

impl Scenario {
    /// The algorithms that `driver` runs: a proxy relays streams, so it leaves
    /// out what only polices or shapes packets.
    pub fn algorithms_for(&self, driver: DriverKind) -> impl Iterator<Item = &Algorithm> {
        self.algorithms.iter().filter(move |algorithm| {
            algorithm.runs_on(driver)
                && (driver != DriverKind::Proxy || algorithm.mode == Mode::Stream)
        })
    }

    /// Permits the driver `external` to start the programs that the file names.
    pub fn start_servers(&mut self) {
        let servers = self.algorithms.iter_mut();
        for external in servers.filter_map(|algorithm| algorithm.external.as_mut()) {
            external.start = true;
        }
    }
}

/// Which machinery turns traffic into records.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum DriverKind {
    /// The discrete-event simulation.
    Model,
    /// The real proxy over sockets.
    Proxy,
    /// Limiters in this machine's kernel, between two network namespaces.
    Kernel,
    /// A server that somebody else runs, over sockets.
    External,
    /// The real proxy over sockets, under shadowsocks.
    Shadowsocks,
}

impl DriverKind {
    /// As it is written.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Model => "model",
            Self::Proxy => "proxy",
            Self::Kernel => "kernel",
            Self::External => "external",
            Self::Shadowsocks => "shadowsocks",
        }
    }
}

impl Mode {
    /// As it is written.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Police => "police",
            Self::Shape => "shape",
            Self::Stream => "stream",
        }
    }
}

/// How a limiter is applied (SPEC, "One interface").
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Mode {
    /// Pass or drop at the arrival.
    Police,
    /// Delay in a FIFO.
    Shape,
    /// Read no more than conforms; the sender feels back-pressure.
    Stream,
}

/// Whether a sender waits for room.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SenderKind {
    /// On schedule, whatever happens.
    OpenLoop,
    /// The next gap begins when the send returned.
    Blocking,
}

/// Which way the driven bytes go through a proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Direction {
    /// From the target to the client.
    Down,
    /// From the client to the target.
    Up,
}

/// The rate and burst that a run is judged against.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Reference {
    /// r.
    pub rate: ByteRate,
    /// b.
    pub burst: ByteSize,
}

/// Repetitions by driver.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Repetitions {
    /// Runs in virtual time (default 30).
    pub model: u32,
    /// Runs in real time through the proxy (default 1).
    pub proxy: u32,
    /// Runs in real time through the kernel (default 1).
    pub kernel: u32,
    /// Runs in real time through servers that somebody else runs (default 1).
    pub external: u32,
    /// Runs in real time through the proxy under shadowsocks (default 1).
    pub shadowsocks: u32,
}

impl Repetitions {
    /// How often `driver` repeats.
    #[must_use]
    pub const fn of(self, driver: DriverKind) -> u32 {
        match driver {
            DriverKind::Model => self.model,
            DriverKind::Proxy => self.proxy,
            DriverKind::Kernel => self.kernel,
            DriverKind::External => self.external,
            DriverKind::Shadowsocks => self.shadowsocks,
        }
    }
}

/// Runs in virtual time are repeated until intervals are narrow enough, at most as
/// often as [`Repetitions`] says.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Until {
    /// Half the width of every 95 % interval against its mean, in millionths: 1 to 500,000.
    pub within_ppm: u32,
    /// Columns of `summary.csv` whose intervals must be so narrow, of every algorithm; at least one.
    pub of: Vec<String>,
}

/// One user, with all of its connections.
#[derive(Clone, Debug, PartialEq)]
pub struct User {
    /// Its name in every file.
    pub name: String,
    /// What each of its connections sends.
    pub pattern: Pattern,
    /// How many connections share its budget, at least one.
    pub connections: u32,
    /// When its connections open.
    pub start: Timestamp,
    /// What limits it.
    pub limit: UserLimit,
}

/// The limit of one user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UserLimit {
    /// The algorithm under test with the scenario's reference.
    Reference,
    /// The algorithm under test, scaled to this user's own rate and burst.
    Own(Reference),
    /// Nothing.
    Unlimited,
}

/// One algorithm under test.
#[derive(Clone, Debug, PartialEq)]
pub struct Algorithm {
    /// Its name in every file: the kind unless the file says otherwise; unique.
    pub label: String,
    /// Kind and parameters.
    pub policy: Policy,
    /// How it is applied.
    pub mode: Mode,
    /// What in the kernel applies it; then the kernel driver alone runs it.
    pub kernel: Option<KernelLimiter>,
    /// A TCP sender in front of it, simulated; then the model alone runs it.
    pub tcp: Option<TcpSender>,
    /// The server that applies it; then the external driver alone runs it.
    pub external: Option<External>,
}

impl Algorithm {
    /// Whether one driver alone runs it.
    #[must_use]
    pub const fn is_special(&self) -> bool {
        self.kernel.is_some() || self.tcp.is_some() || self.external.is_some()
    }

    /// Whether `driver` runs it.
    #[must_use]
    pub fn runs_on(&self, driver: DriverKind) -> bool {
        match driver {
            DriverKind::Model => self.kernel.is_none() && self.external.is_none(),
            DriverKind::Proxy => !self.is_special() && self.policy.modes().stream,
            DriverKind::Kernel => self.kernel.is_some(),
            DriverKind::External => self.external.is_some(),
            DriverKind::Shadowsocks => {
                !self.is_special() && self.mode != Mode::Shape && self.policy.modes().stream
            }
        }
    }
}

/// A server that somebody else runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct External {
    /// How to go through it. `{user}` in its user name stands for the name of the scenario's user.
    pub via: Via,
    /// Where its connections arrive; what a plain forwarder must have been told.
    pub target: SocketAddr,
    /// Starts it, with `folder` as working directory; empty: it is running already.
    pub command: Vec<String>,
    /// Whether `command` may be run: a file alone may not start programs.
    pub start: bool,
    /// The process whose CPU time and memory are its own, if `command` did not start it.
    pub process: Option<Process>,
    /// Folder of the scenario's file.
    pub folder: Option<PathBuf>,
}

/// Which process a running server is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Process {
    /// By its number.
    Number(u32),
    /// By a file in the scenario's folder that holds the number.
    File(String),
}

/// What holds a rate in the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum KernelLimiter {
    /// Our eBPF policer at netfilter's `LOCAL_IN`, where the bytes arrive.
    Netfilter,
    /// Our eBPF policer at control groups, where the bytes leave.
    Cgroup,
    /// Our eBPF policer at the interface, where the bytes leave.
    Tc,
    /// The queueing discipline `tbf`.
    Tbf,
    /// A class of the queueing discipline `htb`.
    Htb,
    /// `SO_MAX_PACING_RATE`, set by our eBPF program.
    Pacing,
}

impl KernelLimiter {
    /// How it applies its rate.
    #[must_use]
    pub const fn mode(self) -> Mode {
        match self {
            Self::Netfilter | Self::Cgroup | Self::Tc => Mode::Police,
            Self::Tbf | Self::Htb => Mode::Shape,
            Self::Pacing => Mode::Stream,
        }
    }
}

/// A simulated TCP sender.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TcpSender {
    /// How its window grows and falls.
    pub congestion: Congestion,
    /// The path's round-trip time without a queue.
    pub rtt: Nanos,
}

/// A congestion control.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Congestion {
    /// RFC 5681.
    Reno,
    /// RFC 9438.
    Cubic,
}

/// From `at` on, the rate is `rate`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateChange {
    /// When.
    pub at: Timestamp,
    /// The new rate.
    pub rate: ByteRate,
}

/// A bound that a figure must keep in every run it selects.
#[derive(Clone, Debug, PartialEq)]
pub struct Claim {
    /// Column of `summary.csv` (or, with `user`, of `users.csv`).
    pub metric: String,
    /// `None`: every driver that ran.
    pub driver: Option<DriverKind>,
    /// `None`: every algorithm.
    pub algorithm: Option<String>,
    /// `None`: the row of the whole run.
    pub user: Option<String>,
    /// Inclusive lower bound, in the column's unit.
    pub at_least: Option<f64>,
    /// Inclusive upper bound, in the column's unit.
    pub at_most: Option<f64>,
}
