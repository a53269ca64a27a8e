//! The contract: the table equals the document, and requests over a socket reach each of its rows.

use crate::support::{CAPTCHA, FORM, KEY, RESET, Response, Server, form, new_user, picture, root};
use crate::totp;
use accountd::contract::{self, Endpoint, GET_VERIFICATION_CODE};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};

/// Rows that no request over a socket can reach.
const UNREACHABLE: [(&str, u16, &str); 2] = [
    (
        "/api/registered",
        400,
        "the answer to a panic, of which none is known; `answers_of_a_panic` in src/api/mod.rs tests it",
    ),
    (
        "/api/get_verification_code",
        169,
        "drawing fails only by a panic, of which none is known",
    ),
];

/// The code of accounts with a second factor, which the document does not have.
const OTP_WRONG: u16 = 605;

/// The document's rows: code and message by path.
fn document() -> BTreeMap<String, BTreeSet<(u16, String)>> {
    let text = std::fs::read_to_string(root().join("tests/user-api.zh.md")).unwrap();
    let mut rows: BTreeMap<String, BTreeSet<(u16, String)>> = BTreeMap::new();
    let mut path = String::new();
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("`/api/") {
            path = format!(
                "/api/{}",
                rest.split('`').next().unwrap().trim_end_matches('/')
            );
        } else if let Some((code, sentence)) = line
            .strip_prefix("- ")
            .and_then(|line| line.split_once('：'))
            && let Ok(code) = code.parse()
        {
            // Markdown escapes the asterisk.
            rows.entry(path.clone())
                .or_default()
                .insert((code, sentence.replace("\\*", "*")));
        }
    }
    rows
}

#[test]
fn the_table_equals_the_document() {
    let table: BTreeMap<String, BTreeSet<(u16, String)>> = contract::DOCUMENT
        .iter()
        .map(|endpoint| {
            // The code of a second factor is an addition.
            let rows = endpoint.refusals.iter().chain([&endpoint.success]);
            let rows = rows.filter(|row| row.code != OTP_WRONG);
            (
                endpoint.path.to_string(),
                rows.map(|row| (row.code, row.message.to_string()))
                    .collect(),
            )
        })
        .collect();
    assert_eq!(table, document());
    assert_eq!(table.len(), 8);
    assert_eq!(table.values().map(BTreeSet::len).sum::<usize>(), 46);
}

#[test]
fn the_fields_equal_those_of_the_document() {
    let text = std::fs::read_to_string(root().join("tests/user-api.zh.md")).unwrap();
    for (section, endpoint) in text.split("\n### ").zip(contract::DOCUMENT) {
        let body = section
            .split("```json\n")
            .nth(1)
            .map(|rest| rest.split("```").next().unwrap());
        let body: Value = body.map_or(json!({}), |body| serde_json::from_str(body).unwrap());
        let named: BTreeSet<&str> = body
            .as_object()
            .unwrap()
            .keys()
            .map(String::as_str)
            .collect();
        let mut ours: BTreeSet<&str> = endpoint.fields.iter().map(|field| field.name).collect();
        ours.extend(if endpoint.captcha {
            &contract::CAPTCHA[..]
        } else {
            &[]
        });
        ours.extend((endpoint.token == contract::Token::Body).then_some("token"));
        assert_eq!(ours, named, "{}", endpoint.path);
    }
}

/// Sends requests to an endpoint and collects the rows that they reach.
struct Cases<'a> {
    server: &'a Server,
    endpoint: &'static Endpoint,
    seen: BTreeSet<u16>,
}

