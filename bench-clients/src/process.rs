//! What the server under test costs: it and all it has started.

use std::fs;
use std::time::Duration;

/// Ticks of `/proc/PID/stat` in a second (`USER_HZ`, the same on every Linux).
const TICKS: u32 = 100;

/// The processes that are the server: one and its descendants.
#[derive(Clone, Copy, Debug)]
pub struct Server(pub Option<u32>);

impl Server {
    /// User and system time so far, of the process and its descendants, those that have
    /// ended and been waited for among them.
    #[must_use]
    pub fn cpu(&self) -> Duration {
        let ticks: u32 = self.sum(|pid| {
            let fields = stat(pid)?;
            // utime, stime, cutime and cstime, fields 14 to 17 of proc(5); those here begin
            // with the third.
            let ticks = fields.get(11..15)?.iter().map(|field| field.parse::<u32>());
            ticks.sum::<Result<u32, _>>().ok()
        });
        Duration::from_secs(1) * ticks / TICKS
    }

    /// Resident bytes of anonymous memory: what they do not share.
    #[must_use]
    pub fn memory(&self) -> u64 {
        self.sum(|pid| {
            let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
            let line = status.lines().find(|line| line.starts_with("RssAnon:"))?;
            let kib: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
            Some(kib * 1024)
        })
    }

    /// Open descriptors.
    #[must_use]
    pub fn descriptors(&self) -> usize {
        self.sum(|pid| Some(fs::read_dir(format!("/proc/{pid}/fd")).ok()?.count()))
    }

    fn sum<T: std::iter::Sum>(&self, of: impl Fn(u32) -> Option<T>) -> T {
        self.processes().into_iter().filter_map(of).sum()
    }

    fn processes(&self) -> Vec<u32> {
        let Some(root) = self.0 else {
            return Vec::new();
        };
        let all: Vec<(u32, u32)> = fs::read_dir("/proc")
            .into_iter()
            .flatten()
            .filter_map(|entry| {
                let pid: u32 = entry.ok()?.file_name().to_str()?.parse().ok()?;
                Some((pid, stat(pid)?.get(1)?.parse().ok()?))
            })
            .collect();
        let mut found = vec![root];
        let mut next = 0;
        while let Some(&parent) = found.get(next) {
            found.extend(
                all.iter()
                    .filter(|(_, of)| *of == parent)
                    .map(|(pid, _)| *pid),
            );
            next += 1;
        }
        found
    }
}

/// The fields of `/proc/PID/stat` behind the name.
fn stat(pid: u32) -> Option<Vec<String>> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, fields) = text.rsplit_once(')')?;
    Some(fields.split_whitespace().map(str::to_owned).collect())
}
