//! When to look at whom again: periods and accounts end by the wall clock,
//! and nobody should have to look at everybody to notice.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::{Arc, Weak};

use parking_lot::Mutex;

use super::account::Account;
use super::calendar::Moment;

/// Accounts by the instant at which their standing may change by itself.
#[derive(Debug, Default)]
pub(super) struct Agenda(Mutex<Entries>);

#[derive(Debug, Default)]
struct Entries {
    heap: BinaryHeap<Reverse<Entry>>,
    /// The last time that anybody looked.
    attended: Moment,
}

#[derive(Debug)]
struct Entry {
    at: Moment,
    account: Weak<Account>,
}

impl Agenda {
    pub(super) fn clear(&self) {
        self.0.lock().heap.clear();
    }

    pub(super) fn add(&self, at: Moment, account: &Arc<Account>) {
        let account = Arc::downgrade(account);
        self.0.lock().heap.push(Reverse(Entry { at, account }));
    }

    /// Looks at everybody whose instant has come; at everybody if the wall
    /// clock was set back.
    pub(super) fn attend(&self, now: Moment) {
        for entry in self.due(now) {
            let Some(account) = entry.account.upgrade() else {
                continue;
            };
            if let Some(at) = account.review(now) {
                self.add(at, &account);
            }
        }
    }

    fn due(&self, now: Moment) -> Vec<Entry> {
        let mut entries = self.0.lock();
        let back = now < entries.attended;
        entries.attended = now;
        if back {
            return entries.heap.drain().map(|Reverse(entry)| entry).collect();
        }
        let mut due = Vec::new();
        while entries
            .heap
            .peek()
            .is_some_and(|Reverse(first)| first.at <= now)
        {
            due.extend(entries.heap.pop().map(|Reverse(entry)| entry));
        }
        due
    }
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        self.at == other.at
    }
}

impl Eq for Entry {}

impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Entry {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.at.cmp(&other.at)
    }
}
