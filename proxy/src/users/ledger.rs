//! Who has moved bytes that the database does not know of yet.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use parking_lot::Mutex;

use super::account::Account;
use super::store::{Store, StoreError};
use super::{Direction, Usage};

/// The accounts with something to flush.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    waiting: Mutex<Vec<Arc<Account>>>,
}

/// The counters of one account.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    /// What the database holds.
    stored: Mutex<Usage>,
    upload: AtomicU64,
    download: AtomicU64,
    /// Whether the account waits in the ledger.
    listed: AtomicBool,
}

impl Ledger {
    /// Counts payload of `account`.
    pub(crate) fn count(&self, account: &Arc<Account>, direction: Direction, bytes: u64) {
        let counters = account.counters();
        counters
            .pending(direction)
            .fetch_add(bytes, Ordering::AcqRel);
        if !counters.listed.swap(true, Ordering::AcqRel) {
            self.waiting.lock().push(Arc::clone(account));
        }
    }

    /// Adds what waits to the database, all of it or, on error, none.
    pub(crate) async fn flush(&self, store: &Store) -> Result<(), StoreError> {
        let accounts = std::mem::take(&mut *self.waiting.lock());
        if accounts.is_empty() {
            return Ok(());
        }
        let deltas: HashMap<_, _> = accounts
            .iter()
            .map(|account| (account.id(), account.counters().taken()))
            .collect();
        let outcome = store.add_usage(&deltas).await;
        for account in accounts {
            match (&outcome, deltas.get(&account.id())) {
                (Ok(()), Some(delta)) => account.counters().settle(*delta),
                _ => self.relist(account),
            }
        }
        outcome
    }

    fn relist(&self, account: Arc<Account>) {
        if !account.counters().listed.swap(true, Ordering::AcqRel) {
            self.waiting.lock().push(account);
        }
    }
}

impl Counters {
    /// What the database holds and what it does not know of yet.
    pub(crate) fn usage(&self) -> Usage {
        let stored = self.stored.lock();
        let pending = self.snapshot();
        Usage {
            upload_bytes: stored.upload_bytes.saturating_add(pending.upload_bytes),
            download_bytes: stored.download_bytes.saturating_add(pending.download_bytes),
        }
    }

    /// What the database was just read to hold.
    pub(crate) fn set_stored(&self, usage: Usage) {
        *self.stored.lock() = usage;
    }

    /// Leaves the list, and says what to write. Whatever is counted from here
    /// on lists the account again.
    fn taken(&self) -> Usage {
        self.listed.store(false, Ordering::Release);
        self.snapshot()
    }

    /// `delta` has been written.
    fn settle(&self, delta: Usage) {
        let mut stored = self.stored.lock();
        self.upload.fetch_sub(delta.upload_bytes, Ordering::AcqRel);
        self.download
            .fetch_sub(delta.download_bytes, Ordering::AcqRel);
        stored.upload_bytes = stored.upload_bytes.saturating_add(delta.upload_bytes);
        stored.download_bytes = stored.download_bytes.saturating_add(delta.download_bytes);
    }

    fn snapshot(&self) -> Usage {
        Usage {
            upload_bytes: self.upload.load(Ordering::Acquire),
            download_bytes: self.download.load(Ordering::Acquire),
        }
    }

    fn pending(&self, direction: Direction) -> &AtomicU64 {
        match direction {
            Direction::Up => &self.upload,
            Direction::Down => &self.download,
        }
    }
}
