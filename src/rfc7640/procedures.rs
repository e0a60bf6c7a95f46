//! The tests, one after the other.

use flow::{ByteSize, Policy};
use rand_xoshiro::Xoshiro256PlusPlus;
use rand_xoshiro::rand_core::{Rng as _, SeedableRng as _};

use super::config::{Config, PolicerProfile, QueueProfile, ShaperProfile};
use super::stateful::Pattern;
use super::streams::{Bursts, Element, Port, Sent, figures};
use super::{Figures, Metric, Part, Test, real, time_of};

/// What bursts exceed CBS + EBS by in the excess test, as recommended.
const EXCESS: u64 = 1_000;
/// The step of the burst hunt.
const STEP: u64 = 1_000;
/// How far beyond the expected size the hunt goes.
const FURTHEST: u64 = 20;

/// What the streams of the tests go through.
pub(super) trait Bench {
    /// Why it cannot go on.
    type Error;

    /// A run is over; hunts are none.
    fn ran(&mut self);

    /// Sends `sent`, each packet on the stream of its number, from rest, and notes when it left.
    fn pass(&mut self, sent: &mut [Sent], streams: &[&Stream]) -> Result<(), Self::Error>;

    /// Transfers and micro bursts of `pattern` on one stream, the first micro burst at `first`.
    fn transfer(
        &mut self,
        pattern: &Pattern,
        stream: &Stream,
        first: u64,
    ) -> Result<Figures, Self::Error>;

    /// The longest gap within a train of `stream`, in nanoseconds.
    fn train_gap(&self, stream: &Stream) -> u64;

    /// Mean packet delay and its variation that the tester shows by itself, in seconds.
    fn own_delay(&self) -> [f64; 2];

    /// What the stateful tests send, in words.
    fn words(&self, pattern: &Pattern) -> String;
}

/// Runs every test that `config` has profiles for, and adds each to `tests` when it is done.
pub(super) fn run_on<B: Bench>(
    config: &Config,
    bench: &mut B,
    tests: &mut Vec<Test>,
) -> Result<(), B::Error> {
    let mut plan = Plan {
        config,
        port: Port::of(config),
        bench,
        tests,
    };
    plan.policers()?;
    plan.queues()?;
    plan.shapers()?;
    plan.concurrent()
}

struct Plan<'a, B> {
    config: &'a Config,
    port: Port,
    bench: &'a mut B,
    tests: &'a mut Vec<Test>,
}

/// A stream and what it goes through.
pub(super) struct Stream {
    pub(super) name: String,
    /// Its user at a server.
    pub(super) user: String,
    /// The depth that is tested.
    burst: u64,
    /// What it takes up from rest before it loses anything.
    room: u64,
    pub(super) rate: u64,
    pub(super) policy: Policy,
    pub(super) queue: Option<ByteSize>,
}

impl Stream {
    fn policer(profile: &PolicerProfile) -> Self {
        Self {
            name: profile.name.clone(),
            user: user(profile.user.as_ref(), &profile.name),
            burst: profile.depth(),
            room: profile.depth(),
            rate: profile.cir.get(),
            policy: profile.policy(),
            queue: None,
        }
    }

    fn queue(profile: &QueueProfile) -> Self {
        Self {
            name: profile.name.clone(),
            user: user(profile.user.as_ref(), &profile.name),
            burst: profile.ql.get(),
            room: profile.ql.get(),
            rate: profile.bb.get(),
            policy: profile.policy(),
            queue: Some(profile.ql),
        }
    }

    fn shaper(profile: &ShaperProfile) -> Self {
        Self {
            name: profile.name.clone(),
            user: user(profile.user.as_ref(), &profile.name),
            burst: profile.ql.get(),
            room: profile.ql.get().saturating_add(profile.bc.get()),
            rate: profile.sr.get(),
            policy: profile.policy(),
            queue: Some(profile.ql),
        }
    }

