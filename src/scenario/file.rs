//! The scenario file: TOML in, a [`Scenario`] or all of its mistakes out.
//!
//! Tables are walked by hand over spanned values rather than derived, so that
//! one reading finds every mistake and each of them points at its characters.

pub(super) mod algorithms;
mod changes;
mod claims;
mod external;
mod requests;
mod spec;
mod until;
mod users;

use std::ops::Range;
use std::path::Path;

use flow::{ByteSize, Nanos};
use toml::Spanned;
use toml::de::DeTable;

use super::check;
use super::limits;
use super::problem::{FileProblems, Problem};
use super::requests::ArrivalKind;
use super::section::{self, Section};
use super::sweep;
use super::{
    Congestion, Direction, DriverKind, KernelLimiter, Loaded, Mode, Reference, Repetitions,
    Scenario, SenderKind, Traces, Until,
};

/// What the command line says instead of the file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Overrides {
    /// Drivers to run.
    pub drivers: Option<Vec<DriverKind>>,
    /// Length of a run.
    pub duration: Option<Nanos>,
    /// Repetitions of every driver.
    pub repetitions: Option<u32>,
    /// The seed.
    pub seed: Option<u64>,
}

/// Where the text of a scenario comes from.
#[derive(Clone, Copy, Debug)]
pub struct Origin<'a> {
    /// As it is shown in messages.
    pub shown: &'a str,
    /// Name of the scenario unless the file has one.
    pub stem: &'a str,
    /// The only folder that traces are read from; `None`: no traces.
    pub folder: Option<&'a Path>,
}

pub(super) const DRIVERS: [(&str, DriverKind); 5] = [
    ("model", DriverKind::Model),
    ("proxy", DriverKind::Proxy),
    ("kernel", DriverKind::Kernel),
    ("external", DriverKind::External),
    ("shadowsocks", DriverKind::Shadowsocks),
];
pub(super) const KERNEL_LIMITERS: [(&str, KernelLimiter); 6] = [
    ("netfilter", KernelLimiter::Netfilter),
    ("cgroup", KernelLimiter::Cgroup),
    ("tc", KernelLimiter::Tc),
    ("tbf", KernelLimiter::Tbf),
    ("htb", KernelLimiter::Htb),
    ("pacing", KernelLimiter::Pacing),
];
pub(super) const CONGESTIONS: [(&str, Congestion); 2] =
    [("reno", Congestion::Reno), ("cubic", Congestion::Cubic)];
pub(super) const MODES: [(&str, Mode); 3] = [
    ("police", Mode::Police),
    ("shape", Mode::Shape),
    ("stream", Mode::Stream),
];
pub(super) const SENDERS: [(&str, SenderKind); 2] = [
    ("open-loop", SenderKind::OpenLoop),
    ("blocking", SenderKind::Blocking),
];
pub(super) const ARRIVALS: [(&str, ArrivalKind); 3] = [
    ("constant", ArrivalKind::Constant),
    ("poisson", ArrivalKind::Poisson),
    ("on-off", ArrivalKind::OnOff),
];
pub(super) const DIRECTIONS: [(&str, Direction); 2] =
    [("down", Direction::Down), ("up", Direction::Up)];

/// Reads the scenario `text`.
///
/// # Errors
/// Every mistake that can be seen, each with its place and remedy.
pub fn parse(
    text: &str,
    origin: Origin<'_>,
    overrides: &Overrides,
) -> Result<Scenario, FileProblems> {
    walk(text, origin, overrides, |reader, root| {
        match requests::place(root) {
            Some(place) => reader.problems.push(requests::not_bytes(place)),
            None => return reader.bytes(text, root),
        }
        None
    })
}

/// Reads the scenario `text`, of bytes or of requests.
///
/// # Errors
/// As [`parse`].
pub(super) fn parse_any(
    text: &str,
    origin: Origin<'_>,
    overrides: &Overrides,
) -> Result<Loaded, FileProblems> {
    walk(text, origin, overrides, |reader, root| {
        if requests::place(root).is_some() {
            let scenario = reader.requests(root)?;
            Some(Loaded::Requests(Box::new(scenario)))
        } else {
            let scenario = reader.bytes(text, root)?;
            Some(Loaded::Bytes(Box::new(scenario)))
        }
    })
}

