//! Forward auth over a socket: the cookie of a log-in, the questions of proxies, and their
//! redirects.

use crate::support::{CAPTCHA, Response, Server};
use serde_json::json;

const PASSWORD: &str = "a password";
const HTML: (&str, &str) = ("Accept", "text/html");

fn log_in(server: &Server, headers: &[(&str, &str)], flags: &str) -> Response {
    let key = server.captcha();
    let body = format!(
        r#"{{"username":"rei","passwd":"{PASSWORD}","verification_code_key":"{key}","verification_code":"{CAPTCHA}"{flags}}}"#
    );
    server.send("POST", "/api/login", headers, body.as_bytes())
}

fn ask(server: &Server, method: &str, target: &str, headers: &[(&str, &str)]) -> Response {
    server.send(method, target, headers, b"")
}

#[test]
fn a_browser_signs_in_once_and_its_requests_pass_until_it_logs_out() {
    let server = Server::with(json!({
        "trusted_proxies": ["127.0.0.1"],
        "public_url": "https://accounts.example.org",
        "cookie_domain": "example.org",
    }));
    server.register("rei");
    let original = [
        ("X-Forwarded-Method", "GET"),
        ("X-Forwarded-Proto", "https"),
        ("X-Forwarded-Host", "wiki.example.org"),
        ("X-Forwarded-Uri", "/page?a=b"),
        HTML,
    ];
    let refused = ask(&server, "GET", "/api/forward_auth/", &original);
    let page = "https://accounts.example.org/#return=https%3A%2F%2Fwiki.example.org%2Fpage%3Fa%3Db";
    assert_eq!(
        (refused.status, refused.header("Location")),
        (303, Some(page))
    );

    let own = ("Origin", "https://accounts.example.org");
    let answer = log_in(&server, &[own], r#","cookie":true,"remember":true"#);
    let token = answer.json()["message"].as_str().unwrap().to_string();
    let expected = format!(
        "accountd={token}; Path=/; HttpOnly; SameSite=Lax; Secure; Domain=example.org; Max-Age=86400"
    );
    assert_eq!(answer.header("Set-Cookie"), Some(&*expected));
    let cookie = format!("theme=dark; accountd={token}");
    for method in ["GET", "POST", "OPTIONS", "PUT", "HEAD"] {
        let headers = [
            ("Cookie", &*cookie),
            ("Access-Control-Request-Method", "GET"),
        ];
        let passed = ask(&server, method, "/api/forward_auth?", &headers);
        assert_eq!(
            (passed.status, passed.header("Remote-User")),
            (200, Some("rei")),
            "{method}"
        );
        assert_eq!(passed.header("Remote-Groups"), Some(""), "{method}");
        assert_eq!(passed.header("Cache-Control"), Some("no-store"), "{method}");
    }
    let headers = [("Cookie", &*cookie), HTML];
    let forbidden = ask(&server, "GET", "/api/forward_auth/?group=admins", &headers);
    assert_eq!(forbidden.status, 403);
    assert!(forbidden.text().contains("<b>admins</b>"));
    let unknown = ask(&server, "GET", "/api/forward_auth/?groop=admins", &headers);
    assert_eq!(unknown.status, 403);
    server.lines.wait("groop");

    let body = json!({"token": token}).to_string();
    let out = server.send(
        "POST",
        "/api/logout",
        &[("Cookie", &cookie)],
        body.as_bytes(),
    );
    assert!(
        out.header("Set-Cookie")
            .is_some_and(|value| value.contains("Max-Age=0"))
    );
    let replayed = ask(&server, "GET", "/api/forward_auth/", &[("Cookie", &cookie)]);
    assert_eq!(replayed.status, 401);
    assert!(!server.lines.all().iter().any(|line| line.contains(&token)));
}

#[test]
fn a_log_in_sets_no_cookie_for_existing_clients_and_for_other_pages() {
    let server = Server::start();
    server.register("rei");
    for (origin, flags) in [
        ("http://evil.example", r#","cookie":true"#),
        ("null", r#","cookie":true"#),
        ("", ""),
        ("", r#","cookie":"true""#),
    ] {
        let headers = [("Origin", origin)];
        let headers = if origin.is_empty() { &[][..] } else { &headers };
        let answer = log_in(&server, headers, flags);
        assert_eq!(answer.json()["code"], 200, "{origin}");
        assert_eq!(answer.header("Set-Cookie"), None, "{origin} {flags}");
    }
    let answer = log_in(
        &server,
        &[("Origin", "http://localhost")],
        r#","cookie":true"#,
    );
    let cookie = answer.header("Set-Cookie").unwrap();
    assert!(
        cookie.ends_with("; Path=/; HttpOnly; SameSite=Lax"),
        "{cookie}"
    );
}

#[test]
fn headers_about_the_original_request_count_only_from_a_trusted_proxy() {
    let server = Server::with(json!({
        "public_url": "https://accounts.example.org",
        "cookie_domain": "example.org",
    }));
    let forged = [
        ("X-Forwarded-Proto", "https"),
        ("X-Forwarded-Host", "wiki.example.org"),
        ("X-Forwarded-Uri", "/"),
        ("X-Original-URL", "https://wiki.example.org/"),
        ("Remote-User", "admin"),
        HTML,
    ];
    let refused = ask(&server, "GET", "/api/forward_auth/", &forged);
    assert_eq!((refused.status, refused.header("Location")), (401, None));
    assert_eq!(refused.header("WWW-Authenticate"), None);
    let program = ask(&server, "PROPFIND", "/api/forward_auth/", &[]);
    assert!(
        program
            .header("WWW-Authenticate")
            .is_some_and(|value| value.starts_with("Basic "))
    );
}

#[test]
fn a_head_with_too_many_cookies_is_refused() {
    let server = Server::start();
    let cookies = format!("accountd={}", "a".repeat(100_000));
    let answer = ask(
        &server,
        "GET",
        "/api/forward_auth/",
        &[("Cookie", &cookies)],
    );
    assert_eq!(answer.status, 400);
}
