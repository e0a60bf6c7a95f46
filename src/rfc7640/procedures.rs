//! The tests, one after the other.

use flow::{ByteSize, Policy};
use rand_xoshiro::Xoshiro256PlusPlus;
use rand_xoshiro::rand_core::{Rng as _, SeedableRng as _};

use super::config::Config;
use super::stateful;
use super::streams::{Bursts, Element, Port, figures, pass};
use super::{Figures, Metric, Test, real, time_of};

/// What bursts exceed CBS + EBS by in the excess test, as recommended.
const EXCESS: u64 = 1_000;
/// The step of the burst hunt.
const STEP: u64 = 1_000;

/// Runs every test that `config` has profiles for; `config` has been checked.
#[must_use]
pub fn run(config: &Config) -> Vec<Test> {
    let plan = Plan::new(config);
    let mut tests = Vec::new();
    plan.policers(&mut tests);
    plan.queues(&mut tests);
    plan.shapers(&mut tests);
    plan.concurrent(&mut tests);
    tests
}

struct Plan<'a> {
    config: &'a Config,
    port: Port,
}

/// A stream and what it goes through.
struct Stream {
    name: String,
    burst: u64,
    rate: u64,
    policy: Policy,
    queue: Option<ByteSize>,
}

impl Stream {
    fn element(&self) -> Element {
        match self.queue {
            None => Element::policer(&self.policy),
            Some(queue) => Element::shaper(&self.policy, queue),
        }
    }

    /// Ti: the time in which what one burst takes comes back.
    fn interval(&self, burst: u64) -> u64 {
        time_of(burst, self.rate)
    }
}

impl<'a> Plan<'a> {
    const fn new(config: &'a Config) -> Self {
        let port = Port {
            line: config.line.get(),
            packet: config.packet.get(),
            duration: config.duration.get(),
        };
        Self { config, port }
    }

    /// `of` for each run and its random numbers, the same in every test.
    fn runs(&self, mut of: impl FnMut(&mut Xoshiro256PlusPlus) -> Figures) -> Vec<Figures> {
        let seeds = (0..self.config.runs).map(|run| self.config.seed ^ (u64::from(run) << 32));
        seeds
            .map(|seed| of(&mut Xoshiro256PlusPlus::seed_from_u64(seed)))
            .collect()
    }

    fn corrected(&self, mut figures: Figures, rate: u64) -> Figures {
        if let Some(achieved) = figures.get(&Metric::Bsa) {
            let kept = 1.0 - real(rate) / real(self.port.line);
            figures.insert(Metric::BsaCorrected, achieved * kept);
        }
        figures
    }

    fn policers(&self, tests: &mut Vec<Test>) {
        let streams: Vec<Stream> = self
            .config
            .policer
            .iter()
            .map(|profile| Stream {
                name: profile.name.clone(),
                burst: profile.depth(),
                rate: profile.cir.get(),
                policy: profile.policy(),
                queue: None,
            })
            .collect();
        for stream in &streams {
            tests.push(self.hunt("burst hunt, policer (5.1.1)", stream));
            tests.push(self.alone(
                "policer, compliant (6.1.1)",
                stream,
                stream.burst,
                Metric::ALL_BUT_SHAPER,
            ));
            let excess = stream.burst + EXCESS;
            tests.push(self.alone(
                "policer, excess (6.1.1)",
                stream,
                excess,
                &[Metric::Bsa, Metric::BsaCorrected],
            ));
            tests.push(self.stateful("policer, stateful", stream));
        }
        if streams.len() > 1 {
            self.together(
                "policer capacity, one port (6.1.2)",
                &streams,
                Metric::ALL_BUT_SHAPER,
                tests,
            );
        }
    }

    fn queues(&self, tests: &mut Vec<Test>) {
        for profile in &self.config.queue {
            let stream = Stream {
                name: profile.name.clone(),
                burst: profile.ql.get(),
                rate: profile.bb.get(),
                policy: profile.policy(),
                queue: Some(profile.ql),
            };
            tests.push(self.hunt("burst hunt, queue (5.1.1)", &stream));
            tests.push(self.alone("queue (6.2)", &stream, stream.burst, Metric::ALL_BUT_SHAPER));
            tests.push(self.stateful("queue, stateful", &stream));
        }
    }

    fn shaper_streams(&self) -> Vec<Stream> {
        let profiles = self.config.shaper.iter();
        profiles
            .map(|profile| Stream {
                name: profile.name.clone(),
                burst: profile.ql.get(),
                rate: profile.sr.get(),
                policy: profile.policy(),
                queue: Some(profile.ql),
            })
            .collect()
    }

    fn shapers(&self, tests: &mut Vec<Test>) {
        let streams = self.shaper_streams();
        for stream in &streams {
            tests.push(self.alone("shaper (6.3.1)", stream, stream.burst, Metric::SHAPER));
            tests.push(self.stateful("shaper, stateful", stream));
        }
        if streams.len() > 1 {
            self.together(
                "shaper capacity, one port (6.3.2)",
                &streams,
                Metric::SHAPER,
                tests,
            );
        }
    }

