//! Transcripts of `burst-send` and `burst-recv`.
#![cfg(all(unix, feature = "bins"))]
#![expect(
    clippy::unwrap_used,
    reason = "the helpers of tests may fail as the tests do"
)]

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    process::{Child, ChildStdout, Command, Output, Stdio},
    thread::JoinHandle,
};

const SEND: &str = env!("CARGO_BIN_EXE_burst-send");
const RECV: &str = env!("CARGO_BIN_EXE_burst-recv");

/// A program that runs, with its output so far.
struct Running {
    child: Child,
    stdout: BufReader<ChildStdout>,
    lines: Vec<String>,
}

impl Running {
    fn start(program: &str, arguments: &[&str]) -> Self {
        let mut child = Command::new(program)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        Self {
            child,
            stdout,
            lines: Vec::new(),
        }
    }

    /// Reads on to the line that starts with `start`, and returns the rest of it.
    fn wait_for(&mut self, start: &str) -> String {
        loop {
            let mut line = String::new();
            let read = self.stdout.read_line(&mut line).unwrap();
            assert!(read > 0, "ended before {start:?}: {:?}", self.lines);
            let line = line.trim_end().to_owned();
            self.lines.push(line.clone());
            if let Some(rest) = line.strip_prefix(start) {
                return rest.to_owned();
            }
        }
    }

    /// A sender that listens, and where.
    fn sender(arguments: &[&str]) -> (Self, String) {
        let listen = ["--listen", "127.0.0.1:0"];
        let mut sender = Self::start(SEND, &[&listen, arguments].concat());
        let port = sender.wait_for("[SERVER] Listening on port ");
        let address = format!("127.0.0.1:{}", port.strip_suffix("...").unwrap());
        (sender, address)
    }

    fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        let status = Command::new("kill").args(["-s", name, &pid]).status();
        assert!(status.unwrap().success());
    }

    /// Exit code, all lines of standard output, standard error.
    fn end(mut self) -> (i32, Vec<String>, String) {
        let rest: Vec<String> = self.stdout.lines().map(Result::unwrap).collect();
        self.lines.extend(rest);
        let mut errors = String::new();
        let mut stderr = self.child.stderr.take().unwrap();
        stderr.read_to_string(&mut errors).unwrap();
        let code = self.child.wait().unwrap().code().unwrap();
        (code, self.lines, errors)
    }
}

fn run(program: &str, arguments: &[&str]) -> Output {
    Command::new(program).args(arguments).output().unwrap()
}

/// `text` with every run of digits as one `#`.
fn shape(text: &str) -> String {
    let mut shape = String::new();
    for character in text.chars() {
        match character.is_ascii_digit() {
            true if shape.ends_with('#') => {}
            true => shape.push('#'),
            false => shape.push(character),
        }
    }
    shape
}

/// Packets and bytes of the lines of the seconds 1, 2, and so on, each of which must
/// read as `printf` would have written it.
fn seconds(lines: &[String], prefix: &str, width: usize) -> (u64, u64) {
    let (mut packets, mut bytes) = (0, 0);
    for (second, line) in (1..).zip(lines) {
        let fields: Vec<&str> = line
            .strip_prefix(prefix)
            .unwrap()
            .split_whitespace()
            .collect();
        let count: u64 = fields[1].parse().unwrap();
        let size: u64 = fields[2].parse().unwrap();
        let mib = size as f64 / 1_048_576.0;
        let (minutes, rest) = (second / 60, second % 60);
        let expected = format!(
            "{prefix}{minutes:02}:{rest:02}    {count:width$}        {size:10}    {mib:width$.2}"
        );
        assert_eq!(line, &expected);
        packets += count;
        bytes += size;
    }
    (packets, bytes)
}

/// The two numbers of a summary, `Sent 1 packets, 2 bytes in 3.000 s`.
fn summary(line: &str) -> (u64, u64) {
    let numbers: Vec<u64> = line
        .split(' ')
        .filter_map(|word| word.parse().ok())
        .collect();
    (numbers[0], numbers[1])
}

