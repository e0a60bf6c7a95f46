//! `[requests]` and `[[service]]`: requests before a queue with workers.

use std::num::NonZeroUsize;
use std::ops::Range;

use flow::{Nanos, admission};
use toml::Spanned;
use toml::de::DeTable;
use traffic::ServiceTime;
use traffic::arrival::Periods;

use super::super::metric;
use super::super::problem::Problem;
use super::super::requests::{ArrivalKind, Arrivals, RequestClaim, RequestScenario, Service};
use super::super::section::{Entry, Node, Section};
use super::super::{DriverKind, check, limits};
use super::claims::{self, bounds, number, one_of, optional};
use super::{ARRIVALS, DRIVERS, Reader};

/// Loads between which a queue says something.
const LOADS: std::ops::RangeInclusive<f64> = 0.01..=100.0;
const MOST_LOADS: usize = 20;
const MOST_SERVICES: usize = 20;
const WORKERS: std::ops::RangeInclusive<u64> = 1..=100_000;
const QUEUE: std::ops::RangeInclusive<u64> = 0..=1_000_000;
/// Time-outs, and lengths of periods.
const TIMES: (Nanos, Nanos) = (Nanos::from_micros(1), Nanos::from_secs(24 * 3_600));
/// Requests of one run.
const MOST_REQUESTS: f64 = 20e6;
/// The same over sockets, a connection each; and how many come in a second.
const MOST_REAL: (f64, f64) = (1e6, 20e3);
/// Requests that wait or run at once over sockets, two descriptors and more each.
const MOST_HELD: usize = 4_000;

/// Where the file speaks of requests; `None`: it is about bytes.
pub(super) fn place(root: &DeTable<'_>) -> Option<Range<usize>> {
    ["requests", "service"]
        .iter()
        .find_map(|key| Some(root.get_key_value(*key)?.0.span()))
}

/// Somebody wanted bytes.
pub(super) fn not_bytes(place: Range<usize>) -> Problem {
    Problem::new(place, "this is a scenario of requests, not of bytes")
        .label("requests")
        .help("`weirgate scenario`, `weirgate check` and `weirgate report` know it")
}

