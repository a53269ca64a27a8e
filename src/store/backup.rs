//! The database copied while others write, a copy opened without a trace, and one database put in
//! another's place.

use super::check::count;
use super::opening::{literal, refuse_foreign, refuse_newer};
use super::{FILE, Store};
use rusqlite::backup::{Backup, StepResult};
use rusqlite::{Connection, ErrorCode, OpenFlags, Result};
use std::fmt::Write as _;
use std::fs::OpenOptions;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::thread;
use std::time::{Duration, SystemTime};

/// Pages of 4 KiB from one sync to the next. What waits for the disk then is so little that the
/// sync of somebody else's change is not held up by it.
const PAGES: i32 = 256;
/// Something, or a sentence that says why not.
pub type OrWhy<T> = std::result::Result<T, String>;

/// Before another try, where the file is locked.
const PAUSE: Duration = Duration::from_millis(5);

impl Store {
    /// Copies the database as it is at one moment to a new file, which only its owner may read, and
    /// says when that was. `step` is told how many pages there are of how many.
    ///
    /// # Errors
    /// A sentence; also that of `step`, which ends it.
    pub fn copy_to(
        &self,
        target: &Path,
        step: &mut dyn FnMut(u64, u64) -> OrWhy<()>,
    ) -> OrWhy<SystemTime> {
        let failed = |error: rusqlite::Error| format!("{}: {error}", target.display());
        let io = |error: std::io::Error| format!("{}: {error}", target.display());
        let file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(target)
            .map_err(io)?;
        // All of it in one read transaction: between two of them a write would start the copy anew,
        // for ever. In WAL mode it holds up no writer.
        let snapshot = self.connection.unchecked_transaction().map_err(failed)?;
        snapshot
            .query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(()))
            .map_err(failed)?;
        let moment = SystemTime::now();
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let open = || Connection::open_with_flags(literal(target), flags).map_err(failed);
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
                thread::sleep(PAUSE);
            }
            file.sync_data().map_err(io)?;
            let (left, all) = (backup.progress().remaining, backup.progress().pagecount);
            step(
                u64::from((all - left).unsigned_abs()),
                u64::from(all.unsigned_abs()),
            )?;
        }
        drop(backup);
        drop((snapshot, copy));
        // A file by itself, that can be read without a log beside it.
        open()?
            .pragma_update_and_check(None, "journal_mode", "DELETE", |_| Ok(()))
            .map_err(failed)?;
        file.sync_all().map_err(io)?;
        Ok(moment)
    }

    /// Opens a database that nobody writes, and writes nothing, not even beside it: a backup.
    ///
    /// # Errors
    /// A sentence that says what is wrong with the file.
    pub fn still(folder: &Path) -> OrWhy<Store> {
        let path = folder.join(FILE);
        if !path.exists() {
            return Err(format!("{}: is not there", path.display()));
        }
        refuse_foreign(&path)?;
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY
            | OpenFlags::SQLITE_OPEN_NO_MUTEX
            | OpenFlags::SQLITE_OPEN_URI;
        let opened = Connection::open_with_flags(immutable(&path), flags);
        let connection =
            opened.map_err(|error| format!("{}: cannot be opened: {error}", path.display()))?;
        refuse_newer(&connection, &path)?;
        Ok(Store {
            connection,
            durable: super::Durable::Now,
            patience: super::BUSY,
        })
    }

    /// How many users differ from those of the database in `folder`, which nobody writes, or are in
    /// one of them alone.
    ///
    /// # Errors
    /// Whatever the database says.
    pub fn users_that_differ(&self, folder: &Path) -> Result<u64> {
        self.connection
            .execute("ATTACH ?1 AS other", [immutable(&folder.join(FILE))])?;
        // An older one has fewer columns.
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

    /// Makes the database one file without a log; false while anybody else has it open.
    ///
    /// # Errors
    /// Whatever the database says.
    pub fn close_alone(self) -> Result<bool> {
        self.connection.busy_timeout(PAUSE)?;
        let mode = self
            .connection
            .pragma_update_and_check(None, "journal_mode", "DELETE", |row| {
                row.get::<_, String>(0)
            });
        match mode {
            Err(error) if error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy) => Ok(false),
            mode => mode.map(|mode| mode == "delete"),
        }
    }
}

/// The URI of a file that nobody writes (SQLite's "Uniform Resource Identifiers", 3.3): no lock, no
/// log, no trace.
pub(super) fn immutable(path: &Path) -> String {
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.into());
    let mut uri = String::from("file:");
    for byte in absolute.as_os_str().as_bytes() {
        match byte {
            b'/' | b'.' | b'-' | b'_' | b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' => {
                uri.push(char::from(*byte))
            }
            _ => _ = write!(uri, "%{byte:02X}"),
        }
    }
    uri + "?immutable=1"
}
