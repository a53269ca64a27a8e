//! Invitations, reset links and groups: beside a running server, without one, and in backups.

use crate::backup::{backup, restarted, run, succeed, text};
use crate::support::{Folder, KEY, Server, new_user};
use serde_json::{Value, json};
use std::fs;
use std::process::Command;

const PUBLIC_URL: &str = "https://accounts.example.org";

/// A server with a public address and these settings.
fn server(mut more: Value) -> Server {
    more["public_url"] = format!("{PUBLIC_URL}/").into();
    Server::with(more)
}

/// The output of a command on the server's data folder that must succeed.
fn done(server: &Server, arguments: &[&str]) -> String {
    succeed(&[&["--data", text(&server.data.0)], arguments].concat())
}

/// The same as JSON.
fn object(server: &Server, arguments: &[&str]) -> Value {
    serde_json::from_str(&done(server, &[arguments, &["--json"]].concat())).unwrap()
}

/// The key of a new link, which has this fragment.
fn key(server: &Server, arguments: &[&str], kind: &str) -> String {
    let made = object(server, arguments);
    let key = made["key"].as_str().unwrap().to_string();
    assert!(key.len() == 40 && key.bytes().all(|byte| byte.is_ascii_alphanumeric()));
    assert_eq!(made["link"], format!("{PUBLIC_URL}/#{kind}={key}"));
    key
}

/// The code of a registration with this key.
fn register(server: &Server, name: &str, key: &str) -> u64 {
    let mut user = new_user(name);
    user["key"] = key.into();
    server.post_solved("/api/registered", user).code()
}

/// The code of a reset with this key.
fn reset(server: &Server, name: &str, email: &str, key: &str) -> u64 {
    let body = json!({"name": name, "email": email, "key": key, "new_passwd": "another"});
    server.post_solved("/api/forget_password", body).code()
}

fn info(server: &Server, key: &str) -> Value {
    server.post("/api/link_info/", &json!({"key": key})).json()
}

/// The events of the audit log, each with its user.
fn events(server: &Server) -> Vec<String> {
    let lines = done(server, &["audit", "--json"]);
    let event = |line: &str| {
        let line: Value = serde_json::from_str(line).unwrap();
        let user = line["user"].as_str().unwrap_or("-");
        format!("{user}: {}", line["event"].as_str().unwrap())
    };
    lines.lines().map(event).collect()
}

/// That neither the data folder nor the log has this key.
fn is_kept_secret(server: &Server, key: &str) {
    for entry in fs::read_dir(&server.data.0).unwrap() {
        let path = entry.unwrap().path();
        let content = fs::read(&path).unwrap_or_default();
        let found = content
            .windows(key.len())
            .any(|part| part == key.as_bytes());
        assert!(!found, "{}", path.display());
    }
    let log = server.lines.all().concat();
    assert!(!log.contains(key), "{log}");
}

#[test]
fn an_invitation_registers_its_users_while_registration_is_off() {
    let server = server(json!({
        "registration_function_status": false,
        "secret_key_required_for_account_registration": null,
    }));
    done(&server, &["group", "add", "media"]);
    done(&server, &["group", "add", "guests"]);
    let invite = [
        "invite", "--uses", "2", "--group", "media", "--group", "guests",
    ];
    let key = key(&server, &invite, "invite");
    let told = info(&server, &key);
    assert_eq!(told["code"], 200);
    let message = json!({
        "kind": "invite", "name": null, "groups": ["guests", "media"],
        "expires_at": told["message"]["expires_at"],
    });
    assert_eq!(told["message"], message);

    assert_eq!(register(&server, "rei", &key), 200);
    assert_eq!(register(&server, "rei", &key), 604, "it takes no use");
    assert_eq!(register(&server, "asuka", &key), 200);
    for key in [&key, KEY, ""] {
        assert_eq!(register(&server, "shinji", key), 503, "{key}");
        assert_eq!(info(&server, key)["code"], 404, "{key}");
    }
    assert_eq!(done(&server, &["invite", "list", "--json"]), "");
    let shown = object(&server, &["user", "show", "asuka"]);
    assert_eq!(shown["groups"], json!(["guests", "media"]));
    let failed = "failed sign-in from 127.0.0.1 at ";
    server
        .lines
        .wait_for(&format!("{failed}/api/registered"), 2);
    let log = server.lines.all().concat();
    assert!(!log.contains(&format!("{failed}/api/link_info")), "{log}");
    let expected = [
        "-: group add media",
        "-: group add guests",
        "-: invite 1",
        "rei: invite 1 used",
        "rei: registered",
        "asuka: invite 1 used",
        "asuka: registered",
        "-: registered",
        "-: registered",
    ];
    assert_eq!(events(&server), expected);
    is_kept_secret(&server, &key);
}

