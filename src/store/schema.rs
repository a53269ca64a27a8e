//! The schema: the steps that lead to it.

/// The steps from an empty file to today's schema. One is never changed once released; new ones follow at the end.
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
    // A session's id is the beginning of its token's digest, so that one search finds it. SQL has no name for eight bytes as
    // a number: they are put together from the digest's hexadecimal digits. `nth` is the order in which a user's began.
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
    // Emails are looked up without the case of ASCII letters. The index is not unique: older rows may differ by case alone,
    // and stay. Whether any password is stored as Argon2id is one look at the other index, which has these rows alone.
    "
CREATE INDEX users_by_email ON users (email COLLATE NOCASE);
CREATE INDEX users_with_argon2id ON users (id) WHERE password >= '$argon2id$' AND password < '$argon2id%';
",
];

/// The schema's version once every step is done; kept in `user_version`.
pub(super) const TODAY: u32 = MIGRATIONS.len() as u32;
