//! Requests that come when they come: however late the service is, the next one
//! is sent when it is due, and its time counts from then.

use std::io::{self, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::frame;
use crate::load::{histogram, micros, millis, to_f64};

/// How much comes.
pub(crate) struct Load {
    pub(crate) factor: f64,
    /// Requests in a second.
    pub(crate) rate: f64,
    pub(crate) duration: Duration,
}

pub(crate) async fn run(service: SocketAddr, request: Vec<u8>, load: Load) -> io::Result<()> {
    let request: Arc<[u8]> = request.into();
    let since = Instant::now() + Duration::from_millis(10);
    let mut tasks = JoinSet::new();
    let mut number = 0_u32;
    loop {
        let due = Duration::try_from_secs_f64(f64::from(number) / load.rate);
        let due = due.map_err(io::Error::other)?;
        if due >= load.duration {
            break;
        }
        tokio::time::sleep_until(since + due).await;
        let request = Arc::clone(&request);
        tasks.spawn(async move {
            let status = frame::ask(service, &request).await.unwrap_or(0);
            (status, since + due, Instant::now())
        });
        number += 1;
    }
    let (mut good, mut full, mut slow, mut other, mut in_time) =
        (0_u64, 0_u64, 0_u64, 0_u64, 0_u64);
    let mut times = histogram()?;
    while let Some(done) = tasks.join_next().await {
        let (status, due, answered) = done.map_err(io::Error::other)?;
        match status {
            200 => good += 1,
            503 => full += 1,
            504 => slow += 1,
            _ => other += 1,
        }
        if status == 200 {
            times.saturating_record(micros(answered.saturating_duration_since(due)));
            in_time += u64::from(answered <= since + load.duration);
        }
    }
    // What was answered while requests came: the queue that is left over does not count.
    let goodput = to_f64(in_time) / load.duration.as_secs_f64();
    writeln!(
        io::stdout(),
        "{:<5} {:<10.0} {goodput:<10.1} {good:<7} {full:<7} {slow:<7} {other:<6} {:<7.1} {:<7.1} {:.1}",
        load.factor,
        load.rate,
        millis(&times, 0.5),
        millis(&times, 0.99),
        millis(&times, 1.0),
    )
}