impl<'a> Cases<'a> {
    fn of(server: &'a Server, endpoint: &'static Endpoint) -> Cases<'a> {
        Cases {
            server,
            endpoint,
            seen: BTreeSet::new(),
        }
    }

    /// Posts this body.
    fn is(&mut self, code: u16, body: &Value) -> Response {
        self.text(code, &body.to_string())
    }

    /// Posts this body with a solved captcha.
    fn solved(&mut self, code: u16, body: Value) -> Response {
        let body = self.server.solved(body);
        self.is(code, &body)
    }

    fn text(&mut self, code: u16, body: &str) -> Response {
        let response = self
            .server
            .send("POST", self.endpoint.path, &[], body.as_bytes());
        self.expect(code, response)
    }

    /// Checks that the response is the row with this code, with the row's message or a value in its
    /// place.
    fn expect(&mut self, code: u16, response: Response) -> Response {
        let context = format!("{} {}", self.endpoint.path, response.text());
        assert_eq!(response.status, 200, "{context}");
        assert_eq!(response.code(), u64::from(code), "{context}");
        assert_eq!(response.header("Content-Type"), Some("application/json"));
        assert_eq!(response.header("Cache-Control"), Some("no-store"));
        assert_eq!(response.header("X-Content-Type-Options"), Some("nosniff"));
        assert_eq!(response.header("Access-Control-Allow-Origin"), Some("*"));
        if let Some(row) = self.endpoint.refusals.iter().find(|row| row.code == code) {
            assert_eq!(response.json()["message"], row.message, "{context}");
            assert!(response.text().contains(row.message), "escaped: {context}");
        }
        self.seen.insert(code);
        response
    }

    /// Every other method, with and without the slash at the end.
    fn methods(&mut self) {
        for method in [
            "GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "BREW", "post",
        ] {
            if method != self.endpoint.method {
                for slash in ["", "/", "?a=b", "/?a=b"] {
                    let path = format!("{}{slash}", self.endpoint.path);
                    let response = self.server.send(method, &path, &[], b"{}");
                    self.expect(500, response);
                }
            }
        }
        let head = self.server.send("HEAD", self.endpoint.path, &[], b"");
        let get = self.server.send("PUT", self.endpoint.path, &[], b"");
        assert_eq!((head.status, head.body.len()), (200, 0));
        assert_eq!(head.header("Content-Length"), get.header("Content-Length"));
    }

    /// Unreadable bodies get the answer to a body without fields, and a detail.
    fn unreadable(&mut self, code: u16) {
        let deep = format!("{{\"a\":{}1{}}}", "[".repeat(500), "]".repeat(500));
        for body in [
            "", "{", "[]", "null", "\"text\"", "12", "{\"a\":}", "{} x", "not json", &deep,
        ] {
            let response = self.text(code, body);
            let detail = response.json()["detail"].as_str().expect(body).to_string();
            assert!(
                detail.starts_with("body is not a JSON object: "),
                "{detail}"
            );
        }
        let response =
            self.server
                .send("POST", self.endpoint.path, &[], b"{\"token\":\"\xff\xfe\"}");
        assert!(self.expect(code, response).json()["detail"].is_string());
        let response = self.is(if code == 666 { 505 } else { code }, &json!({"unknown": 1}));
        assert_eq!(response.json().get("detail"), None);
    }

    /// Checks that every row of the table was reached or is in [`UNREACHABLE`].
    fn complete(&self) {
        for row in self
            .endpoint
            .refusals
            .iter()
            .chain([&self.endpoint.success])
        {
            let listed = UNREACHABLE
                .iter()
                .any(|one| one.0 == self.endpoint.path && one.1 == row.code);
            assert_ne!(
                self.seen.contains(&row.code),
                listed,
                "{} {}",
                self.endpoint.path,
                row.code
            );
        }
    }
}

/// Values that count as an absent field.
fn absent() -> [Value; 8] {
    [
        json!(null),
        json!(""),
        json!("\r\n"),
        json!("\n\n"),
        json!(1),
        json!(true),
        json!(["a"]),
        json!({"a": "b"}),
    ]
}

fn without(body: &Value, name: &str) -> Value {
    let mut body = body.clone();
    body.as_object_mut().unwrap().remove(name);
    body
}

fn changed(body: &Value, name: &str, value: &Value) -> Value {
    let mut body = body.clone();
    body[name] = value.clone();
    body
}

/// The rows of the captcha, which is checked before everything else.
fn captcha_rows(cases: &mut Cases, body: &Value, absent_code: u16, wrong_code: u16) {
    let solved = cases.server.solved(body.clone());
    for name in contract::CAPTCHA {
        cases.is(absent_code, &without(&solved, name));
        for value in absent() {
            cases.is(absent_code, &changed(&solved, name, &value));
        }
    }
    // None of these used the captcha up; a wrong answer does.
    cases.is(
        wrong_code,
        &changed(&solved, "verification_code", &json!("wrong")),
    );
    cases.is(wrong_code, &solved);
    cases.is(
        wrong_code,
        &changed(
            &cases.server.solved(body.clone()),
            "verification_code",
            &json!(format!("{CAPTCHA} ")),
        ),
    );
    cases.is(
        wrong_code,
        &changed(&solved, "verification_code_key", &json!("unknown")),
    );
    cases.is(absent_code, &json!({}));
}

