//! Ctrl-C and the signals that ask a program to end.

use std::process;
use std::sync::{Arc, mpsc};
use std::thread;

use tokio::runtime;
use tokio::signal::unix::{SignalKind, signal};

use crate::driver::Stop;

/// The exit code of an interrupted program.
const INTERRUPTED: i32 = 130;

/// A flag that is raised by the first Ctrl-C (or SIGTERM); the second one ends
/// the program at once. Signals are watched when this returns.
///
/// Where they cannot be, the flag is never raised and Ctrl-C ends the program
/// as it always does.
#[must_use]
pub fn watch() -> Arc<Stop> {
    let stop = Arc::new(Stop::default());
    let raised = Arc::clone(&stop);
    let (ready, watching) = mpsc::channel();
    let thread = thread::Builder::new().name("signals".to_owned());
    if thread.spawn(move || wait(&raised, ready)).is_ok() {
        // An error says that the thread has given up, and changes nothing here.
        let _ = watching.recv();
    }
    stop
}

fn wait(stop: &Stop, ready: mpsc::Sender<()>) {
    let Ok(runtime) = runtime::Builder::new_current_thread().enable_io().build() else {
        return;
    };
    runtime.block_on(async {
        let (Ok(mut interrupt), Ok(mut terminate)) = (
            signal(SignalKind::interrupt()),
            signal(SignalKind::terminate()),
        ) else {
            return;
        };
        drop(ready);
        loop {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
            if stop.requested() {
                process::exit(INTERRUPTED);
            }
            stop.request();
        }
    });
}
