//! From a file to a connection: what is not ours is refused, what is older is brought up to date.

use super::schema::{MIGRATIONS, TODAY, differences, version};
use super::{BUSY, Durable, FILE, Reader, Store};
use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags, TransactionBehavior};
use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// `acct`: how a database of ours is told from one of another program (SQLite's file format, offset
/// 68).
const APPLICATION_ID: u32 = 0x6163_6374;
/// Memory for pages of the connection that writes, in KiB: it needs the few on the way to a row.
/// The one that reads has SQLite's default, 2,000.
const WRITING_CACHE: i64 = 500;

impl Store {
    /// Opens the database of a data folder, or makes it; brings an older one up to date.
    ///
    /// # Errors
    /// A sentence that says what is wrong with the file and what to do; the file has not been
    /// touched then.
    pub fn open(data: &Path) -> Result<Store, String> {
        let path = data.join(FILE);
        let shown = path.display();
        refuse_foreign(&path)?;
        let failed = |error| {
            format!("{shown}: cannot be opened: {error}; restore it from a backup if it is damaged")
        };
        let mut connection = connect(&path).map_err(failed)?;
        refuse_newer(&connection, &path)?;
        if version(&connection).map_err(failed)? != TODAY {
            // A foreign trigger would run with the steps.
            refuse_foreign_schema(&connection, &path)?;
        }
        prepare(&mut connection).map_err(failed)?;
        Ok(Store {
            connection,
            durable: Durable::Now,
            patience: BUSY,
        })
    }

    /// Looks at a database before a server starts on it, and changes nothing: whether its schema is
    /// accountd's own. What is added to it later ends no server, and no worker that takes the place
    /// of another.
    ///
    /// # Errors
    /// A sentence that names what is in the database and accountd did not create, or says what else
    /// is wrong with the file.
    pub fn inspect(data: &Path) -> Result<(), String> {
        let path = data.join(FILE);
        if !path.exists() {
            return Ok(());
        }
        refuse_foreign(&path)?;
        let failed = |error| format!("{}: cannot be opened: {error}", path.display());
        let connection = connect(&path).map_err(failed)?;
        refuse_newer(&connection, &path)?;
        refuse_foreign_schema(&connection, &path)
    }

    /// Opens a database that is there, as it is: an older one stays as old as it is.
    ///
    /// # Errors
    /// A sentence that says what is wrong with the file and what to do.
    pub fn visit(data: &Path) -> Result<Store, String> {
        let path = data.join(FILE);
        refuse_foreign(&path)?;
        let failed = |error| format!("{}: cannot be opened: {error}", path.display());
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
            | OpenFlags::SQLITE_OPEN_NO_MUTEX
            | OpenFlags::SQLITE_OPEN_URI;
        let connection = Connection::open_with_flags(literal(&path), flags).map_err(failed)?;
        refuse_newer(&connection, &path)?;
        guard(&connection).map_err(failed)?;
        Ok(Store {
            connection,
            durable: Durable::Now,
            patience: BUSY,
        })
    }
}

impl Reader {
    /// Opens a database that [`Store::open`] has opened.
    ///
    /// # Errors
    /// A sentence that says what is wrong with the file.
    pub fn open(data: &Path) -> Result<Reader, String> {
        let path = data.join(FILE);
        let connection = connect(&path).and_then(|connection| {
            configure(&connection)?;
            connection.busy_timeout(BUSY)?;
            connection.pragma_update(None, "query_only", true)?;
            Ok(connection)
        });
        let failed = |error| {
            format!(
                "{}: cannot be opened a second time: {error}",
                path.display()
            )
        };
        connection
            .map(|connection| Reader { connection })
            .map_err(failed)
    }
}

