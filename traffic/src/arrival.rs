//! When packets are due: every arrival process but the bursty sender.
//!
//! A generator measures its gaps from the instant the previous send returned,
//! so a sender that is blocked goes on where it was when the room comes. In open
//! loop, where that instant is the send's own, each is the process its name says.

mod constant;
mod flood;
mod level;
mod mmpp;
mod on_off;
mod poisson;
mod ramp;
mod request_response;
mod steps;

pub use constant::{Constant, Phase};
pub use flood::{Bulk, IdleThenFlood};
pub use level::{Level, Levels};
pub use mmpp::Mmpp;
pub use on_off::{OnOff, Periods};
pub use poisson::Poisson;
pub use ramp::Ramp;
pub use request_response::RequestResponse;
pub use steps::Steps;
