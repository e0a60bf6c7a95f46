//! Runs the senders and receivers of many flows on one clock.

use std::sync::Arc;

use flow::{ByteSize, Nanos, Timestamp};
use hdrhistogram::Histogram;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use traffic::Generator;

use crate::{
    Clock, Ends, Log, Sink, Wait,
    datagrams::{DatagramError, DatagramPlan},
    dial::Stream,
    payload::Payload,
    receiver::{ReadSize, ReceiveEnd, ReceiveError, ReceivePlan, ReceiveReport, receive},
    sender::{SendEnd, SendError, SendMode, SendPlan, SendReport, send},
    task::Task,
    window::Window,
};

/// Which way the driven bytes go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Direction {
    /// From the target to the client.
    Down,
    /// From the client to the target.
    Up,
}

/// What a sender does when it is not let through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Behaviour {
    /// Sends on schedule; what TCP does not take waits in a queue of its own.
    OpenLoop {
        /// Bytes in that queue that end the run with an error.
        backlog_limit: ByteSize,
    },
    /// Waits while `buffer` bytes are on their way to the receiver.
    Blocking {
        /// As the model's buffer between sender and limiter.
        buffer: ByteSize,
    },
}

/// One flow: a connection, what is sent over it and where the events go.
pub struct FlowPlan<S = Log, R = Log> {
    /// The connection.
    pub ends: Ends,
    /// Who sends.
    pub direction: Direction,
    /// What is sent when.
    pub generator: Box<dyn Generator + Send>,
    /// Under back-pressure.
    pub behaviour: Behaviour,
    /// When, in the run, its sender starts.
    pub start: Timestamp,
    /// How its sender waits.
    pub wait: Wait,
    /// Gets every send.
    pub sends: S,
    /// Gets every receipt.
    pub receipts: R,
}

/// What all flows of a run share.
#[derive(Clone, Debug)]
pub struct RunPlan {
    /// Zero is the start of the run; best a little ahead, [`Clock::starting_in`].
    pub clock: Clock,
    /// Nothing is due, and nothing counts, from here on.
    pub duration: Nanos,
    /// How much longer receivers wait for what is under way; they end earlier if it
    /// has all arrived.
    pub drain: Nanos,
    /// Ends all flows early, without an error: what was measured so far is whole.
    pub stop: CancellationToken,
}

/// What happened on one flow.
#[derive(Clone, Debug)]
pub struct FlowLog<S = Log, R = Log> {
    /// The flow's name, [`Ends::flow`].
    pub flow: u64,
    /// Every send: when it was due, its size.
    pub sends: S,
    /// Every receipt: when it was read, its bytes.
    pub receipts: R,
    /// Datagrams: which send each receipt is, the first is 1. `None` of a stream.
    pub arrived: Option<Vec<u32>>,
    /// Nanoseconds that sends were taken up after they were due.
    pub lateness: Histogram<u64>,
    /// Bytes that were due.
    pub offered: ByteSize,
    /// Bytes that TCP took from the sender.
    pub sent: ByteSize,
    /// Bytes that arrived, all of them verified.
    pub received: ByteSize,
    /// Most bytes that were due and not taken by TCP.
    pub most_backlog: ByteSize,
    /// Why the sender ended.
    pub send_end: SendEnd,
    /// Why the receiver ended.
    pub receive_end: ReceiveEnd,
}

