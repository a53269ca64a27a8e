//! The contract's table as an OpenAPI 3.1 document, for generating clients. build.rs writes it; no
//! part of this is in the program.

mod forward_auth;
mod interface;

use crate::contract::{
    ADDITIONS, AVATARS, Answer, DEFAULT_AVATAR, DOCUMENT, Endpoint, FORWARD_AUTH, OPENAPI, OUTSIDE,
    outside,
};
use serde_json::{Map, Value, json};

const ABOUT: &str = "Every interface answers with HTTP status 200 and an object of `message` and `code`. `code` is the \
     result, and its `description` names the causes in English. Other HTTP statuses are about HTTP itself or a server \
     fault. Each path works with and without a trailing slash. The Content-Type of a JSON body does not matter, and \
     unknown members are ignored. A captcha can be answered once, right or wrong. Pages of other origins may use the \
     API (CORS).";

/// The document (<https://spec.openapis.org/oas/v3.1.1>).
pub fn document() -> Value {
    let path = |tag: &'static str| {
        move |endpoint: &&Endpoint| (endpoint.path.to_string(), interface::path(endpoint, tag))
    };
    let mut paths: Map<String, Value> = DOCUMENT
        .iter()
        .map(path("document"))
        .chain(ADDITIONS.iter().map(path("additions")))
        .collect();
    let kinds = ["image/jpeg", "image/png", "image/gif", "image/webp"];
    let mut avatar = file("avatar", "A picture", &kinds, &bytes());
    avatar["parameters"] = json!([{
        "name": "name", "in": "path", "required": true, "schema": {"type": "string"}, "example": DEFAULT_AVATAR,
        "description": "The name that `upload_avatar` and `user_info` return.",
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
    paths.insert(FORWARD_AUTH.path.into(), forward_auth::path());
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
            {"name": "additions", "description": "Interfaces and files that are not in the document."},
        ],
        "paths": paths,
        "components": {"responses": responses},
    })
}

/// The path of a file that GET serves, with one of these media types.
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
            "304": {"description": "The client's copy, named in `If-None-Match`, is current.", "headers": headers},
        },
    });
    for status in [400, 413, 503] {
        file["responses"][status.to_string()] = http_answer(status);
    }
    file
}

/// A reference to an answer about HTTP itself.
fn http_answer(status: u16) -> Value {
    json!({"$ref": format!("#/components/responses/{}", component(status))})
}

/// The name of an answer about HTTP itself, under `components`.
fn component(status: u16) -> String {
    format!("HTTP{status}")
}

fn about_http(status: u16) -> Value {
    let mut response = fixed_answer(&outside(status), "About HTTP itself.");
    if status == 429 {
        response["headers"]["Retry-After"] = json!({"description": "Seconds to wait.", "required": true, "schema": {"type": "integer", "minimum": 0}});
    }
    response
}

/// A response with a fixed answer.
fn fixed_answer(answer: &Answer, description: &str) -> Value {
    let json: Value = serde_json::from_str(&answer.json).expect("an answer is JSON");
    let message = json!({"type": "string", "const": json["message"]});
    let schema = answer_schema(
        &format!("HTTP {}", answer.status),
        description,
        answer.code,
        &message,
    );
    json!({"description": description, "content": {"application/json": {"schema": schema}}})
}

/// The schema of a JSON answer. Generators name its type after the title.
fn answer_schema(title: &str, description: &str, code: u16, message: &Value) -> Value {
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
