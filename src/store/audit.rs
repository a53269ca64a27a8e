//! The audit log: who did what to an account, from where, and who was refused. Times are Unix seconds.
//!
//! What was done and what was refused are bounded apart, so that a flood of guesses does not push out what was done.

use super::Transaction;
use super::accounts::Who;
use rusqlite::{Connection, Result, params};

/// Lines of each kind at the most, some 100 bytes each.
const MOST: i64 = 100_000;
/// Lines between two looks at what is too old or too much, so that each line costs little.
const PRUNED_EVERY: i64 = 256;
/// Seconds of a day.
pub const DAY: i64 = 86_400;

/// Something that happens to an account.
pub struct Event<'a> {
    /// When.
    pub at: i64,
    /// The last segment of an interface's path, or a command.
    pub name: &'a str,
    /// The client's address, or `command`.
    pub source: &'a str,
    /// Days for which it is kept; with 0 it is not even written.
    pub days: i64,
}

/// A line of the log.
#[allow(missing_docs)] // as in [`Event`]
pub struct Line {
    pub at: i64,
    /// The user's name at that time; nothing if it was about no user, or about none that there is.
    pub user: Option<String>,
    pub event: String,
    pub source: String,
    /// `done` or `refused`.
    pub outcome: String,
}

/// Takes note of something that was done, to a user if it was to one. A user who is to be deleted is still there.
///
/// # Errors
/// Whatever the database says.
pub fn done(db: &Transaction, event: &Event, user: Option<i64>) -> Result<()> {
    if event.days == 0 {
        return Ok(());
    }
    db.prepare_cached(
        "INSERT INTO audit_done (nth, at, user_id, user, event, source)
         VALUES (?1, ?2, ?3, (SELECT name FROM users WHERE id = ?3), ?4, ?5)",
    )?
    .execute(params![next(db)?, event.at, user, event.name, event.source])?;
    prune_sometimes(db, "audit_done", event)
}

/// Takes note of a refusal. The name is kept only if a user has it: people type passwords into the wrong field.
///
/// # Errors
/// Whatever the database says.
pub fn refused(db: &Transaction, event: &Event, name: &str) -> Result<()> {
    if event.days == 0 {
        return Ok(());
    }
    db.prepare_cached(
        "INSERT INTO audit_refused (nth, at, user_id, user, event, source)
         SELECT ?1, ?2, users.id, users.name, ?4, ?5 FROM (SELECT 1) LEFT JOIN users ON users.name = ?3",
    )?
    .execute(params![next(db)?, event.at, name, event.name, event.source])?;
    prune_sometimes(db, "audit_refused", event)
}

/// The place of a new line in the order of both kinds.
fn next(db: &Transaction) -> Result<i64> {
    db.prepare_cached(
        "SELECT 1 + max(ifnull((SELECT nth FROM audit_done ORDER BY id DESC LIMIT 1), 0),
                        ifnull((SELECT nth FROM audit_refused ORDER BY id DESC LIMIT 1), 0))",
    )?
    .query_row([], |row| row.get(0))
}

/// Removes what is older than so many days.
///
/// # Errors
/// Whatever the database says.
pub fn prune(db: &Transaction, now: i64, days: i64) -> Result<()> {
    for table in ["audit_done", "audit_refused"] {
        db.execute(&format!("DELETE FROM {table} WHERE ?1 = 0 OR at < ?2"), [days, now - days * DAY])?;
    }
    Ok(())
}

fn prune_sometimes(db: &Transaction, table: &str, event: &Event) -> Result<()> {
    let id = db.last_insert_rowid();
    if id % PRUNED_EVERY == 0 {
        db.execute(&format!("DELETE FROM {table} WHERE id <= ?1"), [id - MOST])?;
        // The oldest stand first. Twice as many as came since the last time, so that it keeps up.
        let old = format!("DELETE FROM {table} WHERE id IN (SELECT id FROM {table} ORDER BY id LIMIT ?1) AND at < ?2");
        db.execute(&old, [2 * PRUNED_EVERY, event.at - event.days * DAY])?;
    }
    Ok(())
}