/// A flow that cannot be measured.
#[derive(Debug, thiserror::Error)]
pub enum FlowError {
    /// The sender's side.
    #[error("the sender failed")]
    Send(#[from] SendError),
    /// Datagrams.
    #[error("datagrams")]
    Datagrams(#[from] DatagramError),
    /// The receiver's side.
    #[error("the receiver failed")]
    Receive(#[from] ReceiveError),
    /// A fault of this program.
    #[error("the task of the flow ended without a result")]
    Task(#[from] tokio::task::JoinError),
}

/// A run that cannot be measured.
#[derive(Debug, thiserror::Error)]
#[error("flow {index} of the run")]
pub struct RunError {
    /// Place of the flow among the plans.
    pub index: usize,
    /// What went wrong.
    pub source: FlowError,
}

impl FlowPlan {
    /// A flow from the start of the run, with every send and receipt in a log.
    #[must_use]
    pub fn new(
        ends: Ends,
        direction: Direction,
        generator: impl Generator + Send + 'static,
        behaviour: Behaviour,
    ) -> Self {
        Self {
            ends,
            direction,
            generator: Box::new(generator),
            behaviour,
            start: Timestamp::ZERO,
            wait: Wait::default(),
            sends: Log::new(),
            receipts: Log::of_receipts(),
        }
    }
}

impl<S, R> FlowPlan<S, R> {
    /// The same flow with other places for its sends and receipts, such as closures.
    #[must_use]
    pub fn into_sinks<T, U>(self, sends: T, receipts: U) -> FlowPlan<T, U> {
        FlowPlan {
            ends: self.ends,
            direction: self.direction,
            generator: self.generator,
            behaviour: self.behaviour,
            start: self.start,
            wait: self.wait,
            sends,
            receipts,
        }
    }

    /// The same flow with a sender that starts at `start`.
    #[must_use]
    pub fn starting_at(mut self, start: Timestamp) -> Self {
        self.start = start;
        self
    }
}

impl RunPlan {
    /// A run of `duration` without a drain, and never stopped.
    #[must_use]
    pub fn new(clock: Clock, duration: Nanos) -> Self {
        Self {
            clock,
            duration,
            drain: Nanos::ZERO,
            stop: CancellationToken::new(),
        }
    }
}

impl<S: Sink + 'static, R: Sink + 'static> FlowPlan<S, R> {
    /// Runs this flow alone.
    ///
    /// # Errors
    /// See [`FlowError`]. A proxy that ends the connection is no error but a result.
    pub async fn drive(self, run: &RunPlan) -> Result<FlowLog<S, R>, FlowError> {
        let flow = self.ends.flow;
        let payload = Payload::new(flow);
        let (from, to) = match self.direction {
            Direction::Down => (self.ends.server.into(), self.ends.client),
            Direction::Up => (self.ends.client, self.ends.server.into()),
        };
        let (mode, window) = match self.behaviour {
            Behaviour::OpenLoop { backlog_limit } => (SendMode::OpenLoop { backlog_limit }, None),
            Behaviour::Blocking { buffer } => {
                let window = Some(Arc::new(Window::new(buffer)));
                (
                    SendMode::Blocking {
                        window: window.clone(),
                    },
                    window,
                )
            }
        };
        let until = Timestamp::ZERO + run.duration;
        let sending = SendPlan {
            clock: run.clock,
            start: self.start,
            until,
            payload,
            mode,
            wait: self.wait,
            stop: run.stop.clone(),
        };
        let receiving = ReceivePlan {
            clock: run.clock,
            until: until + run.drain,
            payload: Some(payload),
            window,
            read_size: ReadSize::Adaptive,
            stop: run.stop.clone(),
        };
        let sender = Task::spawn(run_sender(from, self.generator, sending, self.sends));
        let receiver = Task::spawn(run_receiver(to, receiving, self.receipts));
        // The first to fail ends the other, and each keeps its socket until both are done.
        let ((_from, sent, sends), (_to, received, receipts)) =
            tokio::try_join!(flat(sender), flat(receiver))?;
        Ok(FlowLog {
            flow,
            sends,
            receipts,
            arrived: None,
            lateness: sent.lateness,
            offered: sent.offered,
            sent: sent.sent,
            received: received.received,
            most_backlog: sent.most_backlog,
            send_end: sent.end,
            receive_end: received.end,
        })
    }
}

/// Runs all flows of a run at once; their logs, in the order of the plans.
///
/// # Errors
/// The first flow that cannot be measured; the others are ended.
pub async fn drive_all<S: Sink + 'static, R: Sink + 'static>(
    plans: Vec<FlowPlan<S, R>>,
    run: &RunPlan,
) -> Result<Vec<FlowLog<S, R>>, RunError> {
    let flow = |plan: FlowPlan<S, R>| {
        let run = run.clone();
        async move { plan.drive(&run).await }
    };
    all(plans.into_iter().map(flow)).await
}

/// A stream or datagrams.
pub enum AnyPlan {
    /// A stream.
    Stream(FlowPlan),
    /// Datagrams.
    Datagrams(DatagramPlan),
}

/// As [`drive_all`], streams and datagrams together.
///
/// # Errors
/// As [`drive_all`].
pub async fn drive_any(plans: Vec<AnyPlan>, run: &RunPlan) -> Result<Vec<FlowLog>, RunError> {
    let flow = |plan: AnyPlan| {
        let run = run.clone();
        async move {
            match plan {
                AnyPlan::Stream(plan) => plan.drive(&run).await,
                AnyPlan::Datagrams(plan) => Ok(plan.drive(&run).await?),
            }
        }
    };
    all(plans.into_iter().map(flow)).await
}

async fn all<S, R, F>(
    running: impl ExactSizeIterator<Item = F>,
) -> Result<Vec<FlowLog<S, R>>, RunError>
where
    S: Send + 'static,
    R: Send + 'static,
    F: Future<Output = Result<FlowLog<S, R>, FlowError>> + Send + 'static,
{
    let mut flows = JoinSet::new();
    let mut logs: Vec<_> = (0..running.len()).map(|_| None).collect();
    for (index, flow) in running.enumerate() {
        flows.spawn(async move { (index, flow.await) });
    }
    while let Some(joined) = flows.join_next().await {
        let (index, result) = match joined {
            Ok((index, result)) => (index, result),
            Err(error) => (0, Err(error.into())),
        };
        logs[index] = Some(result.map_err(|source| RunError { index, source })?);
    }
    Ok(logs.into_iter().flatten().collect())
}

async fn run_sender<S: Sink>(
    mut stream: Stream,
    mut generator: Box<dyn Generator + Send>,
    plan: SendPlan,
    mut sink: S,
) -> Result<(Stream, SendReport, S), FlowError> {
    let report = send(&mut stream, generator.as_mut(), &plan, &mut sink).await?;
    Ok((stream, report, sink))
}

async fn run_receiver<R: Sink>(
    mut stream: Stream,
    plan: ReceivePlan,
    mut sink: R,
) -> Result<(Stream, ReceiveReport, R), FlowError> {
    let report = receive(&mut stream, &plan, &mut sink).await?;
    Ok((stream, report, sink))
}

async fn flat<T>(task: Task<Result<T, FlowError>>) -> Result<T, FlowError> {
    task.join().await?
}
