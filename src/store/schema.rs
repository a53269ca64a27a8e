//! The schema: its migrations, and how the schema of a database differs from it.

use rusqlite::{Connection, Result};
use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

/// The steps from an empty file to the current schema. A released step is never changed; new ones
/// are added at the end.
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
    // no function that reads eight bytes as a number, so it is the sum of the digest's first 16
    // hexadecimal digits. `nth` is the order in which a user's sessions began.
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
    // Emails are looked up without ASCII case. That index is not unique, because older rows may
    // differ only in case, and stay. The other index contains only the rows whose password is
    // stored as Argon2id, so that one lookup tells whether there are any.
    "
CREATE INDEX users_by_email ON users (email COLLATE NOCASE);
CREATE INDEX users_with_argon2id ON users (id) WHERE password >= '$argon2id$' AND password < '$argon2id%';
",
    // Rows without a rowid are found by a user or an invitation; the indexes beside them serve the
    // removal of a group.
    "
CREATE TABLE groups (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    name TEXT NOT NULL UNIQUE
) STRICT;
CREATE TABLE members (
    user_id INTEGER NOT NULL REFERENCES users ON DELETE CASCADE,
    group_id INTEGER NOT NULL REFERENCES groups ON DELETE CASCADE,
    PRIMARY KEY (user_id, group_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX members_of_group ON members (group_id);
CREATE TABLE invitations (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    digest BLOB NOT NULL UNIQUE,
    created_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    uses_left INTEGER NOT NULL
) STRICT;
CREATE TABLE invitation_groups (
    invitation_id INTEGER NOT NULL REFERENCES invitations ON DELETE CASCADE,
    group_id INTEGER NOT NULL REFERENCES groups ON DELETE CASCADE,
    PRIMARY KEY (invitation_id, group_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX invitations_to_group ON invitation_groups (group_id);
CREATE TABLE reset_links (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    user_id INTEGER NOT NULL UNIQUE REFERENCES users ON DELETE CASCADE,
    digest BLOB NOT NULL UNIQUE,
    created_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL
) STRICT;
",
    // A second factor is on if it is confirmed; its secret is encrypted. Sessions that were opened
    // before this step have no times, source and client.
    "
CREATE TABLE totp (
    user_id INTEGER PRIMARY KEY REFERENCES users ON DELETE CASCADE,
    secret BLOB NOT NULL,
    confirmed_at INTEGER,
    last_step INTEGER NOT NULL
) STRICT;
CREATE TABLE recovery_codes (
    user_id INTEGER NOT NULL REFERENCES users ON DELETE CASCADE,
    digest BLOB NOT NULL,
    PRIMARY KEY (user_id, digest)
) STRICT, WITHOUT ROWID;
ALTER TABLE sessions ADD COLUMN opened_at INTEGER;
ALTER TABLE sessions ADD COLUMN seen_at INTEGER;
ALTER TABLE sessions ADD COLUMN source TEXT;
ALTER TABLE sessions ADD COLUMN client TEXT;
ALTER TABLE sessions ADD COLUMN second_factor INTEGER NOT NULL DEFAULT 0;
",
];

/// The version after all steps, which is kept in `user_version`.
pub(super) const CURRENT_VERSION: u32 = MIGRATIONS.len() as u32;

/// The version of a database's schema.
pub(super) fn version(db: &Connection) -> Result<u32> {
    db.pragma_query_value(None, "user_version", |row| row.get(0))
}

/// Tables that are allowed although no step creates them: the statistics of SQLite's planner
/// (<https://sqlite.org/fileformat2.html>, 2.6), and those that Litestream adds to a database that
/// it replicates.
const ALLOWED: [&str; 6] = [
    "sqlite_stat1",
    "sqlite_stat2",
    "sqlite_stat3",
    "sqlite_stat4",
    "_litestream_seq",
    "_litestream_lock",
];

/// An object of a schema that differs from what the steps create.
pub struct Difference {
    /// `table`, `index`, `view` or `trigger`.
    kind: String,
    name: String,
    problem: Problem,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Problem {
    /// No step creates it.
    Foreign,
    /// A step creates it, but the database lacks it.
    Missing,
    /// A step creates it with another definition.
    Changed,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let Difference {
            kind,
            name,
            problem,
        } = self;
        match problem {
            Problem::Foreign => write!(
                f,
                "it holds the {kind} {name}, which accountd did not create"
            ),
            Problem::Missing => write!(f, "it lacks the {kind} {name}"),
            Problem::Changed => write!(f, "its {kind} {name} is not as accountd created it"),
        }
    }
}

impl Difference {
    /// What an admin can do about it in the database at this path.
    pub fn remedy(&self, path: &Path) -> String {
        if self.problem != Problem::Foreign {
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

/// How a schema differs from what the steps up to its version create.
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
        let problem = match expected.remove(&(kind.clone(), name.clone())) {
            Some(created) if created == object => continue,
            Some(_) => Problem::Changed,
            None if kind == "table" && ALLOWED.contains(&&*name) => continue,
            None => Problem::Foreign,
        };
        differences.push(Difference {
            kind,
            name,
            problem,
        });
    }
    let missing = expected.into_keys().map(|(kind, name)| Difference {
        kind,
        name,
        problem: Problem::Missing,
    });
    differences.extend(missing);
    Ok(differences)
}

/// The objects of a schema by kind and name, each with its table and its SQL. White space in the
/// SQL is normalized.
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

    fn create(version: usize) -> Connection {
        let db = Connection::open_in_memory().unwrap();
        MIGRATIONS[..version]
            .iter()
            .for_each(|step| db.execute_batch(step).unwrap());
        db.pragma_update(None, "user_version", version as i64)
            .unwrap();
        db
    }

    fn texts(db: &Connection) -> Vec<String> {
        differences(db)
            .unwrap()
            .iter()
            .map(ToString::to_string)
            .collect()
    }

    #[test]
    fn no_version_differs_from_its_own_steps() {
        (0..=MIGRATIONS.len())
            .for_each(|version| assert_eq!(texts(&create(version)), [""; 0], "{version}"));
    }

    #[test]
    fn tables_of_sqlite_and_litestream_are_allowed() {
        let db = create(MIGRATIONS.len());
        db.execute_batch(
            "INSERT INTO users VALUES (1, 'a', 'a', 'a', 'a', 'a', 'a', 1, NULL);
             ANALYZE;
             CREATE TABLE _litestream_seq (id INTEGER PRIMARY KEY, seq INTEGER);
             CREATE TABLE _litestream_lock (id INTEGER);",
        )
        .unwrap();
        assert_eq!(texts(&db), [""; 0]);
    }

    #[test]
    fn foreign_missing_and_changed_objects_are_named() {
        for version in 1..=MIGRATIONS.len() {
            let db = create(version);
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
            assert_eq!(texts(&db), expected, "{version}");
        }
    }

    #[test]
    fn the_index_of_avatars_names_the_default_one() {
        let condition = format!("WHERE avatar <> '{}';", crate::contract::DEFAULT_AVATAR);
        assert!(MIGRATIONS[0].contains(&condition), "{condition}");
    }

    #[test]
    fn the_index_of_argon2id_hashes_has_the_condition_that_queries_use() {
        let condition = crate::store::users::has_argon2id();
        let index = format!("CREATE INDEX users_with_argon2id ON users (id) WHERE {condition};");
        assert!(MIGRATIONS[3].contains(&index), "{index}");
    }

    #[test]
    fn a_remedy_can_be_pasted_into_a_shell() {
        let trigger = Difference {
            kind: "trigger".into(),
            name: "it's \"theirs\"".into(),
            problem: Problem::Foreign,
        };
        let expected = "remove it, while no server runs, with: sqlite3 '/srv/a b/accountd.db' 'DROP TRIGGER \"it'\\''s \"\"theirs\"\"\"'";
        assert_eq!(trigger.remedy(Path::new("/srv/a b/accountd.db")), expected);
    }
}
