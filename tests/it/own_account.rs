//! One's own account: sessions, another email, deletion, and a registration that signs in.

use crate::support::{Folder, Response, Server, new_user, picture};
use serde_json::{Value, json};
use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

const PASSWORD: &str = "a password";

fn sessions(server: &Server, token: &str, end: Value) -> Vec<Value> {
    let response = server.post("/api/sessions/", &json!({"token": token, "end": end}));
    assert_eq!(response.code(), 200, "{}", response.text());
    response.json()["message"].as_array().unwrap().clone()
}

/// Both responses to requests that are sent at the same moment.
fn at_once(server: &Server, requests: [(&str, Value); 2]) -> [Response; 2] {
    let barrier = Barrier::new(2);
    thread::scope(|scope| {
        let threads = requests.map(|(path, body)| {
            let barrier = &barrier;
            scope.spawn(move || {
                barrier.wait();
                server.post(path, &body)
            })
        });
        threads.map(|thread| thread.join().unwrap())
    })
}

/// The hours of the latest use that are in the database.
fn written(server: &Server) -> Vec<Option<i64>> {
    let db = server.database();
    let mut rows = db
        .prepare("SELECT seen_at FROM sessions ORDER BY nth")
        .unwrap();
    let rows = rows.query_map([], |row| row.get(0)).unwrap();
    rows.map(Result::unwrap).collect()
}

fn forget(server: &Server) {
    let db = server.database();
    db.busy_timeout(Duration::from_secs(60)).unwrap();
    db.execute("UPDATE sessions SET seen_at = 0", []).unwrap();
}

#[test]
fn the_last_use_is_written_by_a_reload_by_a_stop_and_within_a_minute() {
    let data = Folder::with(json!({"sessions_per_user": 2}));
    let mut server = Server::on(data.clone());
    server.register("rei");
    let [first, second] = [server.login("rei"), server.login("rei")];
    forget(&server);
    // The first write after a pause is due within about a second.
    let since = Instant::now();
    while written(&server) == [Some(0), Some(0)] {
        assert_eq!(server.info(&first)["name"], "rei");
        assert!(since.elapsed() < Duration::from_secs(60));
    }
    let seen = written(&server);
    assert!(seen[0] > Some(0) && seen[1] == Some(0), "{seen:?}");
    // The next one is not due for a minute. A proxy's question is a use too.
    let bearer = format!("Bearer {second}");
    let path = "/api/forward_auth/";
    let passed = server.send("GET", path, &[("Authorization", &bearer)], b"");
    assert_eq!(passed.status, 200);
    let listed = sessions(&server, &first, json!(null));
    let found = listed[0]["seen"].as_i64();
    assert!(found >= seen[0], "the list knows what is not written yet");
    server.signal("HUP");
    server.lines.wait("info reloaded");
    assert!(written(&server).iter().all(|one| *one >= seen[0]));
    forget(&server);
    assert_eq!(server.info(&second)["name"], "rei");
    server.signal("TERM");
    assert_eq!(server.wait(), Some(0));
    assert!(written(&server)[1] >= seen[0]);
    let server = Server::on(data);
    assert_eq!(sessions(&server, &second, json!(null)).len(), 2);
}

#[test]
fn a_thousand_sessions_are_listed_and_ended() {
    let server = Server::with(json!({"sessions_per_user": 1000}));
    let token = server.user("rei");
    let fill = "WITH one (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM one LIMIT 999)
        INSERT INTO sessions (id, token_sha256, user_id, nth, expires_at, source, client)
        SELECT n, randomblob(32), 1, n, 9999999999, '2001:db8::1', 'Samsung Internet on Android' FROM one";
    server.database().execute(fill, []).unwrap();
    let listed = sessions(&server, &token, json!(null));
    assert_eq!(listed.len(), 1000);
    assert_eq!(listed[0]["current"], true);
    let oldest = listed[999]["id"].clone();
    let left = sessions(&server, &token, oldest.clone());
    assert!(left.len() == 999 && left.iter().all(|one| one["id"] != oldest));
    // The limit still holds at the next log-ins.
    server.login("rei");
    server.login("rei");
    assert_eq!(sessions(&server, &token, json!(null)).len(), 1000);
}