#[test]
fn registered() {
    let server = Server::start();
    let mut cases = Cases::of(&server, &contract::REGISTERED);
    cases.methods();
    cases.unreadable(666);
    let body = new_user("rei");
    captcha_rows(&mut cases, &body, 505, 504);
    for name in ["show_name", "username", "passwd", "email", "key"] {
        cases.solved(666, without(&body, name));
        for value in absent() {
            cases.solved(666, changed(&body, name, &value));
        }
    }
    cases.solved(403, changed(&body, "key", &json!("another key")));
    cases.solved(403, changed(&body, "key", &json!(format!("{KEY} "))));
    for (name, limit) in [
        ("show_name", 64),
        ("username", 64),
        ("email", 254),
        ("passwd", 1024),
    ] {
        cases.solved(603, changed(&body, name, &json!("阿".repeat(limit + 1))));
        cases.solved(
            403,
            changed(
                &changed(&body, name, &json!("阿".repeat(limit + 1))),
                "key",
                &json!("x"),
            ),
        );
        let longest = changed(
            &new_user(&format!("longest-{name}")),
            name,
            &json!("阿".repeat(limit)),
        );
        cases.solved(200, longest);
    }
    assert_eq!(
        cases.solved(200, body.clone()).text(),
        r#"{"message":"注册成功","code":200}"#
    );
    cases.solved(604, body.clone());
    cases.solved(604, changed(&body, "username", &json!("another")));
    cases.solved(604, changed(&body, "email", &json!("another@example.org")));
    cases.solved(
        200,
        changed(&new_user("Rei"), "email", &json!("any text at all")),
    );
    cases.solved(
        200,
        changed(
            &new_user("with spaces and ' \" \\ ; -- \u{0}\u{202e}"),
            "show_name",
            &json!("\n \t"),
        ),
    );

    let closed = Server::with(json!({"registration_function_status": false}));
    let mut off = Cases::of(&closed, &contract::REGISTERED);
    off.solved(503, body.clone());
    off.solved(503, json!({}));
    captcha_rows(&mut off, &body, 505, 504);
    cases.seen.extend(off.seen);

    // Another program holds the write lock for longer than the server waits.
    let other = server.database();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    cases.solved(404, new_user("waits"));
    other.execute_batch("ROLLBACK; DROP TABLE users").unwrap();
    cases.solved(603, new_user("fails"));
    cases.complete();
}

#[test]
fn login() {
    let server = Server::with(totp::settings());
    server.register("rei");
    let mut cases = Cases::of(&server, &contract::LOGIN);
    cases.methods();
    cases.unreadable(504);
    let body = json!({"username": "rei", "passwd": "a password"});
    captcha_rows(&mut cases, &body, 504, 503);
    for name in ["username", "passwd"] {
        cases.solved(604, without(&body, name));
        for value in absent() {
            cases.solved(604, changed(&body, name, &value));
        }
        cases.solved(604, changed(&body, name, &json!("wrong")));
        cases.solved(604, changed(&body, name, &json!("阿".repeat(2000))));
    }
    cases.solved(604, changed(&body, "username", &json!("REI")));
    cases.solved(604, changed(&body, "passwd", &json!("a password ")));
    let response = cases.solved(200, body.clone());
    let token = response.json()["message"].as_str().unwrap().to_string();
    assert!(
        token.len() == 250 && token.bytes().all(|byte| byte.is_ascii_alphanumeric()),
        "{token}"
    );
    // The answer to a captcha is case-insensitive.
    cases.is(
        200,
        &changed(
            &server.solved(body),
            "verification_code",
            &json!(CAPTCHA.to_uppercase()),
        ),
    );
    otp_rows(
        &mut cases,
        &json!({"username": "rei", "passwd": "a password"}),
    );
    cases.complete();
}

/// The rows of an endpoint with a captcha for a user named `rei` with a second factor.
fn otp_rows(cases: &mut Cases, body: &Value) {
    let secret = totp::turn_on(cases.server, &cases.server.login("rei")).0;
    for value in absent()
        .iter()
        .chain(&[json!("000000"), json!("x"), json!("1".repeat(65))])
    {
        cases.solved(605, changed(body, "otp", value));
    }
    cases.solved(605, body.clone());
    let otp = totp::fresh_code(cases.server, &secret);
    cases.solved(200, changed(body, "otp", &json!(otp)));
}

/// The rows of an endpoint that takes token, password and, if `otp` is one, the code.
fn confirmed_rows(cases: &mut Cases, body: &Value) {
    token_rows(cases, body);
    for name in ["passwd", "otp"] {
        if body.get(name).is_none() {
            continue;
        }
        cases.is(404, &without(body, name));
        for value in absent() {
            cases.is(404, &changed(body, name, &value));
            let unknown = changed(&changed(body, name, &value), "token", &json!("x"));
            cases.is(403, &unknown);
        }
        cases.is(404, &changed(body, name, &json!("阿".repeat(1025))));
    }
    cases.is(604, &changed(body, "passwd", &json!("wrong")));
}

