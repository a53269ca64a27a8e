//! The users as whom a proxy passes requests on, each found with one statement.

use super::sessions;
use rusqlite::{Connection, OptionalExtension, Result, Row, params};
use std::sync::LazyLock;

/// A user with what programs behind a proxy are told.
pub struct ForwardedUser {
    pub id: i64,
    pub name: String,
    pub show_name: String,
    pub email: String,
    /// The names of the user's groups, sorted, with commas between them; no name has one.
    pub groups: String,
    /// Whether the session was opened with a second factor.
    pub second_factor: bool,
}

/// The columns of a [`ForwardedUser`]. Sorting the groups here costs less than a sorter in SQLite.
const COLUMNS: &str = "users.id, users.name, show_name, email,
    (SELECT group_concat(groups.name) FROM members JOIN groups ON groups.id = group_id
     WHERE members.user_id = users.id)";

/// Built once, since each request of a protected program runs it.
static BY_TOKEN: LazyLock<String> = LazyLock::new(|| {
    format!(
        "SELECT {COLUMNS}, second_factor, seen_at FROM sessions JOIN users ON users.id = sessions.user_id
         WHERE sessions.id = ?1 AND token_sha256 = ?2 AND expires_at > ?3"
    )
});

/// The owner of the session with this digest of a token, and the hour of the session's latest use
/// that was written.
pub fn by_token(
    db: &Connection,
    digest: &[u8; 32],
    now: i64,
) -> Result<Option<(ForwardedUser, Option<i64>)>> {
    db.prepare_cached(&BY_TOKEN)?
        .query_row(params![sessions::id(digest), digest, now], |row| {
            Ok((read(row, row.get(5)?)?, row.get(6)?))
        })
        .optional()
}

/// The enabled user with this name, and the user key.
pub fn by_name(db: &Connection, name: &str) -> Result<Option<(ForwardedUser, String)>> {
    db.prepare_cached(&format!(
        "SELECT {COLUMNS}, key FROM users WHERE users.name = ?1 AND disabled_at IS NULL"
    ))?
    .query_row([name], |row| Ok((read(row, false)?, row.get(5)?)))
    .optional()
}

fn read(row: &Row, second_factor: bool) -> Result<ForwardedUser> {
    let mut groups: String = row.get::<_, Option<String>>(4)?.unwrap_or_default();
    if groups.contains(',') {
        let mut names: Vec<&str> = groups.split(',').collect();
        names.sort_unstable();
        groups = names.join(",");
    }
    Ok(ForwardedUser {
        id: row.get(0)?,
        name: row.get(1)?,
        show_name: row.get(2)?,
        email: row.get(3)?,
        groups,
        second_factor,
    })
}
