//! Capacity: many limiters of one kind at once, on one port and on all (RFC 7640, sections 6.1.2,
//! 6.2.2 and 6.3.2), and the most of them that hold.
//!
//! Each limiter is sent bursts as large as it takes at once, as often as they come back at its
//! rate. On a port all wait for its line, so that bursts arrive later, and closer together, than
//! they were sent: a limiter holds if no more than the plan's share of its packets is lost.

use super::procedures::{Bench, Plan};
use super::profile::{Load, Stream};
use super::streams::Port;
use super::{Figures, Metric, NANOS, Part, Test, real};

/// The tests of one kind of limiter.
pub(super) struct Kind {
    name: &'static str,
    /// Every customer on one port.
    one_port: &'static str,
    /// One limiter on each port.
    each_port: &'static str,
    /// Every customer on every port.
    all_ports: &'static str,
    columns: &'static [Metric],
}

pub(super) const POLICERS: Kind = Kind {
    name: "policer",
    one_port: "6.1.2.1",
    each_port: "6.1.2.2",
    all_ports: "6.1.2.3",
    columns: Metric::POLICER,
};

pub(super) const QUEUES: Kind = Kind {
    name: "queue",
    one_port: "6.2.2.1",
    each_port: "6.2.2.2",
    all_ports: "6.2.2.3",
    columns: Metric::POLICER,
};

pub(super) const SHAPERS: Kind = Kind {
    name: "shaper",
    one_port: "6.3.2.2",
    each_port: "6.3.2.1",
    all_ports: "6.3.2.3",
    columns: Metric::SHAPER,
};

/// A trial of the search lasts no longer.
const TRIAL: u64 = 10 * NANOS;
/// A limiter holds with this much lost where the plan does not say, in percent.
const LOSS: u32 = 1;

/// Limiters of a test with what each is sent.
type Loads = Vec<(Stream, Load)>;

/// The figures that all limiters have together.
const TOGETHER: [Metric; 5] = [
    Metric::Limiters,
    Metric::Held,
    Metric::Offered,
    Metric::Sr,
    Metric::Lost,
];

