//! Backups of a busy server, damaged backups, `restore` and `check`.

use crate::support::{self, Folder, Server, accountd, picture};
use serde_json::{Value, json};
use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::SystemTime;

/// Exit code, standard output and standard error of a command.
pub fn run(arguments: &[&str]) -> (i32, String, String) {
    let output = support::run(accountd().args(arguments), b"");
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (
        output.status.code().unwrap(),
        text(output.stdout),
        text(output.stderr),
    )
}

/// The output of a command that must succeed.
pub fn succeed(arguments: &[&str]) -> String {
    let (code, out, error) = run(arguments);
    assert!(
        code == 0 && error.is_empty(),
        "{arguments:?}: {code} {out} {error}"
    );
    out
}

/// The one line of standard error of a command that must fail.
pub fn refused(arguments: &[&str]) -> String {
    let (code, out, error) = run(arguments);
    assert!(
        code == 1 && out.is_empty() && error.lines().count() == 1,
        "{arguments:?}: {code} {out} {error}"
    );
    error
}

pub fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// Makes a backup and returns its path.
pub fn backup(server: &Server, target: &Path) -> PathBuf {
    let line = succeed(&["backup", text(target), "--data", text(&server.data.0)]);
    let path = PathBuf::from(line.split_once(": ").unwrap().0);
    assert!(path.starts_with(target) && path.is_dir(), "{line}");
    path
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

/// Stops a server, runs `meanwhile`, and starts another server on the same data folder.
pub fn restarted(mut server: Server, meanwhile: impl FnOnce(&Server)) -> Server {
    server.signal("TERM");
    assert_eq!(server.wait(), Some(0));
    meanwhile(&server);
    Server::on(server.data.clone())
}

#[test]
fn a_backup_has_everything_and_only_its_owner_can_read_it() {
    let (server, target) = (Server::start(), Folder::new());
    let token = server.user("rei");
    assert_eq!(server.upload(&token, &picture(20_000)).code(), 200);
    server.register("asuka");
    let path = backup(&server, &target.0.join("new/folder"));
    assert_eq!(
        names(&path),
        [
            "SHA256SUMS",
            "accountd.db",
            "avatars",
            "backup.json",
            "config.json"
        ]
    );
    assert_eq!(names(&path.join("avatars")), server.avatars());
    for name in ["", "accountd.db", "config.json", "SHA256SUMS"] {
        assert_eq!(
            fs::metadata(path.join(name)).unwrap().permissions().mode() & 0o077,
            0,
            "{name}"
        );
    }
    assert!(
        Command::new("sha256sum")
            .args(["-c", "--quiet", "SHA256SUMS"])
            .current_dir(&path)
            .status()
            .unwrap()
            .success()
    );
    let out = succeed(&["check", "--data", text(&path)]);
    assert!(out.contains("sound: 2 users and 1 picture as of "), "{out}");
    // A check leaves no files behind.
    assert_eq!(names(&path).len(), 5);
    assert_eq!(
        names(path.parent().unwrap()).len(),
        1,
        "no unfinished backup is left"
    );
    assert!(
        refused(&["check", "--repair", "--data", text(&path)])
            .contains("is a backup, and backups are never changed")
    );
    // Two backups within one second get different names.
    assert_ne!(backup(&server, &target.0), backup(&server, &target.0));
}

#[test]
fn backups_during_writes_are_consistent() {
    let (server, target) = (Server::start(), Folder::new());
    let tokens: Vec<String> = (0..4)
        .map(|number| server.user(&format!("user{number}")))
        .collect();
    let stop = &AtomicBool::new(false);
    let server = &server;
    thread::scope(|scope| {
        for token in &tokens {
            scope.spawn(move || {
                // Each upload removes the picture before it, which a backup may be about to copy.
                while !stop.load(Ordering::Relaxed) {
                    assert_eq!(server.upload(token, &picture(11_000)).code(), 200);
                    let name = json!({"token": token, "new_show_name": "x".repeat(60)});
                    assert_eq!(server.post("/api/update_show_name", &name).code(), 200);
                }
            });
        }
        let _stop = StopOnDrop(stop);
        for _ in 0..6 {
            let path = backup(server, &target.0);
            succeed(&["check", "--data", text(&path)]);
        }
    });
    // Pictures that were replaced during the backups have been removed.
    backup(server, &target.0);
    assert_eq!(server.avatars().len(), 4);
}

#[test]
fn locked_pictures_stay_and_only_one_command_can_lock_them() {
    let (server, target) = (Server::start(), Folder::new());
    let token = server.user("rei");
    assert_eq!(server.upload(&token, &picture(20_000)).code(), 200);
    // As a backup locks them.
    let held = File::open(server.path("avatars")).unwrap();
    held.lock().unwrap();
    assert_eq!(server.upload(&token, &picture(20_000)).code(), 200);
    assert_eq!(server.avatars().len(), 2);
    let error = refused(&["backup", text(&target.0), "--data", text(&server.data.0)]);
    assert!(
        error.contains("another accountd backup or import is using it"),
        "{error}"
    );
    assert_eq!(names(&target.0), Vec::<String>::new());
    drop(held);
    backup(&server, &target.0);
    assert_eq!(
        server.avatars(),
        [server.info(&token)["avatar"].as_str().unwrap()]
    );
}

/// Stops the writers when dropped, even if a backup fails.
struct StopOnDrop<'a>(&'a AtomicBool);

