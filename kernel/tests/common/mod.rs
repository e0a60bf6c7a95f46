//! What the tests in the kernel share.
#![allow(
    dead_code,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "helpers of tests, each of which uses some"
)]

pub(crate) mod traffic;

use kernel::config::{Format, parse};
use kernel::engine::{Engine, missing};
use kernel::netns::enter_fresh;
use kernel::rule::Rules;

/// Set to `required` where the tests must run: then a test that cannot run fails.
pub(crate) const SWITCH: &str = "WEIRGATE_KERNEL_TESTS";

/// Whether the kernel permits what the tests need; says why not.
#[must_use]
pub(crate) fn permitted() -> bool {
    let reason = match missing() {
        Some(missing) => missing.to_string(),
        // A namespace of the test's own, so that tests do not meet.
        None => match enter_fresh() {
            Ok(()) => return true,
            Err(error) => error.to_string(),
        },
    };
    let required = std::env::var_os(SWITCH).is_some_and(|value| value == "required");
    assert!(!required, "{SWITCH}=required, but {reason}");
    eprintln!("SKIP: {reason}");
    false
}

/// The rules of a TOML text.
#[must_use]
pub(crate) fn rules(text: &str) -> Rules {
    match parse(text, Format::Toml) {
        Ok(loaded) => loaded.rules,
        Err(mistakes) => panic!("{mistakes:?}"),
    }
}

/// An engine with these rules.
#[must_use]
pub(crate) fn engine(text: &str) -> Engine {
    let mut engine = match Engine::load() {
        Ok(engine) => engine,
        Err(error) => panic!("{error}"),
    };
    if let Err(error) = engine.apply(&rules(text)) {
        panic!("{error}: {error:?}");
    }
    engine
}
