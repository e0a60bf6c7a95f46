//! Clients that are told of every second's records, at whatever pace they read.

use std::io::{ErrorKind, Write as _};
use std::os::fd::{AsFd as _, BorrowedFd};
use std::os::unix::net::UnixStream;

/// Seconds in which a client may read nothing before it is let go.
const PATIENCE: u32 = 10;

/// One client.
struct Watcher {
    stream: UnixStream,
    flows: bool,
    /// What it has not taken yet.
    rest: Vec<u8>,
    /// Seconds since it took anything.
    stuck: u32,
}

/// All of them.
#[derive(Default)]
pub(super) struct Watchers(Vec<Watcher>);

impl Watchers {
    /// Takes one in; the stream must not block.
    pub(super) fn add(&mut self, stream: UnixStream, flows: bool) {
        self.0.push(Watcher {
            stream,
            flows,
            rest: Vec::new(),
            stuck: 0,
        });
    }

    /// Whether anybody is ready for records of rules, and of flows.
    pub(super) fn wanted(&self) -> (bool, bool) {
        let ready = |watcher: &&Watcher| watcher.rest.is_empty();
        let flows = self.0.iter().filter(ready).any(|watcher| watcher.flows);
        (self.0.iter().any(|watcher| ready(&watcher)), flows)
    }

    /// Tells of a second. Who has not taken the one before misses this one.
    pub(super) fn tell(&mut self, rules: &str, flows: &str) {
        self.0.retain_mut(|watcher| {
            if watcher.rest.is_empty() {
                watcher.rest.extend(rules.as_bytes());
                if watcher.flows {
                    watcher.rest.extend(flows.as_bytes());
                }
            }
            watcher.stuck += 1;
            watcher.push() && watcher.stuck <= PATIENCE
        });
    }

    /// Goes on with those who can take more.
    pub(super) fn push(&mut self) {
        self.0
            .retain_mut(|watcher| watcher.rest.is_empty() || watcher.push());
    }

    /// Whom to wait for until they can take more.
    pub(super) fn waiting(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        let behind = self.0.iter().filter(|watcher| !watcher.rest.is_empty());
        behind.map(|watcher| watcher.stream.as_fd())
    }
}

impl Watcher {
    /// Writes what it takes; whether it is still there.
    fn push(&mut self) -> bool {
        let mut done = 0;
        let there = loop {
            let Some(rest) = self.rest.get(done..).filter(|rest| !rest.is_empty()) else {
                self.stuck = 0;
                break true;
            };
            match self.stream.write(rest) {
                Ok(0) => break false,
                Ok(count) => {
                    self.stuck = 0;
                    done += count;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => break error.kind() == ErrorKind::WouldBlock,
            }
        };
        self.rest.drain(..done.min(self.rest.len()));
        there
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    /// A reader that is slow misses seconds, gets whole ones, and keeps nobody waiting.
    #[test]
    fn who_reads_slowly_misses_seconds() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        ours.set_nonblocking(true).unwrap();
        let mut watchers = Watchers::default();
        watchers.add(ours, true);
        let second = |letter: &str| letter.repeat(1 << 20) + "\n";
        watchers.tell(&second("a"), &second("f"));
        assert_eq!(watchers.waiting().count(), 1);
        assert_eq!(watchers.wanted(), (false, false));
        watchers.tell(&second("b"), &second("g"));
        let reader = std::thread::spawn(move || {
            let mut text = String::new();
            let mut theirs = theirs;
            theirs.read_to_string(&mut text).unwrap();
            text
        });
        while watchers.waiting().count() > 0 {
            watchers.push();
        }
        watchers.tell("c\n", "");
        drop(watchers);
        let text = reader.join().unwrap();
        let firsts: Vec<&str> = text.lines().map(|line| &line[..1]).collect();
        assert_eq!(firsts, ["a", "f", "c"]);
    }

    #[test]
    fn who_reads_nothing_is_let_go() {
        let (ours, _theirs) = UnixStream::pair().unwrap();
        ours.set_nonblocking(true).unwrap();
        let mut watchers = Watchers::default();
        watchers.add(ours, false);
        for _ in 0..=PATIENCE {
            assert!(watchers.0.len() == 1);
            watchers.tell(&"a".repeat(1 << 20), "");
        }
        watchers.tell("", "");
        assert!(watchers.0.is_empty());
    }
}