#[test]
fn the_current_session_may_be_ended() {
    let server = Server::with(json!({"sessions_per_user": 2}));
    server.register("rei");
    let [token, other] = [server.login("rei"), server.login("rei")];
    let listed = sessions(&server, &token, json!(null));
    let current = listed.iter().find(|one| one["current"] == true).unwrap();
    assert_eq!(current["source"], "127.0.0.1");
    let left = sessions(&server, &token, current["id"].clone());
    assert!(left.len() == 1 && left[0]["current"] == false);
    let gone = server.post("/api/user_info", &json!({"token": token}));
    assert_eq!(gone.code(), 403);
    assert_eq!(server.info(&other)["name"], "rei");
}

#[test]
fn of_two_deletions_at_once_one_succeeds() {
    let server = Server::start();
    for _ in 0..4 {
        let token = server.user("rei");
        assert_eq!(server.upload(&token, &picture(20_000)).code(), 200);
        let body = json!({"token": token, "passwd": PASSWORD});
        let path = "/api/delete_account/";
        let mut codes =
            at_once(&server, [(path, body.clone()), (path, body)]).map(|one| one.code());
        codes.sort_unstable();
        assert!(
            codes[0] == 200 && [403, 604].contains(&codes[1]),
            "{codes:?}"
        );
        assert_eq!(server.avatars(), [""; 0]);
    }
}

#[test]
fn of_two_users_who_take_an_email_at_once_one_has_it() {
    let server = Server::start();
    let tokens = ["rei", "asuka"].map(|name| server.user(name));
    for round in 0..8 {
        let emails = [
            format!("{round}@example.org"),
            format!("{round}@EXAMPLE.org"),
        ];
        let [a, b] = [0, 1].map(|nth| {
            let body = json!({"token": tokens[nth], "passwd": PASSWORD, "new_email": emails[nth]});
            ("/api/update_email/", body)
        });
        let mut codes = at_once(&server, [a, b]).map(|one| one.code());
        codes.sort_unstable();
        assert_eq!(codes, [200, 607]);
        let had = [0, 1].map(|nth| server.info(&tokens[nth])["email"] == emails[nth]);
        assert!(had == [true, false] || had == [false, true], "{had:?}");
    }
}

#[test]
fn an_email_resets_the_password_once_it_is_the_accounts_own() {
    let server = Server::start();
    let token = server.user("rei");
    let body = json!({"token": token, "passwd": PASSWORD, "new_email": "new@example.org"});
    assert_eq!(server.post("/api/update_email", &body).code(), 200);
    assert_eq!(server.info(&token)["email"], "new@example.org");
    let reset = |email: &str| {
        let key = crate::support::RESET;
        let body = json!({"key": key, "name": "rei", "email": email, "new_passwd": "another"});
        server.post_solved("/api/forget_password", body).code()
    };
    assert_eq!(
        (reset("rei@example.org"), reset("new@example.org")),
        (501, 200)
    );
    // The earlier one is free.
    let mut next = new_user("asuka");
    next["email"] = "rei@example.org".into();
    assert_eq!(server.post_solved("/api/registered", next).code(), 200);
}

#[test]
fn a_registration_may_sign_the_person_in() {
    let server = Server::start();
    let mut body = new_user("rei");
    body["login"] = true.into();
    body["cookie"] = true.into();
    let response = server.post_solved("/api/registered/", body);
    let token = response.json()["message"].as_str().unwrap().to_string();
    assert_eq!((response.code(), token.len()), (200, 250));
    let cookie = response.header("Set-Cookie").unwrap();
    assert!(
        cookie.starts_with(&format!("accountd={token};")),
        "{cookie}"
    );
    assert_eq!(server.info(&token)["name"], "rei");
    assert_eq!(sessions(&server, &token, json!(null)).len(), 1);
}