impl Drop for StopOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// What is damaged, how, and what is reported.
type Break<'a> = (&'a str, &'a dyn Fn(), &'a str);

#[test]
fn damage_anywhere_in_a_backup_is_found() {
    let (server, target) = (Server::start(), Folder::new());
    let token = server.user("rei");
    assert_eq!(server.upload(&token, &picture(20_000)).code(), 200);
    let path = backup(&server, &target.0);
    let sound = path.with_extension("sound");
    let copy = |from: &Path, to: &Path| {
        let _ = fs::remove_dir_all(to);
        assert!(
            Command::new("cp")
                .arg("-a")
                .args([from, to])
                .status()
                .unwrap()
                .success()
        );
    };
    copy(&path, &sound);
    let avatar = format!("avatars/{}", server.avatars()[0]);
    let flip = |name: &str, at: usize| {
        let mut bytes = fs::read(path.join(name)).unwrap();
        bytes[at] ^= 1;
        fs::write(path.join(name), bytes).unwrap();
    };
    let cut = |name: &str| {
        let file = File::options().write(true).open(path.join(name)).unwrap();
        file.set_len(file.metadata().unwrap().len() / 2).unwrap();
    };
    let drop_line = |name: &str| {
        let sums = fs::read_to_string(path.join("SHA256SUMS")).unwrap();
        let rest: String = sums
            .lines()
            .filter(|line| !line.ends_with(name))
            .map(|line| format!("{line}\n"))
            .collect();
        fs::write(path.join("SHA256SUMS"), rest).unwrap();
    };
    let breaks: [Break; 16] = [
        (
            "a byte of a user",
            &|| flip("accountd.db", 4096 * 3 - 5),
            "accountd.db: has changed since the backup",
        ),
        (
            "a byte of the head",
            &|| flip("accountd.db", 20),
            "accountd.db: has changed since the backup",
        ),
        (
            "the first byte",
            &|| flip("accountd.db", 0),
            "is not a SQLite database",
        ),
        (
            "half a database",
            &|| cut("accountd.db"),
            "accountd.db: has changed since the backup",
        ),
        (
            "no database",
            &|| fs::remove_file(path.join("accountd.db")).unwrap(),
            "accountd.db: is missing",
        ),
        ("a byte of a picture", &|| flip(&avatar, 15_000), "avatars/"),
        ("half a picture", &|| cut(&avatar), "it is damaged"),
        (
            "no picture",
            &|| fs::remove_file(path.join(&avatar)).unwrap(),
            "is missing",
        ),
        (
            "a byte of the configuration",
            &|| flip("config.json", 9),
            "config.json: has changed since the backup",
        ),
        (
            "no backup.json",
            &|| fs::remove_file(path.join("backup.json")).unwrap(),
            "backup.json",
        ),
        (
            "a byte of a checksum",
            &|| flip("SHA256SUMS", 3),
            "accountd.db: has changed since the backup",
        ),
        (
            "a byte of a name",
            &|| flip("SHA256SUMS", 66),
            "line 1 is not a checksum and the path",
        ),
        (
            "a line of a picture",
            &|| drop_line(&avatar),
            "is not listed",
        ),
        (
            "a line of the database",
            &|| drop_line("accountd.db"),
            "accountd.db is not listed",
        ),
        ("half the checksums", &|| cut("SHA256SUMS"), "SHA256SUMS"),
        (
            "no checksums",
            &|| fs::remove_file(path.join("SHA256SUMS")).unwrap(),
            "is not a backup",
        ),
    ];
    let empty = Folder::new();
    for (what, damage, sentence) in breaks {
        damage();
        let error = refused(&["restore", text(&path), "--data", text(&empty.0)]);
        assert!(
            error.contains("is damaged: ") || error.contains("is not a backup"),
            "{what}: {error}"
        );
        assert_eq!(names(&empty.0), Vec::<String>::new(), "{what}");
        let (code, out, _) = run(&["check", "--data", text(&path)]);
        // Without its checksums, a backup is checked as a data folder.
        assert!(
            (code == 1 && out.contains(sentence)) || what.ends_with("checksums"),
            "{what}: {code} {out}"
        );
        copy(&sound, &path);
    }
    succeed(&["restore", text(&path), "--data", text(&empty.0)]);
}

