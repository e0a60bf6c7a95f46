//! The flaws of the two course-work proxies that this one grew out of, each with
//! a test that shows it gone. The numbers are those of their list.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "helpers of tests are tests"
)]

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use proxy::{Config, Database, Limits, NewUser, PasswordCost, Registration, Server};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use support::*;

#[expect(dead_code, reason = "other tests use the rest of it")]
#[path = "proxy/support.rs"]
mod support;

fn counted(bytes: &[u8]) -> Vec<u8> {
    [&[u8::try_from(bytes.len()).unwrap()], bytes].concat()
}

fn auth(operation: u8, name: &str, password: &str) -> Vec<u8> {
    [
        vec![operation],
        counted(name.as_bytes()),
        counted(password.as_bytes()),
    ]
    .concat()
}

fn ask(host: &str, port: u16, user: &str) -> Vec<u8> {
    [
        counted(host.as_bytes()),
        port.to_be_bytes().to_vec(),
        counted(user.as_bytes()),
    ]
    .concat()
}

/// What the proxy says to `bytes`, all of it.
async fn said(proxy: &Proxy, bytes: &[u8]) -> Vec<u8> {
    let mut client = proxy.connect().await;
    client.write_all(bytes).await.unwrap();
    client.shutdown().await.unwrap();
    read_to_end(&mut client).await
}

/// A tunnel in the dialect of seed 000.
async fn tunnel(proxy: &Proxy, name: &str, target: SocketAddr) -> TcpStream {
    let mut client = proxy.connect().await;
    let login = auth(1, name, PASSWORD);
    let target = ask(&target.ip().to_string(), target.port(), name);
    client.write_all(&[login, target].concat()).await.unwrap();
    assert_eq!(read_exact(&mut client, 1).await, [1]);
    client
}

fn registration() -> Registration {
    Registration {
        limits: Limits::Unlimited,
        most_users: 100,
    }
}

fn bucket(rate: u64, burst: u64) -> Limits {
    Limits::Shared(
        format!("token-bucket:rate={rate}B/s,burst={burst}B")
            .parse()
            .unwrap(),
    )
}

const INJECTIONS: [&str; 5] = [
    "x'or'1'='1",
    "\"or\"\"=\"",
    "x'union/**/select/**/'pw',1000000000--",
    "ada'--",
    "ada\"--",
];

/// S0 1: any operation but 0 and 1 was a login.
#[tokio::test]
async fn s0_1_an_unknown_operation_is_no_login() {
    let proxy = Proxy::start(Limits::Unlimited).await;
    let target = echo().await;
    for operation in 2..=255 {
        let mut bytes = auth(operation, NAME, PASSWORD);
        bytes.extend(ask("127.0.0.1", target.port(), NAME));
        bytes.extend(b"payload");
        let heard = said(&proxy, &bytes).await;
        let relayed = heard.windows(7).any(|piece| piece == b"payload");
        assert!(heard.first() != Some(&1) && !relayed, "{operation}");
    }
    assert_eq!(proxy.users.usage(NAME).unwrap().upload_bytes, 0);
}

/// S0 2, S1 2: names were pasted into statements.
#[tokio::test]
async fn s0_2_s1_2_a_name_is_no_statement() {
    let proxy = Proxy::start_with(Limits::Unlimited, |config| {
        config.registration = Some(registration());
    })
    .await;
    let port = echo().await.port();
    for name in INJECTIONS {
        for password in ["pw", "x", PASSWORD] {
            assert_eq!(said(&proxy, &auth(1, name, password)).await, [2], "{name}");
            let line = format!("127.0.0.1 {port} {name} {password}\r\n");
            assert_eq!(said(&proxy, line.as_bytes()).await, b"", "{name}");
        }
    }
    // As a name it is one like any other, where nobody has guessed before.
    let proxy = Proxy::start_with(Limits::Unlimited, |config| {
        config.registration = Some(registration());
    })
    .await;
    for name in INJECTIONS {
        assert_eq!(said(&proxy, &auth(0, name, "its own")).await, [0], "{name}");
        assert_eq!(said(&proxy, &auth(1, name, "its own")).await, [1], "{name}");
    }
    assert_eq!(proxy.users.count(), 1 + INJECTIONS.len());
    assert_eq!(said(&proxy, &auth(1, NAME, PASSWORD)).await, [1]);
}

