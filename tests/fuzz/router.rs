//! A method and a request target: the first byte says which method, the rest is the target.
#![no_main]

mod stage;

use accountd::http::{self, Headers, Request};
use libfuzzer_sys::fuzz_target;
use stage::{Stage, endpoint};
use std::cell::RefCell;

const METHODS: [&str; 7] = ["GET", "POST", "HEAD", "OPTIONS", "PUT", "DELETE", "get"];

thread_local!(static STAGE: RefCell<Stage> = RefCell::new(Stage::new()));

fuzz_target!(|data: &[u8]| {
    let Some((which, target)) = data.split_first() else {
        return;
    };
    let Ok(target) = std::str::from_utf8(target) else {
        return;
    };
    let method = METHODS[usize::from(*which) % METHODS.len()];
    let path = http::path(target).to_string();
    let preflight = method == "OPTIONS" && which & 0x80 != 0;
    let known = endpoint(&path).is_some();
    let is_file =
        matches!(&*path, "/s/admin.jpg" | "/openapi.json" | "/") || path.starts_with("/page/");
    let is_redirect = path == "/.well-known/change-password";
    let is_file = (is_file || is_redirect) && matches!(method, "GET" | "HEAD");
    let mut headers = Headers::default();
    headers.preflight = preflight;
    let request = Request {
        method: method.into(),
        path: path.clone(),
        headers,
        ..Request::default()
    };
    let (status, _) = STAGE.with_borrow_mut(|stage| stage.answer(request, b"{}"));
    let expected = match status {
        200 => known || is_file,
        303 => is_redirect && is_file,
        401 | 403 => accountd::api::is_forward_auth(&path),
        204 => method == "OPTIONS" && (preflight || matches!(&*path, "/" | "*")),
        404 => !known && (!is_file || path.starts_with("/page/")),
        _ => false,
    };
    assert!(expected, "{method} {path:?}: {status}");
});
