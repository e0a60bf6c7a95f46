//! The discrete-event simulation: offered traffic through `flow`, in whole
//! nanoseconds of virtual time.
//!
//! Users do not meet: each has a limiter of its own, so each is simulated by
//! itself, one after another. Within a user, ties go to the lower connection.

mod packets;
mod stream;
pub(crate) mod tcp;

use flow::{ByteSize, Limiter, Nanos, Policy, Timestamp};

use super::{Stop, end_of, policy_of};
use crate::record::Recorder;
use crate::scenario::{Algorithm, Mode, RateChange, Scenario, TcpSender, User, UserLimit};

/// Why a simulation cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    /// An open-loop sender keeps more bytes waiting in front of a stream than
    /// any buffer should hold.
    #[error(
        "user {user} has more than {limit} waiting in front of the limiter at {at}; \
         nothing is dropped in stream mode, so let the sender wait: sender = \"blocking\""
    )]
    Overrun {
        /// Name of the user.
        user: String,
        /// When, since the start of the run.
        at: Nanos,
        /// The most that may wait.
        limit: ByteSize,
    },
}

/// How many packets or turns pass between two looks at the stop flag.
const STOP_EVERY: u64 = 1 << 16;

/// One run: every user of `scenario` through `algorithm`.
///
/// `repetition` selects the random numbers, and nothing else does: every
/// algorithm sees the same arrivals (as far as its back-pressure lets it).
///
/// # Errors
/// [`ModelError`]; a run that was stopped is not an error.
pub fn run<R: Recorder>(
    scenario: &Scenario,
    algorithm: &Algorithm,
    repetition: u32,
    recorder: &mut R,
    stop: &Stop,
) -> Result<(), ModelError> {
    for (index, user) in (0u32..).zip(&scenario.users) {
        let policy = policy_of(user, algorithm);
        let run = UserRun {
            scenario,
            user,
            index,
            mode: mode_of(user, algorithm, scenario),
            policy,
            tcp: algorithm.tcp,
            repetition,
            recorder,
            stop,
        };
        policy.visit(run)?;
    }
    Ok(())
}

/// An unlimited user in a scenario of policers is still only watched.
fn mode_of(user: &User, algorithm: &Algorithm, scenario: &Scenario) -> Mode {
    match user.limit {
        UserLimit::Unlimited => scenario.mode,
        _ => algorithm.mode,
    }
}

/// One user's part of a run.
struct UserRun<'a, R> {
    scenario: &'a Scenario,
    user: &'a User,
    index: u32,
    mode: Mode,
    policy: Policy,
    /// What sends, if it is a TCP.
    tcp: Option<TcpSender>,
    repetition: u32,
    recorder: &'a mut R,
    stop: &'a Stop,
}

impl<R: Recorder> flow::policy::Visitor for UserRun<'_, R> {
    type Out = Result<(), ModelError>;

    fn visit<L: Limiter + Clone + Send + 'static>(self, limiter: L) -> Self::Out {
        if let Some(tcp) = self.tcp {
            return self.tcp(tcp, limiter);
        }
        match self.mode {
            Mode::Police => {
                self.police(limiter);
                Ok(())
            }
            Mode::Shape => {
                self.shape(limiter);
                Ok(())
            }
            Mode::Stream => self.stream(limiter),
        }
    }
}

impl<'a, R> UserRun<'a, R> {
    /// The queue in front of a shaper: the algorithm's own, or the scenario's.
    fn queue(&self) -> Option<flow::ByteSize> {
        self.policy.queue().or(self.scenario.queue)
    }

    /// When the run ends: nothing at or after it counts.
    fn end(&self) -> Timestamp {
        end_of(self.scenario)
    }

    /// Changes of rate that concern this user, in order.
    fn rate_changes(&self) -> &'a [RateChange] {
        match self.user.limit {
            UserLimit::Reference => &self.scenario.rate_changes,
            UserLimit::Own(_) | UserLimit::Unlimited => &[],
        }
    }
}

#[cfg(test)]
mod tests;
