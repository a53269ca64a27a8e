//! The import from Medusa, and `harden`.

use crate::backup::{refused, succeed};
use crate::support::{Folder, Server, picture};
use rusqlite::{Connection, params};
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};

/// Medusa's table, as in existing installations.
const TABLE: &str = "CREATE TABLE UserInfo (
    id INTEGER PRIMARY KEY AUTOINCREMENT, uid TEXT, uid_update_time TEXT, key TEXT, key_update_time TEXT,
    name TEXT, name_update_time TEXT, token TEXT, token_update_time TEXT, show_name TEXT, show_name_update_time TEXT,
    passwd TEXT, passwd_update_time TEXT, email TEXT, email_update_time TEXT, avatar TEXT, avatar_update_time TEXT,
    creation_time TEXT)";

struct Medusa {
    folder: Folder,
    db: Connection,
}

impl Medusa {
    fn new() -> Medusa {
        let folder = Folder::new();
        fs::create_dir(folder.0.join("avatars")).unwrap();
        let db = Connection::open(folder.0.join("Medusa.db")).unwrap();
        db.execute_batch(TABLE).unwrap();
        Medusa { folder, db }
    }

    fn path(&self) -> PathBuf {
        self.folder.0.join("Medusa.db")
    }

    fn avatars(&self) -> PathBuf {
        self.folder.0.join("avatars")
    }

    /// Adds a user as Medusa stores them.
    fn add(&self, id: i64, name: &str, avatar: &str) {
        let digest = digest();
        self.db
            .execute(
                "INSERT INTO UserInfo (id, uid, key, name, token, show_name, passwd, email, avatar, creation_time)
                 VALUES (?1, 'u', ?2, ?3, 'a token', ?4, ?5, ?6, ?7, '1609400797')",
                params![
                    id,
                    "k".repeat(40),
                    name,
                    format!("{name} 阿巴"),
                    digest,
                    format!("{name}@example.org"),
                    avatar
                ],
            )
            .unwrap();
    }

    fn set(&self, id: i64, column: &str, value: impl rusqlite::ToSql) {
        self.db
            .execute(
                &format!("UPDATE UserInfo SET {column} = ?2 WHERE id = ?1"),
                params![id, value],
            )
            .unwrap();
    }
}

/// The MD5 digest of the password of each user in these tests.
fn digest() -> String {
    accountd::config::Scheme::Md5.hash("a password")
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// Imports into the data folder of a running server, and returns the report.
fn import(server: &Server, medusa: &Medusa, more: &[&str]) -> Value {
    let (file, data) = (medusa.path(), server.data.0.clone());
    let out = succeed(
        &[
            &[
                "import-medusa",
                text(&file),
                "--json",
                "--data",
                text(&data),
            ],
            more,
        ]
        .concat(),
    );
    serde_json::from_str(&out).unwrap()
}

/// The remarks about a user in one list of a report.
fn remarks_on<'a>(report: &'a Value, list: &str, name: &str) -> Vec<&'a str> {
    let of = |remark: &&Value| remark["name"] == name;
    report[list]
        .as_array()
        .unwrap()
        .iter()
        .filter(of)
        .map(|remark| remark["what"].as_str().unwrap())
        .collect()
}

