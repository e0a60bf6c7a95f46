//! Datagrams of one flow, each with a number: what arrives is told from what does not.
//!
//! ```text
//! flow, u32 big-endian | number, u32 big-endian | zeroes up to the size that was due
//! ```

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use flow::{ByteSize, Timestamp};
use hdrhistogram::Histogram;
use tokio::net::UdpSocket;
use traffic::Generator;

use crate::dial::Via;
use crate::drive::{Direction, FlowLog, RunPlan};
use crate::log::{Log, LogFull, Sink};
use crate::pace::{Pacer, Wait};
use crate::receiver::ReceiveEnd;
use crate::sender::SendEnd;
use crate::task::Task;

/// The smallest datagram that can be told from others.
pub const LEAST: usize = 8;
/// The largest that a datagram of IPv4 holds.
const MOST: usize = 65_507;
/// How long the first datagram is waited for, and after how long it is sent again.
const PATIENCE: Duration = Duration::from_secs(5);
const AGAIN: Duration = Duration::from_millis(100);

/// The client's end.
#[derive(Debug)]
enum Client {
    Plain(UdpSocket),
    #[cfg(feature = "shadowsocks")]
    Shadowsocks(crate::dial::shadowsocks::Datagrams),
}

/// Both ends of a flow of datagrams, with whatever lies between.
#[derive(Debug)]
pub struct DatagramEnds {
    flow: u32,
    client: Client,
    server: UdpSocket,
    /// Where the server hears.
    target: SocketAddr,
    /// Where the server heard the client from.
    peer: SocketAddr,
}

/// One flow: its ends, and what is sent over it when.
pub struct DatagramPlan {
    /// The ends.
    pub ends: DatagramEnds,
    /// Who sends.
    pub direction: Direction,
    /// What is sent when.
    pub generator: Box<dyn Generator + Send>,
    /// When, in the run, its sender starts.
    pub start: Timestamp,
    /// How its sender waits.
    pub wait: Wait,
}

