//! Limits that clients share: guesses, captchas, changes.

use crate::backup::succeed;
use crate::support::{CAPTCHA, KEY, Response, Server, new_user};
use serde_json::{Value, json};
use std::sync::Barrier;
use std::thread;

/// A server that throttles, and trusts `X-Forwarded-For` of every request.
fn strict(more: Value) -> Server {
    let mut settings = json!({"throttle": true, "trusted_proxies": ["127.0.0.1"]});
    settings
        .as_object_mut()
        .unwrap()
        .extend(more.as_object().unwrap().clone());
    Server::with(settings)
}

/// Fetches a captcha from this address; returns its key.
fn captcha(server: &Server, from: &str) -> String {
    let response = server.send(
        "GET",
        "/api/get_verification_code",
        &[("X-Forwarded-For", from)],
        b"",
    );
    response
        .header("VerificationCodeKey")
        .expect("a key")
        .to_string()
}

/// Posts from this address with this captcha.
fn post(server: &Server, from: &str, path: &str, mut body: Value, captcha: &str) -> Response {
    body["verification_code_key"] = captcha.into();
    body["verification_code"] = CAPTCHA.into();
    server.send(
        "POST",
        path,
        &[("X-Forwarded-For", from)],
        body.to_string().as_bytes(),
    )
}

/// Posts from this address with a fresh captcha.
fn post_solved(server: &Server, from: &str, path: &str, body: Value) -> Response {
    post(server, from, path, body, &captcha(server, from))
}

fn assert_too_often(response: &Response) {
    assert_eq!(
        (response.status, response.code()),
        (429, 429),
        "{}",
        response.text()
    );
    assert_eq!(response.header("Retry-After"), Some("1"));
}

#[test]
fn guesses_at_the_registration_key_wait_and_other_addresses_do_not() {
    let server = strict(json!({}));
    let register = |name: &str, key: &str, from: &str| {
        let mut user = new_user(name);
        user["key"] = key.into();
        post_solved(&server, from, "/api/registered", user)
    };
    for nth in 0..3 {
        assert_eq!(register(&nth.to_string(), "wrong", "192.0.2.1").code(), 403);
    }
    assert_too_often(&register("rei", KEY, "192.0.2.1"));
    // The correct key works from other addresses.
    for nth in 0..19 {
        assert_eq!(
            register("x", "wrong", &format!("198.51.100.{nth}")).code(),
            403
        );
        assert_eq!(
            register(&format!("user{nth}"), KEY, "192.0.2.2").code(),
            200
        );
        // A taken name does not count as a wrong key.
        assert_eq!(
            register(&format!("user{nth}"), KEY, "192.0.2.2").code(),
            604
        );
    }
    let refused = server
        .lines
        .all()
        .iter()
        .filter(|line| line.contains("sign-in from 192.0.2.1 at /api/reg"))
        .count();
    assert_eq!(refused, 3, "a throttled request is not a failed sign-in");
}

/// The codes of concurrent log-ins of rei with this password from one address.
fn log_ins(server: &Server, count: usize, password: &str, from: &str) -> Vec<u64> {
    let body = json!({"username": "rei", "passwd": password});
    let captchas: Vec<String> = (0..count).map(|_| captcha(server, from)).collect();
    let barrier = Barrier::new(count);
    let log_in = |captcha: &str| {
        barrier.wait();
        post(server, from, "/api/login", body.clone(), captcha).code()
    };
    thread::scope(|scope| {
        let threads: Vec<_> = captchas
            .iter()
            .map(|captcha| scope.spawn(|| log_in(captcha)))
            .collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .collect()
    })
}

#[test]
fn few_of_many_concurrent_guesses_are_checked_and_the_owner_can_log_in() {
    let server = strict(json!({"password_hash": "argon2id", "sessions_per_user": 10}));
    post_solved(&server, "192.0.2.1", "/api/registered", new_user("rei"));
    let guesses = log_ins(&server, 60, "wrong", "192.0.2.2");
    let checked = guesses.iter().filter(|code| **code == 604).count();
    // 8, and one more if the first wait ends before the last request arrives.
    assert!((3..=9).contains(&checked), "{guesses:?}");
    assert!(
        guesses.iter().all(|code| [604, 429].contains(code)),
        "{guesses:?}"
    );
    // From another address, after two typos.
    assert_eq!(log_ins(&server, 2, "wrong", "192.0.2.3"), [604, 604]);
    assert_eq!(log_ins(&server, 6, "a password", "192.0.2.3"), [200; 6]);
}

