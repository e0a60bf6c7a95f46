//! `/metrics`, in the names of aioshadowsocks and with its label `ss_node`, so that
//! its board works; and per user what it keeps in its database.

use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode, header};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use super::Front;
use super::counters::Histogram;

/// Connections at once; one more is closed.
const MOST: usize = 64;
/// How long a request may take to arrive.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(10);

/// Answers until the server stops.
pub(super) async fn run(front: Arc<Front>, listener: TcpListener, stopping: CancellationToken) {
    let places = Arc::new(Semaphore::new(MOST));
    let node = node();
    let listener = match listener.into_std() {
        Ok(listener) => listener,
        Err(error) => return tracing::error!(%error, "metrics cannot be served"),
    };
    crate::server::accept(listener, stopping, move |client, _| {
        let Ok(place) = Arc::clone(&places).try_acquire_owned() else {
            return;
        };
        let (front, node) = (Arc::clone(&front), node.clone());
        tokio::spawn(async move {
            let _place = place;
            let Ok(client) = TcpStream::from_std(client) else {
                return;
            };
            let answer = service_fn(|request| {
                std::future::ready(Ok::<_, std::convert::Infallible>(answer(
                    &front, &node, &request,
                )))
            });
            let served = hyper::server::conn::http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(PATIENCE)
                .keep_alive(false)
                .serve_connection(TokioIo::new(client), answer);
            if let Err(error) = served.await {
                tracing::debug!(%error, "a reader of metrics went away");
            }
        });
    })
    .await;
}

fn answer(front: &Front, node: &str, request: &Request<Incoming>) -> Response<Full<Bytes>> {
    let (status, body) = match request.uri().path() {
        "/metrics" | "/" => (StatusCode::OK, front.metrics(node)),
        _ => (
            StatusCode::NOT_FOUND,
            "metrics are at /metrics\n".to_owned(),
        ),
    };
    let mut answer = Response::new(Full::new(body.into()));
    *answer.status_mut() = status;
    let kind = header::HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    answer.headers_mut().insert(header::CONTENT_TYPE, kind);
    answer
}

/// The name of this host.
fn node() -> String {
    let name = rustix::system::uname();
    name.nodename().to_string_lossy().into_owned()
}

impl Front {
    /// The metrics as text (Prometheus, version 0.0.4).
    fn metrics(&self, node: &str) -> String {
        let node = escaped(node);
        let mut page = Page {
            text: String::new(),
            label: format!("ss_node=\"{node}\""),
        };
        page.family("ss_node_info", "gauge", "The node.");
        page.line("ss_node_info", &format!("ss_node_name=\"{node}\""), 1);
        let counters = &self.counters;
        for (name, kind, help, value) in [
            (
                "connection_made_count_total",
                "counter",
                "TCP connections accepted.",
                counters.connections.load(Ordering::Relaxed),
            ),
            (
                "active_connection_count",
                "gauge",
                "TCP sessions of users now.",
                self.presence.tcp(),
            ),
            (
                "network_transmit_bytes_total",
                "counter",
                "Payload bytes of both directions.",
                counters.transmitted.load(Ordering::Relaxed),
            ),
            (
                "shadowsocks_udp_associations",
                "gauge",
                "UDP associations now.",
                u64::try_from(self.associations.count()).unwrap_or(u64::MAX),
            ),
            (
                "shadowsocks_replays_total",
                "counter",
                "Sessions and datagrams refused because they were sent before.",
                counters.replays.load(Ordering::Relaxed),
            ),
            (
                "shadowsocks_failures_total",
                "counter",
                "Sessions and datagrams refused because nobody's key opens them.",
                counters.failures.load(Ordering::Relaxed),
            ),
        ] {
            page.family(name, kind, help);
            page.line(name, "", value);
        }
        page.histogram(
            "encrypt_data_time_seconds",
            "Sealing what is written at once.",
            &counters.encrypt,
        );
        page.histogram(
            "decrypt_data_time_seconds",
            "Opening one piece.",
            &counters.decrypt,
        );
        page.histogram(
            "find_access_user_time_seconds",
            "Finding out whose connection it is.",
            &counters.find,
        );
        self.users_metrics(&mut page);
        process(&mut page);
        page.text
    }