    /// All that `config` has profiles for.
    pub(super) fn all(config: &Config) -> Vec<Self> {
        let policers = config.policer.iter().map(Self::policer);
        let queues = config.queue.iter().map(Self::queue);
        let shapers = config.shaper.iter().map(Self::shaper);
        policers.chain(queues).chain(shapers).collect()
    }

    pub(super) fn element(&self) -> Element {
        match self.queue {
            None => Element::policer(&self.policy),
            Some(queue) => Element::shaper(&self.policy, queue),
        }
    }

    /// Ti: the time in which what one burst takes comes back.
    pub(super) fn interval(&self, burst: u64) -> u64 {
        time_of(burst, self.rate)
    }

    /// How long it takes to come to rest.
    pub(super) fn recovery(&self) -> u64 {
        time_of(self.room, self.rate)
    }
}

fn user(written: Option<&String>, name: &str) -> String {
    written.map_or_else(|| name.to_owned(), Clone::clone)
}

/// What a stream is sent: bursts of one size at even intervals.
#[derive(Clone, Copy)]
struct Load {
    burst: u64,
    interval: u64,
}

impl Load {
    fn setting(self) -> String {
        format!(
            "bursts of {} B every {:.3} ms",
            self.burst,
            real(self.interval) / 1e6
        )
    }

    fn from(self, random: &mut Xoshiro256PlusPlus) -> Bursts {
        Bursts {
            size: self.burst,
            interval: self.interval,
            start: random.next_u64() % self.interval.max(1),
        }
    }
}

