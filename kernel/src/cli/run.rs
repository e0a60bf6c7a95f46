//! `run`: the rules at work, the file watched, clients answered.

use std::collections::{HashMap, HashSet};
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::os::fd::AsFd as _;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use flow::Timestamp;
use flow::monitor::Meter;
use kernel::engine::{Counts, Engine, EngineError, Flow, monotonic};
use kernel::rule::Direction;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use serde_json::{Value, json};

use super::control::{clean_up, listen, note_paces};
use super::message::{self, Sides};
use super::watchers::Watchers;
use super::{Failure, load, say, say_to_stderr};

/// How often counts are read and the file is looked at.
const TICK_NANOS: u64 = 1_000_000_000;
/// Flows are forgotten after this silence.
const FORGET_NANOS: u64 = 60 * 1_000_000_000;
/// For the word of a client.
const CLIENT_PATIENCE: Duration = Duration::from_millis(200);

/// Three meters.
#[derive(Debug)]
struct Meters {
    offered: Meter,
    passed: Meter,
    lost: Meter,
}

/// The running rules and everybody who watches them.
struct Daemon {
    engine: Engine,
    file: PathBuf,
    changed: Option<SystemTime>,
    rules: HashMap<String, Meters>,
    flows: HashMap<(String, Flow), Meters>,
    watchers: Watchers,
    /// When counts were read last: what is new since then counts from there.
    read_at: u64,
}

/// Makes the rules of `file` hold until it is told to stop.
pub(super) fn run(file: &Path, control: &Path) -> Result<(), Failure> {
    let loaded = load(file)?;
    let signals = signals().map_err(Failure::environment)?;
    clean_up(control)?;
    let mut engine = Engine::load().map_err(Failure::from)?;
    let (listener, _files) = listen(control)?;
    let read_at = monotonic();
    note_paces(control, loaded.rules.rules.iter())?;
    engine.apply(&loaded.rules).map_err(Failure::from)?;
    let count = loaded.rules.rules.len();
    say(&format!(
        "holding {count} {} at: {}",
        if count == 1 { "rule" } else { "rules" },
        engine.places().join(", ")
    ))?;
    let daemon = Daemon {
        engine,
        changed: modified(file),
        file: file.to_owned(),
        rules: HashMap::new(),
        flows: HashMap::new(),
        watchers: Watchers::default(),
        read_at,
    };
    daemon.serve(&signals, &listener, control)
}

fn signals() -> nix::Result<SignalFd> {
    let mut set = SigSet::empty();
    for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP] {
        set.add(signal);
    }
    set.thread_block()?;
    SignalFd::with_flags(&set, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)
}

fn modified(file: &Path) -> Option<SystemTime> {
    std::fs::metadata(file)
        .and_then(|about| about.modified())
        .ok()
}

impl Daemon {
    fn serve(
        mut self,
        signals: &SignalFd,
        listener: &UnixListener,
        control: &Path,
    ) -> Result<(), Failure> {
        let mut next = monotonic();
        loop {
            let now = monotonic();
            if now >= next {
                self.tick(now)?;
                self.follow_file(control);
                next = (next + TICK_NANOS).max(now);
            }
            let wait = next.saturating_sub(monotonic()).div_ceil(1_000_000);
            let wait = PollTimeout::try_from(wait.min(1_000)).unwrap_or(PollTimeout::ZERO);
            let mut ready = vec![
                PollFd::new(signals.as_fd(), PollFlags::POLLIN),
                PollFd::new(listener.as_fd(), PollFlags::POLLIN),
            ];
            let behind = self.watchers.waiting();
            ready.extend(behind.map(|client| PollFd::new(client, PollFlags::POLLOUT)));
            match poll(&mut ready, wait) {
                Ok(_) | Err(nix::errno::Errno::EINTR) => {}
                Err(error) => return Err(Failure::environment(error)),
            }
            drop(ready);
            self.watchers.push();
            while let Ok(Some(signal)) = signals.read_signal() {
                if i32::try_from(signal.ssi_signo) == Ok(Signal::SIGHUP as i32) {
                    self.reload(control);
                } else {
                    return Ok(());
                }
            }
            while let Ok((stream, _)) = listener.accept() {
                if self.answer(stream).is_some() {
                    return Ok(());
                }
            }
        }
    }

    /// Reads all counts, and tells whoever watches.
    fn tick(&mut self, now: u64) -> Result<(), Failure> {
        match self.engine.refresh() {
            Ok(changes) => changes.iter().for_each(|change| say_to_stderr(change)),
            Err(error) => say_to_stderr(&error.to_string()),
        }
        self.engine.rebalance().map_err(Failure::from)?;
        let (rules, flows) = self.records(now).map_err(Failure::from)?;
        self.watchers.tell(&rules, &flows);
        self.engine
            .forget_silent_flows(now.saturating_sub(FORGET_NANOS))
            .map_err(Failure::from)
    }

