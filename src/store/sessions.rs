//! Sessions: the SHA-256 digest of a token, its user and its expiry. Times are Unix seconds.
//!
//! A session's id is the beginning of the digest, so that a token finds its row without an index.

use super::{Transaction, count};
use rusqlite::{Connection, OptionalExtension, Result, params};

/// Seconds of an hour: [`Listed::seen_at`] is rounded down to it.
const HOUR: i64 = 3600;

/// A session that is opened.
pub struct New<'a> {
    /// The id of the user.
    pub user: i64,
    /// The user's password, as it is stored.
    pub password: &'a str,
    /// The digest of the token.
    pub token: &'a [u8; 32],
    /// The time.
    pub now: i64,
    /// From when on the token is refused.
    pub expires_at: i64,
    /// The client's address, as in the audit log.
    pub source: &'a str,
    /// The kind of client, in fixed words.
    pub client: &'a str,
    /// Whether the user has shown a second factor.
    pub second_factor: bool,
}

/// Opens a session, and keeps the newest `limit` sessions of the user. Returns false if the user is
/// disabled or the stored password is no longer the one in `new`.
///
/// `nth` is the time, or one more than that of the user's latest session if that is greater. So it
/// grows with each session, and none is mistaken for one that has ended before.
pub fn open(db: &Transaction, new: &New, limit: i64) -> Result<bool> {
    let opened = db
        .prepare_cached(
            "INSERT INTO sessions (id, token_sha256, user_id, nth, expires_at,
                                   opened_at, seen_at, source, client, second_factor)
             SELECT ?1, ?2, id, max(?6, (SELECT ifnull(max(nth), 0) + 1 FROM sessions WHERE user_id = ?3)), ?5,
                    ?6, ?7, ?8, ?9, ?10
             FROM users WHERE id = ?3 AND password = ?4 AND disabled_at IS NULL",
        )?
        .execute(params![
            id(new.token),
            new.token,
            new.user,
            new.password,
            new.expires_at,
            new.now,
            hour(new.now),
            new.source,
            new.client,
            new.second_factor,
        ])?;
    db.prepare_cached(
        "DELETE FROM sessions WHERE id IN (
             SELECT id FROM sessions WHERE user_id = ?1 ORDER BY nth DESC LIMIT -1 OFFSET ?2)",
    )?
    .execute(params![new.user, limit])?;
    Ok(opened == 1)
}

/// The beginning of the hour.
pub fn hour(now: i64) -> i64 {
    now - now.rem_euclid(HOUR)
}

