//! What is to be tested.

mod check;

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
    /// Physical ports, each with a line of its own; capacity is tested on one and on all of them.
    #[serde(default = "one")]
    pub ports: u32,
    /// Congestion control of the modelled TCP in stateful tests.
    #[serde(default)]
    pub tcp: Tcp,
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
    /// Profiles at the same time under TCP; without any, all of them with a bulk transfer each.
    #[serde(default)]
    pub stateful: Vec<StatefulProfile>,
    /// TCP test patterns for `stateful`, beside `bulk`.
    #[serde(default)]
    pub pattern: Vec<TestPattern>,
    /// How many limiters of each kind hold at once is looked for if this is here.
    pub capacity: Option<Capacity>,
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

/// Several profiles at the same time, each with TCP sessions of its own.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StatefulProfile {
    /// Its name in the report.
    pub name: String,
    /// Whose sessions send what.
    pub class: Vec<Sessions>,
}

/// One profile's part of a concurrent stateful test.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sessions {
    /// Name of a policer, queue or shaper.
    pub profile: String,
    /// TCP connections that share its limit.
    #[serde(default = "one")]
    pub sessions: u32,
    /// Name of a test pattern; `bulk` is the transfer of two seconds' worth of the limit.
    #[serde(default = "bulk")]
    pub pattern: String,
}

/// A TCP test pattern: objects one after the other over one connection, again and again.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TestPattern {
    /// Its name.
    pub name: String,
    /// Bytes of each object; the next is sent when the one before has arrived.
    pub objects: Vec<ByteSize>,
    /// Between an object's arrival and the next one's start: what client and server do meanwhile.
    #[serde(default)]
    pub pause: Nanos,
}

/// How far the search for the most limiters goes.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Capacity {
    /// The most that are tried; a full line ends the search earlier.
    pub most: u32,
    /// A limiter holds if no more of its packets are lost: percent.
    #[serde(default = "most_loss")]
    pub loss: u32,
}

/// A congestion control.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Tcp {
    /// RFC 5681.
    #[default]
    Reno,
    /// RFC 9438.
    Cubic,
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
    /// How many of a port's customers have one each, in the tests of capacity.
    #[serde(default = "one")]
    pub customers: u32,
    /// Whose limit it is at a server; without it, that of its name. The second customer's is `NAME-2`.
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
    /// How many of a port's customers have one each, in the tests of capacity.
    #[serde(default = "one")]
    pub customers: u32,
    /// Whose limit it is at a server; without it, that of its name. The second customer's is `NAME-2`.
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
    /// How many of a port's customers have one each, in the tests of capacity.
    #[serde(default = "one")]
    pub customers: u32,
    /// Whose limit it is at a server; without it, that of its name. The second customer's is `NAME-2`.
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

const fn one() -> u32 {
    1
}

const fn most_loss() -> u32 {
    1
}

fn bulk() -> String {
    BULK.to_owned()
}

/// The pattern that needs no table.
pub(super) const BULK: &str = "bulk";

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
