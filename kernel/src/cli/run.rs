//! `run`: the rules at work, the file watched, clients answered.

use std::collections::HashMap;
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::os::fd::AsFd as _;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use flow::Timestamp;
use flow::monitor::Meter;
use kernel::config::{Format, parse};
use kernel::engine::{Engine, EngineError, Flow, monotonic};
use kernel::rule::{Action, Direction, Rule, Rules};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use serde_json::{Value, json};

use super::message::{self, Sides};
use super::{Failure, load, say, say_to_stderr};

/// How often counts are read and the file is looked at.
const TICK_NANOS: u64 = 1_000_000_000;
/// Flows are forgotten after this silence.
const FORGET_NANOS: u64 = 60 * 1_000_000_000;
/// A client that does not read loses its connection.
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
    watchers: Vec<Watcher>,
}

struct Watcher {
    stream: UnixStream,
    flows: bool,
}

/// Removes the socket and the note of what was paced.
struct Files<'a>(&'a Path);

/// Makes the rules of `file` hold until it is told to stop.
pub(super) fn run(file: &Path, control: &Path) -> Result<(), Failure> {
    let loaded = load(file)?;
    let signals = signals().map_err(Failure::environment)?;
    clean_up(control)?;
    let mut engine = Engine::load().map_err(of_engine)?;
    engine.apply(&loaded.rules).map_err(of_engine)?;
    let listener = listen(control)?;
    let _files = Files(control);
    note_paces(control, &loaded.rules)?;
    say(&format!(
        "holding {} rules at: {}",
        loaded.rules.rules.len(),
        engine.places().join(", ")
    ))?;
    let daemon = Daemon {
        engine,
        changed: modified(file),
        file: file.to_owned(),
        rules: HashMap::new(),
        flows: HashMap::new(),
        watchers: Vec::new(),
    };
    daemon.serve(&signals, &listener, control)
}

/// Whose fault it is that the rules cannot hold.
pub(super) fn of_engine(error: EngineError) -> Failure {
    match error {
        EngineError::Rule { .. } | EngineError::TooMany(_) => Failure::Request(Box::new(error)),
        _ => Failure::environment(error),
    }
}

fn signals() -> nix::Result<SignalFd> {
    let mut set = SigSet::empty();
    for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP] {
        set.add(signal);
    }
    set.thread_block()?;
    SignalFd::with_flags(&set, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)
}

fn listen(control: &Path) -> Result<UnixListener, Failure> {
    let failed = |error: io::Error| {
        let text = format!("cannot listen on {}: {error}", control.display());
        Failure::Environment(Box::from(text))
    };
    let listener = UnixListener::bind(control).map_err(failed)?;
    let only_us = std::fs::Permissions::from_mode(0o600);
    std::fs::set_permissions(control, only_us).map_err(failed)?;
    listener.set_nonblocking(true).map_err(failed)?;
    Ok(listener)
}

/// Where it stands which connections were paced, should this process be killed.
fn note(control: &Path) -> PathBuf {
    control.with_extension("paced")
}

/// Programs and rules end with the process, however it ends; what was set on other
/// processes' sockets does not.
fn note_paces(control: &Path, rules: &Rules) -> Result<(), Failure> {
    let paces = |rule: &&Rule| matches!(rule.action, Action::Pace { .. });
    let path = note(control);
    let text: String = rules.rules.iter().filter(paces).map(pace_as_toml).collect();
    let written = if text.is_empty() {
        remove(&path)
    } else {
        std::fs::write(&path, text)
    };
    written.map_err(Failure::environment)
}

/// A rule that finds all connections that `rule` may have paced. Whose they were is forgotten
/// with the process that knew.
fn pace_as_toml(rule: &Rule) -> String {
    let matcher = &rule.matcher;
    let fields = [
        ("remote", matcher.remote.map(|net| net.to_string())),
        ("local", matcher.local.map(|net| net.to_string())),
        (
            "remote_port",
            matcher.remote_port.map(|port| port.to_string()),
        ),
        (
            "local_port",
            matcher.local_port.map(|port| port.to_string()),
        ),
        ("rate", rule.rate().map(|rate| rate.to_string())),
    ];
    let head = "[[rule]]\nmode = \"pace\"\ndirection = \"egress\"\n";
    let lines = fields.iter().filter_map(|(key, value)| {
        let value = value.as_ref()?;
        Some(format!("{key} = \"{value}\"\n"))
    });
    head.to_owned() + &lines.collect::<String>()
}

