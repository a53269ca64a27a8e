//! Invitations: keys with which a person can register, each a number of times until it expires.
//! Times are Unix seconds.
//!
//! Only the SHA-256 digest of a key is stored. An invitation is deleted with its last use; expired
//! ones are deleted when the next one is added. Ids are never used again, since the audit log has
//! them.

use super::{Transaction, groups};
use rusqlite::{Connection, OptionalExtension, Result, Row, params};

/// An invitation that can be used.
pub struct Invitation {
    /// Its name in commands and in the audit log.
    pub id: i64,
    /// When it was made.
    pub created_at: i64,
    /// From when on it is refused.
    pub expires_at: i64,
    /// How many people can still register with it.
    pub uses_left: i64,
    /// The names of the groups that a person who registers with it joins.
    pub groups: Vec<String>,
}

/// The columns of an [`Invitation`].
const COLUMNS: &str = "id, created_at, expires_at, uses_left,
    (SELECT group_concat(name, ',' ORDER BY name)
     FROM invitation_groups JOIN groups ON groups.id = group_id WHERE invitation_id = invitations.id)";

fn invitation(row: &Row) -> Result<Invitation> {
    Ok(Invitation {
        id: row.get(0)?,
        created_at: row.get(1)?,
        expires_at: row.get(2)?,
        uses_left: row.get(3)?,
        groups: groups::split(row.get(4)?),
    })
}

/// Adds an invitation to the groups with these ids, and returns its id.
pub fn add(
    db: &Transaction,
    key: &[u8; 32],
    now: i64,
    expires_at: i64,
    uses: i64,
    groups: &[i64],
) -> Result<i64> {
    db.execute("DELETE FROM invitations WHERE expires_at <= ?1", [now])?;
    db.execute(
        "INSERT INTO invitations (digest, created_at, expires_at, uses_left) VALUES (?1, ?2, ?3, ?4)",
        params![key, now, expires_at, uses],
    )?;
    let id = db.last_insert_rowid();
    for group in groups {
        db.execute(
            "INSERT OR IGNORE INTO invitation_groups (invitation_id, group_id) VALUES (?1, ?2)",
            [id, *group],
        )?;
    }
    Ok(id)
}

/// The invitation whose key has this digest, if it can be used at this time.
pub fn find(db: &Connection, key: &[u8; 32], now: i64) -> Result<Option<Invitation>> {
    db.prepare_cached(&format!(
        "SELECT {COLUMNS} FROM invitations WHERE digest = ?1 AND expires_at > ?2"
    ))?
    .query_row(params![key, now], invitation)
    .optional()
}

/// Every invitation that can be used at this time, in the order of ids.
pub fn list(db: &Connection, now: i64) -> Result<Vec<Invitation>> {
    db.prepare(&format!(
        "SELECT {COLUMNS} FROM invitations WHERE expires_at > ?1 ORDER BY id"
    ))?
    .query_map([now], invitation)?
    .collect()
}

/// Takes one use of an invitation that [`find`] has returned in the same transaction, and makes the
/// user a member of its groups.
pub fn consume(db: &Transaction, id: i64, user: i64) -> Result<()> {
    groups::join_invited(db, user, id)?;
    db.prepare_cached("UPDATE invitations SET uses_left = uses_left - 1 WHERE id = ?1")?
        .execute([id])?;
    db.prepare_cached("DELETE FROM invitations WHERE id = ?1 AND uses_left <= 0")?
        .execute([id])
        .map(drop)
}

/// Deletes an invitation. Returns false if there is none with this id that could be used.
pub fn revoke(db: &Transaction, id: i64, now: i64) -> Result<bool> {
    let usable = "DELETE FROM invitations WHERE id = ?1 RETURNING expires_at > ?2";
    let usable = db.query_row(usable, [id, now], |row| row.get(0)).optional();
    Ok(usable? == Some(true))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::tests::Scratch;

    const KEY: [u8; 32] = [7; 32];

    fn usable(scratch: &Scratch, now: i64) -> bool {
        let found = scratch.store.read(|db| find(db, &KEY, now)).unwrap();
        found.is_some()
    }

    #[test]
    fn an_invitation_can_be_used_as_often_as_it_says() {
        let mut scratch = Scratch::new();
        for uses in 1..4 {
            let id = scratch.write(|db| add(db, &KEY, 10, 20, uses, &[]));
            for nth in 0..uses {
                let found = scratch.store.read(|db| find(db, &KEY, 19)).unwrap();
                assert_eq!(found.map(|one| one.uses_left), Some(uses - nth));
                let user = scratch.add(&format!("{uses}-{nth}"));
                scratch.write(|db| consume(db, id, user));
            }
            assert!(!usable(&scratch, 19));
        }
    }

    #[test]
    fn an_expired_invitation_is_neither_found_nor_listed_and_goes_with_the_next_one() {
        let mut scratch = Scratch::new();
        let first = scratch.write(|db| add(db, &KEY, 10, 20, 1, &[]));
        let listed = |scratch: &Scratch, now| scratch.store.read(|db| list(db, now)).unwrap().len();
        assert!(usable(&scratch, 19) && !usable(&scratch, 20));
        assert_eq!((listed(&scratch, 19), listed(&scratch, 20)), (1, 0));
        assert!(!scratch.write(|db| revoke(db, first, 20)));
        let second = scratch.write(|db| add(db, &[8; 32], 20, 30, 1, &[]));
        assert_ne!(first, second, "an id is never used again");
        let third = scratch.write(|db| add(db, &[9; 32], 30, 40, 1, &[]));
        let ids = "SELECT group_concat(id) FROM invitations";
        let ids: String = scratch
            .store
            .read(|db| db.query_row(ids, [], |row| row.get(0)))
            .unwrap();
        assert_eq!(ids, third.to_string());
    }

    #[test]
    fn a_revoked_invitation_is_gone() {
        let mut scratch = Scratch::new();
        let id = scratch.write(|db| add(db, &KEY, 10, 20, 1, &[]));
        assert!(scratch.write(|db| revoke(db, id, 15)));
        assert!(!usable(&scratch, 15));
        assert!(!scratch.write(|db| revoke(db, id, 15)));
    }

    #[test]
    fn its_user_joins_the_groups_that_still_exist() {
        let mut scratch = Scratch::new();
        let ids = ["b", "a", "c"].map(|name| {
            scratch.write(|db| groups::add(db, name));
            scratch
                .store
                .read(|db| groups::id(db, name))
                .unwrap()
                .unwrap()
        });
        let id = scratch.write(|db| add(db, &KEY, 10, 20, 1, &[ids[0], ids[1], ids[2], ids[0]]));
        scratch.write(|db| groups::remove(db, "c"));
        // Another group that has the name by now.
        scratch.write(|db| groups::add(db, "c"));
        let found = scratch.store.read(|db| find(db, &KEY, 15)).unwrap();
        assert_eq!(found.unwrap().groups, ["a", "b"]);
        let user = scratch.add("rei");
        scratch.write(|db| consume(db, id, user));
        let joined = scratch.store.read(|db| groups::of_user(db, user)).unwrap();
        assert_eq!(joined, ["a", "b"]);
    }
}