#[test]
fn second_factors() {
    let server = Server::with(totp::settings());
    let token = server.user("rei");
    let owner = json!({"token": token});
    let password = changed(&owner, "passwd", &json!("a password"));
    let with_otp = |otp: &str| changed(&password, "otp", &json!(otp));
    let mut info = Cases::of(&server, &contract::TOTP_INFO);
    let mut begin = Cases::of(&server, &contract::TOTP_BEGIN);
    let mut confirm = Cases::of(&server, &contract::TOTP_CONFIRM);
    let mut end = Cases::of(&server, &contract::TOTP_END);
    token_rows(&mut info, &owner);
    confirmed_rows(&mut begin, &password);
    confirmed_rows(&mut confirm, &with_otp("000000"));
    confirmed_rows(&mut end, &with_otp("000000"));
    assert_eq!(
        info.is(200, &owner).text(),
        r#"{"message":{"on":false,"recovery_codes":0},"code":200}"#
    );
    confirm.is(606, &with_otp("000000"));
    end.is(606, &with_otp("000000"));
    let begun = begin.is(200, &password).json();
    let secret = begun["message"]["secret"].as_str().unwrap();
    for wrong in ["x", "12345", "1234567", "abcd-efgh-jkmn"] {
        confirm.is(605, &with_otp(wrong));
    }
    end.is(606, &with_otp("000000"));
    let otp = totp::fresh_code(&server, secret);
    let codes = confirm.is(200, &with_otp(&otp)).json()["message"].clone();
    assert_eq!(codes.as_array().unwrap().len(), 10);
    begin.is(606, &password);
    confirm.is(606, &with_otp(&otp));
    assert_eq!(
        info.is(200, &owner).text(),
        r#"{"message":{"on":true,"recovery_codes":10},"code":200}"#
    );
    for wrong in ["x", &otp, "abcd-efgh-jkmn"] {
        end.is(605, &with_otp(wrong));
    }
    end.is(200, &with_otp(codes[9].as_str().unwrap()));
    let without = Server::with(json!({"totp_key": null}));
    let mut off = Cases::of(&without, &contract::TOTP_BEGIN);
    let token = without.user("rei");
    off.is(503, &json!({"token": token, "passwd": "a password"}));
    begin.seen.extend(off.seen);
    for cases in [info, begin, confirm, end] {
        cases.complete();
    }
}

/// The rows of an endpoint that takes its token from the body.
fn token_rows(cases: &mut Cases, body: &Value) {
    cases.methods();
    cases.unreadable(404);
    cases.is(404, &without(body, "token"));
    for value in absent() {
        cases.is(404, &changed(body, "token", &value));
    }
    for value in ["x", " ", "阿", &"x".repeat(250), &"x".repeat(60_000)] {
        cases.is(403, &changed(body, "token", &json!(value)));
    }
    let token = body["token"].as_str().unwrap();
    cases.is(403, &changed(body, "token", &json!(token.to_lowercase())));
    cases.is(403, &changed(body, "token", &json!(format!("{token}\n"))));
}

#[test]
fn user_info() {
    let server = Server::start();
    let token = server.user("rei");
    let mut cases = Cases::of(&server, &contract::USER_INFO);
    token_rows(&mut cases, &json!({"token": token}));
    let response = cases.is(200, &json!({"token": token, "unknown": [1, {"a": null}]}));
    let key = response.json()["message"]["key"]
        .as_str()
        .unwrap()
        .to_string();
    assert!(
        key.len() == 40 && key.bytes().all(|byte| byte.is_ascii_alphanumeric()),
        "{key}"
    );
    let expected = format!(
        r#"{{"message":{{"id":1,"key":"{key}","name":"rei","token":"{token}","show_name":"rei 阿巴","email":"rei@example.org","avatar":"admin.jpg"}},"code":200}}"#
    );
    assert_eq!(
        response.text(),
        expected,
        "the members in the order of the document"
    );
    cases.complete();
}

#[test]
fn update_show_name() {
    let server = Server::start();
    let token = server.user("rei");
    let body = json!({"token": token, "new_show_name": "阿巴阿巴阿巴"});
    let mut cases = Cases::of(&server, &contract::UPDATE_SHOW_NAME);
    token_rows(&mut cases, &body);
    cases.is(404, &without(&body, "new_show_name"));
    for value in absent() {
        cases.is(404, &changed(&body, "new_show_name", &value));
        // The token is checked first.
        cases.is(
            403,
            &changed(
                &changed(&body, "new_show_name", &value),
                "token",
                &json!("x"),
            ),
        );
    }
    cases.is(
        404,
        &changed(&body, "new_show_name", &json!("阿".repeat(65))),
    );
    assert_eq!(server.info(&token)["show_name"], "rei 阿巴");
    cases.is(200, &body);
    assert_eq!(server.info(&token)["show_name"], "阿巴阿巴阿巴");
    cases.is(
        200,
        &changed(&body, "new_show_name", &json!("阿".repeat(64))),
    );
    cases.complete();
}

