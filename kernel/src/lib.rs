//! Limits and watches traffic in the Linux kernel.
//!
//! Rules say which packets (by address, protocol, port, process, control group, interface and
//! direction), and what happens to them: they are counted, held to a rate by dropping what
//! exceeds it, or, for TCP, by sending no faster. A program in eBPF meets every packet at
//! netfilter's hooks, at the root of the control groups or at an interface.
//!
//! [`config`] reads rules; `flow::monitor` makes rates of counts. The part in the kernel, `engine`,
//! needs the feature `bpf`, and with it clang, libelf and zlib to build.

pub mod config;
#[cfg(feature = "bpf")]
pub mod engine;
pub mod netns;
pub mod rule;