/// What `read` makes of the file, if neither it nor the syntax has a mistake.
fn walk<T>(
    text: &str,
    origin: Origin<'_>,
    overrides: &Overrides,
    read: impl FnOnce(&mut Reader<'_>, &DeTable<'_>) -> Option<T>,
) -> Result<T, FileProblems> {
    let (root, errors) = DeTable::parse_recoverable(text);
    // What follows the first one is most often its consequence.
    let mut problems: Vec<_> = errors.iter().take(1).map(syntax).collect();
    if problems.is_empty() {
        let mut reader = Reader {
            origin,
            overrides,
            problems: &mut problems,
        };
        let whole = read(&mut reader, root.get_ref());
        if let (Some(whole), true) = (whole, problems.is_empty()) {
            return Ok(whole);
        }
    }
    Err(FileProblems::new(origin.shown, text, problems))
}

fn syntax(error: &toml::de::Error) -> Problem {
    Problem::new(
        error.span().unwrap_or(0..0),
        format!("not TOML: {}", error.message()),
    )
    .help("see https://toml.io for the syntax")
}

/// The walk over one file.
struct Reader<'p> {
    origin: Origin<'p>,
    overrides: &'p Overrides,
    problems: &'p mut Vec<Problem>,
}

/// What the top of the file says about every run.
struct Head {
    name: String,
    question: String,
    duration: Spanned<Nanos>,
    seed: u64,
    drivers: Vec<DriverKind>,
    mode: Spanned<Mode>,
    queue: Option<ByteSize>,
    buffer: ByteSize,
    sender: SenderKind,
    direction: Direction,
    bin: Nanos,
}

