//! A resolved scenario as the text of a file that resolves to it again.

use std::fmt::{self, Display, Write as _};

use flow::Nanos;
use flow::spec::{self, Fields};

use super::file::{CONGESTIONS, DIRECTIONS, DRIVERS, KERNEL_LIMITERS, MODES, SENDERS};
use super::metric::Unit;
use super::{
    Algorithm, Claim, DriverKind, External, Process, Repetitions, Scenario, User, UserLimit, limits,
};

impl Scenario {
    /// The text of a scenario file that resolves to exactly this scenario.
    #[must_use]
    pub fn to_toml(&self) -> String {
        let mut text = String::new();
        // Writing to a String cannot fail.
        let _ = self.write_toml(&mut text);
        text
    }

    fn write_toml(&self, out: &mut String) -> fmt::Result {
        self.write_head(out)?;
        for user in &self.users {
            write_user(out, user)?;
        }
        for algorithm in &self.algorithms {
            write_algorithm(out, algorithm)?;
        }
        for change in &self.rate_changes {
            let at = change.at.since(flow::Timestamp::ZERO);
            writeln!(out, "\n[[rate_change]]")?;
            pair(out, "at", at)?;
            pair(out, "rate", change.rate)?;
        }
        for claim in &self.claims {
            write_claim(out, claim)?;
        }
        Ok(())
    }

    fn write_head(&self, out: &mut String) -> fmt::Result {
        head(
            out,
            [&self.name, &self.question],
            self.duration,
            self.seed,
            &self.drivers,
        )?;
        pair(out, "mode", word(&MODES, self.mode))?;
        pair(out, "sender", word(&SENDERS, self.sender))?;
        pair(out, "direction", word(&DIRECTIONS, self.direction))?;
        pair(out, "buffer", self.buffer)?;
        match self.queue {
            Some(queue) => pair(out, "queue", queue)?,
            None => pair(out, "queue", "unlimited")?,
        }
        pair(out, "bin", self.bin)?;
        writeln!(out, "\n[reference]")?;
        pair(out, "rate", self.reference.rate)?;
        pair(out, "burst", self.reference.burst)?;
        repetitions(out, &self.repetitions)?;
        let Some(until) = &self.until else {
            return Ok(());
        };
        let (whole, rest) = (until.within_ppm / 10_000, until.within_ppm % 10_000);
        writeln!(out, "until = \"{whole}.{rest:04} %\"")?;
        let of: Vec<String> = until.of.iter().map(|name| quoted(name)).collect();
        writeln!(out, "of = [{}]", of.join(", "))
    }
}

/// What every scenario begins with: its name and question, and how it is run.
pub(super) fn head(
    out: &mut String,
    [name, question]: [&str; 2],
    duration: Nanos,
    seed: u64,
    drivers: &[DriverKind],
) -> fmt::Result {
    writeln!(
        out,
        "# A resolved scenario: running it again gives the same model results.\n"
    )?;
    pair(out, "name", name)?;
    pair(out, "question", question)?;
    pair(out, "duration", duration)?;
    writeln!(out, "seed = {seed}")?;
    let drivers = drivers.iter().map(|d| quoted(word(&DRIVERS, *d)));
    let drivers: Vec<_> = drivers.collect();
    writeln!(out, "drivers = [{}]", drivers.join(", "))
}

/// `[repetitions]`.
pub(super) fn repetitions(out: &mut String, repetitions: &Repetitions) -> fmt::Result {
    writeln!(out, "\n[repetitions]")?;
    writeln!(out, "model = {}", repetitions.model)?;
    writeln!(out, "proxy = {}", repetitions.proxy)?;
    writeln!(out, "kernel = {}", repetitions.kernel)?;
    if repetitions.external != limits::DEFAULT_REPETITIONS.external {
        writeln!(out, "external = {}", repetitions.external)?;
    }
    if repetitions.shadowsocks != limits::DEFAULT_REPETITIONS.shadowsocks {
        writeln!(out, "shadowsocks = {}", repetitions.shadowsocks)?;
    }
    Ok(())
}

