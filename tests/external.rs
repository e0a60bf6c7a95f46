//! The driver `external`: servers that somebody else runs. They are our own proxy here, and a
//! forwarder of a few lines, so that nothing need be installed.

#![expect(clippy::unwrap_used, reason = "what cannot be set up fails the test")]

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;

use proxy::{Config, Database, Limits, NewUser, PasswordCost};
use tokio::io::copy_bidirectional;
use tokio::net::TcpStream;
use weirgate::driver::{Stop, external};
use weirgate::progress::Progress;
use weirgate::results::Row;
use weirgate::run;
use weirgate::scenario::{Origin, Overrides, Scenario, parse};

const LOCAL: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// Bursts of four times the limit through one server.
fn text(kind: &str, server: &str) -> String {
    format!(
        r#"
duration = "1500 ms"
drivers = ["external"]
mode = "stream"
reference = {{ rate = "200 kB/s", burst = "20 kB" }}
traffic = {{ pattern = "constant", rate = "400 kB/s", size = "1000 B" }}
[[user]]
name = "ann"
[[algorithm]]
kind = "{kind}"
label = "theirs"
external = {{ {server} }}
"#
    )
}

fn read(text: &str, folder: Option<&Path>) -> Result<Scenario, String> {
    let origin = Origin {
        shown: "test.toml",
        stem: "test",
        folder,
    };
    let read = parse(text, origin, &Overrides::default());
    read.map_err(|mistakes| mistakes.to_string())
}

fn only_row(scenario: &Scenario) -> Row {
    let finished = run::run(scenario, Progress::Silent, &Stop::default()).unwrap();
    let [row] = finished.results.summary.as_slice() else {
        unreachable!("one run, one row");
    };
    assert!(
        finished.notes[0].contains("without a limiter"),
        "{:?}",
        finished.notes
    );
    row.clone()
}

/// Our proxy as somebody else's server, with the user `ann` limited as the scenario says.
fn served<T>(then: impl FnOnce(SocketAddr) -> T) -> T {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let mut config = Config::new(Database::file(folder.path().join("users.db")));
    config.listen = vec![LOCAL];
    config.allow_egress = vec!["127.0.0.0/8".parse().unwrap()];
    config.password_cost = PasswordCost::LEAST;
    let policy = "token-bucket:rate=200kB/s,burst=20kB".parse().unwrap();
    let ann = NewUser {
        name: "ann".to_owned(),
        password: b"pw".to_vec(),
        rules: Limits::down(policy).into(),
    };
    let server = runtime.block_on(async {
        let server = proxy::Server::bind(config).await.unwrap();
        server.users().add_many(vec![ann]).await.unwrap();
        server
    });
    let address = server.addrs()[0];
    runtime.spawn(server.run(std::future::pending()));
    then(address)
}

fn holds_its_limit(row: &Row) {
    assert_eq!(
        (row.driver.as_str(), row.algorithm.as_str()),
        ("external", "theirs")
    );
    assert_eq!(row.bound_excess_bytes, Some(0.0), "{row:?}");
    let passed = row.delivered_bytes;
    assert!((200_000..=330_000).contains(&passed), "{passed} of 320,000");
    for known in [
        row.setup_overshoot_bytes,
        row.setup_jitter_us,
        row.setup_delay_p99_us,
        row.setup_late_p99_us,
        row.sender_late_p99_us,
    ] {
        assert!(known.is_some(), "{row:?}");
    }
}

#[test]
fn a_socks_server_is_measured_with_what_the_set_up_shows_alone() {
    served(|address| {
        // Each user of the scenario logs in by a name of its own; our own process is the server.
        let server = format!(
            "via = \"socks5://{{user}}:pw@{address}\", pid = {}",
            std::process::id()
        );
        let row = only_row(&read(&text("token-bucket", &server), None).unwrap());
        holds_its_limit(&row);
        assert!(row.cpu_s_per_GB.is_some() && row.memory_bytes.is_some_and(|bytes| bytes > 0));
    });
}

