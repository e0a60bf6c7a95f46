//! What the server counts, for Prometheus: OpenMetrics 1.0, or the text format 0.0.4
//! for those who do not ask for it. Everything is read when it is asked for.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::Ordering;

use axum::extract::State;
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use parking_lot::Mutex;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::{Registry, Unit};

use super::desk::Desk;
use super::feed::Frame;
use super::problem::{Kind, Problem};
use crate::metrics::{Protocol, Reason, Tally, WAIT_EDGES};
use crate::server::{Handle, Shared};
use crate::users::{Standing, Usage};

mod process;

/// The user of the series that those share who have none of their own. No name has a
/// space in it.
const OTHERS: &str = "other users";

const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
const TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The metrics of a server.
#[utoipa::path(get, path = "/metrics", tag = "live",
    responses((status = 200, description = "OpenMetrics, or the text format for those who do not accept that",
               body = String, content_type = "text/plain"), super::desk::Refusals))]
pub(super) async fn metrics(
    State(desk): State<Desk>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let mut text = String::new();
    let written = desk.metrics().write(&mut text);
    written.map_err(|_| Kind::Database.with("the metrics cannot be written"))?;
    let accepts = headers.get_all(header::ACCEPT).iter();
    let open = accepts
        .filter_map(|accept| accept.to_str().ok())
        .any(|accept| accept.contains("application/openmetrics-text"));
    let kind = if open { OPEN_METRICS } else { TEXT };
    let text = if open { text } else { plain(&text) };
    Ok(([(header::CONTENT_TYPE, kind)], text).into_response())
}

/// The registries of a server.
#[derive(Debug)]
pub(super) struct Metrics {
    handle: Handle,
    own: Registry,
}

impl Metrics {
    pub(super) fn new(handle: Handle, feed: Feed, user_metrics: usize) -> Self {
        let mut own = Registry::default();
        let reader = Reader {
            handle: handle.clone(),
            feed,
            users: Mutex::new(Series {
                most: user_metrics,
                known: HashMap::new(),
            }),
        };
        own.register_collector(Box::new(reader));
        Self { handle, own }
    }

    fn write(&self, text: &mut String) -> fmt::Result {
        use prometheus_client::encoding::text;
        text::encode_registry(text, &self.own)?;
        self.handle
            .with_registry(|registry| text::encode_registry(text, registry))?;
        text::encode_eof(text)
    }
}

type Feed = tokio::sync::watch::Receiver<std::sync::Arc<Frame>>;

/// Reads everything at each scrape.
#[derive(Debug)]
struct Reader {
    handle: Handle,
    feed: Feed,
    users: Mutex<Series>,
}

/// Who has series of their own: the first who did anything.
#[derive(Debug)]
struct Series {
    most: usize,
    /// What they had moved when they were last seen.
    known: HashMap<i64, Usage>,
}

impl Collector for Reader {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let shared = self.handle.shared();
        let mut page = Page(encoder);
        let tally = shared.sessions.tally();
        page.sessions(&shared)?;
        page.failures(tally)?;
        page.limits(&shared, tally)?;
        page.config(&self.handle, tally)?;
        page.accounts(&shared)?;
        process::encode(&mut page)?;
        let frame = std::sync::Arc::clone(&self.feed.borrow());
        self.users.lock().encode(&mut page, &shared, &frame)
    }
}

/// The exposition, family by family.
struct Page<'a>(DescriptorEncoder<'a>);

