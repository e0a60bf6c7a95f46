//! What this system permits, and what exactly is missing where it does not.

use std::fs;
use std::path::{Path, PathBuf};

use libbpf_rs::ProgramType;

/// Something that the kernel part needs and this system does not give.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Missing {
    /// The process may not do it.
    #[error("this process lacks {}: run it as root, or give it these capabilities", .0.join(", "))]
    Capabilities(Vec<&'static str>),
    /// The kernel has no type information.
    #[error(
        "/sys/kernel/btf/vmlinux is not there: the kernel must be built with CONFIG_DEBUG_INFO_BTF"
    )]
    Btf,
    /// The kernel cannot load such a program, or does not let us.
    #[error("the kernel does not load BPF programs of type {0}: it needs {1}")]
    ProgramType(&'static str, &'static str),
    /// The capabilities are those of a user namespace.
    #[error(
        "this process is root in a user namespace only, where its capabilities do not count for BPF: \
         run it as the system's root"
    )]
    UserNamespace,
    /// There are no control groups of version 2.
    #[error("no cgroup2 file system is mounted: mount -t cgroup2 none /sys/fs/cgroup")]
    Cgroup2,
}

/// Capabilities by their bit, with what also grants them.
const CAPABILITIES: [(&str, u32, u32); 3] = [
    ("CAP_BPF", 39, 21),
    ("CAP_NET_ADMIN", 12, 12),
    ("CAP_PERFMON", 38, 21),
];

/// The first thing that is missing for rules at netfilter hooks, control groups and interfaces.
#[must_use]
pub fn missing() -> Option<Missing> {
    let lacking = lacking(effective_capabilities()?);
    if !lacking.is_empty() {
        return Some(Missing::Capabilities(lacking));
    }
    if !Path::new("/sys/kernel/btf/vmlinux").exists() {
        return Some(Missing::Btf);
    }
    let types = [
        (
            ProgramType::CgroupSkb,
            "cgroup_skb",
            "Linux 4.10 and CONFIG_CGROUP_BPF",
        ),
        (
            ProgramType::SchedCls,
            "sched_cls",
            "Linux 6.6 and CONFIG_NET_CLS_BPF",
        ),
        (
            ProgramType::Netfilter,
            "netfilter",
            "Linux 6.4 and CONFIG_NETFILTER_BPF_LINK",
        ),
    ];
    for (kind, name, needs) in types {
        if !kind.is_supported().unwrap_or(false) {
            if in_user_namespace(fs::read_to_string("/proc/self/uid_map").ok().as_deref()) {
                return Some(Missing::UserNamespace);
            }
            return Some(Missing::ProgramType(name, needs));
        }
    }
    None
}

/// Whether users of this process are others than the kernel's own.
fn in_user_namespace(uid_map: Option<&str>) -> bool {
    let whole = ["0", "0", "4294967295"];
    uid_map.is_some_and(|map| !map.split_whitespace().eq(whole))
}

/// `None` where /proc does not tell; then the kernel's own answer must do.
fn effective_capabilities() -> Option<u64> {
    let status = fs::read_to_string("/proc/thread-self/status").ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("CapEff:"))?;
    u64::from_str_radix(line.trim(), 16).ok()
}

fn lacking(effective: u64) -> Vec<&'static str> {
    let has = |bit: u32| effective >> bit & 1 == 1;
    let lacks = CAPABILITIES
        .iter()
        .filter(|(_, bit, also)| !has(*bit) && !has(*also));
    lacks.map(|(name, ..)| *name).collect()
}

/// Where the control groups of version 2 are mounted: not always /sys/fs/cgroup.
#[must_use]
pub fn cgroup2_root() -> Option<PathBuf> {
    let mounts = fs::read_to_string("/proc/self/mounts").ok()?;
    mount_of(&mounts, "cgroup2").filter(|path| path.is_dir())
}

fn mount_of(mounts: &str, kind: &str) -> Option<PathBuf> {
    mounts.lines().find_map(|line| {
        let mut words = line.split(' ');
        let (_device, path, found) = (words.next()?, words.next()?, words.next()?);
        (found == kind).then(|| PathBuf::from(path.replace("\\040", " ")))
    })
}

/// Whether programs at control groups can tell network namespaces apart.
pub(super) fn cgroup_knows_netns() -> bool {
    /// `bpf_get_netns_cookie`.
    const HELPER: u32 = 122;
    ProgramType::CgroupSkb
        .is_helper_supported(HELPER)
        .unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_what_is_lacking() {
        assert_eq!(lacking(0), ["CAP_BPF", "CAP_NET_ADMIN", "CAP_PERFMON"]);
        assert_eq!(lacking(1 << 21), ["CAP_NET_ADMIN"]);
        assert_eq!(lacking(1 << 12 | 1 << 38 | 1 << 39), [""; 0]);
        let text = Missing::Capabilities(lacking(1 << 12)).to_string();
        assert!(text.contains("lacks CAP_BPF, CAP_PERFMON:"), "{text}");
    }

    #[test]
    fn knows_a_user_namespace() {
        assert!(!in_user_namespace(Some(
            "         0          0 4294967295\n"
        )));
        assert!(in_user_namespace(Some(
            "         0       1000          1\n"
        )));
        assert!(!in_user_namespace(None));
    }

    #[test]
    fn finds_cgroup2_wherever_it_is() {
        let mounts = "tmpfs /sys/fs/cgroup tmpfs ro 0 0\n\
                      none /sys/fs/cgroup/uni\\040fied cgroup2 rw 0 0\n";
        let found = mount_of(mounts, "cgroup2");
        assert_eq!(found, Some(PathBuf::from("/sys/fs/cgroup/uni fied")));
    }
}
