//! `/openapi.json`: the table of the contract as an OpenAPI 3.1 document, for whoever makes a
//! client from it.

mod interface;

use crate::account::avatar;
use crate::account::image::Kind;
use crate::contract::{ADDITIONS, AVATARS, Answer, DOCUMENT, Endpoint, OPENAPI, OUTSIDE, outside};
use crate::http::{self, Body, Reply};
use serde_json::{Map, Value, json};
use std::sync::LazyLock;

const ABOUT: &str = "Every interface answers with HTTP status 200 and an object of `message` and `code`; `code` is the \
     number to look at, and `description` says in English what leads to it. Other HTTP statuses are about HTTP itself, or \
     a fault of the server. Each path works with and without a last slash. The Content-Type of a JSON body does not matter, \
     and members that nobody asked for are ignored. A captcha can be answered once, right or wrong. Browsers of other \
     origins may use it all (CORS).";

/// The text, and its `ETag`.
static FILE: LazyLock<(String, String)> = LazyLock::new(|| {
    let text = document().to_string();
    let tag = http::etag(&text);
    (text, tag)
});

/// The document as it is sent.
pub fn serve(if_none_match: &str) -> Reply {
    let (text, tag) = &*FILE;
    let headers = vec![
        ("Content-Type", "application/json".into()),
        ("ETag", (&**tag).into()),
        ("Cache-Control", "no-cache".into()),
    ];
    if http::etag_matches(if_none_match, tag) {
        return Reply::empty(304, headers);
    }
    Reply {
        status: 200,
        code: None,
        headers,
        body: Body::Bytes(text.as_bytes().into()),
    }
}

/// The document (<https://spec.openapis.org/oas/v3.1.1>).
pub fn document() -> Value {
    let of = |tag: &'static str| {
        move |endpoint: &&Endpoint| (endpoint.path.to_string(), interface::path(endpoint, tag))
    };
    let mut paths: Map<String, Value> = DOCUMENT
        .iter()
        .map(of("document"))
        .chain(ADDITIONS.iter().map(of("additions")))
        .collect();
    let kinds = [Kind::Jpeg, Kind::Png, Kind::Gif, Kind::WebP].map(Kind::content_type);
    let mut avatar = file("avatar", "A picture", &kinds, &bytes());
    avatar["parameters"] = json!([{
        "name": "name", "in": "path", "required": true, "schema": {"type": "string"}, "example": avatar::DEFAULT,
        "description": "As `upload_avatar` and `user_info` say it.",
    }]);
    avatar["responses"]["404"] = http_answer(404);
    paths.insert(format!("{AVATARS}{{name}}"), json!({"get": avatar}));
    let this = file(
        "openapi",
        "This document",
        &["application/json"],
        &json!({"type": "object"}),
    );
    paths.insert(OPENAPI.into(), json!({"get": this}));
    let responses: Map<String, Value> = OUTSIDE
        .iter()
        .map(|(status, _)| (component(*status), about_http(*status)))
        .collect();
    json!({
        "openapi": "3.1.1",
        "info": {
            "title": env!("CARGO_PKG_NAME"),
            "summary": env!("CARGO_PKG_DESCRIPTION"),
            "description": ABOUT,
            "version": env!("CARGO_PKG_VERSION"),
            "license": {"name": env!("CARGO_PKG_LICENSE"), "identifier": env!("CARGO_PKG_LICENSE")},
        },
        "servers": [{"url": "/"}],
        "tags": [
            {"name": "document", "description": "The eight interfaces of the interface document."},
            {"name": "additions", "description": "What is beside the document."},
        ],
        "paths": paths,
        "components": {"responses": responses},
    })
}

/// A file that GET gets, of one of these types.
fn file(name: &str, summary: &str, types: &[&str], schema: &Value) -> Value {
    let content: Map<String, Value> = types
        .iter()
        .map(|kind| (kind.to_string(), json!({"schema": schema})))
        .collect();
    let headers = json!({"ETag": {"required": true, "schema": {"type": "string"}}});
    let mut file = json!({
        "operationId": name,
        "summary": summary,
        "tags": ["additions"],
        "responses": {
            "200": {"description": summary, "headers": headers, "content": content},
            "304": {"description": "It is the one that `If-None-Match` names.", "headers": headers},
        },
    });
    for status in [400, 413, 503] {
        file["responses"][status.to_string()] = http_answer(status);
    }
    file
}

/// Points to an answer about HTTP itself.
fn http_answer(status: u16) -> Value {
    json!({"$ref": format!("#/components/responses/{}", component(status))})
}

/// The name of an answer about HTTP itself, under `components`.
fn component(status: u16) -> String {
    format!("HTTP{status}")
}

fn about_http(status: u16) -> Value {
    let mut response = always(&outside(status), "About HTTP itself.");
    if status == 429 {
        response["headers"]["Retry-After"] = json!({"description": "Seconds.", "required": true, "schema": {"type": "integer", "minimum": 0}});
    }
    response
}

/// A response that is the same whoever gets it.
fn always(of: &Answer, description: &str) -> Value {
    let json: Value = serde_json::from_str(&of.json).expect("an answer is JSON");
    let message = json!({"type": "string", "const": json["message"]});
    let schema = object(
        &format!("HTTP {}", of.status),
        description,
        of.code,
        &message,
    );
    json!({"description": description, "content": {"application/json": {"schema": schema}}})
}

/// The object that every answer in JSON is; generators call its type by the title.
fn object(title: &str, description: &str, code: u16, message: &Value) -> Value {
    json!({
        "title": title,
        "description": description,
        "type": "object",
        "required": ["message", "code"],
        "properties": {"message": message, "code": {"type": "integer", "const": code}},
        "additionalProperties": false,
    })
}

fn bytes() -> Value {
    json!({"type": "string", "format": "binary"})
}