impl Page<'_> {
    fn family(
        &mut self,
        (name, help): (&str, &str),
        unit: Option<&Unit>,
        kind: MetricType,
        fill: impl FnOnce(&mut MetricEncoder<'_>) -> fmt::Result,
    ) -> fmt::Result {
        fill(&mut self.0.encode_descriptor(name, help, unit, kind)?)
    }

    fn counter(&mut self, about: (&str, &str), unit: Option<&Unit>, value: u64) -> fmt::Result {
        self.family(about, unit, MetricType::Counter, |metric| {
            metric.encode_counter::<NoLabelSet, _, u64>(&value, None)
        })
    }

    fn gauge(&mut self, about: (&str, &str), unit: Option<&Unit>, value: f64) -> fmt::Result {
        self.family(about, unit, MetricType::Gauge, |metric| {
            metric.encode_gauge(&value)
        })
    }

    /// A counter with one label.
    fn counters<'l>(
        &mut self,
        about: (&str, &str),
        label: &'static str,
        values: impl IntoIterator<Item = (&'l str, u64)>,
    ) -> fmt::Result {
        self.family(about, None, MetricType::Counter, |metric| {
            values.into_iter().try_for_each(|(value, count)| {
                ConstCounter::new(count).encode(metric.encode_family(&[(label, value)])?)
            })
        })
    }

    /// A gauge with one label.
    fn gauges<'l>(
        &mut self,
        about: (&str, &str),
        unit: Option<&Unit>,
        label: &'static str,
        values: impl IntoIterator<Item = (&'l str, u64)>,
    ) -> fmt::Result {
        self.family(about, unit, MetricType::Gauge, |metric| {
            values.into_iter().try_for_each(|(value, number)| {
                let gauge = ConstGauge::new(as_f64(number));
                gauge.encode(metric.encode_family(&[(label, value)])?)
            })
        })
    }

    fn sessions(&mut self, shared: &Shared) -> fmt::Result {
        let (sums, tally) = (shared.sessions.sums(), shared.sessions.tally());
        let by_protocol = || Protocol::ALL.into_iter().zip(sums);
        let about = ("weirgate_payload_bytes", "Payload passed on");
        self.family(about, None, MetricType::Counter, |metric| {
            for (protocol, sum) in by_protocol() {
                for (direction, bytes) in directions(sum.moved) {
                    let labels = [("direction", direction), ("protocol", protocol.name())];
                    ConstCounter::new(bytes).encode(metric.encode_family(&labels)?)?;
                }
            }
            Ok(())
        })?;
        self.counters(
            ("weirgate_sessions_begun", "Sessions begun"),
            "protocol",
            Protocol::ALL.map(|protocol| (protocol.name(), tally.sessions(protocol))),
        )?;
        self.gauges(
            ("weirgate_sessions", "Open sessions"),
            None,
            "protocol",
            by_protocol().map(|(protocol, sum)| (protocol.name(), sum.open)),
        )?;
        self.counters(
            (
                "weirgate_datagrams_dropped",
                "Datagrams dropped for want of budget",
            ),
            "protocol",
            by_protocol().map(|(protocol, sum)| (protocol.name(), sum.dropped)),
        )
    }

    fn failures(&mut self, tally: &Tally) -> fmt::Result {
        self.counters(
            ("weirgate_failures", "Clients not served, or not to the end"),
            "reason",
            Reason::ALL.map(|reason| (reason.name(), tally.failures(reason))),
        )?;
        let accepted = tally.accepted.load(Ordering::Relaxed);
        let about = ("weirgate_connections", "Connections accepted");
        self.counter(about, None, accepted)
    }

    fn limits(&mut self, shared: &Shared, tally: &Tally) -> fmt::Result {
        let (under_way, begun) = shared.handshakes.figures();
        let about = ("weirgate_handshakes_begun", "Handshakes begun");
        self.counter(about, None, begun)?;
        let about = ("weirgate_handshakes", "Handshakes under way");
        self.gauge(about, None, as_f64(under_way))?;
        let waits = tally.waits();
        let about = (
            "weirgate_session_throttled",
            "How long sessions that have ended had waited for limits",
        );
        self.family(
            about,
            Some(&Unit::Seconds),
            MetricType::Histogram,
            |metric| {
                let edges = WAIT_EDGES.into_iter().chain([f64::INFINITY]);
                let buckets: Vec<_> = edges.zip(waits.buckets).collect();
                let count = waits.buckets.iter().sum();
                let sum = waits.sum.as_secs_f64();
                metric.encode_histogram::<NoLabelSet>(sum, count, &buckets, None)
            },
        )?;
        let accounts = shared.users.accounts();
        let waiting = accounts
            .iter()
            .map(|account| u64::from(account.live().waiting))
            .sum();
        let about = (
            "weirgate_limiter_queue",
            "Directions of connections that wait for a limit",
        );
        self.gauge(about, None, as_f64(waiting))?;
        let Some(tokens) = shared.users.cap_tokens() else {
            return Ok(());
        };
        let about = (
            "weirgate_limiter_tokens",
            "What the limit of all users would let pass now",
        );
        self.gauge(about, Some(&Unit::Bytes), as_f64(tokens))
    }

    fn config(&mut self, handle: &Handle, tally: &Tally) -> fmt::Result {
        self.counters(
            ("weirgate_config_reloads", "Configs taken over, or refused"),
            "outcome",
            [("success", true), ("failure", false)].map(|(word, done)| (word, tally.reloads(done))),
        )?;
        let about = (
            "weirgate_config_taken_over_timestamp",
            "When the config in force was taken over, since 1970",
        );
        let at = u64::try_from(tally.configured_at.load(Ordering::Relaxed)).unwrap_or(0);
        self.gauge(about, Some(&Unit::Seconds), as_f64(at))?;
        let about = ("weirgate_draining", "Whether the server is about to stop");
        self.gauge(about, None, f64::from(u8::from(handle.is_draining())))?;
        let about = ("weirgate_build", "The program");
        self.family(about, None, MetricType::Info, |metric| {
            metric.encode_info(&[("version", env!("CARGO_PKG_VERSION"))])
        })?;
        let fails = tally.database_fails.load(Ordering::Relaxed);
        let about = (
            "weirgate_database_up",
            "Whether the database answered when it was last asked",
        );
        self.gauge(about, None, f64::from(u8::from(!fails)))?;
        let about = (
            "weirgate_database_failures",
            "Times that the database did not answer",
        );
        self.counter(about, None, tally.database_failures.load(Ordering::Relaxed))
    }

    fn accounts(&mut self, shared: &Shared) -> fmt::Result {
        let mut counts = [0_u64; 4];
        for account in shared.users.accounts() {
            let (enabled, standing) = account.standing();
            let index = match (enabled, standing) {
                (false, _) => 3,
                (true, Standing::Good) => 0,
                (true, Standing::OverQuota) => 1,
                (true, Standing::Expired) => 2,
            };
            counts[index] += 1;
        }
        let words = ["good", "over-quota", "expired", "disabled"];
        let about = ("weirgate_users", "Users");
        self.gauges(about, None, "standing", words.into_iter().zip(counts))
    }
}