#[test]
fn imported_users_keep_their_data_and_passwords() {
    let (server, medusa) = (Server::start(), Medusa::new());
    let photo =
        fs::read(crate::support::root().join("tests/pictures/progressive-gps.jpg")).unwrap();
    fs::write(medusa.avatars().join("vA3iBsOVzo1609400797.jpg"), &photo).unwrap();
    medusa.add(7, "rei", "vA3iBsOVzo1609400797.jpg");
    medusa.add(3, "asuka", "admin.jpg");
    medusa.set(3, "passwd", digest().to_uppercase());
    let avatars = medusa.avatars();
    let report = import(&server, &medusa, &["--avatars", text(&avatars)]);
    assert_eq!(
        report,
        json!({"taken": 2, "there_already": 0, "pictures": 1, "skipped": [], "remarks": []})
    );

    let info = server.info(&server.login("rei"));
    assert_eq!(
        (&info["id"], &info["show_name"], &info["email"]),
        (&7.into(), &"rei 阿巴".into(), &"rei@example.org".into())
    );
    assert_eq!(info["key"], "k".repeat(40));
    let served = server.send(
        "GET",
        &format!("/s/{}", info["avatar"].as_str().unwrap()),
        &[],
        b"",
    );
    assert_eq!(served.status, 200);
    assert!(
        served.body.starts_with(b"\xff\xd8\xff") && served.body.len() < photo.len(),
        "cleaned"
    );
    assert_eq!(server.info(&server.login("asuka"))["id"], 3);
    let db = server.database();
    let created: i64 = db
        .query_row("SELECT created_at FROM users WHERE id = 7", [], |row| {
            row.get(0)
        })
        .unwrap();
    assert_eq!(created, 1_609_400_797);
    server.register("shinji");
    assert_eq!(
        server.info(&server.login("shinji"))["id"],
        8,
        "new ids continue after the imported ones"
    );
    assert_eq!(
        server
            .post("/api/user_info", &json!({"token": "a token"}))
            .code(),
        403,
        "tokens are not imported"
    );

    let report = import(&server, &medusa, &["--avatars", text(&avatars)]);
    assert_eq!(
        report,
        json!({"taken": 0, "there_already": 2, "pictures": 0, "skipped": [], "remarks": []})
    );
    assert_eq!(server.avatars().len(), 1);
    succeed(&["check", "--data", text(&server.data.0)]);
    let audit = succeed(&["audit", "--user", "rei", "--data", text(&server.data.0)]);
    assert_eq!(audit.matches("import-medusa").count(), 1, "{audit}");
}

#[test]
fn users_that_cannot_be_imported_are_skipped_with_the_reason() {
    let (server, medusa) = (Server::start(), Medusa::new());
    server.register("rei");
    for (id, name) in [
        (1, "rei"),
        (2, "email"),
        (3, "noname"),
        (4, "nopass"),
        (5, "bcrypt"),
        (6, "long"),
        (7, "blob"),
        (8, "huge"),
    ] {
        medusa.add(id, name, "admin.jpg");
    }
    for (id, name) in [
        (9, "twin"),
        (10, "twin"),
        (11, "control\u{1b}[2J\n"),
        (12, "latin"),
        (i64::MAX, "last"),
    ] {
        medusa.add(id, name, "admin.jpg");
    }
    medusa.set(1, "email", "another@example.org");
    medusa.set(2, "email", "rei@example.org");
    medusa.set(3, "name", "\r\n");
    medusa.set(4, "passwd", None::<String>);
    medusa.set(5, "passwd", "$2b$12$abcdefghijklmnopqrstuv");
    medusa.set(6, "show_name", "x".repeat(65));
    medusa.set(6, "email", format!("{}@example.org", "x".repeat(254)));
    medusa.set(7, "email", [0u8, 159, 146, 150]);
    medusa.set(8, "name", "x".repeat(3_000_000));
    medusa.set(10, "email", "twin2@example.org");
    medusa
        .db
        .execute(
            "UPDATE UserInfo SET email = CAST(x'ff40' AS TEXT) WHERE id = 12",
            [],
        )
        .unwrap();
    medusa.set(i64::MAX, "key", "");
    medusa.set(i64::MAX, "show_name", "");
    medusa.set(i64::MAX, "creation_time", "yesterday");
    let report = import(&server, &medusa, &[]);
    for (name, why) in [
        ("rei", "another user, with another email, has the name"),
        ("email", "another user has the email"),
        ("\r\n", "the name is empty"),
        ("nopass", "the password is missing"),
        ("bcrypt", "the password is not an MD5 digest"),
        ("long", "the email has 266 characters, more than 254"),
        ("blob", "the email is not text, or is far too long"),
        ("", "the name is not text, or is far too long"),
        ("twin", "another user, with another email, has the name"),
        ("latin", "the email is not text, or is far too long"),
    ] {
        assert_eq!(remarks_on(&report, "skipped", name), [why], "{name}");
    }
    assert_eq!(report["skipped"].as_array().unwrap().len(), 10);
    assert_eq!(
        (&report["taken"], &report["there_already"]),
        (&3.into(), &0.into())
    );
    let remarks = remarks_on(&report, "remarks", "last");
    for what in [
        "got the new id 12",
        "got a new key",
        "got the name as display name",
        "got today as time of registration",
    ] {
        assert!(
            remarks.iter().any(|one| one.contains(what)),
            "{what}: {remarks:?}"
        );
    }
    // Control characters are escaped.
    medusa.set(11, "email", "rei@example.org");
    medusa.set(11, "name", "other\u{1b}[2J");
    let (file, data) = (medusa.path(), server.data.0.clone());
    let out = succeed(&["import-medusa", text(&file), "--data", text(&data)]);
    assert!(
        !out.contains('\u{1b}')
            && out.contains("skipped: other\\u{1b}[2J (id 11): another user has the email"),
        "{out}"
    );
    assert!(!out.contains(&digest()) && !out.contains("a token"));
    server.login("last");
}