/// Looks at the file's head without SQLite, which would recover or change what is not ours; makes
/// one if there is none.
pub(super) fn refuse_foreign(path: &Path) -> Result<(), String> {
    let shown = path.display();
    let unreadable = |error: io::Error| {
        format!("{shown}: cannot be read: {error}; check its owner and permissions")
    };
    let mut head = Vec::new();
    match File::open(path) {
        Ok(file) => file.take(100).read_to_end(&mut head).map_err(unreadable)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            OpenOptions::new()
                .write(true)
                .create_new(true)
                .mode(0o600)
                .open(path)
                .map_err(unreadable)?;
            return Ok(());
        }
        Err(error) => return Err(unreadable(error)),
    };
    let id = head
        .get(68..72)
        .map(|id| u32::from_be_bytes([id[0], id[1], id[2], id[3]]));
    match id {
        _ if head.is_empty() => Ok(()),
        Some(_) if !head.starts_with(b"SQLite format 3\0") => Err(format!(
            "{shown}: is no SQLite database; move it away, or restore it from a backup if it was one"
        )),
        Some(APPLICATION_ID) => Ok(()),
        Some(_) => Err(format!(
            "{shown}: is the database of another program; move it away or choose another --data"
        )),
        None => Err(format!("{shown}: is cut short; restore it from a backup")),
    }
}

/// Refuses what a newer accountd wrote, and leaves its write-ahead log as it is.
pub(super) fn refuse_newer(connection: &Connection, path: &Path) -> Result<(), String> {
    let version = connection
        .set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)
        .and_then(|_| connection.busy_timeout(BUSY))
        .and_then(|()| version(connection))
        .map_err(|error| {
            format!(
                "{}: cannot be read: {error}; restore it from a backup",
                path.display()
            )
        })?;
    if version > TODAY {
        return Err(format!(
            "{}: is of a newer accountd (its schema is {version}, this program's {TODAY}); start the newer one",
            path.display(),
        ));
    }
    Ok(())
}

/// Refuses a schema that is not as accountd makes it.
fn refuse_foreign_schema(connection: &Connection, path: &Path) -> Result<(), String> {
    let shown = path.display();
    let differences = connection
        .set_db_config(DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false)
        .and_then(|_| differences(connection))
        .map_err(|error| format!("{shown}: cannot be read: {error}; restore it from a backup"))?;
    let Some(first) = differences.first() else {
        return Ok(());
    };
    let more = match differences.len() - 1 {
        0 => String::new(),
        more => format!("; and {more} more, which accountd check names"),
    };
    Err(format!("{shown}: {first}; {}{more}", first.remedy(path)))
}

/// A connection that asks for no mutex of SQLite's, since each is behind one of ours.
fn connect(path: &Path) -> rusqlite::Result<Connection> {
    Connection::open_with_flags(
        literal(path),
        OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX,
    )
}

/// A path that SQLite takes for a path: without the dot, it takes one that begins with `file:` for
/// a URI.
pub(super) fn literal(path: &Path) -> PathBuf {
    Path::new(".").join(path)
}

fn prepare(connection: &mut Connection) -> rusqlite::Result<()> {
    guard(connection)?;
    migrate(connection)?;
    // After the first migration, so that the head of the file names us before anything stands in a
    // log beside it.
    connection.pragma_update_and_check(None, "journal_mode", "WAL", |_| Ok(()))
}

/// What holds for every connection that writes.
fn guard(connection: &Connection) -> rusqlite::Result<()> {
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, false)?;
    configure(connection)?;
    connection.pragma_update(None, "cache_size", -WRITING_CACHE)?;
    connection.pragma_update(None, "foreign_keys", true)?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    // What is deleted or replaced leaves no copy in the pages that are written anyway.
    connection.pragma_update_and_check(None, "secure_delete", "FAST", |_| Ok(()))
}

/// What holds for every connection.
fn configure(connection: &Connection) -> rusqlite::Result<()> {
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false)?;
    // Otherwise SQLite plans a prepared statement anew whenever a value that is bound to it
    // changes.
    connection
        .set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)
        .map(drop)
}

