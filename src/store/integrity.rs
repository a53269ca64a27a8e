//! The checks that SQLite has for a database.

use rusqlite::{Connection, Result};

/// What `integrity_check` and `foreign_key_check` find; empty if the database is sound.
pub fn problems(db: &Connection) -> Result<Vec<String>> {
    // At most 20, which is enough to see what is wrong.
    let mut problems: Vec<String> = db
        .prepare("PRAGMA integrity_check(20)")?
        .query_map([], |row| row.get(0))?
        .collect::<Result<_>>()?;
    problems.retain(|problem| problem != "ok");
    let mut statement = db.prepare("PRAGMA foreign_key_check")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let (table, id, parent): (String, Option<i64>, String) =
            (row.get(0)?, row.get(1)?, row.get(2)?);
        // The tables of memberships have no rowid.
        let row = id.map_or_else(|| "a row".into(), |id| format!("row {id}"));
        problems.push(format!(
            "{row} of {table} refers to a row of {parent} that does not exist"
        ));
    }
    Ok(problems)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::tests::Scratch;

    #[test]
    fn a_row_without_its_parent_is_a_problem() {
        let scratch = Scratch::new();
        let problems = scratch.store.read(|db| {
            db.execute_batch(
                "PRAGMA foreign_keys = OFF;
                 INSERT INTO sessions (id, token_sha256, user_id, nth, expires_at) VALUES (5, x'00', 7, 1, 1);
                 INSERT INTO members VALUES (7, 8);",
            )?;
            problems(db)
        });
        let mut problems = problems.unwrap();
        problems.sort();
        let expected = [
            "a row of members refers to a row of groups that does not exist",
            "a row of members refers to a row of users that does not exist",
            "row 5 of sessions refers to a row of users that does not exist",
        ];
        assert_eq!(problems, expected);
    }
}