/// Datagrams that cannot be sent or told.
#[derive(Debug, thiserror::Error)]
pub enum DatagramError {
    /// The way does not carry datagrams, or not in this build.
    #[error("datagrams do not go by way of {via}")]
    Way {
        /// Without a password.
        via: String,
    },
    /// Nothing has arrived.
    #[error("no datagram arrived within {:.1} s", PATIENCE.as_secs_f64())]
    NothingArrived,
    /// Its number does not fit.
    #[error("a datagram of {size} cannot be sent: {LEAST} to {MOST} bytes can")]
    Size {
        /// What was due.
        size: ByteSize,
    },
    /// The system said no.
    #[error("cannot {what}")]
    Io {
        /// What was tried.
        what: &'static str,
        /// Why it failed.
        source: io::Error,
    },
    /// The log.
    #[error("cannot log a datagram")]
    Log(#[from] LogFull),
    /// A fault of this program.
    #[error("the task of the flow ended without a result")]
    Task(#[from] tokio::task::JoinError),
}

impl DatagramEnds {
    /// Connects a client with a socket of its own at `host` by way of `via`; returns
    /// when a first datagram of [`LEAST`] bytes has arrived. Flow numbers start at 1.
    ///
    /// # Errors
    /// See [`DatagramError`].
    pub async fn open(via: &Via, host: std::net::IpAddr, flow: u32) -> Result<Self, DatagramError> {
        let server = UdpSocket::bind((host, 0)).await;
        let server = server.map_err(during("listen for datagrams"))?;
        let target = server
            .local_addr()
            .map_err(during("listen for datagrams"))?;
        let client = Client::connect(via, target).await?;
        let opened = async {
            let mut bytes = [0; LEAST];
            loop {
                client.send(target, &header(flow, 0)).await?;
                let heard = tokio::time::timeout(AGAIN, server.recv_from(&mut bytes)).await;
                if let Ok(heard) = heard {
                    let heard = heard.map_err(during("receive a datagram"))?;
                    break Ok::<_, DatagramError>(heard.1);
                }
            }
        };
        let peer = tokio::time::timeout(PATIENCE, opened).await;
        Ok(Self {
            flow,
            client,
            server,
            target,
            peer: peer.map_err(|_| DatagramError::NothingArrived)??,
        })
    }

    async fn send(&self, direction: Direction, data: &[u8]) -> Result<(), DatagramError> {
        match direction {
            Direction::Up => self.client.send(self.target, data).await,
            Direction::Down => {
                let sent = self.server.send_to(data, self.peer).await;
                sent.map(drop).map_err(during("send a datagram"))
            }
        }
    }

    async fn receive(&self, direction: Direction, room: &mut [u8]) -> io::Result<usize> {
        match direction {
            Direction::Up => self.server.recv(room).await,
            Direction::Down => self.client.receive(room).await,
        }
    }
}

impl Client {
    async fn connect(via: &Via, target: SocketAddr) -> Result<Self, DatagramError> {
        match via {
            Via::Direct => {
                let socket = UdpSocket::bind((target.ip(), 0)).await;
                socket.map(Self::Plain).map_err(during("make a socket"))
            }
            #[cfg(feature = "shadowsocks")]
            Via::Shadowsocks {
                proxy: crate::Endpoint::Address(proxy),
                credentials,
            } => crate::dial::shadowsocks::Datagrams::connect(*proxy, credentials)
                .await
                .map(Self::Shadowsocks)
                .map_err(during("reach the server")),
            _ => Err(DatagramError::Way {
                via: via.to_string(),
            }),
        }
    }

    async fn send(&self, target: SocketAddr, data: &[u8]) -> Result<(), DatagramError> {
        let sent = match self {
            Self::Plain(socket) => socket.send_to(data, target).await.map(drop),
            #[cfg(feature = "shadowsocks")]
            Self::Shadowsocks(socket) => socket.send(target, data).await,
        };
        sent.map_err(during("send a datagram"))
    }

    async fn receive(&self, room: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(socket) => socket.recv(room).await,
            #[cfg(feature = "shadowsocks")]
            Self::Shadowsocks(socket) => socket.receive(room).await,
        }
    }
}

impl DatagramPlan {
    /// Runs this flow alone. The numbers of what arrived are in [`FlowLog::arrived`].
    ///
    /// # Errors
    /// See [`DatagramError`].
    pub async fn drive(self, run: &RunPlan) -> Result<FlowLog, DatagramError> {
        let Self {
            ends,
            direction,
            generator,
            start,
            wait,
        } = self;
        let flow = ends.flow;
        let ends = Arc::new(ends);
        let sender = Sender {
            ends: Arc::clone(&ends),
            direction,
            run: run.clone(),
            pacer: Pacer::new(run.clock, wait).map_err(during("wait for the next datagram"))?,
            sent: Sent::new(),
        };
        let sender = Task::spawn(sender.run(generator, start));
        let receiver = Task::spawn(receive(ends, direction, run.clone()));
        let (sent, received) = tokio::try_join!(async { sender.join().await? }, async {
            receiver.join().await?
        },)?;
        Ok(FlowLog {
            flow: flow.into(),
            offered: sent.sends.total(),
            sent: sent.sends.total(),
            sends: sent.sends,
            lateness: sent.lateness,
            received: received.receipts.total(),
            receipts: received.receipts,
            arrived: Some(received.numbers),
            most_backlog: ByteSize::ZERO,
            send_end: sent.end,
            receive_end: ReceiveEnd::Deadline,
        })
    }
}

struct Sender {
    ends: Arc<DatagramEnds>,
    direction: Direction,
    run: RunPlan,
    pacer: Pacer,
    sent: Sent,
}

struct Sent {
    sends: Log,
    lateness: Histogram<u64>,
    end: SendEnd,
}

impl Sent {
    fn new() -> Self {
        Self {
            sends: Log::new(),
            lateness: crate::sender::lateness_histogram(),
            end: SendEnd::Deadline,
        }
    }
}

impl Sender {
    async fn run(
        mut self,
        mut generator: Box<dyn Generator + Send>,
        start: Timestamp,
    ) -> Result<Sent, DatagramError> {
        let stop = self.run.stop.clone();
        tokio::select! {
            biased;
            () = stop.cancelled() => {}
            end = self.send_all(generator.as_mut(), start) => self.sent.end = end?,
        }
        Ok(self.sent)
    }

