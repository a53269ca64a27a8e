//! The audit log: changes of accounts and refused attempts, with their source. Times are Unix
//! seconds.
//!
//! Changes and refusals have separate bounds, so that a flood of guesses does not push changes out.
//! Within each, the users with the most lines lose their oldest ones, so that a flood about one
//! user does not push out the lines of another.

use super::Transaction;
use super::accounts::UserRef;
use rusqlite::{Connection, Result, params};
use std::collections::HashMap;

/// Lines of each kind that stay when there are more, about 100 bytes each.
const MAX_LINES: usize = 100_000;
/// New lines between two counts of all lines, so that each line costs little. There may be as many
/// above the bound in between.
const COUNT_INTERVAL: i64 = 8192;
/// New lines between two searches for lines that are too old, so that each line costs little.
const PRUNE_INTERVAL: i64 = 256;
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
    /// Days for which it is kept. With 0 it is not written.
    pub days: i64,
}

/// A line of the log.
#[allow(missing_docs)] // as in [`Event`]
pub struct Line {
    pub at: i64,
    /// The user's name at that time; `None` if the event concerned no existing user.
    pub user: Option<String>,
    pub event: String,
    pub source: String,
    /// `done` or `refused`.
    pub outcome: String,
}

/// Records a change, and the user that it concerns, if any. A deletion must be recorded before the
/// user is deleted.
pub fn done(db: &Transaction, event: &Event, user: Option<i64>) -> Result<()> {
    if event.days == 0 {
        return Ok(());
    }
    db.prepare_cached(
        "INSERT INTO audit_done (nth, at, user_id, user, event, source)
         VALUES (?1, ?2, ?3, (SELECT name FROM users WHERE id = ?3), ?4, ?5)",
    )?
    .execute(params![
        next_nth(db)?,
        event.at,
        user,
        event.name,
        event.source
    ])?;
    prune_at_intervals(db, "audit_done", event)
}

/// Records a refusal. The name is stored only if a user has it, since people type passwords into
/// the wrong field.
pub fn refused(db: &Transaction, event: &Event, name: &str) -> Result<()> {
    if event.days == 0 {
        return Ok(());
    }
    db.prepare_cached(
        "INSERT INTO audit_refused (nth, at, user_id, user, event, source)
         SELECT ?1, ?2, users.id, users.name, ?4, ?5 FROM (SELECT 1) LEFT JOIN users ON users.name = ?3",
    )?
    .execute(params![next_nth(db)?, event.at, name, event.name, event.source])?;
    prune_at_intervals(db, "audit_refused", event)
}

/// The number of a new line in the common order of both kinds.
fn next_nth(db: &Transaction) -> Result<i64> {
    db.prepare_cached(
        "SELECT 1 + max(ifnull((SELECT nth FROM audit_done ORDER BY id DESC LIMIT 1), 0),
                        ifnull((SELECT nth FROM audit_refused ORDER BY id DESC LIMIT 1), 0))",
    )?
    .query_row([], |row| row.get(0))
}

/// Removes lines older than `days`.
pub fn prune(db: &Transaction, now: i64, days: i64) -> Result<()> {
    for table in ["audit_done", "audit_refused"] {
        db.execute(
            &format!("DELETE FROM {table} WHERE ?1 = 0 OR at < ?2"),
            [days, now - days * DAY],
        )?;
    }
    Ok(())
}

fn prune_at_intervals(db: &Transaction, table: &str, event: &Event) -> Result<()> {
    let id = db.last_insert_rowid();
    if id % PRUNE_INTERVAL == 0 {
        // The oldest have the smallest ids. Twice as many as were added since the last time, so
        // that it keeps up.
        let old = format!(
            "DELETE FROM {table} WHERE id IN (SELECT id FROM {table} ORDER BY id LIMIT ?1) AND at < ?2"
        );
        db.execute(&old, [2 * PRUNE_INTERVAL, event.at - event.days * DAY])?;
    }
    if id % COUNT_INTERVAL == 0 {
        trim(db, table)
    } else {
        Ok(())
    }
}

