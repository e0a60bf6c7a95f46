//! Who has moved bytes that the database does not know of yet.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use parking_lot::Mutex;

use super::account::Account;
use super::calendar::{Moment, Period, Span};
use super::contact::Contact;
use super::journal::{Entry, Reached};
use super::store::{Booked, Delta, Store, StoreError};
use super::{Direction, PeriodUsage, Usage};

/// Written to [`Counters::trip`] where no quota is to be watched.
const NEVER: u64 = u64::MAX;

/// The accounts with something to flush.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    waiting: Mutex<Vec<Arc<Account>>>,
    pub(super) contact: Contact,
    writes: Mutex<Writes>,
}

#[derive(Debug, Default)]
struct Writes {
    /// The number of the last one that was begun, or of the last entry in the journal.
    sequence: i64,
    /// The last one of which it is known that it was done.
    done: i64,
    /// The one of which it is not known whether it was done.
    doubtful: Option<Write>,
}

/// Entries for the journal.
#[derive(Debug)]
pub(super) struct Kept {
    pub(super) entries: Vec<Entry>,
    /// Whose they are, and how much of each.
    accounts: Vec<(Arc<Account>, Usage)>,
    pub(super) reached: Reached,
}

#[derive(Debug)]
struct Write {
    sequence: i64,
    parts: Vec<(Arc<Account>, Usage)>,
}

/// The counters of one account.
#[derive(Debug)]
pub(crate) struct Counters {
    /// What this process has counted; they only grow.
    upload: AtomicU64,
    download: AtomicU64,
    /// The sum of both at which the quota is used up.
    trip: AtomicU64,
    /// Whether the account waits in the ledger.
    listed: AtomicBool,
    books: Mutex<Books>,
}

#[derive(Debug, Default)]
struct Books {
    /// What the database holds.
    stored: Booked,
    /// What of the counted is in there.
    flushed: Usage,
    /// What of the counted is in the journal, or was before the database had it.
    kept: Usage,
    /// The first instant of the current period.
    period_start: Moment,
}

impl Ledger {
    /// Counts payload of `account`; says whether that used up its quota.
    pub(crate) fn count(&self, account: &Arc<Account>, direction: Direction, bytes: u64) -> bool {
        let counters = account.counters();
        counters.add(direction, bytes);
        // Counted before this is read, as it is read after this is written in
        // `taken`: one of the two sees the other.
        if !counters.listed.load(Ordering::SeqCst) {
            self.list(account);
        }
        counters.trips()
    }

    /// Adds what waits to the database, all of it or, on error, none: what was
    /// not written is written next time, and nothing twice. Says up to which number
    /// the database has everything then.
    pub(crate) async fn flush(&self, store: &Store) -> Result<i64, StoreError> {
        self.resolve(store).await?;
        let Some((sequence, deltas)) = self.begin() else {
            return Ok(self.writes.lock().done);
        };
        let booked = store.add_usage(sequence, &deltas).await?;
        let booked: std::collections::HashMap<_, _> = booked.into_iter().collect();
        let mut elsewhere = Vec::new();
        self.end(sequence, |account, delta| {
            let booked = booked.get(&account.id()).copied();
            if account.counters().settle(delta, booked) {
                elsewhere.push(Arc::clone(account));
            }
        });
        // Another server counts for them too: their quota may be used up by it.
        for account in elsewhere {
            account.review(Moment::now());
        }
        Ok(sequence)
    }

    /// Finds out about a write of which it is not known whether it was done.
    pub(crate) async fn resolve(&self, store: &Store) -> Result<(), StoreError> {
        let doubtful = self
            .writes
            .lock()
            .doubtful
            .as_ref()
            .map(|write| write.sequence);
        let Some(sequence) = doubtful else {
            return Ok(());
        };
        let done = store.last_written().await?;
        self.end(done, |account, delta| {
            if done >= sequence {
                account.counters().settle(delta, None);
            } else {
                self.list(account);
            }
        });
        Ok(())
    }

