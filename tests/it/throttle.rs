//! What one client may take from the others: guesses, captchas, changes.

use crate::support::{CAPTCHA, Response, Server, new_user};
use serde_json::{Value, json};

/// A server that slows guesses down, and believes each request's `X-Forwarded-For`.
fn strict(more: Value) -> Server {
    let mut settings = json!({"throttle": true, "trusted_proxies": ["127.0.0.1"]});
    settings.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    Server::with(settings)
}

/// The key of a captcha that is fetched from this address.
fn captcha(server: &Server, from: &str) -> String {
    let response = server.send("GET", "/api/get_verification_code", &[("X-Forwarded-For", from)], b"");
    response.header("VerificationCodeKey").expect("a key").to_string()
}

/// Posts from this address with this captcha.
fn post(server: &Server, from: &str, path: &str, mut body: Value, captcha: &str) -> Response {
    body["verification_code_key"] = captcha.into();
    body["verification_code"] = CAPTCHA.into();
    server.send("POST", path, &[("X-Forwarded-For", from)], body.to_string().as_bytes())
}

#[test]
fn a_flood_of_captchas_evicts_its_own() {
    let server = strict(json!({"max_captchas": 40}));
    let honest = captcha(&server, "192.0.2.1");
    let flood: Vec<String> = (0..200).map(|nth| captcha(&server, &format!("2001:db8:0:{nth:x}::1"))).collect();
    assert_eq!(post(&server, "192.0.2.1", "/api/registered", new_user("rei"), &honest).code(), 200);
    assert_eq!(post(&server, "192.0.2.1", "/api/registered", new_user("asuka"), &flood[0]).code(), 504);
    assert_eq!(post(&server, "192.0.2.1", "/api/registered", new_user("asuka"), &flood[199]).code(), 200);
}
