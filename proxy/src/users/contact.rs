//! How long the database has been away: who may be let in is only known from it.

use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

/// What is asked of the database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Errand {
    /// Whether anybody has changed.
    Read,
    /// Writing what was counted.
    Write,
}

/// Since when it fails, and how long users are served as last read.
#[derive(Debug, Default)]
pub(crate) struct Contact(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    read_fails: Option<Instant>,
    write_fails: Option<Instant>,
    /// None: for ever.
    patience: Option<Duration>,
}

impl Contact {
    pub(super) fn set_patience(&self, patience: Duration) {
        self.0.lock().patience = Some(patience);
    }

    /// An errand was done or not.
    pub(super) fn note(&self, errand: Errand, done: bool) {
        let mut state = self.0.lock();
        let fails = match errand {
            Errand::Read => &mut state.read_fails,
            Errand::Write => &mut state.write_fails,
        };
        if done {
            *fails = None;
        } else {
            fails.get_or_insert_with(Instant::now);
        }
    }

    /// Whether nobody may be let in any more.
    pub(super) fn is_lost(&self) -> bool {
        let state = self.0.lock();
        let longest = state.read_fails.into_iter().chain(state.write_fails).min();
        longest
            .zip(state.patience)
            .is_some_and(|(since, patience)| since.elapsed() >= patience)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn it_is_lost_when_it_has_failed_for_too_long() {
        let contact = Contact::default();
        contact.set_patience(Duration::from_secs(60));
        contact.note(Errand::Read, false);
        tokio::time::advance(Duration::from_secs(59)).await;
        contact.note(Errand::Read, false);
        assert!(!contact.is_lost());
        tokio::time::advance(Duration::from_secs(1)).await;
        assert!(contact.is_lost());
        contact.note(Errand::Write, true);
        assert!(contact.is_lost(), "written, but not read");
        contact.note(Errand::Read, true);
        assert!(!contact.is_lost());
    }
}