impl Reader<'_> {
    pub(super) fn requests(&mut self, root: &DeTable<'_>) -> Option<RequestScenario> {
        let mut top = Section::new(root, 0..0, "at the top of the file");
        let name = self.name(&mut top);
        let question = self.question(&mut top);
        let duration = self.duration(&mut top);
        let seed = self.seed(&mut top);
        let drivers_at = top.get("drivers").map_or(0..0, |entry| entry.at());
        let drivers = self.drivers(&mut top);
        let repetitions = self.repetitions(&mut top);
        let until_at = top.get("repetitions").map_or(0..0, |entry| entry.at());
        let length = duration.as_ref().map(|duration| *duration.get_ref());
        let offered = self.offered(&mut top, length);
        let services = self.services(&mut top);
        let known = Known {
            loads: offered.as_ref().map(|offered| &offered.loads[..]),
            services: services.as_deref(),
        };
        let claims = read_claims(&mut top, known, self.problems);
        top.finish(self.problems);

        if let Some((_, Some(_))) = repetitions {
            let problem = Problem::new(until_at, "`until` is for scenarios of bytes");
            self.problems.push(
                problem
                    .label("not here")
                    .help("write how often to repeat as `model = 30`"),
            );
        }
        let (drivers, offered, services) = (drivers?, offered?, services?);
        self.drivers_serve(&drivers, drivers_at);
        let scenario = RequestScenario {
            name: name?,
            question: question?,
            duration: duration?.into_inner(),
            warm_up: offered.warm_up,
            seed: seed?,
            drivers,
            repetitions: repetitions?.0,
            arrivals: offered.arrivals,
            service_time: offered.service_time,
            loads: offered.loads,
            services: services.into_iter().map(Spanned::into_inner).collect(),
            claims: claims?,
        };
        self.sizes(&scenario, offered.at);
        Some(scenario)
    }

    /// The others have no workers.
    fn drivers_serve(&mut self, drivers: &[DriverKind], at: Range<usize>) {
        let serves =
            |driver: &&DriverKind| !matches!(driver, DriverKind::Model | DriverKind::Proxy);
        if let Some(other) = drivers.iter().find(serves) {
            let what = format!("the driver `{}` serves no requests", other.name());
            let problem = Problem::new(at, what).label("not for requests");
            self.problems.push(problem.help("`model` and `proxy` do"));
        }
    }

    fn offered(&mut self, top: &mut Section<'_>, duration: Option<Nanos>) -> Option<Requests> {
        let example =
            "{ arrivals = \"poisson\", service_time = \"exponential:50ms\", loads = [0.5, 1, 2] }";
        let entry = top.require("requests", example)?;
        let mut section = Section::of(entry.value, "in `requests`", self.problems)?;
        let arrivals = self.arrivals(&mut section);
        let service_time = section
            .require("service_time", "\"exponential:50ms\"")
            .and_then(|entry| entry.quantity::<ServiceTime>("exponential:50ms", self.problems));
        let loads = section.require("loads", "[0.5, 0.9, 1, 1.5, 3]");
        let loads = loads.and_then(|entry| self.loads(entry));
        let warm_up = self.warm_up(&mut section, duration);
        section.finish(self.problems);
        Some(Requests {
            at: entry.at(),
            arrivals: arrivals?,
            service_time: service_time?,
            loads: loads?,
            warm_up: warm_up?,
        })
    }

    fn arrivals(&mut self, section: &mut Section<'_>) -> Option<Arrivals> {
        let kind = section.require("arrivals", "\"poisson\"");
        let kind = kind.and_then(|entry| entry.word(&ARRIVALS, self.problems))?;
        Some(match kind {
            ArrivalKind::Constant => Arrivals::Constant,
            ArrivalKind::Poisson => Arrivals::Poisson,
            ArrivalKind::OnOff => {
                let mean_on = self.time(section, "mean_on", "200 ms");
                let mean_off = self.time(section, "mean_off", "800 ms");
                let shape = section.get("shape");
                let shape = optional(shape, |entry| self.shape(entry));
                Arrivals::OnOff {
                    mean_on: mean_on?,
                    mean_off: mean_off?,
                    periods: shape?.map_or(Periods::Exponential, Periods::Pareto),
                }
            }
        })
    }

    /// The tail index of periods that are Pareto distributed.
    fn shape(&mut self, entry: Entry<'_>) -> Option<f64> {
        let shape = number(entry, "a tail index is a number", "1.5", self.problems)?;
        let good = shape > 1.0 && shape <= 100.0;
        if !good {
            let problem = Problem::new(entry.at(), "`shape` is out of range");
            let problem = problem.label("out of range");
            self.problems.push(problem.help("above 1, at most 100"));
        }
        good.then_some(shape)
    }

    fn time(
        &mut self,
        section: &mut Section<'_>,
        key: &'static str,
        example: &str,
    ) -> Option<Nanos> {
        let entry = section.require(key, &format!("\"{example}\""))?;
        let time = entry.quantity(example, self.problems)?;
        self.in_range(key, time, entry.at(), TIMES)
    }

    fn loads(&mut self, entry: Entry<'_>) -> Option<Vec<f64>> {
        let nodes = entry.elements(self.problems)?;
        let mut loads = Vec::new();
        let key = entry.key;
        for value in nodes {
            let load = number(
                Entry { key, value },
                "a load is a number",
                "[0.5, 1, 2]",
                self.problems,
            )?;
            if !LOADS.contains(&load) || loads.last().is_some_and(|last| load <= *last) {
                let problem = Problem::new(value.span(), "not a load")
                    .label("out of range, or not above the one before");
                self.problems.push(
                    problem.help("multiples of what the workers can do, from 0.01 to 100, rising"),
                );
                return None;
            }
            loads.push(load);
        }
        if loads.is_empty() || loads.len() > MOST_LOADS {
            let what = format!("1 to {MOST_LOADS} loads, not {}", loads.len());
            self.problems.push(Problem::new(entry.at(), what));
            return None;
        }
        Some(loads)
    }

    /// A tenth of the duration unless it is written.
    fn warm_up(&mut self, section: &mut Section<'_>, duration: Option<Nanos>) -> Option<Nanos> {
        let entry = section.get("warm_up");
        let default = Nanos::new(duration?.get() / 10);
        let Some(entry) = entry else {
            return Some(default);
        };
        let warm_up: Nanos = entry.quantity("1 s", self.problems)?;
        if warm_up < duration? {
            return Some(warm_up);
        }
        if self.overrides.duration.is_some() {
            // The command line has made the run shorter than its author thought.
            return Some(default);
        }
        let problem = Problem::new(entry.at(), "nothing is left after `warm_up`");
        let problem = problem.label("as long as `duration`, or longer");
        self.problems.push(problem.help("make it shorter"));
        None
    }

    fn services(&mut self, top: &mut Section<'_>) -> Option<Vec<Spanned<Service>>> {
        let entry = top.require("service", "[{ workers = 20, queue = 100 }]")?;
        let nodes = entry.elements(self.problems)?;
        if nodes.is_empty() || nodes.len() > MOST_SERVICES {
            let what = format!("1 to {MOST_SERVICES} services, not {}", nodes.len());
            self.problems.push(Problem::new(entry.at(), what));
            return None;
        }
        let services: Vec<_> = nodes.into_iter().map(|node| self.service(node)).collect();
        let services: Vec<_> = services.into_iter().collect::<Option<_>>()?;
        for (index, service) in services.iter().enumerate() {
            let label = &service.get_ref().label;
            let same = |other: &&Spanned<Service>| other.get_ref().label == *label;
            if let Some(first) = services.iter().take(index).find(same) {
                let problem = Problem::new(service.span(), format!("two are called `{label}`"));
                let problem = problem.label("again").also(first.span(), "first here");
                self.problems
                    .push(problem.help("give each a `label` of its own"));
            }
        }
        Some(services)
    }

    fn service(&mut self, node: Node<'_>) -> Option<Spanned<Service>> {
        let mut section = Section::of(node, "in `service`", self.problems)?;
        let label = match section.get("label") {
            Some(entry) => {
                let label = entry.string(self.problems);
                label.filter(|label| {
                    check::is_name(label, entry.at(), "a service's name", self.problems)
                })
            }
            None => Some("service"),
        };
        let whole =
            |key, range, example, section: &mut Section<'_>, problems: &mut Vec<Problem>| {
                let entry = section.require(key, example);
                entry.and_then(|entry: Entry<'_>| entry.integer(range, problems))
            };
        let workers = whole("workers", WORKERS, "20", &mut section, self.problems);
        let queue = whole("queue", QUEUE, "100", &mut section, self.problems);
        let queue_timeout = self.timeout(&mut section, "queue_timeout");
        let request_timeout = self.timeout(&mut section, "request_timeout");
        section.finish(self.problems);
        let rules = admission::Rules {
            workers: NonZeroUsize::new(usize::try_from(workers?).ok()?)?,
            queue: usize::try_from(queue?).ok()?,
            queue_timeout: queue_timeout?,
            request_timeout: request_timeout?,
        };
        let label = label?.to_owned();
        Some(Spanned::new(node.span(), Service { label, rules }))
    }

    /// 30 s, as the service's own.
    fn timeout(&mut self, section: &mut Section<'_>, key: &'static str) -> Option<Nanos> {
        match section.get(key) {
            None => Some(Nanos::from_secs(30)),
            Some(entry) => {
                let time = entry.quantity("30 s", self.problems)?;
                self.in_range(key, time, entry.at(), TIMES)
            }
        }
    }

    /// What takes memory, time and descriptors is bounded.
    fn sizes(&mut self, scenario: &RequestScenario, at: Range<usize>) {
        let real = scenario.drivers.contains(&DriverKind::Proxy);
        let most = scenario.loads.last().copied().unwrap_or_default();
        let mut refuse = |what: String, help: &str| {
            let problem = Problem::new(at.clone(), what).label("too many");
            self.problems.push(problem.help(help));
        };
        if real && scenario.duration > limits::REAL_DURATION {
            return refuse(
                "a run over sockets lasts a day at most".to_owned(),
                "shorten `duration`, or leave out the driver `proxy`",
            );
        }
        for service in &scenario.services {
            let rate = scenario.capacity(service) * most;
            let all = rate * scenario.duration.as_secs_f64();
            if all > MOST_REQUESTS {
                let what = format!("{all:.0} requests in one run");
                return refuse(what, "at most 20 million: shorten the run, or offer less");
            }
            if real && (all > MOST_REAL.0 || rate > MOST_REAL.1) {
                let what = format!("{all:.0} requests in one run, {rate:.0} a second");
                let help =
                    "over sockets at most a million, and 20,000 a second; the model does more";
                return refuse(what, help);
            }
            let held = service.rules.workers.get() + service.rules.queue;
            if real && held > MOST_HELD {
                let what = format!("`{}` holds {held} requests at once", service.label);
                let help = "over sockets at most 4,000 wait or run; the model does more";
                return refuse(what, help);
            }
        }
    }
}

