//! The figures of the [statistics](super::statistics) for Prometheus, read when
//! somebody asks.

use std::fmt;
use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;

use super::Service;
use super::statistics::Report;

/// The metrics of one service.
#[derive(Debug)]
pub(crate) struct Metrics(pub(crate) Arc<Service>);

impl Collector for Metrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let report = self.0.figures();
        for (name, help, value) in counters(&report) {
            let name = format!("weirgate_https_{name}");
            let mut metric = encoder.encode_descriptor(&name, help, None, MetricType::Counter)?;
            metric.encode_counter::<NoLabelSet, _, u64>(&value, None)?;
        }
        for (name, help, value) in gauges(&report) {
            let name = format!("weirgate_https_{name}");
            let metric = encoder.encode_descriptor(&name, help, None, MetricType::Gauge)?;
            ConstGauge::new(value).encode(metric)?;
        }
        let name = "weirgate_https_failures";
        let help = "Requests and connections of the HTTPS service that came to nothing";
        let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
        report.error_types.iter().try_for_each(|(kind, count)| {
            ConstCounter::new(*count).encode(metric.encode_family(&[("type", *kind)])?)
        })
    }
}

/// Without `_total`, which is added to the name of every counter.
fn counters(report: &Report) -> [(&'static str, &'static str, u64); 6] {
    [
        ("requests", "Requests finished", report.total_requests),
        ("success", "Answered by their target", report.total_success),
        (
            "errors",
            "The request or the target was at fault",
            report.total_errors,
        ),
        (
            "timeout",
            "Too late, in the queue or at their worker",
            report.total_timeout,
        ),
        (
            "rejected",
            "No room, also for connections",
            report.total_rejected,
        ),
        (
            "connections_accepted",
            "Connections",
            report.total_connections,
        ),
    ]
}

fn gauges(report: &Report) -> [(&'static str, &'static str, f64); 7] {
    [
        ("uptime_seconds", "Since the start", report.uptime_seconds),
        (
            "connections",
            "Open connections",
            number(report.active_connections),
        ),
        (
            "connections_idle",
            "Without a request",
            number(report.idle_connections),
        ),
        (
            "workers_busy",
            "Requests under way",
            count(report.active_workers),
        ),
        ("queue_size", "Requests that wait", count(report.queue_size)),
        (
            "requests_per_second",
            "Since the last line in the log",
            report.requests_per_second,
        ),
        (
            "request_time_mean_ms",
            "Of the last 1,000 requests",
            report.avg_request_time_ms,
        ),
    ]
}

fn count(count: usize) -> f64 {
    number(u64::try_from(count).unwrap_or(u64::MAX))
}

const fn number(count: u64) -> f64 {
    super::statistics::to_f64(count)
}
