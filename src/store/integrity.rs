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
