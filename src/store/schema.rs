//! The schema: the steps that lead to it, and what of a database is not as they made it.

use rusqlite::{Connection, Result};
use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

/// The steps from an empty file to today's schema. One is never changed once released; new ones
/// follow at the end.
pub(super) const MIGRATIONS: &[&str] = &[
    "
CREATE TABLE users (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    name TEXT NOT NULL UNIQUE,
    show_name TEXT NOT NULL,
    email TEXT NOT NULL UNIQUE,
    password TEXT NOT NULL,
    key TEXT NOT NULL,
    avatar TEXT NOT NULL,
    created_at INTEGER NOT NULL
) STRICT;
CREATE INDEX users_with_avatar ON users (avatar) WHERE avatar <> 'admin.jpg';
CREATE TABLE sessions (
    id INTEGER PRIMARY KEY,
    token_sha256 BLOB NOT NULL UNIQUE,
    user_id INTEGER NOT NULL REFERENCES users ON DELETE CASCADE,
    expires_at INTEGER NOT NULL
) STRICT;
CREATE INDEX sessions_of_user ON sessions (user_id);
",
    "
ALTER TABLE users ADD COLUMN disabled_at INTEGER;
CREATE TABLE audit_done (
    id INTEGER PRIMARY KEY,
    nth INTEGER NOT NULL,
    at INTEGER NOT NULL,
    user_id INTEGER,
    user TEXT,
    event TEXT NOT NULL,
    source TEXT NOT NULL
) STRICT;
CREATE TABLE audit_refused (
    id INTEGER PRIMARY KEY,
    nth INTEGER NOT NULL,
    at INTEGER NOT NULL,
    user_id INTEGER,
    user TEXT,
    event TEXT NOT NULL,
    source TEXT NOT NULL
) STRICT;
",
    // A session's id is the beginning of its token's digest, so that one search finds it. SQL has
    // no name for eight bytes as a number: they are put together from the digest's hexadecimal
    // digits. `nth` is the order in which a user's began.
    "
DROP INDEX sessions_of_user;
ALTER TABLE sessions RENAME TO sessions_before;
CREATE TABLE sessions (
    id INTEGER PRIMARY KEY,
    token_sha256 BLOB NOT NULL,
    user_id INTEGER NOT NULL REFERENCES users ON DELETE CASCADE,
    nth INTEGER NOT NULL,
    expires_at INTEGER NOT NULL
) STRICT;
WITH place (n) AS (VALUES (1), (2), (3), (4), (5), (6), (7), (8), (9), (10), (11), (12), (13), (14), (15), (16))
INSERT INTO sessions (id, token_sha256, user_id, nth, expires_at)
SELECT
    (SELECT sum((instr('0123456789ABCDEF', substr(hex(token_sha256), n, 1)) - 1) << 4 * (16 - n)) FROM place) AS first,
    token_sha256, user_id, id, expires_at
FROM sessions_before ORDER BY first;
DROP TABLE sessions_before;
CREATE INDEX sessions_of_user ON sessions (user_id, nth);
",
    // Emails are looked up without the case of ASCII letters. The index is not unique: older rows
    // may differ by case alone, and stay. Whether any password is stored as Argon2id is one look at
    // the other index, which has these rows alone.
    "
CREATE INDEX users_by_email ON users (email COLLATE NOCASE);
CREATE INDEX users_with_argon2id ON users (id) WHERE password >= '$argon2id$' AND password < '$argon2id%';
",
];

/// The schema's version once every step is done; kept in `user_version`.
pub(super) const CURRENT_VERSION: u32 = MIGRATIONS.len() as u32;

/// The version of a database's schema.
pub(super) fn version(db: &Connection) -> Result<u32> {
    db.pragma_query_value(None, "user_version", |row| row.get(0))
}

/// Tables that stand in a database of ours without a step that makes them: statistics of SQLite's
/// planner (<https://sqlite.org/fileformat2.html>, 2.6), and what Litestream keeps beside the data
/// that it copies.
const ALLOWED: [&str; 6] = [
    "sqlite_stat1",
    "sqlite_stat2",
    "sqlite_stat3",
    "sqlite_stat4",
    "_litestream_seq",
    "_litestream_lock",
];

/// Something in a schema that is not as the steps made it.
pub struct Difference {
    /// `table`, `index`, `view` or `trigger`.
    kind: String,
    name: String,
    what: What,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum What {
    /// No step makes it.
    Foreign,
    /// A step makes it, and it is not there.
    Missing,
    /// A step makes it otherwise.
    Changed,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let Difference { kind, name, what } = self;
        match what {
            What::Foreign => write!(
                f,
                "it holds the {kind} {name}, which accountd did not create"
            ),
            What::Missing => write!(f, "it lacks the {kind} {name}"),
            What::Changed => write!(f, "its {kind} {name} is not as accountd created it"),
        }
    }
}

