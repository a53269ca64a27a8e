//! The audit log, and disabled users.

use crate::support::{RESET, Server, new_user, picture};
use serde_json::{Value, json};

/// The lines of the log: user, event, source, outcome.
fn lines(server: &Server) -> Vec<String> {
    let database = server.database();
    let both = "SELECT nth, user, event, source, 'done' FROM audit_done
                UNION ALL SELECT nth, user, event, source, 'refused' FROM audit_refused ORDER BY nth";
    let mut ask = database.prepare(both).unwrap();
    let rows = ask.query_map([], |row| {
        let text = |column| {
            row.get::<_, Option<String>>(column)
                .map(|text| text.unwrap_or("-".into()))
        };
        Ok([text(1)?, text(2)?, text(3)?, text(4)?].join(" "))
    });
    rows.unwrap().map(Result::unwrap).collect()
}

#[test]
fn changes_and_failed_sign_ins_are_logged() {
    let server = Server::start();
    let password =
        |old: &str| json!({"username": "rei", "old_passwd": old, "new_passwd": "another"});
    let reset = |key: &str, email: &str| json!({"key": key, "name": "rei", "new_passwd": "third", "email": email});
    let token = server.user("rei");
    let solved = |path: &str, body: Value| server.post_solved(path, body).code();
    assert_eq!(solved("/api/registered", new_user("rei")), 604);
    assert_eq!(
        server
            .post(
                "/api/update_show_name",
                &json!({"token": token, "new_show_name": "b"})
            )
            .code(),
        200
    );
    assert_eq!(
        server
            .post("/api/update_key", &json!({"token": token}))
            .code(),
        200
    );
    assert_eq!(
        server
            .post("/api/update_key", &json!({"token": "unknown"}))
            .code(),
        403
    );
    assert_eq!(server.upload(&token, &picture(20_000)).code(), 200);
    assert_eq!(
        server.post("/api/logout", &json!({"token": token})).code(),
        200
    );
    // A user types the password into the field for the name.
    assert_eq!(
        solved(
            "/api/login",
            json!({"username": "a password", "passwd": "a password"})
        ),
        604
    );
    assert_eq!(
        solved("/api/login", json!({"username": "rei", "passwd": "x"})),
        604
    );
    assert_eq!(solved("/api/update_password", password("x")), 404);
    assert_eq!(solved("/api/update_password", password("a password")), 200);
    assert_eq!(
        solved("/api/forget_password", reset("x", "rei@example.org")),
        404
    );
    assert_eq!(
        solved("/api/forget_password", reset(RESET, "asuka@example.org")),
        501
    );
    assert_eq!(
        solved("/api/forget_password", reset(RESET, "rei@example.org")),
        200
    );
    let mut other = new_user("asuka");
    other["key"] = "x".into();
    assert_eq!(solved("/api/registered", other), 403);
    assert_eq!(solved("/api/login", json!({"username": "rei"})), 604);
    server.info(&token);
    assert_eq!(
        lines(&server),
        [
            "rei registered 127.0.0.1 done",
            "rei login 127.0.0.1 done",
            "rei update_key 127.0.0.1 done",
            "rei upload_avatar 127.0.0.1 done",
            "rei logout 127.0.0.1 done",
            "- login 127.0.0.1 refused",
            "rei login 127.0.0.1 refused",
            "rei update_password 127.0.0.1 refused",
            "rei update_password 127.0.0.1 done",
            "rei forget_password 127.0.0.1 refused",
            "rei forget_password 127.0.0.1 refused",
            "rei forget_password 127.0.0.1 done",
            "- registered 127.0.0.1 refused",
        ]
    );
}

#[test]
fn audit_days_0_logs_nothing_and_removes_old_lines() {
    let mut server = Server::start();
    server.user("rei");
    assert_eq!(lines(&server).len(), 2);
    server.signal("TERM");
    assert_eq!(server.wait(), Some(0));
    let mut settings = crate::support::settings();
    settings["audit_days"] = 0.into();
    // Without a supervisor, the server handles signals only after its cleanup at the start.
    settings["supervise"] = false.into();
    std::fs::write(server.path("config.json"), settings.to_string()).unwrap();
    let mut server = Server::on(server.data.clone());
    server.user("asuka");
    assert_eq!(
        server
            .post_solved("/api/login", json!({"username": "rei", "passwd": "x"}))
            .code(),
        604
    );
    server.signal("TERM");
    assert_eq!(server.wait(), Some(0));
    assert_eq!(lines(&server), [""; 0]);
}

#[test]
fn a_failing_audit_log_leaves_refusals_alone_and_stops_changes() {
    let server = Server::start();
    let token = server.user("rei");
    server
        .database()
        .execute_batch("DROP TABLE audit_refused; DROP TABLE audit_done")
        .unwrap();
    assert_eq!(
        server
            .post_solved("/api/login", json!({"username": "rei", "passwd": "x"}))
            .code(),
        604
    );
    server.lines.wait("error /api/login: audit: no such table");
    let before = server.info(&token);
    assert_eq!(
        server
            .post("/api/update_key", &json!({"token": token}))
            .status,
        500
    );
    assert_eq!(server.info(&token), before);
}

#[test]
fn a_disabled_user_is_answered_like_an_unknown_one() {
    for scheme in ["md5", "argon2id"] {
        let server = Server::with(json!({"password_hash": scheme}));
        server.register("rei");
        server
            .database()
            .execute_batch("UPDATE users SET disabled_at = 1")
            .unwrap();
        let solved = |path: &str, body: Value| server.post_solved(path, body).code();
        assert_eq!(
            solved(
                "/api/login",
                json!({"username": "rei", "passwd": "a password"})
            ),
            604
        );
        let password =
            json!({"username": "rei", "old_passwd": "a password", "new_passwd": "another"});
        assert_eq!(solved("/api/update_password", password), 404);
        let reset =
            json!({"key": RESET, "name": "rei", "new_passwd": "third", "email": "rei@example.org"});
        assert_eq!(solved("/api/forget_password", reset), 501);
        assert_eq!(
            solved("/api/registered", new_user("rei")),
            604,
            "the name stays taken"
        );
        server
            .database()
            .execute_batch("UPDATE users SET disabled_at = NULL")
            .unwrap();
        server.login("rei");
    }
}
