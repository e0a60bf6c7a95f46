//! Limiters in this machine's kernel: the same traffic over TCP between two network
//! namespaces, through our eBPF policer, the kernel's own queueing disciplines, or paced.
//!
//! It needs the feature `kernel`, and a system that permits it; elsewhere it is left out, with
//! the reason.

#[cfg(feature = "kernel")]
mod live;
#[cfg(feature = "kernel")]
mod path;

use std::io;

use bench_clients::drive;

use super::Stop;
use crate::metrics::RunFigures;
use crate::progress::Progress;
use crate::scenario::Scenario;

/// Why the kernel's limiters could not be driven.
#[derive(Debug, thiserror::Error)]
pub enum KernelError {
    /// A runtime or a socket is not to be had.
    #[error("cannot {what}")]
    Io {
        /// What was tried.
        what: &'static str,
        /// Why it failed.
        source: io::Error,
    },
    /// A network namespace, or what is to limit in it.
    #[cfg(feature = "kernel")]
    #[error("cannot set up a path")]
    Path(#[from] ::kernel::netns::NetnsError),
    /// Our program in the kernel.
    #[cfg(feature = "kernel")]
    #[error("cannot bring a rule into the kernel")]
    Engine(#[from] ::kernel::engine::EngineError),
    /// A flow broke.
    #[error("a connection broke during the run")]
    Drive(#[from] drive::RunError),
}

/// What came of all runs.
#[derive(Debug, Default)]
pub struct Ran {
    /// In the order of the scenario.
    pub figures: Vec<RunFigures>,
    /// What our program counted in the kernel, which receivers cannot know, a line each.
    pub notes: Vec<String>,
}

/// Why this driver cannot run here; `None` if it can.
#[must_use]
#[cfg(feature = "kernel")]
pub fn unavailable() -> Option<String> {
    if let Some(missing) = ::kernel::engine::missing() {
        return Some(missing.to_string());
    }
    let tried = ::kernel::netns::Cable::new();
    tried.err().map(|error| error.to_string())
}

/// Why this driver cannot run here.
#[must_use]
#[cfg(not(feature = "kernel"))]
pub fn unavailable() -> Option<String> {
    let reason = "this program was built without the feature `kernel`, which needs clang, \
                  libelf-dev, zlib1g-dev and pkg-config";
    Some(reason.to_owned())
}

/// Runs every algorithm that names a limiter in the kernel.
///
/// A run that was stopped on the way counts for as long as it lasted.
///
/// # Errors
/// See [`KernelError`].
#[cfg(feature = "kernel")]
pub fn run(scenario: &Scenario, progress: Progress, stop: &Stop) -> Result<Ran, KernelError> {
    live::run(scenario, progress, stop)
}

/// Without the feature nothing runs; [`unavailable`] says why.
///
/// # Errors
/// None.
#[cfg(not(feature = "kernel"))]
pub fn run(_scenario: &Scenario, _progress: Progress, _stop: &Stop) -> Result<Ran, KernelError> {
    Ok(Ran::default())
}
