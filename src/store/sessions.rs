//! Sessions: the SHA-256 digest of a token, its user and its expiry. Times are Unix seconds.
//!
//! A session's id is the beginning of the digest, so that a token finds its row without an index.

use super::{Transaction, count};
use rusqlite::{Connection, OptionalExtension, Result, params};

/// Opens a session, and keeps the newest `limit` sessions of the user. Returns false if the user is
/// disabled or the stored password is no longer `password`.
pub fn open(
    db: &Transaction,
    user: i64,
    password: &str,
    token: &[u8; 32],
    expires_at: i64,
    limit: i64,
) -> Result<bool> {
    let opened = db
        .prepare_cached(
            "INSERT INTO sessions (id, token_sha256, user_id, nth, expires_at)
             SELECT ?1, ?2, id, (SELECT ifnull(max(nth), 0) + 1 FROM sessions WHERE user_id = ?3), ?5
             FROM users WHERE id = ?3 AND password = ?4 AND disabled_at IS NULL",
        )?
        .execute(params![id(token), token, user, password, expires_at])?;
    db.prepare_cached(
        "DELETE FROM sessions WHERE id IN (
             SELECT id FROM sessions WHERE user_id = ?1 ORDER BY nth DESC LIMIT -1 OFFSET ?2)",
    )?
    .execute(params![user, limit])?;
    Ok(opened == 1)
}

/// The id of the session whose token has this digest: its first eight bytes. Among a million
/// sessions, two have the same id with a chance of 1 to 40 million; opening the second one fails.
pub(super) fn id(token: &[u8; 32]) -> i64 {
    i64::from_be_bytes(token[..8].try_into().expect("a digest has 32 bytes"))
}

/// The id of the user whose token has this digest, if the session is valid at this time.
pub fn owner(db: &Connection, token: &[u8; 32], now: i64) -> Result<Option<i64>> {
    db.prepare_cached(
        "SELECT user_id FROM sessions WHERE id = ?1 AND token_sha256 = ?2 AND expires_at > ?3",
    )?
    .query_row(params![id(token), token, now], |row| row.get(0))
    .optional()
}

/// How many sessions are valid at this time.
pub fn count_valid(db: &Connection, now: i64) -> Result<u64> {
    db.prepare_cached("SELECT count(*) FROM sessions WHERE expires_at > ?1")?
        .query_row([now], count)
}

/// Ends the session of the token with this digest.
pub fn end(db: &Transaction, token: &[u8; 32]) -> Result<()> {
    db.prepare_cached("DELETE FROM sessions WHERE id = ?1 AND token_sha256 = ?2")?
        .execute(params![id(token), token])
        .map(drop)
}

/// Ends every session of a user.
pub fn end_all(db: &Transaction, user: i64) -> Result<()> {
    db.prepare_cached("DELETE FROM sessions WHERE user_id = ?1")?
        .execute([user])
        .map(drop)
}