#[test]
fn both_print_the_seeds_lines_and_agree_on_every_byte() {
    let (sender, address) = Running::sender(&["--duration", "2300ms", "--seed", "7"]);
    let receiver = Running::start(RECV, &["--connect", &address, "--verify", "7"]);
    let (code, sent, errors) = sender.end();
    assert_eq!((code, errors.as_str()), (0, ""));
    let (code, received, errors) = receiver.end();
    assert_eq!((code, errors.as_str()), (0, ""));

    let split = |lines: &[String], head: usize, tail: usize| {
        let shapes: Vec<String> = lines.iter().map(|line| shape(line)).collect();
        let end = lines.len() - tail;
        let around = [&shapes[..head], &shapes[end..]].concat();
        (around.join("\n"), lines[head..end].to_vec())
    };
    let (around, lines) = split(&sent, 5, 2);
    assert_eq!(
        around,
        "[SERVER] Listening on port #...\n\
         [SERVER] Waiting for client connection...\n\
         [SERVER] Client connected: #.#.#.#:#\n\
         [SERVER] Start sending data...\n\
         [SERVER] Time    Packets Sent    Bytes Sent    Bandwidth (MiB/s)\n\
         [SERVER] Sent # packets, # bytes in #.# s\n\
         [SERVER] Shutting down server"
    );
    let total = summary(&sent[sent.len() - 2]);
    let printed = seconds(&lines, "", 8);
    assert!(lines.len() >= 2, "{lines:?}");
    assert!(printed.0 > 0 && printed.0 <= total.0 && printed.1 <= total.1);

    let (around, lines) = split(&received, 4, 3);
    assert_eq!(
        around,
        "[CLIENT] Client PID: #\n\
         [CLIENT] Connecting to #.#.#.#:#\n\
         [CLIENT] Connected. Receiving data...\n\
         [CLIENT] Time    Packets Recv    Bytes Recv    Bandwidth (MiB/s)\n\
         [CLIENT] Server closed connection\n\
         [CLIENT] Received # packets, # bytes in #.# s\n\
         [CLIENT] Client shutting down"
    );
    assert!(!lines.is_empty());
    seconds(&lines, "[CLIENT] ", 6);
    let (_, bytes) = summary(&received[received.len() - 2]);
    assert_eq!(bytes, total.1);
}

#[test]
fn either_side_may_be_the_one_that_listens() {
    let mut receiver = Running::start(RECV, &["--listen", "127.0.0.1:0"]);
    let port = receiver.wait_for("[CLIENT] Listening on port ");
    let address = format!("localhost:{}", port.strip_suffix("...").unwrap());
    let pattern = [
        "--pattern",
        "constant:rate=1MB/s,size=1000B",
        "--duration",
        "100ms",
    ];
    let output = run(SEND, &[&["--connect", &address], &pattern[..]].concat());
    assert!(output.status.success());
    let text = String::from_utf8(output.stdout).unwrap();
    // The schedule is exact, whatever the machine does meanwhile.
    assert!(text.contains("Sent 100 packets, 100000 bytes"), "{text}");
    let (code, lines, _) = receiver.end();
    assert_eq!(code, 0);
    assert!(
        lines
            .iter()
            .any(|line| line.contains(" packets, 100000 bytes")),
        "{lines:?}"
    );
}

#[test]
fn signals_end_them_whole() {
    for (name, code, number) in [("INT", 130, 2), ("TERM", 0, 15)] {
        let (mut sender, address) = Running::sender(&[]);
        let mut receiver = Running::start(RECV, &["--connect", &address]);
        sender.wait_for("[SERVER] Start sending");
        receiver.wait_for("[CLIENT] Time");
        receiver.signal(name);
        let (exit, lines, _) = receiver.end();
        assert_eq!(exit, code, "{lines:?}");
        let tail: Vec<String> = lines[4..].iter().map(|line| shape(line)).collect();
        assert!(lines.contains(&format!("[CLIENT] Received signal {number}, exiting...")));
        assert_eq!(
            tail[tail.len() - 2],
            "[CLIENT] Received # packets, # bytes in #.# s"
        );
        assert_eq!(tail[tail.len() - 1], "[CLIENT] Client shutting down");
        let (exit, lines, _) = sender.end();
        assert_eq!(exit, 0);
        assert!(lines.contains(&"[SERVER] Client disconnected or send error".to_owned()));

        let (sender, _) = Running::sender(&[]);
        sender.signal(name);
        let (exit, lines, _) = sender.end();
        assert_eq!(exit, code);
        assert_eq!(
            lines[2..],
            [
                "[SERVER] Received shutdown signal, exiting...",
                "[SERVER] Shutting down server"
            ]
        );
    }
}

