//! Users: found by name, by token and by email, added and changed. Times are Unix seconds.

use super::{Transaction, count, reset_links, sessions};
use crate::config::ARGON2ID_PREFIX;
use crate::contract::DEFAULT_AVATAR;
use rusqlite::{Connection, ErrorCode, OptionalExtension, Result, Row, ffi, params};

/// What users can see of their accounts.
#[allow(missing_docs)] // the document's names
pub struct User {
    pub id: i64,
    pub key: String,
    pub name: String,
    pub show_name: String,
    pub email: String,
    pub avatar: String,
}

/// A user who registers.
#[allow(missing_docs)] // the document's names
pub struct New<'a> {
    pub name: &'a str,
    pub show_name: &'a str,
    pub email: &'a str,
    /// As it is stored.
    pub password: &'a str,
    pub key: &'a str,
    pub avatar: &'a str,
}

/// Adds a user and returns the id, or `None` if the name or the email is taken. Emails are compared
/// without ASCII case.
pub fn add(db: &Transaction, user: &New, now: i64) -> Result<Option<i64>> {
    let added = db
        .prepare_cached(
            "INSERT INTO users (name, show_name, email, password, key, avatar, created_at)
             SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7
             WHERE NOT EXISTS (SELECT 1 FROM users WHERE email = ?3 COLLATE NOCASE)",
        )?
        .execute(params![
            user.name,
            user.show_name,
            user.email,
            user.password,
            user.key,
            user.avatar,
            now
        ]);
    unless_taken(added).map(|added| added.then(|| db.last_insert_rowid()))
}

/// Whether a row was written. False if its name or email is taken.
pub(super) fn unless_taken(written: Result<usize>) -> Result<bool> {
    match written {
        Err(rusqlite::Error::SqliteFailure(error, _))
            if error.code == ErrorCode::ConstraintViolation
                && error.extended_code == ffi::SQLITE_CONSTRAINT_UNIQUE =>
        {
            Ok(false)
        }
        other => other.map(|rows| rows == 1),
    }
}

/// The owner of the token with this digest, if the session is valid at this time, and the hour of
/// the session's latest use that was written.
pub fn by_token(
    db: &Connection,
    token: &[u8; 32],
    now: i64,
) -> Result<Option<(User, Option<i64>)>> {
    db.prepare_cached(
        "SELECT u.id, u.key, u.name, u.show_name, u.email, u.avatar, s.seen_at
         FROM sessions s JOIN users u ON u.id = s.user_id
         WHERE s.id = ?1 AND s.token_sha256 = ?2 AND s.expires_at > ?3",
    )?
    .query_row(params![sessions::id(token), token, now], |row| {
        Ok((user(row)?, row.get(6)?))
    })
    .optional()
}

/// Reads a [`User`] from the first columns of a row, which are in the order of its fields.
pub(super) fn user(row: &Row) -> Result<User> {
    Ok(User {
        id: row.get(0)?,
        key: row.get(1)?,
        name: row.get(2)?,
        show_name: row.get(3)?,
        email: row.get(4)?,
        avatar: row.get(5)?,
    })
}

/// A user's stored password.
#[allow(missing_docs)] // the columns of the table
pub struct Stored {
    pub id: i64,
    pub password: String,
}

/// What is needed to verify a password.
pub struct Credentials {
    /// The user with this name, unless disabled.
    pub user: Option<Stored>,
    /// Whether any user's row has an Argon2id hash.
    pub any_argon2id: bool,
}

/// The SQL condition of the rows that have an Argon2id hash, as the index `users_with_argon2id` has
/// it: all texts from the prefix up to the next one of that length, `%` being the byte after `$`.
pub(super) fn has_argon2id() -> String {
    let stem = ARGON2ID_PREFIX.trim_end_matches('$');
    format!("password >= '{ARGON2ID_PREFIX}' AND password < '{stem}%'")
}

