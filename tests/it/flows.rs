//! What users do with accounts, over several requests.

use crate::support::{RESET, Server, form, new_user, picture};
use serde_json::{Value, json};
use std::sync::Barrier;
use std::thread;

#[test]
fn a_login_replaces_the_earlier_token() {
    let server = Server::start();
    let first = server.user("rei");
    let second = server.login("rei");
    assert_eq!(
        server
            .post("/api/user_info", &json!({"token": first}))
            .code(),
        403
    );
    assert_eq!(server.info(&second)["token"], *second);
}

#[test]
fn a_login_above_the_limit_ends_the_oldest_session() {
    let server = Server::with(json!({"sessions_per_user": 3}));
    let first = server.user("rei");
    let others: Vec<String> = (0..3).map(|_| server.login("rei")).collect();
    assert_eq!(
        server
            .post("/api/user_info", &json!({"token": first}))
            .code(),
        403
    );
    for token in &others {
        assert_eq!(server.info(token)["name"], "rei");
    }
    let body = json!({"username": "rei", "old_passwd": "a password", "new_passwd": "another"});
    assert_eq!(server.post_solved("/api/update_password", body).code(), 200);
    for token in &others {
        assert_eq!(
            server
                .post("/api/user_info", &json!({"token": token}))
                .code(),
            403
        );
    }
}

#[test]
fn a_token_expires() {
    let server = Server::with(json!({"token_ttl_seconds": 1000}));
    let token = server.user("rei");
    let database = server.database();
    let expires: i64 = database
        .query_row("SELECT expires_at FROM sessions", [], |row| row.get(0))
        .unwrap();
    let created: i64 = database
        .query_row("SELECT created_at FROM users", [], |row| row.get(0))
        .unwrap();
    assert!((1000..1010).contains(&(expires - created)));
    database
        .execute("UPDATE sessions SET expires_at = ?1", [created])
        .unwrap();
    assert_eq!(
        server
            .post("/api/user_info", &json!({"token": token}))
            .code(),
        403
    );
    assert_eq!(
        server
            .post("/api/update_key", &json!({"token": token}))
            .code(),
        403
    );
    assert_eq!(server.upload(&token, &picture(20_000)).code(), 403);
}

#[test]
fn the_database_has_no_token_and_no_password_in_clear() {
    let mut server = Server::start();
    let token = server.user("rei");
    let database = server.database();
    let (digest, length): (Vec<u8>, i64) = database
        .query_row(
            "SELECT token_sha256, length(token_sha256) FROM sessions",
            [],
            |row| Ok((row.get(0)?, row.get(1)?)),
        )
        .unwrap();
    assert_eq!(
        (digest, length),
        (accountd::crypto::sha256(&token).to_vec(), 32)
    );
    let stored: String = database
        .query_row("SELECT password FROM users", [], |row| row.get(0))
        .unwrap();
    assert_eq!(stored, accountd::config::Scheme::Md5.hash("a password"));
    drop(database);
    server.signal("TERM");
    assert_eq!(server.wait(), Some(0));
    assert_eq!(
        std::fs::metadata(server.path("accountd.db-wal")).map_or(0, |log| log.len()),
        0,
        "the write-ahead log is not empty"
    );
    let files = std::fs::read(server.path("accountd.db")).unwrap();
    for secret in ["a password", &token] {
        assert!(
            !files
                .windows(secret.len())
                .any(|bytes| bytes == secret.as_bytes()),
            "{secret} is stored"
        );
    }
}

#[test]
fn a_login_rewrites_a_password_of_the_other_scheme() {
    let mut server = Server::start();
    server.register("rei");
    let stored = |server: &Server| -> String {
        server
            .database()
            .query_row("SELECT password FROM users", [], |row| row.get(0))
            .unwrap()
    };
    assert_eq!(stored(&server).len(), 32);
    for (scheme, start) in [("argon2id", "$argon2id$v=19$m=19456,t=2,p=1$"), ("md5", "")] {
        server.signal("TERM");
        assert_eq!(server.wait(), Some(0));
        let mut settings = crate::support::settings();
        settings["password_hash"] = scheme.into();
        std::fs::write(server.path("config.json"), settings.to_string()).unwrap();
        server = Server::on(server.data.clone());
        let wrong = json!({"username": "rei", "passwd": "wrong"});
        assert_eq!(server.post_solved("/api/login", wrong).code(), 604);
        let token = server.login("rei");
        assert!(
            stored(&server).starts_with(start)
                && stored(&server).len() == if start.is_empty() { 32 } else { 97 }
        );
        assert_eq!(server.info(&token)["name"], "rei");
    }
}

