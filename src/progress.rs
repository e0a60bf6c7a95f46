//! How far a run is: bars on a terminal, plain lines otherwise, nothing on standard output.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// One stage of a run.
#[derive(Debug)]
pub struct Stage {
    bar: ProgressBar,
    name: String,
    plain: bool,
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
        bar.enable_steady_tick(Duration::from_millis(200));
        Stage {
            bar,
            name: name.to_owned(),
            plain: self == Self::Lines,
        }
    }
}

impl Stage {
    /// One step is done.
    pub fn step(&self) {
        self.bar.inc(1);
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
