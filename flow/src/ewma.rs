//! Limits on a smoothed rate: by intervals, and in continuous time.
//!
//! An average remembers a little of everything that ever passed, in ever finer
//! fractions. Both keep so many of them that what is lost stays far below a
//! billionth of a byte in any run length, and round it against the sender.

mod continuous;
mod decay;
mod discrete;

pub use continuous::EwmaContinuous;
pub use discrete::Ewma;