#[test]
fn a_replaced_password_digest_leaves_no_trace_in_the_file() {
    let mut server = Server::start();
    for (name, password) in [("asuka", "x"), ("rei", "a password"), ("misato", "y")] {
        let mut user = new_user(name);
        user["passwd"] = password.into();
        assert_eq!(server.post_solved("/api/registered", user).code(), 200);
    }
    let stop = |server: &mut Server| {
        server.signal("TERM");
        assert_eq!(server.wait(), Some(0));
        let digest = accountd::config::Scheme::Md5.hash("a password");
        let file = std::fs::read(server.path("accountd.db")).unwrap();
        file.windows(digest.len())
            .any(|bytes| bytes == digest.as_bytes())
    };
    assert!(stop(&mut server));
    let mut settings = crate::support::settings();
    settings["password_hash"] = "argon2id".into();
    std::fs::write(server.path("config.json"), settings.to_string()).unwrap();
    let mut server = Server::on(server.data.clone());
    server.login("rei");
    assert!(!stop(&mut server));
}

#[test]
fn argon2id_works_in_every_interface() {
    let server = Server::with(json!({"password_hash": "argon2id"}));
    let token = server.user("rei");
    assert_eq!(
        server
            .post_solved(
                "/api/login",
                json!({"username": "nobody", "passwd": "a password"})
            )
            .code(),
        604
    );
    let body = json!({"username": "rei", "old_passwd": "a password", "new_passwd": "another"});
    assert_eq!(server.post_solved("/api/update_password", body).code(), 200);
    assert_eq!(
        server
            .post("/api/user_info", &json!({"token": token}))
            .code(),
        403
    );
    assert_eq!(
        server
            .post_solved(
                "/api/login",
                json!({"username": "rei", "passwd": "another"})
            )
            .code(),
        200
    );
}

#[test]
fn an_avatar_replaces_the_previous_one() {
    let server = Server::start();
    let token = server.user("rei");
    let mut names: Vec<String> = Vec::new();
    for _ in 0..3 {
        let file = picture(30_000);
        let response = server.upload(&token, &file);
        assert_eq!(response.code(), 200, "{}", response.text());
        let name = response.json()["message"].as_str().unwrap().to_string();
        let served = server.send("GET", &format!("/s/{name}"), &[], b"");
        assert_eq!((served.status, served.body == file), (200, true));
        for (header, value) in [
            ("Content-Type", "image/png"),
            ("X-Content-Type-Options", "nosniff"),
            ("Content-Security-Policy", "default-src 'none'; sandbox"),
            ("Cross-Origin-Resource-Policy", "cross-origin"),
            ("Cache-Control", "public, max-age=31536000, immutable"),
        ] {
            assert_eq!(served.header(header), Some(value));
        }
        names.push(name);
    }
    assert_eq!(server.avatars(), names[2..]);
    for gone in &names[..2] {
        assert_eq!(
            server.send("GET", &format!("/s/{gone}"), &[], b"").status,
            404
        );
    }
    let large = picture(2_000_000);
    let name = server.upload(&token, &large).json()["message"]
        .as_str()
        .unwrap()
        .to_string();
    assert!(server.send("GET", &format!("/s/{name}?v=1"), &[], b"").body == large);
    assert_eq!(
        server
            .send("HEAD", &format!("/s/{name}"), &[], b"")
            .header("Content-Length"),
        Some(&*large.len().to_string())
    );
}

#[test]
fn the_default_avatar_is_always_served() {
    let server = Server::start();
    let response = server.send("GET", "/s/admin.jpg", &[], b"");
    assert_eq!(
        (response.status, response.header("Content-Type")),
        (200, Some("image/jpeg"))
    );
    assert_eq!(&response.body[..3], b"\xff\xd8\xff");
    let tag = response.header("ETag").unwrap();
    let again = server.send("GET", "/s/admin.jpg", &[("If-None-Match", tag)], b"");
    assert_eq!(
        (again.status, again.body.len(), again.header("ETag")),
        (304, 0, Some(tag))
    );
    for name in [
        "",
        "config.json",
        "../config.json",
        "%2e%2e/config.json",
        "admin.jpg/",
        "ADMIN.JPG",
        "aaaaaaaaaa1.jpg",
        ".",
    ] {
        let response = server.send("GET", &format!("/s/{name}"), &[], b"");
        assert_eq!((response.status, response.code()), (404, 404), "{name}");
    }
}