#[test]
fn users_whose_emails_differ_only_in_case_are_all_imported_and_reported() {
    let (server, medusa) = (Server::start(), Medusa::new());
    server.register("rei");
    for (id, name, email) in [
        (1, "rei", "REI@example.org"),
        (7, "twin", "Rei@Example.org"),
        (8, "asuka", "asuka@example.org"),
        (9, "other", "Asuka@example.org"),
        (10, "same", "asuka@example.org"),
    ] {
        medusa.add(id, name, "admin.jpg");
        medusa.set(id, "email", email);
    }
    let report = import(&server, &medusa, &[]);
    assert_eq!(
        (&report["taken"], &report["there_already"]),
        (&3.into(), &1.into()),
        "{report}"
    );
    let of =
        |id| format!("has an email that differs only in case from that of the user with id {id}");
    assert_eq!(remarks_on(&report, "remarks", "twin"), [of(1)]);
    assert_eq!(remarks_on(&report, "remarks", "other"), [of(8)]);
    assert_eq!(
        remarks_on(&report, "skipped", "same"),
        ["another user has the email"]
    );
    for (name, email) in [("twin", "Rei@Example.org"), ("other", "Asuka@example.org")] {
        assert_eq!(server.info(&server.login(name))["email"], email);
    }
    let report = import(&server, &medusa, &[]);
    assert_eq!(
        (&report["taken"], &report["there_already"]),
        (&0.into(), &4.into()),
        "{report}"
    );
}

#[test]
fn a_user_with_an_unusable_picture_gets_the_built_in_one() {
    let (server, medusa) = (Server::start(), Medusa::new());
    let outside = medusa.folder.0.join("outside.png");
    fs::write(&outside, picture(20_000)).unwrap();
    fs::write(medusa.avatars().join("small.png"), picture(1_000)).unwrap();
    fs::write(medusa.avatars().join("text.jpg"), "no picture").unwrap();
    fs::write(
        medusa.avatars().join("large.png"),
        vec![0; 11 * 1024 * 1024],
    )
    .unwrap();
    fs::create_dir(medusa.avatars().join("folder.png")).unwrap();
    std::os::unix::fs::symlink(&outside, medusa.avatars().join("link.png")).unwrap();
    for (id, name, avatar) in [
        (1, "small", "small.png"),
        (2, "text", "text.jpg"),
        (3, "missing", "missing.jpg"),
        (4, "large", "large.png"),
        (5, "out", "../outside.png"),
        (6, "folder", "folder.png"),
        (7, "link", "link.png"),
        (8, "none", ""),
    ] {
        medusa.add(id, name, avatar);
    }
    let avatars = medusa.avatars();
    let report = import(&server, &medusa, &["--avatars", text(&avatars)]);
    assert_eq!(
        (&report["taken"], &report["pictures"]),
        (&8.into(), &1.into())
    );
    for (name, why) in [
        (
            "text",
            "got the built-in picture: text.jpg: the file is not a JPEG, PNG, GIF or WebP picture",
        ),
        (
            "missing",
            "got the built-in picture: missing.jpg: the file does not exist",
        ),
        (
            "large",
            "got the built-in picture: large.png: it has 11534336 bytes, more than max_avatar_bytes",
        ),
        (
            "out",
            "got the built-in picture: ../outside.png: its name is not a plain file name",
        ),
        (
            "folder",
            "got the built-in picture: folder.png: it is not a regular file",
        ),
        (
            "link",
            "got the built-in picture: link.png: it is not a regular file",
        ),
    ] {
        assert_eq!(remarks_on(&report, "remarks", name), [why]);
    }
    assert_eq!(report["remarks"].as_array().unwrap().len(), 6);
    assert_eq!(server.avatars().len(), 1);
    assert_eq!(server.info(&server.login("text"))["avatar"], "admin.jpg");
    succeed(&["check", "--data", text(&server.data.0)]);
}

