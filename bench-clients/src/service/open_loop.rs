//! Requests that come when they come: however late the service is, the next one is
//! sent when it is due, and its time counts from then. So a service that stalls
//! cannot hide those who would have asked meanwhile ("coordinated omission").

use std::io;
use std::net::SocketAddr;

use flow::Timestamp;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::frame::{self, Answer};
use crate::Clock;
use crate::pace::{Pacer, Wait};

/// What became of one request.
#[derive(Debug)]
pub struct Heard {
    /// Its number in the order in which they were due.
    pub number: usize,
    /// When it was due.
    pub due: Timestamp,
    /// When it was sent.
    pub sent: Timestamp,
    /// When the answer was whole, or there was none to be had any more.
    pub answered: Timestamp,
    /// The answer.
    pub answer: io::Result<Answer>,
}

/// Sends `request(n)` at the n-th instant of `dues`, which rise, each on a
/// connection of its own, and tells `heard` of each once it is over, in any order.
/// Ends with the last answer; `stop` keeps more from being sent.
///
/// # Errors
/// The system gives no timer.
pub async fn send_all(
    service: SocketAddr,
    clock: Clock,
    dues: impl IntoIterator<Item = Timestamp>,
    mut request: impl FnMut(usize) -> Vec<u8>,
    stop: &CancellationToken,
    mut heard: impl FnMut(Heard),
) -> io::Result<()> {
    let mut pacer = Pacer::new(clock, Wait::Timer)?;
    let mut tasks = JoinSet::new();
    pacer.until_start().await?;
    for (number, due) in dues.into_iter().enumerate() {
        let frame = request(number);
        tokio::select! {
            waited = pacer.until(due) => waited?,
            () = stop.cancelled() => break,
        }
        tasks.spawn(one(service, clock, number, due, frame));
        while let Some(done) = tasks.try_join_next() {
            heard(done.map_err(io::Error::other)?);
        }
    }
    while let Some(done) = tasks.join_next().await {
        heard(done.map_err(io::Error::other)?);
    }
    Ok(())
}

async fn one(
    service: SocketAddr,
    clock: Clock,
    number: usize,
    due: Timestamp,
    frame: Vec<u8>,
) -> Heard {
    let sent = clock.now();
    let answer = frame::ask(service, &frame).await;
    Heard {
        number,
        due,
        sent,
        answered: clock.now(),
        answer,
    }
}