#[test]
fn damaged_data_is_not_backed_up() {
    let (server, target) = (Server::start(), Folder::new());
    let token = server.user("rei");
    assert_eq!(server.upload(&token, &picture(20_000)).code(), 200);
    let avatar = server.path("avatars").join(&server.avatars()[0]);
    let bytes = fs::read(&avatar).unwrap();
    let data = text(&server.data.0);
    fs::write(&avatar, &bytes[..9000]).unwrap();
    assert!(refused(&["backup", text(&target.0), "--data", data]).contains("it is damaged"));
    fs::remove_file(&avatar).unwrap();
    assert!(
        refused(&["backup", text(&target.0), "--data", data])
            .contains("is missing; accountd check --repair")
    );
    assert_eq!(names(&target.0), Vec::<String>::new());
    fs::write(&avatar, bytes).unwrap();
    backup(&server, &target.0);
    // The next backup removes the folder that a killed one left behind.
    fs::create_dir(target.0.join(".accountd-abcdefgh.unfinished")).unwrap();
    backup(&server, &target.0);
    assert_eq!(names(&target.0).len(), 2);
    assert!(
        refused(&["backup", text(&target.0), "--data", text(&target.0)])
            .contains("name the data folder with --data")
    );
}

#[test]
fn restore_brings_back_the_backup_and_keeps_the_previous_state() {
    let (server, target) = (Server::start(), Folder::new());
    let token = server.user("rei");
    assert_eq!(server.upload(&token, &picture(20_000)).code(), 200);
    let then = server.avatars();
    let picture_then = fs::read(server.path("avatars").join(&then[0])).unwrap();
    let path = backup(&server, &target.0);
    assert_eq!(server.upload(&token, &picture(30_000)).code(), 200);
    let later = server.avatars();
    server.register("asuka");
    let data = server.data.clone();
    let data = text(&data.0);
    let error = refused(&["restore", text(&path), "--data", data]);
    assert!(error.contains("another accountd, with pid "), "{error}");

    let mut aside = PathBuf::new();
    let server = restarted(server, |server| {
        let error = refused(&["restore", text(&path), "--data", data]);
        assert!(
            error.contains("is newer than the backup: 2 users added, changed or deleted after")
                && error.contains("--force"),
            "{error}"
        );
        assert_eq!(server.avatars(), later);
        let out = succeed(&["restore", text(&path), "--force", "--data", data]);
        assert!(out.contains("1 user and 1 picture as of "), "{out}");
        aside = out.trim_end().rsplit_once(' ').unwrap().1.into();
    });
    assert_eq!(server.info(&token)["avatar"], then[0]);
    assert_eq!(server.avatars(), then);
    assert_eq!(
        server
            .send("GET", &format!("/s/{}", then[0]), &[], b"")
            .body,
        picture_then
    );
    server.register("asuka");
    succeed(&["check", "--data", data]);

    // The old state is a data folder too.
    assert_eq!(names(&aside.join("avatars")), later);
    succeed(&["check", "--data", text(&aside)]);
    fs::copy(path.join("config.json"), aside.join("config.json")).unwrap();
    let old = Server::on(std::sync::Arc::new(Folder(aside)));
    old.login("asuka");
}

