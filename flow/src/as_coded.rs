//! The seeds' own limiters as their code has them, faults kept on purpose.
//!
//! They stand beside the exact algorithms so that a report can show what the
//! faults cost. None of them keeps the promises of [`crate::Limiter`]: some
//! answer differently after a refusal ([`crate::Limiter::admit`] is then the
//! only faithful way to drive them), some lose credit, some never grant at all.
//! Each type lists its faults.
//!
//! Where a seed computes in floating-point seconds, whole nanoseconds and
//! billionths of a byte stand here; the only difference is that rounding noise
//! is gone.

mod homework;
mod shadowsocks;
mod wirefisher;

pub use homework::{Gate, HomeworkPolling, HomeworkSleep, Polling, Pump, Sleeping};
pub use shadowsocks::{ShadowsocksClose, ShadowsocksDebt};
pub use wirefisher::Wirefisher;