/// S0 3, S1 3: passwords lay in the table as they are.
#[tokio::test]
async fn s0_3_s1_3_no_password_is_stored() {
    let proxy = Proxy::start(Limits::Unlimited).await;
    let name = "unmistakable";
    let user = NewUser {
        name: name.into(),
        password: b"unmistakable-password".to_vec(),
        rules: Limits::Unlimited.into(),
    };
    proxy.users.add(user).await.unwrap();
    let login = auth(1, name, "unmistakable-password");
    assert_eq!(said(&proxy, &login).await, [1]);
    // Kept: the last to let go of the database takes its log away.
    let (_users, folder) = proxy.stop().await;
    let mut seen = false;
    for file in std::fs::read_dir(folder.path()).unwrap() {
        let bytes = std::fs::read(file.unwrap().path()).unwrap();
        let holds = |text: &[u8]| bytes.windows(text.len()).any(|piece| piece == text);
        assert!(!holds(b"unmistakable-password"));
        seen |= holds(name.as_bytes());
    }
    assert!(seen, "the test looks at the right files");
}

/// S0 4: TARGET could name anybody, and spent their budget.
#[tokio::test]
async fn s0_4_nobody_spends_anothers_budget() {
    let proxy = Proxy::start(Limits::Unlimited).await;
    proxy
        .users
        .add(user("bob", Limits::Unlimited))
        .await
        .unwrap();
    let target = echo().await;
    for other in ["bob", "nobody", "", "ADA", "ada\0"] {
        let mut bytes = auth(1, NAME, PASSWORD);
        bytes.extend(ask("127.0.0.1", target.port(), other));
        bytes.extend(b"payload");
        assert_eq!(said(&proxy, &bytes).await, [1], "{other:?}");
    }
    for name in [NAME, "bob"] {
        assert_eq!(proxy.users.usage(name).unwrap().upload_bytes, 0);
    }
}

/// S0 5: a fresh database was none, and each start dropped everybody.
#[tokio::test]
async fn s0_5_a_fresh_database_works_and_a_restart_keeps_everybody() {
    let proxy = Proxy::start_with(Limits::Unlimited, |config| {
        config.registration = Some(registration());
    })
    .await;
    assert_eq!(said(&proxy, &auth(0, "new", "password")).await, [0]);
    let (_, folder) = proxy.stop().await;
    let mut config = Config::new(Database::file(folder.path().join("users.db")));
    config.listen = vec!["127.0.0.1:0".parse().unwrap()];
    config.password_cost = PasswordCost::LEAST;
    let server = Server::bind(config).await.unwrap();
    let address = server.addrs()[0];
    let running = tokio::spawn(server.run(std::future::pending()));
    let mut client = TcpStream::connect(address).await.unwrap();
    client.write_all(&auth(1, "new", "password")).await.unwrap();
    assert_eq!(read_exact(&mut client, 1).await, [1]);
    running.abort();
}

/// S0 6 and 11: nothing was relayed, or 95 kB/s: a database stood in the way.
#[tokio::test]
async fn s0_6_and_11_bytes_are_relayed_and_fast() {
    let proxy = Proxy::start(bucket(1_000_000_000, 10_000_000)).await;
    let mut client = tunnel(&proxy, NAME, flood().await).await;
    // Ten minutes as it was; this test gives it one.
    assert_eq!(read_exact(&mut client, 60_000_000).await.len(), 60_000_000);
}

/// S0 7: names of digits were numbers.
#[tokio::test]
async fn s0_7_names_of_digits_are_names() {
    let proxy = Proxy::start_with(Limits::Unlimited, |config| {
        config.registration = Some(registration());
    })
    .await;
    for name in ["123", "0123", "1e3", "1000", " 1".trim(), "1.0"] {
        assert_eq!(said(&proxy, &auth(0, name, name)).await, [0], "{name}");
    }
    assert_eq!(said(&proxy, &auth(1, "0123", "123")).await, [10]);
    assert_eq!(said(&proxy, &auth(1, "00123", "123")).await, [2]);
    assert_eq!(said(&proxy, &auth(1, "123", "123")).await, [1]);
}

