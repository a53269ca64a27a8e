//! One interface of the table as a path of the document: what it takes, and every answer that it
//! has.

use super::{always, bytes, http_answer, object};
use crate::contract::{self, AVATARS, CAPTCHA, Endpoint, No, OUTSIDE, Row, TOO_SMALL, Token};
use serde_json::{Map, Value, json};

/// What each interface does.
const SUMMARIES: [(&Endpoint, &str); 11] = [
    (&contract::REGISTERED, "A new account"),
    (&contract::LOGIN, "A new session"),
    (&contract::USER_INFO, "The account"),
    (
        &contract::UPDATE_PASSWORD,
        "Another password; ends every session",
    ),
    (&contract::UPDATE_SHOW_NAME, "Another display name"),
    (&contract::UPDATE_KEY, "A fresh user key"),
    (
        &contract::FORGET_PASSWORD,
        "A password for one that is forgotten; ends every session",
    ),
    (&contract::UPLOAD_AVATAR, "A new picture"),
    (&contract::GET_VERIFICATION_CODE, "A captcha"),
    (
        &contract::LOGOUT,
        "The end of a session or, with `everywhere`, of all of the user's",
    ),
    (
        &contract::HEALTH,
        "Whether requests are answered and the database can be asked",
    ),
];

/// What the document says of an interface's path.
pub(super) fn path(endpoint: &Endpoint, tag: &str) -> Value {
    let summary = SUMMARIES
        .iter()
        .find(|(one, _)| one.path == endpoint.path)
        .map(|(_, summary)| summary);
    let mut operation = json!({
        "operationId": endpoint.name(),
        "summary": summary,
        "tags": [tag],
        "responses": responses(endpoint),
    });
    if endpoint.token == Token::Header {
        operation["parameters"] =
            json!([{"name": "token", "in": "header", "required": true, "schema": token()}]);
    }
    if endpoint.method == "POST" {
        operation["requestBody"] = json!({"required": true, "content": body(endpoint)});
    }
    json!({endpoint.method.to_ascii_lowercase(): operation})
}

fn body(endpoint: &Endpoint) -> Value {
    if endpoint.path == contract::UPLOAD_AVATAR.path {
        let mut file = bytes();
        file["description"] =
            format!("A JPEG, PNG, GIF or WebP of more than {TOO_SMALL} bytes.").into();
        let schema = json!({"type": "object", "required": ["file"], "properties": {"file": file}});
        return json!({"multipart/form-data": {"schema": schema}});
    }
    let field = |field: &contract::Field| {
        (
            field.name.to_string(),
            json!({"type": "string", "minLength": 1, "maxLength": field.limit}),
        )
    };
    let mut members: Map<String, Value> = endpoint.fields.iter().map(field).collect();
    if endpoint.captcha {
        let [key, answer] = CAPTCHA;
        members.insert(
            key.into(),
            text("The header `VerificationCodeKey` of a captcha."),
        );
        members.insert(
            answer.into(),
            text("What the captcha shows, in large or small letters."),
        );
    }
    if endpoint.token == Token::Body {
        members.insert("token".into(), token());
    }
    let required: Vec<String> = members.keys().cloned().collect();
    if endpoint.path == contract::LOGOUT.path {
        members.insert(
            "everywhere".into(),
            json!({"type": "boolean", "default": false}),
        );
    }
    json!({"application/json": {"schema": {"type": "object", "required": required, "properties": members}}})
}

