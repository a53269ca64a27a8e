//! What the server itself gets wrong: a clear answer, a line in the log, and nothing of the cause for the client.

use crate::support::{FORM, Response, Server, form, new_user, picture};
use serde_json::{Value, json};
use std::fs;

/// Names that only a leak would show a client.
fn tells_nothing(response: &Response) {
    let text = response.text();
    for word in ["users", "sessions", "SELECT", "INSERT", "sqlite", "SQL", "/tmp", "disk", "table", ".rs"] {
        assert!(!text.contains(word), "{text}");
    }
}

#[test]
fn a_database_that_fails_is_told_as_each_interface_tells_it() {
    let server = Server::start();
    let token = server.user("rei");
    server
        .database()
        .execute_batch("ALTER TABLE users RENAME TO hidden; ALTER TABLE sessions RENAME TO hidden_too")
        .unwrap();
    let password = json!({"username": "rei", "old_passwd": "a password", "new_passwd": "b"});
    let reset = json!({"key": crate::support::RESET, "name": "rei", "new_passwd": "b", "email": "rei@example.org"});
    let requests: [(&str, Value); 6] = [
        ("/api/login", server.solved(json!({"username": "rei", "passwd": "a password"}))),
        ("/api/user_info", json!({"token": token})),
        ("/api/update_password", server.solved(password)),
        ("/api/update_show_name", json!({"token": token, "new_show_name": "b"})),
        ("/api/update_key", json!({"token": token})),
        ("/api/forget_password", server.solved(reset)),
    ];
    for (path, body) in &requests {
        let response = server.post(path, body);
        assert_eq!((response.status, response.code()), (500, 169), "{path}");
        assert_eq!(response.json()["message"], "你不对劲！为什么报错了？");
        assert_eq!(response.header("Access-Control-Allow-Origin"), Some("*"));
        tells_nothing(&response);
        server.lines.wait(&format!("error {path}: no such table"));
    }
    let upload = server.upload(&token, &picture(20_000));
    assert_eq!((upload.status, upload.code()), (200, 169));
    tells_nothing(&upload);
    let response = server.post_solved("/api/registered", new_user("asuka"));
    assert_eq!((response.status, response.code()), (200, 603));
    tells_nothing(&response);
    server
        .database()
        .execute_batch("ALTER TABLE hidden RENAME TO users; ALTER TABLE hidden_too RENAME TO sessions")
        .unwrap();
    assert_eq!(server.info(&token)["name"], "rei", "well again without a restart");
}

#[test]
fn an_upload_that_cannot_be_recorded_leaves_no_file() {
    let server = Server::start();
    let token = server.user("rei");
    let trigger = "CREATE TRIGGER no BEFORE UPDATE OF avatar ON users BEGIN SELECT RAISE(FAIL, 'no'); END";
    server.database().execute_batch(trigger).unwrap();
    let response = server.upload(&token, &picture(20_000));
    assert_eq!((response.status, response.code()), (200, 169));
    assert_eq!(server.avatars(), Vec::<String>::new());
    server.database().execute_batch("DROP TRIGGER no").unwrap();
    assert_eq!(server.upload(&token, &picture(20_000)).code(), 200);
}

#[test]
fn a_folder_that_went_away_comes_back() {
    let server = Server::start();
    let token = server.user("rei");
    assert_eq!(server.upload(&token, &picture(20_000)).code(), 200);
    fs::remove_dir_all(server.path("avatars")).unwrap();
    let gone = server.info(&token)["avatar"].as_str().unwrap().to_string();
    assert_eq!(server.send("GET", &format!("/s/{gone}"), &[], b"").status, 404);
    assert_eq!(server.upload(&token, &picture(20_000)).code(), 200);
    assert_eq!(server.avatars().len(), 1);
}

#[test]
fn a_folder_that_cannot_be_written_is_a_fault_of_the_upload_alone() {
    let server = Server::start();
    let token = server.user("rei");
    // A file where the folder should be: nobody can write into it, not even root.
    fs::write(server.path("avatars"), "").unwrap();
    let response = server.upload(&token, &picture(20_000));
    assert_eq!((response.status, response.code()), (200, 169));
    tells_nothing(&response);
    server.lines.wait("error /api/upload_avatar: avatar: ");
    assert_eq!(server.info(&token)["name"], "rei");
}

#[test]
fn secrets_reach_no_log() {
    let server = Server::start();
    let token = server.user("rei\nasuka");
    let mut secrets = vec![
        token.clone(),
        "a password".into(),
        "new secret".into(),
        crate::support::KEY.into(),
        crate::support::RESET.into(),
    ];
    secrets.push(server.info(&token)["key"].as_str().unwrap().into());
    let body = form("file", &picture(20_000));
    server.send(
        "POST",
        &format!("/api/upload_avatar?token={token}"),
        &[("token", &token), ("Content-Type", FORM)],
        &body,
    );
    server.post_solved(
        "/api/update_password",
        json!({"username": "rei\nasuka", "old_passwd": "a password", "new_passwd": "new secret"}),
    );
    server.send("POST", "/api/login", &[], format!("{{\"passwd\":\"{}", "new secret").as_bytes());
    server.send("POST", "/a%0d%0apath", &[], b"");
    server.lines.wait("/a%0d%0apath");
    let log = server.lines.all().join("\n");
    for secret in secrets {
        assert!(!log.contains(&secret), "{secret} in {log}");
    }
    assert!(!log.contains(crate::support::CAPTCHA));
}

#[test]
fn damage_is_a_fault_and_a_line_and_never_repaired() {
    let mut server = Server::start();
    let token = server.user("rei");
    server.signal("TERM");
    assert_eq!(server.wait(), Some(0));
    // Every page but the first, which names the tables.
    let file = server.path("accountd.db");
    let mut bytes = fs::read(&file).unwrap();
    bytes[4096..].fill(0x5a);
    fs::write(&file, &bytes).unwrap();
    let server = Server::on(server.data.clone());
    for _ in 0..2 {
        let response = server.post("/api/user_info", &json!({"token": token}));
        assert_eq!((response.status, response.code()), (500, 169));
        tells_nothing(&response);
    }
    server.lines.wait("error /api/user_info: database disk image is malformed");
    assert_eq!(server.send("GET", "/s/admin.jpg", &[], b"").status, 200);
    assert!(fs::read(&file).unwrap()[4096..] == bytes[4096..], "the file was touched");
}
