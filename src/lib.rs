//! The Weirgate harness: scenario -> traffic -> driver -> records -> metrics -> report.
#![forbid(unsafe_code)]

pub mod record;
pub mod results;
pub mod scenario;
