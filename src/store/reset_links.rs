//! Reset links: keys with which one user can set a forgotten password once. Times are Unix seconds.
//!
//! Only the SHA-256 digest of a key is stored. A user has at most one; a new one replaces it, and
//! each change of the password deletes it. Ids are never used again, since the audit log has them.

use super::Transaction;
use rusqlite::{Connection, OptionalExtension, Result, params};

/// A reset link that can be used.
pub struct ResetLink {
    /// Its name in the audit log.
    pub id: i64,
    /// The name of its user.
    pub user_name: String,
    /// From when on it is refused.
    pub expires_at: i64,
}

/// Adds a reset link in place of the user's earlier one, and returns its id.
pub fn add(db: &Transaction, user: i64, key: &[u8; 32], now: i64, expires_at: i64) -> Result<i64> {
    delete_of(db, user)?;
    db.execute(
        "INSERT INTO reset_links (user_id, digest, created_at, expires_at) VALUES (?1, ?2, ?3, ?4)",
        params![user, key, now, expires_at],
    )?;
    Ok(db.last_insert_rowid())
}

/// The reset link whose key has this digest, if it can be used at this time.
pub fn find(db: &Connection, key: &[u8; 32], now: i64) -> Result<Option<ResetLink>> {
    db.prepare_cached(
        "SELECT reset_links.id, users.name, expires_at FROM reset_links JOIN users ON users.id = user_id
         WHERE digest = ?1 AND expires_at > ?2 AND disabled_at IS NULL",
    )?
    .query_row(params![key, now], |row| {
        Ok(ResetLink {
            id: row.get(0)?,
            user_name: row.get(1)?,
            expires_at: row.get(2)?,
        })
    })
    .optional()
}

/// Deletes a user's reset link, if there is one.
pub(super) fn delete_of(db: &Transaction, user: i64) -> Result<()> {
    db.prepare_cached("DELETE FROM reset_links WHERE user_id = ?1")?
        .execute([user])
        .map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::tests::Scratch;
    use crate::store::{accounts, users};

    const KEY: [u8; 32] = [7; 32];

    fn user_of(scratch: &Scratch, key: &[u8; 32], now: i64) -> Option<String> {
        let found = scratch.store.read(|db| find(db, key, now)).unwrap();
        found.map(|link| link.user_name)
    }

    #[test]
    fn a_link_is_valid_until_it_expires_or_is_replaced() {
        let mut scratch = Scratch::new();
        let [rei, asuka] = ["rei", "asuka"].map(|name| scratch.add(name));
        let first = scratch.write(|db| add(db, rei, &KEY, 10, 20));
        scratch.write(|db| add(db, asuka, &[9; 32], 10, 20));
        assert_eq!(user_of(&scratch, &KEY, 19).as_deref(), Some("rei"));
        assert_eq!(user_of(&scratch, &KEY, 20), None);
        let second = scratch.write(|db| add(db, rei, &[8; 32], 10, 20));
        assert_ne!(first, second, "an id is never used again");
        assert_eq!(user_of(&scratch, &KEY, 19), None);
        assert_eq!(user_of(&scratch, &[8; 32], 19).as_deref(), Some("rei"));
        assert_eq!(user_of(&scratch, &[9; 32], 19).as_deref(), Some("asuka"));
    }

    #[test]
    fn a_link_goes_with_each_change_of_the_password_and_with_its_user() {
        type Change = fn(&Transaction, i64) -> Result<()>;
        let changes: [(&str, Change); 5] = [
            ("command", |db, id| accounts::set_password(db, id, "y")),
            ("disabled", |db, id| accounts::disable(db, id, 1)),
            ("own", |db, id| {
                users::change_password(db, id, "x", "y").map(|changed| assert!(changed))
            }),
            ("reset", |db, id| {
                let reset = users::reset_password(db, "rei", "rei@example.org", "y")?;
                assert_eq!(reset, Some(id));
                Ok(())
            }),
            ("deleted", |db, id| accounts::delete(db, id).map(drop)),
        ];
        for (name, change) in changes {
            let mut scratch = Scratch::new();
            let id = scratch.add("rei");
            scratch.write(|db| add(db, id, &KEY, 10, 20));
            scratch.write(|db| change(db, id));
            let links = scratch
                .store
                .read(|db| db.prepare("SELECT 1 FROM reset_links")?.exists([]));
            assert!(!links.unwrap(), "{name}");
        }
    }

    #[test]
    fn another_password_that_was_refused_leaves_the_link() {
        let mut scratch = Scratch::new();
        let id = scratch.add("rei");
        scratch.write(|db| add(db, id, &KEY, 10, 20));
        assert!(!scratch.write(|db| users::change_password(db, id, "wrong", "y")));
        let reset = scratch.write(|db| users::reset_password(db, "rei", "wrong", "y"));
        assert_eq!(reset, None);
        assert!(user_of(&scratch, &KEY, 19).is_some());
    }
}
