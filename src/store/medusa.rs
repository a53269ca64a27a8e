//! The database of an existing Medusa, read and never written, and its users taken into ours.

use super::audit::{self, Event};
use super::count;
use super::open::{immutable_uri, literal_path};
use super::{Durable, Store, Transaction};
use rusqlite::config::DbConfig;
use rusqlite::types::ValueRef;
use rusqlite::{Connection, ErrorCode, OpenFlags, OptionalExtension, Result, Row, params};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::Duration;

/// What is read of each user, in the order of [`User`]'s members.
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
/// The longest value in bytes that is read: longer than any that could be taken.
const LONGEST: u32 = 16 * 1024;
/// Where the head of a database says whether it is in WAL mode (SQLite's file format, 1.3.3: the
/// read version).
const WAL: usize = 19;
/// How long a read waits for whoever has the file locked.
const PATIENCE: Duration = Duration::from_secs(5);
/// The largest id that is kept. SQLite gives the next user one more than the largest there is, up
/// to 2^63-1.
const LARGEST_ID: i64 = 1_000_000_000;

/// A value of the other database, which may hold anything anywhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cell {
    /// NULL.
    Nothing,
    /// A text, or a number as one.
    Text(String),
    /// Bytes, broken UTF-8, or too long for anything.
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

/// What became of a user who was to be taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Taken {
    /// Added.
    Added {
        /// The new id, if the old one could not be kept.
        new_id: Option<i64>,
        /// The id of a user here whose email differs by the case of letters alone.
        twin: Option<i64>,
    },
    /// There is a user with this name and this email, but for the case of letters.
    There,
    /// The name is another user's.
    NameTaken,
    /// The email is another user's.
    EmailTaken,
}

/// An open database of Medusa.
pub struct Medusa(Connection);

impl Medusa {
    /// Opens it, and sees that it has what is wanted.
    ///
    /// # Errors
    /// A sentence that says what is wrong with the file and what to do.
    pub fn open(path: &Path) -> Result<Medusa, String> {
        let shown = path.display();
        let failed = |error: rusqlite::Error| match error.sqlite_error_code() {
            Some(ErrorCode::NotADatabase) => format!("{shown}: is not a SQLite database"),
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
                format!("{shown}: somebody has it locked; stop the program that uses it")
            }
            _ => format!("{shown}: cannot be read: {error}"),
        };
        let mut head = [0; 20];
        // A shorter one is for SQLite to refuse.
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
        // In WAL mode and without a log, nobody has it open. Even a reader would make and leave
        // one, or fail where it can't.
        let db = if head[WAL] == 2 && !log.exists() {
            Connection::open_with_flags(immutable_uri(path), flags)
        } else {
            Connection::open_with_flags(literal_path(path), flags)
        };
        let db = db.map_err(failed)?;
        db.busy_timeout(PATIENCE).map_err(failed)?;
        db.set_db_config(DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false)
            .map_err(failed)?;
        // One read transaction, so that every reading sees the same.
        db.execute_batch("BEGIN").map_err(failed)?;
        version(&db).map_err(failed)?;
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
    ///
    /// # Errors
    /// Whatever the database says.
    pub fn count(&self) -> Result<u64> {
        self.0.query_row("SELECT count(*) FROM UserInfo", [], count)
    }

    /// Calls `each` with every row, always in the same order, and stops when it says false.
    ///
    /// # Errors
    /// Whatever the database says.
    pub fn each(&self, each: &mut dyn FnMut(&User) -> bool) -> Result<()> {
        // octet_length() does not read what it measures.
        let columns = COLUMNS
            .map(|name| format!("iif(octet_length(\"{name}\") > {LONGEST}, x'', \"{name}\")"))
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

fn version(db: &Connection) -> Result<u32> {
    db.query_row("PRAGMA schema_version", [], |row| row.get(0))
}

fn user(row: &Row) -> Result<User> {
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
        ValueRef::Null => Cell::Nothing,
        ValueRef::Integer(number) => Cell::Text(number.to_string()),
        ValueRef::Real(number) => Cell::Text(number.to_string()),
        ValueRef::Text(text) => String::from_utf8(text.to_vec()).map_or(Cell::Unusable, Cell::Text),
        ValueRef::Blob(_) => Cell::Unusable,
    }
}

/// Ids for users who are taken in.
struct Ids {
    /// The largest that accountd has given to anybody: up to this one an id may be somebody else's,
    /// or have been.
    given: i64,
    /// The largest that the other database has.
    theirs: i64,
}

impl Ids {
    /// Before the first user is taken in; `theirs` is the largest id of the other database.
    fn new(db: &Connection, theirs: i64) -> Result<Ids> {
        Ok(Ids {
            given: largest(db)?,
            theirs,
        })
    }
}

/// Whether an id is one that can be kept.
#[must_use]
pub fn is_id(id: i64) -> bool {
    (1..=LARGEST_ID).contains(&id)
}

fn largest(db: &Connection) -> Result<i64> {
    let largest = "SELECT coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'users'), 0)";
    db.prepare_cached(largest)?.query_row([], |row| row.get(0))
}

/// A user who fits.
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

/// What became of a row, or why it was not to be taken.
pub struct Outcome<'a> {
    /// Its place in the order of [`Medusa::each`].
    pub place: u64,
    /// The row.
    pub user: &'a User,
    /// What became of it.
    pub taken: Result<Taken, String>,
}

