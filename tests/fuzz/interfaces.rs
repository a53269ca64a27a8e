//! A body into each interface: the first byte says which.
#![no_main]

mod stage;

use accountd::contract::DOCUMENT;
use accountd::http::Request;
use libfuzzer_sys::fuzz_target;
use stage::{Stage, TOKEN};
use std::cell::RefCell;

thread_local!(static STAGE: RefCell<Stage> = RefCell::new(Stage::new()));

fuzz_target!(|data: &[u8]| {
    let Some((which, body)) = data.split_first() else { return };
    let endpoint = DOCUMENT[usize::from(*which) % DOCUMENT.len()];
    let request = Request {
        method: endpoint.method.into(),
        path: endpoint.path.into(),
        token: TOKEN.into(),
        content_type: "multipart/form-data; boundary=XX".into(),
        ..Request::default()
    };
    STAGE.with_borrow_mut(|stage| stage.answer(request, body));
});
