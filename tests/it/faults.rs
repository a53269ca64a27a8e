//! Errors of the server: the response is clear and reveals no cause, and the log has a line.

use crate::support::{CAPTCHA, FORM, KEY, RESET, Response, Server, form, new_user, picture};
use serde_json::{Value, json};
use std::fs;
use std::thread;

/// Checks that the response has no word that only a leak would contain.
fn tells_nothing(response: &Response) {
    let text = response.text();
    for word in [
        "users", "sessions", "SELECT", "INSERT", "sqlite", "SQL", "/tmp", "disk", "table", ".rs",
    ] {
        assert!(!text.contains(word), "{text}");
    }
    assert_eq!(
        response.json().get("detail"),
        None,
        "the fault is not the client's"
    );
}

#[test]
fn a_database_error_gets_the_answer_of_each_interface() {
    let server = Server::start();
    let token = server.user("rei");
    server
        .database()
        .execute_batch(
            "ALTER TABLE users RENAME TO hidden; ALTER TABLE sessions RENAME TO hidden_too",
        )
        .unwrap();
    let password = json!({"username": "rei", "old_passwd": "a password", "new_passwd": "b"});
    let reset = json!({"key": RESET, "name": "rei", "new_passwd": "b", "email": "rei@example.org"});
    let requests: [(&str, Value); 6] = [
        (
            "/api/login",
            server.solved(json!({"username": "rei", "passwd": "a password"})),
        ),
        ("/api/user_info", json!({"token": token})),
        ("/api/update_password", server.solved(password)),
        (
            "/api/update_show_name",
            json!({"token": token, "new_show_name": "b"}),
        ),
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
        .execute_batch(
            "ALTER TABLE hidden RENAME TO users; ALTER TABLE hidden_too RENAME TO sessions",
        )
        .unwrap();
    assert_eq!(server.info(&token)["name"], "rei", "no restart is needed");
}

#[test]
fn an_upload_that_cannot_be_recorded_leaves_no_file() {
    let server = Server::start();
    let token = server.user("rei");
    let trigger =
        "CREATE TRIGGER no BEFORE UPDATE OF avatar ON users BEGIN SELECT RAISE(FAIL, 'no'); END";
    server.database().execute_batch(trigger).unwrap();
    let response = server.upload(&token, &picture(20_000));
    assert_eq!((response.status, response.code()), (200, 169));
    tells_nothing(&response);
    assert_eq!(server.avatars(), Vec::<String>::new());
    server.database().execute_batch("DROP TRIGGER no").unwrap();
    assert_eq!(server.upload(&token, &picture(20_000)).code(), 200);
}

#[test]
fn an_upload_recreates_a_deleted_avatars_folder() {
    let server = Server::start();
    let token = server.user("rei");
    assert_eq!(server.upload(&token, &picture(20_000)).code(), 200);
    fs::remove_dir_all(server.path("avatars")).unwrap();
    let gone = server.info(&token)["avatar"].as_str().unwrap().to_string();
    assert_eq!(
        server.send("GET", &format!("/s/{gone}"), &[], b"").status,
        404
    );
    assert_eq!(server.upload(&token, &picture(20_000)).code(), 200);
    assert_eq!(server.avatars().len(), 1);
}

#[test]
fn an_unwritable_avatars_folder_affects_only_uploads() {
    let server = Server::start();
    let token = server.user("rei");
    // A file in place of the folder: not even root can create files in it.
    fs::write(server.path("avatars"), "").unwrap();
    let response = server.upload(&token, &picture(20_000));
    assert_eq!((response.status, response.code()), (200, 169));
    tells_nothing(&response);
    server.lines.wait("error /api/upload_avatar: avatar: ");
    assert_eq!(server.info(&token)["name"], "rei");
}

/// Sends valid and invalid requests to every interface at the most verbose log level.
#[test]
fn secrets_reach_no_log() {
    let server = Server::start();
    let (name, first, second, third) = (
        "rei\nasuka 阿",
        "first secret",
        "second secret",
        "third secret",
    );
    let mut secrets: Vec<String> = [
        first,
        second,
        third,
        "wrong secret",
        "wrong key",
        KEY,
        RESET,
        CAPTCHA,
        "wrong answer",
    ]
    .map(String::from)
    .to_vec();
    let mut user = new_user(name);
    user["passwd"] = first.into();
    let wrong = |body: &Value, field: &str, value: &str| {
        let mut body = body.clone();
        body[field] = value.into();
        body
    };
    let password = json!({"username": name, "old_passwd": first, "new_passwd": second});
    let email = user["email"].clone();
    let reset = json!({"key": RESET, "name": name, "email": email, "new_passwd": third});
    let key = server.captcha();
    secrets.push(key.clone());
    let unsolved = json!({"verification_code_key": key, "verification_code": "wrong answer"});
    for path in [
        "/api/registered",
        "/api/login",
        "/api/update_password",
        "/api/forget_password",
    ] {
        server.post(path, &unsolved);
    }
    for (code, path, body) in [
        (403, "/api/registered", wrong(&user, "key", "wrong key")),
        (200, "/api/registered", user.clone()),
        (604, "/api/registered", user),
        (
            604,
            "/api/login",
            json!({"username": name, "passwd": "wrong secret"}),
        ),
        (
            604,
            "/api/login",
            json!({"username": "wrong secret", "passwd": name}),
        ),
        (
            404,
            "/api/update_password",
            wrong(&password, "old_passwd", "wrong secret"),
        ),
        (200, "/api/update_password", password),
        (
            404,
            "/api/forget_password",
            wrong(&reset, "key", "wrong key"),
        ),
        (
            501,
            "/api/forget_password",
            wrong(&reset, "email", "wrong secret"),
        ),
        (200, "/api/forget_password", reset),
    ] {
        assert_eq!(server.post_solved(path, body).code(), code, "{path}");
    }
    let response = server.post_solved("/api/login", json!({"username": name, "passwd": third}));
    let token = response.json()["message"].as_str().unwrap().to_string();
    secrets.push(server.info(&token)["key"].as_str().unwrap().into());
    for body in [
        json!({"token": token}),
        json!({"token": "wrong secret"}),
        json!({"token": token, "new_show_name": "a"}),
    ] {
        for path in ["/api/user_info", "/api/update_show_name", "/api/update_key"] {
            server.post(path, &body);
        }
    }
    secrets.push(server.info(&token)["key"].as_str().unwrap().into());
    let path = format!("/api/upload_avatar?token={token}");
    for file in [picture(20_000), vec![b'x'; 20_000]] {
        server.send(
            "POST",
            &path,
            &[("token", &token), ("Content-Type", FORM)],
            &form("file", &file),
        );
    }
    // A truncated body, and a request that is refused by its head.
    server.send(
        "POST",
        "/api/login",
        &[],
        format!("{{\"passwd\":\"{third}").as_bytes(),
    );
    server.raw(
        format!("POST /api/login HTTP/1.1\r\nHost: a\r\ntoken: {token}\r\nContent-Length: x\r\n\r\n{third}").as_bytes(),
    );
    server
        .database()
        .execute_batch("ALTER TABLE users RENAME TO hidden")
        .unwrap();
    server.post("/api/user_info", &json!({"token": token}));
    server.post_solved("/api/login", json!({"username": name, "passwd": third}));
    server.send("POST", "/a%0d%0apath", &[], b"");
    server.lines.wait("/a%0d%0apath");
    secrets.push(token);
    let lines = server.lines.all();
    for secret in secrets {
        assert!(!lines.concat().contains(&secret), "{secret} in {lines:#?}");
    }
    // No line begins with text that a client sent.
    let own = |line: &&String| !line.starts_with("20") && !line.contains("listening on");
    let strange: Vec<&String> = lines.iter().skip(3).filter(own).collect();
    assert_eq!(strange, Vec::<&String>::new());
}

#[test]
fn a_database_that_another_process_has_locked_can_be_read() {
    let server = Server::start();
    let token = server.user("rei");
    let other = server.database();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let change = json!({"token": token, "new_show_name": "asuka"});
    thread::scope(|scope| {
        let waiting = scope.spawn(|| server.post("/api/update_show_name", &change));
        assert_eq!(server.info(&token)["show_name"], "rei 阿巴");
        let response = waiting.join().unwrap();
        assert_eq!((response.status, response.code()), (500, 169));
        tells_nothing(&response);
    });
    server
        .lines
        .wait("error /api/update_show_name: database is locked");
    // Writers wait up to a second for the lock.
    thread::scope(|scope| {
        // More writers than threads. Readers do not wait behind them, or the writers would time out
        // before the last read.
        let change = || server.post("/api/update_show_name", &change);
        let waiting: Vec<_> = (0..12).map(|_| scope.spawn(change)).collect();
        for _ in 0..10 {
            assert_eq!(server.info(&token)["show_name"], "rei 阿巴");
        }
        other.execute_batch("COMMIT").unwrap();
        for one in waiting {
            assert_eq!(one.join().unwrap().code(), 200);
        }
    });
    assert_eq!(server.info(&token)["show_name"], "asuka");
}

#[test]
fn a_truncated_database_is_an_error_and_no_worker_ends() {
    let mut server = Server::start();
    let tokens: Vec<String> = (0..60)
        .map(|nth| server.user(&format!("rei {nth}")))
        .collect();
    server.signal("TERM");
    server.wait();
    let file = server.path("accountd.db");
    let whole = fs::read(&file).unwrap();
    let server = Server::on(server.data.clone());
    fs::OpenOptions::new()
        .write(true)
        .open(&file)
        .unwrap()
        .set_len(whole.len() as u64 / 3)
        .unwrap();
    let mut faults = 0;
    for token in &tokens {
        let response = server.post("/api/user_info", &json!({"token": token}));
        assert!(
            matches!(
                (response.status, response.code()),
                (200, 200 | 403) | (500, 169)
            ),
            "{}",
            response.text()
        );
        tells_nothing(&response);
        faults += usize::from(response.status == 500);
    }
    assert!(faults > 0, "no read of {} bytes failed", whole.len());
    let change = server.post(
        "/api/update_show_name",
        &json!({"token": tokens[59], "new_show_name": "a"}),
    );
    assert_eq!((change.status, change.code()), (500, 169));
    assert_eq!(server.send("GET", "/s/admin.jpg", &[], b"").status, 200);
    assert!(!server.lines.all().concat().contains("a worker ended"));
    drop(server);
}

#[test]
fn a_damaged_database_is_logged_and_never_changed() {
    let mut server = Server::start();
    let token = server.user("rei");
    server.signal("TERM");
    assert_eq!(server.wait(), Some(0));
    // All pages except the first, which has the names of the tables.
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
    server
        .lines
        .wait("error /api/user_info: database disk image is malformed");
    assert_eq!(server.send("GET", "/s/admin.jpg", &[], b"").status, 200);
    assert!(
        fs::read(&file).unwrap()[4096..] == bytes[4096..],
        "the file was touched"
    );
}