/// The SQL expression whether any row has an Argon2id hash. The index contains only such rows, so
/// this is one lookup.
fn any_row_has_argon2id() -> String {
    let condition = has_argon2id();
    format!("EXISTS (SELECT 1 FROM users INDEXED BY users_with_argon2id WHERE {condition})")
}

/// What is needed to verify the password of the user with this name.
pub fn credentials(db: &Connection, name: &str) -> Result<Credentials> {
    db.prepare_cached(&format!(
        "SELECT {}, id, password
         FROM (SELECT 1) LEFT JOIN users ON name = ?1 AND disabled_at IS NULL",
        any_row_has_argon2id()
    ))?
    .query_row([name], |row| {
        let user = match row.get(1)? {
            Some(id) => Some(Stored {
                id,
                password: row.get(2)?,
            }),
            None => None,
        };
        Ok(Credentials {
            any_argon2id: row.get(0)?,
            user,
        })
    })
}

/// Whether a user still has the stored password, and is not disabled.
pub fn has_password(db: &Connection, user: &Stored) -> Result<bool> {
    db.prepare_cached(
        "SELECT 1 FROM users WHERE id = ?1 AND password = ?2 AND disabled_at IS NULL",
    )?
    .exists(params![user.id, user.password])
}

/// Whether any row has an Argon2id hash.
pub fn any_argon2id(db: &Connection) -> Result<bool> {
    db.prepare_cached(&format!("SELECT {}", any_row_has_argon2id()))?
        .query_row([], |row| row.get(0))
}

/// Stores another form of the same password. Returns false if the stored one is no longer `old`.
pub fn rehash(db: &Transaction, id: i64, old: &str, new: &str) -> Result<bool> {
    let changed = db
        .prepare_cached("UPDATE users SET password = ?3 WHERE id = ?1 AND password = ?2")?
        .execute(params![id, old, new])?;
    Ok(changed == 1)
}

/// Ids and stored passwords of at most `limit` users with MD5 digests and ids above `after`, in the
/// order of ids.
pub fn with_md5(db: &Connection, after: i64, limit: i64) -> Result<Vec<(i64, String)>> {
    db.prepare_cached(&format!(
        "SELECT id, password FROM users WHERE id > ?1 AND NOT ({}) ORDER BY id LIMIT ?2",
        has_argon2id()
    ))?
    .query_map(params![after, limit], |row| Ok((row.get(0)?, row.get(1)?)))?
    .collect()
}

/// How many users have MD5 digests.
pub fn count_with_md5(db: &Connection) -> Result<u64> {
    let condition = has_argon2id();
    db.query_row(
        &format!("SELECT count(*) FROM users WHERE NOT ({condition})"),
        [],
        count,
    )
}

/// Changes a password and ends the user's sessions and reset link. Returns false if the stored one
/// is no longer `old`, or the user is disabled.
pub fn change_password(db: &Transaction, id: i64, old: &str, new: &str) -> Result<bool> {
    let changed = db
        .prepare_cached("UPDATE users SET password = ?3 WHERE id = ?1 AND password = ?2 AND disabled_at IS NULL")?
        .execute(params![id, old, new])?;
    if changed == 1 {
        reset_links::delete_of(db, id)?;
        sessions::end_all(db, id)?;
    }
    Ok(changed == 1)
}

/// The id of the enabled user with this name and this email.
pub fn by_name_and_email(db: &Connection, name: &str, email: &str) -> Result<Option<i64>> {
    db.prepare_cached(
        "SELECT id FROM users WHERE name = ?1 AND email = ?2 COLLATE NOCASE AND disabled_at IS NULL",
    )?
    .query_row([name, email], |row| row.get(0))
    .optional()
}

