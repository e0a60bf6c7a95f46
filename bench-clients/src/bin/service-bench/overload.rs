//! Requests that come when they come, at a multiple of what the service can do.

use std::io::{self, Write};
use std::net::SocketAddr;
use std::time::Duration;

use bench_clients::Clock;
use bench_clients::service::{Heard, send_all};
use flow::Timestamp;
use tokio_util::sync::CancellationToken;

use crate::load::{histogram, micros, millis, to_f64};

/// How much comes.
pub(crate) struct Load {
    pub(crate) factor: f64,
    /// Requests in a second.
    pub(crate) rate: f64,
    pub(crate) duration: Duration,
}

pub(crate) async fn run(service: SocketAddr, request: Vec<u8>, load: Load) -> io::Result<()> {
    let (mut good, mut full, mut slow, mut other, mut in_time) =
        (0_u64, 0_u64, 0_u64, 0_u64, 0_u64);
    let mut times = histogram()?;
    let end = instant(load.duration);
    let due = |number: u32| {
        let seconds = f64::from(number) / load.rate;
        Duration::try_from_secs_f64(seconds).map_or(Timestamp::MAX, instant)
    };
    let dues = (0..).map(due).take_while(|due| *due < end);
    let clock = Clock::starting_in(Duration::from_millis(10));
    let count = |heard: Heard| match heard.answer.map_or(0, |answer| answer.status) {
        200 => {
            good += 1;
            let time = heard.answered.since(heard.due);
            times.saturating_record(micros(Duration::from_nanos(time.get())));
            in_time += u64::from(heard.answered <= end);
        }
        503 => full += 1,
        504 => slow += 1,
        _ => other += 1,
    };
    let never = CancellationToken::new();
    send_all(service, clock, dues, |_| request.clone(), &never, count).await?;
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

fn instant(length: Duration) -> Timestamp {
    Timestamp::from_nanos(u64::try_from(length.as_nanos()).unwrap_or(u64::MAX))
}
