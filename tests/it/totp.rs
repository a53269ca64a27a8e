//! Second factors: with Debian's oathtool as the authenticator app, beside commands, and after the
//! key has changed.

use crate::backup::{restarted, run, succeed, text};
use crate::support::{CAPTCHA, Folder, Response, Server};
use serde_json::{Value, json};
use std::process::Command;

/// The settings of a server that has a key for second factors.
pub fn settings() -> Value {
    json!({"totp_key": "a key for second factors", "sessions_per_user": 9})
}

/// The code that an authenticator app shows now. The server forgets which codes it has accepted, so
/// that a test need not wait for the next one.
pub fn fresh_code(server: &Server, secret: &str) -> String {
    server
        .database()
        .execute("UPDATE totp SET last_step = 0", [])
        .unwrap();
    code(secret, "now")
}

fn code(secret: &str, when: &str) -> String {
    let output = Command::new("oathtool")
        .args(["--totp", "-b", "-N", when, secret])
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap().trim().into()
}

pub fn begin(server: &Server, token: &str) -> String {
    let body = json!({"token": token, "passwd": "a password"});
    let begun = server.post("/api/totp_begin", &body);
    assert_eq!(begun.code(), 200, "{}", begun.text());
    begun.json()["message"]["secret"].as_str().unwrap().into()
}

fn confirm(server: &Server, token: &str, otp: &str) -> Response {
    let body = json!({"token": token, "passwd": "a password", "otp": otp});
    server.post("/api/totp_confirm", &body)
}

/// Turns on the second factor of the token's owner; returns the secret and the recovery codes.
pub fn turn_on(server: &Server, token: &str) -> (String, Vec<String>) {
    let secret = begin(server, token);
    let confirmed = confirm(server, token, &fresh_code(server, &secret));
    assert_eq!(confirmed.code(), 200, "{}", confirmed.text());
    let codes = serde_json::from_value(confirmed.json()["message"].clone()).unwrap();
    (secret, codes)
}

fn log_in(server: &Server, otp: &str) -> u64 {
    let body = json!({"username": "rei", "passwd": "a password", "otp": otp});
    server.post_solved("/api/login", body).code()
}

/// The output of a command on the server's data folder that must succeed.
fn done(server: &Server, arguments: &[&str]) -> String {
    succeed(&[&["--data", text(&server.data.0)], arguments].concat())
}

#[test]
fn an_app_signs_in_and_each_code_is_accepted_once() {
    let server = Server::with(settings());
    let token = server.user("rei");
    let (secret, recovery) = turn_on(&server, &token);
    let otp = fresh_code(&server, &secret);
    let spaced = format!("{} {}", &otp[..3], &otp[3..]);
    assert_eq!(log_in(&server, ""), 605);
    assert_eq!(log_in(&server, &code(&secret, "2 minutes ago")), 605);
    assert_eq!(log_in(&server, &code(&secret, "2 minutes")), 605);
    assert_eq!(log_in(&server, &spaced), 200);
    assert_eq!(log_in(&server, &otp), 605, "a replay");
    assert_eq!(log_in(&server, &recovery[0].to_uppercase()), 200);
    assert_eq!(log_in(&server, &recovery[0]), 605, "a replay");
    let info = server.post("/api/totp_info", &json!({"token": token}));
    assert_eq!(
        info.json()["message"],
        json!({"on": true, "recovery_codes": 9})
    );
    let audit = done(&server, &["audit", "--user", "rei"]);
    for event in ["totp_confirm", "recovery-code used"] {
        assert!(audit.contains(event), "{audit}");
    }
    // An absent code is not a failed sign-in: every sign-in begins with one.
    server
        .lines
        .wait_for("failed sign-in from 127.0.0.1 at /api/login", 4);
    let log = server.lines.all();
    let failed = log.iter().filter(|line| line.contains("failed sign-in"));
    assert_eq!(failed.count(), 4, "{log:#?}");

    // Neither the database nor the log has what opens the account.
    for file in ["accountd.db", "accountd.db-wal"] {
        let content = std::fs::read(server.path(file)).unwrap_or_default();
        for code in &recovery {
            let plain = code.replace('-', "");
            for secret in [&secret, code, &plain] {
                let found = content
                    .windows(secret.len())
                    .any(|part| part == secret.as_bytes());
                assert!(!found, "{file}");
            }
        }
    }
    let log = server.lines.all().concat();
    assert!(
        !log.contains(&secret) && recovery.iter().all(|code| !log.contains(code)),
        "{log}"
    );
}

#[test]
fn of_many_requests_at_once_with_one_code_exactly_one_succeeds() {
    let server = Server::with(settings());
    let token = server.user("rei");
    let (secret, _) = turn_on(&server, &token);
    let otp = fresh_code(&server, &secret);
    let bodies = [(); 8]
        .map(|()| server.solved(json!({"username": "rei", "passwd": "a password", "otp": otp})));
    let codes: Vec<u64> = std::thread::scope(|scope| {
        let post = |body| server.post("/api/login", body).code();
        let threads = bodies
            .each_ref()
            .map(|body| scope.spawn(move || post(body)));
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .collect()
    });
    assert_eq!(
        codes.iter().filter(|code| **code == 200).count(),
        1,
        "{codes:?}"
    );
    assert!(
        codes.iter().all(|code| [200, 605].contains(code)),
        "{codes:?}"
    );
}