impl<B: Bench> Plan<'_, B> {
    /// Every test of capacity of one kind; of a single limiter there is none.
    pub(super) fn capacity(&mut self, kind: &Kind, streams: &[Stream]) -> Result<(), B::Error> {
        if streams.is_empty() {
            return Ok(());
        }
        let name = kind.name;
        let crowd = |ports| spread_customers(streams, ports);
        let one = crowd(1);
        if one.len() > 1 {
            let name = format!("{name} capacity, one port ({})", kind.one_port);
            self.customers(&name, kind, &one)?;
        }
        let ports = as_index(self.config.ports);
        if ports > 1 {
            for stream in streams {
                let loads: Loads = (0..self.config.ports)
                    .map(|port| placed(stream, port, as_index(port)))
                    .collect();
                let name = format!("{name} capacity, one on each port ({})", kind.each_port);
                self.customers(&name, kind, &loads)?;
            }
            if one.len() > 1 {
                let name = format!("{name} capacity, all ports ({})", kind.all_ports);
                self.customers(&name, kind, &crowd(ports))?;
            }
        }
        self.most(kind, streams)
    }

    /// Runs `loads` together: a table for each profile, and one for all.
    fn customers(
        &mut self,
        name: &str,
        kind: &Kind,
        loads: &[(Stream, Load)],
    ) -> Result<(), B::Error> {
        if let Some(why) = self.too_much(loads) {
            self.tests.push(test(name, "all", why, &[], Vec::new()));
            return Ok(());
        }
        let mut profiles: Vec<&Stream> = Vec::new();
        for (stream, _) in loads {
            if profiles.iter().all(|known| known.name != stream.name) {
                profiles.push(stream);
            }
        }
        let mut each: Vec<Vec<Figures>> = vec![Vec::new(); profiles.len()];
        let mut all = Vec::new();
        let port = self.port;
        for random in self.seeds() {
            let found = self.at_once(loads, &port, random)?;
            self.bench.ran();
            all.push(self.summed(found.iter()));
            for (profile, runs) in profiles.iter().zip(&mut each) {
                let of = loads.iter().zip(&found);
                let own = of.filter(|((stream, _), _)| stream.name == profile.name);
                runs.push(self.summed(own.map(|(_, figures)| figures)));
            }
        }
        let many = loads.len() > profiles.len();
        for (profile, runs) in profiles.into_iter().zip(each) {
            let load = Load::own(profile, 0).setting();
            let mut columns = Vec::new();
            if many {
                columns.extend([Metric::Limiters, Metric::Held]);
            }
            columns.extend_from_slice(kind.columns);
            let test = test(name, &profile.name, load, &columns, runs);
            self.tests.push(test);
        }
        let setting = self.criterion();
        let test = test(name, "all together", setting, &TOGETHER, all);
        self.tests.push(test);
        Ok(())
    }

    /// Looks for the most limiters that hold at once, profiles and ports in turn: doubles until some
    /// do not, then halves between; and runs what was found as often as every test.
    fn most(&mut self, kind: &Kind, streams: &[Stream]) -> Result<(), B::Error> {
        let Some(capacity) = self.config.capacity else {
            return Ok(());
        };
        let ports = self.config.ports;
        let loads = |count: u32| -> Loads { in_turn(streams, ports, count) };
        let full = (1..=capacity.most)
            .take_while(|count| self.too_much(&loads(*count)).is_none())
            .last()
            .unwrap_or(0);
        let port = Port {
            duration: self.port.duration.min(TRIAL),
            ..self.port
        };
        let (mut holds, mut fails, mut next) = (0, full + 1, 1);
        let mut trials = Vec::new();
        while fails - holds > 1 {
            let Some(random) = self.seeds().next() else {
                break;
            };
            let found = self.at_once(&loads(next), &port, random)?;
            let together = self.summed(found.iter());
            if together.get(&Metric::Held) == together.get(&Metric::Limiters) {
                holds = next;
            } else {
                fails = next;
            }
            trials.push(together);
            next = if fails > full {
                holds.saturating_mul(2).min(full)
            } else {
                holds.midpoint(fails)
            };
        }
        let end = if fails <= full {
            format!("{holds} hold and {fails} do not")
        } else if full == capacity.most {
            format!("{holds} hold, the most that were tried")
        } else {
            format!("{holds} hold, and then the line is full")
        };
        let name = format!("{} capacity, the most at once", kind.name);
        let setting = format!("{end}; {}", self.criterion());
        let profile = match ports {
            1 => "profiles in turn on one port".to_owned(),
            _ => format!("profiles in turn over {ports} ports"),
        };
        let mut test = test(&name, &profile, setting, &TOGETHER, trials);
        test.part = Part::Trials;
        self.tests.push(test);
        if holds > 1 {
            let name = format!("{name}, {holds} of them");
            self.customers(&name, kind, &loads(holds))?;
        }
        Ok(())
    }

    /// That a port would have to carry more than its line does.
    fn too_much(&self, loads: &[(Stream, Load)]) -> Option<String> {
        let mut ports: Vec<u64> = Vec::new();
        for (stream, load) in loads {
            ports.resize(ports.len().max(load.port + 1), 0);
            ports[load.port] = ports[load.port].saturating_add(stream.rate);
        }
        let most = ports.into_iter().max().unwrap_or(0);
        let line = self.port.line;
        (most > line).then(|| {
            format!("not run: {most} B/s together on one port, and its line has {line} B/s")
        })
    }

    fn criterion(&self) -> String {
        format!("held: no more than {} % of its packets lost", self.loss())
    }

    fn loss(&self) -> u32 {
        self.config.capacity.map_or(LOSS, |capacity| capacity.loss)
    }

    /// What several limiters did: the worst burst, loss and delay variation, the sums of packets
    /// and rates, the means of what is left.
    fn summed<'f>(&self, found: impl Iterator<Item = &'f Figures> + Clone) -> Figures {
        let mut summed = Figures::new();
        for metric in found.clone().flat_map(|figures| figures.keys()) {
            if summed.contains_key(metric) {
                continue;
            }
            let values = || found.clone().filter_map(|one| one.get(metric).copied());
            let value = match metric {
                Metric::Bsa | Metric::BsaCorrected => values().fold(f64::INFINITY, f64::min),
                Metric::Pdv => values().fold(0.0, f64::max),
                Metric::Lp | Metric::Oos | Metric::Sr | Metric::Offered => values().sum(),
                _ => values().sum::<f64>() / real(values().count() as u64),
            };
            summed.insert(*metric, value);
        }
        let most = f64::from(self.loss());
        let held = found
            .clone()
            .filter(|one| one.get(&Metric::Lost).is_some_and(|lost| *lost <= most));
        summed.insert(Metric::Held, real(held.count() as u64));
        summed.insert(Metric::Limiters, real(found.count() as u64));
        summed
    }
}

fn test(
    name: &str,
    profile: &str,
    setting: String,
    columns: &[Metric],
    runs: Vec<Figures>,
) -> Test {
    Test {
        name: name.to_owned(),
        part: Part::Other,
        profile: profile.to_owned(),
        setting,
        columns: columns.to_vec(),
        runs,
    }
}

/// Every customer of every profile on each of `ports`.
fn spread_customers(streams: &[Stream], ports: usize) -> Loads {
    let mut loads = Loads::new();
    for port in 0..ports {
        for stream in streams {
            let before = u32::try_from(port).unwrap_or(u32::MAX);
            for customer in 0..stream.customers {
                let number = before
                    .saturating_mul(stream.customers)
                    .saturating_add(customer);
                loads.push(placed(stream, number, port));
            }
        }
    }
    loads
}

/// `count` limiters: each profile in turn, and then on the next port.
pub(super) fn in_turn(streams: &[Stream], ports: u32, count: u32) -> Loads {
    let kinds = u32::try_from(streams.len()).unwrap_or(u32::MAX).max(1);
    let profiles = streams.iter().cycle();
    (0..count)
        .zip(profiles)
        .map(|(at, stream)| {
            let round = at / kinds;
            placed(stream, round, as_index(round % ports.max(1)))
        })
        .collect()
}

/// The limiter of customer number `number` on a port, with its load.
fn placed(stream: &Stream, number: u32, port: usize) -> (Stream, Load) {
    let stream = stream.of_customer(number);
    let load = Load::own(&stream, port);
    (stream, load)
}

/// How many customers of `stream` there are at most in any of the tests.
pub(super) fn most_customers(config: &super::Config, stream: &Stream, kinds: usize) -> u32 {
    let kinds = u32::try_from(kinds).unwrap_or(u32::MAX).max(1);
    let tried = config
        .capacity
        .map_or(0, |capacity| capacity.most.div_ceil(kinds));
    (stream.customers.saturating_mul(config.ports))
        .max(tried)
        .max(1)
}

const fn as_index(port: u32) -> usize {
    port as usize
}