#[test]
fn a_reset_link_works_once_while_the_reset_is_off() {
    let server = server(json!({
        "forgot_password_function_status": false, "forget_password_key": null,
    }));
    let token = server.user("rei");
    let other = server.user("asuka");
    let link = ["user", "reset-link", "rei"];
    let (first, second) = (
        key(&server, &link, "reset"),
        key(
            &server,
            &[&link[..], &["--expires", "90min"]].concat(),
            "reset",
        ),
    );
    assert_eq!(info(&server, &first)["code"], 404, "it was replaced");
    let told = info(&server, &second)["message"].clone();
    assert_eq!(
        (&told["kind"], &told["name"]),
        (&json!("reset"), &json!("rei"))
    );
    let (mine, theirs) = ("rei@example.org", "asuka@example.org");
    for (name, email, key, code) in [
        ("rei", mine, &first, 403),
        ("rei", theirs, &second, 501),
        ("asuka", theirs, &second, 501),
        ("rei", mine, &second, 200),
        ("rei", mine, &second, 403),
    ] {
        assert_eq!(reset(&server, name, email, key), code, "{name} {email}");
    }
    assert!(server.info(&token).is_string(), "the session has ended");
    assert_eq!(server.info(&other)["name"], "asuka");
    let body = json!({"username": "rei", "passwd": "another"});
    assert_eq!(server.post_solved("/api/login", body).code(), 200);
    let found = events(&server);
    for event in [
        "user reset-link 1",
        "user reset-link 2",
        "reset-link 2 used",
        "forget_password",
    ] {
        assert!(
            found.contains(&format!("rei: {event}")),
            "{event} in {found:?}"
        );
    }
    is_kept_secret(&server, &second);

    done(&server, &["user", "disable", "rei"]);
    let (code, _, error) = run(&["user", "reset-link", "rei", "--data", text(&server.data.0)]);
    assert_eq!(code, 1);
    assert!(
        error.contains("rei (id 1) is disabled; accountd user enable"),
        "{error}"
    );
}

#[test]
fn a_link_that_is_made_without_a_server_works_with_the_next_one() {
    let server = server(json!({}));
    server.register("rei");
    let mut keys = Vec::new();
    let server = restarted(server, |server| {
        keys.push(key(server, &["invite"], "invite"));
        keys.push(key(server, &["user", "reset-link", "--id", "1"], "reset"));
    });
    assert_eq!(register(&server, "asuka", &keys[0]), 200);
    assert_eq!(register(&server, "shinji", &keys[0]), 403);
    assert_eq!(reset(&server, "rei", "rei@example.org", &keys[1]), 200);
    assert_eq!(reset(&server, "rei", "rei@example.org", &keys[1]), 404);
}