/// Leaves [`MAX_LINES`] lines, if there are more: users with more than their share keep the latest
/// ones. Lines about no user count as those of one more user.
fn trim(db: &Transaction, table: &str) -> Result<()> {
    // One scan, without the sort that a window function needs. Takes 2.6 MB for a moment.
    let mut lines =
        db.prepare_cached(&format!("SELECT id, user_id FROM {table} ORDER BY id DESC"))?;
    let lines: Vec<(i64, Option<i64>)> = lines
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect::<Result<_>>()?;
    if lines.len() <= MAX_LINES {
        return Ok(());
    }
    let mut counts: HashMap<Option<i64>, usize> = HashMap::new();
    for (_, user) in &lines {
        *counts.entry(*user).or_default() += 1;
    }
    let share = share_of(counts.into_values().collect());
    let mut delete = db.prepare_cached(&format!("DELETE FROM {table} WHERE id = ?1"))?;
    let (mut kept, mut kept_of) = (0, HashMap::new());
    for (id, user) in lines {
        let of_user: &mut usize = kept_of.entry(user).or_default();
        if *of_user < share && kept < MAX_LINES {
            *of_user += 1;
            kept += 1;
        } else {
            delete.execute([id])?;
        }
    }
    Ok(())
}

/// How many lines each user may keep so that all of them together have at most [`MAX_LINES`], given
/// how many each has. At least one.
fn share_of(mut counts: Vec<usize>) -> usize {
    counts.sort_unstable();
    let (mut left, mut users) = (MAX_LINES, counts.len());
    for count in counts {
        if count * users > left {
            return (left / users).max(1);
        }
        left -= count;
        users -= 1;
    }
    MAX_LINES
}