#[test]
fn data_that_were_not_sent_are_refused() {
    let (sender, address) = Running::sender(&["--seed", "1", "--duration", "10s"]);
    let receiver = Running::start(RECV, &["--connect", &address, "--verify", "2"]);
    let (code, _, errors) = receiver.end();
    assert_eq!(code, 1);
    let start =
        "[CLIENT][ERROR] cannot receive: the data were damaged on the way: byte 0 of the flow";
    assert!(errors.starts_with(start), "{errors}");
    assert_eq!(sender.end().0, 0);
}

#[test]
fn what_cannot_work_is_refused_with_exit_2_and_a_remedy() {
    for (program, arguments, remedy) in [
        (SEND, &["--sleep", "year"][..], "us, ms, tick"),
        (SEND, &["--duration", "5"], "30s"),
        (SEND, &["--pattern", "burst"], "bursty"),
        (SEND, &["--pattern", "trace:file=t.csv"], "weirgate"),
        (SEND, &["--open-loop", "--sleep", "ms"], "line=117.75MB/s"),
        (SEND, &["--proxy", "line://u:p@h:1"], "--connect"),
        (
            RECV,
            &["--listen", "127.0.0.1:0", "--connect", "h:1"],
            "--listen",
        ),
        (
            RECV,
            &["--proxy", "u:secret@h:1"],
            "socks5://USER:PASSWORD@HOST:PORT",
        ),
        (RECV, &["--read-size", "0"], "--read-size"),
        (RECV, &["--connect", "h"], "HOST:PORT"),
    ] {
        let output = run(program, arguments);
        let errors = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {errors}");
        assert!(errors.contains(remedy), "{arguments:?}: {errors}");
        assert!(!errors.contains("secret"), "{errors}");
    }
}

#[test]
fn a_port_that_is_taken_and_one_where_nobody_is_are_told() {
    let taken = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let output = run(SEND, &["--listen", &address]);
    let errors = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1));
    let start = format!("[SERVER][ERROR] cannot listen on {address}: ");
    assert!(errors.starts_with(&start), "{errors}");
    drop(taken);
    let output = run(RECV, &["--connect", &address]);
    let errors = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1));
    let start = format!("[CLIENT][ERROR] cannot connect to {address}: connecting failed: ");
    assert!(errors.starts_with(&start), "{errors}");
}

/// A proxy of the line handshake that takes one client; the line that it got.
fn line_proxy(listener: TcpListener) -> JoinHandle<String> {
    std::thread::spawn(move || {
        let (mut client, _) = listener.accept().unwrap();
        let mut line = String::new();
        while !line.ends_with("\r\n") {
            let mut byte = [0];
            client.read_exact(&mut byte).unwrap();
            line.push(byte[0].into());
        }
        let fields: Vec<&str> = line.split_whitespace().collect();
        let mut target = TcpStream::connect(format!("{}:{}", fields[0], fields[1])).unwrap();
        client.write_all(b"127.0.0.1 7\r\n").unwrap();
        std::io::copy(&mut target, &mut client).unwrap();
        line
    })
}

#[test]
fn a_receiver_goes_through_a_proxy_with_a_password_that_is_no_argument() {
    let file = std::env::temp_dir().join(format!("burst-recv-{}", std::process::id()));
    std::fs::write(&file, "from-file\nnot this\n").unwrap();
    let by_file = ["--proxy-password-file", file.to_str().unwrap()];
    for (more, password) in [(&by_file[..], "from-file"), (&[], "from-variable")] {
        let (sender, target) = Running::sender(&["--duration", "100ms"]);
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let url = format!("line://ann@{}", listener.local_addr().unwrap());
        let proxy = line_proxy(listener);
        let output = Command::new(RECV)
            .args(["--connect", &target, "--proxy", &url, "--verify", "1"])
            .args(more)
            .env("WEIRGATE_PROXY_PASSWORD", "from-variable")
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
        let line = target.replace(':', " ");
        assert_eq!(proxy.join().unwrap(), format!("{line} ann {password}\r\n"));
        let (_, sent, _) = sender.end();
        let text = String::from_utf8(output.stdout).unwrap();
        let received = text
            .lines()
            .find(|line| line.contains("Received "))
            .unwrap();
        assert_eq!(summary(received).1, summary(&sent[sent.len() - 2]).1);
    }
    std::fs::remove_file(&file).unwrap();
}
