//! The command line, as SPEC lays it down.

use std::net::SocketAddr;
use std::path::PathBuf;

use bench_clients::Via;
use clap::{Args, Parser, Subcommand, ValueEnum, value_parser};
use flow::{ByteRate, ByteSize, Nanos, Policy};

use crate::scenario::{DriverKind, Overrides, limits};
use crate::sweep::Shard;
use crate::tune::{self, Condition};

/// See what a flow-control algorithm does to traffic before you deploy it.
///
/// Results go to standard output, progress and warnings to standard error.
///
/// Exit codes: 0 done; 1 failure of the program or its environment; 2 bad usage, scenario or
/// trace; 3 a claim written in the scenario did not hold, or a run exceeded a bound that theory
/// gives; 5 a run is worse than the one it was compared with (`compare --fail-on-regression`); 130
/// interrupted.
#[derive(Debug, Parser)]
#[command(name = "weirgate", version, max_term_width = 100)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run scenarios and write their reports
    Scenario(ScenarioArgs),
    /// Validate scenarios and run nothing
    Check(CheckArgs),
    /// Write the traffic that a scenario offers, or a capture, as a trace: `t_ns,size,user,connection`
    Traffic(TrafficArgs),
    /// Run one algorithm over a recorded trace or capture
    Replay(ReplayArgs),
    /// Find a generator like a trace, and the bucket that it needs at each rate
    Fit(FitArgs),
    /// Run the tests of RFC 7640, on the models of a plan or against a server, and print its tables
    Rfc7640(Rfc7640Args),
    /// Estimate rate and depth of whatever limits a stream, from what arrives alone
    Probe(ProbeArgs),
    /// Draw the tables and plots of a run again from its CSV
    Report(ReportArgs),
    /// Show two runs side by side, with ratios and their intervals
    Compare(CompareArgs),
    /// Run a scenario over all values of its `[sweep]`
    Sweep(SweepArgs),
    /// Put the tables of a sweep together from the shares of several processes
    Merge(MergeArgs),
    /// Find the algorithm and parameters that meet an objective on a scenario's traffic
    Tune(TuneArgs),
}

/// Arguments of `scenario`.
#[derive(Args, Debug)]
pub struct ScenarioArgs {
    /// Scenario files
    #[arg(value_name = "FILE", required = true)]
    pub files: Vec<PathBuf>,
    /// Folder for the report [default: reports/NAME of the scenario]; with several files, one
    /// per scenario in it
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    #[command(flatten)]
    overrides: OverrideArgs,
    /// Print the summary as JSON instead of tables
    #[arg(long)]
    pub json: bool,
    /// Write tables only, draw nothing
    #[arg(long)]
    pub no_plots: bool,
    /// Start the programs that the scenario names under `external`; without it they must be running
    #[arg(long)]
    pub start_servers: bool,
}

/// What the command line says instead of the file.
#[derive(Args, Debug)]
struct OverrideArgs {
    /// Drivers to run instead of the file's
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    driver: Option<Vec<DriverKind>>,
    /// Length of a run, such as "10 s", instead of the file's
    #[arg(long, value_name = "D", value_parser = duration)]
    duration: Option<Nanos>,
    /// Repetitions of every driver instead of the file's
    #[arg(long, value_name = "N", value_parser = value_parser!(u32).range(1..=limits::REPETITIONS.cast_signed()))]
    repetitions: Option<u32>,
    /// Seed instead of the file's
    #[arg(long, value_name = "N", value_parser = value_parser!(u64).range(..=limits::SEED))]
    seed: Option<u64>,
}

/// Arguments of `check`.
#[derive(Args, Debug)]
pub struct CheckArgs {
    /// Scenario files
    #[arg(value_name = "FILE", required = true)]
    pub files: Vec<PathBuf>,
}

/// Arguments of `traffic`.
#[derive(Args, Debug)]
pub struct TrafficArgs {
    /// Scenario file, or a capture (pcap, pcapng)
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// Trace to write
    #[arg(long, value_name = "TRACE")]
    pub out: PathBuf,
    /// Draw its rate, its arrival curve and the bucket that it needs at each rate into this PNG, and write exactly what is drawn as CSV beside it
    #[arg(long, value_name = "PNG", value_parser = picture)]
    pub picture: Option<PathBuf>,
}