#[test]
fn update_key() {
    let server = Server::start();
    let token = server.user("rei");
    let before = server.info(&token)["key"].clone();
    let mut cases = Cases::of(&server, &contract::UPDATE_KEY);
    token_rows(&mut cases, &json!({"token": token}));
    assert_eq!(server.info(&token)["key"], before);
    cases.is(200, &json!({"token": token}));
    let after = server.info(&token)["key"].clone();
    assert!(after != before && after.as_str().unwrap().len() == 40);
    cases.complete();
}

#[test]
fn update_password() {
    let server = Server::with(totp::settings());
    let token = server.user("rei");
    let body = json!({"username": "rei", "old_passwd": "a password", "new_passwd": "another"});
    let mut cases = Cases::of(&server, &contract::UPDATE_PASSWORD);
    cases.methods();
    cases.unreadable(504);
    captcha_rows(&mut cases, &body, 504, 503);
    for name in ["username", "old_passwd", "new_passwd"] {
        cases.solved(404, without(&body, name));
        for value in absent() {
            cases.solved(404, changed(&body, name, &value));
        }
        cases.solved(404, changed(&body, name, &json!("阿".repeat(1025))));
    }
    cases.solved(404, changed(&body, "username", &json!("nobody")));
    cases.solved(404, changed(&body, "old_passwd", &json!("wrong")));
    assert_eq!(
        server.info(&token)["name"],
        "rei",
        "a refusal ends a session"
    );
    cases.solved(200, body);
    assert_eq!(
        server
            .post("/api/user_info", &json!({"token": token}))
            .code(),
        403,
        "a token is still valid"
    );
    assert_eq!(
        server
            .post_solved(
                "/api/login",
                json!({"username": "rei", "passwd": "a password"})
            )
            .code(),
        604
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
    let back = json!({"username": "rei", "old_passwd": "another", "new_passwd": "a password"});
    cases.solved(200, back);
    let same = json!({"username": "rei", "old_passwd": "a password", "new_passwd": "a password"});
    otp_rows(&mut cases, &same);
    cases.complete();
}

#[test]
fn forget_password() {
    let server = Server::with(totp::settings());
    let token = server.user("rei");
    server.register("asuka");
    let body =
        json!({"key": RESET, "name": "rei", "new_passwd": "another", "email": "rei@example.org"});
    let mut cases = Cases::of(&server, &contract::FORGET_PASSWORD);
    cases.methods();
    cases.unreadable(504);
    captcha_rows(&mut cases, &body, 504, 503);
    for value in absent() {
        cases.solved(404, changed(&body, "key", &value));
        for name in ["name", "new_passwd", "email"] {
            cases.solved(501, changed(&body, name, &value));
        }
    }
    cases.solved(404, changed(&body, "key", &json!(KEY)));
    for (name, limit) in [("name", 64), ("email", 254), ("new_passwd", 1024)] {
        cases.solved(501, changed(&body, name, &json!("阿".repeat(limit + 1))));
    }
    cases.solved(501, changed(&body, "name", &json!("nobody")));
    cases.solved(501, changed(&body, "email", &json!("asuka@example.org")));
    assert_eq!(
        server.info(&token)["name"],
        "rei",
        "a refusal ends a session"
    );
    cases.solved(200, body.clone());
    assert_eq!(
        server
            .post("/api/user_info", &json!({"token": token}))
            .code(),
        403,
        "a token is still valid"
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
    let back = changed(&body, "new_passwd", &json!("a password"));
    cases.solved(200, back.clone());
    otp_rows(&mut cases, &back);

    let closed = Server::with(json!({"forgot_password_function_status": false}));
    let mut off = Cases::of(&closed, &contract::FORGET_PASSWORD);
    off.solved(403, body);
    off.solved(403, json!({}));
    cases.seen.extend(off.seen);
    cases.complete();
}

#[test]
fn weak_passwords_are_refused_if_the_settings_say_so() {
    let server = Server::with(json!({"min_password_length": 6, "refuse_common_passwords": true}));
    server.register("rei-ayanami");
    let mut registered = Cases::of(&server, &contract::REGISTERED);
    let mut update = Cases::of(&server, &contract::UPDATE_PASSWORD);
    let mut forget = Cases::of(&server, &contract::FORGET_PASSWORD);
    let change = json!({"username": "rei-ayanami", "old_passwd": "a password"});
    let reset = json!({"key": RESET, "name": "rei-ayanami", "email": "rei-ayanami@example.org"});
    for weak in ["阿巴阿巴阿", "123456", "PassWord", "Rei-Ayanami"] {
        let mut fresh = new_user("rei-ayanami");
        fresh["email"] = "other@example.org".into();
        registered.solved(603, changed(&fresh, "passwd", &json!(weak)));
        update.solved(404, changed(&change, "new_passwd", &json!(weak)));
        forget.solved(501, changed(&reset, "new_passwd", &json!(weak)));
    }
    // The policy does not apply to existing passwords.
    server.login("rei-ayanami");
    registered.solved(
        200,
        changed(&new_user("asuka"), "passwd", &json!("阿巴阿巴阿巴")),
    );
    update.solved(200, changed(&change, "new_passwd", &json!("another")));
    forget.solved(200, changed(&reset, "new_passwd", &json!("a third")));
}

#[test]
fn upload_avatar() {
    let server = Server::with(json!({"max_avatar_bytes": 60_000}));
    let token = server.user("rei");
    let mut cases = Cases::of(&server, &contract::UPLOAD_AVATAR);
    cases.methods();
    let good = picture(20_000);
    let whole = form("file", &good);
    let send = |headers: &[(&str, &str)], body: &[u8]| {
        server.send("POST", "/api/upload_avatar", headers, body)
    };
    let typed = ("Content-Type", FORM);
    cases.expect(404, send(&[typed], &whole));
    cases.expect(404, send(&[typed, ("token", "")], &whole));
    cases.expect(403, send(&[typed, ("token", "unknown")], &whole));
    let own = ("token", &*token);
    let kind = |kind| [own, ("Content-Type", kind)];
    let padded = |start: &[u8]| [start, &[b' '; 20_000]].concat();
    let mut large = good.clone();
    large[16..20].copy_from_slice(&20_000_u32.to_be_bytes());
    let checksum = crc32fast::hash(&large[12..29]).to_be_bytes();
    large[29..33].copy_from_slice(&checksum);
    for (headers, body, detail) in [
        (
            &[own][..],
            &whole[..],
            "the Content-Type is not multipart/form-data",
        ),
        (
            &kind("application/json"),
            b"{}",
            "the Content-Type is not multipart/form-data",
        ),
        (
            &kind("multipart/form-data"),
            &whole,
            "the Content-Type names no boundary",
        ),
        (
            &kind("multipart/form-data; boundary=other"),
            &whole,
            "the boundary that the Content-Type names is not in",
        ),
        (&[own, typed], b"", "the body is empty"),
        (
            &[own, typed],
            &whole[..whole.len() / 2],
            "the body ended after ",
        ),
        (
            &[own, typed],
            &form("picture", &good),
            "the form has no part named `file`",
        ),
        (
            &[own, typed],
            &form("file", &picture(61_000)),
            "the file is larger than the limit of 60000 bytes",
        ),
        (
            &[own, typed],
            &form("file", &padded(b"<svg>")),
            "the file is not a JPEG, PNG, GIF or WebP picture",
        ),
        (
            &[own, typed],
            &form("file", &padded(b"\0\0\0\x10ftypheic\0\0\0\0")),
            "the picture is in the format HEIC",
        ),
        (
            &[own, typed],
            &form("file", &padded(b"\0\0\0\x10ftypavif\0\0\0\0")),
            "the picture is in the format AVIF",
        ),
        (
            &[own, typed],
            &form("file", &large),
            "the picture has too many pixels",
        ),
        (
            &[own, typed],
            &form("file", &good[..15_000]),
            "the PNG is truncated",
        ),
    ] {
        let response = cases.expect(169, send(headers, body)).json();
        let found = response["detail"]
            .as_str()
            .unwrap_or_else(|| panic!("{detail}"));
        assert!(found.starts_with(detail), "{found}");
    }
    for file in [&b""[..], &[b'x'; 10_240]] {
        assert_eq!(
            cases
                .expect(603, server.upload(&token, file))
                .json()
                .get("detail"),
            None
        );
    }
    cases.expect(169, server.upload(&token, &[b'x'; 10_241]));
    assert_eq!(
        server.avatars(),
        Vec::<String>::new(),
        "a refusal leaves no file"
    );
    assert_eq!(server.info(&token)["avatar"], "admin.jpg");
    let response = cases.expect(200, server.upload(&token, &good));
    let name = response.json()["message"].as_str().unwrap().to_string();
    assert!(
        accountd::account::avatar::is_name(&name) && name.ends_with(".png"),
        "{name}"
    );
    assert_eq!(server.info(&token)["avatar"], *name);
    assert_eq!(server.avatars(), [name]);
    cases.complete();
}

#[test]
fn logout() {
    let server = Server::with(json!({"sessions_per_user": 9}));
    let token = server.user("rei");
    let body = json!({"token": token});
    let mut cases = Cases::of(&server, &contract::LOGOUT);
    token_rows(&mut cases, &body);
    cases.is(403, &json!({"token": "unknown", "everywhere": true}));
    assert_eq!(
        server.info(&token)["name"],
        "rei",
        "a refusal ends a session"
    );
    // Any value of `everywhere` except true ends one session.
    for everywhere in [
        json!(null),
        json!(false),
        json!("true"),
        json!(1),
        json!([true]),
        json!({"true": true}),
    ] {
        let other = server.login("rei");
        cases.is(
            200,
            &changed(&json!({"token": other}), "everywhere", &everywhere),
        );
        cases.is(403, &json!({"token": other}));
    }
    let others = [server.login("rei"), server.login("rei")];
    let elsewhere = server.user("asuka");
    cases.is(200, &body);
    assert_eq!(server.post("/api/user_info", &body).code(), 403);
    for token in &others {
        assert_eq!(server.info(token)["name"], "rei");
    }
    cases.is(200, &json!({"token": others[0], "everywhere": true}));
    for token in &others {
        assert_eq!(
            server
                .post("/api/user_info", &json!({"token": token}))
                .code(),
            403
        );
    }
    assert_eq!(server.info(&elsewhere)["name"], "asuka");
    cases.complete();
}

/// Turns on a second factor of the user with the id 1, with one recovery code, which is returned.
fn second_factor(server: &Server) -> &'static str {
    let db = server.database();
    db.execute("INSERT INTO totp VALUES (1, x'00', 1, 0)", [])
        .unwrap();
    let digest = accountd::crypto::sha256("abcdefghjkmn");
    db.execute("INSERT INTO recovery_codes VALUES (1, ?1)", [digest])
        .unwrap();
    "abcd-efgh-jkmn"
}

#[test]
fn sessions() {
    let server = Server::start();
    let token = server.user("rei");
    let body = json!({"token": token});
    let mut cases = Cases::of(&server, &contract::SESSIONS);
    token_rows(&mut cases, &body);
    let response = cases.is(200, &body).json();
    let one = &response["message"][0];
    let names: Vec<&str> = one.as_object().unwrap().keys().map(|key| &**key).collect();
    let mut expected = [
        "id",
        "opened",
        "seen",
        "source",
        "client",
        "current",
        "second_factor",
    ];
    expected.sort_unstable();
    let mut names = names;
    names.sort_unstable();
    assert_eq!(names, expected);
    assert_eq!(
        (&one["source"], &one["client"], &one["current"]),
        (&json!("127.0.0.1"), &json!("other"), &json!(true))
    );
    for end in absent() {
        cases.is(200, &changed(&body, "end", &end));
    }
    let code = second_factor(&server);
    cases.is(605, &body);
    cases.is(605, &changed(&body, "otp", &json!("bcde-fghj-kmnp")));
    cases.is(200, &changed(&body, "otp", &json!(code)));
    cases.is(200, &body);
    cases.complete();
}

#[test]
fn update_email() {
    let server = Server::start();
    let token = server.user("rei");
    server.register("asuka");
    let body = json!({"token": token, "passwd": "a password", "new_email": "new@example.org"});
    let mut cases = Cases::of(&server, &contract::UPDATE_EMAIL);
    token_rows(&mut cases, &body);
    for name in ["passwd", "new_email"] {
        cases.is(404, &without(&body, name));
        for value in absent() {
            cases.is(404, &changed(&body, name, &value));
        }
    }
    cases.is(404, &changed(&body, "new_email", &json!("阿".repeat(255))));
    cases.is(404, &changed(&body, "passwd", &json!("阿".repeat(1025))));
    cases.is(604, &changed(&body, "passwd", &json!("wrong")));
    cases.is(
        607,
        &changed(&body, "new_email", &json!("ASUKA@example.org")),
    );
    assert_eq!(server.info(&token)["email"], "rei@example.org");
    cases.is(200, &body);
    assert_eq!(server.info(&token)["email"], "new@example.org");
    cases.is(200, &changed(&body, "new_email", &json!("阿".repeat(254))));
    let code = second_factor(&server);
    cases.is(605, &body);
    cases.is(605, &changed(&body, "otp", &json!("bcde-fghj-kmnp")));
    cases.is(200, &changed(&body, "otp", &json!(code)));
    cases.complete();
}

#[test]
fn delete_account() {
    let server = Server::start();
    let token = server.user("rei");
    let other = server.user("asuka");
    let body = json!({"token": token, "passwd": "a password"});
    let mut cases = Cases::of(&server, &contract::DELETE_ACCOUNT);
    token_rows(&mut cases, &body);
    cases.is(404, &without(&body, "passwd"));
    for value in absent() {
        cases.is(404, &changed(&body, "passwd", &value));
    }
    cases.is(404, &changed(&body, "passwd", &json!("阿".repeat(1025))));
    cases.is(604, &changed(&body, "passwd", &json!("wrong")));
    let code = second_factor(&server);
    cases.is(605, &body);
    assert_eq!(server.info(&token)["name"], "rei");
    cases.is(200, &changed(&body, "otp", &json!(code)));
    cases.is(403, &body);
    assert_eq!(server.info(&other)["name"], "asuka");
    let log_in = json!({"username": "rei", "passwd": "a password"});
    assert_eq!(server.post_solved("/api/login", log_in).code(), 604);
    // Name and email are free again.
    server.user("rei");
    cases.complete();
}

#[test]
fn health() {
    let server = Server::start();
    let mut cases = Cases::of(&server, &contract::HEALTH);
    cases.methods();
    for path in ["/health", "/health/", "/health?a=b"] {
        let response = cases.expect(200, server.send("GET", path, &[], b""));
        assert_eq!(response.text(), r#"{"message":"ok","code":200}"#);
    }
    cases.complete();
    server
        .database()
        .execute_batch("ALTER TABLE users RENAME TO hidden")
        .unwrap();
    let response = server.send("GET", "/health", &[], b"");
    assert_eq!((response.status, response.code()), (500, 169));
    assert_eq!(
        response.json().get("detail"),
        None,
        "GET has no body that could be wrong"
    );
    server.lines.wait("error /health: no such table");
}

#[test]
fn get_verification_code() {
    let server = Server::start();
    let mut cases = Cases::of(&server, &GET_VERIFICATION_CODE);
    cases.methods();
    let mut keys = BTreeSet::new();
    for path in [
        "/api/get_verification_code",
        "/api/get_verification_code/",
        "/api/get_verification_code/?t=1",
    ] {
        let response = server.send("GET", path, &[], b"");
        assert_eq!(response.status, 200);
        for (name, value) in [
            ("Content-Type", "image/png"),
            ("Cache-Control", "no-store"),
            ("Cross-Origin-Resource-Policy", "cross-origin"),
            (
                "Access-Control-Expose-Headers",
                "VerificationCodeKey, Retry-After",
            ),
            ("Access-Control-Allow-Origin", "*"),
        ] {
            assert_eq!(response.header(name), Some(value));
        }
        let key = response.header("VerificationCodeKey").unwrap();
        assert!(
            key.len() == 250 && key.bytes().all(|byte| byte.is_ascii_alphanumeric()),
            "{key}"
        );
        assert!(keys.insert(key.to_string()));
        let decoder = png::Decoder::new(std::io::Cursor::new(&response.body));
        let info = decoder.read_info().unwrap();
        assert_eq!((info.info().width, info.info().height), (160, 60));
    }
    cases.seen.insert(200);
    cases.complete();
}

/// What wire.rs and the tests of src/server/head.rs leave out.
#[test]
fn unusual_requests_get_one_response_and_no_interim_one() {
    let server = Server::start();
    let token = server.user("rei");
    let body = json!({"token": token}).to_string();
    let length = format!("Content-Length: {}\r\n", body.len());
    let chunks = format!("{:x};a=b\r\n{body}\r\n0\r\nX-Sum: abc\r\n\r\n", body.len());
    let chunked = "Transfer-Encoding: chunked\r\n";
    let h2c = "Connection: close, Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n";
    let user_info = |version: &str, headers: &[&str], body: &str| {
        format!(
            "POST /api/user_info HTTP/{version}\r\nHost: a\r\n{}\r\n{body}",
            headers.concat()
        )
    };
    let close = "Connection: close\r\n";
    for (what, raw, status, code) in [
        (
            "chunks with an extension and a trailer",
            user_info("1.1", &[chunked, close], &chunks),
            200,
            200,
        ),
        (
            "an upgrade to h2c with a trailer",
            user_info("1.1", &[chunked, h2c], &chunks),
            200,
            200,
        ),
        (
            "HTTP/1.0 with a length",
            user_info("1.0", &[&length], &body),
            200,
            200,
        ),
        (
            "HTTP/1.0 with Expect",
            user_info("1.0", &[&length, "Expect: 100-continue\r\n"], &body),
            200,
            200,
        ),
        (
            "Expect with an upload that is refused by its head",
            format!(
                "POST /api/upload_avatar HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n{length}{close}\r\n"
            ),
            200,
            404,
        ),
        (
            "an unknown version",
            user_info("1.2", &[&length], &body),
            400,
            400,
        ),
        (
            "a first header that begins with a space",
            "GET /health HTTP/1.1\r\n X: y\r\nHost: a\r\n\r\n".into(),
            400,
            400,
        ),
    ] {
        let mut stream = server.connect();
        stream.write_all(raw.as_bytes()).unwrap();
        let mut all = Vec::new();
        stream.read_to_end(&mut all).unwrap();
        let text = String::from_utf8(all.clone()).unwrap();
        assert_eq!(text.matches("HTTP/1.1 ").count(), 1, "{what}: {text}");
        let response = Response::read(&mut &*all, false);
        assert_eq!((response.status, response.code()), (status, code), "{what}");
        assert_eq!(response.header("X-Content-Type-Options"), Some("nosniff"));
        assert_eq!(response.header("Access-Control-Allow-Origin"), Some("*"));
    }
}