/// The id of the session whose token has this digest: its first eight bytes. Among a million
/// sessions, two have the same id with a chance of 1 to 40 million; opening the second one fails.
pub fn id(token: &[u8; 32]) -> i64 {
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

/// A session that was found by its token.
pub struct Session {
    /// The id of its user.
    pub user: i64,
    /// The hour of its latest use that was written, if any was.
    pub seen_at: Option<i64>,
    /// Whether the user has shown a second factor in it.
    pub second_factor: bool,
}

/// The session whose token has this digest, if it is valid at this time.
pub fn find(db: &Connection, token: &[u8; 32], now: i64) -> Result<Option<Session>> {
    db.prepare_cached(
        "SELECT user_id, seen_at, second_factor FROM sessions
         WHERE id = ?1 AND token_sha256 = ?2 AND expires_at > ?3",
    )?
    .query_row(params![id(token), token, now], |row| {
        Ok(Session {
            user: row.get(0)?,
            seen_at: row.get(1)?,
            second_factor: row.get(2)?,
        })
    })
    .optional()
}

/// A session as its user may see it. What sessions of older versions lack is `None`.
pub struct Listed {
    /// The first bytes of the token's digest.
    pub id: i64,
    /// Its number among the sessions of its user, which grows with each.
    pub nth: i64,
    /// When it was opened.
    pub opened_at: Option<i64>,
    /// The hour of its latest use that was written.
    pub seen_at: Option<i64>,
    /// The address of the client that has opened it.
    pub source: Option<String>,
    /// The kind of that client.
    pub client: Option<String>,
    /// Whether the user has shown a second factor in it.
    pub second_factor: bool,
}

/// The sessions of a user that are valid at this time, the newest first.
pub fn list(db: &Connection, user: i64, now: i64) -> Result<Vec<Listed>> {
    db.prepare_cached(
        "SELECT id, nth, opened_at, seen_at, source, client, second_factor FROM sessions
         WHERE user_id = ?1 AND expires_at > ?2 ORDER BY nth DESC",
    )?
    .query_map([user, now], |row| {
        Ok(Listed {
            id: row.get(0)?,
            nth: row.get(1)?,
            opened_at: row.get(2)?,
            seen_at: row.get(3)?,
            source: row.get(4)?,
            client: row.get(5)?,
            second_factor: row.get(6)?,
        })
    })?
    .collect()
}

/// Writes the hours in which sessions were used, by their ids. Sessions that have ended meanwhile
/// are left out.
pub fn set_seen(db: &Transaction, seen: &[(i64, i64)]) -> Result<()> {
    let mut update = db.prepare_cached(
        "UPDATE sessions SET seen_at = ?2 WHERE id = ?1 AND ifnull(seen_at, 0) < ?2",
    )?;
    seen.iter()
        .try_for_each(|(id, hour)| update.execute([id, hour]).map(drop))
}

/// Ends the session of a user that has this number. Returns false if there is none.
pub fn end_nth(db: &Transaction, user: i64, nth: i64) -> Result<bool> {
    let ended = db
        .prepare_cached("DELETE FROM sessions WHERE user_id = ?1 AND nth = ?2")?
        .execute([user, nth])?;
    Ok(ended == 1)
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::tests::Scratch;

    fn new(user: i64, token: &[u8; 32], now: i64) -> New<'_> {
        New {
            user,
            password: "x",
            token,
            now,
            expires_at: now + 100_000,
            source: "192.0.2.1",
            client: "curl",
            second_factor: false,
        }
    }

    fn numbers(scratch: &Scratch, user: i64) -> Vec<i64> {
        let listed = scratch.store.read(|db| list(db, user, 0)).unwrap();
        listed.iter().map(|one| one.nth).collect()
    }

    #[test]
    fn a_number_grows_and_is_not_used_again_after_its_session_has_ended() {
        let mut scratch = Scratch::new();
        let id = scratch.add("rei");
        let tokens: Vec<[u8; 32]> = (1..=5).map(|byte| [byte; 32]).collect();
        for (token, now) in [(0, 10_000), (1, 10_000), (2, 10_000)] {
            assert!(scratch.write(|db| open(db, &new(id, &tokens[token], now), 10)));
        }
        assert_eq!(numbers(&scratch, id), [10_002, 10_001, 10_000]);
        assert!(scratch.write(|db| end_nth(db, id, 10_002)));
        assert!(scratch.write(|db| open(db, &new(id, &tokens[3], 10_005), 10)));
        assert_eq!(numbers(&scratch, id), [10_005, 10_001, 10_000]);
        // Neither the number nor the user alone ends a session.
        let other = scratch.add("asuka");
        for (user, nth) in [(id, 10_002), (other, 10_005), (id, -1)] {
            assert!(!scratch.write(|db| end_nth(db, user, nth)));
        }
        // A clock that was set back.
        assert!(scratch.write(|db| open(db, &new(id, &tokens[4], 5), 2)));
        assert_eq!(numbers(&scratch, id), [10_006, 10_005]);
    }

    #[test]
    fn the_hour_of_a_use_is_written_if_it_is_later() {
        let mut scratch = Scratch::new();
        let id = scratch.add("rei");
        let token = [7; 32];
        assert!(scratch.write(|db| open(db, &new(id, &token, 2 * HOUR + 5), 1)));
        let seen = |scratch: &Scratch| {
            let found = scratch.store.read(|db| find(db, &token, 0)).unwrap();
            found.unwrap().seen_at
        };
        assert_eq!(seen(&scratch), Some(2 * HOUR));
        let row = super::id(&token);
        for (written, expected) in [(HOUR, 2 * HOUR), (3 * HOUR, 3 * HOUR)] {
            scratch.write(|db| set_seen(db, &[(row, written), (row + 1, written)]));
            assert_eq!(seen(&scratch), Some(expected));
        }
        // One that an older version has opened.
        scratch.write(|db| db.execute("UPDATE sessions SET seen_at = NULL", []));
        assert_eq!(seen(&scratch), None);
        scratch.write(|db| set_seen(db, &[(row, HOUR)]));
        assert_eq!(seen(&scratch), Some(HOUR));
    }
}