impl Reader<'_> {
    fn bytes(&mut self, text: &str, root: &DeTable<'_>) -> Option<Scenario> {
        let scenario = self.scenario(root);
        sweep::check(text, root, self.problems);
        scenario
    }

    fn scenario(&mut self, root: &DeTable<'_>) -> Option<Scenario> {
        let mut top = Section::new(root, 0..0, "at the top of the file");
        let head = self.head(&mut top);
        let reference = self.reference(&mut top);
        let repetitions = self.repetitions(&mut top);
        let mut traces = Traces::default();
        let users = users::read(&mut top, self.origin.folder, &mut traces, self.problems);
        let mode = head.as_ref().map(|head| head.mode.clone());
        let algorithms =
            algorithms::read(&mut top, reference, mode, self.origin.folder, self.problems);
        let duration = head.as_ref().map(|head| *head.duration.get_ref());
        let changes = changes::read(&mut top, duration, self.problems);
        let known = claims::Known {
            algorithms: algorithms.as_deref(),
            users: users.as_deref(),
        };
        let claims = claims::read(&mut top, known, self.problems);
        // Checked by itself; `scenario` runs the file without it.
        top.get("sweep");
        top.finish(self.problems);

        let (head, users, algorithms, changes) = (head?, users?, algorithms?, changes?);
        let parts = check::Parts {
            drivers: &head.drivers,
            duration: &head.duration,
            sender: head.sender,
            users: &users,
            traces: &traces,
            algorithms: &algorithms,
            changes: &changes,
        };
        check::together(&parts, self.problems);
        Some(Scenario {
            name: head.name,
            question: head.question,
            duration: head.duration.into_inner(),
            seed: head.seed,
            drivers: head.drivers,
            mode: head.mode.into_inner(),
            queue: head.queue,
            buffer: head.buffer,
            sender: head.sender,
            direction: head.direction,
            reference: reference?,
            until: repetitions.as_ref().and_then(|(_, until)| until.clone()),
            repetitions: repetitions?.0,
            bin: head.bin,
            users: users.into_iter().map(Spanned::into_inner).collect(),
            algorithms: algorithms
                .into_iter()
                .map(|placed| placed.algorithm)
                .collect(),
            rate_changes: changes.into_iter().map(Spanned::into_inner).collect(),
            claims: claims?,
            traces,
        })
    }

    fn head(&mut self, top: &mut Section<'_>) -> Option<Head> {
        let name = self.name(top);
        let question = self.question(top);
        let duration = self.duration(top);
        let seed = self.seed(top);
        let drivers = self.drivers(top);
        let mode = match top.get("mode") {
            Some(entry) => entry
                .word(&MODES, self.problems)
                .map(|mode| Spanned::new(entry.at(), mode)),
            None => Some(Spanned::new(0..0, Mode::Shape)),
        };
        let sender = match top.get("sender") {
            Some(entry) => entry.word(&SENDERS, self.problems),
            None => Some(SenderKind::OpenLoop),
        };
        let direction = match top.get("direction") {
            Some(entry) => entry.word(&DIRECTIONS, self.problems),
            None => Some(Direction::Down),
        };
        let buffer = self.buffer(top);
        let queue = self.queue(top);
        let bin = self.bin(top, duration.as_ref().map(|duration| *duration.get_ref()));
        Some(Head {
            name: name?,
            question: question?,
            duration: duration?,
            seed: seed?,
            drivers: drivers?,
            mode: mode?,
            queue: queue?,
            buffer: buffer?,
            sender: sender?,
            direction: direction?,
            bin: bin?,
        })
    }

    fn question(&mut self, top: &mut Section<'_>) -> Option<String> {
        match top.get("question") {
            Some(entry) => entry.string(self.problems).map(str::to_owned),
            None => Some(String::new()),
        }
    }

    fn seed(&mut self, top: &mut Section<'_>) -> Option<u64> {
        let seed = match top.get("seed") {
            Some(entry) => entry.integer(0..=limits::SEED, self.problems),
            None => Some(limits::DEFAULT_SEED),
        };
        self.overrides.seed.or(seed)
    }

    fn name(&mut self, top: &mut Section<'_>) -> Option<String> {
        let (name, at, what) = match top.get("name") {
            Some(entry) => (
                entry.string(self.problems)?,
                entry.at(),
                "the scenario's name",
            ),
            None => (
                self.origin.stem,
                0..0,
                "the scenario's name: write another as `name`",
            ),
        };
        check::is_name(name, at, what, self.problems).then(|| name.to_owned())
    }

    fn duration(&mut self, top: &mut Section<'_>) -> Option<Spanned<Nanos>> {
        let entry = top.require("duration", "\"25 s\"");
        let written = entry.and_then(|entry| {
            let duration = entry.quantity("25 s", self.problems)?;
            self.in_range("duration", duration, entry.at(), limits::DURATION)
        });
        let duration = self.overrides.duration.or(written)?;
        let at = entry.map_or(0..0, |entry| entry.at());
        Some(Spanned::new(at, duration))
    }

    fn drivers(&mut self, top: &mut Section<'_>) -> Option<Vec<DriverKind>> {
        let written = match top.get("drivers") {
            Some(entry) => {
                let mut drivers = Vec::new();
                for node in entry.elements(self.problems)? {
                    let driver = section::word(node, &DRIVERS, self.problems)?;
                    if drivers.contains(&driver) {
                        self.problems.push(
                            Problem::new(node.span(), "a driver is named twice")
                                .label("again")
                                .help(
                                    "name each driver once; `[repetitions]` says how often it runs",
                                ),
                        );
                    }
                    drivers.push(driver);
                }
                if drivers.is_empty() {
                    self.problems.push(
                        Problem::new(entry.at(), "`drivers` is empty")
                            .label("nothing would run")
                            .help("write `drivers = [\"model\"]` or `drivers = [\"model\", \"proxy\"]`"),
                    );
                }
                drivers
            }
            None => vec![DriverKind::Model],
        };
        Some(self.overrides.drivers.clone().unwrap_or(written))
    }

    fn buffer(&mut self, top: &mut Section<'_>) -> Option<ByteSize> {
        match top.get("buffer") {
            Some(entry) => {
                let buffer = entry.quantity("16 KiB", self.problems)?;
                self.in_range("buffer", buffer, entry.at(), limits::BUFFER)
            }
            None => Some(limits::DEFAULT_BUFFER),
        }
    }

    /// `Some(None)` is an unlimited queue.
    fn queue(&mut self, top: &mut Section<'_>) -> Option<Option<ByteSize>> {
        let Some(entry) = top.get("queue") else {
            return Some(None);
        };
        if entry.value.get_ref().as_str() == Some("unlimited") {
            return Some(None);
        }
        let queue = entry.quantity("64 KiB", self.problems)?;
        self.in_range("queue", queue, entry.at(), limits::QUEUE)
            .map(Some)
    }

    fn bin(&mut self, top: &mut Section<'_>, duration: Option<Nanos>) -> Option<Nanos> {
        let Some(entry) = top.get("bin") else {
            return Some(limits::default_bin(duration?));
        };
        let bin: Nanos = entry.quantity("100 ms", self.problems)?;
        let least = limits::least_bin(duration?);
        if bin < least {
            self.problems.push(
                Problem::new(
                    entry.at(),
                    format!("`bin` would make more than {} bins a run", limits::BINS),
                )
                .label("too short")
                .help(format!("at least \"{least}\" for this duration")),
            );
            return None;
        }
        Some(bin)
    }

    fn reference(&mut self, top: &mut Section<'_>) -> Option<Reference> {
        let example = "{ rate = \"5000 B/s\", burst = \"5000 B\" }";
        let entry = top.require("reference", example)?;
        let mut section = Section::of(entry.value, "in `reference`", self.problems)?;
        let reference = reference(&mut section, self.problems);
        section.finish(self.problems);
        reference
    }

    fn repetitions(&mut self, top: &mut Section<'_>) -> Option<(Repetitions, Option<Until>)> {
        let mut written = limits::DEFAULT_REPETITIONS;
        let mut narrow = None;
        if let Some(entry) = top.get("repetitions") {
            let mut section = Section::of(entry.value, "in `repetitions`", self.problems)?;
            let until = until::read(&mut section, self.problems);
            if matches!(until, Some(Some(_))) {
                written.model = limits::DEFAULT_MOST;
            }
            let mut count = |key, default| match section.get(key) {
                Some(entry) => entry.integer(1..=limits::REPETITIONS, self.problems),
                None => Some(u64::from(default)),
            };
            let (model, proxy) = (count("model", written.model), count("proxy", written.proxy));
            let kernel = count("kernel", written.kernel);
            let external = count("external", written.external);
            let shadowsocks = count("shadowsocks", written.shadowsocks);
            section.finish(self.problems);
            narrow = until?;
            written = Repetitions {
                model: u32::try_from(model?).ok()?,
                proxy: u32::try_from(proxy?).ok()?,
                kernel: u32::try_from(kernel?).ok()?,
                external: u32::try_from(external?).ok()?,
                shadowsocks: u32::try_from(shadowsocks?).ok()?,
            };
        }
        let repetitions = match self.overrides.repetitions {
            Some(n) => Repetitions {
                model: n,
                proxy: n,
                kernel: n,
                external: n,
                shadowsocks: n,
            },
            None => written,
        };
        Some((repetitions, narrow))
    }

    fn in_range<T: PartialOrd + Copy + std::fmt::Display>(
        &mut self,
        what: &str,
        value: T,
        at: Range<usize>,
        (least, most): (T, T),
    ) -> Option<T> {
        let inside = least <= value && value <= most;
        if !inside {
            self.problems.push(
                Problem::new(at, format!("`{what}` is out of range"))
                    .label("out of range")
                    .help(format!("from {least} to {most}")),
            );
        }
        inside.then_some(value)
    }
}

/// `rate` and `burst` of a table that has both.
fn reference(section: &mut Section<'_>, problems: &mut Vec<Problem>) -> Option<Reference> {
    let rate = section
        .require("rate", "\"5000 B/s\"")
        .and_then(|entry| entry.quantity("5000 B/s", problems));
    let burst = section
        .require("burst", "\"5000 B\"")
        .and_then(|entry| entry.quantity("5000 B", problems));
    Some(Reference {
        rate: rate?,
        burst: burst?,
    })
}
