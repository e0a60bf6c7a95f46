//! The stateful tests: TCP test patterns again and again on every session of every profile at
//! once, and a micro burst each second beside them.
//!
//! Senders are those of the closed loops (selective acknowledgements, Reno or CUBIC); one round
//! trip of delay, nothing lost on the way back. All profiles share the line.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::config::{BULK, Config, Tcp};
use super::streams::{Element, Port};
use super::{Figures, Metric, NANOS, real, time_of};
use crate::driver::model::tcp::{Segment, Sender};
use crate::scenario::Congestion;
use flow::Timestamp;

/// Packets of a micro burst.
pub(super) const MICRO_BURST: u64 = 10;
/// The receive window of all sessions in bandwidth-delay products: RFC 7640 asks for 1.1 to 1.5.
const WINDOW: f64 = 1.3;
/// How long beyond the run the first pattern of a session may take.
const PATIENCE: u64 = 3_600 * NANOS;

/// What the sessions of one profile transfer.
#[derive(Clone, Debug)]
pub(super) struct Pattern {
    name: String,
    rtt: u64,
    congestion: Congestion,
    /// Bytes of each object of a pattern.
    objects: Vec<u64>,
    /// Nanoseconds between an object's arrival and the next one's start.
    pub(super) pause: u64,
    pub(super) sessions: u32,
    /// Bytes of one session's receive window.
    window: u64,
}

impl Pattern {
    /// The pattern called `name` for `sessions` connections that share `rate`.
    pub(super) fn new(config: &Config, name: &str, sessions: u32, rate: u64) -> Self {
        let port = Port::of(config);
        let sessions = sessions.max(1);
        let share = rate / u64::from(sessions);
        let rtt = config.rtt.get();
        let named = config.pattern.iter().find(|one| one.name == name);
        // What two seconds at the limit hold, in whole packets.
        let transfer = (share * 2).div_ceil(port.packet).max(10) * port.packet;
        Self {
            name: name.to_owned(),
            rtt,
            congestion: match config.tcp {
                Tcp::Reno => Congestion::Reno,
                Tcp::Cubic => Congestion::Cubic,
            },
            objects: named.map_or_else(
                || vec![transfer],
                |one| one.objects.iter().map(|object| object.get()).collect(),
            ),
            pause: named.map_or(0, |one| one.pause.get()),
            sessions,
            window: window(share, rtt, port.packet),
        }
    }

    /// Bytes of a pattern.
    pub(super) fn bytes(&self) -> u64 {
        self.objects.iter().sum()
    }

    /// Bytes of each object.
    pub(super) fn objects(&self) -> &[u64] {
        &self.objects
    }

    /// Bytes of one session's receive window.
    pub(super) const fn window_bytes(&self) -> u64 {
        self.window
    }

    /// "transfers of 25000000 B", and what belongs to them.
    pub(super) fn objects_in_words(&self) -> String {
        let sessions = match self.sessions {
            1 => String::new(),
            more => format!("{more} sessions, "),
        };
        if self.name == BULK {
            return format!("{sessions}transfers of {} B", self.bytes());
        }
        format!(
            "{sessions}{} ({} objects, {} B, pauses of {:.0} ms)",
            self.name,
            self.objects.len(),
            self.bytes(),
            real(self.pause) / 1e6
        )
    }

    pub(super) fn setting(&self) -> String {
        format!(
            "{}, window {} B, round trip {:.0} ms, {}, {MICRO_BURST} packets at once each second",
            self.objects_in_words(),
            self.window,
            real(self.rtt) / 1e6,
            match self.congestion {
                Congestion::Reno => "Reno",
                Congestion::Cubic => "CUBIC",
            },
        )
    }
}

/// Bytes in whole packets, four of them at least.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a positive number of packets; a float's cast saturates"
)]
fn window(rate: u64, rtt: u64, packet: u64) -> u64 {
    let product = real(rate) * real(rtt) / real(NANOS) / real(packet);
    ((product * WINDOW) as u64).max(4).saturating_mul(packet)
}

