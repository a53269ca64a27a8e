//! Sessions: a token's SHA-256 digest, whose it is and until when. Times are Unix seconds.

use super::check::count;
use rusqlite::{Connection, OptionalExtension, Result, Transaction, params};

/// Opens a session for a user who is not disabled and whose stored password is still `password`; false if not so. Of the
/// user's sessions the newest `most` stay.
///
/// # Errors
/// Whatever the database says.
pub fn open(db: &Transaction, user: i64, password: &str, token: &[u8; 32], expires_at: i64, most: i64) -> Result<bool> {
    let opened = db
        .prepare_cached(
            "INSERT INTO sessions (token_sha256, user_id, expires_at)
             SELECT ?1, id, ?4 FROM users WHERE id = ?2 AND password = ?3 AND disabled_at IS NULL",
        )?
        .execute(params![token, user, password, expires_at])?;
    db.prepare_cached(
        "DELETE FROM sessions WHERE id IN (
             SELECT id FROM sessions WHERE user_id = ?1 ORDER BY id DESC LIMIT -1 OFFSET ?2)",
    )?
    .execute(params![user, most])?;
    Ok(opened == 1)
}

/// The id of the user whose token has this digest, if it is good at this time.
///
/// # Errors
/// Whatever the database says.
pub fn owner(db: &Connection, token: &[u8; 32], now: i64) -> Result<Option<i64>> {
    db.prepare_cached("SELECT user_id FROM sessions WHERE token_sha256 = ?1 AND expires_at > ?2")?
        .query_row(params![token, now], |row| row.get(0))
        .optional()
}

/// How many sessions are good at this time.
///
/// # Errors
/// Whatever the database says.
pub fn count_good(db: &Connection, now: i64) -> Result<u64> {
    db.prepare_cached("SELECT count(*) FROM sessions WHERE expires_at > ?1")?.query_row([now], count)
}

/// Ends the session of the token with this digest.
///
/// # Errors
/// Whatever the database says.
pub fn end(db: &Transaction, token: &[u8; 32]) -> Result<()> {
    db.prepare_cached("DELETE FROM sessions WHERE token_sha256 = ?1")?.execute([token]).map(drop)
}

/// Ends every session of a user.
///
/// # Errors
/// Whatever the database says.
pub fn end_all(db: &Transaction, user: i64) -> Result<()> {
    db.prepare_cached("DELETE FROM sessions WHERE user_id = ?1")?.execute([user]).map(drop)
}