/// Whom to take from where.
pub struct Move<'a> {
    /// The other database.
    pub medusa: &'a Medusa,
    /// The largest id there, of those that can be kept.
    pub largest_id: i64,
    /// Whether it is to last; otherwise all of it is rolled back.
    pub keep: bool,
    /// What the audit log says of each user who is taken.
    pub event: Event<'a>,
}

/// Takes users in one transaction, which is rolled back after an error. `decide` is asked about
/// each row, told its place in the order of [`Medusa::each`]; `tell` is told what became of it, and
/// may end it all.
///
/// # Errors
/// A sentence; nobody was taken then.
pub fn take_all(
    store: &mut Store,
    moving: &Move,
    decide: &dyn Fn(u64, &User) -> Result<Candidate, String>,
    tell: &mut dyn FnMut(Outcome) -> Result<(), String>,
) -> Result<(), String> {
    let mut told = Ok(());
    let written = store.write(Durable::Now, |db| {
        let ids = Ids::new(db, moving.largest_id)?;
        let (mut place, mut fault) = (0, None);
        moving.medusa.each(&mut |user| {
            let taken = match decide(place, user)
                .map(|candidate| take(db, &ids, &candidate, &moving.event))
            {
                Ok(Err(error)) => {
                    fault = Some(error);
                    return false;
                }
                Ok(Ok(taken)) => Ok(taken),
                Err(why) => Err(why),
            };
            told = tell(Outcome { place, user, taken });
            place += 1;
            told.is_ok()
        })?;
        match fault {
            Some(error) => Err(error),
            None if moving.keep && told.is_ok() => Ok(()),
            None => Err(rusqlite::Error::StatementChangedRows(0)),
        }
    });
    told?;
    if moving.keep {
        written.map_err(|fault| format!("nobody was taken: {}", fault.cause()))
    } else {
        Ok(())
    }
}

/// Takes a user in, with the id if nobody has or had it.
fn take(db: &Transaction, ids: &Ids, user: &Candidate, event: &Event) -> Result<Taken> {
    if let Some(taken) = is_there(db, &user.name, &user.email)? {
        return Ok(taken);
    }
    let free = |id: i64| {
        db.prepare_cached("SELECT 1 FROM users WHERE id = ?1")?
            .exists([id])
            .map(|there| !there)
    };
    let kept = match user.id {
        Some(id) if is_id(id) && id > ids.given => free(id)?,
        _ => false,
    };
    let twin = twin(db, &user.email)?;
    // Behind all of theirs, so that it takes none that is still to come.
    let id = if kept {
        user.id.unwrap_or_default()
    } else {
        1 + largest(db)?.max(ids.theirs)
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
    Ok(Taken::Added {
        new_id: if kept { None } else { Some(id) },
        twin,
    })
}

/// Whether this name or this email has somebody.
///
/// # Errors
/// Whatever our database says.
pub fn is_there(db: &Connection, name: &str, email: &str) -> Result<Option<Taken>> {
    let found: Option<String> = db
        .prepare_cached("SELECT email FROM users WHERE name = ?1")?
        .query_row([name], |row| row.get(0))
        .optional()?;
    if let Some(found) = found {
        return Ok(Some(if found.eq_ignore_ascii_case(email) {
            Taken::There
        } else {
            Taken::NameTaken
        }));
    }
    let taken = db
        .prepare_cached("SELECT 1 FROM users WHERE email = ?1")?
        .exists(params![email])?;
    Ok(taken.then_some(Taken::EmailTaken))
}

/// The id of a user whose email is this one but for the case of ASCII letters. Such a user is
/// imported all the same: both could log in before, and none of the two emails tells which of them
/// is to go.
fn twin(db: &Connection, email: &str) -> Result<Option<i64>> {
    db.prepare_cached("SELECT id FROM users WHERE email = ?1 COLLATE NOCASE LIMIT 1")?
        .query_row([email], |row| row.get(0))
        .optional()
}