    fn users_metrics(&self, page: &mut Page) {
        let everybody: Vec<_> = self
            .users
            .subscribed()
            .into_iter()
            .map(|(account, access)| {
                let number = access.number.map(|number| number.to_string());
                let number = number.unwrap_or_default();
                let name = escaped(account.name());
                let label = format!("user_id=\"{number}\",user=\"{name}\"");
                (label, account.usage(), self.presence.of(account.id()))
            })
            .collect();
        page.family(
            "user_upload_bytes_total",
            "counter",
            "Payload bytes from a user.",
        );
        for (label, usage, _) in &everybody {
            page.line("user_upload_bytes_total", label, usage.upload_bytes);
        }
        page.family(
            "user_download_bytes_total",
            "counter",
            "Payload bytes to a user.",
        );
        for (label, usage, _) in &everybody {
            page.line("user_download_bytes_total", label, usage.download_bytes);
        }
        page.family(
            "user_tcp_connections",
            "gauge",
            "TCP sessions of a user now.",
        );
        for (label, _, there) in &everybody {
            page.line("user_tcp_connections", label, there.tcp);
        }
        page.family("user_address_info", "gauge", "An address of a user now.");
        for (label, _, there) in &everybody {
            for address in &there.now {
                page.line(
                    "user_address_info",
                    &format!("{label},address=\"{address}\""),
                    1,
                );
            }
        }
    }
}

struct Page {
    text: String,
    label: String,
}

impl Page {
    fn family(&mut self, name: &str, kind: &str, help: &str) {
        let _ = writeln!(self.text, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    fn line(&mut self, name: &str, labels: &str, value: impl std::fmt::Display) {
        let comma = if labels.is_empty() { "" } else { "," };
        let _ = writeln!(self.text, "{name}{{{}{comma}{labels}}} {value}", self.label);
    }

    fn histogram(&mut self, name: &str, help: &str, histogram: &Histogram) {
        self.family(name, "histogram", help);
        let (buckets, total, seconds) = histogram.read();
        let bucket = format!("{name}_bucket");
        for (bound, count) in buckets {
            self.line(&bucket, &format!("le=\"{bound}\""), count);
        }
        self.line(&bucket, "le=\"+Inf\"", total);
        self.line(&format!("{name}_sum"), "", seconds);
        self.line(&format!("{name}_count"), "", total);
    }
}

fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('\n', "\\n")
}

/// What the board asks of the process; nothing where there is no /proc.
fn process(page: &mut Page) {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let resident = resident.and_then(|rest| rest.trim().strip_suffix(" kB")?.parse::<u64>().ok());
    if let Some(kib) = resident {
        page.family("process_resident_memory_bytes", "gauge", "Resident memory.");
        page.line(
            "process_resident_memory_bytes",
            "",
            kib.saturating_mul(1_024),
        );
    }
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // utime and stime, the 14th and 15th field, of which the second may hold blanks.
    let fields = stat.rsplit_once(") ").map(|(_, rest)| rest.split(' '));
    let ticks: Option<u64> = fields.map(|fields| {
        let spent = fields
            .skip(11)
            .take(2)
            .filter_map(|field| field.parse::<u64>().ok());
        spent.sum()
    });
    if let Some(ticks) = ticks {
        page.family(
            "process_cpu_seconds_total",
            "counter",
            "Processor time, user and system.",
        );
        let per_second = rustix::param::clock_ticks_per_second().max(1);
        let hundredths = ticks.saturating_mul(100) / per_second;
        let seconds = format!("{}.{:02}", hundredths / 100, hundredths % 100);
        page.line("process_cpu_seconds_total", "", seconds);
    }
}
