//! Accounts as those see them who look after them: all there is to know of a user, and changes
//! without a password.

use super::users::{User, unless_taken, user};
use super::{Transaction, sessions};
use rusqlite::{Connection, OptionalExtension, Result, Row, params};

/// Whom a command is about.
pub enum Who {
    /// The user with this name.
    Name(String),
    /// The user with this id.
    Id(i64),
}

impl Who {
    /// Name and id, of which one is known.
    #[must_use]
    pub fn parts(&self) -> (Option<&str>, Option<i64>) {
        match self {
            Who::Name(name) => (Some(name), None),
            Who::Id(id) => (None, Some(*id)),
        }
    }
}

/// An account. Times are Unix seconds.
pub struct Account {
    /// What its user may know too.
    pub user: User,
    /// As it is stored.
    pub password: String,
    /// When it was registered.
    pub created_at: i64,
    /// Since when it is nobody's, if so.
    pub disabled_at: Option<i64>,
    /// How many tokens are good.
    pub sessions: i64,
    /// Until when the last of them is.
    pub sessions_end_at: Option<i64>,
}

/// What is read of an account at a time ?1.
const COLUMNS: &str = "id, key, name, show_name, email, avatar, password, created_at, disabled_at,
    (SELECT count(*) FROM sessions WHERE user_id = users.id AND expires_at > ?1),
    (SELECT max(expires_at) FROM sessions WHERE user_id = users.id AND expires_at > ?1)";

fn account(row: &Row) -> Result<Account> {
    Ok(Account {
        user: user(row)?,
        password: row.get(6)?,
        created_at: row.get(7)?,
        disabled_at: row.get(8)?,
        sessions: row.get(9)?,
        sessions_end_at: row.get(10)?,
    })
}

/// Finds an account.
///
/// # Errors
/// Whatever the database says.
pub fn find(db: &Connection, who: &Who, now: i64) -> Result<Option<Account>> {
    let (name, id) = who.parts();
    db.prepare_cached(&format!(
        "SELECT {COLUMNS} FROM users WHERE name = ?2 OR id = ?3"
    ))?
    .query_row(params![now, name, id], account)
    .optional()
}

/// So many accounts at the most in the order of their ids, those behind one id.
///
/// # Errors
/// Whatever the database says.
pub fn list(db: &Connection, behind: i64, most: i64, now: i64) -> Result<Vec<Account>> {
    db.prepare_cached(&format!(
        "SELECT {COLUMNS} FROM users WHERE id > ?2 ORDER BY id LIMIT ?3"
    ))?
    .query_map(params![now, behind, most], account)?
    .collect()
}

/// Ids and names of at most so many users, in the order of their ids, those behind one id.
///
/// # Errors
/// Whatever the database says.
pub fn names(db: &Connection, behind: i64, most: i64) -> Result<Vec<(i64, String)>> {
    db.prepare_cached("SELECT id, name FROM users WHERE id > ?1 ORDER BY id LIMIT ?2")?
        .query_map([behind, most], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect()
}

/// Changes a name; false if it is taken.
///
/// # Errors
/// Whatever the database says.
pub fn rename(db: &Transaction, id: i64, name: &str) -> Result<bool> {
    unless_taken(db.execute(
        "UPDATE users SET name = ?2 WHERE id = ?1",
        params![id, name],
    ))
}

/// Sets a password as it is stored, and ends every session.
///
/// # Errors
/// Whatever the database says.
pub fn set_password(db: &Transaction, id: i64, password: &str) -> Result<()> {
    db.execute(
        "UPDATE users SET password = ?2 WHERE id = ?1",
        params![id, password],
    )?;
    sessions::end_all(db, id)
}

/// Makes a user nobody to every interface, and ends every session; who is that already stays it
/// since then.
///
/// # Errors
/// Whatever the database says.
pub fn disable(db: &Transaction, id: i64, now: i64) -> Result<()> {
    db.execute(
        "UPDATE users SET disabled_at = ifnull(disabled_at, ?2) WHERE id = ?1",
        [id, now],
    )?;
    sessions::end_all(db, id)
}

/// Lets a user in again.
///
/// # Errors
/// Whatever the database says.
pub fn enable(db: &Transaction, id: i64) -> Result<()> {
    db.execute("UPDATE users SET disabled_at = NULL WHERE id = ?1", [id])
        .map(drop)
}

/// Removes a user with all sessions, and says what picture nobody needs any more; nothing if there
/// is no such user.
///
/// # Errors
/// Whatever the database says.
pub fn delete(db: &Transaction, id: i64) -> Result<Option<String>> {
    sessions::end_all(db, id)?;
    db.query_row(
        "DELETE FROM users WHERE id = ?1 RETURNING avatar",
        [id],
        |row| row.get(0),
    )
    .optional()
}