/// Runs `count` threads at the same time and collects their results.
fn at_once<T: Send>(count: usize, work: impl Fn(usize) -> T + Sync) -> Vec<T> {
    let barrier = Barrier::new(count);
    thread::scope(|scope| {
        let started: Vec<_> = (0..count)
            .map(|i| {
                let (barrier, work) = (&barrier, &work);
                scope.spawn(move || {
                    barrier.wait();
                    work(i)
                })
            })
            .collect();
        started
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .collect()
    })
}

fn count(codes: &[u64], code: u64) -> usize {
    codes.iter().filter(|one| **one == code).count()
}

#[test]
fn one_name_is_registered_once() {
    let server = Server::start();
    let bodies: Vec<Value> = (0..50).map(|_| server.solved(new_user("rei"))).collect();
    let codes = at_once(50, |i| server.post("/api/registered", &bodies[i]).code());
    assert_eq!((count(&codes, 200), count(&codes, 604)), (1, 49));
}

#[test]
fn one_captcha_passes_once() {
    let server = Server::start();
    server.register("rei");
    let body = server.solved(json!({"username": "rei", "passwd": "a password"}));
    let codes = at_once(50, |_| server.post("/api/login", &body).code());
    assert_eq!((count(&codes, 200), count(&codes, 503)), (1, 49));
}

#[test]
fn one_password_is_changed_once() {
    let server = Server::start();
    server.register("rei");
    let body = |i: usize| json!({"username": "rei", "old_passwd": "a password", "new_passwd": format!("new {i}")});
    let bodies: Vec<Value> = (0..50).map(|i| server.solved(body(i))).collect();
    let codes = at_once(50, |i| {
        server.post("/api/update_password", &bodies[i]).code()
    });
    assert_eq!((count(&codes, 200), count(&codes, 404)), (1, 49));
    let winner = codes.iter().position(|code| *code == 200).unwrap();
    let login = json!({"username": "rei", "passwd": format!("new {winner}")});
    assert_eq!(server.post_solved("/api/login", login).code(), 200);
}

#[test]
fn concurrent_log_ins_succeed_while_their_row_is_rewritten() {
    let server = Server::with(json!({"password_hash": "argon2id", "sessions_per_user": 6}));
    let md5 = accountd::config::Scheme::Md5.hash("a password");
    for user in 0..6 {
        let name = format!("rei{user}");
        server.register(&name);
        let rewrite = "UPDATE users SET password = ?1 WHERE name = ?2";
        assert_eq!(
            server.database().execute(rewrite, [&md5, &name]).unwrap(),
            1
        );
        let bodies: Vec<Value> = (0..6)
            .map(|_| server.solved(json!({"username": name, "passwd": "a password"})))
            .collect();
        let answers = at_once(6, |i| server.post("/api/login", &bodies[i]).json());
        for answer in &answers {
            assert_eq!(answer["code"], 200, "{answers:?}");
            assert_eq!(
                server.info(answer["message"].as_str().unwrap())["name"],
                name
            );
        }
    }
    let left = "SELECT count(*) FROM users WHERE password NOT LIKE '$argon2id$%'";
    assert_eq!(
        server
            .database()
            .query_row(left, [], |row| row.get::<_, u32>(0)),
        Ok(0)
    );
    let audit = "SELECT count(*) FROM audit_refused";
    assert_eq!(
        server
            .database()
            .query_row(audit, [], |row| row.get::<_, u32>(0)),
        Ok(0),
        "a log-in counts as a failure"
    );
}

