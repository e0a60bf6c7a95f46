//! Any generator behind one type, without a virtual call on the way.

use crate::arrival::{
    Bulk, Constant, IdleThenFlood, Mmpp, OnOff, Poisson, Ramp, RequestResponse, Steps,
};
use crate::bursty::Bursty;
use crate::source::{Generator, Send};
use crate::trace::Recorded;
use flow::Timestamp;

/// One of the generators of this crate.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "each variant holds the type of its name")]
pub enum AnyGenerator {
    Bursty(Bursty),
    Constant(Constant),
    Poisson(Poisson),
    OnOff(OnOff),
    Mmpp(Mmpp),
    Bulk(Bulk),
    IdleThenFlood(IdleThenFlood),
    Ramp(Ramp),
    Steps(Steps),
    RequestResponse(RequestResponse),
    Recorded(Recorded),
}

impl Generator for AnyGenerator {
    #[inline]
    fn next_send(&mut self, now: Timestamp) -> Option<Send> {
        match self {
            Self::Bursty(generator) => generator.next_send(now),
            Self::Constant(generator) => generator.next_send(now),
            Self::Poisson(generator) => generator.next_send(now),
            Self::OnOff(generator) => generator.next_send(now),
            Self::Mmpp(generator) => generator.next_send(now),
            Self::Bulk(generator) => generator.next_send(now),
            Self::IdleThenFlood(generator) => generator.next_send(now),
            Self::Ramp(generator) => generator.next_send(now),
            Self::Steps(generator) => generator.next_send(now),
            Self::RequestResponse(generator) => generator.next_send(now),
            Self::Recorded(generator) => generator.next_send(now),
        }
    }

    fn awaits_delivery(&self) -> bool {
        matches!(self, Self::RequestResponse(_))
    }
}

macro_rules! from_each {
    ($($name:ident),*) => {$(
        impl From<$name> for AnyGenerator {
            fn from(generator: $name) -> Self {
                Self::$name(generator)
            }
        }
    )*};
}

from_each!(
    Bursty,
    Constant,
    Poisson,
    OnOff,
    Mmpp,
    Bulk,
    IdleThenFlood,
    Ramp,
    Steps,
    RequestResponse,
    Recorded
);
