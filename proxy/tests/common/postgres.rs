//! A PostgreSQL server of the test's own, in a temporary folder.

use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Set where a missing PostgreSQL is a failure, not a reason to skip a test.
const REQUIRED: &str = "WEIRGATE_REQUIRE_POSTGRES";
const PASSWORD: &str = "pa:ss@w/o?rd";

/// Runs while it lives.
pub(crate) struct Postgres {
    folder: tempfile::TempDir,
    binaries: PathBuf,
    port: u16,
    running: Option<Child>,
}

impl Postgres {
    /// Starts one; `None`, and a line that says so, where there is no PostgreSQL.
    pub(crate) fn start() -> Option<Self> {
        let Some(binaries) = binaries() else {
            assert!(
                std::env::var_os(REQUIRED).is_none(),
                "there is no PostgreSQL, and {REQUIRED} is set"
            );
            let said = "skipped: there is no PostgreSQL (Debian: postgresql)\n";
            let _ = std::io::Write::write_all(&mut std::io::stderr(), said.as_bytes());
            return None;
        };
        let folder = tempfile::tempdir().unwrap();
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        drop(listener);
        let mut server = Self {
            folder,
            binaries,
            port,
            running: None,
        };
        let password = server.folder.path().join("password");
        std::fs::write(&password, PASSWORD).unwrap();
        if let Some((user, group)) = other_user() {
            for path in [server.folder.path(), &password] {
                chown(path, Some(user), Some(group)).unwrap();
            }
        }
        let mut init = server.command("initdb");
        init.args([
            "-U",
            "weirgate",
            "--auth=scram-sha-256",
            "--no-sync",
            "-E",
            "UTF8",
        ]);
        init.arg("--pwfile").arg(password);
        init.arg("-D").arg(server.folder.path().join("data"));
        let output = init.output().unwrap();
        assert!(output.status.success(), "{output:?}");
        server.run();
        Some(server)
    }

    /// What a config names it by.
    pub(crate) fn url(&self) -> String {
        let password = "pa%3Ass%40w%2Fo%3Frd";
        format!(
            "postgres://weirgate:{password}@127.0.0.1:{}/postgres",
            self.port
        )
    }

    /// Starts it again after [`Postgres::stop`].
    pub(crate) fn run(&mut self) {
        let mut command = self.command("postgres");
        command.arg("-D").arg(self.folder.path().join("data"));
        command.args(["-c", "fsync=off", "-c", "shared_buffers=16MB"]);
        command.args(["-c", "listen_addresses=127.0.0.1", "-c"]);
        command.arg(format!("port={}", self.port));
        command.arg("-c").arg(format!(
            "unix_socket_directories={}",
            self.folder.path().display()
        ));
        command.stdout(Stdio::null()).stderr(Stdio::null());
        self.running = Some(command.spawn().unwrap());
        let since = Instant::now();
        while !self.is_ready() {
            assert!(since.elapsed() < Duration::from_secs(60), "does not start");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Ends it, and every connection to it.
    pub(crate) fn stop(&mut self) {
        if let Some(mut child) = self.running.take() {
            let _ = Command::new("kill")
                .args(["-s", "INT", &child.id().to_string()])
                .status();
            let _ = child.wait();
        }
    }

    fn is_ready(&self) -> bool {
        let mut command = self.command("pg_isready");
        command.args(["-q", "-h", "127.0.0.1", "-p", &self.port.to_string()]);
        command.status().unwrap().success()
    }

    /// PostgreSQL refuses to be run by root.
    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(self.binaries.join(program));
        command.current_dir(self.folder.path());
        if let Some((user, group)) = other_user() {
            command.uid(user).gid(group);
        }
        command
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        self.stop();
    }
}

fn binaries() -> Option<PathBuf> {
    let versions = std::fs::read_dir("/usr/lib/postgresql").ok()?;
    let folders = versions.filter_map(|version| Some(version.ok()?.path().join("bin")));
    folders
        .filter(|folder| folder.join("initdb").exists())
        .max()
}

/// Whom to become if this is root.
fn other_user() -> Option<(u32, u32)> {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let user = status.lines().find_map(|line| line.strip_prefix("Uid:"));
    if user.unwrap().split_whitespace().next() != Some("0") {
        return None;
    }
    let users = std::fs::read_to_string("/etc/passwd").unwrap();
    let numbers = users.lines().find_map(|line| {
        let mut fields = line.strip_prefix("postgres:")?.split(':').skip(1);
        Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
    });
    numbers.or(Some((65_534, 65_534)))
}
