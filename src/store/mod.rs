//! The database: opened, read and written.

pub mod accounts;
pub mod audit;
pub mod backup;
pub mod forward_auth;
mod group_commit;
pub mod groups;
pub mod integrity;
pub mod invitations;
pub mod last_seen;
pub mod medusa;
mod open;
pub mod reset_links;
pub mod schema;
pub mod sessions;
pub mod totp;
mod transaction;
pub mod users;

pub use group_commit::GroupCommit;
pub use transaction::{Durable, Transaction};

use rusqlite::{Connection, Row};
use std::fs;
use std::path::Path;
use std::time::Duration;

/// The file in the data folder.
pub const FILE: &str = "accountd.db";

/// How long a statement, or a write of the server, waits while another process has the database
/// locked.
pub const BUSY_TIMEOUT: Duration = Duration::from_secs(1);

/// A failure of the database, with its cause for the log.
#[derive(Debug)]
pub enum Fault {
    /// A query failed, or no transaction could begin.
    Unavailable(String),
    /// A change or its commit failed.
    WriteFailed(String),
}

impl Fault {
    /// The text of the error.
    pub fn cause(&self) -> &str {
        match self {
            Fault::Unavailable(cause) | Fault::WriteFailed(cause) => cause,
        }
    }
}

/// The connection that writes.
pub struct Store {
    connection: Connection,
    /// What the connection's `synchronous` is set to.
    durable: Durable,
    busy_timeout: Duration,
}

/// A connection that only reads, so that queries never wait for a write and its sync. It sees every
/// acknowledged write.
pub struct Reader {
    connection: Connection,
}

impl Reader {
    /// Queries the database.
    pub fn read<T>(
        &self,
        query: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T, Fault> {
        query(&self.connection).map_err(unavailable)
    }
}

impl Store {
    /// Sets how long statements wait for other processes. Commands wait longer than the server's
    /// [`BUSY_TIMEOUT`].
    pub fn set_busy_timeout(&mut self, timeout: Duration) -> Result<(), Fault> {
        self.busy_timeout = timeout;
        self.connection.busy_timeout(timeout).map_err(unavailable)
    }

    /// Overwrites with zeros all that is deleted from now on.
    pub fn enable_secure_delete(&self) -> Result<(), Fault> {
        self.connection
            .pragma_update_and_check(None, "secure_delete", "ON", |_| Ok(()))
            .map_err(unavailable)
    }

    /// Moves the write-ahead log into the database file and truncates the log. Returns false if a
    /// reader or another process was in the way; the next start does it then.
    pub fn checkpoint(&self) -> bool {
        let busy = self
            .connection
            .query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0));
        busy == Ok(0)
    }

    /// The same, but waits for others up to `patience`.
    pub fn checkpoint_within(&self, patience: Duration) -> bool {
        let set = |timeout| self.connection.busy_timeout(timeout);
        let done = set(patience).is_ok() && self.checkpoint();
        done & set(self.busy_timeout).is_ok()
    }

    /// Queries the database.
    pub fn read<T>(
        &self,
        query: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T, Fault> {
        query(&self.connection).map_err(unavailable)
    }
}

/// A query for health checks: it succeeds on every readable database of accountd.
pub fn probe(db: &Connection) -> rusqlite::Result<()> {
    db.prepare_cached("SELECT 1 FROM users LIMIT 1")?
        .exists([])
        .map(drop)
}

/// Bytes of the database and its write-ahead log on disk.
pub fn size(data: &Path) -> u64 {
    let bytes = |name: &str| fs::metadata(data.join(name)).map_or(0, |metadata| metadata.len());
    bytes(FILE) + bytes(&format!("{FILE}-wal"))
}

/// The count in the first column of a row.
fn count(row: &Row) -> rusqlite::Result<u64> {
    row.get(0).map(i64::unsigned_abs)
}

fn unavailable(error: rusqlite::Error) -> Fault {
    Fault::Unavailable(error.to_string())
}

fn write_failed(error: rusqlite::Error) -> Fault {
    Fault::WriteFailed(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::PathBuf;

    /// A database in a fresh folder, removed at the end.
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

        /// Adds a user and returns the id.
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
                .expect("no other user has this name")
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
    fn a_reader_never_waits_for_a_write_and_sees_every_acknowledged_one() {
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