fn write_user(out: &mut String, user: &User) -> fmt::Result {
    writeln!(out, "\n[[user]]")?;
    pair(out, "name", &user.name)?;
    writeln!(out, "connections = {}", user.connections)?;
    pair(out, "start", user.start.since(flow::Timestamp::ZERO))?;
    match user.limit {
        UserLimit::Reference => pair(out, "limit", "reference")?,
        UserLimit::Unlimited => pair(out, "limit", "none")?,
        UserLimit::Own(own) => {
            let (rate, burst) = (own.rate, own.burst);
            writeln!(out, "limit = {{ rate = \"{rate}\", burst = \"{burst}\" }}")?;
        }
    }
    let (pattern, fields) = taken_apart(&user.pattern);
    let rest: String = fields
        .iter()
        .map(|(key, value)| format!(", {key} = {}", quoted(value)))
        .collect();
    writeln!(out, "traffic = {{ pattern = {}{rest} }}", quoted(&pattern))
}

fn write_algorithm(out: &mut String, algorithm: &Algorithm) -> fmt::Result {
    let (kind, fields) = taken_apart(&algorithm.policy);
    writeln!(out, "\n[[algorithm]]")?;
    pair(out, "kind", kind)?;
    pair(out, "label", &algorithm.label)?;
    if let Some(limiter) = algorithm.kernel {
        pair(out, "kernel", word(&KERNEL_LIMITERS, limiter))?;
    } else if algorithm.external.is_none() {
        pair(out, "mode", word(&MODES, algorithm.mode))?;
    }
    if let Some(tcp) = algorithm.tcp {
        pair(out, "tcp", word(&CONGESTIONS, tcp.congestion))?;
        pair(out, "rtt", tcp.rtt)?;
    }
    fields
        .iter()
        .try_for_each(|(key, value)| pair(out, key, value))?;
    algorithm
        .external
        .as_ref()
        .map_or(Ok(()), |external| write_external(out, external))
}

/// Without a password: the file may be shown to others.
fn write_external(out: &mut String, external: &External) -> fmt::Result {
    writeln!(out, "[algorithm.external]")?;
    pair(out, "via", &external.via)?;
    pair(out, "target", external.target)?;
    if !external.command.is_empty() {
        let words: Vec<String> = external.command.iter().map(|word| quoted(word)).collect();
        writeln!(out, "command = [{}]", words.join(", "))?;
    }
    match &external.process {
        Some(Process::Number(pid)) => writeln!(out, "pid = {pid}"),
        Some(Process::File(name)) => pair(out, "pid", name),
        None => Ok(()),
    }
}

fn write_claim(out: &mut String, claim: &Claim) -> fmt::Result {
    claimed(out, &claim.metric, claim.driver)?;
    for (key, name) in [("algorithm", &claim.algorithm), ("user", &claim.user)] {
        if let Some(name) = name {
            pair(out, key, name)?;
        }
    }
    bounds(out, &claim.metric, claim.at_least, claim.at_most)
}

/// What a claim begins with.
pub(super) fn claimed(out: &mut String, metric: &str, driver: Option<DriverKind>) -> fmt::Result {
    writeln!(out, "\n[[expect]]")?;
    pair(out, "metric", metric)?;
    driver.map_or(Ok(()), |driver| pair(out, "driver", word(&DRIVERS, driver)))
}

/// The bounds of a claim about `metric`.
pub(super) fn bounds(
    out: &mut String,
    metric: &str,
    at_least: Option<f64>,
    at_most: Option<f64>,
) -> fmt::Result {
    let unit = Unit::of(metric);
    for (key, bound) in [("at_least", at_least), ("at_most", at_most)] {
        match bound {
            Some(bound) if unit == Unit::None => writeln!(out, "{key} = {}", unit.write(bound))?,
            Some(bound) => pair(out, key, unit.write(bound))?,
            None => {}
        }
    }
    Ok(())
}

/// `kind:key=value` in its parts.
fn taken_apart(specification: &impl Display) -> (String, Fields) {
    let text = specification.to_string();
    spec::parse(&text).unwrap_or((text, Fields::new()))
}

pub(super) fn word<T: PartialEq>(words: &[(&'static str, T)], value: T) -> &'static str {
    let found = words.iter().find(|(_, known)| *known == value);
    found.map_or("", |(word, _)| word)
}

pub(super) fn pair(out: &mut String, key: &str, value: impl Display) -> fmt::Result {
    writeln!(out, "{key} = {}", quoted(&value.to_string()))
}

/// A TOML string.
pub(super) fn quoted(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}
