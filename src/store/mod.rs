//! The database: opened, read and written.

pub mod accounts;
pub mod audit;
pub mod backup;
pub mod check;
pub mod medusa;
mod opening;
pub mod schema;
pub mod sessions;
pub mod users;
mod write;
mod writers;

pub use write::{Durable, Transaction};
pub use writers::Writers;

use rusqlite::Connection;
use std::fs;
use std::path::Path;
use std::time::Duration;

/// The file in the data folder.
pub const FILE: &str = "accountd.db";

/// How long a statement, or a write of the server, waits for another process that holds the
/// database locked.
pub const BUSY: Duration = Duration::from_secs(1);
/// A failure of the database, with its cause for the log.
#[derive(Debug)]
pub enum Fault {
    /// It could not be asked.
    NotAsked(String),
    /// It did not take a write.
    NotWritten(String),
}

impl Fault {
    /// What happened.
    #[must_use]
    pub fn cause(&self) -> &str {
        match self {
            Fault::NotAsked(cause) | Fault::NotWritten(cause) => cause,
        }
    }
}

/// The connection that writes.
pub struct Store {
    connection: Connection,
    durable: Durable,
    patience: Duration,
}

/// The connection that reads, beside the one that writes: nobody who reads waits while a write is
/// synced. It sees what is synced, and whatever was acknowledged.
pub struct Reader {
    connection: Connection,
}

impl Reader {
    /// Asks the database.
    ///
    /// # Errors
    /// [`Fault::NotAsked`].
    pub fn read<T>(
        &self,
        ask: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T, Fault> {
        ask(&self.connection).map_err(not_asked)
    }
}

impl Store {
    /// Waits so long for other processes, rather than for a second: a command has time.
    ///
    /// # Errors
    /// [`Fault::NotAsked`].
    pub fn be_patient(&mut self, patience: Duration) -> Result<(), Fault> {
        self.patience = patience;
        self.connection.busy_timeout(patience).map_err(not_asked)
    }

    /// Overwrites whatever is deleted from now on, wherever it stood.
    ///
    /// # Errors
    /// [`Fault::NotAsked`].
    pub fn leave_no_trace(&self) -> Result<(), Fault> {
        self.connection
            .pragma_update_and_check(None, "secure_delete", "ON", |_| Ok(()))
            .map_err(not_asked)
    }

    /// Moves what is in the log into the database's own file, so that it is whole by itself while
    /// nobody works on it. Says whether that is done; left undone, it is done by the next start.
    pub fn settle(&self) -> bool {
        let undone = self
            .connection
            .query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0));
        undone == Ok(0)
    }

    /// Asks the database.
    ///
    /// # Errors
    /// [`Fault::NotAsked`].
    pub fn read<T>(
        &self,
        ask: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T, Fault> {
        ask(&self.connection).map_err(not_asked)
    }
}

/// What is said of a write that another process was in the way of for too long.
#[must_use]
pub fn locked() -> Fault {
    Fault::NotAsked("database is locked".into())
}

/// Asks something that every database of ours has an answer to.
///
/// # Errors
/// Whatever the database says.
pub fn ask(db: &Connection) -> rusqlite::Result<()> {
    db.prepare_cached("SELECT 1 FROM users LIMIT 1")?
        .exists([])
        .map(drop)
}

/// Bytes of the database and its write-ahead log on disk.
#[must_use]
pub fn size(data: &Path) -> u64 {
    let bytes = |name: &str| fs::metadata(data.join(name)).map_or(0, |metadata| metadata.len());
    bytes(FILE) + bytes(&format!("{FILE}-wal"))
}

fn not_asked(error: rusqlite::Error) -> Fault {
    Fault::NotAsked(error.to_string())
}

fn not_written(error: rusqlite::Error) -> Fault {
    Fault::NotWritten(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::PathBuf;

    /// A database in a folder of its own, removed at the end.
    pub struct Scratch {
        pub store: Store,
        data: PathBuf,
    }

    impl Scratch {
        pub fn new() -> Scratch {
            let data = folder();
            Scratch {
                store: Store::open(&data).unwrap(),
                data,
            }
        }

        pub fn write<T>(&mut self, change: impl FnOnce(&Transaction) -> rusqlite::Result<T>) -> T {
            self.store.write(Durable::Soon, change).unwrap()
        }

        /// Adds a user and says the id.
        pub fn add(&mut self, name: &str) -> i64 {
            let email = &format!("{name}@example.org");
            let user = users::New {
                name,
                show_name: name,
                email,
                password: "x",
                key: "x",
                avatar: "admin.jpg",
            };
            self.write(|db| users::add(db, &user, 1))
                .expect("nobody else has this name")
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.data);
        }
    }

    pub fn folder() -> PathBuf {
        let data = std::env::temp_dir().join(format!(
            "accountd-store-{}",
            crate::crypto::random_alphanumeric(10)
        ));
        fs::create_dir(&data).unwrap();
        data
    }

    #[test]
    fn a_reader_waits_for_no_write_and_sees_what_is_acknowledged() {
        let data = folder();
        let mut store = Store::open(&data).unwrap();
        let reader = Reader::open(&data).unwrap();
        let users = || {
            reader.read(|db| {
                db.query_row("SELECT count(*) FROM users", [], |row| row.get::<_, u32>(0))
            })
        };
        store
            .write(Durable::Now, |db| {
                let user = users::New {
                    name: "a",
                    show_name: "a",
                    email: "a",
                    password: "x",
                    key: "x",
                    avatar: "admin.jpg",
                };
                users::add(db, &user, 1)?;
                assert_eq!(users().unwrap(), 0);
                Ok(())
            })
            .unwrap();
        assert_eq!(users().unwrap(), 1);
        assert!(
            reader
                .read(|db| db.execute("DELETE FROM users", []))
                .is_err()
        );
        fs::remove_dir_all(data).unwrap();
    }
}