impl Series {
    fn encode(&mut self, page: &mut Page<'_>, shared: &Shared, frame: &Frame) -> fmt::Result {
        if self.most == 0 {
            return Ok(());
        }
        let own: Vec<_> = frame
            .counted
            .iter()
            .zip(&frame.users)
            .filter(|((id, usage), _)| {
                let has_one = self.known.len() < self.most || self.known.contains_key(id);
                has_one && {
                    self.known.insert(*id, *usage);
                    true
                }
            })
            .collect();
        let theirs = self
            .known
            .values()
            .fold(Usage::default(), |sum, usage| sum + *usage);
        let about = (
            "weirgate_user_payload_bytes",
            "Payload passed on for those who have series of their own, and for all others",
        );
        page.family(about, None, MetricType::Counter, |metric| {
            let others = std::iter::once((OTHERS, frame.moved - theirs));
            let own = own
                .iter()
                .map(|((_, usage), user)| (user.name.as_str(), *usage));
            for (user, usage) in own.chain(others) {
                for (direction, bytes) in directions(usage) {
                    let labels = [("user", user), ("direction", direction)];
                    ConstCounter::new(bytes).encode(metric.encode_family(&labels)?)?;
                }
            }
            Ok(())
        })?;
        let users = || own.iter().map(|(_, user)| user);
        page.gauges(
            ("weirgate_user_connections", "Open connections"),
            None,
            "user",
            users().map(|user| (user.name.as_str(), user.connections)),
        )?;
        let about = (
            "weirgate_user_limiter_tokens",
            "What a user's limit would let pass now",
        );
        page.family(about, Some(&Unit::Bytes), MetricType::Gauge, |metric| {
            for user in users() {
                let tokens = shared
                    .users
                    .account(&user.name)
                    .map(|account| account.tokens());
                let named = ["both", "up", "down"]
                    .into_iter()
                    .zip(tokens.unwrap_or_default());
                for (direction, tokens) in named {
                    let Some(tokens) = tokens else { continue };
                    let labels = [("user", user.name.as_str()), ("direction", direction)];
                    ConstGauge::new(as_f64(tokens)).encode(metric.encode_family(&labels)?)?;
                }
            }
            Ok(())
        })?;
        let about = (
            "weirgate_user_throttled",
            "For how long somebody of the user's has waited for a limit",
        );
        page.family(about, Some(&Unit::Seconds), MetricType::Counter, |metric| {
            for user in users() {
                let Some(account) = shared.users.account(&user.name) else {
                    continue;
                };
                let waited = account.live().throttled.as_secs_f64();
                let counter = ConstCounter::new(waited);
                counter.encode(metric.encode_family(&[("user", user.name.as_str())])?)?;
            }
            Ok(())
        })
    }
}