#[test]
fn restore_brings_config_json_only_if_there_is_none() {
    let (server, target, elsewhere) = (Server::start(), Folder::new(), Folder::new());
    let token = server.user("rei");
    let path = backup(&server, &target.0);
    let data = elsewhere.0.join("not/there/yet");
    succeed(&["restore", text(&path), "--data", text(&data)]);
    assert_eq!(
        fs::read(data.join("config.json")).unwrap(),
        fs::read(path.join("config.json")).unwrap()
    );
    assert_eq!(fs::metadata(&data).unwrap().permissions().mode() & 0o077, 0);
    // Nothing has changed since the backup, so `--force` is not needed.
    let mut there: Value =
        serde_json::from_str(&fs::read_to_string(data.join("config.json")).unwrap()).unwrap();
    there["threads"] = 1.into();
    fs::write(data.join("config.json"), there.to_string()).unwrap();
    succeed(&["restore", text(&path), "--data", text(&data)]);
    assert_eq!(
        fs::read_to_string(data.join("config.json")).unwrap(),
        there.to_string()
    );
    let restored = Server::on(std::sync::Arc::new(Folder(data)));
    assert_eq!(
        restored.info(&token)["name"],
        "rei",
        "sessions are restored"
    );
}

#[test]
fn a_failed_restore_leaves_the_old_state_complete() {
    let (server, target) = (Server::start(), Folder::new());
    let token = server.user("rei");
    assert_eq!(server.upload(&token, &picture(20_000)).code(), 200);
    let path = backup(&server, &target.0);
    server.register("asuka");
    let data = server.data.clone();
    let server = restarted(server, |server| {
        // A folder with the name of the new database makes the restore fail.
        fs::create_dir(server.path("accountd.db.new")).unwrap();
        refused(&["restore", text(&path), "--force", "--data", text(&data.0)]);
        fs::remove_dir(server.path("accountd.db.new")).unwrap();
        let left: Vec<String> = names(&data.0)
            .into_iter()
            .filter(|name| name.contains("restore"))
            .collect();
        assert_eq!(left, Vec::<String>::new());
    });
    assert_eq!(server.info(&token)["name"], "rei");
    server.login("asuka");
    succeed(&["check", "--data", text(&data.0)]);
}

#[test]
fn an_unreadable_database_is_replaced_only_with_force_and_kept() {
    let (server, target) = (Server::start(), Folder::new());
    server.register("rei");
    let path = backup(&server, &target.0);
    let data = server.data.clone();
    let server = restarted(server, |server| {
        let mut bytes = fs::read(server.path("accountd.db")).unwrap();
        bytes[4096..].fill(0x5a);
        fs::write(server.path("accountd.db"), &bytes).unwrap();
        fs::write(server.path("accountd.db-wal"), b"a log of nothing").unwrap();
        assert!(
            refused(&["restore", text(&path), "--data", text(&data.0)])
                .contains("--force restores the backup")
        );
        let out = succeed(&["restore", text(&path), "--force", "--data", text(&data.0)]);
        let aside = PathBuf::from(out.trim_end().rsplit_once(' ').unwrap().1);
        assert!(fs::read(aside.join("accountd.db")).unwrap()[4096..] == bytes[4096..]);
    });
    server.login("rei");
}

