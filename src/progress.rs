//! How far a run is: bars on a terminal, plain lines otherwise, nothing on standard output.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// One stage of a run.
#[derive(Debug)]
pub struct Stage {
    bar: ProgressBar,
    name: String,
    plain: bool,
    steps: u64,
    begun: Instant,
    said: Mutex<Instant>,
}

/// Where progress is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// Bars on standard error.
    Bars,
    /// A line on standard error at the end of each stage.
    Lines,
    /// Nowhere: for tests.
    Silent,
}

impl Progress {
    /// Bars if standard error is a terminal, lines otherwise.
    #[must_use]
    pub fn of_stderr() -> Self {
        if std::io::IsTerminal::is_terminal(&std::io::stderr()) {
            Self::Bars
        } else {
            Self::Lines
        }
    }

    /// A stage of `steps` steps.
    #[must_use]
    pub fn stage(self, name: &str, steps: u64) -> Stage {
        let bar = match self {
            Self::Bars => ProgressBar::with_draw_target(Some(steps), ProgressDrawTarget::stderr()),
            Self::Lines | Self::Silent => ProgressBar::hidden(),
        };
        let style = ProgressStyle::with_template("{prefix:>24} [{bar:30}] {pos}/{len} {eta}");
        if let Ok(style) = style {
            bar.set_style(style.progress_chars("=> "));
        }
        bar.set_prefix(name.to_owned());
        if self == Self::Bars {
            bar.enable_steady_tick(Duration::from_millis(200));
        }
        Stage {
            bar,
            name: name.to_owned(),
            plain: self == Self::Lines,
            steps,
            begun: Instant::now(),
            said: Mutex::new(Instant::now()),
        }
    }
}

/// Between two lines.
const EVERY: Duration = Duration::from_secs(30);

/// What is left if the rest goes as the part that is done: "40 s", "7 min", "1.5 h".
fn remaining(passed: Duration, done: u64, steps: u64) -> String {
    #[expect(clippy::cast_precision_loss, reason = "an estimate of two digits")]
    let share = steps.saturating_sub(done) as f64 / done as f64;
    let seconds = passed.as_secs_f64() * share;
    if seconds < 100.0 {
        format!("{seconds:.0} s")
    } else if seconds < 6_000.0 {
        format!("{:.0} min", seconds / 60.0)
    } else {
        format!("{:.1} h", seconds / 3_600.0)
    }
}

impl Stage {
    /// One step is done.
    pub fn step(&self) {
        self.bar.inc(1);
        if self.plain {
            self.say_now_and_then();
        }
    }

    /// Where no bar is seen, a line every half minute.
    fn say_now_and_then(&self) {
        let Ok(mut said) = self.said.try_lock() else {
            return;
        };
        if said.elapsed() < EVERY {
            return;
        }
        *said = Instant::now();
        let done = self.bar.position().max(1);
        let left = remaining(self.begun.elapsed(), done, self.steps);
        let _ = std::io::Write::write_fmt(
            &mut std::io::stderr(),
            format_args!(
                "{}: {done} of {}, about {left} left\n",
                self.name, self.steps
            ),
        );
    }

    /// So many steps are done in all.
    pub fn reach(&self, steps: u64) {
        self.bar.set_position(steps);
    }

    /// The stage has ended; `what` is said on its line.
    pub fn end(self, what: &str) {
        self.bar.finish_and_clear();
        if self.plain {
            // Progress nobody can read any more is no failure of the run.
            let _ = std::io::Write::write_fmt(
                &mut std::io::stderr(),
                format_args!("{}: {what}\n", self.name),
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rest_goes_as_the_part_that_is_done() {
        let after = Duration::from_secs(30);
        assert_eq!(remaining(after, 100, 200), "30 s");
        assert_eq!(remaining(after, 10, 110), "5 min");
        assert_eq!(remaining(after, 1, 1_000), "8.3 h");
        assert_eq!(remaining(after, 10, 10), "0 s");
    }
}
