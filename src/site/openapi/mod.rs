//! `/openapi.json`: a document about the interfaces, for generating clients.
//!
//! build.rs makes it from the contract's table by `document.rs`, so that the program carries the
//! compressed text alone.

use super::file::{CHECKED, File};
use crate::contract::OPENAPI;
use crate::http::encoding::decompress;
use crate::http::{Headers, Reply};
use std::sync::LazyLock;

const DOCUMENT: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/openapi.json.gz"));

static FILE: LazyLock<File> =
    LazyLock::new(|| File::new(OPENAPI, "application/json", CHECKED, DOCUMENT.into()));

/// The reply to `GET /openapi.json`.
pub fn serve(request: &Headers) -> Reply {
    FILE.serve(request)
}

/// The document (<https://spec.openapis.org/oas/v3.1.1>).
pub fn document() -> serde_json::Value {
    serde_json::from_slice(&decompress(DOCUMENT)).expect("build.rs writes JSON")
}
