//! Changes of the database, each in a transaction.

use super::{Fault, Store, locked, not_asked, not_written};
use rusqlite::{Connection, ErrorCode};
use std::ops::Deref;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::time::Duration;

/// Whether a write must survive a loss of power once it is acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durable {
    /// Synced before it is acknowledged: account changes.
    Now,
    /// Synced with what comes later: a session that is lost costs a log-in.
    Soon,
}

/// A transaction in progress, which may be one of its own or a part of one: what a function needs
/// to change the database.
pub struct Transaction<'a>(&'a Connection);

impl Deref for Transaction<'_> {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        self.0
    }
}

impl Store {
    /// Changes the database in one transaction: all of it or, after an error, nothing.
    ///
    /// # Errors
    /// [`Fault::NotAsked`] if it could not begin, [`Fault::NotWritten`] after that.
    pub fn write<T>(
        &mut self,
        durable: Durable,
        change: impl FnOnce(&Transaction) -> rusqlite::Result<T>,
    ) -> Result<T, Fault> {
        self.transact(durable, self.patience, change)
            .unwrap_or_else(|_| Err(locked()))
    }

    /// The same without waiting: if another process has the database locked, the change is given
    /// back.
    ///
    /// # Errors
    /// The change, undone; inside, the same as of [`Store::write`].
    pub fn try_write<T, C: FnOnce(&Transaction) -> rusqlite::Result<T>>(
        &mut self,
        durable: Durable,
        change: C,
    ) -> Result<Result<T, Fault>, C> {
        self.transact(durable, Duration::ZERO, change)
    }

    fn transact<T, C: FnOnce(&Transaction) -> rusqlite::Result<T>>(
        &mut self,
        durable: Durable,
        patience: Duration,
        change: C,
    ) -> Result<Result<T, Fault>, C> {
        match self.begin(durable, patience) {
            Ok(()) => {}
            Err(error) if is_locked(&error) => return Err(change),
            Err(error) => return Ok(Err(not_asked(error))),
        }
        let changed = catch_unwind(AssertUnwindSafe(|| change(&Transaction(&self.connection))));
        let written = match changed {
            Ok(Ok(value)) => self.commit().map(|()| value),
            Ok(Err(error)) => {
                self.roll_back(&error);
                Err(error)
            }
            Err(panic) => {
                self.roll_back(&rusqlite::Error::InvalidQuery);
                resume_unwind(panic)
            }
        };
        Ok(written.map_err(not_written))
    }

    /// Begins a transaction that [`Store::commit`] or [`Store::roll_back`] ends.
    pub(super) fn begin(&mut self, durable: Durable, patience: Duration) -> rusqlite::Result<()> {
        if self.durable != durable {
            let level = if durable == Durable::Now {
                "FULL"
            } else {
                "NORMAL"
            };
            self.connection.pragma_update(None, "synchronous", level)?;
            self.durable = durable;
        }
        self.connection.busy_timeout(patience)?;
        let begun = self.execute("BEGIN IMMEDIATE");
        self.connection.busy_timeout(self.patience)?;
        begun
    }

    /// Does a part of the transaction that has begun: all of it or, after an error or a panic,
    /// nothing. Some errors end the whole transaction, for those who had their part before.
    pub(super) fn part<T>(
        &mut self,
        change: impl FnOnce(&Transaction) -> rusqlite::Result<T>,
    ) -> rusqlite::Result<T> {
        let part = self.connection.savepoint()?;
        let value = change(&Transaction(&part))?;
        part.commit()?;
        Ok(value)
    }

    /// Whether no error has ended the transaction that has begun.
    pub(super) fn is_open(&self) -> bool {
        !self.connection.is_autocommit()
    }

    pub(super) fn commit(&mut self) -> rusqlite::Result<()> {
        let committed = self.execute("COMMIT");
        if let Err(error) = &committed {
            self.roll_back(error);
        }
        committed
    }

    /// Undoes what is left of the transaction after this error.
    pub(super) fn roll_back(&mut self, error: &rusqlite::Error) {
        if self.is_open() {
            let _ = self.execute("ROLLBACK");
        }
        if error.sqlite_error_code() == Some(ErrorCode::DiskFull) {
            // Makes room in the log, which otherwise grows until an automatic checkpoint that never
            // comes.
            self.settle();
        }
    }

    fn execute(&self, statement: &str) -> rusqlite::Result<()> {
        self.connection
            .prepare_cached(statement)?
            .execute([])
            .map(drop)
    }
}

/// Whether another process has the database locked.
pub(super) fn is_locked(error: &rusqlite::Error) -> bool {
    error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::tests::folder;
    use std::fs;

    #[test]
    fn a_change_that_fails_leaves_nothing() {
        let data = folder();
        let mut store = Store::open(&data).unwrap();
        let result = store.write(Durable::Now, |db| {
            db.execute(
                "INSERT INTO users VALUES (1, 'a', 'a', 'a', 'a', 'a', 'a', 1, NULL)",
                [],
            )?;
            db.execute(
                "INSERT INTO users VALUES (2, 'a', 'a', 'b', 'a', 'a', 'a', 1, NULL)",
                [],
            )
        });
        assert!(matches!(result, Err(Fault::NotWritten(_))));
        let users = store
            .read(|db| db.query_row("SELECT count(*) FROM users", [], |row| row.get::<_, u32>(0)));
        assert_eq!(users.unwrap(), 0);
        fs::remove_dir_all(data).unwrap();
    }

    #[test]
    fn an_account_change_is_synced_whatever_was_written_before() {
        let data = folder();
        let mut store = Store::open(&data).unwrap();
        for (durable, level) in [
            (Durable::Soon, 1),
            (Durable::Now, 2),
            (Durable::Soon, 1),
            (Durable::Now, 2),
        ] {
            let seen = store.write(durable, |db| {
                db.pragma_query_value(None, "synchronous", |row| row.get::<_, u32>(0))
            });
            assert_eq!(seen.unwrap(), level, "{durable:?}");
        }
        fs::remove_dir_all(data).unwrap();
    }
}