const fn directions(usage: Usage) -> [(&'static str, u64); 2] {
    [("up", usage.upload_bytes), ("down", usage.download_bytes)]
}

/// Gauges are floating point; what is above 2^53 is rounded.
#[expect(clippy::cast_precision_loss, reason = "that is what it does")]
fn as_f64(number: u64) -> f64 {
    number as f64
}

/// OpenMetrics as the text format 0.0.4: there, the name of a counter's family ends in
/// `_total`, info is a gauge, and there are no units.
fn plain(open: &str) -> String {
    let mut types: HashMap<&str, &str> = HashMap::new();
    for line in open.lines() {
        if let Some((name, kind)) = line
            .strip_prefix("# TYPE ")
            .and_then(|it| it.split_once(' '))
        {
            types.insert(name, kind);
        }
    }
    let mut text = String::with_capacity(open.len());
    for line in open.lines() {
        let mut words = line.splitn(4, ' ');
        let head = [words.next(), words.next(), words.next()];
        let [Some("#"), Some(word @ ("HELP" | "TYPE")), Some(name)] = head else {
            if !line.starts_with('#') {
                text.push_str(line);
                text.push('\n');
            }
            continue;
        };
        let kind = types.get(name).copied().unwrap_or_default();
        let suffix = match kind {
            "counter" => "_total",
            "info" => "_info",
            _ => "",
        };
        let rest = match (word, kind) {
            ("TYPE", "info") => "gauge",
            ("TYPE", "unknown") => "untyped",
            _ => words.next().unwrap_or_default(),
        };
        text.push_str(&format!("# {word} {name}{suffix} {rest}\n"));
    }
    text
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_older_format_names_counters_by_their_samples() {
        let open = "# HELP a_bytes It is.\n# TYPE a_bytes counter\n# UNIT a_bytes bytes\n\
                    a_bytes_total{x=\"# HELP\"} 1\n# HELP b It.\n# TYPE b info\nb_info{v=\"1\"} 1\n# EOF\n";
        let plain = "# HELP a_bytes_total It is.\n# TYPE a_bytes_total counter\n\
                     a_bytes_total{x=\"# HELP\"} 1\n# HELP b_info It.\n# TYPE b_info gauge\nb_info{v=\"1\"} 1\n";
        assert_eq!(super::plain(open), plain);
    }
}
