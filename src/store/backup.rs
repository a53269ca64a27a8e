//! Copies of the database: made while others write, compared, and closed for replacement.

use super::open::{immutable_uri, literal_path};
use super::transaction::is_busy;
use super::{FILE, Store, count};
use rusqlite::backup::{Backup, StepResult};
use rusqlite::{Connection, OpenFlags};
use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::thread;
use std::time::{Duration, SystemTime};

/// Pages of 4 KiB between two syncs of the copy. So little is waiting for the disk at any moment
/// that the sync of a change in the server is not delayed by it.
const PAGES: i32 = 256;

/// Between two tries while the file is locked.
const RETRY: Duration = Duration::from_millis(5);

impl Store {
    /// Copies the database as it is at one moment to a new file that only its owner may read.
    /// Returns that moment. `progress` receives the number of copied pages and of all pages; its
    /// error ends the copy.
    pub fn copy_to(
        &self,
        target: &Path,
        progress: &mut dyn FnMut(u64, u64) -> Result<(), String>,
    ) -> Result<SystemTime, String> {
        let failed = |error: rusqlite::Error| format!("{}: {error}", target.display());
        let io = |error: std::io::Error| format!("{}: {error}", target.display());
        let file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(target)
            .map_err(io)?;
        // One read transaction for the whole copy: between two of them, a write would restart the
        // copy again and again. In WAL mode it does not block writers.
        let snapshot = self.connection.unchecked_transaction().map_err(failed)?;
        snapshot
            .query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(()))
            .map_err(failed)?;
        let moment = SystemTime::now();
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let open = || Connection::open_with_flags(literal_path(target), flags).map_err(failed);
        let mut copy = open()?;
        copy.pragma_update_and_check(None, "journal_mode", "OFF", |_| Ok(()))
            .map_err(failed)?;
        copy.pragma_update(None, "synchronous", "OFF")
            .map_err(failed)?;
        let backup = Backup::new(&snapshot, &mut copy).map_err(failed)?;
        let mut result = StepResult::More;
        while result != StepResult::Done {
            result = backup.step(PAGES).map_err(failed)?;
            if matches!(result, StepResult::Busy | StepResult::Locked) {
                thread::sleep(RETRY);
            }
            file.sync_data().map_err(io)?;
            let (left, all) = (backup.progress().remaining, backup.progress().pagecount);
            progress(
                u64::from((all - left).unsigned_abs()),
                u64::from(all.unsigned_abs()),
            )?;
        }
        drop(backup);
        drop((snapshot, copy));
        // In this mode the file can be read without a write-ahead log beside it.
        open()?
            .pragma_update_and_check(None, "journal_mode", "DELETE", |_| Ok(()))
            .map_err(failed)?;
        file.sync_all().map_err(io)?;
        Ok(moment)
    }

    /// How many users are different here and in the database in `folder`, or are only in one of
    /// them. No process may be writing the other database.
    pub fn users_that_differ(&self, folder: &Path) -> rusqlite::Result<u64> {
        self.connection
            .execute("ATTACH ?1 AS other", [immutable_uri(&folder.join(FILE))])?;
        // A database of an older version has fewer columns.
        let columns = "SELECT group_concat(name) FROM (SELECT name FROM pragma_table_info('users', 'main') INTERSECT
             SELECT name FROM pragma_table_info('users', 'other'))";
        let columns: String = self.connection.query_row(columns, [], |row| row.get(0))?;
        let count = self.connection.query_row(
            &format!(
                "SELECT count(DISTINCT id) FROM (
                     SELECT * FROM (SELECT {columns} FROM main.users EXCEPT SELECT {columns} FROM other.users) UNION ALL
                     SELECT * FROM (SELECT {columns} FROM other.users EXCEPT SELECT {columns} FROM main.users))"
            ),
            [],
            count,
        );
        self.connection.execute("DETACH other", [])?;
        count
    }

    /// Closes the database as one file without a write-ahead log. Returns false if another process
    /// has it open.
    pub fn close_exclusive(self) -> rusqlite::Result<bool> {
        self.connection.busy_timeout(RETRY)?;
        let mode = self
            .connection
            .pragma_update_and_check(None, "journal_mode", "DELETE", |row| {
                row.get::<_, String>(0)
            });
        match mode {
            Err(error) if is_busy(&error) => Ok(false),
            mode => mode.map(|mode| mode == "delete"),
        }
    }
}