fn migrate(connection: &mut Connection) -> rusqlite::Result<()> {
    if version(connection)? == TODAY {
        return Ok(());
    }
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    for step in MIGRATIONS.iter().skip(version(&transaction)? as usize) {
        transaction.execute_batch(step)?;
    }
    transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
    transaction.pragma_update(None, "user_version", TODAY)?;
    transaction.commit()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::tests::folder;
    use crate::store::{sessions, users};
    use std::fs;

    fn refusal(data: &Path) -> String {
        let before = fs::read(data.join(FILE)).unwrap();
        let error = Store::open(data).map(|_| ()).expect_err("a refusal");
        assert_eq!(
            before,
            fs::read(data.join(FILE)).unwrap(),
            "the file was touched"
        );
        error
    }

    #[test]
    fn sqlite_is_new_enough_not_to_lose_commits() {
        // Up to 3.51.2 two connections that checkpoint at once could lose committed writes.
        assert!(
            rusqlite::version_number() >= 3_051_003,
            "{}",
            rusqlite::version()
        );
    }

    #[test]
    fn sqlite_is_built_as_cargo_config_says() {
        let db = Connection::open_in_memory().unwrap();
        let mut statement = db.prepare("PRAGMA compile_options").unwrap();
        let options: Vec<String> = statement
            .query_map([], |row| row.get(0))
            .unwrap()
            .collect::<rusqlite::Result<_>>()
            .unwrap();
        assert!(
            options.iter().any(|option| option == "DEFAULT_MEMSTATUS=0"),
            "{options:?}"
        );
        assert!(
            !options
                .iter()
                .any(|option| option.starts_with("ENABLE_FTS")),
            "{options:?}"
        );
    }

    #[test]
    fn a_fresh_database_is_ours_private_and_durable() {
        use std::os::unix::fs::PermissionsExt;
        let data = folder();
        let store = Store::open(&data).unwrap();
        let text = |name| {
            store
                .read(|db| db.pragma_query_value(None, name, |row| row.get::<_, String>(0)))
                .unwrap()
        };
        let number = |name| {
            store
                .read(|db| db.pragma_query_value(None, name, |row| row.get::<_, u32>(0)))
                .unwrap()
        };
        assert_eq!(text("journal_mode"), "wal");
        assert_eq!((number("foreign_keys"), number("synchronous")), (1, 2));
        assert_eq!(
            (number("application_id"), number("user_version")),
            (APPLICATION_ID, TODAY)
        );
        assert_eq!(
            fs::metadata(data.join(FILE)).unwrap().permissions().mode() & 0o777,
            0o600
        );
        drop(store);
        Store::open(&data).unwrap();
        fs::remove_dir_all(data).unwrap();
    }

    #[test]
    fn what_is_not_ours_is_refused_and_not_touched() {
        let data = folder();
        let file = data.join(FILE);
        fs::write(
            &file,
            "no database at all, but long enough to be one: ".repeat(10),
        )
        .unwrap();
        assert!(refusal(&data).contains("is no SQLite database; move it away"));
        fs::write(&file, "SQLite format 3\0").unwrap();
        assert!(refusal(&data).contains("is cut short; restore it"));
        fs::remove_file(&file).unwrap();
        Connection::open(&file)
            .unwrap()
            .execute_batch("CREATE TABLE theirs (id)")
            .unwrap();
        assert!(refusal(&data).contains("is the database of another program"));
        fs::remove_dir_all(data).unwrap();
    }

    #[test]
    fn a_newer_schema_is_refused_and_not_touched() {
        let data = folder();
        let store = Store::open(&data).unwrap();
        store
            .read(|db| db.pragma_update(None, "user_version", 99))
            .unwrap();
        // The version stands in the write-ahead log alone, as after a crash of the newer program.
        let copy = folder();
        for name in [FILE, "accountd.db-wal"] {
            fs::copy(data.join(name), copy.join(name)).unwrap();
        }
        drop(store);
        assert!(refusal(&data).contains("is of a newer accountd (its schema is 99"));
        assert!(refusal(&copy).contains("is of a newer accountd"));
        assert!(fs::metadata(copy.join("accountd.db-wal")).unwrap().len() > 0);
        fs::remove_dir_all(data).unwrap();
        fs::remove_dir_all(copy).unwrap();
    }

    #[test]
    fn a_schema_with_something_foreign_is_named_and_not_touched() {
        let data = folder();
        let file = data.join(FILE);
        assert_eq!(Store::inspect(&data), Ok(()), "none is there yet");
        assert!(!file.exists());
        for version in 1..=MIGRATIONS.len() {
            let old = Connection::open(&file).unwrap();
            MIGRATIONS[..version]
                .iter()
                .for_each(|step| old.execute_batch(step).unwrap());
            let head =
                format!("PRAGMA application_id = 0x61636374; PRAGMA user_version = {version}");
            old.execute_batch(&head).unwrap();
            assert_eq!(Store::inspect(&data), Ok(()), "{version}");
            let foreign =
                "CREATE VIEW b AS SELECT 1; CREATE TRIGGER c DELETE ON users BEGIN SELECT 1; END";
            old.execute_batch(foreign).unwrap();
            drop(old);
            let before = fs::read(&file).unwrap();
            let expected = format!(
                "{0}: it holds the trigger c, which accountd did not create; remove it, while no server runs, with: sqlite3 '{0}' 'DROP TRIGGER \"c\"'; \
                 and 1 more, which accountd check names",
                file.display()
            );
            assert_eq!(Store::inspect(&data), Err(expected.clone()));
            // No step runs on it. One that needs none is opened: it is looked at before a server
            // starts.
            match Store::open(&data) {
                Err(error) => assert_eq!(error, expected),
                Ok(_) => assert_eq!(version, MIGRATIONS.len()),
            }
            assert!(
                version == MIGRATIONS.len() || fs::read(&file).unwrap() == before,
                "the file was touched"
            );
            fs::remove_file(&file).unwrap();
        }
        fs::remove_dir_all(data).unwrap();
    }

    #[test]
    fn a_database_of_the_first_schema_comes_along_with_its_data() {
        let data = folder();
        let old = Connection::open(data.join(FILE)).unwrap();
        old.execute_batch(MIGRATIONS[0]).unwrap();
        old.execute_batch(
            "INSERT INTO users VALUES (7, 'rei', 'Rei', 'rei@example.org', 'a digest', 'a key', 'admin.jpg', 1);
             INSERT INTO sessions VALUES (1, x'00', 7, 2);
             INSERT INTO sessions VALUES (2, x'fedcba98765432100000000000000000000000000000000000000000000000ff', 7, 9);
             PRAGMA application_id = 0x61636374; PRAGMA user_version = 1; PRAGMA journal_mode = WAL;",
        )
        .unwrap();
        drop(old);
        let store = Store::open(&data).unwrap();
        let user = store
            .read(|db| users::credentials(db, "rei"))
            .unwrap()
            .user
            .unwrap();
        assert_eq!((user.id, &*user.password), (7, "a digest"));
        let mut token = [0; 32];
        token[..8].copy_from_slice(&[0xfe, 0xdc, 0xba, 0x98, 0x76, 0x54, 0x32, 0x10]);
        token[31] = 0xff;
        assert_eq!(
            store.read(|db| sessions::owner(db, &token, 8)).unwrap(),
            Some(7)
        );
        assert_eq!(
            store.read(|db| sessions::owner(db, &[0; 32], 0)).unwrap(),
            None,
            "an id alone opens nothing"
        );
        let sessions = store.read(|db| {
            db.query_row("SELECT count(*) FROM sessions", [], |row| {
                row.get::<_, u32>(0)
            })
        });
        assert_eq!(
            (sessions.unwrap(), store.read(version).unwrap()),
            (2, TODAY)
        );
        fs::remove_dir_all(data).unwrap();
    }
}
