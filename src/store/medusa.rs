//! Imports users from the database of an existing Medusa, which is only read.

use super::audit::{self, Event};
use super::open::{immutable_uri, literal_path};
use super::{Durable, Store, Transaction, count};
use rusqlite::config::DbConfig;
use rusqlite::types::ValueRef;
use rusqlite::{Connection, ErrorCode, OpenFlags, OptionalExtension, Row, params};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::Duration;

/// The columns that are read of each user, in the order of [`User`]'s fields.
const COLUMNS: [&str; 8] = [
    "id",
    "key",
    "name",
    "show_name",
    "passwd",
    "email",
    "avatar",
    "creation_time",
];
/// The longest value that is read, in bytes: longer than any that can be imported.
const MAX_VALUE: u32 = 16 * 1024;
/// Offset of the read version in the header of a database, which is 2 in WAL mode (SQLite's file
/// format, 1.3.3).
const READ_VERSION: usize = 19;
/// How long a read waits while another process has the file locked.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// The largest id that is kept. SQLite gives each new user the largest id plus one, up to 2^63-1,
/// so a larger one could leave too few for new users.
const LARGEST_ID: i64 = 1_000_000_000;

/// A value of the other database. Any column may hold a value of any type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cell {
    /// NULL.
    Null,
    /// A text, or a number as text.
    Text(String),
    /// A BLOB, invalid UTF-8, or too long for any field.
    Unusable,
}

/// A row of `UserInfo`.
#[allow(missing_docs)] // the columns' names
pub struct User {
    pub id: Cell,
    pub key: Cell,
    pub name: Cell,
    pub show_name: Cell,
    pub passwd: Cell,
    pub email: Cell,
    pub avatar: Cell,
    pub creation_time: Cell,
}

/// The result of importing a user whose values fit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Imported {
    /// Added.
    Added {
        /// The new id, if the old one could not be kept.
        new_id: Option<i64>,
        /// The id of a user here whose email differs only in ASCII case.
        twin: Option<i64>,
    },
    /// Skipped: a user here has this name and, but for ASCII case, this email.
    AlreadyPresent,
    /// Skipped: the name belongs to another user.
    NameTaken,
    /// Skipped: the email belongs to another user.
    EmailTaken,
}

/// An open database of Medusa.
pub struct Medusa(Connection);

impl Medusa {
    /// Opens the database and checks that it has the table and the columns that are read.
    pub fn open(path: &Path) -> Result<Medusa, String> {
        let shown = path.display();
        let failed = |error: rusqlite::Error| match error.sqlite_error_code() {
            Some(ErrorCode::NotADatabase) => format!("{shown}: is not a SQLite database"),
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
                format!("{shown}: another program has it locked; stop that program")
            }
            _ => format!("{shown}: cannot be read: {error}"),
        };
        let mut head = [0; 20];
        // SQLite itself refuses a shorter file.
        File::open(path)
            .and_then(|file| file.read_at(&mut head, 0))
            .map_err(|error| format!("{shown}: cannot be read: {error}"))?;
        let log = path.with_file_name(format!(
            "{}-wal",
            path.file_name().unwrap_or_default().display()
        ));
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY
            | OpenFlags::SQLITE_OPEN_NO_MUTEX
            | OpenFlags::SQLITE_OPEN_URI;
        // In WAL mode and without a write-ahead log, no process has it open. An ordinary reader
        // would create a log and leave it, or fail if the folder is read-only.
        let db = if head[READ_VERSION] == 2 && !log.exists() {
            Connection::open_with_flags(immutable_uri(path), flags)
        } else {
            Connection::open_with_flags(literal_path(path), flags)
        };
        let db = db.map_err(failed)?;
        db.busy_timeout(BUSY_TIMEOUT).map_err(failed)?;
        db.set_db_config(DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false)
            .map_err(failed)?;
        // One read transaction, so that all queries see the same state.
        db.execute_batch("BEGIN").map_err(failed)?;
        // The transaction begins with the first query.
        db.query_row("PRAGMA schema_version", [], |_| Ok(()))
            .map_err(failed)?;
        let table =
            "SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = 'UserInfo' COLLATE NOCASE";
        if !db
            .prepare(table)
            .and_then(|mut found| found.exists([]))
            .map_err(failed)?
        {
            return Err(format!(
                "{shown}: is not a database of Medusa: it has no table UserInfo"
            ));
        }
        for column in COLUMNS {
            let wanted =
                "SELECT 1 FROM pragma_table_xinfo('UserInfo') WHERE name = ?1 COLLATE NOCASE";
            if !db
                .prepare(wanted)
                .and_then(|mut found| found.exists([column]))
                .map_err(failed)?
            {
                return Err(format!(
                    "{shown}: is not a database of Medusa: its table UserInfo has no column {column}"
                ));
            }
        }
        Ok(Medusa(db))
    }

    /// How many rows there are.
    pub fn count(&self) -> rusqlite::Result<u64> {
        self.0.query_row("SELECT count(*) FROM UserInfo", [], count)
    }

    /// Calls `each` with every row, always in the same order, until it returns false.
    pub fn each(&self, each: &mut dyn FnMut(&User) -> bool) -> rusqlite::Result<()> {
        // octet_length() measures a value without reading it.
        let columns = COLUMNS
            .map(|name| format!("iif(octet_length(\"{name}\") > {MAX_VALUE}, x'', \"{name}\")"))
            .join(", ");
        let mut statement = self
            .0
            .prepare(&format!("SELECT {columns} FROM UserInfo ORDER BY \"id\""))?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            if !each(&user(row)?) {
                break;
            }
        }
        Ok(())
    }
}

