//! The tests, one after the other.

use rand_xoshiro::Xoshiro256PlusPlus;
use rand_xoshiro::rand_core::{Rng as _, SeedableRng as _};

use super::capacity;
use super::config::{BULK, Config};
use super::profile::{Load, Stream};
use super::stateful::Pattern;
use super::streams::{Bursts, Port, Sent, figures};
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

    /// The sessions of each pattern through its stream, all at once, and micro bursts, the first at `first`.
    fn transfers(
        &mut self,
        loads: &[(&Stream, &Pattern)],
        first: u64,
    ) -> Result<Vec<Figures>, Self::Error>;

    /// The longest gap within a train of `stream`, in nanoseconds.
    fn train_gap(&self, stream: &Stream) -> u64;

    /// Mean packet delay and its variation that the tester shows by itself, in seconds.
    fn own_delay(&self) -> [f64; 2];

    /// By how many percent more than it drains in bursts into a queue come apart. Filled exactly as fast
    /// as it drains, what was late once would be late ever after; the RFC asks for no less than that.
    fn ease(&self) -> u64;

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

/// What is to be tested, on what, and what was found so far.
pub(super) struct Plan<'a, B> {
    pub(super) config: &'a Config,
    pub(super) port: Port,
    pub(super) bench: &'a mut B,
    pub(super) tests: &'a mut Vec<Test>,
}

