//! What cannot be tested, or not together.

use flow::{ByteRate, ByteSize, Nanos};

use super::{BULK, ConcurrentProfile, Config, StatefulProfile, TestPattern};

/// The longest run and the most of them.
const LONGEST: Nanos = Nanos::from_secs(3_600);
const MOST_RUNS: u32 = 1_000;
/// The most packets of one run at line rate: some gigabytes of memory.
const MOST_PACKETS: u128 = 50_000_000;
/// The most limiters, sessions and objects of one test.
const MOST_AT_ONCE: u32 = 1_000;
const MOST_PORTS: u32 = 64;
/// The most bytes of a pattern's objects together.
const MOST_BYTES: u64 = 1_000_000_000;
/// Round trips of the delay emulator.
const ROUND_TRIPS: (Nanos, Nanos) = (Nanos::new(10_000), Nanos::from_secs(10));

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
        if !(ROUND_TRIPS.0..=ROUND_TRIPS.1).contains(&self.rtt) {
            return say(format!("rtt = {}", self.rtt), "write \"10 us\" to \"10 s\"");
        }
        if self.loss_wait > LONGEST {
            return say(
                format!("loss_wait = {}", self.loss_wait),
                "write \"3600 s\" at most",
            );
        }
        self.crowd()
            .or_else(|| self.repeated())
            .or_else(|| self.depth_problem())
            .or_else(|| self.concurrent.iter().find_map(|test| self.mixed(test)))
            .or_else(|| self.pattern.iter().find_map(|pattern| pattern.problem()))
            .or_else(|| self.patterns_of_one_name())
            .or_else(|| self.stateful.iter().find_map(|test| self.sessions(test)))
    }

    /// More ports, customers or packets than a test can have.
    fn crowd(&self) -> Option<(String, String)> {
        let say = |what: String, instead: &str| Some((what, instead.to_owned()));
        if !(1..=MOST_PORTS).contains(&self.ports) {
            return say(format!("ports = {}", self.ports), "write 1 to 64");
        }
        let customers = self.customers();
        if let Some((name, count)) = customers
            .clone()
            .find(|(_, count)| !(1..=MOST_AT_ONCE).contains(count))
        {
            return say(format!("`{name}` has {count} customers"), "write 1 to 1000");
        }
        let limiters = customers.map(|(_, count)| u64::from(count)).sum::<u64>();
        if limiters * u64::from(self.ports) > u64::from(MOST_AT_ONCE) {
            return say(
                format!("{limiters} customers on each of {} ports", self.ports),
                "write fewer: 1000 in all at most",
            );
        }
        if let Some(capacity) = self.capacity
            && (!(1..=MOST_AT_ONCE).contains(&capacity.most) || capacity.loss > 50)
        {
            return say(
                format!(
                    "capacity of at most {} with {} % lost",
                    capacity.most, capacity.loss
                ),
                "write most = 1 to 1000 and loss = 0 to 50 (percent)",
            );
        }
        let bytes = u128::from(self.line.get()) * u128::from(self.duration.get()) / 1_000_000_000;
        let packets = bytes / u128::from(self.packet.get()) * u128::from(self.ports);
        if packets > MOST_PACKETS {
            return say(
                "more than 50 million packets a run".into(),
                "shorten the duration, or use larger packets or fewer ports",
            );
        }
        None
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
        first_repeated(&names).map(|name| {
            (
                format!("two profiles are called `{name}`"),
                "give each a name of its own".to_owned(),
            )
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

    /// What is wrong with a concurrent stateful test.
    fn sessions(&self, test: &StatefulProfile) -> Option<(String, String)> {
        let say = |what: String, instead: &str| Some((what, instead.to_owned()));
        if test.class.is_empty() {
            return say(format!("`{}` has no class", test.name), "name a profile");
        }
        for (at, class) in test.class.iter().enumerate() {
            let again = test.class[..at]
                .iter()
                .any(|one| one.profile == class.profile);
            if again || !self.depths().any(|(name, ..)| name == class.profile) {
                return say(
                    format!("`{}` names `{}`", test.name, class.profile),
                    "name each policer, queue or shaper of this file once at most",
                );
            }
            if !(1..=MOST_AT_ONCE).contains(&class.sessions) {
                return say(
                    format!("`{}` has {} sessions", class.profile, class.sessions),
                    "write 1 to 1000",
                );
            }
            let known = self.pattern.iter().any(|one| one.name == class.pattern);
            if class.pattern != BULK && !known {
                return say(
                    format!("there is no pattern `{}`", class.pattern),
                    "write `bulk`, or add a [[pattern]] of that name",
                );
            }
        }
        None
    }

    fn patterns_of_one_name(&self) -> Option<(String, String)> {
        let mut names: Vec<&str> = vec![BULK];
        names.extend(self.pattern.iter().map(|pattern| pattern.name.as_str()));
        first_repeated(&names).map(|name| {
            (
                format!("two patterns are called `{name}`"),
                "give each a name of its own; `bulk` is built in".to_owned(),
            )
        })
    }

    /// All profiles with the customers that a port has of them.
    fn customers(&self) -> impl Iterator<Item = (&str, u32)> + Clone {
        let policers = self.policer.iter().map(|p| (p.name.as_str(), p.customers));
        let queues = self.queue.iter().map(|q| (q.name.as_str(), q.customers));
        let shapers = self.shaper.iter().map(|s| (s.name.as_str(), s.customers));
        policers.chain(queues).chain(shapers)
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

impl TestPattern {
    /// What is wrong with it.
    fn problem(&self) -> Option<(String, String)> {
        let say = |what: String, instead: &str| Some((what, instead.to_owned()));
        let count = self.objects.len();
        let sizes = self.objects.iter().map(|object| object.get());
        let bytes = sizes.fold(0, u64::saturating_add);
        if count == 0 || count > MOST_AT_ONCE as usize || self.objects.contains(&ByteSize::ZERO) {
            return say(
                format!(
                    "the pattern `{}` has {count} objects, or an empty one",
                    self.name
                ),
                "write 1 to 1000 of 1 B or more",
            );
        }
        if bytes > MOST_BYTES || self.pause > ROUND_TRIPS.1 {
            return say(
                format!(
                    "the pattern `{}` has {bytes} B and pauses of {}",
                    self.name, self.pause
                ),
                "write 1 GB and \"10 s\" at most",
            );
        }
        None
    }
}

/// The first name that stands there twice.
fn first_repeated<'a>(names: &[&'a str]) -> Option<&'a str> {
    let mut again = names.iter().enumerate();
    again
        .find(|(at, name)| names[..*at].contains(name))
        .map(|(_, name)| *name)
}