    /// What is counted and not in the journal yet, as entries for it, and what the
    /// database may have of those before. To be called again only when it is known
    /// whether they were written; if they were not, [`Kept::forget`].
    pub(super) fn to_keep(&self) -> Kept {
        let mut writes = self.writes.lock();
        let reached = Reached {
            done: writes.done,
            doubtful: writes.doubtful.as_ref().map(|write| write.sequence),
        };
        let mut kept = Kept {
            entries: Vec::new(),
            accounts: Vec::new(),
            reached,
        };
        if let Some(write) = &writes.doubtful {
            let parts = write.parts.iter();
            let parts = parts.map(|(account, delta)| (account, Some(*delta)));
            kept.add(write.sequence, parts);
        }
        let waiting = self.waiting.lock();
        if kept.add(writes.sequence + 1, waiting.iter().map(|it| (it, None))) {
            writes.sequence += 1;
        }
        kept
    }

    /// Takes all that waits; from here on that write is doubtful until it has ended.
    /// None if nothing waits.
    fn begin(&self) -> Option<(i64, Vec<Delta>)> {
        let mut writes = self.writes.lock();
        let accounts = std::mem::take(&mut *self.waiting.lock());
        if accounts.is_empty() {
            return None;
        }
        let deltas: Vec<_> = accounts.iter().map(|account| account.delta()).collect();
        let usages = deltas.iter().map(|delta| delta.usage);
        let parts = accounts.into_iter().zip(usages).collect();
        writes.sequence += 1;
        let sequence = writes.sequence;
        writes.doubtful = Some(Write { sequence, parts });
        Some((sequence, deltas))
    }

    /// The doubtful write has ended, and the database has all up to the number `done`;
    /// `each` of its parts is settled before anybody looks.
    fn end(&self, done: i64, mut each: impl FnMut(&Arc<Account>, Usage)) {
        let mut writes = self.writes.lock();
        writes.done = writes.done.max(done);
        let write = writes.doubtful.take();
        for (account, delta) in write.iter().flat_map(|write| &write.parts) {
            each(account, *delta);
        }
    }

    fn list(&self, account: &Arc<Account>) {
        if !account.counters().listed.swap(true, Ordering::SeqCst) {
            self.waiting.lock().push(Arc::clone(account));
        }
    }
}

impl Kept {
    /// Adds an entry with what of these is not in the journal: of their parts in a
    /// write, or of all that is counted. False if that is nothing.
    fn add<'a>(
        &mut self,
        sequence: i64,
        parts: impl Iterator<Item = (&'a Arc<Account>, Option<Usage>)>,
    ) -> bool {
        let mut deltas = Vec::new();
        for (account, part) in parts {
            if let Some(delta) = account.counters().keep(account.id(), part) {
                self.accounts.push((Arc::clone(account), delta.usage));
                deltas.push(delta);
            }
        }
        if deltas.is_empty() {
            return false;
        }
        self.entries.push(Entry {
            sequence,
            at: Moment::now(),
            deltas,
        });
        true
    }

    /// They were not written: they are among those of the next time.
    pub(super) fn forget(self) {
        for (account, delta) in self.accounts {
            account.counters().forget(delta);
        }
    }
}

impl Default for Counters {
    fn default() -> Self {
        Self {
            upload: AtomicU64::new(0),
            download: AtomicU64::new(0),
            trip: AtomicU64::new(NEVER),
            listed: AtomicBool::new(false),
            books: Mutex::default(),
        }
    }
}

impl Counters {
    /// What the account has used in its life.
    pub(crate) fn usage(&self) -> Usage {
        let books = self.books.lock();
        books.stored.usage + (self.counted() - books.flushed)
    }

    /// What the account has used in the current period.
    pub(crate) fn period(&self) -> PeriodUsage {
        let books = self.books.lock();
        PeriodUsage {
            start: books.period_start,
            usage: books.of_period() + (self.counted() - books.flushed),
        }
    }

    /// What the database was just read to hold.
    pub(crate) fn set_stored(&self, booked: Booked) {
        self.books.lock().stored = booked;
    }

