//! The Weirgate harness: scenario -> traffic -> driver -> records -> metrics -> report.
#![forbid(unsafe_code)]

pub mod cli;
pub mod command;
mod cost;
pub mod driver;
pub mod fit;
pub mod interrupt;
pub mod metrics;
pub mod output;
pub mod probe;
pub mod progress;
pub mod record;
pub mod report;
pub mod results;
pub mod rfc7640;
pub mod run;
pub mod scenario;
pub mod statistics;
pub mod sweep;
pub mod tune;