/// Runs all `profiles` at once from rest, micro bursts from `first` on: the figures of each.
pub(super) fn run(port: &Port, profiles: Vec<(&Pattern, Element)>, first: u64) -> Vec<Figures> {
    let mut simulation = Simulation::new(port, profiles, first);
    simulation.go();
    simulation
        .profiles
        .iter()
        .map(|profile| profile.figures(port))
        .collect()
}

/// A limiter with what is sent to it.
struct Profile<'a> {
    pattern: &'a Pattern,
    element: Element,
    sent: u64,
    again: u64,
    rtt_sum: f64,
    rtt_samples: u64,
    /// Bytes acknowledged before the end of the run.
    bytes: u64,
    /// Seconds of each pattern.
    times: Vec<f64>,
}

impl Profile<'_> {
    fn figures(&self, port: &Port) -> Figures {
        let sent = real(self.sent.max(1));
        let mut figures = Figures::from([
            (Metric::Efficiency, (sent - real(self.again)) / sent * 100.0),
            (
                Metric::Sr,
                real(self.bytes) / (real(port.duration) / real(NANOS)),
            ),
        ]);
        if self.rtt_samples > 0 {
            let mean = self.rtt_sum / real(self.rtt_samples);
            let above = mean / real(self.pattern.rtt) - 1.0;
            figures.insert(Metric::BufferDelay, above * 100.0);
        }
        figures.extend(times(&self.times));
        figures
    }
}

/// TTPET: mean, least and most of `seconds`; none of none.
pub(super) fn times(seconds: &[f64]) -> Vec<(Metric, f64)> {
    if seconds.is_empty() {
        return Vec::new();
    }
    let each = || seconds.iter().copied();
    vec![
        (
            Metric::Ttpet,
            each().sum::<f64>() / real(seconds.len() as u64),
        ),
        (Metric::TtpetMin, each().fold(f64::INFINITY, f64::min)),
        (Metric::TtpetMax, each().fold(0.0, f64::max)),
    ]
}

/// What happens next; of a session, or of a profile (micro bursts).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    /// The acknowledgement of a segment that was sent at that instant, on that connection.
    Acknowledged {
        connection: u64,
        sent: u64,
        segment: Segment,
    },
    /// The timer of this number of a connection.
    TimeOut { connection: u64, number: u64 },
    /// The next object is sent.
    Object,
    /// Packets all at once.
    MicroBurst,
}

/// One connection after the other, a pattern on each.
struct Session {
    profile: usize,
    sender: Sender,
    connection: u64,
    /// The object that is under way.
    object: usize,
    /// Bytes of this connection up to the end of that object.
    due: u64,
    /// One beyond the last byte that was sent.
    highest: u64,
    begun: u64,
    completed: bool,
}

struct Simulation<'a> {
    port: Port,
    /// When the line is free again.
    free: u64,
    profiles: Vec<Profile<'a>>,
    sessions: Vec<Session>,
    queue: BinaryHeap<Reverse<(u64, usize, Event)>>,
}