#[test]
fn groups_change_and_are_listed() {
    let server = server(json!({}));
    server.register("rei");
    server.register("asuka");
    for group in ["media", "guests", "h"] {
        assert_eq!(
            done(&server, &["group", "add", group]),
            format!("{group}: added\n")
        );
    }
    for (arguments, printed) in [
        (
            &["user", "group", "rei", "+media", "+guests", "+h"][..],
            "rei (id 1): in guests, h, media\n",
        ),
        (
            &["user", "group", "rei", "-guests", "+media"],
            "rei (id 1): in h, media\n",
        ),
        (
            &["user", "group", "rei", "--", "-h"],
            "rei (id 1): in media\n",
        ),
        (
            &["user", "group", "--id", "2", "+h"],
            "asuka (id 2): in h\n",
        ),
        (
            &["user", "group", "id:2", "-media", "--", "-h"],
            "asuka (id 2): in no group\n",
        ),
        (
            &["group", "remove", "guests"],
            "guests: removed, it had 0 members\n",
        ),
        (&["group", "list"], "NAME   MEMBERS\nh      0\nmedia  1\n"),
        (
            &["group", "list", "--json"],
            "{\"name\":\"h\",\"members\":0}\n{\"name\":\"media\",\"members\":1}\n",
        ),
        (
            &["group", "remove", "media"],
            "media: removed, it had 1 member\n",
        ),
    ] {
        assert_eq!(done(&server, arguments), printed, "{arguments:?}");
    }
    let expected = ["rei: user group -guests +media", "-: group remove media"];
    let found = events(&server);
    for event in expected {
        assert!(found.contains(&event.into()), "{event} in {found:?}");
    }
    assert_eq!(
        object(&server, &["user", "show", "rei"])["groups"],
        json!([])
    );
}

#[test]
fn wrong_arguments_are_refused_and_change_nothing() {
    let server = server(json!({"usernames": "plain"}));
    server.register("rei");
    done(&server, &["group", "add", "media"]);
    let before = events(&server);
    let long = "a".repeat(65);
    for (arguments, code, sentence) in [
        (
            &["group", "add", "media"][..],
            1,
            "there is already a group media",
        ),
        (
            &["group", "add", "Media"],
            1,
            "Media: a group's name must have 1 to 64 characters of",
        ),
        (&["group", "add", ""], 1, "a group's name must have"),
        (&["group", "add", &long], 1, "a group's name must have"),
        (
            &["group", "remove", "guests"],
            1,
            "there is no group guests",
        ),
        (
            &["group"],
            2,
            "group must be followed by one of add, remove, list",
        ),
        (&["user", "group", "rei"], 2, "CHANGE... is missing"),
        (
            &["user", "group", "rei", "media"],
            2,
            "media: it should be +GROUP or -GROUP",
        ),
        (
            &["user", "group", "rei", "+media", "-guests"],
            1,
            "there is no group guests",
        ),
        (
            &["user", "group", "asuka", "+media"],
            1,
            "there is no user asuka",
        ),
        (
            &["user", "reset-link", "asuka"],
            1,
            "there is no user asuka",
        ),
        (
            &["user", "reset-link", "rei", "--expires", "0s"],
            2,
            "it should be a time from 1s to 3650d",
        ),
        (
            &["invite", "--expires", "3651d"],
            2,
            "it should be a time from 1s to 3650d",
        ),
        (
            &["invite", "--expires", "7"],
            2,
            "--expires 7: it should be a time",
        ),
        (
            &["invite", "--uses", "0"],
            2,
            "--uses 0: it should be a whole number from 1 to 10000",
        ),
        (&["invite", "--uses", "10001"], 2, "from 1 to 10000"),
        (
            &["invite", "--group", "media", "--group", "guests"],
            1,
            "there is no group guests",
        ),
        (&["invite", "all"], 2, "unexpected argument"),
        (
            &["invite", "revoke", "1"],
            1,
            "there is no invitation 1 that can be used",
        ),
        (&["invite", "revoke", "one"], 2, "one: it must be a number"),
        (
            &["user", "add", "Asuka", "a@example.org"],
            1,
            "NAME must have 1 to 64 characters of",
        ),
        (
            &["user", "rename", "rei", "Rei"],
            1,
            "NEW_NAME must have 1 to 64 characters of",
        ),
    ] {
        let (found, out, error) = run(&[arguments, &["--data", text(&server.data.0)]].concat());
        assert_eq!((found, &*out), (code, ""), "{arguments:?}: {error}");
        assert!(error.contains(sentence), "{arguments:?}: {error}");
    }
    assert_eq!(events(&server), before);
    assert_eq!(
        object(&server, &["user", "show", "rei"])["groups"],
        json!([])
    );
    assert_eq!(register(&server, "Asuka", KEY), 603);
}

