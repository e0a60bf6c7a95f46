//! What a run is judged against.

use flow::{ByteRate, ByteSize, Nanos, Policy, Timestamp};

use super::load;
use crate::scenario::{
    Algorithm, DriverKind, KernelLimiter, Mode, RateChange, Reference, Scenario, SenderKind, User,
    UserLimit,
};

pub use super::settling::Step;

/// The shape of a run, fixed before it starts.
#[derive(Clone, Debug, PartialEq)]
pub struct RunSpec {
    /// Length of the run; `None`: until the last event, as in a replay.
    pub duration: Option<Nanos>,
    /// Width of a bin of the time series.
    pub bin: Nanos,
    /// Whether senders wait for room, so that what they offer is not what they
    /// would like to send.
    pub waits: bool,
    /// Two packets are of one train iff no more than this lies between them:
    /// zero in virtual time, [`real_train_gap`] in real time.
    pub train_gap: Nanos,
    /// The rates at which the output's smallest bucket is wanted; none: nowhere.
    pub burstiness: Vec<ByteRate>,
    /// Who sends, by index.
    pub users: Vec<UserSpec>,
}

/// One user of a run.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct UserSpec {
    /// Its name in `users.csv`.
    pub name: String,
    /// How many connections it has, at least one.
    pub connections: u32,
    /// The rate and burst it is judged against; `None`: unlimited.
    pub reference: Option<Reference>,
    /// What limits it, for the bound that it promises; `None`: nothing is promised.
    pub policy: Option<Policy>,
    /// How the policy is applied, for what it promises of delay and backlog; `None`: as a
    /// policer, or unknown.
    pub application: Option<Application>,
    /// Changes of the rate of both, in order of time.
    pub rate_changes: Vec<RateChange>,
    /// By how much the instants of its deliveries may be wrong: what a real
    /// driver allows for before it says that a bound was broken.
    pub timing_slack: Nanos,
    /// Steps of its load, in order of time.
    pub load_steps: Vec<Step>,
    /// Bytes of limiter state that it costs.
    pub state_bytes: Option<u64>,
}

/// How a policy holds bytes back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Application {
    /// Piece by piece; otherwise packet by packet.
    pub stream: bool,
    /// Limit of the queue; `None`: unlimited.
    pub queue: Option<ByteSize>,
    /// Largest packet that may arrive.
    pub largest: ByteSize,
}

/// The names of a run in every file.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RunLabel {
    /// Name of the scenario.
    pub scenario: String,
    /// `model`, `proxy`, `kernel` or `external`.
    pub driver: String,
    /// Label of the algorithm.
    pub algorithm: String,
    /// From 0.
    pub repetition: u32,
    /// The seed that the run's streams were derived from.
    pub seed: u64,
    /// `police`, `shape` or `stream`.
    pub mode: String,
    /// The policy in the text form that `replay --limiter` takes.
    pub limiter: String,
    /// CPU seconds of the limiter's process, for real drivers.
    pub cpu_seconds: Option<f64>,
    /// Resident bytes of it.
    pub memory_bytes: Option<u64>,
    /// What the set-up shows without it.
    pub calibration: Option<Calibration>,
}

/// What a set-up of real sockets does to a stream that keeps to the reference rate by
/// itself, sent through it without a limiter: the part of a real figure that is not the
/// limiter's.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Calibration {
    /// b*(r) beyond one packet.
    pub overshoot_bytes: Option<f64>,
    /// Of RFC 3550.
    pub jitter_us: Option<f64>,
    /// 99th percentile of the delay.
    pub delay_p99_us: Option<f64>,
    /// The longest delay.
    pub delay_max_us: Option<f64>,
    /// 99th percentile of how late its sender was.
    pub late_p99_us: Option<f64>,
}

impl RunSpec {
    /// How `scenario` judges a run of `algorithm` under `driver`.
    #[must_use]
    pub fn new(scenario: &Scenario, algorithm: &Algorithm, driver: DriverKind) -> Self {
        let train_gap = match driver {
            DriverKind::Model => Nanos::ZERO,
            DriverKind::Proxy
            | DriverKind::Kernel
            | DriverKind::External
            | DriverKind::Shadowsocks => real_train_gap(scenario.reference.rate),
        };
        let user = |user| UserSpec::new(scenario, algorithm, driver, user);
        Self {
            duration: Some(scenario.duration),
            bin: scenario.bin,
            waits: scenario.sender == SenderKind::Blocking,
            train_gap,
            burstiness: Vec::new(),
            users: scenario.users.iter().map(user).collect(),
        }
    }

    /// Asks for the smallest bucket of the output at rates from half the users' limits to
    /// four times them: for one run of each algorithm, because it costs as much as the rest.
    pub fn with_burstiness(&mut self, scenario: &Scenario) {
        let limits = self.users.iter().filter_map(|user| user.reference);
        let sum = limits.fold(0_u64, |sum, own| sum.saturating_add(own.rate.get()));
        let middle = if sum > 0 {
            sum
        } else {
            scenario.reference.rate.get()
        };
        let rate = |step: u32| {
            // 2^(step / 8) from a half on, in whole bytes a second.
            let factor = 2_f64.powf(f64::from(step) / 8.0 - 1.0);
            #[expect(
                clippy::cast_precision_loss,
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "a place on an axis"
            )]
            ByteRate::new((middle as f64 * factor).round() as u64)
        };
        self.burstiness = (0..=24).filter_map(rate).collect();
        self.burstiness.dedup();
    }
}