#[test]
fn an_error_of_the_server_is_not_a_wrong_guess() {
    let server = strict(json!({}));
    let from = "192.0.2.1";
    post_solved(&server, from, "/api/registered", new_user("rei"));
    let log_in = |password: &str| {
        post_solved(
            &server,
            from,
            "/api/login",
            json!({"username": "rei", "passwd": password}),
        )
    };
    server
        .database()
        .execute_batch("ALTER TABLE users RENAME TO hidden")
        .unwrap();
    (0..10).for_each(|_| assert_eq!(log_in("a password").status, 500));
    server
        .database()
        .execute_batch("ALTER TABLE hidden RENAME TO users")
        .unwrap();
    (0..3).for_each(|_| assert_eq!(log_in("wrong").code(), 604));
    assert_too_often(&log_in("a password"));
}

#[test]
fn each_account_has_a_budget_of_changes() {
    let server = strict(json!({}));
    let [rei, asuka] = ["rei", "asuka"].map(|name| {
        assert_eq!(
            post_solved(&server, "192.0.2.1", "/api/registered", new_user(name)).code(),
            200
        );
        let log_in = json!({"username": name, "passwd": "a password"});
        post_solved(&server, "192.0.2.1", "/api/login", log_in).json()["message"]
            .as_str()
            .unwrap()
            .to_string()
    });
    // Each time from a different network.
    let change = |nth: u32, path: &str, token: &str| {
        let from = format!("2001:db8:{nth:x}::1");
        let body = json!({"token": token, "new_show_name": "Rei"}).to_string();
        server.send(
            "POST",
            path,
            &[("X-Forwarded-For", &*from)],
            body.as_bytes(),
        )
    };
    let refused = (0..10_000).find_map(|nth| {
        let response = change(nth, "/api/update_key", &rei);
        (response.code() != 200).then_some((nth, response))
    });
    let (count, refused) = refused.unwrap();
    assert!(count >= 300, "{count}");
    assert_too_often(&refused);
    for path in ["/api/update_key", "/api/update_show_name"] {
        // The budget grows by one a second.
        assert!(
            (0..10).any(|nth| change(nth, path, &rei).status == 429),
            "{path}"
        );
        assert_eq!(change(1, path, &asuka).code(), 200, "{path}");
    }
    assert_eq!(
        change(1, "/api/update_key", "unknown").code(),
        403,
        "without a token there is nothing to spend"
    );
    assert_eq!(change(1, "/api/logout", &asuka).code(), 200);
    let lines = "SELECT count(*) FROM audit_done WHERE event = 'update_key'";
    let lines: u32 = server
        .database()
        .query_row(lines, [], |row| row.get(0))
        .unwrap();
    assert!(lines < count + 100, "{lines}");
}

#[test]
fn a_flood_of_captchas_evicts_its_own() {
    let server = strict(json!({"max_captchas": 40}));
    let honest = captcha(&server, "192.0.2.1");
    let flood: Vec<String> = (0..200)
        .map(|nth| captcha(&server, &format!("2001:db8:0:{nth:x}::1")))
        .collect();
    assert_eq!(
        post(
            &server,
            "192.0.2.1",
            "/api/registered",
            new_user("rei"),
            &honest
        )
        .code(),
        200
    );
    assert_eq!(
        post(
            &server,
            "192.0.2.1",
            "/api/registered",
            new_user("asuka"),
            &flood[0]
        )
        .code(),
        504
    );
    assert_eq!(
        post(
            &server,
            "192.0.2.1",
            "/api/registered",
            new_user("asuka"),
            &flood[199]
        )
        .code(),
        200
    );
}

#[test]
fn the_budget_of_new_accounts_survives_a_reload_and_invitations_do_not_need_it() {
    let server =
        strict(json!({"registrations_per_hour": 2, "public_url": "https://accounts.example.org"}));
    let register = |name: &str, key: &str, from: &str| {
        let mut user = new_user(name);
        user["key"] = key.into();
        post_solved(&server, from, "/api/registered", user)
    };
    assert_eq!(register("rei", KEY, "192.0.2.1").code(), 200);
    assert_eq!(register("rei", KEY, "192.0.2.2").code(), 604);
    assert_eq!(register("asuka", KEY, "198.51.100.1").code(), 200);
    for _ in 0..2 {
        let refused = register("shinji", KEY, "203.0.113.1");
        assert_eq!((refused.status, refused.code()), (429, 429));
        let wait: u64 = refused.header("Retry-After").unwrap().parse().unwrap();
        assert!((1000..=1800).contains(&wait), "{wait}");
        server.signal("HUP");
        server.lines.wait("info reloaded");
    }
    let data = server.data.0.to_str().unwrap();
    let made = succeed(&["--data", data, "invite", "--json"]);
    let made: Value = serde_json::from_str(&made).unwrap();
    let key = made["key"].as_str().unwrap();
    assert_eq!(register("shinji", key, "203.0.113.1").code(), 200);
}