#[test]
fn an_http_server_is_measured_alike() {
    served(|address| {
        let server = format!("via = \"http://ann:pw@{address}\"");
        let row = only_row(&read(&text("token-bucket", &server), None).unwrap());
        holds_its_limit(&row);
        assert_eq!((row.cpu_s_per_GB, row.memory_bytes), (None, None));
    });
}

#[test]
fn a_wrong_password_is_said_with_the_servers_words() {
    served(|address| {
        let server = format!("via = \"socks5://ann:no@{address}\"");
        let scenario = read(&text("token-bucket", &server), None).unwrap();
        let failed = external::run(&scenario, Progress::Silent, &Stop::default()).unwrap_err();
        assert_eq!(failed.to_string(), "user ann cannot connect");
    });
}

#[test]
fn a_forwarder_passes_everything_on_to_its_one_target() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let free = |listener: &TcpListener| listener.local_addr().unwrap();
    let target = free(&TcpListener::bind(LOCAL).unwrap());
    let listener = runtime
        .block_on(tokio::net::TcpListener::bind(LOCAL))
        .unwrap();
    let address = listener.local_addr().unwrap();
    runtime.spawn(async move {
        while let Ok((mut near, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut far = TcpStream::connect(target).await?;
                copy_bidirectional(&mut near, &mut far).await
            });
        }
    });
    let server = format!("via = \"tcp://{address}\", target = \"{target}\"");
    let row = only_row(&read(&text("none", &server), None).unwrap());
    // More than a limit of the reference would let through.
    assert!(row.delivered_bytes > 330_000, "{row:?}");
    assert_eq!(row.limiter, "none");
}

/// A shell that listens on no port is started, watched and ended; without leave it is not started.
#[test]
fn a_program_is_started_only_with_leave_and_its_end_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let free = TcpListener::bind(LOCAL).unwrap().local_addr().unwrap();
    let server = format!(
        "via = \"socks5://{free}\", command = [\"sh\", \"-c\", \"echo no such thing >&2; touch here; exit 7\"]"
    );
    let mut scenario = read(&text("none", &server), Some(folder.path())).unwrap();
    let failed = external::run(&scenario, Progress::Silent, &Stop::default()).unwrap_err();
    assert!(
        failed
            .to_string()
            .starts_with("nothing listens on 127.0.0.1:"),
        "{failed}"
    );
    assert!(!folder.path().join("here").exists());
    scenario.start_servers();
    let failed = external::run(&scenario, Progress::Silent, &Stop::default()).unwrap_err();
    let said = failed.to_string();
    assert!(
        said.contains("exit status: 7") && said.ends_with("it said: no such thing"),
        "{said}"
    );
    assert!(folder.path().join("here").exists());
}

#[test]
fn a_resolved_scenario_reads_back_and_keeps_no_password() {
    let server =
        "via = \"socks5://ann:secret@127.0.0.1:1080\", command = [\"x\", \"y z\"], pid = \"x.pid\"";
    let scenario = read(&text("token-bucket", server), None).unwrap();
    let written = scenario.to_toml();
    assert!(!written.contains("secret"), "{written}");
    assert_eq!(read(&written, None).unwrap().to_toml(), written);
}

#[test]
fn mistakes_are_told() {
    for (server, mistake) in [
        ("via = \"tcp://127.0.0.1:1\"", "to one `target`"),
        ("via = \"direct\"", "not by way of a server"),
        ("via = \"socks5://ann:secret@h\"", "an address is HOST:PORT"),
        ("target = \"127.0.0.1:1\"", "`via` is missing"),
        ("via = \"http://h:1\", command = []", "no program"),
        (
            "via = \"http://h:1\", comand = [\"x\"]",
            "unknown key `comand`",
        ),
    ] {
        let said = read(&text("none", server), None).unwrap_err();
        assert!(said.contains(mistake), "{server}: {said}");
        assert!(!said.contains("secret@"), "{said}");
    }
    let change = "\n[[rate_change]]\nat = \"1 s\"\nrate = \"1 kB/s\"\n";
    let changed = text("token-bucket", "via = \"http://h:1\"") + change;
    let said = read(&changed, None).unwrap_err();
    assert!(said.contains("nobody tells"), "{said}");
}