    async fn send_all(
        &mut self,
        generator: &mut (dyn Generator + Send),
        start: Timestamp,
    ) -> Result<SendEnd, DatagramError> {
        let timer = during("wait for the next datagram");
        self.pacer.until_start().await.map_err(&timer)?;
        let until = Timestamp::ZERO + self.run.duration;
        let mut data = vec![0; MOST];
        let mut before = start;
        for number in 1.. {
            let Some(send) = generator.next_send(before) else {
                return Ok(SendEnd::Finished);
            };
            if send.at >= until {
                break;
            }
            self.pacer.until(send.at).await.map_err(&timer)?;
            let late = self.run.clock.now().since(send.at);
            // It grows, so there is no value that it refuses.
            let _ = self.sent.lateness.record(late.get());
            let len = usize::try_from(send.size.get()).ok();
            let fits = len.filter(|len| (LEAST..=MOST).contains(len));
            let len = fits.ok_or(DatagramError::Size { size: send.size })?;
            data[..LEAST].copy_from_slice(&header(self.ends.flow, number));
            self.sent.sends.record(send.at, send.size)?;
            self.ends.send(self.direction, &data[..len]).await?;
            before = send.at;
        }
        Ok(SendEnd::Deadline)
    }
}

struct Received {
    receipts: Log,
    /// Of each receipt, from 1.
    numbers: Vec<u32>,
}

async fn receive(
    ends: Arc<DatagramEnds>,
    direction: Direction,
    run: RunPlan,
) -> Result<Received, DatagramError> {
    let mut received = Received {
        receipts: Log::new(),
        numbers: Vec::new(),
    };
    let mut room = vec![0; 1 << 16];
    let over = run
        .clock
        .sleep_until(Timestamp::ZERO + run.duration + run.drain);
    tokio::pin!(over);
    loop {
        let len = tokio::select! {
            biased;
            () = &mut over => return Ok(received),
            () = run.stop.cancelled() => return Ok(received),
            len = ends.receive(direction, &mut room) => len,
        };
        let len = len.map_err(during("receive a datagram"))?;
        // Strangers, and what opened the flow.
        let number = room.get(..len).and_then(|data| number_of(ends.flow, data));
        let Some(number) = number.filter(|&number| number > 0) else {
            continue;
        };
        let size = ByteSize::new(len as u64);
        received.receipts.record(run.clock.now(), size)?;
        received.numbers.push(number);
    }
}

fn header(flow: u32, number: u32) -> [u8; LEAST] {
    (u64::from(flow) << 32 | u64::from(number)).to_be_bytes()
}

/// The number of a datagram of `flow`.
fn number_of(flow: u32, data: &[u8]) -> Option<u32> {
    let (head, _) = data.split_first_chunk::<4>()?;
    let number = data.get(4..)?.first_chunk::<4>()?;
    (u32::from_be_bytes(*head) == flow).then(|| u32::from_be_bytes(*number))
}

fn during(what: &'static str) -> impl Fn(io::Error) -> DatagramError {
    move |source| DatagramError::Io { what, source }
}

#[cfg(test)]
mod tests {
    use flow::Nanos;
    use traffic::{Pattern, Purpose, StreamSeed};

    use super::*;
    use crate::Clock;

    #[tokio::test]
    async fn every_datagram_is_told_both_ways() {
        for direction in [Direction::Up, Direction::Down] {
            let ends = DatagramEnds::open(&Via::Direct, [127, 0, 0, 1].into(), 7);
            let pattern: Pattern = "constant:rate=1MB/s,size=1000B".parse().unwrap();
            let seed = StreamSeed::derive(1, 0, 0, 0, Purpose::Traffic);
            let plan = DatagramPlan {
                ends: ends.await.unwrap(),
                direction,
                generator: Box::new(pattern.generator(seed).unwrap()),
                start: Timestamp::ZERO,
                wait: Wait::Timer,
            };
            let mut run = RunPlan::new(
                Clock::starting_in(Duration::from_millis(5)),
                Nanos::from_millis(50),
            );
            run.drain = Nanos::from_millis(50);
            let log = plan.drive(&run).await.unwrap();
            assert_eq!(log.sends.len(), 50, "{direction:?}");
            assert_eq!(log.arrived, Some((1..=50).collect()), "{direction:?}");
            assert_eq!(log.receipts.total(), log.sends.total());
        }
    }

    #[tokio::test]
    async fn a_way_without_datagrams_is_refused() {
        let via = "socks5://127.0.0.1:1".parse().unwrap();
        let opened = DatagramEnds::open(&via, [127, 0, 0, 1].into(), 1).await;
        assert!(matches!(opened, Err(DatagramError::Way { .. })));
    }

    #[test]
    fn a_strangers_datagram_has_no_number() {
        assert_eq!(number_of(1, &header(1, 9)), Some(9));
        assert_eq!(number_of(2, &header(1, 9)), None);
        assert_eq!(number_of(1, &header(1, 9)[..7]), None);
    }
}