fn remove(path: &Path) -> io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Removes what a killed `run` left: its socket, and the pace of open connections. Refuses if
/// one is running. Whether there was anything.
pub(super) fn clean_up(control: &Path) -> Result<bool, Failure> {
    if UnixStream::connect(control).is_ok() {
        let text = format!(
            "another `run` answers at {}: `clear` ends it",
            control.display()
        );
        return Err(Failure::Environment(Box::from(text)));
    }
    let stale = control.exists();
    remove(control).map_err(Failure::environment)?;
    let path = note(control);
    let paced = path.exists();
    if paced {
        let text = std::fs::read_to_string(&path).map_err(Failure::environment)?;
        if let Ok(loaded) = parse(&text, Format::Toml) {
            let mut engine = Engine::load().map_err(of_engine)?;
            // Taking them in is what makes it let them go.
            engine.apply(&loaded.rules).map_err(of_engine)?;
        }
        remove(&path).map_err(Failure::environment)?;
    }
    Ok(stale || paced)
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
            let mut ready = [
                PollFd::new(signals.as_fd(), PollFlags::POLLIN),
                PollFd::new(listener.as_fd(), PollFlags::POLLIN),
            ];
            match poll(&mut ready, wait) {
                Ok(_) | Err(nix::errno::Errno::EINTR) => {}
                Err(error) => return Err(Failure::environment(error)),
            }
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
        self.engine.rebalance().map_err(of_engine)?;
        let (rules, flows) = self.records(now).map_err(of_engine)?;
        self.watchers.retain_mut(|watcher| {
            let flows = flows.iter().filter(|_| watcher.flows);
            let mut text = String::new();
            for record in rules.iter().chain(flows) {
                text.push_str(&format!("{record}\n"));
            }
            watcher.stream.write_all(text.as_bytes()).is_ok()
        });
        self.engine
            .forget_silent_flows(now.saturating_sub(FORGET_NANOS))
            .map_err(of_engine)
    }

    fn records(&mut self, now: u64) -> Result<(Vec<Value>, Vec<Value>), EngineError> {
        let (at, stamp) = (Timestamp::from_nanos(now), message::timestamp(now));
        let seen = self.engine.counts()?;
        self.rules
            .retain(|name, _| seen.iter().any(|rule| rule.rule == *name));
        let rules = seen.iter().map(|rule| {
            let counts = &rule.counts;
            let bytes = [
                counts.offered().bytes,
                counts.passed.bytes,
                counts.lost().bytes,
            ];
            let sides = read(&mut self.rules, rule.rule.clone(), at, bytes);
            message::record(&stamp, rule, &sides)
        });
        let rules = rules.collect();
        let flows = self.engine.flows()?;
        let kept: std::collections::HashSet<_> = flows
            .iter()
            .map(|seen| (seen.rule.clone(), seen.flow))
            .collect();
        self.flows.retain(|key, _| kept.contains(key));
        let held = &self.engine.rules().rules;
        let flows = flows.iter().map(|flow| {
            let counts = &flow.counts;
            let bytes = [
                counts.offered().bytes,
                counts.passed.bytes,
                counts.lost().bytes,
            ];
            let key = (flow.rule.clone(), flow.flow);
            let sides = read(&mut self.flows, key, at, bytes);
            let rule = held.iter().find(|rule| rule.name == flow.rule);
            let ingress = rule.is_some_and(|rule| rule.direction == Direction::Ingress);
            message::flow_record(&stamp, flow, ingress, &sides)
        });
        Ok((rules, flows.collect()))
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
            self.engine.apply(&loaded.rules).map_err(of_engine)?;
            note_paces(control, &loaded.rules)
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
                self.watchers.push(Watcher { stream, flows });
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

/// Reads offered, passed and lost bytes into the meters of `key`.
fn read<K: std::hash::Hash + Eq>(
    all: &mut HashMap<K, Meters>,
    key: K,
    at: Timestamp,
    [offered, passed, lost]: [u64; 3],
) -> Sides {
    let meters = all.entry(key).or_insert_with(|| Meters {
        offered: Meter::new(at, offered),
        passed: Meter::new(at, passed),
        lost: Meter::new(at, lost),
    });
    meters.offered.read(at, offered);
    meters.passed.read(at, passed);
    meters.lost.read(at, lost);
    Sides {
        offered: meters.offered.rates(),
        passed: meters.passed.rates(),
        lost: meters.lost.rates(),
    }
}

impl Drop for Files<'_> {
    fn drop(&mut self) {
        // Gone already is as good.
        let _ = remove(self.0);
        let _ = remove(&note(self.0));
    }
}
