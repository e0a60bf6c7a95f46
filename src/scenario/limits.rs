//! How large a scenario may be, and what it is when it does not say.
//!
//! Files come from strangers too: what costs memory or time is bounded before
//! anything is allocated.

use flow::{ByteSize, Nanos};

use super::Repetitions;

/// Largest file in bytes.
pub(crate) const FILE: u64 = 1 << 20;
/// Largest seed: what a TOML integer can hold.
pub(crate) const SEED: u64 = i64::MAX.cast_unsigned();
/// Shortest and longest run.
pub(crate) const DURATION: (Nanos, Nanos) =
    (Nanos::from_millis(1), Nanos::from_secs(366 * 24 * 3600));
/// Longest run in real time.
pub(crate) const REAL_DURATION: Nanos = Nanos::from_secs(24 * 3600);
/// Bytes between a blocking sender and the limiter.
pub(crate) const BUFFER: (ByteSize, ByteSize) = (ByteSize::new(1), ByteSize::new(1 << 30));
/// A shaper's queue.
pub(crate) const QUEUE: (ByteSize, ByteSize) = (ByteSize::new(1), ByteSize::new(1 << 40));
/// Bins of a time series.
pub(crate) const BINS: u64 = 100_000;
/// Repetitions of one driver.
pub(crate) const REPETITIONS: u64 = 10_000;
/// Users, after `count` has been spelt out.
pub(crate) const USERS: usize = 10_000;
/// Connections of all users in virtual time.
pub(crate) const CONNECTIONS: u64 = 100_000;
/// Connections of all users over sockets; each takes four descriptors here.
pub(crate) const REAL_CONNECTIONS: u64 = 4_000;
/// Algorithms.
pub(crate) const ALGORITHMS: usize = 100;
/// Claims.
pub(crate) const CLAIMS: usize = 1_000;
/// Changes of rate.
pub(crate) const RATE_CHANGES: usize = 10_000;
/// Letters of a name.
pub(crate) const NAME: usize = 64;

/// The seed of a scenario that names none.
pub(crate) const DEFAULT_SEED: u64 = 1;
/// As a small socket buffer.
pub(crate) const DEFAULT_BUFFER: ByteSize = ByteSize::new(16 << 10);
/// Enough for an interval in virtual time; once in real time.
pub(crate) const DEFAULT_REPETITIONS: Repetitions = Repetitions {
    model: 30,
    proxy: 1,
    kernel: 1,
    external: 1,
    shadowsocks: 1,
};

/// Repetitions of the model at most, when it stops by itself.
pub(crate) const DEFAULT_MOST: u32 = 200;
/// What must be known well enough before the model stops by itself.
pub(crate) const DEFAULT_UNTIL: [&str; 2] = ["throughput_Bps", "delay_p99_us"];

/// The shortest bin that a run of `duration` allows.
pub(crate) fn least_bin(duration: Nanos) -> Nanos {
    Nanos::new(duration.get().div_ceil(BINS).max(1))
}

/// 100 ms, or longer if the run is very long.
pub(crate) fn default_bin(duration: Nanos) -> Nanos {
    least_bin(duration).max(Nanos::from_millis(100))
}
