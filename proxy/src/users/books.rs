//! Memory and database, kept in step.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::contact::Errand;
use super::journal::{Journal, Left};
use super::store::{Change, UserRow};
use super::{Account, Audit, Moment, Rules, StoreError, Tag, UserError, Users};

/// Users that are looked at in one go, before others have their turn.
const BREATH: usize = 32;

/// How long the database may be silent before usage is kept elsewhere, and how often.
const SILENCE: Duration = Duration::from_millis(250);

/// How old a journal may be, in seconds: as long the database surely remembers who
/// wrote it.
const LEFT_KEPT: i64 = 366 * 86_400;

impl Users {
    /// Keeps usage in a journal in `folder` while the database is away, and brings over
    /// what processes that are gone have left there.
    ///
    /// # Errors
    /// [`UserError`] of the database; what cannot be read there is told and left.
    pub(crate) async fn keep_journal(&self, folder: &Path) -> Result<(), UserError> {
        let identity = self.0.store.identity().await?;
        let journal = Journal::new(folder, &identity, self.0.store.writer());
        let left = journal.left().await.unwrap_or_else(|error| {
            tracing::error!(%error, folder = %folder.display(), "cannot look for journals of usage");
            Vec::new()
        });
        let any = !left.is_empty();
        for left in left {
            self.bring_over(left).await?;
        }
        // Set once, when the server starts.
        let _ = self.0.journal.set(journal);
        if any { self.reload().await } else { Ok(()) }
    }

    async fn bring_over(&self, left: Left) -> Result<(), UserError> {
        let path = left.path().display().to_string();
        let oldest = Moment::now().unix_seconds() - LEFT_KEPT;
        if left.entries.iter().any(|it| it.at.unix_seconds() < oldest) {
            tracing::error!(
                path,
                "a journal of usage is too old to know what the database has of it, and is left"
            );
            return Ok(());
        }
        let users = self.0.store.add_left(&left.writer, &left.entries).await?;
        tracing::info!(
            path,
            users,
            "usage that was left behind is in the database now"
        );
        if let Err(error) = left.remove() {
            tracing::warn!(%error, path, "a journal of usage cannot be removed; nothing in it is added again");
        }
        Ok(())
    }

    /// Writes what was counted since the last time; what cannot be written now
    /// is written next time, and until then in the journal.
    pub(crate) async fn flush(&self) -> Result<(), StoreError> {
        let write = async {
            let _writing = self.0.writing.lock().await;
            self.0.ledger.flush(&self.0.store).await
        };
        let done = self.meanwhile_keeping(write).await;
        self.0.ledger.contact.note(Errand::Write, done.is_ok());
        match (&done, self.0.journal.get()) {
            (Ok(sequence), Some(journal)) => {
                if let Err(error) = journal.clear(*sequence).await {
                    tracing::warn!(%error, "the journal of usage cannot be removed; nothing in it is added again");
                }
            }
            (Err(_), _) => self.keep().await,
            (Ok(_), None) => {}
        }
        done.map(drop)
    }

    /// Does something with the database; while it does not answer, usage is kept in
    /// the journal.
    async fn meanwhile_keeping<T>(&self, errand: impl Future<Output = T>) -> T {
        tokio::pin!(errand);
        loop {
            tokio::select! {
                biased;
                done = &mut errand => return done,
                () = tokio::time::sleep(SILENCE) => self.keep().await,
            }
        }
    }

    /// Has in the journal what neither it nor the database has.
    async fn keep(&self) {
        let Some(journal) = self.0.journal.get() else {
            return;
        };
        let _keeping = self.0.keeping.lock().await;
        let kept = self.0.ledger.to_keep();
        if kept.entries.is_empty() {
            return;
        }
        if let Err(error) = journal.append(kept.entries.clone(), kept.reached).await {
            tracing::error!(%error, "usage cannot be kept on the disk: it is in memory alone until the database works");
            kept.forget();
        }
    }

