//! Commands on a data folder, beside a running server and without one.

use crate::support::{self, Folder, RESET, Server, accountd, new_user, picture, settings};
use serde_json::{Value, json};
use std::fs;
use std::io::{Read, Write};
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::Mutex;
use std::sync::mpsc::TryRecvError;
use std::thread;

/// Runs a command on a data folder with this standard input.
fn run_with(data: &Path, arguments: &[&str], input: &[u8]) -> Output {
    support::run(accountd().args(arguments).arg("--data").arg(data), input)
}

/// The output of a command that must succeed.
fn done(server: &Server, arguments: &[&str]) -> String {
    done_with(&server.data.0, arguments, b"")
}

fn done_with(data: &Path, arguments: &[&str], input: &[u8]) -> String {
    let output = run_with(data, arguments, input);
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(
        (output.status.code(), &*error),
        (Some(0), ""),
        "{arguments:?}"
    );
    String::from_utf8(output.stdout).unwrap()
}

/// Exit code and the one line of standard error of a command that must fail.
fn refused(data: &Path, arguments: &[&str], input: &[u8]) -> (i32, String) {
    let output = run_with(data, arguments, input);
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(
        output.stdout.is_empty() && error.lines().count() == 1,
        "{arguments:?}: {error}"
    );
    (output.status.code().unwrap(), error)
}

