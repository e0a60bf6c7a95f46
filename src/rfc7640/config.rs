//! What is to be tested.

use flow::policy::Oversize;
use flow::{ByteRate, ByteSize, Nanos, Policy};
use serde::Deserialize;

/// A test plan: `weirgate rfc7640 FILE` reads it from TOML.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Line rate of every port, in bytes a second, above all others.
    pub line: ByteRate,
    /// Bytes of a packet.
    #[serde(default = "packet")]
    pub packet: ByteSize,
    /// Tr, at least 10 unless one only tries it out.
    #[serde(default = "runs")]
    pub runs: u32,
    /// Td, recommended 60 s.
    #[serde(default = "duration")]
    pub duration: Nanos,
    /// Round trip of the delay emulator in stateful tests.
    #[serde(default = "rtt")]
    pub rtt: Nanos,
    /// Of the instants at which bursts begin: what differs from run to run.
    #[serde(default)]
    pub seed: u64,
    /// Policers.
    #[serde(default)]
    pub policer: Vec<PolicerProfile>,
    /// Queues.
    #[serde(default)]
    pub queue: Vec<QueueProfile>,
    /// Shapers.
    #[serde(default)]
    pub shaper: Vec<ShaperProfile>,
    /// Profiles at the same time; without any, all policers and shapers at their own rates.
    #[serde(default)]
    pub concurrent: Vec<ConcurrentProfile>,
    /// Against a server: how long a packet may take, beyond a queue's own time, before it counts
    /// as lost. A relay of streams loses nothing; what it holds back for longer is what a policer
    /// would have dropped.
    #[serde(default = "loss_wait")]
    pub loss_wait: Nanos,
}

/// Several profiles at the same time, each loaded with its share.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConcurrentProfile {
    /// Its name in the report.
    pub name: String,
    /// What is sent to all of them together; without it, their rates added up.
    pub load: Option<ByteRate>,
    /// Who gets how much of it.
    pub class: Vec<Class>,
}

/// One profile's part of a concurrent test.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Class {
    /// Name of a policer, queue or shaper.
    pub profile: String,
    /// Percent of the load; those of a test add up to 100.
    pub share: u32,
}

/// A policer of RFC 2697's parameters.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PolicerProfile {
    /// Its name in the report.
    pub name: String,
    /// Committed information rate.
    pub cir: ByteRate,
    /// Committed burst size.
    pub cbs: ByteSize,
    /// Excess burst size.
    #[serde(default)]
    pub ebs: ByteSize,
    /// Whose limit it is at a server; without it, that of its name.
    pub user: Option<String>,
}

/// A queue in front of a bottleneck.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct QueueProfile {
    /// Its name in the report.
    pub name: String,
    /// Queue length.
    pub ql: ByteSize,
    /// Bottleneck bandwidth.
    pub bb: ByteRate,
    /// Whose limit it is at a server; without it, that of its name.
    pub user: Option<String>,
}

/// A shaper: a queue in front of a token bucket.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ShaperProfile {
    /// Its name in the report.
    pub name: String,
    /// Shaper rate.
    pub sr: ByteRate,
    /// Bucket.
    pub bc: ByteSize,
    /// Queue length.
    pub ql: ByteSize,
    /// Whose limit it is at a server; without it, that of its name.
    pub user: Option<String>,
}

const fn packet() -> ByteSize {
    ByteSize::new(1_000)
}

const fn runs() -> u32 {
    10
}

const fn duration() -> Nanos {
    Nanos::from_secs(60)
}

const fn loss_wait() -> Nanos {
    Nanos::from_millis(100)
}

const fn rtt() -> Nanos {
    Nanos::from_millis(40)
}

/// The longest run and the most of them.
const LONGEST: Nanos = Nanos::from_secs(3_600);
const MOST_RUNS: u32 = 1_000;
/// The most packets of one run at line rate: some gigabytes of memory.
const MOST_PACKETS: u128 = 50_000_000;