#[test]
fn a_captcha_serves_for_the_request_without_and_the_one_with_the_code() {
    let server = Server::with(settings());
    let token = server.user("rei");
    let (secret, _) = turn_on(&server, &token);
    let mut body = json!({"username": "rei", "passwd": "a password"});
    body["verification_code_key"] = server.captcha().into();
    body["verification_code"] = CAPTCHA.into();
    assert_eq!(server.post("/api/login", &body).code(), 605);
    // A reload hands the captcha over.
    server.signal("HUP");
    server.lines.wait_for("info reloaded", 1);
    body["otp"] = fresh_code(&server, &secret).into();
    let opened = server.post("/api/login", &body);
    assert_eq!(opened.code(), 200, "{}", opened.text());
    assert_eq!(server.post("/api/login", &body).code(), 503);
}

#[test]
fn an_enrolment_survives_a_reload_and_a_restart() {
    let server = Server::with(settings());
    let token = server.user("rei");
    let secret = begin(&server, &token);
    server.signal("HUP");
    server.lines.wait_for("info reloaded", 1);
    let server = restarted(server, |_| {});
    assert_eq!(
        confirm(&server, &token, &fresh_code(&server, &secret)).code(),
        200
    );
}

#[test]
fn a_lost_key_locks_nobody_out_for_good() {
    let server = Server::with(settings());
    let token = server.user("rei");
    let (secret, recovery) = turn_on(&server, &token);
    let backup = Folder::new();
    let path = crate::backup::backup(&server, &backup.0);
    let check = |server: &Server| run(&["check", "--data", text(&server.data.0)]);
    assert_eq!(check(&server).0, 0);
    for key in [json!("another key"), json!(null)] {
        server
            .data
            .configure(json!({"totp_key": key, "sessions_per_user": 9}));
        server.signal("HUP");
        server
            .lines
            .wait_for("info reloaded", if key.is_null() { 2 } else { 1 });
        assert_eq!(log_in(&server, &fresh_code(&server, &secret)), 605);
        let (code, out, _) = check(&server);
        assert!(
            code == 1 && out.contains("1 second factor cannot be decrypted"),
            "{out}"
        );
    }
    let line = server.lines.wait("cannot be decrypted");
    assert!(
        line.contains("\"totp_key\"") && line.contains("accountd user totp-off"),
        "{line}"
    );
    let begin = json!({"token": server.user("asuka"), "passwd": "a password"});
    assert_eq!(server.post("/api/totp_begin", &begin).code(), 503);
    // The next start is none the worse, and recovery codes work.
    let server = restarted(server, |_| {});
    assert_eq!(log_in(&server, &recovery[0]), 200);
    let shown = |server: &Server| {
        let shown = done(server, &["user", "show", "rei", "--json"]);
        serde_json::from_str::<Value>(&shown).unwrap()["second_factor"].clone()
    };
    assert_eq!(shown(&server), true);
    let off = done(&server, &["user", "totp-off", "rei"]);
    assert_eq!(off, "rei (id 1): the second factor is off\n");
    let again = done(&server, &["user", "totp-off", "rei"]);
    assert_eq!(again, "rei (id 1): the second factor was off already\n");
    assert_eq!(shown(&server), false);
    assert_eq!(log_in(&server, ""), 200);
    assert_eq!(check(&server).0, 0);
    let audit = done(&server, &["audit"]);
    assert_eq!(audit.matches("user totp-off").count(), 1, "{audit}");

    // A backup has the second factor, and its config.json has the key.
    let other = Folder::new();
    succeed(&["restore", text(&path), "--data", text(&other.0)]);
    assert_eq!(run(&["check", "--data", text(&other.0)]).0, 0);
    let server = Server::on(other.into());
    assert_eq!(log_in(&server, ""), 605);
    assert_eq!(log_in(&server, &fresh_code(&server, &secret)), 200);
    // A deleted user leaves no row.
    done(&server, &["user", "delete", "rei"]);
    let rows = "SELECT (SELECT count(*) FROM totp) + (SELECT count(*) FROM recovery_codes)";
    let left: u32 = server
        .database()
        .query_row(rows, [], |row| row.get(0))
        .unwrap();
    assert_eq!(left, 0);
}

#[test]
fn the_first_start_makes_a_key_and_an_existing_file_stays_as_it_is() {
    let data = Folder::new().into();
    let server = Server::on(data);
    let config: Value =
        serde_json::from_slice(&std::fs::read(server.path("config.json")).unwrap()).unwrap();
    assert_eq!(config["totp_key"].as_str().unwrap().len(), 40);
    // What a version without second factors has written.
    let old = "{\"log\": \"debug\"}\n";
    let config = |server: &Server| server.path("config.json");
    let server = restarted(server, |server| {
        std::fs::write(config(server), old).unwrap()
    });
    assert_eq!(std::fs::read_to_string(config(&server)).unwrap(), old);
}
