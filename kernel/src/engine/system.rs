//! Questions to the running system.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use super::EngineError;

/// Levels of control groups that a packet's socket is asked for, as `WG_DEPTH` in `bpf/rules.h`.
const CGROUP_LEVELS: usize = 10;

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
    if level(path).is_some_and(|level| level >= CGROUP_LEVELS) {
        let deepest = CGROUP_LEVELS - 1;
        return Err(wrong(format!(
            "it lies more than {deepest} levels below the root, where no packet is asked for it"
        )));
    }
    Ok(folder.ino())
}

/// How many levels a group lies below the root of the control groups.
fn level(path: &Path) -> Option<usize> {
    let (path, root) = (path.canonicalize().ok()?, super::cgroup2_root()?);
    let below = path.strip_prefix(root.canonicalize().ok()?).ok()?;
    Some(below.components().count())
}

/// When the process `pid` started, in the kernel's ticks; or why there is none to match.
pub(super) fn process(pid: u32) -> Result<u64, String> {
    /// The first namespace's, as the kernel fixes it.
    const FIRST_PID_NAMESPACE: u64 = 0xEFFF_FFFC;
    let namespace = fs::metadata("/proc/self/ns/pid").map(|about| about.ino());
    if namespace.is_ok_and(|inode| inode != FIRST_PID_NAMESPACE) {
        return Err(
            "processes have other numbers in this PID namespace than the kernel has: \
                    run this outside of the container, with the number that `ps` shows there"
                .to_owned(),
        );
    }
    let none = |_| format!("there is no process {pid}");
    let status = fs::read_to_string(format!("/proc/{pid}/status")).map_err(none)?;
    let group = status.lines().find_map(|line| line.strip_prefix("Tgid:"));
    if let Some(group) = group.map(str::trim)
        && group != pid.to_string()
    {
        return Err(format!("{pid} is a thread of process {group}: write that"));
    }
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).map_err(none)?;
    started_at(&stat).ok_or_else(|| format!("/proc/{pid}/stat does not say when it started"))
}

/// Field 22 of /proc/PID/stat. The name of the program, the second, may hold anything.
fn started_at(stat: &str) -> Option<u64> {
    let (_, behind_name) = stat.rsplit_once(')')?;
    behind_name.split_whitespace().nth(19)?.parse().ok()
}

/// Whether the process `pid` is in the network namespace of this thread.
pub(super) fn is_in_our_network(pid: u32) -> bool {
    let of = |path: String| fs::metadata(path).map(|about| about.ino()).ok();
    of(format!("/proc/{pid}/ns/net")) == of("/proc/thread-self/ns/net".to_owned())
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_programs_name_may_hold_anything() {
        let numbers: Vec<String> = (4..=30).map(|number: u32| number.to_string()).collect();
        let stat = format!("7 (a) R) S {}", numbers.join(" "));
        assert_eq!(started_at(&stat), Some(22));
        assert_eq!(started_at(""), None);
        assert!(process(std::process::id()).is_ok());
        assert!(process(u32::MAX).unwrap_err().contains("no process"));
    }
}