impl<B: Bench> Plan<'_, B> {
    /// The random numbers of each run, the same in every test.
    fn seeds(&self) -> impl Iterator<Item = Xoshiro256PlusPlus> + use<B> {
        let seed = self.config.seed;
        (0..self.config.runs)
            .map(move |run| Xoshiro256PlusPlus::seed_from_u64(seed ^ (u64::from(run) << 32)))
    }

    /// The figures of one stream, without what refills a bucket meanwhile and what the tester adds.
    fn found(&self, sent: &[Sent], at: usize, stream: &Stream) -> Figures {
        let gap = self.bench.train_gap(stream);
        let mut found = self.corrected(figures(sent, at, &self.port, gap), stream);
        for (metric, own) in [Metric::Pd, Metric::Pdv].iter().zip(self.bench.own_delay()) {
            if let Some(value) = found.get_mut(metric) {
                *value = (*value - own).max(0.0);
            }
        }
        found
    }

    fn corrected(&self, mut figures: Figures, stream: &Stream) -> Figures {
        if let Some(achieved) = figures.get(&Metric::Bsa) {
            let kept = 1.0 - real(stream.rate) / real(self.port.line);
            figures.insert(Metric::BsaCorrected, achieved * kept);
        }
        figures
    }

    fn policers(&mut self) -> Result<(), B::Error> {
        let streams: Vec<Stream> = self.config.policer.iter().map(Stream::policer).collect();
        for stream in &streams {
            self.hunt("burst hunt, policer (5.1.1)", stream)?;
            self.alone(
                "policer, compliant (6.1.1)",
                Part::Main,
                stream,
                stream.burst,
                Metric::POLICER,
            )?;
            self.alone(
                "policer, excess (6.1.1)",
                Part::Other,
                stream,
                stream.burst + EXCESS,
                &[Metric::Bsa, Metric::BsaCorrected],
            )?;
            self.stateful("policer, stateful", stream)?;
        }
        self.capacity(
            "policer capacity, one port (6.1.2)",
            &streams,
            Metric::POLICER,
        )
    }

    fn queues(&mut self) -> Result<(), B::Error> {
        let streams: Vec<Stream> = self.config.queue.iter().map(Stream::queue).collect();
        for stream in &streams {
            self.hunt("burst hunt, queue (5.1.1)", stream)?;
            self.alone(
                "queue (6.2)",
                Part::Main,
                stream,
                stream.burst,
                Metric::POLICER,
            )?;
            self.stateful("queue, stateful", stream)?;
        }
        self.capacity("queue capacity, one port (6.2)", &streams, Metric::POLICER)
    }

    fn shapers(&mut self) -> Result<(), B::Error> {
        let streams: Vec<Stream> = self.config.shaper.iter().map(Stream::shaper).collect();
        for stream in &streams {
            self.alone(
                "shaper (6.3.1)",
                Part::Main,
                stream,
                stream.burst,
                Metric::SHAPER,
            )?;
            self.stateful("shaper, stateful", stream)?;
        }
        self.capacity(
            "shaper capacity, one port (6.3.2)",
            &streams,
            Metric::SHAPER,
        )
    }

    /// Profiles of one kind at once, at their own rates.
    fn capacity(
        &mut self,
        name: &str,
        streams: &[Stream],
        columns: &'static [Metric],
    ) -> Result<(), B::Error> {
        if streams.len() < 2 {
            return Ok(());
        }
        let own: Vec<(&Stream, Load)> = streams.iter().map(own_load).collect();
        self.together(name, &own, columns)
    }

    /// Several profiles at once, each with a flow of its own: as the file mixes them, or all
    /// policers and shapers at their own rates.
    fn concurrent(&mut self) -> Result<(), B::Error> {
        let all = Stream::all(self.config);
        let config = self.config;
        for test in &config.concurrent {
            let named = |name: &String| all.iter().find(|stream| stream.name == *name);
            let streams: Vec<(&Stream, u32)> = test
                .class
                .iter()
                .filter_map(|class| Some((named(&class.profile)?, class.share)))
                .collect();
            let own: u64 = streams.iter().map(|(stream, _)| stream.rate).sum();
            let load = test.load.map_or(own, flow::ByteRate::get);
            let loads: Vec<(&Stream, Load)> = streams
                .iter()
                .map(|(stream, share)| {
                    let rate = (load.saturating_mul(u64::from(*share)) / 100).max(1);
                    let interval = time_of(stream.burst, rate);
                    let burst = stream.burst;
                    (*stream, Load { burst, interval })
                })
                .collect();
            let shares: Vec<String> = test.class.iter().map(|it| it.share.to_string()).collect();
            let name = format!("concurrent, {} ({}) (6.4)", test.name, shares.join("/"));
            self.together(&name, &loads, Metric::STATELESS)?;
        }
        let both = !config.policer.is_empty() && !config.shaper.is_empty();
        if config.concurrent.is_empty() && both {
            let policers = config.policer.iter().map(Stream::policer);
            let shapers = config.shaper.iter().map(Stream::shaper);
            let streams: Vec<Stream> = policers.chain(shapers).collect();
            let name = "concurrent, policers in and shapers out (6.4)";
            self.capacity(name, &streams, Metric::STATELESS)?;
        }
        Ok(())
    }

    fn alone(
        &mut self,
        name: &str,
        part: Part,
        stream: &Stream,
        burst: u64,
        columns: &'static [Metric],
    ) -> Result<(), B::Error> {
        // What exceeds the bucket must not find it emptier each time.
        let load = Load {
            burst,
            interval: stream.interval(burst),
        };
        let mut runs = Vec::new();
        for mut random in self.seeds() {
            let mut sent = self.port.send(&[load.from(&mut random)]);
            self.bench.pass(&mut sent, &[stream])?;
            runs.push(self.found(&sent, 0, stream));
            self.bench.ran();
        }
        self.tests.push(Test {
            name: name.to_owned(),
            part,
            profile: stream.name.clone(),
            setting: load.setting(),
            columns,
            runs,
        });
        Ok(())
    }

    fn together(
        &mut self,
        name: &str,
        loads: &[(&Stream, Load)],
        columns: &'static [Metric],
    ) -> Result<(), B::Error> {
        let streams: Vec<&Stream> = loads.iter().map(|(stream, _)| *stream).collect();
        let mut each: Vec<Vec<Figures>> = vec![Vec::new(); streams.len()];
        for mut random in self.seeds() {
            let bursts: Vec<Bursts> = loads
                .iter()
                .map(|(_, load)| load.from(&mut random))
                .collect();
            let mut sent = self.port.send(&bursts);
            self.bench.pass(&mut sent, &streams)?;
            self.bench.ran();
            for (at, (stream, runs)) in streams.iter().zip(&mut each).enumerate() {
                runs.push(self.found(&sent, at, stream));
            }
        }
        for ((stream, load), runs) in loads.iter().zip(each) {
            self.tests.push(Test {
                name: name.to_owned(),
                part: Part::Other,
                profile: stream.name.clone(),
                setting: load.setting(),
                columns,
                runs,
            });
        }
        Ok(())
    }

    fn stateful(&mut self, name: &str, stream: &Stream) -> Result<(), B::Error> {
        let pattern = Pattern::new(&self.port, stream.rate, self.config.rtt.get());
        let mut runs = Vec::new();
        for mut random in self.seeds() {
            let first = random.next_u64() % super::NANOS;
            runs.push(self.bench.transfer(&pattern, stream, first)?);
            self.bench.ran();
        }
        self.tests.push(Test {
            name: name.to_owned(),
            part: Part::Stateful,
            profile: stream.name.clone(),
            setting: self.bench.words(&pattern),
            columns: Metric::STATEFUL,
            runs,
        });
        Ok(())
    }

    /// One burst at a time into a limiter at rest: the largest on a grid of steps that passes
    /// without a loss. From the target size on, sizes grow until one is cut, and are halved
    /// between: a smaller burst passes wherever a larger one does.
    fn hunt(&mut self, name: &str, stream: &Stream) -> Result<(), B::Error> {
        let step = STEP.min(self.port.packet);
        let (mut passes, mut fails) = (0, stream.burst.saturating_mul(FURTHEST) / step + 1);
        let most = fails - 1;
        let mut next = (stream.burst / step).clamp(1, most);
        while fails - passes > 1 {
            if self.one_burst(stream, next * step)? {
                passes = next;
            } else {
                fails = next;
            }
            next = if fails > most {
                (passes * 9 / 8 + 1).min(most)
            } else {
                passes.midpoint(fails)
            };
        }
        let found = Figures::from([(Metric::Bsa, real(passes * step))]);
        let found = self.corrected(found, stream);
        self.tests.push(Test {
            name: name.to_owned(),
            part: Part::Hunt,
            profile: stream.name.clone(),
            setting: format!("steps of {step} B from {} B", stream.burst),
            columns: &[Metric::Bsa, Metric::BsaCorrected],
            runs: vec![found],
        });
        Ok(())
    }

    /// Whether all of one burst passes.
    fn one_burst(&mut self, stream: &Stream, size: u64) -> Result<bool, B::Error> {
        let port = Port {
            duration: 1,
            ..self.port
        };
        let once = Bursts {
            size,
            interval: u64::MAX,
            start: 0,
        };
        let mut sent = port.send(&[once]);
        self.bench.pass(&mut sent, &[stream])?;
        Ok(sent.iter().all(|packet| packet.left.is_some()))
    }
}

fn own_load(stream: &Stream) -> (&Stream, Load) {
    let burst = stream.burst;
    let interval = stream.interval(burst);
    (stream, Load { burst, interval })
}

impl Metric {
    const POLICER: &'static [Self] = &[
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
    const STATELESS: &'static [Self] = &[
        Self::Bsa,
        Self::BsaCorrected,
        Self::Lp,
        Self::Oos,
        Self::Pd,
        Self::Pdv,
        Self::Sr,
        Self::Sbb,
        Self::Sbi,
    ];
    const STATEFUL: &'static [Self] = &[
        Self::Ttpet,
        Self::TtpetMin,
        Self::TtpetMax,
        Self::Efficiency,
        Self::BufferDelay,
    ];
}
