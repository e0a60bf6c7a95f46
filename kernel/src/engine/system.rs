//! Questions to the running system.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use super::EngineError;

/// Nanoseconds of `CLOCK_MONOTONIC`, which the programs in the kernel read too.
#[must_use]
pub fn monotonic() -> u64 {
    let Ok(now) = nix::time::clock_gettime(nix::time::ClockId::CLOCK_MONOTONIC) else {
        return 0;
    };
    let seconds = u64::try_from(now.tv_sec()).unwrap_or(0);
    let nanos = u64::try_from(now.tv_nsec()).unwrap_or(0);
    seconds.saturating_mul(1_000_000_000).saturating_add(nanos)
}

/// The cookie of this thread's network namespace; 0, which is any, where there are none.
#[expect(unsafe_code, reason = "one socket option that no crate wraps")]
pub(super) fn netns_cookie() -> Result<u64, EngineError> {
    use std::os::fd::AsRawFd as _;
    const SO_NETNS_COOKIE: libc::c_int = 71;
    let socket = std::net::UdpSocket::bind("0.0.0.0:0").map_err(|source| EngineError::Io {
        what: "open a socket".to_owned(),
        source,
    })?;
    let mut cookie = 0_u64;
    let mut length = libc::socklen_t::try_from(size_of::<u64>()).unwrap_or(8);
    // SAFETY: cookie and length live across the call, and length is that of cookie.
    let code = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            SO_NETNS_COOKIE,
            (&raw mut cookie).cast(),
            &raw mut length,
        )
    };
    Ok(if code == 0 { cookie } else { 0 })
}

/// The number of a control group: that of its folder.
pub(super) fn cgroup_id(path: &Path) -> Result<u64, CgroupError> {
    let wrong = |problem| CgroupError {
        path: path.display().to_string(),
        problem,
    };
    let folder = fs::metadata(path).map_err(|error| wrong(error.to_string()))?;
    if !path.join("cgroup.controllers").exists() {
        return Err(wrong("it is no control group of version 2".to_owned()));
    }
    Ok(folder.ino())
}

/// A path that is no control group.
#[derive(Debug, thiserror::Error)]
#[error(
    "cgroup {path}: {problem}; control groups are folders below {}",
    root()
)]
pub(super) struct CgroupError {
    path: String,
    problem: String,
}

fn root() -> String {
    let root = super::cgroup2_root();
    root.map_or_else(
        || "a cgroup2 mount, and there is none".to_owned(),
        |root| root.display().to_string(),
    )
}

/// The index of the interface of this name in this thread's network namespace.
pub(super) fn interface_index(name: &str) -> Result<u32, String> {
    if let Ok(index) = nix::net::if_::if_nametoindex(name) {
        return Ok(index);
    }
    let known = nix::net::if_::if_nameindex();
    let known: Vec<String> = known
        .iter()
        .flatten()
        .map(|interface| interface.name().to_string_lossy().into_owned())
        .collect();
    Err(format!(
        "there is no interface {name}; there are {}",
        known.join(", ")
    ))
}

/// Whether the kernel knows this congestion control.
pub(super) fn check_congestion(name: &str) -> Result<(), String> {
    let path = "/proc/sys/net/ipv4/tcp_available_congestion_control";
    let known = match fs::read_to_string(path) {
        Ok(known) => known,
        // Then the kernel's own answer must do.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(format!("cannot read {path}: {error}")),
    };
    if known.split_whitespace().any(|word| word == name) {
        return Ok(());
    }
    Err(format!(
        "the kernel has no congestion control {name}; it has {}",
        known.trim().replace(' ', ", ")
    ))
}