#[test]
fn emails_are_case_insensitive_and_older_duplicates_still_work() {
    let server = Server::start();
    server.register("rei");
    let mut user = new_user("asuka");
    user["email"] = "REI@Example.ORG".into();
    assert_eq!(
        server.post_solved("/api/registered", user.clone()).code(),
        604
    );
    server.register("asuka");
    // Older versions accepted it.
    let twin = "UPDATE users SET email = 'REI@Example.ORG' WHERE name = 'asuka'";
    server.database().execute(twin, []).unwrap();
    let reset = |name: &str, email: &str| {
        let body = json!({"key": RESET, "name": name, "email": email, "new_passwd": "another"});
        server.post_solved("/api/forget_password", body).code()
    };
    let login = |name: &str| {
        server
            .post_solved("/api/login", json!({"username": name, "passwd": "another"}))
            .code()
    };
    assert_eq!(
        (
            reset("asuka", "REI@Example.ORG"),
            login("asuka"),
            login("rei")
        ),
        (200, 200, 604)
    );
    assert_eq!((reset("rei", "Rei@example.org"), login("rei")), (200, 200));
    user["username"] = "misato".into();
    assert_eq!(server.post_solved("/api/registered", user).code(), 604);
}

#[test]
fn concurrent_uploads_leave_one_file() {
    let server = Server::start();
    let token = server.user("rei");
    let body = form("file", &picture(20_000));
    let codes = at_once(50, |_| {
        let headers = [("token", &*token), ("Content-Type", crate::support::FORM)];
        server
            .send("POST", "/api/upload_avatar", &headers, &body)
            .code()
    });
    assert_eq!(count(&codes, 200), 50);
    assert_eq!(
        server.avatars(),
        [server.info(&token)["avatar"].as_str().unwrap()]
    );
}

#[test]
fn guessers_wait_and_the_owner_can_log_in() {
    let server = Server::with(json!({"throttle": true, "trusted_proxies": ["127.0.0.1"]}));
    server.register("rei");
    let ask = |path: &str, body: Value, from: &str| {
        let body = server.solved(body).to_string();
        server.send("POST", path, &[("X-Forwarded-For", from)], body.as_bytes())
    };
    let login = |password: &str, from: &str| {
        ask(
            "/api/login",
            json!({"username": "rei", "passwd": password}),
            from,
        )
    };
    let change = json!({"username": "rei", "old_passwd": "a password", "new_passwd": "b"});
    let reset = json!({"key": "x", "name": "rei", "email": "rei@example.org", "new_passwd": "b"});
    for _ in 0..3 {
        assert_eq!(login("x", "192.0.2.1").code(), 604);
    }
    for response in [
        login("a password", "192.0.2.1"),
        ask("/api/update_password/", change, "192.0.2.1"),
        ask("/api/forget_password", reset.clone(), "192.0.2.1"),
    ] {
        assert_eq!(
            (response.status, response.code()),
            (429, 429),
            "{}",
            response.text()
        );
        assert_eq!(response.header("Retry-After"), Some("1"));
        assert_eq!(response.header("Access-Control-Allow-Origin"), Some("*"));
    }
    assert_eq!(login("a password", "192.0.2.2").code(), 200);
    for _ in 0..3 {
        assert_eq!(
            ask("/api/forget_password", reset.clone(), "192.0.2.3").code(),
            404
        );
    }
    assert_eq!(
        ask("/api/forget_password", reset.clone(), "192.0.2.3").status,
        429
    );
    // The limit counts guesses at the reset key, whatever the name.
    let named = |name: &str| json!({"key": "x", "name": name, "email": "a", "new_passwd": "b"});
    for nth in 0..3 {
        assert_eq!(
            ask("/api/forget_password", named(&nth.to_string()), "192.0.2.5").code(),
            404
        );
    }
    assert_eq!(
        ask("/api/forget_password", named("another"), "192.0.2.5").status,
        429
    );
    // A correct password resets the count.
    for _ in 0..3 {
        assert_eq!(login("x", "192.0.2.4").code(), 604);
        assert_eq!(login("x", "192.0.2.4").code(), 604);
        assert_eq!(login("a password", "192.0.2.4").code(), 200);
    }
}

#[test]
fn a_source_has_a_budget_of_captchas() {
    let server = Server::with(json!({"throttle": true}));
    let refused = (0..100_000).find_map(|_| {
        let response = server.send("GET", "/api/get_verification_code", &[], b"");
        (response.status != 200).then_some(response)
    });
    let refused = refused.unwrap();
    assert_eq!(
        (
            refused.status,
            refused.code(),
            refused.header("Retry-After")
        ),
        (429, 429, Some("1"))
    );
}