impl Difference {
    /// What can be done about it in the database at this path.
    #[must_use]
    pub fn remedy(&self, path: &Path) -> String {
        if self.what != What::Foreign {
            return "restore it from a backup".into();
        }
        let (kind, name) = (self.kind.to_uppercase(), self.name.replace('"', "\"\""));
        let quoted = |text: &str| format!("'{}'", text.replace('\'', "'\\''"));
        let path = path.display().to_string();
        format!(
            "remove it, while no server runs, with: sqlite3 {} {}",
            quoted(&path),
            quoted(&format!("DROP {kind} \"{name}\""))
        )
    }
}

/// What is not as the steps up to the database's version made it.
///
/// # Errors
/// Whatever the database says.
pub fn differences(db: &Connection) -> Result<Vec<Difference>> {
    let model = Connection::open_in_memory()?;
    let steps = usize::try_from(version(db)?).unwrap_or(usize::MAX);
    MIGRATIONS
        .iter()
        .take(steps)
        .try_for_each(|step| model.execute_batch(step))?;
    let (mut expected, found) = (objects(&model)?, objects(db)?);
    let mut differences = Vec::new();
    for ((kind, name), object) in found {
        let what = match expected.remove(&(kind.clone(), name.clone())) {
            Some(as_made) if as_made == object => continue,
            Some(_) => What::Changed,
            None if kind == "table" && ALLOWED.contains(&&*name) => continue,
            None => What::Foreign,
        };
        differences.push(Difference { kind, name, what });
    }
    let missing = expected.into_keys().map(|(kind, name)| Difference {
        kind,
        name,
        what: What::Missing,
    });
    differences.extend(missing);
    Ok(differences)
}

/// What is in a schema by kind and name: the table that it belongs to, and its statement without
/// the spaces of the day.
fn objects(db: &Connection) -> Result<BTreeMap<(String, String), (String, String)>> {
    let mut statement =
        db.prepare("SELECT type, name, tbl_name, ifnull(sql, '') FROM sqlite_schema")?;
    let rows = statement.query_map([], |row| {
        let sql: String = row.get(3)?;
        let sql = sql.split_whitespace().collect::<Vec<_>>().join(" ");
        Ok(((row.get(0)?, row.get(1)?), (row.get(2)?, sql)))
    })?;
    rows.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(version: usize) -> Connection {
        let db = Connection::open_in_memory().unwrap();
        MIGRATIONS[..version]
            .iter()
            .for_each(|step| db.execute_batch(step).unwrap());
        db.pragma_update(None, "user_version", version as i64)
            .unwrap();
        db
    }

    fn said(db: &Connection) -> Vec<String> {
        differences(db)
            .unwrap()
            .iter()
            .map(ToString::to_string)
            .collect()
    }

    #[test]
    fn each_version_is_as_its_steps_made_it() {
        (0..=MIGRATIONS.len())
            .for_each(|version| assert_eq!(said(&made(version)), [""; 0], "{version}"));
    }

    #[test]
    fn what_sqlite_and_litestream_keep_is_allowed() {
        let db = made(MIGRATIONS.len());
        db.execute_batch(
            "INSERT INTO users VALUES (1, 'a', 'a', 'a', 'a', 'a', 'a', 1, NULL);
             ANALYZE;
             CREATE TABLE _litestream_seq (id INTEGER PRIMARY KEY, seq INTEGER);
             CREATE TABLE _litestream_lock (id INTEGER);",
        )
        .unwrap();
        assert_eq!(said(&db), [""; 0]);
    }

    #[test]
    fn what_is_foreign_missing_or_changed_is_named() {
        for version in 1..=MIGRATIONS.len() {
            let db = made(version);
            db.execute_batch(
                "CREATE TABLE theirs (id INTEGER);
                 CREATE INDEX theirs_too ON users (show_name);
                 CREATE VIEW _litestream_seq AS SELECT * FROM users;
                 CREATE TRIGGER \"it's \"\"theirs\"\"\" AFTER INSERT ON users BEGIN DELETE FROM theirs; END;
                 DROP INDEX users_with_avatar;
                 ALTER TABLE sessions ADD COLUMN more INTEGER;",
            )
            .unwrap();
            let expected = [
                "it holds the index theirs_too, which accountd did not create",
                "its table sessions is not as accountd created it",
                "it holds the table theirs, which accountd did not create",
                "it holds the trigger it's \"theirs\", which accountd did not create",
                "it holds the view _litestream_seq, which accountd did not create",
                "it lacks the index users_with_avatar",
            ];
            assert_eq!(said(&db), expected, "{version}");
        }
    }

    #[test]
    fn a_remedy_can_be_pasted_into_a_shell() {
        let trigger = Difference {
            kind: "trigger".into(),
            name: "it's \"theirs\"".into(),
            what: What::Foreign,
        };
        let expected = "remove it, while no server runs, with: sqlite3 '/srv/a b/accountd.db' 'DROP TRIGGER \"it'\\''s \"\"theirs\"\"\"'";
        assert_eq!(trigger.remedy(Path::new("/srv/a b/accountd.db")), expected);
    }
}
