//! A scenario of requests before services with a queue and workers, valid by
//! construction: the resolved form of a file with `[requests]`.

mod arrivals;
mod write;

use std::path::Path;

use flow::{Nanos, admission};
use traffic::ServiceTime;

use super::file::{self, Origin, Overrides};
use super::problem::FileProblems;
use super::{DriverKind, LoadError, Repetitions, Scenario};

pub(super) use arrivals::ArrivalKind;
pub use arrivals::{Arrivals, Offered, Request};

/// What a scenario file holds.
#[derive(Clone, Debug, PartialEq)]
pub enum Loaded {
    /// Bytes through limiters.
    Bytes(Box<Scenario>),
    /// Requests through queues and workers.
    Requests(Box<RequestScenario>),
}

/// A scenario of requests, resolved.
#[derive(Clone, Debug, PartialEq)]
pub struct RequestScenario {
    /// File stem unless the file says otherwise; names the report's folder.
    pub name: String,
    /// Which question it answers, for the report's head.
    pub question: String,
    /// For how long requests are sent in a run.
    pub duration: Nanos,
    /// What is sent before counts for nothing; shorter than the duration.
    pub warm_up: Nanos,
    /// The one seed everything else is derived from.
    pub seed: u64,
    /// Which drivers run, in order: the model and the proxy.
    pub drivers: Vec<DriverKind>,
    /// How often each driver repeats.
    pub repetitions: Repetitions,
    /// When requests come.
    pub arrivals: Arrivals,
    /// How long they take at a worker.
    pub service_time: ServiceTime,
    /// How many come, in multiples of what the workers can do; each rises.
    pub loads: Vec<f64>,
    /// What serves them, in order of the report.
    pub services: Vec<Service>,
    /// What must hold for exit code 0.
    pub claims: Vec<RequestClaim>,
}

/// One queue with its workers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    /// Its name in every file; unique.
    pub label: String,
    /// How many there may be, and how long things may take.
    pub rules: admission::Rules,
}

/// A bound that a figure must keep in every run it selects.
#[derive(Clone, Debug, PartialEq)]
pub struct RequestClaim {
    /// Column of `summary.csv`.
    pub metric: String,
    /// `None`: every driver that ran.
    pub driver: Option<DriverKind>,
    /// Label of the service; `None`: every one.
    pub service: Option<String>,
    /// One of the loads; `None`: every one.
    pub load: Option<f64>,
    /// Inclusive lower bound, in the column's unit.
    pub at_least: Option<f64>,
    /// Inclusive upper bound, in the column's unit.
    pub at_most: Option<f64>,
}

/// One cell of a scenario: what is run once.
#[derive(Clone, Copy, Debug)]
pub struct Cell<'a> {
    /// The whole.
    pub scenario: &'a RequestScenario,
    /// What serves.
    pub service: &'a Service,
    /// In multiples of what its workers can do.
    pub load: f64,
    /// Which repetition.
    pub repetition: u32,
}

impl Loaded {
    /// Reads the scenario file `path`, whichever it holds.
    ///
    /// # Errors
    /// [`LoadError`], with every mistake of the file.
    pub fn load(path: &Path, overrides: &Overrides) -> Result<Self, LoadError> {
        super::load::with_text_of(path, |text, origin| Self::parse(text, origin, overrides))
    }

    /// Reads the scenario `text`, whichever it holds.
    ///
    /// # Errors
    /// Every mistake that can be seen, each with its place and remedy.
    pub fn parse(
        text: &str,
        origin: Origin<'_>,
        overrides: &Overrides,
    ) -> Result<Self, FileProblems> {
        file::parse_any(text, origin, overrides)
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Bytes(scenario) => &scenario.name,
            Self::Requests(scenario) => &scenario.name,
        }
    }
}

impl RequestScenario {
    /// Every run of `driver`: services, then loads, then repetitions.
    pub fn cells(&self, driver: DriverKind) -> impl Iterator<Item = Cell<'_>> {
        let repetitions = self.repetitions.of(driver);
        self.services.iter().flat_map(move |service| {
            self.loads.iter().flat_map(move |&load| {
                (0..repetitions).map(move |repetition| Cell {
                    scenario: self,
                    service,
                    load,
                    repetition,
                })
            })
        })
    }
}

impl Cell<'_> {
    /// Requests a second that the workers can do.
    #[must_use]
    pub fn capacity(&self) -> f64 {
        self.scenario.capacity(self.service)
    }

    /// Requests a second that come, on average.
    #[must_use]
    pub fn rate(&self) -> f64 {
        self.capacity() * self.load
    }
}

impl RequestScenario {
    /// Requests a second that the workers of `service` can do.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "at most 100,000 workers")]
    pub fn capacity(&self, service: &Service) -> f64 {
        service.rules.workers.get() as f64 * 1e9 / self.service_time.mean()
    }
}
