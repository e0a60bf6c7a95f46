//! The program, run in a folder of its own.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::Value;

pub(crate) const PASSWORD: &str = "correct horse battery";
pub(crate) const ON_LOOPBACK: &str = "--listen 127.0.0.1:0 --allow-egress 127.0.0.0/8";

/// A folder with a database and a password file in it.
pub(crate) struct Place(tempfile::TempDir);

impl Place {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("password"), format!("{PASSWORD}\n")).unwrap();
        Self(folder)
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    pub(crate) fn command(&self, arguments: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_weirgate-proxy"));
        command
            .args(arguments.split_whitespace())
            .current_dir(self.path());
        command
            .env_clear()
            .env("WEIRGATE_DATABASE", self.path().join("users.db"));
        command
    }

    pub(crate) fn output(&self, arguments: &str) -> Output {
        self.command(arguments).output().unwrap()
    }

    /// The JSON that a command prints.
    pub(crate) fn json(&self, arguments: &str) -> Value {
        let output = self.output(arguments);
        assert!(output.status.success(), "{arguments}: {output:?}");
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// The exit code and the error that a command ends with.
    pub(crate) fn failure(&self, arguments: &str) -> (Option<i32>, String) {
        let output = self.output(arguments);
        assert!(output.stdout.is_empty(), "{arguments}: {output:?}");
        (
            output.status.code(),
            String::from_utf8(output.stderr).unwrap(),
        )
    }

    pub(crate) fn serve(&self, arguments: &str) -> Serving {
        Self::serve_by(self.command(&format!("run {ON_LOOPBACK} {arguments}")))
    }

    pub(crate) fn serve_by(mut command: Command) -> Serving {
        command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .env("WEIRGATE_LOG", "trace");
        let mut child = command.spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().unwrap())
            .read_line(&mut line)
            .unwrap();
        let address = line
            .trim_end()
            .strip_prefix("listening ")
            .expect("what it says first")
            .parse()
            .unwrap();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        let log = Arc::new(Mutex::new(String::new()));
        let lines = Arc::clone(&log);
        let reader = std::thread::spawn(move || {
            for line in stderr.lines() {
                let mut log = lines.lock().unwrap();
                log.push_str(&line.unwrap());
                log.push('\n');
            }
        });
        Serving {
            child,
            address,
            log,
            reader: Some(reader),
        }
    }
}

/// A running server; killed when dropped.
pub(crate) struct Serving {
    pub(crate) child: Child,
    pub(crate) address: SocketAddr,
    log: Arc<Mutex<String>>,
    reader: Option<std::thread::JoinHandle<()>>,
}

impl Serving {
    pub(crate) fn tunnel(&self, name: &str, target: SocketAddr) -> TcpStream {
        self.try_tunnel(name, target).expect("an answer")
    }

    pub(crate) fn try_tunnel(&self, name: &str, target: SocketAddr) -> std::io::Result<TcpStream> {
        let mut client = TcpStream::connect(self.address)?;
        client.set_read_timeout(Some(Duration::from_secs(60)))?;
        write!(client, "127.0.0.1 {} {name} {PASSWORD}\r\n", target.port())?;
        let mut byte = [0];
        while byte[0] != b'\n' {
            client.read_exact(&mut byte)?;
        }
        Ok(client)
    }

    pub(crate) fn signal(&self, signal: &str) {
        let sent = Command::new("kill")
            .args(["-s", signal, &self.child.id().to_string()])
            .status();
        assert!(sent.unwrap().success());
    }

    /// The log, once it holds `text`.
    pub(crate) fn wait_for_log(&self, text: &str) -> String {
        let since = std::time::Instant::now();
        loop {
            let log = self.log.lock().unwrap().clone();
            if log.contains(text) {
                return log;
            }
            assert!(since.elapsed() < Duration::from_secs(60), "{log}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// The exit code and the log.
    pub(crate) fn ended(mut self) -> (Option<i32>, String) {
        let code = self.child.wait().unwrap().code();
        self.reader.take().unwrap().join().unwrap();
        (code, self.log.lock().unwrap().clone())
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Sends back what it gets.
pub(crate) fn echo() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for client in listener.incoming() {
            std::thread::spawn(move || {
                let client = client.unwrap();
                let _ = std::io::copy(&mut &client, &mut &client);
            });
        }
    });
    address
}

/// What ada has moved, up and down.
pub(crate) fn moved(place: &Place) -> (u64, u64) {
    let usage = place.json("user usage ada --json");
    let bytes = |key| usage[key].as_u64().unwrap();
    (bytes("upload_bytes"), bytes("download_bytes"))
}