#[test]
fn a_dry_run_and_a_failure_change_nothing() {
    let (server, medusa) = (Server::start(), Medusa::new());
    fs::write(medusa.avatars().join("rei.png"), picture(20_000)).unwrap();
    medusa.add(1, "rei", "rei.png");
    medusa.add(2, "asuka", "rei.png");
    let avatars = medusa.avatars();
    let report = import(
        &server,
        &medusa,
        &["--dry-run", "--avatars", text(&avatars)],
    );
    assert_eq!(
        (&report["taken"], &report["pictures"]),
        (&2.into(), &2.into())
    );
    let users = || {
        server
            .database()
            .query_row("SELECT count(*) FROM users", [], |row| row.get::<_, u32>(0))
            .unwrap()
    };
    assert_eq!((users(), server.avatars().len()), (0, 0));
    // If the database refuses the second user, the first one is not imported either.
    let trigger = "CREATE TRIGGER no BEFORE INSERT ON users WHEN NEW.name = 'asuka' BEGIN SELECT RAISE(FAIL, 'no'); END";
    server.database().execute_batch(trigger).unwrap();
    let (file, data) = (medusa.path(), server.data.0.clone());
    let error = refused(&[
        "import-medusa",
        text(&file),
        "--avatars",
        text(&avatars),
        "--data",
        text(&data),
    ]);
    assert!(error.contains("no user was imported: no"), "{error}");
    assert_eq!((users(), server.avatars().len()), (0, 0));
    server.database().execute_batch("DROP TRIGGER no").unwrap();
    import(&server, &medusa, &[]);
    assert_eq!(users(), 2);
}

#[test]
fn other_files_are_refused_and_not_written() {
    let server = Server::start();
    let data = server.data.0.clone();
    let folder = Folder::new();
    let file = folder.0.join("Medusa.db");
    let import = || refused(&["import-medusa", text(&file), "--data", text(&data)]);
    assert!(import().contains("cannot be read: No such file"));
    assert_eq!(
        fs::read_dir(&folder.0).unwrap().count(),
        0,
        "no file is created"
    );
    fs::write(
        &file,
        "no database at all, but long enough to be one: ".repeat(100),
    )
    .unwrap();
    assert!(import().contains("is not a SQLite database"));
    fs::remove_file(&file).unwrap();
    let db = Connection::open(&file).unwrap();
    db.execute_batch("CREATE TABLE Users (id)").unwrap();
    assert!(import().contains("it has no table UserInfo"));
    db.execute_batch(
        "CREATE TABLE UserInfo (id, key, name, show_name, email, avatar, creation_time)",
    )
    .unwrap();
    assert!(import().contains("its table UserInfo has no column passwd"));
    db.execute_batch("DROP TABLE UserInfo; CREATE VIEW UserInfo AS SELECT 1 AS id")
        .unwrap();
    assert!(import().contains("it has no table UserInfo"));
}

#[test]
fn a_database_in_use_or_with_a_leftover_log_is_imported() {
    let (server, medusa) = (Server::start(), Medusa::new());
    medusa
        .db
        .query_row("PRAGMA journal_mode = WAL", [], |_| Ok(()))
        .unwrap();
    medusa.add(1, "rei", "admin.jpg");
    // The user is in the write-ahead log only, and another transaction is open.
    medusa
        .db
        .execute_batch("BEGIN IMMEDIATE; INSERT INTO UserInfo (name) VALUES ('half')")
        .unwrap();
    assert_eq!(import(&server, &medusa, &[])["taken"], 1);
    medusa.db.execute_batch("ROLLBACK").unwrap();
    medusa.add(2, "asuka", "admin.jpg");
    // As a crash leaves it: a database with a log, which no process has open.
    let left = Medusa::new();
    for name in ["Medusa.db", "Medusa.db-wal"] {
        fs::copy(medusa.folder.0.join(name), left.folder.0.join(name)).unwrap();
    }
    let before = fs::read(left.path()).unwrap();
    let report = import(&server, &left, &[]);
    assert_eq!(
        (&report["taken"], &report["there_already"]),
        (&1.into(), &1.into())
    );
    assert!(
        fs::read(left.path()).unwrap() == before,
        "the file was written"
    );
    server.login("asuka");
    // As a clean stop leaves it: without a log. The import leaves no file beside it.
    let done = Medusa::new();
    done.db
        .query_row("PRAGMA journal_mode = WAL", [], |_| Ok(()))
        .unwrap();
    done.add(3, "shinji", "admin.jpg");
    let Medusa { folder, db } = done;
    drop(db);
    let out = succeed(&[
        "import-medusa",
        text(&folder.0.join("Medusa.db")),
        "--data",
        text(&server.data.0),
    ]);
    assert!(out.starts_with("1 user imported"), "{out}");
    assert_eq!(
        fs::read_dir(&folder.0).unwrap().count(),
        2,
        "the database and its pictures"
    );
}