/// The lines since a time, the oldest first: all, or those of a user. A name means the user who has it now and whoever had
/// it then.
///
/// # Errors
/// Whatever the database says.
pub fn list(db: &Connection, whose: Option<&Who>, since: i64) -> Result<Vec<Line>> {
    let (name, id) = whose.map_or((None, None), Who::parts);
    let mut ask = db.prepare(
        "WITH whose (id) AS (SELECT ?2 WHERE ?2 IS NOT NULL UNION SELECT id FROM users WHERE name = ?1),
              lines AS (SELECT *, 'refused' AS outcome FROM audit_refused UNION ALL SELECT *, 'done' FROM audit_done)
         SELECT at, user, event, source, outcome FROM lines
         WHERE at >= ?3 AND (?1 IS NULL AND ?2 IS NULL OR user = ?1 OR user_id IN (SELECT id FROM whose))
         ORDER BY nth",
    )?;
    let line = |row: &rusqlite::Row| {
        Ok(Line { at: row.get(0)?, user: row.get(1)?, event: row.get(2)?, source: row.get(3)?, outcome: row.get(4)? })
    };
    ask.query_map(params![name, id, since], line)?.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::accounts;
    use crate::store::tests::Scratch;

    fn event(at: i64) -> Event<'static> {
        Event { at, name: "login", source: "192.0.2.1", days: 90 }
    }

    fn count(store: &Scratch, table: &str) -> i64 {
        store.store.read(|db| db.query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get(0))).unwrap()
    }

    #[test]
    fn a_flood_of_refusals_is_bounded_and_pushes_out_nothing_that_was_done() {
        let mut scratch = Scratch::new();
        scratch.write(|db| done(db, &event(1000), None));
        for _ in 0..12 {
            scratch.write(|db| (0..10_000).try_for_each(|_| refused(db, &event(1000), "nobody")));
        }
        let left = count(&scratch, "audit_refused");
        assert!((MOST..MOST + PRUNED_EVERY).contains(&left), "{left}");
        assert_eq!(count(&scratch, "audit_done"), 1);
    }

    #[test]
    fn what_is_too_old_goes_while_new_lines_come_and_at_a_start() {
        let mut scratch = Scratch::new();
        scratch.write(|db| (0..1000).try_for_each(|_| done(db, &event(1000), None)));
        let later = 1001 + 90 * DAY;
        scratch.write(|db| (0..600).try_for_each(|_| done(db, &event(later), None)));
        assert_eq!(count(&scratch, "audit_done"), 600);
        scratch.write(|db| prune(db, later + 90 * DAY, 90));
        assert_eq!(count(&scratch, "audit_done"), 600);
        scratch.write(|db| prune(db, later + 1 + 90 * DAY, 90));
        assert_eq!(count(&scratch, "audit_done"), 0);
        scratch.write(|db| done(db, &event(later), None).and_then(|()| prune(db, later, 0)));
        assert_eq!(count(&scratch, "audit_done"), 0, "switched off, nothing is left");
        scratch.write(|db| refused(db, &Event { days: 0, ..event(later) }, "rei"));
        assert_eq!(count(&scratch, "audit_refused"), 0, "switched off, nothing is written");
    }

    #[test]
    fn lines_are_found_by_the_name_of_now_and_of_then_and_by_id() {
        let mut scratch = Scratch::new();
        let rei = scratch.add("rei");
        scratch.write(|db| {
            done(db, &event(1), Some(rei))?;
            refused(db, &event(3), "rei")?;
            refused(db, &event(3), "a password")?;
            done(db, &event(3), Some(rei))?;
            accounts::rename(db, rei, "ayanami").map(drop)?;
            done(db, &event(4), Some(rei))
        });
        let shown = |whose: Option<Who>, since: i64| -> Vec<String> {
            let lines = scratch.store.read(|db| list(db, whose.as_ref(), since)).unwrap();
            lines.iter().map(|line| format!("{} {:?} {}", line.at, line.user.as_deref(), line.outcome)).collect()
        };
        let name = |name: &str| Some(Who::Name(name.into()));
        let all = [
            "1 Some(\"rei\") done",
            "3 Some(\"rei\") refused",
            "3 None refused",
            "3 Some(\"rei\") done",
            "4 Some(\"ayanami\") done",
        ];
        assert_eq!(shown(None, 0), all);
        assert_eq!(shown(None, 4), all[4..]);
        assert_eq!(shown(name("ayanami"), 0), [all[0], all[1], all[3], all[4]]);
        assert_eq!(shown(Some(Who::Id(rei)), 3), [all[1], all[3], all[4]]);
        assert_eq!(shown(name("rei"), 0), [all[0], all[1], all[3]]);
        assert_eq!(shown(name("a password"), 0), [""; 0]);
    }
}
