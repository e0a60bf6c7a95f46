//! The real HTTPS service over sockets, between an open loop of requests in the
//! frames of seed 003 and an origin whose times are those of the scenario.
//!
//! Service, load and origin run in this process, the service on a runtime of its
//! own, started anew for each run. When a worker began with a request is what the
//! origin saw: its queue delay has the way to the origin in it.

use std::time::Duration;

use bench_clients::Clock;
use bench_clients::service::{Answer, Heard, Origin, request, send_all};
use flow::Nanos;
use proxy::HttpsService;
use tokio_util::sync::CancellationToken;

use crate::driver::proxy::ProxyError;
use crate::driver::proxy::server::Server;
use crate::driver::real::{io_error, runtime};
use crate::driver::{Stop, watch};
use crate::metrics::requests::{RequestMetrics, Theory};
use crate::progress::Stage;
use crate::record::{RequestOutcome, RequestRecord, RequestRecorder as _};
use crate::results::RequestRow;
use crate::scenario::requests::{Cell, Offered, Request};
use crate::scenario::{DriverKind, RequestScenario};

/// From the origin's start to the first instant of a run.
const LEAD: Duration = Duration::from_millis(50);
/// Connections at once beyond those that wait or run: some are on their way in or out.
const SPARE: usize = 5_000;

/// Runs every cell of `scenario`, one after the other. A run that was stopped on
/// the way is left out.
///
/// # Errors
/// See [`ProxyError`].
pub fn run(
    scenario: &RequestScenario,
    stage: &Stage,
    stop: &Stop,
) -> Result<Vec<RequestRow>, ProxyError> {
    let load = runtime()?;
    let mut rows = Vec::new();
    for cell in scenario.cells(DriverKind::Proxy) {
        if stop.requested() {
            break;
        }
        rows.extend(load.block_on(one(&cell, stop))?);
        stage.step();
    }
    Ok(rows)
}

async fn one(cell: &Cell<'_>, stop: &Stop) -> Result<Option<RequestRow>, ProxyError> {
    let requests: Vec<Request> = Offered::of(cell).collect();
    let server = Server::start_service(settings(cell)).await?;
    let clock = Clock::starting_in(LEAD);
    let times = requests.iter().map(|request| request.service_time);
    let origin = Origin::start(clock, times.collect()).await;
    let origin = origin.map_err(io_error("listen for the service's requests"))?;
    let before = server.cpu();
    let token = CancellationToken::new();
    let mut records = Vec::with_capacity(requests.len());
    {
        let sending = send_all(
            server.address(),
            clock,
            requests.iter().map(|request| request.due),
            |number| request(&origin.url(number), None),
            &token,
            |heard| records.push(record(&heard, &origin)),
        );
        tokio::select! {
            sent = sending => sent.map_err(io_error("send requests"))?,
            never = watch(clock, &token, &|_| (), stop) => match never {},
        }
    }
    let cpu = before.zip(server.cpu());
    server.stop().await?;
    if token.is_cancelled() {
        return Ok(None);
    }
    let mut metrics = RequestMetrics::new(cell);
    let sent = records.len();
    records
        .into_iter()
        .for_each(|record| metrics.request(record));
    let mut row = metrics.finish(cell, DriverKind::Proxy, Theory::of(cell).as_ref());
    row.cpu_us_per_request = cpu.and_then(|(before, after)| per_request(after - before, sent));
    Ok(Some(row))
}

/// The service as the scenario has it.
fn settings(cell: &Cell<'_>) -> HttpsService {
    let rules = &cell.service.rules;
    let length = |nanos: Nanos| Duration::from_nanos(nanos.get());
    HttpsService {
        max_connections: rules.workers.get() + rules.queue + SPARE,
        queue: rules.queue,
        workers: rules.workers,
        queue_timeout: length(rules.queue_timeout),
        request_timeout: length(rules.request_timeout),
        ..HttpsService::default()
    }
}

fn record(heard: &Heard, origin: &Origin) -> RequestRecord {
    let outcome = heard
        .answer
        .as_ref()
        .map_or(RequestOutcome::Failed, outcome);
    RequestRecord {
        due: heard.due,
        late: heard.sent.since(heard.due),
        started: origin.began(heard.number),
        ended: heard.answered,
        outcome,
    }
}

/// What an answer comes to: by its status, and its words where one status has two meanings.
fn outcome(answer: &Answer) -> RequestOutcome {
    let says = |words| answer.json.contains(words);
    match answer.status {
        200 => RequestOutcome::Good,
        503 if says("the queue is full") => RequestOutcome::QueueFull,
        503 if says("within the queue time-out") => RequestOutcome::QueueTimeout,
        504 => RequestOutcome::RequestTimeout,
        _ => RequestOutcome::Failed,
    }
}

#[expect(clippy::cast_precision_loss, reason = "at most a million requests")]
fn per_request(seconds: f64, requests: usize) -> Option<f64> {
    (requests > 0).then(|| seconds * 1e6 / requests as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_status_has_two_meanings() {
        let of = |status, error: &str| {
            let json = format!("{{\"status_code\":{status},\"error\":\"{error}\"}}");
            outcome(&Answer { status, json })
        };
        assert_eq!(of(200, ""), RequestOutcome::Good);
        assert_eq!(of(503, "the queue is full"), RequestOutcome::QueueFull);
        assert_eq!(
            of(503, "no worker was free within the queue time-out"),
            RequestOutcome::QueueTimeout
        );
        assert_eq!(of(503, "no memory is left"), RequestOutcome::Failed);
        assert_eq!(of(504, ""), RequestOutcome::RequestTimeout);
        assert_eq!(of(500, ""), RequestOutcome::Failed);
    }
}
