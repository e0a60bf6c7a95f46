//! The one part of a report that differs from run to run.

use std::fs;
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

/// Where, when and how fast a scenario ran: `host.json`. What cannot be found
/// out is `null`, never a guess.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Host {
    /// Name of the machine.
    pub host: Option<String>,
    /// Kernel and its version.
    pub kernel: Option<String>,
    /// Model of the processor.
    pub cpu: Option<String>,
    /// Cores that this process may use.
    pub cores: Option<usize>,
    /// Mean number of runnable tasks over 1, 5 and 15 minutes, at the end.
    pub load_average: Option<[f64; 3]>,
    /// When the run ended: UTC, RFC 3339.
    pub date: Option<String>,
    /// How long all runs took together, in seconds.
    pub wall_s: f64,
    /// What one decision cost, where a driver measured it.
    pub decisions: Vec<DecisionCost>,
}

/// The cost of one algorithm.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct DecisionCost {
    /// Its label.
    pub algorithm: String,
    /// Nanoseconds per decision.
    pub ns: f64,
}

impl Host {
    /// This machine, now, after runs that took `wall`.
    #[must_use]
    pub fn here(wall: Duration) -> Self {
        Self {
            host: first_line("/proc/sys/kernel/hostname"),
            kernel: kernel(),
            cpu: cpu(),
            cores: std::thread::available_parallelism()
                .ok()
                .map(std::num::NonZero::get),
            load_average: load_average(),
            date: now(),
            wall_s: wall.as_secs_f64(),
            decisions: Vec::new(),
        }
    }
}

fn first_line(path: &str) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    text.lines().next().map(|line| line.trim().to_owned())
}

fn kernel() -> Option<String> {
    let name = first_line("/proc/sys/kernel/ostype")?;
    Some(format!(
        "{name} {}",
        first_line("/proc/sys/kernel/osrelease")?
    ))
}

fn cpu() -> Option<String> {
    let text = fs::read_to_string("/proc/cpuinfo").ok()?;
    let line = text.lines().find(|line| line.starts_with("model name"))?;
    line.split_once(':').map(|(_, name)| name.trim().to_owned())
}

fn load_average() -> Option<[f64; 3]> {
    let line = first_line("/proc/loadavg")?;
    let mut numbers = line.split(' ').map(str::parse);
    Some([
        numbers.next()?.ok()?,
        numbers.next()?.ok()?,
        numbers.next()?.ok()?,
    ])
}

fn now() -> Option<String> {
    let since = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .ok()?;
    Some(rfc3339(since.as_secs()))
}

/// Seconds since 1970 as date and time. The calendar repeats every 400 years of
/// 146,097 days; years that begin in March have their leap day at the end.
fn rfc3339(seconds: u64) -> String {
    let (days, second) = (seconds / 86_400, seconds % 86_400);
    // Days since 0000-03-01.
    let days = days + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * march_month + 2) / 5 + 1;
    let month = if march_month < 10 {
        march_month + 3
    } else {
        march_month - 9
    };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_those_of_the_calendar() {
        assert_eq!(rfc3339(0), "1970-01-01T00:00:00Z");
        assert_eq!(rfc3339(951_782_399), "2000-02-28T23:59:59Z");
        assert_eq!(rfc3339(951_782_400), "2000-02-29T00:00:00Z");
        assert_eq!(rfc3339(4_107_542_400), "2100-03-01T00:00:00Z");
    }

    #[test]
    fn a_host_reads_back() {
        let host = Host {
            decisions: vec![DecisionCost {
                algorithm: "gcra".into(),
                ns: 1.5,
            }],
            ..Host::here(Duration::from_millis(1500))
        };
        let text = serde_json::to_string(&host).unwrap();
        assert_eq!(serde_json::from_str::<Host>(&text).unwrap(), host);
    }
}
