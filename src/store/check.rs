//! What there is to check in a database: what SQLite finds wrong with it, and the pictures that
//! users have.

use super::Transaction;
use rusqlite::{Connection, Result, Row};

/// What `integrity_check` and `foreign_key_check` of SQLite find; nothing if all is well.
///
/// # Errors
/// Whatever the database says.
pub fn faults(db: &Connection) -> Result<Vec<String>> {
    let mut faults: Vec<String> = db
        .prepare("PRAGMA integrity_check(20)")?
        .query_map([], |row| row.get(0))?
        .collect::<Result<_>>()?;
    faults.retain(|fault| fault != "ok");
    let mut statement = db.prepare("PRAGMA foreign_key_check")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let (table, id, parent): (String, Option<i64>, String) =
            (row.get(0)?, row.get(1)?, row.get(2)?);
        faults.push(format!(
            "row {} of {table} belongs to no row of {parent}",
            id.unwrap_or_default()
        ));
    }
    Ok(faults)
}

/// The number in the first column of a row.
pub(super) fn count(row: &Row) -> Result<u64> {
    row.get(0).map(i64::unsigned_abs)
}

/// How many users there are.
///
/// # Errors
/// Whatever the database says.
pub fn count_users(db: &Connection) -> Result<u64> {
    db.query_row("SELECT count(*) FROM users", [], count)
}

/// How many different uploaded pictures users have.
///
/// # Errors
/// Whatever the database says.
pub fn count_avatars(db: &Connection) -> Result<u64> {
    db.query_row(
        "SELECT count(DISTINCT avatar) FROM users WHERE avatar <> 'admin.jpg'",
        [],
        count,
    )
}

/// Calls `each` with the name of every uploaded picture that users have, in their order (of bytes),
/// and stops when it says false.
///
/// # Errors
/// Whatever the database says.
pub fn each_avatar(db: &Connection, each: &mut dyn FnMut(&str) -> bool) -> Result<()> {
    let mut statement = db
        .prepare("SELECT DISTINCT avatar FROM users WHERE avatar <> 'admin.jpg' ORDER BY avatar")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        if !each(row.get_ref(0)?.as_str()?) {
            break;
        }
    }
    Ok(())
}

/// Gives every user who has this picture the built-in one, and says their ids.
///
/// # Errors
/// Whatever the database says.
pub fn forget_avatar(db: &Transaction, avatar: &str) -> Result<Vec<i64>> {
    let mut statement =
        db.prepare_cached("UPDATE users SET avatar = 'admin.jpg' WHERE avatar = ?1 RETURNING id")?;
    statement.query_map([avatar], |row| row.get(0))?.collect()
}
