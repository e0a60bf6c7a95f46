//! The real proxy under shadowsocks: streams as the driver `proxy` has them, encrypted, and
//! algorithms that police as datagrams, which the proxy drops beyond the limit.
//!
//! The client is the `shadowsocks` crate's, so that it shares no mistake with the proxy. It
//! needs the feature `shadowsocks`; elsewhere the driver is left out, with the reason.

#[cfg(feature = "shadowsocks")]
mod live;

#[cfg(feature = "shadowsocks")]
use super::proxy::ProxyError;
use super::real::Ran;
use super::{Stop, real};
use crate::progress::Progress;
use crate::scenario::{DriverKind, Scenario};

/// Why the proxy could not be driven so.
#[derive(Debug, thiserror::Error)]
pub enum ShadowsocksError {
    /// The sockets, whatever is between them.
    #[error(transparent)]
    Real(#[from] real::RealError),
    /// The proxy.
    #[cfg(feature = "shadowsocks")]
    #[error(transparent)]
    Proxy(#[from] ProxyError),
    /// There is no port for it.
    #[error("the shadowsocks port {port} does not open")]
    Port {
        /// Which one.
        port: u16,
    },
}

/// Why this driver cannot run here; `None` if it can.
#[must_use]
pub fn unavailable() -> Option<String> {
    let reason =
        "this program was built without the feature `shadowsocks`, which needs a C compiler";
    cfg!(not(feature = "shadowsocks")).then(|| reason.to_owned())
}

/// What the driver leaves out of `scenario`, and why, a line each.
#[must_use]
pub fn left_out(scenario: &Scenario) -> Vec<String> {
    let cannot = scenario
        .algorithms
        .iter()
        .filter(|algorithm| !algorithm.is_special() && !algorithm.runs_on(DriverKind::Shadowsocks));
    cannot
        .map(|algorithm| {
            format!(
                "shadowsocks: {} is not what limits a stream, or datagrams by dropping: left out",
                algorithm.label
            )
        })
        .collect()
}

/// Runs every algorithm that limits a stream or polices, as often as the scenario says.
///
/// A run that was stopped on the way counts for as long as it lasted.
///
/// # Errors
/// See [`ShadowsocksError`].
#[cfg(feature = "shadowsocks")]
pub fn run(scenario: &Scenario, progress: Progress, stop: &Stop) -> Result<Ran, ShadowsocksError> {
    let mut ran = real::run::<live::Encrypted>(scenario, progress, stop)?;
    ran.notes.extend(left_out(scenario));
    Ok(ran)
}

/// Without the feature nothing runs; [`unavailable`] says why.
///
/// # Errors
/// None.
#[cfg(not(feature = "shadowsocks"))]
pub fn run(_: &Scenario, _: Progress, _: &Stop) -> Result<Ran, ShadowsocksError> {
    Ok(Ran::default())
}