fn objects(text: &str) -> Vec<Value> {
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

fn object(text: &str) -> Value {
    let [object] = &objects(text)[..] else {
        panic!("one object in {text}")
    };
    object.clone()
}

fn log_in(server: &Server, name: &str, password: &str) -> u64 {
    server
        .post_solved("/api/login", json!({"username": name, "passwd": password}))
        .code()
}

fn knows(server: &Server, token: &str) -> u64 {
    server
        .post("/api/user_info", &json!({"token": token}))
        .code()
}

#[test]
fn changes_to_a_user_take_effect_while_the_server_runs() {
    let server = Server::start();
    let add = [
        "user",
        "add",
        "rei",
        "rei@example.org",
        "--show-name",
        "Rei Ayanami",
    ];
    assert_eq!(
        done_with(&server.data.0, &add, b"a password\n"),
        "rei (id 1): added\n"
    );
    let token = server.login("rei");
    assert_eq!(server.info(&token)["show_name"], "Rei Ayanami");
    assert_eq!(server.info(&token)["key"].as_str().unwrap().len(), 40);

    let shown = object(&done(&server, &["user", "show", "rei", "--json"]));
    let created = shown["created_at"].as_i64().unwrap();
    assert!(shown["sessions_end_at"].as_i64().unwrap() >= created + 86_400);
    let expected = json!({
        "id": 1, "name": "rei", "show_name": "Rei Ayanami", "email": "rei@example.org", "avatar": "admin.jpg",
        "password_hash": "md5", "created_at": created, "disabled_at": null, "sessions": 1,
        "sessions_end_at": shown["sessions_end_at"], "groups": [], "second_factor": false,
    });
    assert_eq!(shown, expected);

    let printed = done_with(
        &server.data.0,
        &["user", "set-password", "rei"],
        b"another\r\n",
    );
    assert_eq!(
        printed,
        "rei (id 1): the password is set, every session has ended\n"
    );
    assert_eq!(
        (knows(&server, &token), log_in(&server, "rei", "a password")),
        (403, 604)
    );
    assert_eq!(log_in(&server, "rei", "another"), 200);
    done_with(
        &server.data.0,
        &["user", "set-password", "rei"],
        b"a password",
    );

    let token = server.login("rei");
    assert_eq!(
        done(&server, &["user", "rename", "rei", "ayanami"]),
        "ayanami (id 1): renamed\n"
    );
    assert_eq!(
        server.info(&token)["name"],
        "ayanami",
        "a session stays valid"
    );
    assert_eq!(log_in(&server, "rei", "a password"), 604);
    let token = server.login("ayanami");
    done(&server, &["user", "logout", "ayanami"]);
    assert_eq!(knows(&server, &token), 403);
    assert_eq!(
        object(&done(&server, &["user", "logout", "id:1", "--json"]))["sessions"],
        0
    );
}

#[test]
fn a_disabled_user_is_refused_at_once_until_enabled() {
    let server = Server::start();
    let token = server.user("rei");
    assert_eq!(
        done(&server, &["user", "disable", "rei"]),
        "rei (id 1): disabled, every session has ended\n"
    );
    let solved = |path: &str, body: Value| server.post_solved(path, body).code();
    assert_eq!(knows(&server, &token), 403);
    for path in ["/api/update_key", "/api/update_show_name", "/api/logout"] {
        assert_eq!(
            server
                .post(path, &json!({"token": token, "new_show_name": "b"}))
                .code(),
            403,
            "{path}"
        );
    }
    assert_eq!(server.upload(&token, &picture(20_000)).code(), 403);
    assert_eq!(log_in(&server, "rei", "a password"), 604);
    let password = json!({"username": "rei", "old_passwd": "a password", "new_passwd": "another"});
    assert_eq!(solved("/api/update_password", password), 404);
    let reset =
        json!({"key": RESET, "name": "rei", "new_passwd": "another", "email": "rei@example.org"});
    assert_eq!(solved("/api/forget_password", reset), 501);
    assert_eq!(
        solved("/api/registered", new_user("rei")),
        604,
        "name and email stay taken"
    );

    let since = |server: &Server| {
        object(&done(server, &["user", "show", "rei", "--json"]))["disabled_at"].clone()
    };
    let first = since(&server);
    assert!(first.is_i64(), "{first}");
    server
        .database()
        .execute("UPDATE users SET disabled_at = disabled_at - 1000", [])
        .unwrap();
    done(&server, &["user", "disable", "rei"]);
    assert_eq!(
        since(&server),
        first.as_i64().unwrap() - 1000,
        "disabled since the first time"
    );
    done_with(&server.data.0, &["user", "set-password", "rei"], b"another");
    assert_eq!(
        log_in(&server, "rei", "another"),
        604,
        "a new password does not enable the user"
    );

    done(&server, &["user", "enable", "rei"]);
    assert_eq!((since(&server), knows(&server, &token)), (Value::Null, 403));
    assert_eq!(log_in(&server, "rei", "another"), 200);
}

#[test]
fn a_deleted_user_leaves_only_lines_of_the_audit_log() {
    let server = Server::start();
    let kept = server.user("asuka");
    let token = server.user("rei");
    assert_eq!(server.upload(&token, &picture(20_000)).code(), 200);
    let info = server.info(&token);
    assert_eq!(
        done(&server, &["user", "delete", "rei"]),
        "rei (id 2): deleted\n"
    );
    assert_eq!(
        (knows(&server, &token), log_in(&server, "rei", "a password")),
        (403, 604)
    );
    assert_eq!(server.avatars(), [""; 0]);
    assert_eq!(
        server
            .send(
                "GET",
                &format!("/s/{}", info["avatar"].as_str().unwrap()),
                &[],
                b""
            )
            .status,
        404
    );
    let files: Vec<u8> = ["accountd.db", "accountd.db-wal"]
        .iter()
        .flat_map(|name| fs::read(server.path(name)).unwrap())
        .collect();
    let holds = |text: &str| {
        files
            .windows(text.len())
            .any(|bytes| bytes == text.as_bytes())
    };
    for trace in [
        "rei@example.org",
        "rei 阿巴",
        info["key"].as_str().unwrap(),
        info["avatar"].as_str().unwrap(),
    ] {
        assert!(!holds(trace), "{trace} is still there");
    }
    let digest = accountd::crypto::sha256(&token);
    assert!(!files.windows(32).any(|bytes| bytes == digest));
    assert!(holds("asuka@example.org"));
    let users = objects(&done(&server, &["audit", "--user", "rei", "--json"]));
    let events: Vec<&str> = users
        .iter()
        .map(|line| line["event"].as_str().unwrap())
        .collect();
    assert_eq!(
        events,
        ["registered", "login", "upload_avatar", "user delete"]
    );
    let again = server.user("rei");
    assert_eq!(
        (server.info(&again)["id"].as_i64(), knows(&server, &kept)),
        (Some(3), 200),
        "an id is used once"
    );
}

#[test]
fn deleted_users_are_overwritten_in_freed_pages() {
    let server = Server::start();
    // A page of the database holds three of these rows.
    let email = |i: usize| format!("{i}-{}", "阿".repeat(250));
    for i in 0..12 {
        done_with(
            &server.data.0,
            &["user", "add", &format!("u{i}"), &email(i)],
            b"a password",
        );
    }
    for i in 2..10 {
        done(&server, &["user", "delete", &format!("u{i}")]);
    }
    let file = fs::read(server.path("accountd.db")).unwrap();
    let left: Vec<usize> = (0..12)
        .filter(|i| {
            file.windows(email(*i).len())
                .any(|bytes| bytes == email(*i).as_bytes())
        })
        .collect();
    assert_eq!(left, [0, 1, 10, 11]);
}

#[test]
fn a_long_reader_is_reported_by_user_delete_and_holds_up_no_write() {
    let server = Server::start();
    let token = server.user("asuka");
    server.register("rei");
    let reader = server.database();
    reader
        .execute_batch("BEGIN; SELECT count(*) FROM users")
        .unwrap();
    thread::scope(|scope| {
        let (going, gone) = std::sync::mpsc::channel::<()>();
        let (server, token) = (&server, &token);
        scope.spawn(move || {
            while gone.try_recv() == Err(TryRecvError::Empty) {
                assert_eq!(
                    server
                        .post("/api/update_key", &json!({"token": token}))
                        .code(),
                    200
                );
            }
        });
        let output = run_with(&server.data.0, &["user", "delete", "rei"], b"");
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(
            (output.status.code(), &*output.stdout),
            (Some(0), &b"rei (id 2): deleted\n"[..])
        );
        assert!(
            said.contains("until it is done, accountd.db-wal still holds the deleted data"),
            "{said}"
        );
        drop(going);
    });
    drop(reader);
    server.register("rei");
    assert_eq!(
        done(&server, &["user", "delete", "rei"]),
        "rei (id 3): deleted\n"
    );
}

#[test]
fn a_picture_that_user_delete_cannot_remove_is_named() {
    let server = Server::start();
    let token = server.user("rei");
    assert_eq!(server.upload(&token, &picture(20_000)).code(), 200);
    let avatar = &server.avatars()[0];
    // Not even root can remove a folder as a file.
    let path = server.path("avatars").join(avatar);
    fs::remove_file(&path).unwrap();
    fs::create_dir(&path).unwrap();
    let (code, text) = refused(&server.data.0, &["user", "delete", "rei"], b"");
    assert!(
        code == 1
            && text.contains(&format!(
                "rei (id 1) is deleted, but the picture {avatar} could not be removed: "
            )),
        "{text}"
    );
    assert_eq!(log_in(&server, "rei", "a password"), 604);

    // While a backup has the pictures locked, they stay, and the command warns of it.
    let token = server.user("asuka");
    assert_eq!(server.upload(&token, &picture(20_000)).code(), 200);
    let avatar = server.info(&token)["avatar"].as_str().unwrap().to_string();
    let held = accountd::account::avatar::lock_exclusive(&server.data.0).unwrap();
    let output = run_with(&server.data.0, &["user", "delete", "asuka"], b"");
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(
        output.status.success()
            && said.contains(&format!(
                "a backup or import is running, so the picture {avatar} stays"
            )),
        "{said}"
    );
    assert!(server.path("avatars").join(avatar).exists());
    drop(held);
}

#[test]
fn commands_work_without_a_server_and_refuse_a_folder_without_a_database() {
    let mut server = Server::start();
    server.register("rei");
    server.signal("TERM");
    assert_eq!(server.wait(), Some(0));
    done(&server, &["user", "disable", "rei"]);
    assert_eq!(
        done(&server, &["user", "list", "--json"]).lines().count(),
        1
    );
    assert_eq!(
        fs::metadata(server.path("accountd.db-wal")).map_or(0, |log| log.len()),
        0,
        "the write-ahead log is empty"
    );
    let server = Server::on(server.data.clone());
    assert_eq!(log_in(&server, "rei", "a password"), 604);

    let empty = Folder::new();
    for arguments in [
        &["user", "list"][..],
        &["user", "add", "rei", "rei@example.org"],
        &["audit"],
    ] {
        let (code, text) = refused(&empty.0, arguments, b"a password");
        assert!(
            code == 1
                && text.contains("accountd.db: does not exist; name the data folder with --data"),
            "{text}"
        );
    }
    assert_eq!(
        fs::read_dir(&empty.0).unwrap().count(),
        0,
        "nothing is created"
    );
    fs::write(empty.0.join("accountd.db"), "x".repeat(200)).unwrap();
    assert!(
        refused(&empty.0, &["user", "list"], b"")
            .1
            .contains("is not a SQLite database")
    );
}

#[test]
fn invalid_arguments_are_refused_and_change_nothing() {
    let server = Server::start();
    server.register("rei");
    server.register("asuka");
    let data = &server.data.0;
    let before = done(&server, &["user", "list", "--json"]);
    let add = |name: &str, email: &str, password: &[u8]| {
        refused(data, &["user", "add", name, email], password)
    };
    let long = "阿".repeat(1025);
    for ((code, text), sentence) in [
        (
            add("rei", "new@example.org", b"x"),
            "a user with this name or this email already exists",
        ),
        (
            add("new", "rei@example.org", b"x"),
            "a user with this name or this email already exists",
        ),
        (
            add("new", "REI@example.org", b"x"),
            "a user with this name or this email already exists",
        ),
        (
            add(&long[..3 * 65], "new@example.org", b"x"),
            "NAME has more than 64 characters",
        ),
        (add("\r\n", "new@example.org", b"x"), "NAME is empty"),
        (
            add("new", &"x".repeat(255), b"x"),
            "EMAIL has more than 254 characters",
        ),
        (add("new", "new@example.org", b""), "the password is empty"),
        (
            add("new", "new@example.org", b"\n"),
            "the password is empty",
        ),
        (
            add("new", "new@example.org", b"a\nb\n"),
            "has more than one line",
        ),
        (add("new", "new@example.org", b"\xff"), "is not UTF-8"),
        (
            add("new", "new@example.org", long.as_bytes()),
            "the password has more than 1024 characters",
        ),
        (
            refused(data, &["user", "rename", "rei", "asuka"], b""),
            "another user has this name",
        ),
        (
            refused(data, &["user", "rename", "rei", ""], b""),
            "NEW_NAME is empty",
        ),
        (
            refused(data, &["user", "show", "no\nbody"], b""),
            "there is no user no\\nbody",
        ),
        (
            refused(data, &["user", "set-password", "id:9"], b"x"),
            "there is no user id:9",
        ),
        (
            refused(data, &["user", "delete", "id:9"], b""),
            "there is no user id:9",
        ),
    ] {
        assert!(code == 1 && text.contains(sentence), "{code} {text}");
    }
    for (arguments, sentence) in [
        (
            &["user"][..],
            "user must be followed by one of list, show, add",
        ),
        (
            &["user", "dance"],
            "user must be followed by one of list, show, add",
        ),
        (
            &["user", "show"],
            "user show: USER is missing; see accountd user show --help",
        ),
        (&["user", "list", "rei"], "unexpected argument \"rei\""),
        (&["user", "show", "id:x"], "id:x: an id must be a number"),
        (
            &["user", "list", "--since", "1d"],
            "user list has no option --since",
        ),
        (
            &["audit", "--since", "yesterday"],
            "--since yesterday: it should be a day, a time, or how long ago",
        ),
    ] {
        let (code, text) = refused(data, arguments, b"");
        assert!(code == 2 && text.contains(sentence), "{code} {text}");
    }
    assert_eq!(done(&server, &["user", "list", "--json"]), before);
    assert_eq!(
        done(&server, &["audit", "--json"]).lines().count(),
        2,
        "refused commands are not logged"
    );
}

#[test]
fn lists_are_aligned_and_escape_control_characters() {
    let server = Server::start();
    for name in ["rei", "阿巴阿巴", "\u{1b}[31mred\n"] {
        server.register(name);
    }
    done(&server, &["user", "disable", "id:3"]);
    let list = done(&server, &["user", "list"]);
    let lines: Vec<&str> = list.lines().collect();
    assert_eq!(lines.len(), 4, "{list}");
    assert!(
        lines[0].starts_with("ID  NAME") && lines[0].ends_with("SESSIONS  GROUPS  STATE"),
        "{list}"
    );
    assert!(
        lines[3].contains("\\u{1b}[31mred\\n  ") && lines[3].ends_with("  disabled"),
        "{list}"
    );
    let column = |line: &str| {
        let at = line.find("20").or(line.find("REGISTERED")).unwrap();
        line[..at]
            .chars()
            .map(|c| if c as u32 >= 0x2e80 { 2 } else { 1 })
            .sum::<usize>()
    };
    let columns: Vec<usize> = lines.iter().map(|line| column(line)).collect();
    assert!(columns.iter().all(|one| *one == columns[0]), "{list}");
    assert_eq!(
        object(&done(&server, &["user", "show", "id:3", "--json"]))["name"],
        "\u{1b}[31mred\n"
    );
    // A user is found by the name itself, not by its escaped form.
    assert!(
        done(&server, &["user", "show", "\u{1b}[31mred\n"])
            .contains("name           \\u{1b}[31mred\\n\n")
    );
}

#[test]
fn an_argument_that_matches_two_users_is_refused_and_an_id_selects_one() {
    let server = Server::start();
    for name in ["rei", "id:1", "id:3", "id:x"] {
        server.register(name);
    }
    let data = &server.data.0;
    let before = done(&server, &["user", "list", "--json"]);
    let both =
        "id:1 matches two users, rei (id 1) and id:1 (id 2); choose one with --id 1 or --id 2";
    for arguments in [
        &["user", "delete", "id:1"][..],
        &["user", "show", "id:1"],
        &["user", "set-password", "id:1"],
        &["user", "rename", "id:1", "new"],
        &["user", "disable", "id:1"],
        &["user", "enable", "id:1"],
        &["user", "logout", "id:1"],
        &["audit", "--user", "id:1"],
    ] {
        let (code, text) = refused(data, arguments, b"a password");
        assert!(code == 2 && text.contains(both), "{code} {text}");
    }
    assert_eq!(done(&server, &["user", "list", "--json"]), before);
    let shown = |arguments: &[&str]| {
        object(&done(
            &server,
            &[&["user", "show", "--json"], arguments].concat(),
        ))["name"]
            .clone()
    };
    assert_eq!(
        (shown(&["--id", "1"]), shown(&["--id", "2"])),
        ("rei".into(), "id:1".into())
    );
    // These match one user only, by id or by name.
    assert_eq!(
        (shown(&["id:2"]), shown(&["id:3"]), shown(&["id:4"])),
        ("id:1".into(), "id:3".into(), "id:x".into())
    );
    assert_eq!(shown(&["id:x"]), "id:x");
    assert_eq!(
        done(&server, &["user", "rename", "--id", "1", "ayanami"]),
        "ayanami (id 1): renamed\n"
    );
    assert_eq!(
        done(&server, &["audit", "--json", "--id", "2"])
            .lines()
            .count(),
        1
    );
    assert_eq!(
        done(&server, &["user", "delete", "--id", "2"]),
        "id:1 (id 2): deleted\n"
    );
    assert_eq!(
        done(&server, &["user", "disable", "id:1"]),
        "ayanami (id 1): disabled, every session has ended\n"
    );
    for (arguments, code, sentence) in [
        (
            &["user", "show", "--id", "9"][..],
            1,
            "there is no user id:9",
        ),
        (
            &["user", "show", "--id", "rei"],
            2,
            "--id rei: an id must be a number",
        ),
        (
            &["user", "show", "rei", "--id", "1"],
            2,
            "unexpected argument \"rei\"",
        ),
        (
            &["user", "rename", "--id", "1"],
            2,
            "user rename: NEW_NAME is missing",
        ),
        (&["user", "show"], 2, "user show: USER is missing"),
        (
            &["audit", "--user", "rei", "--id", "1"],
            2,
            "--id and --user cannot be used together",
        ),
    ] {
        let (exit, text) = refused(data, arguments, b"");
        assert!(exit == code && text.contains(sentence), "{exit} {text}");
    }
}

#[test]
fn look_alike_names_are_marked_and_invisible_characters_escaped() {
    let server = Server::start();
    let names = [
        "rei",
        "asuka",
        "REI",
        "ｒｅｉ",
        "r\u{200b}ei\u{202e}",
        " rei",
        "rei\u{9b}31m",
    ];
    for (nth, name) in names.iter().enumerate() {
        let mut user = new_user(name);
        user["email"] = format!("{nth}@example.org").into();
        assert_eq!(server.post_solved("/api/registered", user).code(), 200);
    }
    done(&server, &["user", "disable", "--id", "3"]);
    let list = done(&server, &["user", "list"]);
    let states: Vec<&str> = list
        .lines()
        .skip(1)
        .map(|line| line[line.find("Z  ").unwrap() + 3..].trim_start_matches(['0', ' ']))
        .collect();
    let expected = [
        "looks like id 3, 4, 5, 6",
        "",
        "disabled; looks like id 1, 4, 5, 6",
        "looks like id 1, 3, 5, 6",
        "looks like id 1, 3, 4, 6",
        "looks like id 1, 3, 4, 5",
        "",
    ];
    assert_eq!(states, expected, "{list}");
    let json = done(&server, &["user", "list", "--json"]);
    let alike: Vec<Value> = objects(&json)
        .iter()
        .map(|user| user["looks_like"].clone())
        .collect();
    assert_eq!((&alike[1], &alike[4]), (&json!([]), &json!([1, 3, 4, 6])));
    assert_eq!(
        objects(&json)
            .iter()
            .map(|user| user["name"].clone())
            .collect::<Vec<_>>(),
        names
    );

    // Every command that prints a name, and every error that quotes one.
    let data = &server.data.0;
    let mut shown = vec![list, json];
    for id in ["5", "6", "7"] {
        shown.push(done(&server, &["user", "show", "--id", id]));
        shown.push(done(&server, &["user", "show", "--id", id, "--json"]));
        shown.push(done(&server, &["user", "disable", "--id", id]));
        shown.push(done(&server, &["user", "enable", "--id", id, "--json"]));
    }
    shown.extend([
        done(&server, &["audit"]),
        done(&server, &["audit", "--json"]),
    ]);
    shown.push(refused(data, &["user", "show", "no\u{202e}body\u{200b} "], b"").1);
    shown.push(
        refused(
            data,
            &["user", "show", "rei", "no\u{202e}body\u{200b}"],
            b"",
        )
        .1,
    );
    shown.push(refused(data, &["no\u{202e}body\u{200b}"], b"").1);
    shown.push(refused(data, &["audit", "--since", "no\u{202e}body\u{200b}"], b"").1);
    shown.push(refused(&data.join("no\u{202e}body\u{200b}"), &["user", "list"], b"").1);
    // Paths are escaped like names.
    let target = server.path("backups\u{202e}\u{200b}");
    shown.push(done(&server, &["backup", target.to_str().unwrap()]));
    for name in &names[4..] {
        shown.push(done(&server, &["user", "delete", name]));
    }
    for text in &shown {
        assert!(
            !text.contains(['\u{200b}', '\u{202e}', '\u{9b}']),
            "{text:?}"
        );
    }
    let all = shown.concat();
    for escaped in [
        "r\\u{200b}ei\\u{202e} (id 5): deleted",
        "r\\u200bei\\u202e",
        "\\u{20}rei (id 6): deleted",
        "rei\\u{9b}31m",
        "rei\\u009b31m",
    ] {
        assert!(all.contains(escaped), "{escaped} in {all}");
    }
    assert!(
        shown[shown.len() - 9].contains("there is no user no\\u{202e}body\\u{200b}\\u{20};"),
        "{shown:#?}"
    );
}

#[test]
fn a_list_of_several_pages_is_complete() {
    let server = Server::start();
    let rows = "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 2500)
                INSERT INTO users (name, show_name, email, password, key, avatar, created_at)
                SELECT 'u' || i, 'U', 'u' || i || '@example.org', 'x', 'a key', 'admin.jpg', i FROM n";
    server.database().execute(rows, []).unwrap();
    let ids = |text: String| {
        objects(&text)
            .iter()
            .map(|user| user["id"].as_i64().unwrap())
            .collect::<Vec<_>>()
    };
    assert!(
        ids(done(&server, &["user", "list", "--json"]))
            .into_iter()
            .eq(1..=2500)
    );
    let list = done(&server, &["user", "list"]);
    assert_eq!(list.lines().count(), 2501);
    assert!(!list.contains("a key"));
}

#[test]
fn audit_selects_lines_by_user_and_time() {
    let server = Server::start();
    server.register("rei");
    server.register("asuka");
    assert_eq!(log_in(&server, "rei", "x"), 604);
    done(&server, &["user", "rename", "rei", "ayanami"]);
    let ask = |arguments: &[&str]| -> Vec<String> {
        let lines = objects(&done(&server, &[&["audit", "--json"], arguments].concat()));
        let text = |line: &Value, name: &str| line[name].as_str().unwrap_or("-").to_string();
        lines
            .iter()
            .map(|line| {
                ["user", "event", "source", "outcome"]
                    .map(|name| text(line, name))
                    .join(" ")
            })
            .collect()
    };
    let mine = [
        "rei registered 127.0.0.1 done",
        "rei login 127.0.0.1 refused",
        "ayanami user rename command done",
    ];
    assert_eq!(ask(&["--user", "ayanami"]), mine);
    assert_eq!(ask(&["--user", "id:1"]), mine);
    assert_eq!(ask(&["--user", "nobody"]), [""; 0]);
    server
        .database()
        .execute_batch("UPDATE audit_done SET at = at - 100000 WHERE event = 'registered'")
        .unwrap();
    assert_eq!(ask(&["--since", "1d"]), mine[1..]);
    assert_eq!(ask(&["--since", "2d"]).len(), 4);
    assert_eq!(ask(&["--since", "2099-01-01"]), [""; 0]);
    let list = done(&server, &["audit"]);
    assert!(
        list.starts_with("TIME                  USER     EVENT        SOURCE     OUTCOME\n"),
        "{list}"
    );
    assert_eq!(list.lines().count(), 5);
    server
        .database()
        .execute_batch("UPDATE audit_done SET at = at - 8000000 WHERE user = 'asuka'")
        .unwrap();
    assert_eq!(
        ask(&[]).len(),
        3,
        "lines older than audit_days are not shown, even before they are removed"
    );
}

#[test]
fn health_exits_0_only_if_the_server_is_healthy() {
    let mut server = Server::start();
    let address = server.address.clone();
    let ask = |more: &[&str]| {
        run_with(
            &server.data.0,
            &[&["health", "--listen", &address], more].concat(),
            b"",
        )
    };
    let well = ask(&[]);
    let text = String::from_utf8(well.stdout).unwrap();
    assert!(
        well.status.code() == Some(0)
            && text.starts_with(&format!("http://{address}: healthy, answered in ")),
        "{text}"
    );
    assert_eq!(
        object(&String::from_utf8(ask(&["--json"]).stdout).unwrap())["status"],
        200
    );
    server
        .database()
        .execute_batch("ALTER TABLE users RENAME TO hidden")
        .unwrap();
    let unwell = ask(&["--json"]);
    let said = object(&String::from_utf8(unwell.stdout).unwrap());
    assert_eq!(
        (unwell.status.code(), &said["well"], &said["status"]),
        (Some(1), &json!(false), &json!(500))
    );
    server
        .database()
        .execute_batch("ALTER TABLE hidden RENAME TO users")
        .unwrap();
    let mut all = settings();
    all["listen"] = address.clone().into();
    fs::write(server.path("config.json"), all.to_string()).unwrap();
    assert!(
        done(&server, &["health"]).contains(": healthy, answered in "),
        "the configured address"
    );
    server.signal("TERM");
    assert_eq!(server.wait(), Some(0));
    let (code, text) = refused(&server.data.0, &["health"], b"");
    assert!(
        code == 1 && text.contains(&format!("http://{address}: does not answer: ")),
        "{text}"
    );
    let (code, text) = refused(&server.data.0, &["health", "--listen", "127.0.0.1:0"], b"");
    assert!(
        code == 2 && text.contains("name the address with --listen"),
        "{text}"
    );
}

#[test]
fn a_typed_password_is_not_shown_and_the_terminal_is_restored() {
    let server = Server::start();
    server.register("rei");
    let set = |first: &str, second: &str| {
        let line = format!(
            "{} user set-password rei --data {}; echo code $?; stty -a",
            env!("CARGO_BIN_EXE_accountd"),
            server.data.0.display()
        );
        let mut child = Command::new("script")
            .args(["-qec", &line, "/dev/null"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (mut typed, mut shown) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        let mut text = String::new();
        let mut wait = |typed_next: Option<(&str, &str)>| {
            let (prompt, answer) = typed_next.unwrap_or(("code ", ""));
            while !text.contains(prompt) {
                let mut byte = [0];
                shown.read_exact(&mut byte).unwrap();
                text.push(char::from(byte[0]));
            }
            typed.write_all(answer.as_bytes()).unwrap();
        };
        wait(Some(("new password: ", first)));
        if !second.is_empty() {
            wait(Some(("repeat the new password: ", second)));
        }
        wait(None);
        drop(typed);
        shown.read_to_string(&mut text).unwrap();
        child.wait().unwrap();
        assert!(
            text.contains("isig icanon iexten echo echoe"),
            "the terminal is restored: {text}"
        );
        text
    };
    let text = set("wrong\u{15}typed seCret\n", "typed seCret\n");
    assert!(
        text.contains("the password is set") && text.contains("code 0"),
        "{text}"
    );
    assert!(!text.contains("seCret"), "{text}");
    assert_eq!(log_in(&server, "rei", "typed seCret"), 200);
    let text = set("one\n", "other\n");
    assert!(
        text.contains("the two passwords differ; nothing has changed") && text.contains("code 1"),
        "{text}"
    );
    let text = set("one\u{3}", "");
    assert!(
        text.contains("nothing has changed") && text.contains("code 1"),
        "{text}"
    );
    assert_eq!(log_in(&server, "rei", "typed seCret"), 200);
}

#[test]
fn commands_store_passwords_with_the_configured_hash() {
    let server = Server::with(json!({"password_hash": "argon2id"}));
    let add = ["user", "add", "rei", "rei@example.org", "--json"];
    assert_eq!(
        object(&done_with(&server.data.0, &add, b"a password"))["password_hash"],
        "argon2id"
    );
    server.login("rei");
}

#[test]
fn commands_check_the_password_policy() {
    let server = Server::with(json!({"min_password_length": 6, "refuse_common_passwords": true}));
    server.register("rei");
    for (password, sentence) in [
        (
            "short",
            "the password has fewer characters than min_password_length requires",
        ),
        ("Password", "the password is one of the most common"),
    ] {
        for arguments in [
            &["user", "add", "new", "new@example.org"][..],
            &["user", "set-password", "rei"],
        ] {
            let (code, text) = refused(&server.data.0, arguments, password.as_bytes());
            assert!(code == 1 && text.contains(sentence), "{code} {text}");
        }
    }
    server.login("rei");
}

#[test]
fn commands_and_a_busy_server_do_not_block_each_other() {
    let server = Server::start();
    let tokens: Vec<String> = (0..4).map(|i| server.user(&format!("u{i}"))).collect();
    server.register("rei");
    let (going, gone) = std::sync::mpsc::channel::<()>();
    let gone = Mutex::new(gone);
    thread::scope(|scope| {
        for token in &tokens {
            let (server, gone) = (&server, &gone);
            scope.spawn(move || {
                while gone.lock().unwrap().try_recv() == Err(TryRecvError::Empty) {
                    assert_eq!(
                        server
                            .post("/api/update_key", &json!({"token": token}))
                            .code(),
                        200
                    );
                }
            });
        }
        for _ in 0..10 {
            done(&server, &["user", "disable", "rei"]);
            done(&server, &["user", "enable", "rei"]);
            done(&server, &["user", "list"]);
        }
        drop(going);
    });
    server.login("rei");
}
