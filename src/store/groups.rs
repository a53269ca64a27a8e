//! Groups: their names and their members.

use super::{Transaction, count};
use rusqlite::{Connection, OptionalExtension, Result, params};

/// A group with what `group list` prints.
pub struct Group {
    /// Its name, which is plain (`account::plain_name`).
    pub name: String,
    /// How many users are members.
    pub members: u64,
}

/// Adds a group. Returns false if there is one with this name.
pub fn add(db: &Transaction, name: &str) -> Result<bool> {
    let added = db.execute("INSERT OR IGNORE INTO groups (name) VALUES (?1)", [name])?;
    Ok(added == 1)
}

/// Removes a group, so that no user is a member and no invitation gives it. Returns how many
/// members it had, or `None` if there is no such group. A later group of the same name has another
/// id.
pub fn remove(db: &Transaction, name: &str) -> Result<Option<u64>> {
    let Some(id) = id(db, name)? else {
        return Ok(None);
    };
    let members = "SELECT count(*) FROM members WHERE group_id = ?1";
    let members = db.query_row(members, [id], count)?;
    db.execute("DELETE FROM groups WHERE id = ?1", [id])?;
    Ok(Some(members))
}

/// Every group, in the order of names.
pub fn list(db: &Connection) -> Result<Vec<Group>> {
    db.prepare(
        "SELECT name, (SELECT count(*) FROM members WHERE group_id = groups.id) FROM groups ORDER BY name",
    )?
    .query_map([], |row| {
        let (name, members) = (row.get(0)?, row.get::<_, i64>(1)?);
        Ok(Group { name, members: members.unsigned_abs() })
    })?
    .collect()
}

/// The id of the group with this name.
pub fn id(db: &Connection, name: &str) -> Result<Option<i64>> {
    db.prepare_cached("SELECT id FROM groups WHERE name = ?1")?
        .query_row([name], |row| row.get(0))
        .optional()
}

/// The names of a user's groups, in the order of names.
pub fn of_user(db: &Connection, user: i64) -> Result<Vec<String>> {
    db.prepare_cached(
        "SELECT name FROM members JOIN groups ON groups.id = group_id WHERE user_id = ?1 ORDER BY name",
    )?
    .query_map([user], |row| row.get(0))?
    .collect()
}

/// Makes a user a member of a group. A member stays one.
pub fn join(db: &Transaction, user: i64, group: i64) -> Result<()> {
    db.prepare_cached("INSERT OR IGNORE INTO members (user_id, group_id) VALUES (?1, ?2)")?
        .execute([user, group])
        .map(drop)
}

/// Ends a membership, if there is one.
pub fn leave(db: &Transaction, user: i64, group: i64) -> Result<()> {
    db.prepare_cached("DELETE FROM members WHERE user_id = ?1 AND group_id = ?2")?
        .execute([user, group])
        .map(drop)
}

/// Makes a user a member of every group that an invitation gives.
pub fn join_invited(db: &Transaction, user: i64, invitation: i64) -> Result<()> {
    db.prepare_cached(
        "INSERT OR IGNORE INTO members (user_id, group_id)
         SELECT ?1, group_id FROM invitation_groups WHERE invitation_id = ?2",
    )?
    .execute(params![user, invitation])
    .map(drop)
}

/// The names in a column of names with commas between them, which no name of a group has.
pub(super) fn split(names: Option<String>) -> Vec<String> {
    let names = names.unwrap_or_default();
    names.split_terminator(',').map(String::from).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::accounts;
    use crate::store::tests::Scratch;

    fn of(scratch: &Scratch, user: i64) -> Vec<String> {
        scratch.store.read(|db| of_user(db, user)).unwrap()
    }

    fn members(scratch: &Scratch) -> Vec<(String, u64)> {
        let all = scratch.store.read(list).unwrap();
        all.into_iter()
            .map(|group| (group.name, group.members))
            .collect()
    }

    #[test]
    fn users_join_and_leave_groups() {
        let mut scratch = Scratch::new();
        let [rei, asuka] = ["rei", "asuka"].map(|name| scratch.add(name));
        for (name, added) in [("media", true), ("guests", true), ("media", false)] {
            assert_eq!(scratch.write(|db| add(db, name)), added, "{name}");
        }
        let [media, guests] =
            ["media", "guests"].map(|name| scratch.store.read(|db| id(db, name)).unwrap().unwrap());
        for group in [media, guests, media] {
            scratch.write(|db| join(db, rei, group));
        }
        scratch.write(|db| join(db, asuka, media));
        assert_eq!(of(&scratch, rei), ["guests", "media"]);
        assert_eq!(
            members(&scratch),
            [("guests".into(), 1), ("media".into(), 2)]
        );
        for _ in 0..2 {
            scratch.write(|db| leave(db, rei, guests));
            assert_eq!(of(&scratch, rei), ["media"]);
        }
        scratch.write(|db| accounts::delete(db, asuka));
        assert_eq!(
            members(&scratch),
            [("guests".into(), 0), ("media".into(), 1)]
        );
    }

    #[test]
    fn a_group_that_is_added_again_has_no_members() {
        let mut scratch = Scratch::new();
        let rei = scratch.add("rei");
        scratch.write(|db| add(db, "media"));
        let media = scratch.store.read(|db| id(db, "media")).unwrap().unwrap();
        scratch.write(|db| join(db, rei, media));
        assert_eq!(scratch.write(|db| remove(db, "media")), Some(1));
        assert_eq!(scratch.write(|db| remove(db, "media")), None);
        scratch.write(|db| add(db, "media"));
        let again = scratch.store.read(|db| id(db, "media")).unwrap();
        assert_ne!(again, Some(media));
        assert!(of(&scratch, rei).is_empty());
    }
}