/// Sets the password of the user with this name and this email, and ends the sessions and the reset
/// link. Returns the id, or `None` if no enabled user has both. Names are unique, so at most one
/// user matches even where emails differ only in case.
pub fn reset_password(db: &Transaction, name: &str, email: &str, new: &str) -> Result<Option<i64>> {
    let id = db
        .prepare_cached(
            "UPDATE users SET password = ?3
             WHERE name = ?1 AND email = ?2 COLLATE NOCASE AND disabled_at IS NULL RETURNING id",
        )?
        .query_row([name, email, new], |row| row.get(0))
        .optional()?;
    if let Some(id) = id {
        reset_links::delete_of(db, id)?;
        sessions::end_all(db, id)?;
    }
    Ok(id)
}

/// Changes a display name.
pub fn set_show_name(db: &Transaction, id: i64, show_name: &str) -> Result<()> {
    db.prepare_cached("UPDATE users SET show_name = ?2 WHERE id = ?1")?
        .execute(params![id, show_name])?;
    Ok(())
}

/// Whether no other user has this email, without ASCII case, or it is the user's own already.
pub fn may_have_email(db: &Transaction, id: i64, email: &str) -> Result<bool> {
    db.prepare_cached(
        "SELECT 1 FROM users WHERE id = ?1 AND (email = ?2 OR NOT EXISTS
            (SELECT 1 FROM users WHERE email = ?2 COLLATE NOCASE AND id <> ?1))",
    )?
    .exists(params![id, email])
}

/// Changes the email of a user who [`may_have_email`], and ends the reset link: it may have been
/// sent to the earlier email.
pub fn set_email(db: &Transaction, id: i64, email: &str) -> Result<()> {
    db.prepare_cached("UPDATE users SET email = ?2 WHERE id = ?1")?
        .execute(params![id, email])?;
    reset_links::delete_of(db, id)
}

/// Changes a user's key.
pub fn set_key(db: &Transaction, id: i64, key: &str) -> Result<()> {
    db.prepare_cached("UPDATE users SET key = ?2 WHERE id = ?1")?
        .execute(params![id, key])?;
    Ok(())
}

/// Changes the name of a user's avatar and returns the previous one.
pub fn set_avatar(db: &Transaction, id: i64, avatar: &str) -> Result<String> {
    let old = db
        .prepare_cached("SELECT avatar FROM users WHERE id = ?1")?
        .query_row([id], |row| row.get(0))?;
    db.prepare_cached("UPDATE users SET avatar = ?2 WHERE id = ?1")?
        .execute(params![id, avatar])?;
    Ok(old)
}

/// How many users there are.
pub fn count_all(db: &Connection) -> Result<u64> {
    db.query_row("SELECT count(*) FROM users", [], count)
}

/// How many different uploaded avatars users have.
pub fn count_avatars(db: &Connection) -> Result<u64> {
    let distinct = format!(
        "SELECT count(DISTINCT avatar) FROM users WHERE {}",
        is_uploaded()
    );
    db.query_row(&distinct, [], count)
}

/// Calls `each` with the name of every uploaded avatar that users have, in the order of bytes,
/// until it returns false.
pub fn each_avatar(db: &Connection, each: &mut dyn FnMut(&str) -> bool) -> Result<()> {
    let mut statement = db.prepare(&format!(
        "SELECT DISTINCT avatar FROM users WHERE {} ORDER BY avatar",
        is_uploaded()
    ))?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        if !each(row.get_ref(0)?.as_str()?) {
            break;
        }
    }
    Ok(())
}

/// Gives every user of this avatar the default one. Returns the ids of these users.
pub fn reset_avatar(db: &Transaction, avatar: &str) -> Result<Vec<i64>> {
    let mut statement =
        db.prepare_cached("UPDATE users SET avatar = ?2 WHERE avatar = ?1 RETURNING id")?;
    let rows = statement.query_map([avatar, DEFAULT_AVATAR], |row| row.get(0))?;
    rows.collect()
}

/// Whether any user has the uploaded avatar with this name.
pub fn has_avatar(db: &Connection, name: &str) -> Result<bool> {
    db.prepare_cached(&format!(
        "SELECT 1 FROM users WHERE avatar = ?1 AND {}",
        is_uploaded()
    ))?
    .exists([name])
}