/// S0 8 and 9: credit came twice at a tick, and once for each connection.
#[tokio::test]
async fn s0_8_and_9_connections_share_one_budget_exactly() {
    let (rate, burst) = (50_000, 5_000);
    let proxy = Proxy::start(bucket(rate, burst)).await;
    let target = flood().await;
    let begin = Instant::now();
    let mut clients = Vec::new();
    for _ in 0..16 {
        clients.push(tunnel(&proxy, NAME, target).await);
    }
    let deadline = tokio::time::Instant::now() + Duration::from_secs(2);
    let mut reading = tokio::task::JoinSet::new();
    for mut client in clients {
        reading.spawn(async move {
            let (mut total, mut buffer) = (0, [0; 4096]);
            while let Ok(Ok(read @ 1..)) =
                tokio::time::timeout_at(deadline, client.read(&mut buffer)).await
            {
                total += read as u64;
            }
            total
        });
    }
    let total: u64 = reading.join_all().await.iter().sum();
    let most = burst as f64 + rate as f64 * begin.elapsed().as_secs_f64();
    assert!(total as f64 <= most, "{total} of {most}");
    assert!(total >= rate, "{total}");
}

/// S0 10: below 2,048 B/s nothing passed and a core was busy.
#[tokio::test]
async fn s0_10_a_rate_below_the_chunk_works() {
    for rate in [1, 10, 1_000] {
        let proxy = Proxy::start(bucket(rate, 1)).await;
        let begin = Instant::now();
        let mut client = tunnel(&proxy, NAME, flood().await).await;
        let bytes = usize::try_from(rate).unwrap().max(2);
        read_exact(&mut client, bytes).await;
        let least = (bytes as f64 - 1.0) / rate as f64;
        assert!(begin.elapsed().as_secs_f64() >= least, "{rate}");
    }
}

/// S0 12: lengths counted characters, hosts were short and never IPv6, plain
/// HTTP was none, and "200" came before the target had answered.
#[tokio::test]
async fn s0_12_names_hosts_and_answers_are_what_they_are() {
    let proxy = Proxy::start_with(Limits::Unlimited, |config| {
        config.registration = Some(registration());
        config.allow_egress.push("::1/128".parse().unwrap());
    })
    .await;
    for name in ["例え", "é", &"n".repeat(255)] {
        assert_eq!(
            said(&proxy, &auth(0, name, "pässword")).await,
            [0],
            "{name}"
        );
        assert_eq!(
            said(&proxy, &auth(1, name, "pässword")).await,
            [1],
            "{name}"
        );
    }
    let listener = tokio::net::TcpListener::bind("[::1]:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let _ = client.write_all(b"six").await;
        }
    });
    let six = [auth(1, NAME, PASSWORD), ask("::1", port, NAME)].concat();
    assert_eq!(said(&proxy, &six).await, b"\x01six");
    let long = format!("{}.invalid", "a".repeat(60));
    for (host, status) in [
        (format!("127.0.0.1:{}", closed_port().await), "502"),
        (format!("{long}:80"), "502"),
        ("[::1]:1".to_owned(), "502"),
    ] {
        for start in [format!("CONNECT {host}"), format!("GET http://{host}/")] {
            let request = format!(
                "{start} HTTP/1.1\r\nHost: {host}\r\n\
                 Proxy-Authorization: Basic YWRhOnNlY3JldA==\r\n\r\n"
            );
            let answer = String::from_utf8(said(&proxy, request.as_bytes()).await).unwrap();
            let expected = format!("HTTP/1.1 {status} ");
            assert!(answer.starts_with(&expected), "{start}: {answer}");
        }
    }
}

/// S1 1: one limited download held up everybody, handshakes for minutes.
#[tokio::test]
async fn s1_1_a_limited_user_holds_up_nobody() {
    let proxy = Proxy::start(bucket(3_000, 1_500)).await;
    let free = user("bob", Limits::Unlimited);
    proxy.users.add(free).await.unwrap();
    let (flood, echo) = (flood().await, echo().await);
    let mut limited = proxy.line(flood).await;
    read_exact(&mut limited, 1_500).await;
    let drain = tokio::spawn(async move {
        let mut buffer = [0; 4096];
        while let Ok(1..) = limited.read(&mut buffer).await {}
    });
    for _ in 0..20 {
        let mut other = proxy.line_as("bob", PASSWORD, echo).await;
        other.write_all(b"hello").await.unwrap();
        assert_eq!(read_exact(&mut other, 5).await, b"hello");
    }
    assert!(!drain.is_finished());
}

