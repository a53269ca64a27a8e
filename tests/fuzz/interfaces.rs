//! A body into each interface that takes one: the first byte says which, as a digit.
#![no_main]

mod stage;

use accountd::contract::{DOCUMENT, LINK_INFO, LOGOUT};
use accountd::http::{Headers, Request};
use libfuzzer_sys::fuzz_target;
use stage::{Stage, TOKEN};
use std::cell::RefCell;

thread_local!(static STAGE: RefCell<Stage> = RefCell::new(Stage::new()));

fuzz_target!(|data: &[u8]| {
    let Some((which, body)) = data.split_first() else {
        return;
    };
    let mut all = DOCUMENT.into_iter().chain([&LOGOUT, &LINK_INFO]);
    let which = usize::from(which.wrapping_sub(b'0')) % (DOCUMENT.len() + 2);
    let endpoint = all.nth(which).unwrap_or(&LOGOUT);
    let mut headers = Headers::default();
    headers.token = TOKEN.into();
    headers.content_type = "multipart/form-data; boundary=XX".into();
    let request = Request {
        method: endpoint.method.into(),
        path: endpoint.path.into(),
        headers,
        ..Request::default()
    };
    STAGE.with_borrow_mut(|stage| stage.answer(request, body));
});