/// The SQL condition that an avatar is not the default one. An index of the schema has the same
/// condition, which SQLite compares as text.
fn is_uploaded() -> String {
    format!("avatar <> '{DEFAULT_AVATAR}'")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Scheme;
    use crate::store::accounts;
    use crate::store::tests::Scratch;

    fn new<'a>(name: &'a str, email: &'a str) -> New<'a> {
        New {
            name,
            show_name: "a",
            email,
            password: "x",
            key: "a",
            avatar: "admin.jpg",
        }
    }

    #[test]
    fn an_email_is_taken_whatever_its_case() {
        let mut scratch = Scratch::new();
        let mut add = |name, email| scratch.write(|db| add(db, &new(name, email), 1));
        assert_eq!(add("rei", "Rei@Example.org"), Some(1));
        for email in ["Rei@Example.org", "rei@example.org", "REI@EXAMPLE.ORG"] {
            assert_eq!(add("asuka", email), None, "{email}");
        }
        assert_eq!(add("rei", "asuka@example.org"), None, "the name is taken");
        assert_eq!(
            add("Rei", "É@example.org"),
            Some(2),
            "names are compared with case"
        );
        assert_eq!(
            add("asuka", "é@example.org"),
            Some(3),
            "letters outside ASCII are compared with case"
        );
    }

    #[test]
    fn a_reset_finds_the_user_by_name_and_email_in_any_case() {
        let mut scratch = Scratch::new();
        // Older versions allowed emails that differ only in case.
        let twins = "INSERT INTO users (name, show_name, email, password, key, avatar, created_at) VALUES
            ('rei', 'a', 'Rei@example.org', 'x', 'a', 'admin.jpg', 1), ('twin', 'a', 'rei@example.org', 'x', 'a', 'admin.jpg', 1)";
        scratch.write(|db| db.execute(twins, []));
        let mut reset = |name, email| scratch.write(|db| reset_password(db, name, email, "y"));
        assert_eq!(reset("rei", "Rei@example.org"), Some(1));
        assert_eq!(reset("twin", "rei@example.org"), Some(2));
        assert_eq!(
            (
                reset("rei", "REI@example.org"),
                reset("twin", "Rei@Example.Org")
            ),
            (Some(1), Some(2))
        );
        assert_eq!(
            (
                reset("Rei", "rei@example.org"),
                reset("rei", "rei@example.com")
            ),
            (None, None)
        );
        assert_eq!(
            scratch.write(|db| add(db, &new("third", "REI@EXAMPLE.ORG"), 1)),
            None
        );
    }

    #[test]
    fn a_disabled_user_has_no_credentials() {
        let mut scratch = Scratch::new();
        let id = scratch.add("rei");
        let found =
            |scratch: &Scratch, name| scratch.store.read(|db| credentials(db, name)).unwrap().user;
        assert_eq!(
            found(&scratch, "rei").map(|user| (user.id, user.password)),
            Some((id, "x".into()))
        );
        assert!(found(&scratch, "Rei").is_none());
        scratch.write(|db| accounts::disable(db, id, 1));
        assert!(found(&scratch, "rei").is_none());
    }

    #[test]
    fn sql_and_scheme_agree_on_what_an_argon2id_hash_is() {
        let mut scratch = Scratch::new();
        let id = scratch.add("rei");
        for stored in [
            "",
            "$",
            "$argon2id",
            "$argon2id$",
            "$argon2id$v=19$m",
            "$argon2id%",
            "$argon2i$",
            "$ARGON2ID$",
            "x",
            "~",
        ] {
            scratch.write(|db| accounts::set_password(db, id, stored));
            let any = scratch.store.read(any_argon2id).unwrap();
            assert_eq!(any, Scheme::of(stored) == Scheme::Argon2id, "{stored}");
            let md5 = scratch.store.read(count_with_md5).unwrap();
            assert_eq!(md5, u64::from(!any), "{stored}");
        }
    }
}
