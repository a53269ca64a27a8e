//! Accounts as an admin sees them: all that is stored of a user, and changes without a password.

use super::users::{User, unless_taken, user};
use super::{Transaction, groups, reset_links, sessions};
use rusqlite::{Connection, OptionalExtension, Result, Row, params};

/// The user that a command names.
pub enum UserRef {
    /// The user with this name.
    Name(String),
    /// The user with this id.
    Id(i64),
}

impl UserRef {
    /// The name and the id, one of which is known.
    pub fn name_and_id(&self) -> (Option<&str>, Option<i64>) {
        match self {
            UserRef::Name(name) => (Some(name), None),
            UserRef::Id(id) => (None, Some(*id)),
        }
    }
}

/// An account. Times are Unix seconds.
pub struct Account {
    /// What the user can see too.
    pub user: User,
    /// As it is stored.
    pub password: String,
    /// When it was registered.
    pub created_at: i64,
    /// Since when it is disabled, if it is.
    pub disabled_at: Option<i64>,
    /// How many tokens are valid.
    pub sessions: i64,
    /// When the last of them expires.
    pub sessions_end_at: Option<i64>,
    /// The names of the user's groups, in the order of names.
    pub groups: Vec<String>,
    /// Whether there is a second factor.
    pub second_factor: bool,
}

/// The columns of an [`Account`] at the time ?1.
const COLUMNS: &str = "id, key, name, show_name, email, avatar, password, created_at, disabled_at,
    (SELECT count(*) FROM sessions WHERE user_id = users.id AND expires_at > ?1),
    (SELECT max(expires_at) FROM sessions WHERE user_id = users.id AND expires_at > ?1),
    (SELECT group_concat(groups.name, ',' ORDER BY groups.name)
     FROM members JOIN groups ON groups.id = group_id WHERE user_id = users.id),
    EXISTS (SELECT 1 FROM totp WHERE user_id = users.id AND confirmed_at IS NOT NULL)";

fn account(row: &Row) -> Result<Account> {
    Ok(Account {
        user: user(row)?,
        password: row.get(6)?,
        created_at: row.get(7)?,
        disabled_at: row.get(8)?,
        sessions: row.get(9)?,
        sessions_end_at: row.get(10)?,
        groups: groups::split(row.get(11)?),
        second_factor: row.get(12)?,
    })
}

/// Finds an account.
pub fn find(db: &Connection, user: &UserRef, now: i64) -> Result<Option<Account>> {
    let (name, id) = user.name_and_id();
    db.prepare_cached(&format!(
        "SELECT {COLUMNS} FROM users WHERE name = ?2 OR id = ?3"
    ))?
    .query_row(params![now, name, id], account)
    .optional()
}

/// At most `limit` accounts with ids above `after`, in the order of ids.
pub fn list(db: &Connection, after: i64, limit: i64, now: i64) -> Result<Vec<Account>> {
    db.prepare_cached(&format!(
        "SELECT {COLUMNS} FROM users WHERE id > ?2 ORDER BY id LIMIT ?3"
    ))?
    .query_map(params![now, after, limit], account)?
    .collect()
}

/// Ids and names of at most `limit` users with ids above `after`, in the order of ids.
pub fn names(db: &Connection, after: i64, limit: i64) -> Result<Vec<(i64, String)>> {
    db.prepare_cached("SELECT id, name FROM users WHERE id > ?1 ORDER BY id LIMIT ?2")?
        .query_map([after, limit], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect()
}

/// Changes a name. Returns false if it is taken.
pub fn rename(db: &Transaction, id: i64, name: &str) -> Result<bool> {
    unless_taken(db.execute(
        "UPDATE users SET name = ?2 WHERE id = ?1",
        params![id, name],
    ))
}

/// Sets the stored form of a password, and ends the user's sessions and reset link.
pub fn set_password(db: &Transaction, id: i64, password: &str) -> Result<()> {
    db.execute(
        "UPDATE users SET password = ?2 WHERE id = ?1",
        params![id, password],
    )?;
    reset_links::delete_of(db, id)?;
    sessions::end_all(db, id)
}

/// Disables a user and ends all their sessions and the reset link. Disabling a disabled user keeps
/// the original time.
pub fn disable(db: &Transaction, id: i64, now: i64) -> Result<()> {
    db.execute(
        "UPDATE users SET disabled_at = ifnull(disabled_at, ?2) WHERE id = ?1",
        [id, now],
    )?;
    reset_links::delete_of(db, id)?;
    sessions::end_all(db, id)
}

/// Enables a disabled user.
pub fn enable(db: &Transaction, id: i64) -> Result<()> {
    db.execute("UPDATE users SET disabled_at = NULL WHERE id = ?1", [id])
        .map(drop)
}

/// Deletes a user with all their sessions, memberships, the second factor and the reset link. Returns the avatar's
/// name, or `None` if there is no such user.
pub fn delete(db: &Transaction, id: i64) -> Result<Option<String>> {
    sessions::end_all(db, id)?;
    db.query_row(
        "DELETE FROM users WHERE id = ?1 RETURNING avatar",
        [id],
        |row| row.get(0),
    )
    .optional()
}

/// The same, and what was stored of the user is overwritten with zeros.
pub fn erase(db: &Transaction, id: i64) -> Result<Option<String>> {
    let overwrite = |mode| db.pragma_update_and_check(None, "secure_delete", mode, |_| Ok(()));
    overwrite("ON")?;
    let deleted = delete(db, id);
    // As it was: other deletions need no writes of their own.
    overwrite("FAST")?;
    deleted
}
