//! What SPEC promises of every algorithm, held over every policy: bounds, the
//! exactness of `earliest` and `available`, and that nothing a caller may do
//! makes a limiter more generous.

#![expect(
    clippy::unwrap_used,
    reason = "a promise that cannot be checked is broken"
)]

mod averages;
mod bounds;
mod drift;
mod equal;
mod interface;
mod policies;
mod shaping;
