//! `watch`, `list` and `clear`: they ask the running one.

use std::io::{BufRead as _, BufReader, IsTerminal as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::control::{self, Found};
use super::{Failure, List, Watch, message, say, show};

/// For an answer that takes no time.
const PATIENCE: Duration = Duration::from_secs(5);

/// One connection to the running one, with the word said.
fn ask(control: &Path, word: &str) -> Result<BufReader<UnixStream>, Failure> {
    let nobody = |error: std::io::Error| {
        let path = control.display();
        let text = format!("nothing runs at {path} ({error}): start `weirgate-kernel run FILE`");
        Failure::Environment(Box::from(text))
    };
    let mut stream = UnixStream::connect(control).map_err(nobody)?;
    writeln!(stream, "{word}").map_err(Failure::environment)?;
    Ok(BufReader::new(stream))
}

/// The next record; `None` at the end.
fn next(from: &mut BufReader<UnixStream>) -> Result<Option<Value>, Failure> {
    let mut line = String::new();
    let read = from.read_line(&mut line).map_err(Failure::environment)?;
    if read == 0 {
        return Ok(None);
    }
    serde_json::from_str(&line)
        .map(Some)
        .map_err(Failure::environment)
}

/// Shows rates until the end of either side.
pub(super) fn watch(options: &Watch) -> Result<(), Failure> {
    let word = if options.flows {
        message::WATCH_FLOWS
    } else {
        message::WATCH
    };
    let mut stream = ask(&options.control.path, word)?;
    let deadline = options
        .seconds
        .and_then(|seconds| Instant::now().checked_add(Duration::from_secs(seconds)));
    let mut screen = show::Screen::new(std::io::stdout().is_terminal());
    while deadline.is_none_or(|deadline| Instant::now() < deadline) {
        let Some(record) = next(&mut stream)? else {
            break;
        };
        let read = if options.json {
            say(&record.to_string())?
        } else if let Some(table) = screen.take(record) {
            say(&table)?
        } else {
            true
        };
        if !read {
            return Ok(());
        }
    }
    if let Some(table) = screen.finish() {
        say(&table)?;
    }
    Ok(())
}

/// What runs.
pub(super) fn list(options: &List) -> Result<(), Failure> {
    let mut stream = ask(&options.control.path, message::LIST)?;
    let patience = Some(PATIENCE);
    stream
        .get_ref()
        .set_read_timeout(patience)
        .map_err(Failure::environment)?;
    let Some(listed) = next(&mut stream)? else {
        return Err(Failure::Environment(Box::from("no answer")));
    };
    let text = if options.json {
        listed.to_string()
    } else {
        show::listed(&listed)
    };
    say(&text).map(drop)
}

/// Ends the running one, or cleans up after a killed one.
pub(super) fn clear(control: &Path) -> Result<(), Failure> {
    if !matches!(control::find(control)?, Found::Running) {
        let found = control::clean_up(control)?;
        let text = if found {
            "cleaned up after one that was killed"
        } else {
            "nothing was running"
        };
        return say(text).map(drop);
    }
    let mut stream = ask(control, message::CLEAR)?;
    let _ = next(&mut stream)?;
    let begun = Instant::now();
    // It removes its socket last.
    while control.exists() && begun.elapsed() < PATIENCE {
        std::thread::sleep(Duration::from_millis(10));
    }
    if control.exists() {
        return Err(Failure::Environment(Box::from("it does not end")));
    }
    say("ended").map(drop)
}