#[test]
fn harden_wraps_every_digest_and_all_users_can_log_in() {
    let server = Server::with(json!({"password_hash": "argon2id"}));
    let data = server.data.0.clone();
    let medusa = Medusa::new();
    for id in 1..=12 {
        medusa.add(id, &format!("user{id}"), "admin.jpg");
    }
    let out = succeed(&["import-medusa", text(&medusa.path()), "--data", text(&data)]);
    assert!(
        out.contains("12 users imported") && out.contains("accountd harden wraps them now"),
        "{out}"
    );
    let token = server.login("user1");
    let passwords = || -> Vec<String> {
        let db = server.database();
        let mut all = db
            .prepare("SELECT password FROM users ORDER BY id")
            .unwrap();
        all.query_map([], |row| row.get(0))
            .unwrap()
            .collect::<Result<_, _>>()
            .unwrap()
    };
    let before = passwords();
    assert_eq!(
        before.iter().filter(|stored| **stored == digest()).count(),
        11
    );
    assert_eq!(
        succeed(&["harden", "--data", text(&data)]),
        "wrapped 11 digests; none is left\n"
    );
    assert!(
        passwords()
            .iter()
            .all(|stored| stored.starts_with("$argon2id$"))
    );
    assert_eq!(
        passwords()[0],
        before[0],
        "wrapped digests stay as they are"
    );
    assert_eq!(server.info(&token)["name"], "user1", "sessions stay valid");
    server.login("user2");
    let wrong = server.post_solved(
        "/api/login",
        json!({"username": "user3", "passwd": "another password"}),
    );
    assert_eq!(wrong.code(), 604);
    assert_eq!(
        succeed(&["harden", "--data", text(&data)]),
        "wrapped 0 digests; none is left\n"
    );
}

#[test]
fn harden_is_refused_if_log_ins_would_undo_it() {
    let server = Server::start();
    server.register("rei");
    let data = server.data.0.clone();
    let error = refused(&["harden", "--data", text(&data)]);
    assert!(
        error.contains("\"password_hash\" is md5")
            && error.contains("set \"password_hash\": \"argon2id\""),
        "{error}"
    );
}

#[test]
fn an_interrupted_harden_can_be_continued() {
    let server = Server::with(json!({"password_hash": "argon2id"}));
    let data = server.data.0.clone();
    let medusa = Medusa::new();
    for id in 1..=400 {
        medusa.add(id, &format!("user{id}"), "admin.jpg");
    }
    succeed(&["import-medusa", text(&medusa.path()), "--data", text(&data)]);
    let mut child = std::process::Command::new(env!("CARGO_BIN_EXE_accountd"))
        .args(["harden", "--data", text(&data)])
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let wrapped = || -> u32 {
        let sql = "SELECT count(*) FROM users WHERE password LIKE '$argon2id$%'";
        server
            .database()
            .query_row(sql, [], |row| row.get(0))
            .unwrap()
    };
    while wrapped() == 0 {
        std::thread::yield_now();
    }
    crate::support::signal(child.id(), "INT");
    // A password that changes before it is wrapped stays as it was changed.
    let change =
        json!({"username": "user400", "old_passwd": "a password", "new_passwd": "changed"});
    assert_eq!(
        server.post_solved("/api/update_password", change).code(),
        200
    );
    assert_eq!(child.wait().unwrap().code(), Some(1));
    let mut error = String::new();
    std::io::Read::read_to_string(&mut child.stderr.take().unwrap(), &mut error).unwrap();
    let done = wrapped();
    assert!(
        done < 400
            && error.contains("interrupted: ")
            && error.contains("run the command again to continue"),
        "{done} {error}"
    );
    let login = server.post_solved(
        "/api/login",
        json!({"username": "user400", "passwd": "changed"}),
    );
    assert_eq!(login.code(), 200);
    server.login("user1");
    server.login("user399");
}