    /// Looks at those whose period or account ends, and reads everybody again
    /// if another process has changed somebody.
    pub(crate) async fn refresh(&self) -> Result<(), UserError> {
        self.0.agenda.attend(Moment::now());
        let done = self.meanwhile_keeping(self.refresh_now()).await;
        self.0.ledger.contact.note(Errand::Read, done.is_ok());
        done
    }

    async fn refresh_now(&self) -> Result<(), UserError> {
        if self.0.store.revision().await? == self.0.revision.load(Ordering::Relaxed) {
            return Ok(());
        }
        self.reload().await
    }

    pub(super) async fn change(
        &self,
        name: &str,
        changes: &[Change],
        expected: Option<&Tag>,
        audit: Option<&Audit<'_>>,
    ) -> Result<(), UserError> {
        let _writing = self.0.writing.lock().await;
        self.0.ledger.resolve(&self.0.store).await?;
        let (revision, row) = self.0.store.change(name, changes, expected, audit).await?;
        let known = self.0.accounts.read().get(name).map(Arc::clone);
        let updated = self.updated(known, row);
        let mut accounts = self.0.accounts.write();
        match updated {
            Some(account) => accounts.insert(name.to_owned(), account),
            None => accounts.remove(name),
        };
        drop(accounts);
        self.follow(revision, changes.len());
        self.weigh_floors();
        self.tell();
        Ok(())
    }

    /// Tells those who keep a list of users of their own that it may be old.
    pub(super) fn tell(&self) {
        #[cfg(feature = "shadowsocks")]
        self.0.access.touch();
    }

    /// The accounts are as of `revision`, which so many changes have led to, unless
    /// others have made changes too: then the next [`Users::refresh`] reads them.
    pub(super) fn follow(&self, revision: i64, changes: usize) {
        let before = revision.wrapping_sub(i64::try_from(changes).unwrap_or(i64::MAX));
        let _ = self.0.revision.compare_exchange(
            before,
            revision,
            Ordering::Relaxed,
            Ordering::Relaxed,
        );
    }

    pub(super) async fn reload(&self) -> Result<(), UserError> {
        let _writing = self.0.writing.lock().await;
        self.0.ledger.resolve(&self.0.store).await?;
        let snapshot = self.0.store.snapshot().await?;
        *self.0.everybody.write() = Rules::from_text(&snapshot.rules)?;
        let mut before = self.0.accounts.read().clone();
        let mut after = HashMap::with_capacity(snapshot.users.len());
        self.0.agenda.clear();
        for row in snapshot.users {
            let known = before.remove(&row.name);
            if let Some(account) = self.updated(known, row) {
                after.insert(account.name().to_owned(), account);
            }
            if after.len().is_multiple_of(BREATH) {
                tokio::task::yield_now().await;
            }
        }
        *self.0.accounts.write() = after;
        before.values().for_each(|gone| gone.revoke());
        #[cfg(feature = "shadowsocks")]
        self.reload_access().await?;
        self.0.revision.store(snapshot.revision, Ordering::Relaxed);
        self.weigh_floors();
        Ok(())
    }

    /// The account of a row: the one we know if it is the same user, which
    /// keeps its connections, budgets and counters.
    fn updated(&self, known: Option<Arc<Account>>, row: UserRow) -> Option<Arc<Account>> {
        let rules = match Rules::from_text(&row.rules) {
            Ok(rules) => rules,
            Err(error) => {
                tracing::error!(name = %row.name, %error, "a user has rules that we cannot read, and is locked out");
                known.inspect(|account| account.revoke());
                return None;
            }
        };
        let known = known.filter(|account| {
            let same = account.id() == row.id;
            if !same {
                account.revoke();
            }
            same
        });
        let account = known.unwrap_or_else(|| {
            let (clock, ledger) = (self.0.clock.clone(), Arc::clone(&self.0.ledger));
            Arc::new(Account::new(&row, clock, ledger))
        });
        let review_at = account.update(&row, rules, &self.0.everybody.read(), Moment::now());
        if let Some(at) = review_at {
            self.0.agenda.add(at, &account);
        }
        Some(account)
    }
}
