//! Limiters in this machine's kernel: the same traffic over TCP between two network
//! namespaces, through our eBPF policer, the kernel's own queueing disciplines, or paced.
//!
//! It needs the feature `kernel`, and a system that permits it; elsewhere it is left out, with
//! the reason.

#[cfg(feature = "kernel")]
mod live;
#[cfg(feature = "kernel")]
mod path;

use super::Stop;
use super::real::{Ran, RealError};
use crate::progress::Progress;
use crate::scenario::Scenario;

/// Why the kernel's limiters could not be driven.
#[derive(Debug, thiserror::Error)]
pub enum KernelError {
    /// The sockets, whatever is between them.
    #[error(transparent)]
    Real(#[from] RealError),
    /// A network namespace, or what is to limit in it.
    #[cfg(feature = "kernel")]
    #[error("cannot set up a path")]
    Path(#[from] ::kernel::netns::NetnsError),
    /// Our program in the kernel.
    #[cfg(feature = "kernel")]
    #[error("cannot bring a rule into the kernel")]
    Engine(#[from] ::kernel::engine::EngineError),
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
    super::real::run::<live::Paths>(scenario, progress, stop)
}

/// Without the feature nothing runs; [`unavailable`] says why.
///
/// # Errors
/// None.
#[cfg(not(feature = "kernel"))]
pub fn run(_scenario: &Scenario, _progress: Progress, _stop: &Stop) -> Result<Ran, KernelError> {
    Ok(Ran::default())
}

/// A run without a path: a fault of this program.
#[cfg(feature = "kernel")]
fn no_path() -> RealError {
    super::real::io_error("find a connection's path")(std::io::ErrorKind::NotFound.into())
}