/// Arguments of `replay`.
#[derive(Args, Debug)]
pub struct ReplayArgs {
    /// Trace to read: CSV with the columns `t_ns,size,user,connection`, or a capture (pcap, pcapng)
    #[arg(long, value_name = "TRACE")]
    pub trace: PathBuf,
    /// Algorithm, such as "token-bucket:rate=5000B/s,burst=5000B"
    #[arg(long, value_name = "SPEC", value_parser = limiter)]
    pub limiter: Policy,
    /// How it is applied
    #[arg(long, value_name = "MODE")]
    pub mode: ReplayMode,
    /// Limit of the shaper's queue, such as "64 KiB" [default: unlimited]
    #[arg(long, value_name = "SIZE")]
    pub queue: Option<ByteSize>,
    /// Give every user of the trace a limiter of its own
    #[arg(long)]
    pub per_user: bool,
    /// Write what became of each packet: `i,t_ns,size,user,dep_ns,why`
    #[arg(long, value_name = "EVENTS")]
    pub events: Option<PathBuf>,
    /// Draw the trace before and after the limiter into this PNG, and write exactly what is drawn as CSV beside it
    #[arg(long, value_name = "PNG", value_parser = picture)]
    pub picture: Option<PathBuf>,
    /// Print the metrics as JSON
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `fit`.
#[derive(Args, Debug)]
pub struct FitArgs {
    /// Trace to read: CSV with the columns `t_ns,size,user,connection`, or a capture (pcap, pcapng)
    #[arg(value_name = "TRACE")]
    pub trace: PathBuf,
    /// Take the packets of this user (in a capture: of this host) alone
    #[arg(long, value_name = "NAME")]
    pub user: Option<String>,
    /// Seed of the candidates' random numbers
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = value_parser!(u64).range(..=limits::SEED))]
    pub seed: u64,
    /// Write `scenario.toml`, `candidates.csv`, `burstiness.csv` and `burstiness.png` into this folder
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
}

/// Arguments of `rfc7640`.
#[derive(Args, Debug)]
pub struct Rfc7640Args {
    /// Test plan: policers, queues and shapers in TOML, as plans/rfc7640.toml
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// Runs of each test (Tr) instead of the file's
    #[arg(long, value_name = "N")]
    pub runs: Option<u32>,
    /// Length of a run (Td), such as "60 s", instead of the file's
    #[arg(long, value_name = "D", value_parser = duration)]
    pub duration: Option<Nanos>,
    /// Test a server in real time instead of the models: socks5:// or http://USER:PASSWORD@HOST:PORT, with
    /// {user} for that of each profile, tcp://HOST:PORT for a plain forwarder, or `proxy` for ours, started
    /// with the limits of the plan. A password may stand in WEIRGATE_PROXY_PASSWORD instead
    #[arg(long, value_name = "SERVER", value_parser = server)]
    pub server: Option<ServerArg>,
    /// Where the server's connections arrive; what a plain forwarder was told
    #[arg(
        long,
        value_name = "HOST:PORT",
        default_value = "127.0.0.1:0",
        requires = "server"
    )]
    pub target: SocketAddr,
    /// Write every figure of every run as CSV, and beside it a picture of them
    #[arg(long, value_name = "CSV")]
    pub out: Option<PathBuf>,
}

/// What `rfc7640` tests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ServerArg {
    /// Our proxy, started for it.
    Own,
    /// A server that runs already.
    By(Via),
}

