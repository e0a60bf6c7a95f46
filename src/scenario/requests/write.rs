//! A resolved scenario of requests as the text of a file that resolves to it again.

use std::fmt::{self, Write as _};

use traffic::arrival::Periods;

use super::super::file::ARRIVALS;
use super::super::write::{bounds, claimed, head, pair, repetitions, word};
use super::{Arrivals, RequestClaim, RequestScenario, Service};

impl RequestScenario {
    /// The text of a scenario file that resolves to exactly this scenario.
    #[must_use]
    pub fn to_toml(&self) -> String {
        let mut text = String::new();
        // Writing to a String cannot fail.
        let _ = self.write_toml(&mut text);
        text
    }

    fn write_toml(&self, out: &mut String) -> fmt::Result {
        head(
            out,
            [&self.name, &self.question],
            self.duration,
            self.seed,
            &self.drivers,
        )?;
        self.write_requests(out)?;
        repetitions(out, &self.repetitions)?;
        for service in &self.services {
            write_service(out, service)?;
        }
        for claim in &self.claims {
            write_claim(out, claim)?;
        }
        Ok(())
    }

    fn write_requests(&self, out: &mut String) -> fmt::Result {
        writeln!(out, "\n[requests]")?;
        pair(out, "arrivals", word(&ARRIVALS, self.arrivals.kind()))?;
        if let Arrivals::OnOff {
            mean_on,
            mean_off,
            periods,
        } = self.arrivals
        {
            pair(out, "mean_on", mean_on)?;
            pair(out, "mean_off", mean_off)?;
            if let Periods::Pareto(shape) = periods {
                writeln!(out, "shape = {shape:?}")?;
            }
        }
        pair(out, "service_time", self.service_time)?;
        let loads: Vec<_> = self.loads.iter().map(|load| format!("{load:?}")).collect();
        writeln!(out, "loads = [{}]", loads.join(", "))?;
        pair(out, "warm_up", self.warm_up)
    }
}

fn write_service(out: &mut String, service: &Service) -> fmt::Result {
    let rules = &service.rules;
    writeln!(out, "\n[[service]]")?;
    pair(out, "label", &service.label)?;
    writeln!(out, "workers = {}", rules.workers)?;
    writeln!(out, "queue = {}", rules.queue)?;
    pair(out, "queue_timeout", rules.queue_timeout)?;
    pair(out, "request_timeout", rules.request_timeout)
}

fn write_claim(out: &mut String, claim: &RequestClaim) -> fmt::Result {
    claimed(out, &claim.metric, claim.driver)?;
    if let Some(service) = &claim.service {
        pair(out, "service", service)?;
    }
    if let Some(load) = claim.load {
        writeln!(out, "load = {load:?}")?;
    }
    bounds(out, &claim.metric, claim.at_least, claim.at_most)
}
