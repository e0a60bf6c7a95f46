//! Whole flows over loopback: target, connection, sender, receiver.
#![expect(
    clippy::unwrap_used,
    reason = "the helpers of tests may fail as the tests do"
)]

use std::{io, net::SocketAddr, time::Duration};

use bench_clients::{
    Clock, Direction, Ends, FlowPlan, Identify, RunPlan, Target, Via,
    dial::SocketOptions,
    drive::{Behaviour, FlowError, drive_all},
    receiver::{ReceiveEnd, ReceiveError},
    sender::SendEnd,
    target::OpenError,
};
use flow::{ByteSize, Nanos, Timestamp};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};
use tokio_util::sync::CancellationToken;
use traffic::{Generator, Send};

struct Every {
    gap: Nanos,
    size: u64,
    left: u64,
}

impl Generator for Every {
    fn next_send(&mut self, now: Timestamp) -> Option<Send> {
        self.left = self.left.checked_sub(1)?;
        Some(Send {
            at: now + self.gap,
            size: ByteSize::new(self.size),
        })
    }
}

const ANY_PORT: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 0);

async fn target() -> Target {
    Target::bind(ANY_PORT, SocketOptions::default())
        .await
        .unwrap()
}

fn run_of(duration: Nanos) -> RunPlan {
    RunPlan {
        clock: Clock::starting_in(Duration::from_millis(5)),
        duration,
        drain: Nanos::from_secs(20),
        stop: CancellationToken::new(),
    }
}

const OPEN_LOOP: Behaviour = Behaviour::OpenLoop {
    backlog_limit: ByteSize::new(1 << 30),
};