impl<B: Bench> Plan<'_, B> {
    /// The random numbers of each run, the same in every test.
    pub(super) fn seeds(&self) -> impl Iterator<Item = Xoshiro256PlusPlus> + use<B> {
        let seed = self.config.seed;
        (0..self.config.runs)
            .map(move |run| Xoshiro256PlusPlus::seed_from_u64(seed ^ (u64::from(run) << 32)))
    }

    /// The figures of one stream, without what refills a bucket meanwhile and what the tester adds.
    pub(super) fn found(&self, sent: &[Sent], port: &Port, stream: &Stream) -> Figures {
        let gap = self.bench.train_gap(stream);
        let mut found = self.corrected(figures(sent, port, gap), stream);
        for (metric, own) in [Metric::Pd, Metric::Pdv].iter().zip(self.bench.own_delay()) {
            if let Some(value) = found.get_mut(metric) {
                *value = (*value - own).max(0.0);
            }
        }
        found
    }

    /// What `load` sends to `stream`.
    fn bursts(&self, stream: &Stream, load: Load, random: &mut Xoshiro256PlusPlus) -> Bursts {
        let mut bursts = load.from(random);
        if stream.queue.is_some() && load.interval == stream.interval(load.burst) {
            bursts.interval += bursts.interval / 100 * self.bench.ease();
        }
        bursts
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
        self.capacity(&capacity::POLICERS, &streams)
    }

    fn queues(&mut self) -> Result<(), B::Error> {
        let streams: Vec<Stream> = self.config.queue.iter().map(Stream::queue).collect();
        for stream in &streams {
            self.hunt("burst hunt, queue (5.1.1)", stream)?;
            self.alone(
                "queue (6.2.1)",
                Part::Main,
                stream,
                stream.burst,
                Metric::POLICER,
            )?;
            self.stateful("queue, stateful", stream)?;
        }
        self.capacity(&capacity::QUEUES, &streams)
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
        self.capacity(&capacity::SHAPERS, &streams)
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
            let loads: Vec<(Stream, Load)> = streams
                .iter()
                .map(|(stream, share)| {
                    let rate = (load.saturating_mul(u64::from(*share)) / 100).max(1);
                    let interval = time_of(stream.burst, rate);
                    let burst = stream.burst;
                    let port = 0;
                    let load = Load {
                        burst,
                        interval,
                        port,
                    };
                    ((*stream).clone(), load)
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
            let loads: Vec<(Stream, Load)> = policers
                .chain(shapers)
                .map(|stream| {
                    let load = Load::own(&stream, 0);
                    (stream, load)
                })
                .collect();
            let name = "concurrent, policers in and shapers out (6.4)";
            self.together(name, &loads, Metric::STATELESS)?;
        }
        self.concurrent_stateful(&all)
    }

    /// Several profiles under TCP at once: as the file has them, or all with a bulk transfer each.
    fn concurrent_stateful(&mut self, all: &[Stream]) -> Result<(), B::Error> {
        let config = self.config;
        let named = |name: &String| all.iter().find(|stream| stream.name == *name);
        for test in &config.stateful {
            let loads: Vec<(&Stream, Pattern)> = test
                .class
                .iter()
                .filter_map(|class| {
                    let stream = named(&class.profile)?;
                    let pattern = Pattern::new(config, &class.pattern, class.sessions, stream.rate);
                    Some((stream, pattern))
                })
                .collect();
            let name = format!("concurrent stateful, {} (6.4)", test.name);
            self.under_tcp(&name, Part::Other, &loads, Metric::STATEFUL_TOGETHER)?;
        }
        if config.stateful.is_empty() && all.len() > 1 {
            let loads: Vec<(&Stream, Pattern)> = all
                .iter()
                .map(|stream| (stream, Pattern::new(config, BULK, 1, stream.rate)))
                .collect();
            let name = "concurrent stateful, a transfer each (6.4)";
            self.under_tcp(name, Part::Other, &loads, Metric::STATEFUL_TOGETHER)?;
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
            port: 0,
        };
        let mut runs = Vec::new();
        for mut random in self.seeds() {
            let mut sent = self.port.send(&[self.bursts(stream, load, &mut random)]);
            self.bench.pass(&mut sent, &[stream])?;
            runs.push(self.found(&sent, &self.port, stream));
            self.bench.ran();
        }
        self.tests.push(Test {
            name: name.to_owned(),
            part,
            profile: stream.name.clone(),
            setting: load.setting(),
            columns: columns.to_vec(),
            runs,
        });
        Ok(())
    }

    fn together(
        &mut self,
        name: &str,
        loads: &[(Stream, Load)],
        columns: &'static [Metric],
    ) -> Result<(), B::Error> {
        let port = self.port;
        let mut each: Vec<Vec<Figures>> = vec![Vec::new(); loads.len()];
        for random in self.seeds() {
            let found = self.at_once(loads, &port, random)?;
            self.bench.ran();
            for (figures, runs) in found.into_iter().zip(&mut each) {
                runs.push(figures);
            }
        }
        for ((stream, load), runs) in loads.iter().zip(each) {
            self.tests.push(Test {
                name: name.to_owned(),
                part: Part::Other,
                profile: stream.name.clone(),
                setting: load.setting(),
                columns: columns.to_vec(),
                runs,
            });
        }
        Ok(())
    }

    /// Sends `loads` at once for as long as `port` says: the figures of each.
    pub(super) fn at_once(
        &mut self,
        loads: &[(Stream, Load)],
        port: &Port,
        mut random: Xoshiro256PlusPlus,
    ) -> Result<Vec<Figures>, B::Error> {
        let streams: Vec<&Stream> = loads.iter().map(|(stream, _)| stream).collect();
        let bursts: Vec<Bursts> = loads
            .iter()
            .map(|(stream, load)| self.bursts(stream, *load, &mut random))
            .collect();
        let mut sent = port.send(&bursts);
        self.bench.pass(&mut sent, &streams)?;
        // Stable, so that each stream's packets stay in the order of time.
        sent.sort_by_key(|packet| packet.stream);
        let mut rest = sent.as_slice();
        let mut found = Vec::new();
        for (at, stream) in streams.iter().enumerate() {
            let count = rest.partition_point(|packet| packet.stream <= at);
            let (own, others) = rest.split_at(count);
            found.push(self.found(own, port, stream));
            rest = others;
        }
        Ok(found)
    }

    fn stateful(&mut self, name: &str, stream: &Stream) -> Result<(), B::Error> {
        let pattern = Pattern::new(self.config, BULK, 1, stream.rate);
        let loads = [(stream, pattern)];
        self.under_tcp(name, Part::Stateful, &loads, Metric::STATEFUL)
    }

    fn under_tcp(
        &mut self,
        name: &str,
        part: Part,
        loads: &[(&Stream, Pattern)],
        columns: &'static [Metric],
    ) -> Result<(), B::Error> {
        let each: Vec<(&Stream, &Pattern)> = loads
            .iter()
            .map(|(stream, pattern)| (*stream, pattern))
            .collect();
        let mut all: Vec<Vec<Figures>> = vec![Vec::new(); loads.len()];
        for mut random in self.seeds() {
            let first = random.next_u64() % super::NANOS;
            let found = self.bench.transfers(&each, first)?;
            self.bench.ran();
            for (figures, runs) in found.into_iter().zip(&mut all) {
                runs.push(figures);
            }
        }
        for ((stream, pattern), runs) in loads.iter().zip(all) {
            self.tests.push(Test {
                name: name.to_owned(),
                part,
                profile: stream.name.clone(),
                setting: self.bench.words(pattern),
                columns: columns.to_vec(),
                runs,
            });
        }
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
            columns: vec![Metric::Bsa, Metric::BsaCorrected],
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
            port: 0,
        };
        let mut sent = port.send(&[once]);
        self.bench.pass(&mut sent, &[stream])?;
        Ok(sent.iter().all(|packet| packet.left.is_some()))
    }
}

/// The columns of the RFC's tables, each a run of its figures.
impl Metric {
    pub(super) const POLICER: &'static [Self] = Self::ALL.split_at(6).0;
    pub(super) const SHAPER: &'static [Self] = Self::ALL.split_at(9).0.split_at(2).1;
    const STATELESS: &'static [Self] = Self::ALL.split_at(9).0;
    const STATEFUL: &'static [Self] = Self::ALL.split_at(9).1;
    const STATEFUL_TOGETHER: &'static [Self] = &[
        Self::Ttpet,
        Self::TtpetMin,
        Self::TtpetMax,
        Self::Efficiency,
        Self::BufferDelay,
        Self::Sr,
    ];
}
