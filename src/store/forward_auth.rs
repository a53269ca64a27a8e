//! The users as whom a proxy passes requests on.

use super::groups;
use rusqlite::{Connection, OptionalExtension, Result, Row, params};

/// A user with what programs behind a proxy are told.
pub struct ForwardedUser {
    pub id: i64,
    pub name: String,
    pub show_name: String,
    pub email: String,
    /// The names of the user's groups, sorted.
    pub groups: Vec<String>,
}

/// The owner of the session with this digest of a token.
pub fn by_token(db: &Connection, digest: &[u8; 32], now: i64) -> Result<Option<ForwardedUser>> {
    let Some(id) = super::sessions::owner(db, digest, now)? else {
        return Ok(None);
    };
    let user = db
        .prepare_cached("SELECT id, name, show_name, email FROM users WHERE id = ?1")?
        .query_row([id], read)
        .optional()?;
    user.map(|user| with_groups(db, user)).transpose()
}

/// The enabled user with this name, and the user key.
pub fn by_name(db: &Connection, name: &str) -> Result<Option<(ForwardedUser, String)>> {
    let found = db
        .prepare_cached(
            "SELECT id, name, show_name, email, key FROM users WHERE name = ?1 AND disabled_at IS NULL",
        )?
        .query_row(params![name], |row| Ok((read(row)?, row.get(4)?)))
        .optional()?;
    found
        .map(|(user, key)| Ok((with_groups(db, user)?, key)))
        .transpose()
}

fn read(row: &Row) -> Result<ForwardedUser> {
    Ok(ForwardedUser {
        id: row.get(0)?,
        name: row.get(1)?,
        show_name: row.get(2)?,
        email: row.get(3)?,
        groups: Vec::new(),
    })
}

fn with_groups(db: &Connection, mut user: ForwardedUser) -> Result<ForwardedUser> {
    user.groups = groups::of_user(db, user.id)?;
    Ok(user)
}
