//! Where programs hang: every attachment is a link that ends with this process, however it ends.

use std::fs::File;
use std::os::fd::{AsFd as _, AsRawFd as _};
use std::path::Path;
use std::ptr::NonNull;

use libbpf_rs::libbpf_sys::{bpf_program__attach_tcx, bpf_tcx_opts};
use libbpf_rs::{AsRawLibbpf as _, Link, NetfilterOpts, Object, ProgramMut};

use super::object::program;
use super::{EngineError, cannot_attach};

/// One place.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Attachment {
    Netfilter {
        ipv6: bool,
        egress: bool,
    },
    Cgroup {
        egress: bool,
    },
    Tc {
        ifindex: u32,
        name: String,
        egress: bool,
    },
    Connections,
    SocketCreate,
    SocketSend,
    SocketReceive,
}

/// `NF_INET_LOCAL_IN`, `NF_INET_LOCAL_OUT`; `NFPROTO_IPV4`, `NFPROTO_IPV6`.
const LOCAL: [i32; 2] = [1, 3];
const FAMILIES: [i32; 2] = [2, 10];
/// `BPF_F_NETFILTER_IP_DEFRAG`: ports are in the first fragment only.
const DEFRAGMENT: u32 = 1;

impl Attachment {
    /// As it is shown.
    pub(super) fn describe(&self) -> String {
        let way = |egress: &bool| if *egress { "egress" } else { "ingress" };
        match self {
            Self::Netfilter { ipv6, egress } => {
                let family = if *ipv6 { "IPv6" } else { "IPv4" };
                let hook = if *egress { "LOCAL_OUT" } else { "LOCAL_IN" };
                format!("netfilter {family} {hook}")
            }
            Self::Cgroup { egress } => format!("cgroup {}", way(egress)),
            Self::Tc { name, egress, .. } => format!("tc {name} {}", way(egress)),
            Self::Connections => "cgroup sock_ops".to_owned(),
            Self::SocketCreate => "cgroup sock_create".to_owned(),
            Self::SocketSend => "tracepoint sock_send_length".to_owned(),
            Self::SocketReceive => "tracepoint sock_recv_length".to_owned(),
        }
    }

    /// Hangs the program in.
    pub(super) fn attach(
        &self,
        object: &Object,
        priority: i32,
        cgroups: Option<&Path>,
    ) -> Result<Link, EngineError> {
        let failed = |source| cannot_attach(self.describe(), source);
        match self {
            Self::Netfilter { ipv6, egress } => {
                let options = NetfilterOpts {
                    protocol_family: FAMILIES[usize::from(*ipv6)],
                    hooknum: LOCAL[usize::from(*egress)],
                    priority,
                    flags: if *egress { 0 } else { DEFRAGMENT },
                    ..NetfilterOpts::default()
                };
                let program = program(object, "wg_netfilter")?;
                program
                    .attach_netfilter_with_opts(options.clone())
                    .or_else(|first| {
                        // Kernels built without defragmentation still have the hook.
                        let plain = NetfilterOpts {
                            flags: 0,
                            ..options
                        };
                        let second = program.attach_netfilter_with_opts(plain);
                        second.map_err(|_| first)
                    })
                    .map_err(failed)
            }
            Self::Cgroup { egress: false } => {
                at_root(object, "wg_cgroup_ingress", cgroups)?.map_err(failed)
            }
            Self::Cgroup { egress: true } => {
                at_root(object, "wg_cgroup_egress", cgroups)?.map_err(failed)
            }
            Self::Connections => at_root(object, "wg_sockops", cgroups)?.map_err(failed),
            Self::SocketCreate => at_root(object, "wg_sock_create", cgroups)?.map_err(failed),
            Self::Tc {
                ifindex, egress, ..
            } => {
                let name = if *egress {
                    "wg_tc_egress"
                } else {
                    "wg_tc_ingress"
                };
                attach_tcx(&program(object, name)?, *ifindex).map_err(failed)
            }
            Self::SocketSend => program(object, "wg_sent")?.attach().map_err(failed),
            Self::SocketReceive => program(object, "wg_received")?.attach().map_err(failed),
        }
    }
}

/// At the root of the control groups that this process sees.
fn at_root(
    object: &Object,
    name: &'static str,
    cgroups: Option<&Path>,
) -> Result<libbpf_rs::Result<Link>, EngineError> {
    let root = cgroups.ok_or(super::Missing::Cgroup2)?;
    let folder = File::open(root).map_err(|source| EngineError::Io {
        what: format!("open {}", root.display()),
        source,
    })?;
    let program = program(object, name)?;
    Ok(program.attach_cgroup(folder.as_fd().as_raw_fd()))
}

/// The one kind of attachment that libbpf-rs does not wrap.
#[expect(unsafe_code, reason = "a C function, called as libbpf documents it")]
fn attach_tcx(program: &ProgramMut<'_>, ifindex: u32) -> libbpf_rs::Result<Link> {
    let index = i32::try_from(ifindex).unwrap_or(-1);
    let options = bpf_tcx_opts {
        sz: size_of::<bpf_tcx_opts>() as _,
        // SAFETY: a structure of whole numbers, for which zero is "not given".
        ..unsafe { std::mem::zeroed() }
    };
    // SAFETY: the program is loaded and outlives the call; options live across it and say
    // their size. The link that comes back is ours alone.
    unsafe {
        let raw = bpf_program__attach_tcx(program.as_libbpf_object().as_ptr(), index, &options);
        match NonNull::new(raw) {
            Some(link) => Ok(Link::from_ptr(link)),
            None => Err(std::io::Error::last_os_error().into()),
        }
    }
}