impl Config {
    /// What does not go together, as (what, what to write instead).
    #[must_use]
    pub fn problem(&self) -> Option<(String, String)> {
        let say = |what: String, instead: &str| Some((what, instead.to_owned()));
        if self.policer.is_empty() && self.queue.is_empty() && self.shaper.is_empty() {
            return say(
                "there is nothing to test".into(),
                "add a [[policer]], [[queue]] or [[shaper]]",
            );
        }
        if self.runs == 0 || self.runs > MOST_RUNS {
            return say(
                format!("runs = {}", self.runs),
                "write 1 to 1000, 10 or more for a report",
            );
        }
        if self.duration < Nanos::from_secs(1) || self.duration > LONGEST {
            return say(
                format!("duration = {}", self.duration),
                "write \"1 s\" to \"3600 s\", 60 s is recommended",
            );
        }
        if !(64..=65_535).contains(&self.packet.get()) {
            return say(
                format!("packets of {}", self.packet),
                "write 64 B to 65535 B",
            );
        }
        let bytes = u128::from(self.line.get()) * u128::from(self.duration.get()) / 1_000_000_000;
        if bytes / u128::from(self.packet.get()) > MOST_PACKETS {
            return say(
                "more than 50 million packets a run".into(),
                "shorten the duration or use larger packets",
            );
        }
        if self.loss_wait > LONGEST {
            return say(
                format!("loss_wait = {}", self.loss_wait),
                "write \"3600 s\" at most",
            );
        }
        self.repeated()
            .or_else(|| self.concurrent.iter().find_map(|test| self.mixed(test)))
            .or_else(|| self.depth_problem())
    }

    fn depth_problem(&self) -> Option<(String, String)> {
        let say = |what: String, instead: &str| Some((what, instead.to_owned()));
        self.depths().find_map(|(name, rate, depth)| {
            if rate >= self.line {
                say(
                    format!("`{name}` is not slower than the line of {}", self.line),
                    "write a lower rate, or a faster line",
                )
            } else if depth < self.packet {
                say(
                    format!(
                        "`{name}` has room for {depth}, less than a packet of {}",
                        self.packet
                    ),
                    "write more, or smaller packets",
                )
            } else {
                None
            }
        })
    }

    /// A name that two profiles have.
    fn repeated(&self) -> Option<(String, String)> {
        let names: Vec<&str> = self.depths().map(|(name, ..)| name).collect();
        let again = names.iter().enumerate();
        again.into_iter().find_map(|(at, name)| {
            names[..at].contains(name).then(|| {
                (
                    format!("two profiles are called `{name}`"),
                    "give each a name of its own".to_owned(),
                )
            })
        })
    }

    /// What is wrong with a concurrent test.
    fn mixed(&self, test: &ConcurrentProfile) -> Option<(String, String)> {
        let say = |what: String, instead: &str| Some((what, instead.to_owned()));
        let shares: u64 = test.class.iter().map(|class| u64::from(class.share)).sum();
        if shares != 100 || test.class.iter().any(|class| class.share == 0) {
            return say(
                format!("the shares of `{}` add up to {shares} %", test.name),
                "write shares of 1 or more that add up to 100",
            );
        }
        if test.load.is_some_and(|load| load > self.line) {
            return say(
                format!("`{}` sends more than the line of {}", test.name, self.line),
                "write a smaller load, or a faster line",
            );
        }
        let unknown = test.class.iter().enumerate().find(|(at, class)| {
            let known = self.depths().any(|(name, ..)| name == class.profile);
            !known
                || test.class[..*at]
                    .iter()
                    .any(|one| one.profile == class.profile)
        });
        unknown.and_then(|(_, class)| {
            say(
                format!("`{}` names `{}`", test.name, class.profile),
                "name each policer, queue or shaper of this file once at most",
            )
        })
    }

    fn depths(&self) -> impl Iterator<Item = (&str, ByteRate, ByteSize)> {
        let policers = self.policer.iter().map(|p| (p.name.as_str(), p.cir, p.cbs));
        let queues = self.queue.iter().map(|q| (q.name.as_str(), q.bb, q.ql));
        let shapers = self
            .shaper
            .iter()
            .map(|s| (s.name.as_str(), s.sr, s.ql.min(s.bc)));
        policers.chain(queues).chain(shapers)
    }
}

impl PolicerProfile {
    /// CBS + EBS.
    #[must_use]
    pub const fn depth(&self) -> u64 {
        self.cbs.get().saturating_add(self.ebs.get())
    }

    pub(super) fn policy(&self) -> Policy {
        if self.ebs == ByteSize::ZERO {
            return bucket(self.cir, self.cbs);
        }
        Policy::SrTcm {
            rate: self.cir,
            cbs: self.cbs,
            ebs: self.ebs,
            drop_yellow: false,
        }
    }
}

impl QueueProfile {
    pub(super) const fn policy(&self) -> Policy {
        Policy::LeakyBucket {
            rate: self.bb,
            queue: Some(self.ql),
        }
    }
}

impl ShaperProfile {
    pub(super) const fn policy(&self) -> Policy {
        bucket(self.sr, self.bc)
    }
}

const fn bucket(rate: ByteRate, burst: ByteSize) -> Policy {
    Policy::TokenBucket {
        rate,
        burst,
        initial: burst,
        oversize: Oversize::Drop,
    }
}
