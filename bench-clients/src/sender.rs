//! Sends what a generator says, on absolute deadlines.
//!
//! Every deadline comes from the generator, never from the end of a wait, so
//! lateness does not build up: after a stall the sender catches up. What is due is
//! written in as few calls as it takes; TCP keeps no packets, the log does.

mod outgoing;

use std::{future::poll_fn, io, pin::Pin, sync::Arc};

use flow::{ByteSize, Nanos, Timestamp};
use hdrhistogram::Histogram;
use tokio::{
    io::{AsyncWrite, AsyncWriteExt},
    task::coop::{consume_budget, unconstrained},
    time::Sleep,
};
use tokio_util::sync::CancellationToken;
use traffic::{Generator, Send};

use self::outgoing::Outgoing;
use crate::{Clock, Sink, Wait, log::LogFull, pace::Pacer, payload::Payload, window::Window};

/// Sends that an open-loop sender takes up before it looks at the socket again.
const MOST_AT_ONCE: u32 = 1024;
/// How much lost time a blocking sender makes up for at most: longer ago than this
/// its previous send did not return, whatever the schedule says.
const MOST_CATCH_UP: Nanos = Nanos::from_millis(100);

/// What a sender does when it is not let through.
#[derive(Clone, Debug)]
pub enum SendMode {
    /// The schedule is the generator's alone. What TCP does not take yet waits in a
    /// queue of the sender's own (a count: the payload is made when it is written).
    OpenLoop {
        /// Bytes in that queue that end the run with an error.
        backlog_limit: ByteSize,
    },
    /// The next gap begins when the send has returned, and it returns when its last
    /// byte is in the buffer. A send that found room returned when it was due, so
    /// the timer's lateness is not taken for back-pressure.
    Blocking {
        /// The buffer shared with the receiver; `None`: what the kernel holds.
        window: Option<Arc<Window>>,
    },
}

/// How and when one flow is sent.
#[derive(Clone, Debug)]
pub struct SendPlan {
    /// The run's clock.
    pub clock: Clock,
    /// When the connection counts as opened.
    pub start: Timestamp,
    /// Nothing is due at or after this instant.
    pub until: Timestamp,
    /// What is sent.
    pub payload: Payload,
    /// Behaviour under back-pressure.
    pub mode: SendMode,
    /// How deadlines are waited for.
    pub wait: Wait,
    /// Ends the sending early, without an error.
    pub stop: CancellationToken,
}

/// What a sender did.
#[derive(Clone, Debug)]
pub struct SendReport {
    /// Sends that were due.
    pub sends: u64,
    /// Bytes of them.
    pub offered: ByteSize,
    /// Bytes that TCP has taken.
    pub sent: ByteSize,
    /// Nanoseconds from the instant a send was due to the instant the sender took
    /// it up, 1 % exact: the error of the test rig, not of what it tests.
    pub lateness: Histogram<u64>,
    /// Most bytes that were due and not taken.
    pub most_backlog: ByteSize,
    /// Why it ended.
    pub end: SendEnd,
}

/// Why a sender ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SendEnd {
    /// The generator ended and everything was sent.
    Finished,
    /// The time was up, or the run was stopped.
    Deadline,
    /// The other side went away.
    Closed(io::ErrorKind),
}

/// A sender that cannot do its work.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    /// The queue of an open-loop sender grew beyond its limit.
    #[error(
        "{} bytes wait to be sent at {:.3} s, the limit is {}: the load is far above what is let through; shorten the run, raise the limit or use a blocking sender",
        backlog.get(), at.as_secs_f64(), limit.get()
    )]
    Backlog {
        /// When.
        at: Timestamp,
        /// Bytes due and not taken by TCP.
        backlog: ByteSize,
        /// What was allowed.
        limit: ByteSize,
    },
    /// The log of sends.
    #[error("cannot log a send")]
    Log(#[from] LogFull),
    /// The timer.
    #[error("cannot wait for the next send")]
    Timer(#[source] io::Error),
}

/// Sends what `generator` says to `writer` until it ends, the plan's time is up or
/// the other side goes away; then closes the direction, so that the receiver knows
/// that what it has is all.
/// Each send goes to `sink` with the instant it was due.
///
/// # Errors
/// The queue or the log is full, or there is no timer.
pub async fn send<W, G, S>(
    writer: &mut W,
    generator: &mut G,
    plan: &SendPlan,
    sink: &mut S,
) -> Result<SendReport, SendError>
where
    W: AsyncWrite + Unpin,
    G: Generator + ?Sized,
    S: Sink,
{
    let mut sender = Sender::new(generator, plan, sink)?;
    let end = tokio::select! {
        biased;
        () = plan.stop.cancelled() => SendEnd::Deadline,
        end = sender.run(writer) => end?,
    };
    // A peer that is gone already has closed this direction itself.
    let _ = writer.shutdown().await;
    Ok(sender.report(end))
}

struct Sender<'a, G: ?Sized, S> {
    generator: &'a mut G,
    plan: &'a SendPlan,
    sink: &'a mut S,
    pacer: Pacer,
    /// The end of the run, for a sender that is held up.
    over: Pin<Box<Sleep>>,
    outgoing: Outgoing,
    lateness: Histogram<u64>,
    sends: u64,
    offered: u64,
    most_backlog: u64,
}