fn user(row: &Row) -> rusqlite::Result<User> {
    let cell = |at| row.get_ref(at).map(cell);
    Ok(User {
        id: cell(0)?,
        key: cell(1)?,
        name: cell(2)?,
        show_name: cell(3)?,
        passwd: cell(4)?,
        email: cell(5)?,
        avatar: cell(6)?,
        creation_time: cell(7)?,
    })
}

fn cell(value: ValueRef) -> Cell {
    match value {
        ValueRef::Null => Cell::Null,
        ValueRef::Integer(number) => Cell::Text(number.to_string()),
        ValueRef::Real(number) => Cell::Text(number.to_string()),
        ValueRef::Text(text) => String::from_utf8(text.to_vec()).map_or(Cell::Unusable, Cell::Text),
        ValueRef::Blob(_) => Cell::Unusable,
    }
}

/// What decides about the ids of imported users.
struct Ids {
    /// The largest id that was ever given here. An id up to this one belongs to another user, or
    /// did so once.
    largest_here: i64,
    /// The largest id in the other database.
    largest_there: i64,
}

impl Ids {
    /// To be called before the first user is imported.
    fn new(db: &Connection, largest_there: i64) -> rusqlite::Result<Ids> {
        Ok(Ids {
            largest_here: largest(db)?,
            largest_there,
        })
    }
}

/// Whether an id can be kept.
pub fn is_id(id: i64) -> bool {
    (1..=LARGEST_ID).contains(&id)
}

fn largest(db: &Connection) -> rusqlite::Result<i64> {
    let largest = "SELECT coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'users'), 0)";
    db.prepare_cached(largest)?.query_row([], |row| row.get(0))
}

/// A user whose values fit.
#[allow(missing_docs)] // the columns' names
pub struct Candidate {
    pub id: Option<i64>,
    pub name: String,
    pub show_name: String,
    pub email: String,
    /// As it is stored.
    pub password: String,
    pub key: String,
    pub avatar: String,
    pub created_at: i64,
}

/// The result of a row.
pub struct Outcome<'a> {
    /// The row's index in the order of [`Medusa::each`].
    pub index: u64,
    /// The row.
    pub user: &'a User,
    /// What was done with it, or why it cannot be imported.
    pub result: Result<Imported, String>,
}

/// How to import users.
pub struct ImportOptions<'a> {
    /// The other database.
    pub medusa: &'a Medusa,
    /// The largest id in it that can be kept.
    pub largest_id: i64,
    /// Whether to commit the import; otherwise all of it is rolled back.
    pub commit: bool,
    /// The line of the audit log for each imported user.
    pub event: Event<'a>,
}