#[tokio::test(flavor = "multi_thread")]
async fn every_byte_of_many_flows_arrives_in_both_directions() {
    let target = target().await;
    let mut plans = Vec::new();
    for index in 0..40 {
        let identify = [Identify::OwnPort, Identify::Preamble][index % 2];
        let ends = target
            .open(&Via::Direct, identify, &SocketOptions::default())
            .await
            .unwrap();
        let direction = [Direction::Down, Direction::Up][index / 2 % 2];
        let buffer = ByteSize::new(10_000);
        let behaviour = [OPEN_LOOP, Behaviour::Blocking { buffer }][index / 4 % 2];
        let every = Every {
            gap: Nanos::from_micros(50),
            size: 100 + index as u64,
            left: 1000,
        };
        plans.push(FlowPlan::new(ends, direction, every, behaviour));
    }
    let logs = drive_all(plans, &run_of(Nanos::from_secs(30)))
        .await
        .unwrap();
    assert_eq!(logs.len(), 40);
    for (index, log) in (0..).zip(logs) {
        let expected = ByteSize::new(1000 * (100 + index));
        assert_eq!(
            (log.offered, log.sent, log.received),
            (expected, expected, expected)
        );
        assert_eq!(
            (log.sends.total(), log.receipts.total()),
            (expected, expected)
        );
        assert_eq!(log.sends.len(), 1000);
        assert_eq!(
            (log.send_end, log.receive_end),
            (SendEnd::Finished, ReceiveEnd::Eof)
        );
        assert_eq!(log.lateness.len(), 1000);
        let (first_sent, _) = log.sends.iter().next().unwrap();
        let (first_received, _) = log.receipts.iter().next().unwrap();
        assert!(first_received >= first_sent);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_ends_at_its_duration_with_what_was_measured() {
    let target = target().await;
    let ends = target
        .open(&Via::Direct, Identify::OwnPort, &SocketOptions::default())
        .await
        .unwrap();
    let every = Every {
        gap: Nanos::from_millis(1),
        size: 10,
        left: u64::MAX,
    };
    let run = run_of(Nanos::from_millis(50));
    let log = FlowPlan::new(ends, Direction::Down, every, OPEN_LOOP)
        .drive(&run)
        .await
        .unwrap();
    let schedule: Vec<_> = (1..50)
        .map(|ms| Timestamp::from_nanos(ms * 1_000_000))
        .collect();
    assert_eq!(
        log.sends.iter().map(|(at, _)| at).collect::<Vec<_>>(),
        schedule
    );
    assert_eq!(log.send_end, SendEnd::Deadline);
    assert_eq!(log.received, log.sent);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_ends_all_flows_without_an_error() {
    let target = target().await;
    let mut plans = Vec::new();
    for _ in 0..3 {
        let ends = target
            .open(&Via::Direct, Identify::OwnPort, &SocketOptions::default())
            .await
            .unwrap();
        let every = Every {
            gap: Nanos::from_millis(1),
            size: 10,
            left: u64::MAX,
        };
        plans.push(FlowPlan::new(ends, Direction::Up, every, OPEN_LOOP));
    }
    let run = run_of(Nanos::from_secs(3600));
    let stop = run.stop.clone();
    let (logs, ()) = tokio::join!(drive_all(plans, &run), async {
        tokio::time::sleep(Duration::from_millis(30)).await;
        stop.cancel();
    });
    for log in logs.unwrap() {
        assert_eq!(log.send_end, SendEnd::Deadline);
        assert!(log.received <= log.sent);
    }
}

/// A relay between client and target that does to the bytes what `tamper` says.
async fn relay(tamper: fn(&mut Vec<u8>)) -> (Via, tokio::task::JoinHandle<()>) {
    let listener = TcpListener::bind(ANY_PORT).await.unwrap();
    let via = Via::Line {
        proxy: listener.local_addr().unwrap().into(),
        credentials: bench_clients::Credentials {
            user: "u".to_owned(),
            password: "p".to_owned(),
        },
    };
    let task = tokio::spawn(async move {
        let (mut client, _) = listener.accept().await.unwrap();
        let mut line = Vec::new();
        while !line.ends_with(b"\r\n") {
            line.push(client.read_u8().await.unwrap());
        }
        let line = String::from_utf8(line).unwrap();
        let fields: Vec<&str> = line.split_whitespace().collect();
        let mut server = TcpStream::connect(format!("{}:{}", fields[0], fields[1]))
            .await
            .unwrap();
        client.write_all(b"127.0.0.1 1\r\n").await.unwrap();
        let mut bytes = vec![0; 5000];
        server.read_exact(&mut bytes).await.unwrap();
        tamper(&mut bytes);
        client.write_all(&bytes).await.unwrap();
        // The rest goes through as it is.
        let _ = tokio::io::copy(&mut server, &mut client).await;
    });
    (via, task)
}

async fn through(tamper: fn(&mut Vec<u8>)) -> Result<bench_clients::FlowLog, FlowError> {
    let target = target().await;
    let (via, _relay) = relay(tamper).await;
    let ends = target
        .open(&via, Identify::OwnPort, &SocketOptions::default())
        .await
        .unwrap();
    let every = Every {
        gap: Nanos::from_micros(10),
        size: 1000,
        left: 100,
    };
    FlowPlan::new(ends, Direction::Down, every, OPEN_LOOP)
        .drive(&run_of(Nanos::from_secs(30)))
        .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_that_damages_the_data_is_caught() {
    assert_eq!(through(|_| {}).await.unwrap().received.get(), 100_000);
    let tampers: [fn(&mut Vec<u8>); 3] = [
        |bytes| bytes[777] ^= 0x20,
        |bytes| bytes.truncate(4999),
        |bytes| bytes.extend_from_within(4000..),
    ];
    for (tamper, at) in tampers.into_iter().zip([777, 4999, 5000]) {
        let error = through(tamper).await.unwrap_err();
        let FlowError::Receive(ReceiveError::Payload(fault)) = error else {
            panic!("{error:?}");
        };
        assert!((at..at + 8).contains(&fault.offset), "{fault}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_the_proxy_ends_is_a_result() {
    let target = target().await;
    let ends = target
        .open(&Via::Direct, Identify::OwnPort, &SocketOptions::default())
        .await
        .unwrap();
    // Its client is the proxy that goes away; ours never hears from the target again.
    let Ends {
        flow,
        client,
        server,
        bound,
    } = ends;
    let (other_end, silent) = tokio::join!(
        async {
            let listener = TcpListener::bind(ANY_PORT).await.unwrap();
            let address = listener.local_addr().unwrap();
            let (stream, accepted) = tokio::join!(TcpStream::connect(address), listener.accept());
            (stream.unwrap(), accepted.unwrap().0)
        },
        async { client }
    );
    let (client, far) = other_end;
    drop(far);
    drop(silent);
    let ends = Ends {
        flow,
        client: client.into(),
        server,
        bound,
    };
    let every = Every {
        gap: Nanos::from_millis(1),
        size: 1000,
        left: u64::MAX,
    };
    let blocking = Behaviour::Blocking {
        buffer: ByteSize::new(1 << 20),
    };
    let run = run_of(Nanos::from_secs(3600));
    let log = FlowPlan::new(ends, Direction::Down, every, blocking)
        .drive(&run)
        .await
        .unwrap();
    assert_eq!((log.received.get(), log.receive_end), (0, ReceiveEnd::Eof));
    assert!(
        matches!(log.send_end, SendEnd::Closed(_)),
        "{:?}",
        log.send_end
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn strangers_at_the_target_get_nothing_and_disturb_nobody() {
    let target = target().await;
    let mut stranger = TcpStream::connect(target.address()).await.unwrap();
    stranger.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    // Closed without an answer, in order or not.
    let mut answer = Vec::new();
    if let Err(error) = stranger.read_to_end(&mut answer).await {
        assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
    }
    assert!(answer.is_empty());
    let options = SocketOptions::default();
    assert!(
        target
            .open(&Via::Direct, Identify::Preamble, &options)
            .await
            .is_ok()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_that_claims_a_connection_it_does_not_have_is_caught() {
    let target = target().await;
    let listener = TcpListener::bind(ANY_PORT).await.unwrap();
    let via: Via = format!("line://u:p@{}", listener.local_addr().unwrap())
        .parse()
        .unwrap();
    let _liar = tokio::spawn(async move {
        let (mut client, _) = listener.accept().await.unwrap();
        client.write_all(b"127.0.0.1 1\r\n").await.unwrap();
        std::future::pending::<()>().await;
    });
    let options = SocketOptions {
        timeout: Duration::from_millis(50),
        ..SocketOptions::default()
    };
    let error = target
        .open(&via, Identify::OwnPort, &options)
        .await
        .unwrap_err();
    assert!(
        matches!(error, OpenError::NothingArrived { .. }),
        "{error:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn events_can_be_taken_as_they_happen() {
    let target = target().await;
    let options = SocketOptions::default();
    let ends = target
        .open(&Via::Direct, Identify::OwnPort, &options)
        .await
        .unwrap();
    let every = Every {
        gap: Nanos::from_micros(10),
        size: 100,
        left: 1000,
    };
    let (events, taken) = std::sync::mpsc::channel();
    let received = events.clone();
    let start = Timestamp::from_nanos(1_000_000);
    let plan = FlowPlan::new(ends, Direction::Up, every, OPEN_LOOP)
        .starting_at(start)
        .into_sinks(
            move |at, bytes: ByteSize| events.send((at, bytes.get(), 0)).unwrap(),
            move |at, bytes: ByteSize| received.send((at, 0, bytes.get())).unwrap(),
        );
    let log = plan.drive(&run_of(Nanos::from_secs(30))).await.unwrap();
    assert_eq!(log.received.get(), 100_000);
    drop(log);
    let (mut offered, mut delivered) = (0, 0);
    for (at, sent, received) in taken {
        assert!(at > start);
        offered += sent;
        delivered += received;
        assert!(delivered <= offered, "received before it was due");
    }
    assert_eq!((offered, delivered), (100_000, 100_000));
}