/// What the generator says comes next.
#[derive(Clone, Copy)]
enum Next {
    Due(Send),
    /// It is due after the end of the run.
    AfterTheEnd,
    Ended,
}

impl<'a, G: Generator + ?Sized, S: Sink> Sender<'a, G, S> {
    fn new(generator: &'a mut G, plan: &'a SendPlan, sink: &'a mut S) -> Result<Self, SendError> {
        Ok(Self {
            generator,
            plan,
            sink,
            pacer: Pacer::new(plan.clock, plan.wait).map_err(SendError::Timer)?,
            over: Box::pin(tokio::time::sleep_until(plan.clock.instant(plan.until))),
            outgoing: Outgoing::new(plan.payload),
            lateness: lateness_histogram(),
            sends: 0,
            offered: 0,
            most_backlog: 0,
        })
    }

    async fn run<W: AsyncWrite + Unpin>(&mut self, writer: &mut W) -> Result<SendEnd, SendError> {
        self.pacer.until_start().await.map_err(SendError::Timer)?;
        match &self.plan.mode {
            SendMode::OpenLoop { backlog_limit } => self.open_loop(writer, *backlog_limit).await,
            SendMode::Blocking { window } => self.blocking(writer, window.as_deref()).await,
        }
    }

    fn report(self, end: SendEnd) -> SendReport {
        SendReport {
            sends: self.sends,
            offered: ByteSize::new(self.offered),
            sent: ByteSize::new(self.outgoing.written()),
            lateness: self.lateness,
            most_backlog: ByteSize::new(self.most_backlog),
            end,
        }
    }

    async fn open_loop<W: AsyncWrite + Unpin>(
        &mut self,
        writer: &mut W,
        limit: ByteSize,
    ) -> Result<SendEnd, SendError> {
        let until = self.plan.until;
        let mut next = self.next(self.plan.start);
        loop {
            next = self.take_up_what_is_due(next, limit)?;
            let backlog = self.backlog();
            let wake = match next {
                Next::Due(send) => send.at,
                Next::Ended if backlog == 0 => return Ok(SendEnd::Finished),
                Next::AfterTheEnd | Next::Ended if self.plan.clock.now() >= until => {
                    return Ok(self.write_what_fits(writer).await);
                }
                Next::AfterTheEnd | Next::Ended => until,
            };
            if backlog == 0 {
                self.pacer.until(wake).await.map_err(SendError::Timer)?;
                consume_budget().await;
                continue;
            }
            tokio::select! {
                biased;
                written = self.outgoing.write(writer, backlog) => {
                    if let Err(error) = written {
                        return Ok(SendEnd::Closed(error.kind()));
                    }
                }
                waited = self.pacer.until(wake) => waited.map_err(SendError::Timer)?,
            }
        }
    }

    /// The time is up: what the socket still takes without waiting.
    async fn write_what_fits<W: AsyncWrite + Unpin>(&mut self, writer: &mut W) -> SendEnd {
        while self.backlog() > 0 {
            let most = self.backlog();
            tokio::select! {
                biased;
                written = unconstrained(self.outgoing.write(writer, most)) => {
                    if let Err(error) = written {
                        return SendEnd::Closed(error.kind());
                    }
                }
                () = std::future::ready(()) => break,
            }
        }
        SendEnd::Deadline
    }

    /// Queues the sends that are due by now, and returns the one after them.
    fn take_up_what_is_due(&mut self, next: Next, limit: ByteSize) -> Result<Next, SendError> {
        let now = self.plan.clock.now();
        let mut next = next;
        for _ in 0..MOST_AT_ONCE {
            let Next::Due(send) = next else { break };
            if send.at > now {
                break;
            }
            self.take_up(send, now)?;
            next = self.next(send.at);
        }
        let backlog = self.backlog();
        if backlog > limit.get() {
            return Err(SendError::Backlog {
                at: now,
                backlog: ByteSize::new(backlog),
                limit,
            });
        }
        Ok(next)
    }