#[test]
fn a_leftover_log_is_not_applied_to_the_restored_database() {
    let (server, target, left) = (Server::start(), Folder::new(), Folder::new());
    server.register("rei");
    let path = backup(&server, &target.0);
    server.register("asuka");
    // As a crash leaves it, and with a damaged header.
    for name in ["accountd.db", "accountd.db-wal"] {
        fs::copy(server.path(name), left.0.join(name)).unwrap();
    }
    assert!(fs::metadata(left.0.join("accountd.db-wal")).unwrap().len() > 0);
    let mut bytes = fs::read(left.0.join("accountd.db")).unwrap();
    bytes[..16].fill(0);
    fs::write(left.0.join("accountd.db"), bytes).unwrap();
    let error = refused(&["restore", text(&path), "--data", text(&left.0)]);
    assert!(
        error.contains("is not a SQLite database") && error.contains("--force restores"),
        "{error}"
    );
    succeed(&["restore", text(&path), "--force", "--data", text(&left.0)]);
    let out = succeed(&["check", "--data", text(&left.0)]);
    assert!(out.contains("sound: 1 user and"), "{out}");
}

#[test]
fn check_finds_and_repairs_missing_pictures_and_leftovers() {
    let server = Server::start();
    let data = text(&server.data.0);
    let token = server.user("rei");
    assert_eq!(server.upload(&token, &picture(20_000)).code(), 200);
    let (other, gone) = (server.user("asuka"), "abcdefghij1700000000.png");
    let out = succeed(&["check", "--data", data]);
    assert!(out.ends_with("sound: 2 users and 1 picture\n"), "{out}");

    server
        .database()
        .execute("UPDATE users SET avatar = ?1 WHERE name = 'asuka'", [gone])
        .unwrap();
    let orphan = |name: &str, old: bool| {
        let path = server.path("avatars").join(name);
        fs::write(&path, "left").unwrap();
        if old {
            File::open(&path)
                .unwrap()
                .set_modified(SystemTime::UNIX_EPOCH)
                .unwrap();
        }
        path
    };
    let left = [
        orphan("aaaaaaaaaa1700000000.jpg", true),
        orphan(".bbbbbbbbbbbbbbbbbbbb", true),
    ];
    // Uploads that are not recorded yet, and a foreign file.
    let kept = [
        orphan("cccccccccc1700000000.jpg", false),
        orphan(".dddddddddddddddddddd", false),
        orphan("notes.txt", true),
    ];
    fs::write(server.path("accountd.db.new"), "left").unwrap();
    File::open(server.path("accountd.db.new"))
        .unwrap()
        .set_modified(SystemTime::UNIX_EPOCH)
        .unwrap();
    let (code, out, error) = run(&["check", "--data", data]);
    assert_eq!((code, &*error), (1, ""), "{out}");
    for line in [
        format!("wrong: picture {gone}: it is not there\n").as_str(),
        "wrong: picture aaaaaaaaaa1700000000.jpg: no user has it\n",
        "wrong: picture .bbbbbbbbbbbbbbbbbbbb: no user has it\n",
        "wrong: accountd.db.new: an interrupted command left it behind\n",
    ] {
        assert!(out.contains(line), "{out}");
    }
    assert_eq!(out.lines().count(), 4, "{out}");
    let out = succeed(&["check", "--repair", "--data", data]);
    assert!(
        out.contains(&format!(
            "repaired: picture {gone}: it is not there; user 2 now has the built-in one"
        )),
        "{out}"
    );
    assert!(
        out.contains("repaired: 2 pictures that no user had: removed") && out.contains("sound: "),
        "{out}"
    );
    assert!(left.iter().all(|path| !path.exists()) && kept.iter().all(|path| path.exists()));
    assert!(!server.path("accountd.db.new").exists());
    assert_eq!(server.info(&other)["avatar"], "admin.jpg");
    succeed(&["check", "--data", data]);
    // A damaged picture is reported and stays: it may be better than none.
    let avatar = server.info(&token)["avatar"].as_str().unwrap().to_string();
    fs::write(server.path("avatars").join(&avatar), [0; 20_000]).unwrap();
    let (code, out, _) = run(&["check", "--repair", "--data", data]);
    assert!(
        code == 1 && out.contains(&format!("wrong: picture {avatar}: it is damaged")),
        "{out}"
    );
}

