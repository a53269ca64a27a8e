//! From a file to a connection: refuses the files of other programs and newer versions, and
//! migrates older ones.

use super::schema::{CURRENT_VERSION, MIGRATIONS, differences, version};
use super::{BUSY_TIMEOUT, Durable, FILE, Reader, Store};
use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags, TransactionBehavior};
use std::fmt::Write as _;
use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// `acct`: tells a database of accountd from one of another program (SQLite's file format, offset
/// 68).
const APPLICATION_ID: u32 = 0x6163_6374;
/// Page cache of the connection that writes, in KiB: a write needs only the few pages on the way to
/// a row. The connection that reads has SQLite's default, 2,000.
const WRITER_CACHE: i64 = 500;

impl Store {
    /// Opens the database of a data folder, or creates it; migrates an older one.
    ///
    /// # Errors
    /// A sentence that says what is wrong with the file and what to do; the file has not been
    /// touched then.
    pub fn open(data: &Path) -> Result<Store, String> {
        let path = data.join(FILE);
        let shown = path.display();
        create_if_missing(&path)?;
        check_header(&path)?;
        let failed = |error| {
            format!("{shown}: cannot be opened: {error}; restore it from a backup if it is damaged")
        };
        let mut connection = connect(&path).map_err(failed)?;
        check_version(&connection, &path)?;
        if version(&connection).map_err(failed)? != CURRENT_VERSION {
            // A trigger of another program would run during the migration.
            check_schema(&connection, &path)?;
        }
        set_up(&mut connection).map_err(failed)?;
        Ok(Store::new(connection))
    }

    /// Checks a database before a server starts on it, without changing it: the schema must be
    /// accountd's own. Neither a running server nor a new worker looks at this again, so a foreign
    /// object that is added later does not end the service.
    pub fn inspect(data: &Path) -> Result<(), String> {
        let path = data.join(FILE);
        if !path.exists() {
            return Ok(());
        }
        check_header(&path)?;
        let failed = |error| format!("{}: cannot be opened: {error}", path.display());
        let connection = connect(&path).map_err(failed)?;
        check_version(&connection, &path)?;
        check_schema(&connection, &path)
    }

    /// Opens a database that exists, and does not migrate it.
    pub fn open_existing(data: &Path) -> Result<Store, String> {
        let path = data.join(FILE);
        check_header(&path)?;
        let failed = |error| format!("{}: cannot be opened: {error}", path.display());
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
            | OpenFlags::SQLITE_OPEN_NO_MUTEX
            | OpenFlags::SQLITE_OPEN_URI;
        let connection = Connection::open_with_flags(literal_path(&path), flags).map_err(failed)?;
        check_version(&connection, &path)?;
        configure_writer(&connection).map_err(failed)?;
        Ok(Store::new(connection))
    }

    /// Opens a database that no process writes, such as a backup. Writes nothing, not even a file
    /// beside it.
    pub fn open_immutable(folder: &Path) -> Result<Store, String> {
        let path = folder.join(FILE);
        if !path.exists() {
            return Err(format!("{}: is not there", path.display()));
        }
        check_header(&path)?;
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY
            | OpenFlags::SQLITE_OPEN_NO_MUTEX
            | OpenFlags::SQLITE_OPEN_URI;
        let connection = Connection::open_with_flags(immutable_uri(&path), flags)
            .map_err(|error| format!("{}: cannot be opened: {error}", path.display()))?;
        check_version(&connection, &path)?;
        Ok(Store::new(connection))
    }

    fn new(connection: Connection) -> Store {
        Store {
            connection,
            durable: Durable::Now,
            busy_timeout: BUSY_TIMEOUT,
        }
    }
}

