//! Clients that ask one thing after the other.

use std::io::{self, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bench_clients::service::frame;
use hdrhistogram::Histogram;
use tokio::time::Instant;

pub(crate) async fn run(
    service: SocketAddr,
    request: Vec<u8>,
    clients: usize,
    duration: Duration,
) -> io::Result<()> {
    let request: Arc<[u8]> = request.into();
    let (since, until) = (Instant::now(), Instant::now() + duration);
    let tasks: Vec<_> = (0..clients)
        .map(|_| tokio::spawn(client(service, Arc::clone(&request), until)))
        .collect();
    let mut times = histogram()?;
    let mut failures = 0;
    for task in tasks {
        let (own, failed) = task.await.map_err(io::Error::other)??;
        times.add(own).map_err(io::Error::other)?;
        failures += failed;
    }
    let rate = to_f64(times.len()) / since.elapsed().as_secs_f64();
    writeln!(
        io::stdout(),
        "{clients} clients: {rate:.0} requests/s, p50 {:.1} ms, p99 {:.1} ms, max {:.1} ms, {failures} failed",
        millis(&times, 0.5),
        millis(&times, 0.99),
        millis(&times, 1.0),
    )
}

async fn client(
    service: SocketAddr,
    request: Arc<[u8]>,
    until: Instant,
) -> io::Result<(Histogram<u64>, u64)> {
    let mut times = histogram()?;
    let mut failures = 0;
    while Instant::now() < until {
        let since = Instant::now();
        match frame::ask(service, &request).await {
            Ok(answer) if answer.status == 200 => times.saturating_record(micros(since.elapsed())),
            _ => failures += 1,
        }
    }
    Ok((times, failures))
}

/// Microseconds up to ten minutes, three digits.
pub(crate) fn histogram() -> io::Result<Histogram<u64>> {
    Histogram::new_with_bounds(1, 600_000_000, 3).map_err(io::Error::other)
}

pub(crate) fn micros(length: Duration) -> u64 {
    u64::try_from(length.as_micros()).unwrap_or(u64::MAX)
}

pub(crate) fn millis(times: &Histogram<u64>, quantile: f64) -> f64 {
    to_f64(times.value_at_quantile(quantile)) / 1e3
}

#[expect(
    clippy::cast_precision_loss,
    reason = "a figure for people, 53 bits suffice"
)]
pub(crate) const fn to_f64(count: u64) -> f64 {
    count as f64
}