    /// Policers at the ingress, shapers at the egress.
    fn concurrent(&self, tests: &mut Vec<Test>) {
        let shapers = self.shaper_streams();
        for (profile, shaper) in self.config.policer.iter().zip(&shapers) {
            let burst = profile.depth();
            let interval = time_of(burst, profile.cir.get());
            let runs = self.runs(|random| {
                let start = random.next_u64() % interval.max(1);
                let bursts = Bursts {
                    size: burst,
                    interval,
                    start,
                };
                let mut sent = self.port.send(&[bursts]);
                let (mut policer, mut second) =
                    (Element::policer(&profile.policy()), shaper.element());
                for packet in &mut sent {
                    let passed = policer.pass(packet.at, packet.size);
                    packet.left = passed.and_then(|at| second.pass(at, packet.size));
                }
                only(figures(&sent, 0, &self.port), Metric::SHAPER)
            });
            tests.push(Test {
                name: "concurrent, policer in and shaper out (6.4)",
                profile: format!("{} -> {}", profile.name, shaper.name),
                setting: setting(burst, interval),
                runs,
            });
        }
    }

    fn alone(&self, name: &'static str, stream: &Stream, burst: u64, metrics: &[Metric]) -> Test {
        // What exceeds the bucket must not find it emptier each time.
        let interval = stream.interval(burst);
        let runs = self.runs(|random| {
            let start = random.next_u64() % interval.max(1);
            let bursts = Bursts {
                size: burst,
                interval,
                start,
            };
            let mut sent = self.port.send(&[bursts]);
            pass(&mut sent, &mut [stream.element()]);
            let found = self.corrected(figures(&sent, 0, &self.port), stream.rate);
            only(found, metrics)
        });
        Test {
            name,
            profile: stream.name.clone(),
            setting: setting(burst, interval),
            runs,
        }
    }

    fn together(
        &self,
        name: &'static str,
        streams: &[Stream],
        metrics: &[Metric],
        tests: &mut Vec<Test>,
    ) {
        let mut each: Vec<Vec<Figures>> = vec![Vec::new(); streams.len()];
        let all = self.runs(|random| {
            let bursts: Vec<Bursts> = streams
                .iter()
                .map(|stream| {
                    let interval = stream.interval(stream.burst);
                    let start = random.next_u64() % interval.max(1);
                    Bursts {
                        size: stream.burst,
                        interval,
                        start,
                    }
                })
                .collect();
            let mut sent = self.port.send(&bursts);
            let mut elements: Vec<Element> = streams.iter().map(Stream::element).collect();
            pass(&mut sent, &mut elements);
            for (at, stream) in streams.iter().enumerate() {
                let found = self.corrected(figures(&sent, at, &self.port), stream.rate);
                each[at].push(only(found, metrics));
            }
            Figures::new()
        });
        drop(all);
        for (stream, runs) in streams.iter().zip(each) {
            tests.push(Test {
                name,
                profile: stream.name.clone(),
                setting: setting(stream.burst, stream.interval(stream.burst)),
                runs,
            });
        }
    }

    fn stateful(&self, name: &'static str, stream: &Stream) -> Test {
        let rtt = self.config.rtt.get();
        let pattern = stateful::Pattern::new(&self.port, stream.rate, rtt);
        let runs = self.runs(|random| {
            let first = random.next_u64() % super::NANOS;
            pattern.run(&mut stream.element(), first)
        });
        Test {
            name,
            profile: stream.name.clone(),
            setting: pattern.setting(),
            runs,
        }
    }

    /// One burst at a time into a limiter at rest: from the target size up while it
    /// passes, to prove that it is limited at all, or from the least size up to the
    /// largest that passes.
    fn hunt(&self, name: &'static str, stream: &Stream) -> Test {
        let passes = |size: u64| {
            let mut element = stream.element();
            self.port
                .burst(size, 0)
                .all(|(at, size)| element.pass(at, size).is_some())
        };
        let most = stream.burst.saturating_mul(20);
        let mut size = if passes(stream.burst) {
            stream.burst
        } else {
            0
        };
        while size < most && passes(size + STEP) {
            size += STEP;
        }
        let found = Figures::from([(Metric::Bsa, real(size))]);
        Test {
            name,
            profile: stream.name.clone(),
            setting: format!("steps of {STEP} B from {} B", stream.burst),
            runs: vec![self.corrected(found, stream.rate)],
        }
    }
}

impl Metric {
    const ALL_BUT_SHAPER: &'static [Self] = &[
        Self::Bsa,
        Self::BsaCorrected,
        Self::Lp,
        Self::Oos,
        Self::Pd,
        Self::Pdv,
    ];
    const SHAPER: &'static [Self] = &[
        Self::Lp,
        Self::Oos,
        Self::Pd,
        Self::Pdv,
        Self::Sr,
        Self::Sbb,
        Self::Sbi,
    ];
}

fn only(mut figures: Figures, metrics: &[Metric]) -> Figures {
    figures.retain(|metric, _| metrics.contains(metric));
    figures
}

fn setting(burst: u64, interval: u64) -> String {
    format!("bursts of {burst} B every {:.3} ms", real(interval) / 1e6)
}