/// S1 4: the end of the target did not reach the client.
#[tokio::test]
async fn s1_4_a_targets_end_is_passed_on() {
    let proxy = Proxy::start(bucket(100_000, 1_500)).await;
    let target = target(|mut client| async move {
        let _ = client.write_all(b"all there is").await;
    })
    .await;
    let mut client = proxy.line(target).await;
    assert_eq!(read_to_end(&mut client).await, b"all there is");
}

/// S1 5: uploads were unlimited, credit grew to 100 times the rate and vanished
/// after that, and a byte cost as much as a kilobyte.
#[tokio::test]
async fn s1_5_both_directions_pay_what_they_move() {
    let (rate, burst) = (10_000_u64, 2_000_u64);
    let proxy = Proxy::start(bucket(rate, burst)).await;
    // Up: the target hears no faster than the rate.
    let (heard, mut hears) = tokio::sync::mpsc::unbounded_channel();
    let target_ = target(move |mut client| {
        let heard = heard.clone();
        async move {
            let mut buffer = [0; 4096];
            while let Ok(read @ 1..) = client.read(&mut buffer).await {
                let _ = heard.send(read);
            }
        }
    })
    .await;
    let begin = Instant::now();
    let mut client = proxy.line(target_).await;
    client.write_all(&[1; 8_000]).await.unwrap();
    let mut total = 0;
    while total < 8_000 {
        total += in_time(hears.recv()).await.unwrap();
    }
    let least = (8_000 - burst) as f64 / rate as f64;
    assert!(begin.elapsed().as_secs_f64() >= least);
    // After idling there is one burst, not 100 seconds' worth.
    tokio::time::sleep(Duration::from_millis(800)).await;
    let begin = Instant::now();
    let mut down = proxy.line(flood().await).await;
    read_exact(&mut down, 6_000).await;
    let least = (6_000 - burst) as f64 / rate as f64;
    assert!(begin.elapsed().as_secs_f64() >= least);
    drop(down);
    // A byte costs a byte: two bursts' worth of them would not pass otherwise.
    let slow = user("bob", bucket(1, 400));
    proxy.users.add(slow).await.unwrap();
    let mut echoed = proxy.line_as("bob", PASSWORD, echo().await).await;
    for _ in 0..150 {
        echoed.write_all(b"x").await.unwrap();
        assert_eq!(read_exact(&mut echoed, 1).await, b"x");
    }
}

/// S1 6: a rate was read once and never again.
#[tokio::test]
async fn s1_6_a_changed_rate_reaches_open_connections() {
    let proxy = Proxy::start(bucket(1, 1)).await;
    let mut client = proxy.line(flood().await).await;
    read_exact(&mut client, 1).await;
    let faster = bucket(10_000_000, 10_000);
    proxy.users.set_limits(NAME, faster).await.unwrap();
    // 11 days at the old rate.
    assert_eq!(read_exact(&mut client, 1_000_000).await.len(), 1_000_000);
}

/// S1 7: spaces broke the line, the handshake had no end, and half-closing
/// closed all.
#[tokio::test]
async fn s1_7_the_handshake_is_bounded_and_ends_are_halves() {
    let proxy = Proxy::start_with(Limits::Unlimited, |config| {
        config.timeouts.handshake = Duration::from_millis(200);
    })
    .await;
    let mut spaced = user("bob", Limits::Unlimited);
    spaced.password = b"a pass word".to_vec();
    proxy.users.add(spaced).await.unwrap();
    let answers_at_the_end = target(|mut client| async move {
        let mut heard = Vec::new();
        let _ = client.read_to_end(&mut heard).await;
        let _ = client.write_all(&heard).await;
    })
    .await;
    let mut client = proxy
        .line_as("bob", "a pass word", answers_at_the_end)
        .await;
    client.write_all(b"question").await.unwrap();
    client.shutdown().await.unwrap();
    assert_eq!(read_to_end(&mut client).await, b"question");
    let mut silent = proxy.connect().await;
    assert_eq!(read_to_end(&mut silent).await, b"");
    let mut endless = proxy.connect().await;
    endless.write_all(&[b'a'; 2_000]).await.unwrap();
    assert_eq!(read_to_end(&mut endless).await, b"");
}
