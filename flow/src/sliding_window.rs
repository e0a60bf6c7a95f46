//! Windows that move with time: an exact log, and two counters that approximate it.

mod counter;
mod log;

pub use counter::SlidingWindowCounter;
pub use log::SlidingWindowLog;