    async fn blocking<W: AsyncWrite + Unpin>(
        &mut self,
        writer: &mut W,
        window: Option<&Window>,
    ) -> Result<SendEnd, SendError> {
        let mut returned = self.plan.start;
        loop {
            let send = match self.next(returned) {
                Next::Due(send) => send,
                Next::AfterTheEnd => {
                    let over = self.pacer.until(self.plan.until).await;
                    return over.map(|()| SendEnd::Deadline).map_err(SendError::Timer);
                }
                Next::Ended => return Ok(SendEnd::Finished),
            };
            self.pacer.until(send.at).await.map_err(SendError::Timer)?;
            let called = self.plan.clock.now();
            self.take_up(send, called)?;
            let sent = match self.send_all(writer, window, send.at).await {
                Ok(returned) => self.delivered(window, returned).await,
                Err(end) => Err(end),
            };
            returned = match sent {
                Ok(returned) => returned.max(before(called, MOST_CATCH_UP)),
                Err(end) => return Ok(end),
            };
            consume_budget().await;
        }
    }

    /// Sends what is due, and says when the call returned: at `due` if nothing held
    /// it up. Held up beyond the end of the run it does not return.
    async fn send_all<W: AsyncWrite + Unpin>(
        &mut self,
        writer: &mut W,
        window: Option<&Window>,
        due: Timestamp,
    ) -> Result<Timestamp, SendEnd> {
        let mut returned = due;
        while self.backlog() > 0 {
            let mut room = self.backlog();
            if let Some(window) = window {
                let free = tokio::select! {
                    biased;
                    free = window.room(self.outgoing.written()) => free,
                    () = &mut self.over => return Err(SendEnd::Deadline),
                };
                let free = free.ok_or(SendEnd::Closed(io::ErrorKind::ConnectionAborted))?;
                room = room.min(free.bytes);
                returned = returned.max(free.blocked_until.unwrap_or(due));
            }
            let blocked = tokio::select! {
                biased;
                blocked = noting_waits(self.outgoing.write(writer, room)) => blocked,
                () = &mut self.over => return Err(SendEnd::Deadline),
            };
            if blocked.map_err(|error| SendEnd::Closed(error.kind()))? {
                returned = returned.max(self.plan.clock.now());
            }
        }
        Ok(returned)
    }

    /// When the send that `returned` counts as returned: in a closed loop when all of it has arrived.
    async fn delivered(
        &mut self,
        window: Option<&Window>,
        returned: Timestamp,
    ) -> Result<Timestamp, SendEnd> {
        let Some(window) = window.filter(|_| self.generator.awaits_delivery()) else {
            return Ok(returned);
        };
        let arrived = tokio::select! {
            biased;
            arrived = window.arrived(self.outgoing.written()) => arrived,
            () = &mut self.over => return Err(SendEnd::Deadline),
        };
        let arrived = arrived.ok_or(SendEnd::Closed(io::ErrorKind::ConnectionAborted))?;
        Ok(returned.max(arrived))
    }

    /// The send after the one that returned at `now`.
    fn next(&mut self, now: Timestamp) -> Next {
        match self.generator.next_send(now) {
            Some(send) if send.at < self.plan.until => Next::Due(send),
            Some(_) => Next::AfterTheEnd,
            None => Next::Ended,
        }
    }

    fn take_up(&mut self, send: Send, now: Timestamp) -> Result<(), LogFull> {
        self.sink.record(send.at, send.size)?;
        // It grows, so there is no value that it refuses.
        let _ = self.lateness.record(now.since(send.at).get());
        self.sends += 1;
        self.offered = self.offered.saturating_add(send.size.get());
        self.most_backlog = self.most_backlog.max(self.backlog());
        Ok(())
    }

    /// Bytes that are due and that TCP has not taken.
    fn backlog(&self) -> u64 {
        self.offered - self.outgoing.written()
    }
}

/// Two significant digits; grows with what it holds.
#[expect(clippy::expect_used, reason = "0 to 5 digits are valid")]
pub(crate) fn lateness_histogram() -> Histogram<u64> {
    Histogram::new(2).expect("two digits are valid")
}

fn before(at: Timestamp, by: Nanos) -> Timestamp {
    Timestamp::from_nanos(at.as_nanos().saturating_sub(by.get()))
}

/// Completes `write` and says whether it had to wait. Without tokio's budget: a
/// task that yields to others is not blocked by its peer.
async fn noting_waits(write: impl Future<Output = io::Result<()>>) -> io::Result<bool> {
    let mut write = std::pin::pin!(unconstrained(write));
    let mut waited = false;
    poll_fn(|context| {
        let polled = write.as_mut().poll(context);
        waited |= polled.is_pending();
        polled
    })
    .await?;
    Ok(waited)
}

#[cfg(test)]
mod tests;