    /// Lines of rules and of flows, if anybody wants them; the meters go on in any case.
    fn records(&mut self, now: u64) -> Result<(String, String), EngineError> {
        let (at, stamp) = (Timestamp::from_nanos(now), message::timestamp(now));
        let since = Timestamp::from_nanos(std::mem::replace(&mut self.read_at, now));
        let (rules_wanted, flows_wanted) = self.watchers.wanted();
        let (mut rules, mut flows) = (String::new(), String::new());
        let seen = self.engine.counts()?;
        let names: HashSet<&str> = seen.iter().map(|rule| &*rule.rule).collect();
        self.rules.retain(|name, _| names.contains(name.as_str()));
        for rule in &seen {
            let sides = read(&mut self.rules, rule.rule.clone(), since, at, &rule.counts);
            if rules_wanted {
                rules.push_str(&format!("{}\n", message::record(&stamp, rule, &sides)));
            }
        }
        let held = &self.engine.rules().rules;
        let ingress: HashMap<&str, bool> = held
            .iter()
            .map(|rule| (&*rule.name, rule.direction == Direction::Ingress))
            .collect();
        let seen = self.engine.flows()?;
        let mut kept = HashMap::with_capacity(seen.len());
        for flow in &seen {
            let key = (flow.rule.clone(), flow.flow);
            // Its meters move over; those of flows that are gone stay behind.
            if let Some(meters) = self.flows.remove(&key) {
                kept.insert(key.clone(), meters);
            }
            let sides = read(&mut kept, key, since, at, &flow.counts);
            if flows_wanted {
                let ingress = ingress.get(&*flow.rule).copied().unwrap_or(false);
                let record = message::flow_record(&stamp, flow, ingress, &sides);
                flows.push_str(&format!("{record}\n"));
            }
        }
        self.flows = kept;
        Ok((rules, flows))
    }

    /// Takes the file over if it was written.
    fn follow_file(&mut self, control: &Path) {
        let now = modified(&self.file);
        if now.is_some() && now != self.changed {
            self.reload(control);
        }
    }

    /// With a mistake in the file, what held still holds.
    fn reload(&mut self, control: &Path) {
        self.changed = modified(&self.file);
        let applied = load(&self.file).and_then(|loaded| {
            // Noted before they are paced, and until none of them is.
            let held = self.engine.rules().rules.clone();
            note_paces(control, held.iter().chain(&loaded.rules.rules))?;
            let applied = self.engine.apply(&loaded.rules).map_err(Failure::from);
            note_paces(control, self.engine.rules().rules.iter())?;
            applied
        });
        match applied {
            Ok(()) => say_to_stderr(&format!("{} taken over", self.file.display())),
            Err(Failure::Environment(error) | Failure::Request(error)) => {
                say_to_stderr(&format!("{error}\nthe rules before it still hold"));
            }
        }
    }

    /// Answers one client; `Some` if it wants the end.
    fn answer(&mut self, stream: UnixStream) -> Option<()> {
        let patience = Some(CLIENT_PATIENCE);
        stream.set_nonblocking(false).ok()?;
        stream.set_read_timeout(patience).ok()?;
        stream.set_write_timeout(patience).ok()?;
        let mut word = String::new();
        let limited = io::Read::take(&stream, 64);
        // One that says nothing in time gets nothing.
        if BufReader::new(limited).read_line(&mut word).is_err() {
            return None;
        }
        match word.trim_end() {
            message::LIST => {
                let listed = self.listed();
                let _ = writeln!(&stream, "{listed}");
                None
            }
            word @ (message::WATCH | message::WATCH_FLOWS) => {
                let flows = word == message::WATCH_FLOWS;
                stream.set_nonblocking(true).ok()?;
                self.watchers.add(stream, flows);
                None
            }
            message::CLEAR => {
                let _ = writeln!(&stream, "{}", json!({"cleared": true}));
                Some(())
            }
            _ => None,
        }
    }

    fn listed(&self) -> Value {
        let counts = match self.engine.counts() {
            Ok(counts) => counts,
            Err(error) => return json!({"error": error.to_string()}),
        };
        let rules = self.engine.rules().rules.iter().zip(&counts);
        let rules: Vec<Value> = rules
            .map(|(rule, seen)| {
                let (offered, passed, lost) = (
                    seen.counts.offered(),
                    seen.counts.passed,
                    seen.counts.lost(),
                );
                json!({
                    "rule": rule.name,
                    "text": rule.to_string(),
                    "hook": seen.hook.name(),
                    "offered": {"bytes": offered.bytes, "packets": offered.packets},
                    "passed": {"bytes": passed.bytes, "packets": passed.packets},
                    "dropped": {"bytes": lost.bytes, "packets": lost.packets},
                    "connections": seen.paced,
                })
            })
            .collect();
        json!({
            "pid": std::process::id(),
            "file": self.file.display().to_string(),
            "attached": self.engine.places(),
            "rules": rules,
        })
    }
}

/// Reads a rule's or flow's counts into the meters of `key`, which begin at nothing at `since`.
fn read<K: std::hash::Hash + Eq>(
    all: &mut HashMap<K, Meters>,
    key: K,
    since: Timestamp,
    at: Timestamp,
    counts: &Counts,
) -> Sides {
    let meters = all.entry(key).or_insert_with(|| Meters {
        offered: Meter::new(since, 0),
        passed: Meter::new(since, 0),
        lost: Meter::new(since, 0),
    });
    meters.offered.read(at, counts.offered().bytes);
    meters.passed.read(at, counts.passed.bytes);
    meters.lost.read(at, counts.lost().bytes);
    Sides {
        offered: meters.offered.rates(),
        passed: meters.passed.rates(),
        lost: meters.lost.rates(),
    }
}