    /// Sets the current period, which lies in `span`, and watches a quota in it; says
    /// whether that is used up already.
    pub(crate) fn watch(&self, quota: Option<u64>, span: Span) -> bool {
        let mut books = self.books.lock();
        books.period_start = books.start_within(span);
        let Some(quota) = quota else {
            self.trip.store(NEVER, Ordering::SeqCst);
            return false;
        };
        let counted = self.counted();
        let used = (books.of_period() + (counted - books.flushed)).total();
        if used >= quota {
            self.trip.store(NEVER, Ordering::SeqCst);
            return true;
        }
        let trip = counted.total().saturating_add(quota - used);
        self.trip.store(trip, Ordering::SeqCst);
        // Others may have counted past it before it was set.
        self.trips()
    }

    /// Leaves the list, and says what to write. Whatever is counted from here
    /// on lists the account again.
    pub(crate) fn taken(&self, id: i64) -> Delta {
        self.listed.store(false, Ordering::SeqCst);
        let books = self.books.lock();
        Delta {
            id,
            usage: self.counted() - books.flushed,
            period_start: books.period_start,
        }
    }

    /// What is not in the journal yet, of a part of what is not in the database or of
    /// all of it; from here on it is.
    fn keep(&self, id: i64, part: Option<Usage>) -> Option<Delta> {
        let mut books = self.books.lock();
        let all = part.map_or_else(|| self.counted(), |part| books.flushed + part);
        let delta = all - books.kept.or_more(books.flushed);
        if delta == Usage::default() {
            return None;
        }
        books.kept = books.kept.or_more(all);
        Some(Delta {
            id,
            usage: delta,
            period_start: books.period_start,
        })
    }

    /// The last of the journal is not there after all.
    fn forget(&self, delta: Usage) {
        let mut books = self.books.lock();
        books.kept = books.kept - delta;
    }

    /// `delta` has been written, and led to what the database holds now; says whether
    /// others have written, too.
    fn settle(&self, delta: Usage, booked: Option<Booked>) -> bool {
        let mut books = self.books.lock();
        books.flushed = books.flushed + delta;
        let own = books.stored.usage + delta;
        books.stored = booked.unwrap_or_else(|| Booked {
            usage: books.stored.usage + delta,
            period: PeriodUsage {
                start: books.period_start,
                usage: books.of_period() + delta,
            },
        });
        books.stored.usage != own
    }

    fn add(&self, direction: Direction, bytes: u64) {
        let counter = match direction {
            Direction::Up => &self.upload,
            Direction::Down => &self.download,
        };
        counter.fetch_add(bytes, Ordering::SeqCst);
    }

    /// Bytes that may be counted before a quota that is watched is used up, at least one.
    pub(crate) fn left_of_quota(&self) -> u64 {
        match self.trip.load(Ordering::SeqCst) {
            NEVER => u64::MAX,
            trip => trip.saturating_sub(self.counted().total()).max(1),
        }
    }

    /// Whether the quota has just been used up: true once.
    fn trips(&self) -> bool {
        let trip = self.trip.load(Ordering::SeqCst);
        trip != NEVER
            && self.counted().total() >= trip
            && self
                .trip
                .compare_exchange(trip, NEVER, Ordering::SeqCst, Ordering::SeqCst)
                .is_ok()
    }

    /// What this process has counted.
    pub(crate) fn counted(&self) -> Usage {
        Usage {
            upload_bytes: self.upload.load(Ordering::SeqCst),
            download_bytes: self.download.load(Ordering::SeqCst),
        }
    }
}

impl Books {
    /// When the current period began, which the clock has in `span`. Where the database
    /// knows of the next one already, that goes on: the clock was set back, or another
    /// server's is ahead.
    fn start_within(&self, span: Span) -> Moment {
        let stored = self.stored.period.start;
        let next = span.end.is_some_and(|end| stored <= end);
        if next {
            span.start.max(stored)
        } else {
            span.start
        }
    }

    /// What the database holds of the current period: all that was moved since a later
    /// instant, too.
    fn of_period(&self) -> Usage {
        if self.period_start == Period::Never.around(self.period_start).start {
            self.stored.usage
        } else if self.stored.period.start >= self.period_start {
            self.stored.period.usage
        } else {
            Usage::default()
        }
    }
}

#[cfg(test)]
mod tests;
