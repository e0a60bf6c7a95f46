//! A stream with the limiter that it goes through, and what it is sent.

use flow::{ByteSize, Policy};
use rand_xoshiro::Xoshiro256PlusPlus;
use rand_xoshiro::rand_core::Rng as _;

use super::config::{Config, PolicerProfile, QueueProfile, ShaperProfile};
use super::streams::{Bursts, Element};
use super::{real, time_of};

/// A stream and what it goes through.
#[derive(Clone)]
pub(super) struct Stream {
    pub(super) name: String,
    /// Which of the profile's customers it is of, from 0.
    pub(super) customer: u32,
    /// How many of them a port has.
    pub(super) customers: u32,
    /// Its user at a server.
    pub(super) user: String,
    /// The depth that is tested.
    pub(super) burst: u64,
    /// What it takes up from rest before it loses anything.
    room: u64,
    pub(super) rate: u64,
    pub(super) policy: Policy,
    pub(super) queue: Option<ByteSize>,
}

impl Stream {
    pub(super) fn policer(profile: &PolicerProfile) -> Self {
        Self {
            name: profile.name.clone(),
            customer: 0,
            customers: profile.customers,
            user: user(profile.user.as_ref(), &profile.name),
            burst: profile.depth(),
            room: profile.depth(),
            rate: profile.cir.get(),
            policy: profile.policy(),
            queue: None,
        }
    }

    pub(super) fn queue(profile: &QueueProfile) -> Self {
        Self {
            name: profile.name.clone(),
            customer: 0,
            customers: profile.customers,
            user: user(profile.user.as_ref(), &profile.name),
            burst: profile.ql.get(),
            room: profile.ql.get(),
            rate: profile.bb.get(),
            policy: profile.policy(),
            queue: Some(profile.ql),
        }
    }

    pub(super) fn shaper(profile: &ShaperProfile) -> Self {
        Self {
            name: profile.name.clone(),
            customer: 0,
            customers: profile.customers,
            user: user(profile.user.as_ref(), &profile.name),
            burst: profile.ql.get(),
            room: profile.ql.get().saturating_add(profile.bc.get()),
            rate: profile.sr.get(),
            policy: profile.policy(),
            queue: Some(profile.ql),
        }
    }

    /// All that `config` has profiles for.
    pub(super) fn all(config: &Config) -> Vec<Self> {
        let policers = config.policer.iter().map(Self::policer);
        let queues = config.queue.iter().map(Self::queue);
        let shapers = config.shaper.iter().map(Self::shaper);
        policers.chain(queues).chain(shapers).collect()
    }

    /// The same limits, of another customer.
    pub(super) fn of_customer(&self, customer: u32) -> Self {
        let user = match customer {
            0 => self.user.clone(),
            more => format!("{}-{}", self.user, u64::from(more) + 1),
        };
        Self {
            customer,
            user,
            ..self.clone()
        }
    }

    pub(super) fn element(&self) -> Element {
        match self.queue {
            None => Element::policer(&self.policy),
            Some(queue) => Element::shaper(&self.policy, queue),
        }
    }

    /// Ti: the time in which what one burst takes comes back.
    pub(super) fn interval(&self, burst: u64) -> u64 {
        time_of(burst, self.rate)
    }

    /// How long it takes to come to rest.
    pub(super) fn recovery(&self) -> u64 {
        time_of(self.room, self.rate)
    }
}

fn user(written: Option<&String>, name: &str) -> String {
    written.map_or_else(|| name.to_owned(), Clone::clone)
}

/// What a stream is sent: bursts of one size at even intervals, on a port.
#[derive(Clone, Copy)]
pub(super) struct Load {
    pub(super) burst: u64,
    pub(super) interval: u64,
    pub(super) port: usize,
}

impl Load {
    /// What fills `stream` as fast as it drains.
    pub(super) fn own(stream: &Stream, port: usize) -> Self {
        Self {
            burst: stream.burst,
            interval: stream.interval(stream.burst),
            port,
        }
    }

    pub(super) fn setting(self) -> String {
        format!(
            "bursts of {} B every {:.3} ms",
            self.burst,
            real(self.interval) / 1e6
        )
    }

    pub(super) fn from(self, random: &mut Xoshiro256PlusPlus) -> Bursts {
        Bursts {
            port: self.port,
            size: self.burst,
            interval: self.interval,
            start: random.next_u64() % self.interval.max(1),
        }
    }
}