/// What `[requests]` says.
struct Requests {
    at: Range<usize>,
    arrivals: Arrivals,
    service_time: ServiceTime,
    loads: Vec<f64>,
    warm_up: Nanos,
}

/// What claims can name; `None` where the file's own mistakes hide it.
#[derive(Clone, Copy)]
struct Known<'a> {
    loads: Option<&'a [f64]>,
    services: Option<&'a [Spanned<Service>]>,
}

fn read_claims(
    top: &mut Section<'_>,
    known: Known<'_>,
    problems: &mut Vec<Problem>,
) -> Option<Vec<RequestClaim>> {
    let Some(entry) = top.get("expect") else {
        return Some(Vec::new());
    };
    let claims: Vec<_> = claims::nodes(entry, problems)?
        .into_iter()
        .map(|node| claim(node, known, problems))
        .collect();
    claims.into_iter().collect()
}

fn claim(node: Node<'_>, known: Known<'_>, problems: &mut Vec<Problem>) -> Option<RequestClaim> {
    let mut section = Section::of(node, "in `expect`", problems)?;
    let metric = section.require("metric", "\"goodput_of_peak\"");
    let metric = metric.and_then(|entry| {
        let names = Some(metric::names_of_requests());
        one_of(entry, names, "metric", problems)
    });
    let driver = section.get("driver");
    let driver = optional(driver, |entry| entry.word(&DRIVERS, problems));
    let service = section.get("service");
    let service = optional(service, |entry| {
        let label = |service: &Spanned<Service>| service.get_ref().label.clone();
        let labels = known.services.map(|all| all.iter().map(label).collect());
        one_of(entry, labels, "service", problems)
    });
    let load = section.get("load");
    let load = optional(load, |entry| one_load(entry, known.loads, problems));
    let bounds = bounds(&mut section, metric.as_deref(), problems);
    section.finish(problems);
    let (at_least, at_most) = bounds?;
    Some(RequestClaim {
        metric: metric?,
        driver: driver?,
        service: service?,
        load: load?,
        at_least,
        at_most,
    })
}

fn one_load(entry: Entry<'_>, loads: Option<&[f64]>, problems: &mut Vec<Problem>) -> Option<f64> {
    let load = number(entry, "a load is a number", "1.5", problems)?;
    if loads.is_none_or(|loads| loads.contains(&load)) {
        return Some(load);
    }
    let problem = Problem::new(entry.at(), "no run has this load").label("not among `loads`");
    problems.push(problem.help("name one of `loads`, or leave it out for all of them"));
    None
}
