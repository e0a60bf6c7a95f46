//! Usage while the database is away, and a server that is killed then.

use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use sqlx::Connection;

use crate::support::*;

const LONG: Duration = Duration::from_secs(60);

/// A database that can be taken away.
trait Away {
    fn url(&self) -> String;
    fn take(&mut self);
    fn give_back(&mut self);
}

struct Sqlite {
    path: PathBuf,
    runtime: tokio::runtime::Runtime,
    lock: Option<sqlx::SqliteConnection>,
}

impl Away for Sqlite {
    fn url(&self) -> String {
        self.path.display().to_string()
    }

    /// Others wait for whoever writes, and fail in the end.
    fn take(&mut self) {
        let url = format!("sqlite://{}", self.path.display());
        self.lock = Some(self.runtime.block_on(async {
            let mut lock = sqlx::SqliteConnection::connect(&url).await.unwrap();
            let begin = sqlx::raw_sql("PRAGMA busy_timeout = 60000; BEGIN IMMEDIATE");
            begin.execute(&mut lock).await.unwrap();
            lock
        }));
    }

    fn give_back(&mut self) {
        if let Some(lock) = self.lock.take() {
            self.runtime.block_on(lock.close()).unwrap();
        }
    }
}

#[cfg(feature = "postgres")]
impl Away for crate::postgresql::Postgres {
    fn url(&self) -> String {
        Self::url(self)
    }

    fn take(&mut self) {
        self.stop();
    }

    fn give_back(&mut self) {
        self.run();
    }
}

#[test]
fn a_server_that_is_killed_without_sqlite_loses_nothing_that_was_kept() {
    let place = Place::new();
    let mut database = Sqlite {
        path: place.path().join("users.db"),
        runtime: tokio::runtime::Runtime::new().unwrap(),
        lock: None,
    };
    killed_while_away(&place, &mut database);
}

#[cfg(feature = "postgres")]
#[test]
fn a_server_that_is_killed_without_postgresql_loses_nothing_that_was_kept() {
    if let Some(mut database) = crate::postgresql::Postgres::start() {
        killed_while_away(&Place::new(), &mut database);
    }
}

fn killed_while_away(place: &Place, database: &mut impl Away) {
    let url = database.url();
    let command = |arguments: &str| -> Command {
        let mut command = place.command(arguments);
        command.env("WEIRGATE_DATABASE", &url);
        command.env("STATE_DIRECTORY", place.path());
        command
    };
    let usage = || {
        let output = command("user usage ada --json").output().unwrap();
        let usage: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        (
            usage["upload_bytes"].as_u64().unwrap(),
            usage["download_bytes"].as_u64().unwrap(),
        )
    };
    let add = command("user add ada --password-file password").output();
    assert!(add.unwrap().status.success());
    std::fs::write(
        place.path().join("config.toml"),
        // Without the admin API, which would tell what is not written yet.
        "accounting_interval = \"50ms\"\n[admin]\nlisten = []\n",
    )
    .unwrap();
    let serve = || Place::serve_by(command(&format!("run {ON_LOOPBACK} --config config.toml")));
    let server = serve();
    let mut client = server.tunnel("ada", echo());
    let mut says = |bytes: usize| {
        client.write_all(&vec![7; bytes]).unwrap();
        client.read_exact(&mut vec![0; bytes]).unwrap();
    };
    let until = |holds: &dyn Fn() -> bool| {
        let since = Instant::now();
        while !holds() {
            assert!(since.elapsed() < LONG);
            std::thread::sleep(Duration::from_millis(5));
        }
    };
    says(5);
    until(&|| usage() == (5, 5));
    assert!(journals(place.path()).is_empty());
    database.take();
    // Twice, so that there is something before and after a write that fails.
    says(1_000);
    until(&|| kept(place.path()) == (1_000, 1_000));
    says(200);
    until(&|| kept(place.path()) == (1_200, 1_200));
    server.signal("KILL");
    assert_eq!(server.ended().0, None);
    database.give_back();
    assert_eq!(usage(), (5, 5));
    // Whoever starts next brings it over, once.
    for _ in 0..2 {
        let server = serve();
        assert_eq!(usage(), (1_205, 1_205));
        assert!(journals(place.path()).is_empty());
        server.signal("TERM");
        assert_eq!(server.ended().0, Some(0));
    }
    // One that lives does so itself.
    let server = serve();
    let mut client = server.tunnel("ada", echo());
    database.take();
    client.write_all(&[7; 30]).unwrap();
    client.read_exact(&mut [0; 30]).unwrap();
    until(&|| kept(place.path()) == (30, 30));
    database.give_back();
    until(&|| usage() == (1_235, 1_235) && journals(place.path()).is_empty());
    server.signal("KILL");
    assert_eq!(server.ended().0, None);
    drop(serve());
    assert_eq!(usage(), (1_235, 1_235));
}

fn journals(folder: &Path) -> Vec<PathBuf> {
    let files = std::fs::read_dir(folder).unwrap();
    let paths = files.map(|file| file.unwrap().path());
    let journal = |path: &PathBuf| path.extension().is_some_and(|it| it == "journal");
    paths.filter(journal).collect()
}

/// What the journals say was moved up and down, read by the description of the format.
fn kept(folder: &Path) -> (u64, u64) {
    let mut sum = (0, 0);
    for path in journals(folder) {
        let Ok(bytes) = std::fs::read(path) else {
            continue;
        };
        let mut rest = bytes.strip_prefix(b"weirgate usage 1\n").unwrap();
        let word = |bytes: &[u8]| u64::from_le_bytes(bytes[..8].try_into().unwrap());
        while let Some(len) = rest.get(..4) {
            let len = usize::try_from(u32::from_le_bytes(len.try_into().unwrap())).unwrap();
            let Some(body) = rest.get(8..8 + len) else {
                break;
            };
            for delta in body[16..].chunks(32) {
                sum.0 += word(&delta[16..]);
                sum.1 += word(&delta[24..]);
            }
            rest = &rest[8 + len..];
        }
    }
    sum
}