#[test]
fn foreign_schema_objects_are_refused_by_check_backup_restore_and_start() {
    let (server, target, elsewhere) = (Server::start(), Folder::new(), Folder::new());
    server.register("rei");
    let sound = backup(&server, &target.0);
    // Tables of Litestream and SQLite are allowed.
    let theirs = "CREATE TABLE _litestream_seq (id INTEGER PRIMARY KEY, seq INTEGER);
         CREATE TABLE _litestream_lock (id INTEGER); ANALYZE";
    server.database().execute_batch(theirs).unwrap();
    let data = server.data.clone();
    let data = text(&data.0);
    succeed(&["check", "--data", data]);
    let path = backup(&server, &target.0);
    let server = restarted(server, |_| ());
    server.login("rei");

    let trigger =
        "CREATE TRIGGER \"spy\" AFTER UPDATE OF password ON users BEGIN DELETE FROM sessions; END";
    server.database().execute_batch(trigger).unwrap();
    let named = "it holds the trigger spy, which accountd did not create";
    let remedy = format!(
        "remove it, while no server runs, with: sqlite3 '{data}/accountd.db' 'DROP TRIGGER \"spy\"'"
    );
    for more in [&[][..], &["--repair"]] {
        let (code, out, _) = run(&[&["check", "--data", data], more].concat());
        assert_eq!(
            (code, out),
            (1, format!("wrong: database: {named}; {remedy}\n"))
        );
    }
    let error = refused(&["backup", text(&target.0), "--data", data]);
    assert!(
        error.contains(&format!(
            "no backup was made, since the copy is not sound: accountd.db: {named}"
        )),
        "{error}"
    );

    // A tampered backup with matching checksums.
    let broken = target.0.join("broken");
    assert!(
        Command::new("cp")
            .arg("-a")
            .args([&path, &broken])
            .status()
            .unwrap()
            .success()
    );
    let db = rusqlite::Connection::open(broken.join("accountd.db")).unwrap();
    db.execute_batch(trigger).unwrap();
    drop(db);
    let sums =
        "sha256sum accountd.db > new; grep -v accountd.db SHA256SUMS >> new; mv new SHA256SUMS";
    assert!(
        Command::new("sh")
            .args(["-c", sums])
            .current_dir(&broken)
            .status()
            .unwrap()
            .success()
    );
    let error = refused(&["restore", text(&broken), "--data", text(&elsewhere.0)]);
    assert!(
        error.contains(&format!("is damaged: accountd.db: {named}")),
        "{error}"
    );
    assert_eq!(names(&elsewhere.0), Vec::<String>::new());
    let (code, out, _) = run(&["check", "--data", text(&broken)]);
    assert_eq!((code, out), (1, format!("wrong: accountd.db: {named}\n")));

    // A running server goes on, and a worker that replaces another one starts.
    server.signal("HUP");
    server.lines.wait("reloaded");
    server.login("rei");
    let server = restarted(server, |server| {
        let listen = ["--data", data, "--listen", "127.0.0.1:0"];
        assert_eq!(
            refused(&listen),
            format!("accountd: {data}/accountd.db: {named}; {remedy}\n")
        );
        server.database().execute_batch("DROP TRIGGER spy").unwrap();
    });
    server.login("rei");
    succeed(&["check", "--data", data]);
    drop(server);
    succeed(&["restore", text(&sound), "--data", text(&elsewhere.0)]);
}

