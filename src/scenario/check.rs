//! What can only be judged when several parts of the file are known.

use std::ops::Range;

use flow::{ByteSize, Nanos, Policy};
use toml::Spanned;

use super::file::algorithms::Placed;
use super::limits;
use super::offered::largest_packet;
use super::problem::{Problem, printable};
use super::{DriverKind, Mode, RateChange, SenderKind, Traces, User, UserLimit};

/// Whether `name` can stand in a CSV cell, a file name and a legend; reports it if not.
pub(super) fn is_name(
    name: &str,
    at: Range<usize>,
    what: &str,
    problems: &mut Vec<Problem>,
) -> bool {
    let letter = |c: char| c.is_ascii_alphanumeric() || "._-+".contains(c);
    let good = !name.is_empty()
        && name.len() <= limits::NAME
        && !name.starts_with(['.', '-'])
        && name.chars().all(letter);
    if !good {
        problems.push(
            Problem::new(at, format!("\"{}\" cannot be {what}", printable(name)))
                .label("not a name")
                .help(format!(
                    "1 to {} of the letters A-Z a-z 0-9 . _ - +, not starting with . or -",
                    limits::NAME
                )),
        );
    }
    good
}

/// What does not depend on one part alone.
pub(super) fn together(scenario: &Parts<'_>, problems: &mut Vec<Problem>) {
    for placed in scenario.algorithms {
        mode(placed, problems);
        token_bucket(placed, problems);
        if !placed.algorithm.is_special()
            && placed.algorithm.mode != Mode::Stream
            && !is_as_coded(&placed.algorithm.policy)
        {
            packets_fit(placed, scenario, problems);
        }
    }
    streams_exist(scenario, problems);
    others_are_told(scenario, problems);
    departures_stay(scenario, problems);
    senders_wait(scenario, problems);
    connections(scenario, problems);
}

/// What [`together`] looks at.
pub(super) struct Parts<'a> {
    pub(super) drivers: &'a [DriverKind],
    pub(super) duration: &'a Spanned<Nanos>,
    pub(super) sender: SenderKind,
    pub(super) traces: &'a Traces,
    pub(super) users: &'a [Spanned<User>],
    pub(super) algorithms: &'a [Placed],
    pub(super) changes: &'a [Spanned<RateChange>],
}

fn mode(placed: &Placed, problems: &mut Vec<Problem>) {
    let algorithm = &placed.algorithm;
    let modes = algorithm.policy.modes();
    let allowed = match algorithm.mode {
        Mode::Police => modes.police,
        Mode::Shape => modes.shape,
        Mode::Stream => modes.stream,
    };
    if allowed {
        return;
    }
    let kind = algorithm.policy.kind();
    let at = placed.mode_at.clone().unwrap_or_else(|| placed.at.clone());
    let help = if modes.police {
        "it can only police: add `mode = \"police\"` to its `[[algorithm]]` table"
    } else {
        "choose another mode for it"
    };
    problems.push(
        Problem::new(at, format!("`{kind}` cannot be applied in this mode"))
            .label("not in this mode")
            .help(help),
    );
}

/// The kernel's limiters, and what a simulated TCP meets, are token buckets.
fn token_bucket(placed: &Placed, problems: &mut Vec<Problem>) {
    let algorithm = &placed.algorithm;
    let is_one = matches!(algorithm.policy, Policy::TokenBucket { .. });
    if algorithm.kernel.is_some() && !is_one {
        problems.push(
            Problem::new(placed.at.clone(), "the kernel's limiters are token buckets")
                .label("not in the kernel")
                .help("write `kind = \"token-bucket\"`, or remove `kernel`"),
        );
    }
}

/// The seeds' limiters keep their faults, and a burst that no packet fits is one of them.
const fn is_as_coded(policy: &Policy) -> bool {
    matches!(
        policy,
        Policy::HomeworkPolling { .. }
            | Policy::HomeworkSleep { .. }
            | Policy::ShadowsocksClose { .. }
            | Policy::ShadowsocksDebt { .. }
            | Policy::Wirefisher { .. }
    )
}

/// A packet that is larger than what ever conforms would never pass: report it once.
fn packets_fit(placed: &Placed, scenario: &Parts<'_>, problems: &mut Vec<Problem>) {
    let policy = placed.algorithm.policy;
    for user in scenario.users {
        let packet = largest_packet(&user.get_ref().pattern, scenario.traces);
        let (policy, at) = match user.get_ref().limit {
            UserLimit::Unlimited => continue,
            UserLimit::Own(own) => (policy.scaled_to(own.rate, own.burst), user.span()),
            UserLimit::Reference => {
                let at = placed.size_at.clone().unwrap_or_else(|| placed.at.clone());
                (smallest(policy, scenario.changes), at)
            }
        };
        if policy.largest() < packet {
            problems.push(too_small(policy.largest(), packet, user, at));
            return;
        }
    }
}

/// The policy at the rate at which the least conforms.
fn smallest(policy: Policy, changes: &[Spanned<RateChange>]) -> Policy {
    changes
        .iter()
        .map(|change| policy.with_rate(change.get_ref().rate))
        .chain([policy])
        .min_by_key(Policy::largest)
        .unwrap_or(policy)
}

fn too_small(
    largest: ByteSize,
    packet: ByteSize,
    user: &Spanned<User>,
    at: Range<usize>,
) -> Problem {
    let name = &user.get_ref().name;
    Problem::new(
        at,
        format!("the largest packet of `{name}` has {packet}, but at most {largest} ever conform"),
    )
    .label(format!("lets at most {largest} through at once"))
    .help(format!(
        "make the burst (or the limit of the window) at least {packet}, send smaller packets, or apply it with `mode = \"stream\"`, which passes parts"
    ))
}