/// Arguments of `probe`.
#[derive(Args, Debug)]
pub struct ProbeArgs {
    /// What arrived at the receiver of a flood: CSV with the columns
    /// `t_ns,size,user,connection`, or a capture (pcap, pcapng)
    #[arg(value_name = "ARRIVALS", required_unless_present = "limiter")]
    pub arrivals: Option<PathBuf>,
    /// Take the packets of this user (in a capture: of this host) alone
    #[arg(long, value_name = "NAME", requires = "arrivals")]
    pub user: Option<String>,
    /// Flood a model instead, such as "token-bucket:rate=5000B/s,burst=5000B"
    #[arg(long, value_name = "SPEC", value_parser = limiter, conflicts_with = "arrivals")]
    pub limiter: Option<Policy>,
    /// How the model is applied
    #[arg(
        long,
        value_name = "MODE",
        default_value = "police",
        conflicts_with = "arrivals"
    )]
    pub mode: ReplayMode,
    /// Rate of the flood through the model [default: 10 times the limit]
    #[arg(long, value_name = "RATE", conflicts_with = "arrivals")]
    pub flood: Option<ByteRate>,
    /// Length of the flood through the model
    #[arg(long, value_name = "D", default_value = "60 s", value_parser = duration, conflicts_with = "arrivals")]
    pub duration: Nanos,
    /// Seed of the flood's packet sizes
    #[arg(
        long,
        value_name = "N",
        default_value_t = 1,
        conflicts_with = "arrivals"
    )]
    pub seed: u64,
    /// Draw the arrivals and what they were found to follow: `probe.png` and `probe.csv` in this folder
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Print the estimate as JSON
    #[arg(long)]
    pub json: bool,
}

/// How `replay` applies a limiter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ReplayMode {
    /// Pass or drop at the arrival
    Police,
    /// Delay in a FIFO
    Shape,
}

/// Arguments of `report`.
#[derive(Args, Debug)]
pub struct ReportArgs {
    /// Folder of a run
    #[arg(value_name = "DIR")]
    pub dir: PathBuf,
}

/// Arguments of `compare`.
#[derive(Args, Debug)]
pub struct CompareArgs {
    /// Folder of the run to compare with
    #[arg(value_name = "BASE")]
    pub base: PathBuf,
    /// Folder of the run that is judged
    #[arg(value_name = "DIR")]
    pub dir: PathBuf,
    /// End with exit code 5 if a figure is worse by more than 1 % beyond its error
    #[arg(long)]
    pub fail_on_regression: bool,
    /// Draw the differences with their 95 % intervals into this PNG, and write exactly what is drawn as CSV beside it
    #[arg(long, value_name = "PNG", value_parser = picture)]
    pub picture: Option<PathBuf>,
}

/// Arguments of `sweep`.
#[derive(Args, Debug)]
pub struct SweepArgs {
    /// Scenario file with a table `[sweep]`
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// Folder for cells and tables; cells that are there already are not run again
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    /// Run one share of the cells only, such as 1/4, and write no tables [default: as
    /// SLURM_ARRAY_TASK_ID and _COUNT, or JOB_COMPLETION_INDEX and JOB_COMPLETIONS, say]
    #[arg(long, value_name = "I/N")]
    pub shard: Option<Shard>,
    /// Length of a run, such as "10 s", instead of the file's
    #[arg(long, value_name = "D", value_parser = duration)]
    pub duration: Option<Nanos>,
    /// Repetitions of every cell instead of the file's
    #[arg(long, value_name = "N", value_parser = value_parser!(u32).range(1..=limits::REPETITIONS.cast_signed()))]
    pub repetitions: Option<u32>,
}

/// Arguments of `tune`.
#[derive(Args, Debug)]
pub struct TuneArgs {
    /// Scenario file: its traffic, its rate, and the algorithms to choose from
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// What every run must meet, such as 'delay_p99 < 50ms' or 'overshoot < 16KiB': a figure
    /// of summary.csv, with or without its unit
    #[arg(long = "where", value_name = "CONDITION")]
    pub conditions: Vec<Condition>,
    /// What should be most [default: utilisation]
    #[arg(long, value_name = "FIGURE", conflicts_with = "minimize", value_parser = figure)]
    pub maximize: Option<String>,
    /// What should be least
    #[arg(long, value_name = "FIGURE", value_parser = figure)]
    pub minimize: Option<String>,
    /// Length of a run, such as "10 s", instead of the file's
    #[arg(long, value_name = "D", value_parser = duration)]
    pub duration: Option<Nanos>,
    /// Folder for the picture and its CSV [default: reports/NAME-tune]
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Where the choice goes.
    #[command(flatten)]
    pub apply: ApplyArgs,
}