/// The lines since a time, the oldest first: all, or those of a user. A name finds the lines of the
/// user who has it now, and those of users who had it when the line was written.
pub fn list(db: &Connection, user: Option<&UserRef>, since: i64) -> Result<Vec<Line>> {
    let (name, id) = user.map_or((None, None), UserRef::name_and_id);
    let mut statement = db.prepare(
        "WITH whose (id) AS (SELECT ?2 WHERE ?2 IS NOT NULL UNION SELECT id FROM users WHERE name = ?1),
              lines AS (SELECT *, 'refused' AS outcome FROM audit_refused UNION ALL SELECT *, 'done' FROM audit_done)
         SELECT at, user, event, source, outcome FROM lines
         WHERE at >= ?3 AND (?1 IS NULL AND ?2 IS NULL OR user = ?1 OR user_id IN (SELECT id FROM whose))
         ORDER BY nth",
    )?;
    let line = |row: &rusqlite::Row| {
        Ok(Line {
            at: row.get(0)?,
            user: row.get(1)?,
            event: row.get(2)?,
            source: row.get(3)?,
            outcome: row.get(4)?,
        })
    };
    statement
        .query_map(params![name, id, since], line)?
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::accounts;
    use crate::store::tests::Scratch;

    fn event(at: i64) -> Event<'static> {
        Event {
            at,
            name: "login",
            source: "192.0.2.1",
            days: 90,
        }
    }

    fn count(store: &Scratch, table: &str) -> i64 {
        store
            .store
            .read(|db| {
                db.query_row(&format!("SELECT count(*) FROM {table}"), [], |row| {
                    row.get(0)
                })
            })
            .unwrap()
    }

    #[test]
    fn the_share_of_each_user_fits_the_bound() {
        for (counts, share) in [
            (vec![MAX_LINES + 1], MAX_LINES),
            (vec![10, 20, MAX_LINES], MAX_LINES - 30),
            (vec![MAX_LINES, 10, MAX_LINES], (MAX_LINES - 10) / 2),
            (
                vec![MAX_LINES / 3, MAX_LINES, MAX_LINES / 3],
                MAX_LINES - MAX_LINES / 3 * 2,
            ),
            (vec![1; 2 * MAX_LINES], 1),
        ] {
            assert_eq!(share_of(counts), share);
        }
    }

    /// Adds [`MAX_LINES`] lines quickly. `user` is an SQL expression: an id, or `n` for a different
    /// user in each line.
    fn fill(scratch: &mut Scratch, table: &str, user: &str) {
        let lines = format!(
            "WITH RECURSIVE line (n) AS (VALUES (1) UNION ALL SELECT n + 1 FROM line LIMIT {MAX_LINES})
             INSERT INTO {table} (nth, at, user_id, event, source) SELECT n, 1000, {user}, 'login', '-' FROM line"
        );
        scratch.write(|db| db.execute_batch(&lines));
    }

    #[test]
    fn a_flood_about_one_user_or_none_keeps_all_lines_of_another() {
        type Record = fn(&Transaction, &Event) -> Result<()>;
        let kinds: [(&str, &str, Record); 3] = [
            ("audit_done", "1", |db, event| done(db, event, Some(1))),
            ("audit_refused", "1", |db, event| refused(db, event, "rei")),
            ("audit_refused", "NULL", |db, event| {
                refused(db, event, "unknown")
            }),
        ];
        for (table, user, record) in kinds {
            let mut scratch = Scratch::new();
            let asuka = ["rei", "asuka"].map(|name| scratch.add(name))[1];
            scratch.write(|db| (0..50).try_for_each(|_| done(db, &event(1000), Some(asuka))));
            scratch.write(|db| (0..50).try_for_each(|_| refused(db, &event(1000), "asuka")));
            fill(&mut scratch, table, user);
            for nth in 0..2 * COUNT_INTERVAL {
                // Each from a different address.
                let source = nth.to_string();
                scratch.write(|db| {
                    record(
                        db,
                        &Event {
                            source: &source,
                            ..event(2000)
                        },
                    )
                });
            }
            for table in ["audit_done", "audit_refused"] {
                assert_eq!(
                    count(&scratch, &format!("{table} WHERE user_id = {asuka}")),
                    50,
                    "{table}"
                );
            }
            let left = count(&scratch, &format!("{table} WHERE user_id IS {user}"));
            assert!(
                (0..COUNT_INTERVAL).contains(&(left + 50 - MAX_LINES as i64)),
                "{left}"
            );
            let latest = format!("{table} WHERE id > (SELECT max(id) FROM {table}) - {left}");
            assert_eq!(
                count(&scratch, &latest),
                left,
                "the oldest lines of the flood are gone"
            );
        }
    }

    #[test]
    fn the_latest_lines_stay_if_there_are_more_users_than_lines() {
        let mut scratch = Scratch::new();
        let most = MAX_LINES as i64;
        fill(&mut scratch, "audit_done", "n");
        scratch.write(|db| {
            (0..COUNT_INTERVAL).try_for_each(|nth| done(db, &event(2000), Some(most + 1 + nth)))
        });
        let left = count(&scratch, "audit_done");
        assert!((most..most + COUNT_INTERVAL).contains(&left), "{left}");
        assert_eq!(
            count(
                &scratch,
                &format!(
                    "audit_done WHERE user_id > {}",
                    most + COUNT_INTERVAL - left
                )
            ),
            left
        );
    }

    #[test]
    fn old_lines_are_removed_as_new_ones_are_added_and_at_a_start() {
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
        assert_eq!(
            count(&scratch, "audit_done"),
            0,
            "switched off, nothing is left"
        );
        scratch.write(|db| {
            refused(
                db,
                &Event {
                    days: 0,
                    ..event(later)
                },
                "rei",
            )
        });
        assert_eq!(
            count(&scratch, "audit_refused"),
            0,
            "switched off, nothing is written"
        );
    }

    #[test]
    fn lines_are_found_by_current_name_by_former_name_and_by_id() {
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
        let shown = |user: Option<UserRef>, since: i64| -> Vec<String> {
            let lines = scratch
                .store
                .read(|db| list(db, user.as_ref(), since))
                .unwrap();
            lines
                .iter()
                .map(|line| format!("{} {:?} {}", line.at, line.user.as_deref(), line.outcome))
                .collect()
        };
        let name = |name: &str| Some(UserRef::Name(name.into()));
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
        assert_eq!(shown(Some(UserRef::Id(rei)), 3), [all[1], all[3], all[4]]);
        assert_eq!(shown(name("rei"), 0), [all[0], all[1], all[3]]);
        assert_eq!(shown(name("a password"), 0), [""; 0]);
    }
}