#[test]
fn without_public_url_a_link_has_the_address_of_the_server_and_a_hint_says_so() {
    for (listen, start, hint) in [
        (
            "127.0.0.1:9998",
            "http://127.0.0.1:9998/#invite=",
            "the address that the server listens on",
        ),
        (
            "unix:socket",
            "/#invite=",
            "the link has no address; set public_url",
        ),
    ] {
        let server = Server::with(json!({"listen": listen}));
        let (code, out, error) = run(&["invite", "--data", text(&server.data.0)]);
        let link = out.lines().find_map(|line| line.strip_prefix("link  "));
        assert!(code == 0 && link.unwrap().starts_with(start), "{out}");
        assert!(
            error.contains("public_url is not set") && error.contains(hint),
            "{error}"
        );
    }
}

#[test]
fn a_revoked_invitation_registers_no_user() {
    let server = server(json!({}));
    let key = key(&server, &["invite"], "invite");
    assert_eq!(
        done(&server, &["invite", "revoke", "1"]),
        "invitation 1: revoked\n"
    );
    assert_eq!(register(&server, "rei", &key), 403);
    assert_eq!(info(&server, &key)["code"], 404);
    assert!(events(&server).contains(&"-: invite revoke 1".into()));
}

#[test]
fn a_backup_has_groups_invitations_and_reset_links() {
    let (server, target) = (server(json!({})), Folder::new());
    server.register("rei");
    done(&server, &["group", "add", "media"]);
    done(&server, &["user", "group", "rei", "+media"]);
    let invitation = key(&server, &["invite", "--group", "media"], "invite");
    let link = key(&server, &["user", "reset-link", "rei"], "reset");
    let path = backup(&server, &target.0);
    succeed(&["check", "--data", text(&path)]);
    assert_eq!(register(&server, "asuka", &invitation), 200);
    assert_eq!(reset(&server, "rei", "rei@example.org", &link), 200);
    done(&server, &["group", "remove", "media"]);
    let server = restarted(server, |server| {
        done(server, &["restore", text(&path), "--force"]);
    });
    assert_eq!(
        object(&server, &["user", "show", "rei"])["groups"],
        json!(["media"])
    );
    assert_eq!(register(&server, "shinji", &invitation), 200);
    assert_eq!(
        object(&server, &["user", "show", "shinji"])["groups"],
        json!(["media"])
    );
    assert_eq!(reset(&server, "rei", "rei@example.org", &link), 200);
    assert!(done(&server, &["check"]).contains(": sound: 2 users"));
}

#[test]
fn a_restored_backup_of_the_version_before_is_migrated() {
    let (server, target) = (server(json!({})), Folder::new());
    let token = server.user("rei");
    let path = backup(&server, &target.0);
    let database = path.join("accountd.db");
    // What the version before, whose schema is 4, has written.
    rusqlite::Connection::open(&database)
        .unwrap()
        .execute_batch(
            "DROP TABLE invitation_groups; DROP TABLE invitations; DROP TABLE members;
             DROP TABLE groups; DROP TABLE reset_links; DROP TABLE totp; DROP TABLE recovery_codes;
             ALTER TABLE sessions DROP COLUMN opened_at; ALTER TABLE sessions DROP COLUMN seen_at;
             ALTER TABLE sessions DROP COLUMN source; ALTER TABLE sessions DROP COLUMN client;
             ALTER TABLE sessions DROP COLUMN second_factor; PRAGMA user_version = 4;",
        )
        .unwrap();
    let sum = Command::new("sha256sum").arg(&database).output().unwrap();
    let sum = String::from_utf8(sum.stdout).unwrap();
    let list = path.join("SHA256SUMS");
    let sums = fs::read_to_string(&list).unwrap();
    let rest = sums.split_once("  accountd.db").unwrap().1;
    fs::write(&list, format!("{}  accountd.db{rest}", &sum[..64])).unwrap();
    succeed(&["check", "--data", text(&path)]);
    let server = restarted(server, |server| {
        done(server, &["restore", text(&path)]);
        done(server, &["check"]);
    });
    assert_eq!(server.info(&token)["name"], "rei");
    done(&server, &["group", "add", "media"]);
    let invitation = key(&server, &["invite", "--group", "media"], "invite");
    assert_eq!(register(&server, "asuka", &invitation), 200);
    assert!(done(&server, &["check"]).contains(": sound: 2 users"));
}