fn responses(endpoint: &Endpoint) -> Value {
    let mut rows: Vec<Value> = endpoint
        .refusals
        .iter()
        .map(|row| refusal(endpoint, row))
        .collect();
    let mut answers = json!({"description": "What came of it: see `code`."});
    if endpoint.path == contract::GET_VERIFICATION_CODE.path {
        answers["content"]["image/png"]["schema"] = bytes();
        answers["headers"]["VerificationCodeKey"] = json!({
            "description": "Names the captcha when it is answered; comes with the picture.",
            "schema": letters(contract::CAPTCHA_KEY_LENGTH),
        });
    } else {
        rows.insert(
            0,
            object(
                &title(endpoint, endpoint.done.code),
                "done",
                endpoint.done.code,
                &value(endpoint),
            ),
        );
    }
    answers["content"]["application/json"]["schema"]["oneOf"] = rows.into();
    let mut responses = json!({"200": answers});
    // Guesses are slowed down, and captchas, accounts and whatever is changed with a token have a
    // budget.
    let changes = endpoint.token != Token::None && endpoint.path != contract::USER_INFO.path;
    let throttled =
        endpoint.captcha || changes || endpoint.path == contract::GET_VERIFICATION_CODE.path;
    for (status, _) in OUTSIDE
        .into_iter()
        .filter(|(status, _)| *status != 404 && (*status != 429 || throttled))
    {
        responses[status.to_string()] = http_answer(status);
    }
    for reason in [No::NotAsked, No::NotWritten, No::Crashed] {
        let fault = endpoint.refusal(reason, None);
        if fault.status != 200 {
            responses[fault.status.to_string()] =
                always(&fault, "A fault of the server; its log says why.");
        }
    }
    responses
}

/// What stands in `message` of an answer with code 200.
fn value(endpoint: &Endpoint) -> Value {
    match endpoint.path {
        path if path == contract::LOGIN.path => token(),
        path if path == contract::UPLOAD_AVATAR.path => {
            text(&format!("The picture's name under `{AVATARS}`."))
        }
        path if path == contract::USER_INFO.path => {
            let member = |name: &str| (name.to_string(), json!({"type": "string"}));
            let mut members: Map<String, Value> =
                ["key", "name", "token", "show_name", "email", "avatar"]
                    .map(member)
                    .into_iter()
                    .collect();
            members.insert("id".into(), json!({"type": "integer", "format": "int64"}));
            let required: Vec<String> = members.keys().cloned().collect();
            json!({"type": "object", "required": required, "properties": members, "additionalProperties": false})
        }
        _ => json!({"type": "string", "const": endpoint.done.message}),
    }
}

fn refusal(endpoint: &Endpoint, row: &Row) -> Value {
    let reasons: Vec<String> = row.reasons.iter().map(|reason| words(*reason)).collect();
    let message = json!({"type": "string", "const": row.message});
    let mut schema = object(
        &title(endpoint, row.code),
        &reasons.join(", or "),
        row.code,
        &message,
    );
    // What a body that can't be read leads to.
    let unreadable = [No::BodyUnreadable, No::CaptchaAbsent, No::TokenAbsent];
    let json = endpoint.method == "POST" && endpoint.token != Token::Header;
    if json && row.reasons.iter().any(|reason| unreadable.contains(reason)) {
        schema["properties"]["detail"] = text("What was wrong with a body that can't be read.");
    }
    if row.reasons.contains(&No::FileUnusable) {
        let told = "What was wrong with the form or the picture, and sometimes what to do. A fault of the server has none.";
        schema["properties"]["detail"] = text(told);
    }
    schema
}

/// A reason in words: `CaptchaWrong` is "captcha wrong".
fn words(reason: No) -> String {
    let mut words = String::new();
    for letter in format!("{reason:?}").chars() {
        if letter.is_ascii_uppercase() && !words.is_empty() {
            words.push(' ');
        }
        words.push(letter.to_ascii_lowercase());
    }
    words
}

fn title(endpoint: &Endpoint, code: u16) -> String {
    format!("{} {code}", endpoint.name())
}

fn text(description: &str) -> Value {
    json!({"type": "string", "minLength": 1, "description": description})
}

fn token() -> Value {
    letters(contract::TOKEN_LENGTH)
}

fn letters(count: usize) -> Value {
    json!({"type": "string", "pattern": format!("^[A-Za-z0-9]{{{count}}}$")})
}