/// What `policy` says of the bytes that a receiver reads; `None`: nothing.
fn promised(policy: Policy, algorithm: &Algorithm, driver: DriverKind) -> Option<Policy> {
    // What a TCP hands over in order, after it has repaired what a policer dropped, has other
    // bursts than what left the limiter.
    if algorithm.tcp.is_some() {
        return None;
    }
    match algorithm.kernel.filter(|_| driver == DriverKind::Kernel) {
        Some(limiter) if limiter.mode() == Mode::Police => None,
        // A class sends while its tokens are not below zero: a packet more than they are
        // worth, and that may be one which the card would cut (sch_htb.c).
        Some(KernelLimiter::Htb) => {
            let burst = policy.burst()?.get().saturating_add(LARGEST_OFFLOAD);
            Some(policy.scaled_to(policy.rate()?, ByteSize::new(burst)))
        }
        _ => Some(policy),
    }
}

/// Bytes of the largest packet that Linux hands to an interface by default (`GSO_LEGACY_MAX_SIZE`).
const LARGEST_OFFLOAD: u64 = 65_536;

/// `None` where nothing is held back, or somebody else does.
fn application(
    scenario: &Scenario,
    algorithm: &Algorithm,
    driver: DriverKind,
    user: &User,
) -> Option<Application> {
    let stream = match (driver, algorithm.mode) {
        (DriverKind::Proxy, _) | (_, Mode::Stream) => true,
        (_, Mode::Shape) => false,
        (_, Mode::Police) => return None,
    };
    let largest = scenario.largest_packet(user);
    let queue = scenario.queue.filter(|_| !stream);
    (!algorithm.is_special()).then_some(Application {
        stream,
        queue,
        largest,
    })
}

impl UserSpec {
    fn new(scenario: &Scenario, algorithm: &Algorithm, driver: DriverKind, user: &User) -> Self {
        let (reference, policy, rate_changes) = match user.limit {
            UserLimit::Reference => (
                Some(scenario.reference),
                Some(algorithm.policy),
                scenario.rate_changes.clone(),
            ),
            UserLimit::Own(own) => {
                let policy = algorithm.policy.scaled_to(own.rate, own.burst);
                (Some(own), Some(policy), Vec::new())
            }
            UserLimit::Unlimited => (None, None, Vec::new()),
        };
        Self {
            name: user.name.clone(),
            connections: user.connections,
            timing_slack: Nanos::ZERO,
            load_steps: load::steps(
                &user.pattern,
                user.connections,
                user.start,
                Timestamp::ZERO + scenario.duration,
            ),
            state_bytes: policy.map(|policy| policy.state_bytes()),
            application: application(scenario, algorithm, driver, user),
            reference,
            policy: policy.and_then(|policy| promised(policy, algorithm, driver)),
            rate_changes,
        }
    }

    /// Changes of rate as instants and rates.
    pub(crate) fn changes(&self) -> Vec<(Timestamp, ByteRate)> {
        let pair = |change: &RateChange| (change.at, change.rate);
        self.rate_changes.iter().map(pair).collect()
    }

    /// Everything that the output has to follow, in order of time.
    pub(crate) fn steps(&self) -> Vec<Step> {
        let rate = |change: &RateChange| Step {
            at: change.at,
            load: None,
        };
        let mut steps: Vec<Step> = self.rate_changes.iter().map(rate).collect();
        steps.extend(&self.load_steps);
        steps.sort_by_key(|step| step.at);
        steps
    }
}

/// The widest gap within a train in real time: 1.5 times what 1500 bytes take
/// on a line ten times as fast as the limit, and at most a millisecond, so that
/// a paced flow is not one train and a reader's wake-up does not cut one.
#[must_use]
pub fn real_train_gap(rate: ByteRate) -> Nanos {
    let nanos = 1_500 * 150_000_000 / rate.get();
    Nanos::new(nanos.min(1_000_000))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::{Origin, Overrides, parse};

    #[test]
    fn a_policer_promises_nothing_of_what_tcp_reads_and_a_class_a_packet_more() {
        let text = "duration = \"1 s\"\nreference = { rate = \"1 MB/s\", burst = \"10 kB\" }\n\
             traffic = { pattern = \"bursty\" }\n\
             [[algorithm]]\nkind = \"token-bucket\"\nlabel = \"tcp\"\ntcp = \"reno\"\nrtt = \"1 ms\"\n\
             [[algorithm]]\nkind = \"token-bucket\"\nlabel = \"police\"\nkernel = \"tc\"\n\
             [[algorithm]]\nkind = \"token-bucket\"\nlabel = \"class\"\nkernel = \"htb\"\n\
             [[algorithm]]\nkind = \"token-bucket\"\n";
        let origin = Origin {
            shown: "test.toml",
            stem: "test",
            folder: None,
        };
        let scenario = parse(text, origin, &Overrides::default()).unwrap();
        let burst = |algorithm: usize, driver| {
            let spec = RunSpec::new(&scenario, &scenario.algorithms[algorithm], driver);
            spec.users[0]
                .policy
                .map(|policy| policy.burst().unwrap().get())
        };
        let found = [
            burst(0, DriverKind::Model),
            burst(1, DriverKind::Kernel),
            burst(2, DriverKind::Kernel),
            burst(3, DriverKind::Model),
        ];
        assert_eq!(found, [None, None, Some(75_536), Some(10_000)]);
    }

    #[test]
    fn trains_are_closer_than_the_pace() {
        let gap = |rate| real_train_gap(ByteRate::new(rate).unwrap()).get();
        assert_eq!(gap(5_000), 1_000_000);
        assert_eq!(gap(100_000_000), 2_250);
    }
}