#[test]
fn emails_that_differ_in_case_survive_backup_and_restore() {
    let (server, target, elsewhere) = (Server::start(), Folder::new(), Folder::new());
    ["rei", "twin"]
        .iter()
        .for_each(|name| server.register(name));
    server
        .database()
        .execute(
            "UPDATE users SET email = 'REI@example.org' WHERE name = 'twin'",
            [],
        )
        .unwrap();
    let path = backup(&server, &target.0);
    succeed(&["restore", text(&path), "--data", text(&elsewhere.0)]);
    let out = succeed(&["check", "--data", text(&elsewhere.0)]);
    assert!(out.contains("sound: 2 users"), "{out}");
    let restored = Server::on(std::sync::Arc::new(elsewhere));
    assert_eq!(
        restored.info(&restored.login("twin"))["email"],
        "REI@example.org"
    );
    assert_eq!(
        restored.info(&restored.login("rei"))["email"],
        "rei@example.org"
    );
}

#[test]
fn check_reports_a_damaged_database() {
    let server = Server::start();
    (0..40).for_each(|number| server.register(&format!("user{number}")));
    let data = server.data.clone();
    let mut server = server;
    server.signal("TERM");
    assert_eq!(server.wait(), Some(0));
    let db = server.database();
    // A session without a user; then an index that does not match its table.
    db.execute_batch("PRAGMA foreign_keys = 0; INSERT INTO sessions (id, token_sha256, user_id, nth, expires_at) VALUES (9, x'00', 4711, 1, 1)")
        .unwrap();
    let (code, out, _) = run(&["check", "--data", text(&data.0)]);
    assert!(
        code == 1
            && out.contains(
                "wrong: database: row 9 of sessions refers to a row of users that does not exist"
            ),
        "{out}"
    );
    db.execute_batch("DELETE FROM sessions; PRAGMA wal_checkpoint(TRUNCATE)")
        .unwrap();
    drop(db);
    let file = server.path("accountd.db");
    let mut bytes = fs::read(&file).unwrap();
    let at = bytes
        .windows(6)
        .rposition(|bytes| bytes == b"user39")
        .unwrap();
    bytes[at] = b'v';
    fs::write(&file, bytes).unwrap();
    let (code, out, _) = run(&["check", "--repair", "--data", text(&data.0)]);
    assert!(code == 1 && out.contains("wrong: database: "), "{out}");
}

#[test]
fn a_backup_has_the_logo_and_a_restore_puts_it_back_unless_there_is_one() {
    let data = Folder::with(json!({"logo": "ours.svg"}));
    let logo = data.0.join("ours.svg");
    fs::write(&logo, "<svg/>").unwrap();
    let (mut server, target) = (Server::on(data), Folder::new());
    server.register("rei");
    let path = backup(&server, &target.0);
    assert_eq!(fs::read_to_string(path.join("ours.svg")).unwrap(), "<svg/>");
    succeed(&["check", "--data", text(&path)]);
    server.signal("TERM");
    server.wait();
    let restore = ["restore", text(&path), "--data", text(&server.data.0)];
    fs::write(&logo, "<svg>newer</svg>").unwrap();
    succeed(&restore);
    assert_eq!(fs::read_to_string(&logo).unwrap(), "<svg>newer</svg>");
    fs::remove_file(&logo).unwrap();
    succeed(&restore);
    assert_eq!(fs::read_to_string(&logo).unwrap(), "<svg/>");
    // A logo that is missing is not a reason to have no backup.
    fs::remove_file(&logo).unwrap();
    backup(&server, &target.0);
    // Damage is noticed in it as in every other file.
    fs::write(path.join("ours.svg"), "<svg></svg>").unwrap();
    let error = refused(&["restore", text(&path), "--data", text(&server.data.0)]);
    assert!(
        error.contains("ours.svg: has changed since the backup"),
        "{error}"
    );
}