fn connections(scenario: &Parts<'_>, problems: &mut Vec<Problem>) {
    let all = scenario
        .users
        .iter()
        .map(|user| u64::from(user.get_ref().connections))
        .fold(0, u64::saturating_add);
    let real = scenario
        .drivers
        .iter()
        .any(|driver| *driver != DriverKind::Model);
    let most = if real {
        limits::REAL_CONNECTIONS
    } else {
        limits::CONNECTIONS
    };
    if let (true, Some(first)) = (all > most, scenario.users.first()) {
        problems.push(
            Problem::new(first.span(), format!("{all} connections are too many"))
                .label("users begin here")
                .help(format!("at most {most} with these drivers")),
        );
    }
    if real && *scenario.duration.get_ref() > limits::REAL_DURATION {
        problems.push(
            Problem::new(
                scenario.duration.span(),
                "the run is too long for real time",
            )
            .label("too long")
            .help(format!(
                "at most {} with the drivers proxy, shadowsocks, kernel and external",
                limits::REAL_DURATION
            )),
        );
    }
}

/// A sender that never waits by itself must be made to wait, or time stands still.
fn senders_wait(scenario: &Parts<'_>, problems: &mut Vec<Problem>) {
    let waits = |user: &&Spanned<User>| {
        let pattern = &user.get_ref().pattern;
        pattern.is_blocking_only() || pattern.is_closed_loop()
    };
    for user in scenario.users.iter().filter(waits) {
        let pattern = &user.get_ref().pattern;
        let kind = pattern.kind();
        let endless = |help: &str| {
            let what = if pattern.is_closed_loop() {
                format!("`{kind}` traffic would not wait for what it sent to arrive")
            } else {
                format!("`{kind}` traffic would never end at one instant")
            };
            Problem::new(user.span(), what)
                .label("nothing makes this sender wait")
                .help(help)
        };
        if scenario.sender != SenderKind::Blocking {
            problems.push(endless(
                "write `sender = \"blocking\"` at the top of the file, or give the traffic a rate",
            ));
            continue;
        }
        let limited = user.get_ref().limit != UserLimit::Unlimited;
        for placed in scenario.algorithms {
            let waits = placed.algorithm.is_special()
                || placed.algorithm.mode == Mode::Stream
                    && (pattern.is_closed_loop()
                        || placed.algorithm.policy != Policy::None && limited);
            if !waits && scenario.drivers.contains(&DriverKind::Model) {
                let help = "the model makes a sender wait only in `mode = \"stream\"` and before a limit; give the traffic a rate";
                problems.push(endless(help).also(placed.at.clone(), "passes all of it at once"));
                break;
            }
        }
    }
}

/// The rate of a server that somebody else runs cannot be changed from here.
fn others_are_told(scenario: &Parts<'_>, problems: &mut Vec<Problem>) {
    let mut placed = scenario.algorithms.iter();
    if let Some(change) = scenario.changes.first()
        && let Some(external) = placed.find(|placed| placed.algorithm.external.is_some())
    {
        problems.push(
            Problem::new(
                change.span(),
                "nobody tells an external server of this change",
            )
            .label("the rate changes")
            .also(external.at.clone(), "and somebody else runs this")
            .help("remove one of the two"),
        );
    }
}

/// A simulated TCP knows at once when its segment leaves a shaper.
fn departures_stay(scenario: &Parts<'_>, problems: &mut Vec<Problem>) {
    let mut placed = scenario.algorithms.iter();
    let shaped =
        |placed: &&Placed| placed.algorithm.tcp.is_some() && placed.algorithm.mode == Mode::Shape;
    if let (Some(change), Some(shaper)) = (scenario.changes.first(), placed.find(shaped)) {
        problems.push(
            Problem::new(
                change.span(),
                "the rate of a shaper behind a simulated TCP cannot change",
            )
            .label("the rate changes")
            .also(shaper.at.clone(), "and this is one")
            .help("remove one of the two, or let it police"),
        );
    }
}

/// Under shadowsocks the proxy relays streams, and polices datagrams.
fn others_limit_something(scenario: &Parts<'_>, problems: &mut Vec<Problem>) {
    let runs = |placed: &Placed| placed.algorithm.runs_on(DriverKind::Shadowsocks);
    if let (true, false, Some(first)) = (
        scenario.drivers.contains(&DriverKind::Shadowsocks),
        scenario.algorithms.iter().any(runs),
        scenario.algorithms.first(),
    ) {
        problems.push(
            Problem::new(first.at.clone(), "the shadowsocks driver would run nothing")
                .label("neither a stream's limit nor a policer that the proxy has")
                .help(
                    "write `mode = \"stream\"` for streams, or `mode = \"police\"` for datagrams",
                ),
        );
    }
}

/// A proxy relays streams and nothing else.
fn streams_exist(scenario: &Parts<'_>, problems: &mut Vec<Problem>) {
    others_limit_something(scenario, problems);
    let real = scenario.drivers.contains(&DriverKind::Proxy);
    let streams =
        |placed: &Placed| placed.algorithm.mode == Mode::Stream && !placed.algorithm.is_special();
    if let (true, false, Some(first)) = (
        real,
        scenario.algorithms.iter().any(streams),
        scenario.algorithms.first(),
    ) {
        problems.push(
            Problem::new(first.at.clone(), "the proxy driver would run nothing")
                .label("no algorithm is applied in mode \"stream\"")
                .help(
                    "a proxy relays streams: write `mode = \"stream\"`, or `drivers = [\"model\"]`",
                ),
        );
    }
}
