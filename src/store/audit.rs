//! The audit log: who did what to an account, from where, and who was refused. Times are Unix
//! seconds.
//!
//! What was done and what was refused are bounded apart, so that a flood of guesses does not push
//! out what was done. Within each, the users with the most lines lose their oldest ones, so that a
//! flood about one user pushes out no other's.

use super::Transaction;
use super::accounts::Who;
use rusqlite::{Connection, Result, params};
use std::collections::HashMap;

/// Lines of each kind that stay when there are more, some 100 bytes each.
const MOST: usize = 100_000;
/// Lines between two counts of all lines, so that each line costs little; there may be as many
/// beyond the bound meanwhile.
const COUNTED_EVERY: i64 = 8192;
/// Lines between two looks at what is too old, so that each line costs little.
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

/// Takes note of something that was done, to a user if it was to one. A user who is to be deleted
/// is still there.
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

/// Takes note of a refusal. The name is kept only if a user has it: people type passwords into the
/// wrong field.
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
        db.execute(
            &format!("DELETE FROM {table} WHERE ?1 = 0 OR at < ?2"),
            [days, now - days * DAY],
        )?;
    }
    Ok(())
}

fn prune_sometimes(db: &Transaction, table: &str, event: &Event) -> Result<()> {
    let id = db.last_insert_rowid();
    if id % PRUNED_EVERY == 0 {
        // The oldest stand first. Twice as many as came since the last time, so that it keeps up.
        let old = format!(
            "DELETE FROM {table} WHERE id IN (SELECT id FROM {table} ORDER BY id LIMIT ?1) AND at < ?2"
        );
        db.execute(&old, [2 * PRUNED_EVERY, event.at - event.days * DAY])?;
    }
    if id % COUNTED_EVERY == 0 {
        shorten(db, table)
    } else {
        Ok(())
    }
}

/// Leaves [`MOST`] lines, if there are more: of the users who have more than their share the latest
/// ones. Lines about no user share as if they were about one.
fn shorten(db: &Transaction, table: &str) -> Result<()> {
    // One scan, without the sort that a window function needs: 2.6 MB for a moment.
    let mut lines =
        db.prepare_cached(&format!("SELECT id, user_id FROM {table} ORDER BY id DESC"))?;
    let lines: Vec<(i64, Option<i64>)> = lines
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect::<Result<_>>()?;
    if lines.len() <= MOST {
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
        if *of_user < share && kept < MOST {
            *of_user += 1;
            kept += 1;
        } else {
            delete.execute([id])?;
        }
    }
    Ok(())
}

/// How many lines each user may have at most, so that users with so many have no more than [`MOST`]
/// together. At least one.
fn share_of(mut counts: Vec<usize>) -> usize {
    counts.sort_unstable();
    let (mut left, mut users) = (MOST, counts.len());
    for count in counts {
        if count * users > left {
            return (left / users).max(1);
        }
        left -= count;
        users -= 1;
    }
    MOST
}

/// The lines since a time, the oldest first: all, or those of a user. A name means the user who has
/// it now and whoever had it then.
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
        Ok(Line {
            at: row.get(0)?,
            user: row.get(1)?,
            event: row.get(2)?,
            source: row.get(3)?,
            outcome: row.get(4)?,
        })
    };
    ask.query_map(params![name, id, since], line)?.collect()
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
    fn shares_of_the_bound() {
        for (counts, share) in [
            (vec![MOST + 1], MOST),
            (vec![10, 20, MOST], MOST - 30),
            (vec![MOST, 10, MOST], (MOST - 10) / 2),
            (vec![MOST / 3, MOST, MOST / 3], MOST - MOST / 3 * 2),
            (vec![1; 2 * MOST], 1),
        ] {
            assert_eq!(share_of(counts), share);
        }
    }

    /// [`MOST`] lines of a kind, quickly: of this user, or each of a user of its own.
    fn fill(scratch: &mut Scratch, table: &str, user: &str) {
        let lines = format!(
            "WITH RECURSIVE line (n) AS (VALUES (1) UNION ALL SELECT n + 1 FROM line LIMIT {MOST})
             INSERT INTO {table} (nth, at, user_id, event, source) SELECT n, 1000, {user}, 'login', '-' FROM line"
        );
        scratch.write(|db| db.execute_batch(&lines));
    }

    #[test]
    fn a_flood_about_one_user_or_none_pushes_out_no_line_of_another() {
        type Note = fn(&Transaction, &Event) -> Result<()>;
        let kinds: [(&str, &str, Note); 3] = [
            ("audit_done", "1", |db, event| done(db, event, Some(1))),
            ("audit_refused", "1", |db, event| refused(db, event, "rei")),
            ("audit_refused", "NULL", |db, event| {
                refused(db, event, "nobody")
            }),
        ];
        for (table, user, note) in kinds {
            let mut scratch = Scratch::new();
            let asuka = ["rei", "asuka"].map(|name| scratch.add(name))[1];
            scratch.write(|db| (0..50).try_for_each(|_| done(db, &event(1000), Some(asuka))));
            scratch.write(|db| (0..50).try_for_each(|_| refused(db, &event(1000), "asuka")));
            fill(&mut scratch, table, user);
            for nth in 0..2 * COUNTED_EVERY {
                // Each time from another address.
                let source = nth.to_string();
                scratch.write(|db| {
                    note(
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
                (0..COUNTED_EVERY).contains(&(left + 50 - MOST as i64)),
                "{left}"
            );
            let latest = format!("{table} WHERE id > (SELECT max(id) FROM {table}) - {left}");
            assert_eq!(
                count(&scratch, &latest),
                left,
                "the oldest of the flood went"
            );
        }
    }

    #[test]
    fn of_more_users_than_lines_the_latest_stay() {
        let mut scratch = Scratch::new();
        let most = MOST as i64;
        fill(&mut scratch, "audit_done", "n");
        scratch.write(|db| {
            (0..COUNTED_EVERY).try_for_each(|nth| done(db, &event(2000), Some(most + 1 + nth)))
        });
        let left = count(&scratch, "audit_done");
        assert!((most..most + COUNTED_EVERY).contains(&left), "{left}");
        assert_eq!(
            count(
                &scratch,
                &format!("audit_done WHERE user_id > {}", most + COUNTED_EVERY - left)
            ),
            left
        );
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
            let lines = scratch
                .store
                .read(|db| list(db, whose.as_ref(), since))
                .unwrap();
            lines
                .iter()
                .map(|line| format!("{} {:?} {}", line.at, line.user.as_deref(), line.outcome))
                .collect()
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
