//! Events to stderr, as text or as JSON.

use std::io::{self, IsTerminal};

use clap::{Args, ValueEnum};
use proxy::config::file::{LogFormat, LogTable};
use proxy::spans;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, Registry, fmt, reload};

use super::Failure;
#[cfg(feature = "otlp")]
use super::otlp::Spans;

/// Flags about the log.
#[derive(Args, Clone, Copy)]
pub(crate) struct LogArgs {
    /// How events are written to stderr [default: text].
    #[arg(
        long,
        value_name = "FORMAT",
        env = "WEIRGATE_LOG_FORMAT",
        global = true
    )]
    log_format: Option<Format>,
    /// Events this severe, and more so: error, warn, info, debug or trace [default: info].
    #[arg(long, value_name = "LEVEL", env = "WEIRGATE_LOG", global = true)]
    log_level: Option<LevelFilter>,
}

#[derive(Clone, Copy, ValueEnum)]
enum Format {
    /// A line an event, for people.
    Text,
    /// A JSON object an event.
    Json,
}

/// What a running log can still be told.
pub(crate) struct Log {
    arguments: LogArgs,
    level: reload::Handle<Targets, Registry>,
    format: LogFormat,
    #[cfg(feature = "otlp")]
    spans: Option<Spans>,
}

impl LogArgs {
    /// Starts the log; flag over environment over file over default. With an
    /// `endpoint`, spans go there.
    ///
    /// # Errors
    /// Spans cannot go there.
    pub(crate) fn start(self, file: LogTable, endpoint: Option<&str>) -> Result<Log, Failure> {
        let (filter, level) = reload::Layer::new(events(self.level(file)));
        let layer = fmt::layer().with_writer(io::stderr).with_target(false);
        let layer = match self.format(file) {
            LogFormat::Json => layer.json().flatten_event(true).boxed(),
            LogFormat::Text => {
                let plain = std::env::var_os("NO_COLOR").is_some_and(|no| !no.is_empty());
                let colour = io::stderr().is_terminal() && !plain;
                layer.with_ansi(colour).boxed()
            }
        };
        #[cfg(feature = "otlp")]
        let spans = endpoint.map(Spans::start).transpose()?;
        #[cfg(feature = "otlp")]
        let registry = tracing_subscriber::registry()
            .with(layer.with_filter(filter))
            .with(spans.as_ref().map(Spans::layer));
        #[cfg(not(feature = "otlp"))]
        if endpoint.is_some() {
            return Err(Failure::request(
                "tracing.otlp_endpoint: this program was built without OTLP (cargo feature otlp)",
            ));
        }
        #[cfg(not(feature = "otlp"))]
        let registry = tracing_subscriber::registry().with(layer.with_filter(filter));
        #[cfg(feature = "sentry")]
        let registry = registry.with(super::sentry::layer());
        registry.init();
        Ok(Log {
            arguments: self,
            level,
            format: self.format(file),
            #[cfg(feature = "otlp")]
            spans,
        })
    }

    /// Whether a flag or the environment has said this.
    pub(crate) fn says(self, key: &str) -> bool {
        match key {
            "level" => self.log_level.is_some(),
            "format" => self.log_format.is_some(),
            _ => false,
        }
    }

    pub(crate) fn level(self, file: LogTable) -> LevelFilter {
        let level = self.log_level.or(file.level);
        level.unwrap_or(LevelFilter::INFO)
    }

    pub(crate) fn format(self, file: LogTable) -> LogFormat {
        match self.log_format {
            Some(Format::Text) => LogFormat::Text,
            Some(Format::Json) => LogFormat::Json,
            None => file.format.unwrap_or_default(),
        }
    }
}

/// Events so severe, and no spans.
fn events(level: LevelFilter) -> Targets {
    let all = Targets::new().with_default(level);
    all.with_target(spans::TARGET, LevelFilter::OFF)
}

impl Log {
    /// What sends spans away, if anything does.
    #[cfg(feature = "otlp")]
    pub(super) fn spans(&self) -> Option<Spans> {
        self.spans.clone()
    }

    /// Takes over another level, and names what cannot be taken over.
    pub(crate) fn reload(&self, file: LogTable) -> Option<&'static str> {
        // It fails only if the log is gone, and then there is nobody to tell.
        let _ = self.level.reload(events(self.arguments.level(file)));
        (self.arguments.format(file) != self.format).then_some("log.format")
    }
}