/// Sending the choice to a running proxy.
#[derive(Args, Debug)]
pub struct ApplyArgs {
    /// Set the choice in a running proxy, after showing what changes: the path of its admin socket, or
    /// HOST:PORT of its admin API
    #[arg(long, value_name = "ADDRESS", requires = "user")]
    pub apply: Option<String>,
    /// Whose limit
    #[arg(long, value_name = "NAME", requires = "apply")]
    pub user: Option<String>,
    /// Change it without a question
    #[arg(long, requires = "apply")]
    pub yes: bool,
    /// The token of the admin API, where it wants one
    #[arg(
        long,
        value_name = "FILE",
        env = "WEIRGATE_ADMIN_TOKEN_FILE",
        requires = "apply"
    )]
    pub admin_token_file: Option<PathBuf>,
}

/// Arguments of `merge`.
#[derive(Args, Debug)]
pub struct MergeArgs {
    /// Folders of the shares
    #[arg(value_name = "DIR", required = true)]
    pub dirs: Vec<PathBuf>,
    /// Folder for the tables
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
}

impl ScenarioArgs {
    /// What stands instead of the file's own words.
    #[must_use]
    pub fn overrides(&self) -> Overrides {
        let given = &self.overrides;
        let drivers = given.driver.clone().map(|mut drivers| {
            drivers.sort_unstable();
            drivers.dedup();
            drivers
        });
        Overrides {
            drivers,
            duration: given.duration,
            repetitions: given.repetitions,
            seed: given.seed,
        }
    }
}

impl ValueEnum for DriverKind {
    fn value_variants<'a>() -> &'a [Self] {
        &[
            Self::Model,
            Self::Proxy,
            Self::Kernel,
            Self::External,
            Self::Shadowsocks,
        ]
    }

    fn to_possible_value(&self) -> Option<clap::builder::PossibleValue> {
        Some(match self {
            Self::Model => clap::builder::PossibleValue::new("model").help("Virtual time"),
            Self::Proxy => {
                clap::builder::PossibleValue::new("proxy").help("The proxy over sockets")
            }
            Self::Kernel => clap::builder::PossibleValue::new("kernel")
                .help("Limiters in this machine's kernel"),
            Self::External => clap::builder::PossibleValue::new("external")
                .help("Servers that somebody else runs"),
            Self::Shadowsocks => clap::builder::PossibleValue::new("shadowsocks")
                .help("The proxy over sockets, under shadowsocks"),
        })
    }
}

fn duration(text: &str) -> Result<Nanos, String> {
    let duration: Nanos = text
        .parse()
        .map_err(|why: flow::units::UnitError| why.to_string())?;
    let (least, most) = limits::DURATION;
    if (least..=most).contains(&duration) {
        Ok(duration)
    } else {
        Err(format!("write a duration from {least} to {most}"))
    }
}

fn picture(text: &str) -> Result<PathBuf, String> {
    let path = PathBuf::from(text);
    if path.extension().is_some_and(|ending| ending == "png") {
        Ok(path)
    } else {
        Err("write a name that ends in .png".to_owned())
    }
}

fn server(text: &str) -> Result<ServerArg, String> {
    if text == "proxy" {
        return Ok(ServerArg::Own);
    }
    match text.parse() {
        Ok(Via::Direct) => Err("`direct` is not by way of a server".to_owned()),
        Ok(via) => Ok(ServerArg::By(via)),
        Err(why) => Err(crate::scenario::problem::chain(&why)),
    }
}

fn figure(text: &str) -> Result<String, String> {
    tune::column(text).map_err(|why| why.to_string())
}

fn limiter(text: &str) -> Result<Policy, String> {
    text.parse()
        .map_err(|why: flow::spec::SpecError| crate::scenario::problem::chain(&why))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::Cli;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }
}
