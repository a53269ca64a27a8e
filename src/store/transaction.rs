//! Changes of the database, each in a transaction.

use super::{Fault, Store, unavailable, write_failed};
use rusqlite::{Connection, ErrorCode};
use std::ops::Deref;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::time::Duration;

/// Whether a write must survive a loss of power once it is acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durable {
    /// Synced before it is acknowledged: account changes.
    Now,
    /// Synced with a later write: sessions, since the loss of one only costs a login.
    Soon,
}

/// An open transaction, or a savepoint in one. Functions that change the database take it as proof
/// that a transaction is open.
pub struct Transaction<'a>(&'a Connection);

impl Deref for Transaction<'_> {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        self.0
    }
}

impl Store {
    /// Changes the database in one transaction: all of the change or, after an error, nothing.
    ///
    /// # Errors
    /// [`Fault::Unavailable`] if no transaction could begin, [`Fault::WriteFailed`] after that.
    pub fn write<T>(
        &mut self,
        durable: Durable,
        change: impl FnOnce(&Transaction) -> rusqlite::Result<T>,
    ) -> Result<T, Fault> {
        self.begin(durable, self.busy_timeout)
            .map_err(unavailable)?;
        self.run(change)
    }

    /// Begins a transaction that [`Store::run`], [`Store::commit`] or [`Store::roll_back`] ends.
    /// Waits up to `timeout` if another process has the database locked.
    pub(super) fn begin(&mut self, durable: Durable, timeout: Duration) -> rusqlite::Result<()> {
        if self.durable != durable {
            let level = match durable {
                Durable::Now => "FULL",
                Durable::Soon => "NORMAL",
            };
            self.connection.pragma_update(None, "synchronous", level)?;
            self.durable = durable;
        }
        self.connection.busy_timeout(timeout)?;
        let begun = self.execute("BEGIN IMMEDIATE");
        self.connection.busy_timeout(self.busy_timeout)?;
        begun
    }

    /// Runs a change in the open transaction and ends it: commits, or rolls back after an error or
    /// a panic.
    pub(super) fn run<T>(
        &mut self,
        change: impl FnOnce(&Transaction) -> rusqlite::Result<T>,
    ) -> Result<T, Fault> {
        let changed = catch_unwind(AssertUnwindSafe(|| change(&Transaction(&self.connection))));
        let written = match changed {
            Ok(Ok(value)) => self.commit().map(|()| value),
            Ok(Err(error)) => {
                self.roll_back(Some(&error));
                Err(error)
            }
            Err(panic) => {
                self.roll_back(None);
                resume_unwind(panic)
            }
        };
        written.map_err(write_failed)
    }

    /// Runs a change in a savepoint of the open transaction: all of it or, after an error or a
    /// panic, nothing. Some errors make SQLite roll back the whole transaction.
    pub(super) fn savepoint<T>(
        &mut self,
        change: impl FnOnce(&Transaction) -> rusqlite::Result<T>,
    ) -> rusqlite::Result<T> {
        let savepoint = self.connection.savepoint()?;
        let value = change(&Transaction(&savepoint))?;
        savepoint.commit()?;
        Ok(value)
    }

    /// Whether a transaction is open.
    pub(super) fn is_open(&self) -> bool {
        !self.connection.is_autocommit()
    }

    /// Commits the open transaction, or rolls it back if that fails.
    pub(super) fn commit(&mut self) -> rusqlite::Result<()> {
        let committed = self.execute("COMMIT");
        if let Err(error) = &committed {
            self.roll_back(Some(error));
        }
        committed
    }

    /// Rolls back the transaction, unless the error that is its cause has done so.
    pub(super) fn roll_back(&mut self, cause: Option<&rusqlite::Error>) {
        if self.is_open() {
            let _ = self.execute("ROLLBACK");
        }
        if cause.and_then(rusqlite::Error::sqlite_error_code) == Some(ErrorCode::DiskFull) {
            // Truncates the write-ahead log. An automatic checkpoint needs a commit, and none
            // succeeds on a full disk.
            self.checkpoint();
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
pub(super) fn is_busy(error: &rusqlite::Error) -> bool {
    error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::tests::folder;
    use std::fs;

    #[test]
    fn a_failed_change_leaves_nothing() {
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
        assert!(matches!(result, Err(Fault::WriteFailed(_))));
        let users = store
            .read(|db| db.query_row("SELECT count(*) FROM users", [], |row| row.get::<_, u32>(0)));
        assert_eq!(users.unwrap(), 0);
        fs::remove_dir_all(data).unwrap();
    }

    #[test]
    fn each_write_has_the_durability_that_it_asks_for() {
        let data = folder();
        let mut store = Store::open(&data).unwrap();
        for (durable, level) in [
            (Durable::Soon, 1),
            (Durable::Now, 2),
            (Durable::Soon, 1),
            (Durable::Now, 2),
        ] {
            let synchronous = store.write(durable, |db| {
                db.pragma_query_value(None, "synchronous", |row| row.get::<_, u32>(0))
            });
            assert_eq!(synchronous.unwrap(), level, "{durable:?}");
        }
        fs::remove_dir_all(data).unwrap();
    }
}