/// Imports users in one transaction, which is rolled back after an error. `decide` turns each row,
/// given with its index in the order of [`Medusa::each`], into a candidate, or returns why it is
/// not one. `report` receives the result of each row, and may end the import with an error.
pub fn import_all(
    store: &mut Store,
    options: &ImportOptions,
    decide: &dyn Fn(u64, &User) -> Result<Candidate, String>,
    report: &mut dyn FnMut(Outcome) -> Result<(), String>,
) -> Result<(), String> {
    let mut reported = Ok(());
    let written = store.write(Durable::Now, |db| {
        let ids = Ids::new(db, options.largest_id)?;
        let (mut index, mut fault) = (0, None);
        options.medusa.each(&mut |user| {
            let result = match decide(index, user)
                .map(|candidate| import_one(db, &ids, &candidate, &options.event))
            {
                Ok(Err(error)) => {
                    fault = Some(error);
                    return false;
                }
                Ok(Ok(imported)) => Ok(imported),
                Err(why) => Err(why),
            };
            reported = report(Outcome {
                index,
                user,
                result,
            });
            index += 1;
            reported.is_ok()
        })?;
        match fault {
            Some(error) => Err(error),
            None if options.commit && reported.is_ok() => Ok(()),
            // Any error makes the store roll back.
            None => Err(rusqlite::Error::StatementChangedRows(0)),
        }
    });
    reported?;
    if options.commit {
        written.map_err(|fault| format!("no user was imported: {}", fault.cause()))
    } else {
        Ok(())
    }
}

/// Imports a user. Keeps the id if no user here has or had it.
fn import_one(
    db: &Transaction,
    ids: &Ids,
    user: &Candidate,
    event: &Event,
) -> rusqlite::Result<Imported> {
    if let Some(skipped) = find_conflict(db, &user.name, &user.email)? {
        return Ok(skipped);
    }
    let free = |id: i64| {
        db.prepare_cached("SELECT 1 FROM users WHERE id = ?1")?
            .exists([id])
            .map(|there| !there)
    };
    let kept = match user.id {
        Some(id) if is_id(id) && id > ids.largest_here => free(id)?,
        _ => false,
    };
    let twin = twin(db, &user.email)?;
    // A new id is above all of the other database, so that it takes none of a later row.
    let id = if kept {
        user.id.unwrap_or_default()
    } else {
        1 + largest(db)?.max(ids.largest_there)
    };
    db.prepare_cached(
        "INSERT INTO users (id, name, show_name, email, password, key, avatar, created_at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
    )?
    .execute(params![
        id,
        user.name,
        user.show_name,
        user.email,
        user.password,
        user.key,
        user.avatar,
        user.created_at
    ])?;
    audit::done(db, event, Some(id))?;
    Ok(Imported::Added {
        new_id: if kept { None } else { Some(id) },
        twin,
    })
}

/// Why a user with this name and this email is skipped, if a user here has one of them.
pub fn find_conflict(
    db: &Connection,
    name: &str,
    email: &str,
) -> rusqlite::Result<Option<Imported>> {
    let found: Option<String> = db
        .prepare_cached("SELECT email FROM users WHERE name = ?1")?
        .query_row([name], |row| row.get(0))
        .optional()?;
    if let Some(found) = found {
        return Ok(Some(if found.eq_ignore_ascii_case(email) {
            Imported::AlreadyPresent
        } else {
            Imported::NameTaken
        }));
    }
    let taken = db
        .prepare_cached("SELECT 1 FROM users WHERE email = ?1")?
        .exists(params![email])?;
    Ok(taken.then_some(Imported::EmailTaken))
}

/// The id of a user whose email differs from this one only in ASCII case. Both are imported, since
/// both could log in before and nothing tells which of them should go.
fn twin(db: &Connection, email: &str) -> rusqlite::Result<Option<i64>> {
    db.prepare_cached("SELECT id FROM users WHERE email = ?1 COLLATE NOCASE LIMIT 1")?
        .query_row([email], |row| row.get(0))
        .optional()
}
