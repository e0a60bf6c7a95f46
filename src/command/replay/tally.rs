//! The figures of a replay: of all packets, and of each user where each has a limiter.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use flow::{ByteRate, ByteSize, Policy, Timestamp, Verdict};
use serde::Serialize;
use traffic::Packet;

use super::super::{Failure, StdoutError};
use crate::metrics::exact::{Exact, Figures};
use crate::record::{DropReason, FlowId};

/// Figures under construction.
pub(super) struct Tally {
    /// The limiter's own rate and burst, where it names them.
    limit: (Option<ByteRate>, Option<ByteSize>),
    all: Exact,
    /// `None`: all users share one limiter.
    users: Option<Vec<Exact>>,
    names: Vec<String>,
    state_bytes: u64,
    /// Departures of several limiters, to be told in order of time.
    leaving: BinaryHeap<Reverse<Leaving>>,
    next: u64,
}

#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Leaving {
    departure: Timestamp,
    order: u64,
    arrival: Timestamp,
    size: ByteSize,
    flow: FlowId,
}

/// What `replay --json` prints.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    /// Of all packets; not judged by a rate where every user has a limiter of its own.
    #[serde(flatten)]
    pub(super) all: Figures,
    /// Bytes of limiter state that each user costs.
    pub(super) state_bytes: u64,
    /// Of each user where each has a limiter of its own.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) users: Vec<UserReport>,
}

/// The figures of one user.
#[derive(Debug, Serialize)]
pub(super) struct UserReport {
    pub(super) user: String,
    #[serde(flatten)]
    pub(super) figures: Figures,
}

impl Tally {
    pub(super) fn new(policy: &Policy, per_user: bool) -> Self {
        let limit = named_limit(policy);
        let (rate, burst) = if per_user { (None, None) } else { limit };
        Self {
            limit,
            all: Exact::new(rate, burst),
            users: per_user.then(Vec::new),
            names: Vec::new(),
            state_bytes: policy.state_bytes(),
            leaving: BinaryHeap::new(),
            next: 0,
        }
    }

    /// Takes down what became of `packet`.
    pub(super) fn add(&mut self, packet: &Packet, verdict: Verdict) {
        let (rate, burst) = self.limit;
        let Some(users) = &mut self.users else {
            take_down(&mut self.all, packet, verdict);
            return;
        };
        let index = packet.user as usize;
        while users.len() <= index {
            users.push(Exact::new(rate, burst));
        }
        take_down(&mut users[index], packet, verdict);
        self.all.offered(packet.at, packet.size, flow_of(packet));
        match verdict {
            Verdict::Departs(departure) => self.leave_later(packet, departure),
            Verdict::Drop(why) => self.all.dropped(packet.size, reason(why)),
        }
        self.release(packet.at);
    }

    /// The names of the users, in order of their numbers.
    pub(super) fn name(&mut self, names: &[String]) {
        self.names = names.to_vec();
    }

    pub(super) fn report(mut self) -> Report {
        self.release(Timestamp::MAX);
        let users = self.users.unwrap_or_default();
        let users = self.names.into_iter().zip(users);
        Report {
            all: self.all.figures(),
            state_bytes: self.state_bytes,
            users: users
                .map(|(user, exact)| UserReport {
                    user,
                    figures: exact.figures(),
                })
                .collect(),
        }
    }

    fn leave_later(&mut self, packet: &Packet, departure: Timestamp) {
        self.leaving.push(Reverse(Leaving {
            departure,
            order: self.next,
            arrival: packet.at,
            size: packet.size,
            flow: flow_of(packet),
        }));
        self.next += 1;
    }

    /// Tells of everything that has left by `now`: nothing earlier can follow.
    fn release(&mut self, now: Timestamp) {
        while let Some(Reverse(first)) = self.leaving.peek() {
            if first.departure > now {
                break;
            }
            self.all
                .passed(first.arrival, first.departure, first.size, first.flow);
            self.leaving.pop();
        }
    }
}

impl Report {
    /// The figures as JSON.
    pub(super) fn json(&self) -> Result<String, Failure> {
        let mut text = serde_json::to_string_pretty(self)
            .map_err(|why| Failure::environment(StdoutError::from(std::io::Error::from(why))))?;
        text.push('\n');
        Ok(text)
    }
}

fn take_down(exact: &mut Exact, packet: &Packet, verdict: Verdict) {
    let flow = flow_of(packet);
    exact.offered(packet.at, packet.size, flow);
    match verdict {
        Verdict::Departs(departure) => exact.passed(packet.at, departure, packet.size, flow),
        Verdict::Drop(why) => exact.dropped(packet.size, reason(why)),
    }
}

const fn flow_of(packet: &Packet) -> FlowId {
    FlowId {
        user: packet.user,
        connection: packet.connection,
    }
}

const fn reason(why: flow::DropReason) -> DropReason {
    match why {
        flow::DropReason::Police => DropReason::Police,
        flow::DropReason::Queue => DropReason::Queue,
        flow::DropReason::Oversize => DropReason::Oversize,
    }
}

/// The `rate` and the `burst` that the policy has as parameters: windows have a
/// limit instead, and no output is judged by what was not asked for.
pub(super) fn named_limit(policy: &Policy) -> (Option<ByteRate>, Option<ByteSize>) {
    match policy {
        Policy::None
        | Policy::FixedWindow { .. }
        | Policy::SlidingWindowLog { .. }
        | Policy::SlidingWindowCounter { .. } => (None, None),
        Policy::TokenBucket { .. }
        | Policy::DualTokenBucket { .. }
        | Policy::LeakyBucketMeter { .. }
        | Policy::Gcra { .. } => (policy.rate(), policy.burst()),
        _ => (policy.rate(), None),
    }
}