impl Reader {
    /// Opens a database that [`Store::open`] has opened.
    pub fn open(data: &Path) -> Result<Reader, String> {
        let path = data.join(FILE);
        let connection = connect(&path).and_then(|connection| {
            configure(&connection)?;
            connection.busy_timeout(BUSY_TIMEOUT)?;
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

/// Creates an empty file that only its owner may read, unless there is a file.
fn create_if_missing(path: &Path) -> Result<(), String> {
    if path.exists() {
        return Ok(());
    }
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .map(drop)
        .map_err(|error| unreadable(path, &error))
}

/// Refuses a file that is not a database of accountd by its first bytes. SQLite is not asked: it
/// would recover or change the file of another program.
fn check_header(path: &Path) -> Result<(), String> {
    let shown = path.display();
    let mut head = Vec::new();
    File::open(path)
        .and_then(|file| file.take(100).read_to_end(&mut head))
        .map_err(|error| unreadable(path, &error))?;
    let id = head
        .get(68..72)
        .map(|id| u32::from_be_bytes([id[0], id[1], id[2], id[3]]));
    match id {
        _ if head.is_empty() => Ok(()),
        Some(_) if !head.starts_with(b"SQLite format 3\0") => Err(format!(
            "{shown}: is not a SQLite database; move it away, or restore it from a backup if it was one"
        )),
        Some(APPLICATION_ID) => Ok(()),
        Some(_) => Err(format!(
            "{shown}: is the database of another program; move it away or choose another --data"
        )),
        None => Err(format!("{shown}: is cut short; restore it from a backup")),
    }
}

fn unreadable(path: &Path, error: &io::Error) -> String {
    format!(
        "{}: cannot be read: {error}; check its owner and permissions",
        path.display()
    )
}

/// Refuses the database of a newer accountd, and leaves its write-ahead log as it is.
fn check_version(connection: &Connection, path: &Path) -> Result<(), String> {
    let version = connection
        .set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)
        .and_then(|_| connection.busy_timeout(BUSY_TIMEOUT))
        .and_then(|()| version(connection))
        .map_err(|error| damaged(path, &error))?;
    if version > CURRENT_VERSION {
        return Err(format!(
            "{}: was written by a newer accountd (its schema is {version}, this program's {CURRENT_VERSION}); start the newer one",
            path.display(),
        ));
    }
    Ok(())
}

/// Refuses a schema that differs from the one that accountd creates.
fn check_schema(connection: &Connection, path: &Path) -> Result<(), String> {
    let differences = connection
        .set_db_config(DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false)
        .and_then(|_| differences(connection))
        .map_err(|error| damaged(path, &error))?;
    let Some(first) = differences.first() else {
        return Ok(());
    };
    let more = match differences.len() - 1 {
        0 => String::new(),
        more => format!("; and {more} more, which accountd check lists"),
    };
    let shown = path.display();
    Err(format!("{shown}: {first}; {}{more}", first.remedy(path)))
}

fn damaged(path: &Path, error: &rusqlite::Error) -> String {
    format!(
        "{}: cannot be read: {error}; restore it from a backup",
        path.display()
    )
}

/// A connection without SQLite's own mutex, since each is behind one of ours.
fn connect(path: &Path) -> rusqlite::Result<Connection> {
    Connection::open_with_flags(
        literal_path(path),
        OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX,
    )
}

/// A path that SQLite takes as a path. Without the dot, it takes one that begins with `file:` as a
/// URI.
pub(super) fn literal_path(path: &Path) -> PathBuf {
    Path::new(".").join(path)
}

/// The URI of a file that no process writes (SQLite's "Uniform Resource Identifiers", 3.3). SQLite
/// takes no lock on it and makes no file beside it.
pub(super) fn immutable_uri(path: &Path) -> String {
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.into());
    let mut uri = String::from("file:");
    for byte in absolute.as_os_str().as_bytes() {
        match byte {
            b'/' | b'.' | b'-' | b'_' | b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' => {
                uri.push(char::from(*byte))
            }
            _ => _ = write!(uri, "%{byte:02X}"),
        }
    }
    uri + "?immutable=1"
}

fn set_up(connection: &mut Connection) -> rusqlite::Result<()> {
    configure_writer(connection)?;
    migrate(connection)?;
    // After the first migration: the file then has our application id before there is a write-ahead
    // log.
    connection.pragma_update_and_check(None, "journal_mode", "WAL", |_| Ok(()))
}

/// The settings of every connection that writes.
fn configure_writer(connection: &Connection) -> rusqlite::Result<()> {
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, false)?;
    configure(connection)?;
    connection.pragma_update(None, "cache_size", -WRITER_CACHE)?;
    connection.pragma_update(None, "foreign_keys", true)?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    // Deleted and replaced values leave no copy in pages that are written anyway.
    connection.pragma_update_and_check(None, "secure_delete", "FAST", |_| Ok(()))
}

/// The settings of every connection.
fn configure(connection: &Connection) -> rusqlite::Result<()> {
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false)?;
    // Otherwise SQLite plans a prepared statement again whenever a value that is bound to it
    // changes.
    connection
        .set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)
        .map(drop)
}

fn migrate(connection: &mut Connection) -> rusqlite::Result<()> {
    if version(connection)? == CURRENT_VERSION {
        return Ok(());
    }
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    for step in MIGRATIONS.iter().skip(version(&transaction)? as usize) {
        transaction.execute_batch(step)?;
    }
    transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
    transaction.pragma_update(None, "user_version", CURRENT_VERSION)?;
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
        let error = Store::open(data).map(drop).expect_err("it is refused");
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
    fn sqlite_is_built_with_the_flags_of_cargo_config() {
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
    fn a_new_database_has_our_id_private_permissions_and_synced_commits() {
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
            (APPLICATION_ID, CURRENT_VERSION)
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
    fn a_file_of_another_program_is_refused_and_not_touched() {
        let data = folder();
        let file = data.join(FILE);
        fs::write(
            &file,
            "no database at all, but long enough to be one: ".repeat(10),
        )
        .unwrap();
        assert!(refusal(&data).contains("is not a SQLite database; move it away"));
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
        // The version is in the write-ahead log only, as after a crash of the newer program.
        let copy = folder();
        for name in [FILE, "accountd.db-wal"] {
            fs::copy(data.join(name), copy.join(name)).unwrap();
        }
        drop(store);
        assert!(refusal(&data).contains("was written by a newer accountd (its schema is 99"));
        assert!(refusal(&copy).contains("was written by a newer accountd"));
        assert!(fs::metadata(copy.join("accountd.db-wal")).unwrap().len() > 0);
        fs::remove_dir_all(data).unwrap();
        fs::remove_dir_all(copy).unwrap();
    }

    #[test]
    fn a_schema_with_a_foreign_object_is_refused_and_not_touched() {
        let data = folder();
        let file = data.join(FILE);
        assert_eq!(Store::inspect(&data), Ok(()), "there is no file yet");
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
                 and 1 more, which accountd check lists",
                file.display()
            );
            assert_eq!(Store::inspect(&data), Err(expected.clone()));
            // No migration runs on it. A database of the current version is opened, since
            // `inspect` checks it before a server starts.
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
    fn a_database_of_the_first_version_is_migrated_with_its_data() {
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
            "an id without the digest opens nothing"
        );
        let sessions = store.read(|db| {
            db.query_row("SELECT count(*) FROM sessions", [], |row| {
                row.get::<_, u32>(0)
            })
        });
        assert_eq!(
            (sessions.unwrap(), store.read(version).unwrap()),
            (2, CURRENT_VERSION)
        );
        fs::remove_dir_all(data).unwrap();
    }
}