impl<'a> Simulation<'a> {
    fn new(port: &Port, profiles: Vec<(&'a Pattern, Element)>, first: u64) -> Self {
        let mut simulation = Self {
            port: *port,
            free: 0,
            profiles: Vec::new(),
            sessions: Vec::new(),
            queue: BinaryHeap::new(),
        };
        for (at, (pattern, element)) in profiles.into_iter().enumerate() {
            simulation.push(first, at, Event::MicroBurst);
            for _ in 0..pattern.sessions {
                simulation.push(0, simulation.sessions.len(), Event::Object);
                simulation.sessions.push(Session {
                    profile: at,
                    sender: Sender::new(pattern.congestion, port.packet),
                    connection: 0,
                    object: 0,
                    due: 0,
                    highest: 0,
                    begun: 0,
                    completed: false,
                });
            }
            simulation.profiles.push(Profile {
                pattern,
                element,
                sent: 0,
                again: 0,
                rtt_sum: 0.0,
                rtt_samples: 0,
                bytes: 0,
                times: Vec::new(),
            });
        }
        simulation
    }

    fn push(&mut self, at: u64, index: usize, event: Event) {
        self.queue.push(Reverse((at, index, event)));
    }

    /// Until the end of the run, and until every session has had a pattern whole.
    fn go(&mut self) {
        let end = self.port.duration;
        while let Some(Reverse((now, index, event))) = self.queue.pop() {
            let over = now >= end && self.sessions.iter().all(|session| session.completed);
            if over || now > end.saturating_add(PATIENCE) {
                break;
            }
            match event {
                Event::MicroBurst => self.micro_burst(now, index),
                Event::Object => self.object(now, index),
                Event::Acknowledged {
                    connection,
                    sent,
                    segment,
                } => self.acknowledged(now, index, connection, sent, segment),
                Event::TimeOut { connection, number } => {
                    let session = &mut self.sessions[index];
                    let at = Timestamp::from_nanos(now);
                    let own = session.connection == connection;
                    if own && session.sender.timed_out(at, number) {
                        self.transmit(now, index);
                    }
                }
            }
        }
    }

    fn micro_burst(&mut self, now: u64, profile: usize) {
        for _ in 0..MICRO_BURST {
            let at = self.line(now, self.port.packet);
            self.profiles[profile].element.pass(at, self.port.packet);
        }
        self.push(now + NANOS, profile, Event::MicroBurst);
    }

    /// When a packet that is sent at `now` is on the line.
    fn line(&mut self, now: u64, size: u64) -> u64 {
        let at = now.max(self.free);
        self.free = at + time_of(size, self.port.line);
        at
    }

    fn object(&mut self, now: u64, index: usize) {
        let session = &mut self.sessions[index];
        let pattern = self.profiles[session.profile].pattern;
        if session.object == 0 {
            session.begun = now;
        }
        session.due += pattern.objects[session.object];
        session.open(pattern.window);
        self.transmit(now, index);
    }

    fn acknowledged(
        &mut self,
        now: u64,
        index: usize,
        connection: u64,
        sent: u64,
        segment: Segment,
    ) {
        let session = &mut self.sessions[index];
        let profile = &mut self.profiles[session.profile];
        profile.rtt_sum += real(now - sent);
        profile.rtt_samples += 1;
        if session.connection != connection {
            return;
        }
        let before = session.sender.acknowledged_to();
        session
            .sender
            .acknowledged(Timestamp::from_nanos(now), segment);
        let upto = session.sender.acknowledged_to();
        if now < self.port.duration {
            profile.bytes += upto - before;
        }
        session.open(profile.pattern.window);
        if before < session.due && upto >= session.due {
            self.arrived(now, index);
        } else {
            self.transmit(now, index);
        }
    }

    /// An object is whole: the next one, or the pattern again on a new connection.
    fn arrived(&mut self, now: u64, index: usize) {
        let session = &mut self.sessions[index];
        let profile = &mut self.profiles[session.profile];
        session.object += 1;
        if session.object == profile.pattern.objects.len() {
            profile.times.push(real(now - session.begun) / real(NANOS));
            session.completed = true;
            session.sender = Sender::new(profile.pattern.congestion, self.port.packet);
            session.connection += 1;
            (session.object, session.due, session.highest) = (0, 0, 0);
        }
        let next = now + profile.pattern.pause;
        self.push(next, index, Event::Object);
    }

    /// Everything that the windows allow.
    fn transmit(&mut self, now: u64, index: usize) {
        let at = Timestamp::from_nanos(now);
        while let Some(segment) = self.sessions[index].sender.next(at) {
            let size = segment.to - segment.from;
            let on_line = self.line(now, size);
            let session = &mut self.sessions[index];
            let connection = session.connection;
            let profile = &mut self.profiles[session.profile];
            profile.sent += 1;
            profile.again += u64::from(segment.from < session.highest);
            session.highest = session.highest.max(segment.to);
            if let Some(left) = profile.element.pass(on_line, size) {
                let back = left + profile.pattern.rtt;
                let event = Event::Acknowledged {
                    connection,
                    sent: now,
                    segment,
                };
                self.push(back, index, event);
            }
        }
        let session = &mut self.sessions[index];
        let connection = session.connection;
        if let Some((at, number)) = session.sender.arm(at) {
            let event = Event::TimeOut { connection, number };
            self.push(at.as_nanos(), index, event);
        }
    }
}

impl Session {
    /// Hands over what the receiver has room for.
    fn open(&mut self, window: u64) {
        let room = self.sender.acknowledged_to().saturating_add(window);
        self.sender.available(self.due.min(room));
    }
}
