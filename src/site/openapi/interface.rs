//! One endpoint of the table as a path of the document: its request and all its answers.

use super::{answer_schema, bytes, fixed_answer, http_answer};
use crate::contract::{
    self, AVATARS, CAPTCHA, Cost, Endpoint, Reason, Row, TOO_SMALL, Token, Value as ValueKind,
};
use serde_json::{Map, Value, json};

/// The path item of an endpoint.
pub(super) fn path(endpoint: &Endpoint, tag: &str) -> Value {
    let mut operation = json!({
        "operationId": endpoint.name(),
        "summary": endpoint.summary,
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
    if endpoint.cost == Cost::Upload {
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
    let optional: Vec<_> = endpoint.optional.iter().map(field).collect();
    if endpoint.captcha {
        let [key, answer] = CAPTCHA;
        members.insert(
            key.into(),
            text("The header `VerificationCodeKey` of the captcha."),
        );
        members.insert(
            answer.into(),
            text("The characters that the captcha shows, in upper or lower case."),
        );
    }
    if endpoint.token == Token::Body {
        members.insert("token".into(), token());
    }
    let required: Vec<String> = members.keys().cloned().collect();
    members.extend(optional);
    for flag in endpoint.flags {
        let schema = json!({"type": "boolean", "default": false});
        members.insert(flag.to_string(), schema);
    }
    json!({"application/json": {"schema": {"type": "object", "required": required, "properties": members}}})
}

fn responses(endpoint: &Endpoint) -> Value {
    let mut rows: Vec<Value> = endpoint
        .refusals
        .iter()
        .map(|row| refusal(endpoint, row))
        .collect();
    let mut answers = json!({"description": "The result: see `code`."});
    if endpoint.value == ValueKind::Captcha {
        answers["content"]["image/png"]["schema"] = bytes();
        answers["headers"]["VerificationCodeKey"] = json!({
            "description": "Identifies the captcha in `verification_code_key`. It is sent with the picture.",
            "schema": alphanumeric(contract::CAPTCHA_KEY_LENGTH),
        });
    } else {
        rows.insert(
            0,
            answer_schema(
                &title(endpoint, endpoint.success.code),
                "success",
                endpoint.success.code,
                &value(endpoint),
            ),
        );
    }
    answers["content"]["application/json"]["schema"]["oneOf"] = rows.into();
    let mut responses = json!({"200": answers});
    let throttled = [429].into_iter().filter(|_| endpoint.throttled);
    for status in [400, 413, 503].into_iter().chain(throttled) {
        responses[status.to_string()] = http_answer(status);
    }
    for reason in [Reason::ReadFailed, Reason::WriteFailed, Reason::Panicked] {
        let fault = endpoint.refusal(reason, None);
        if fault.status != 200 {
            responses[fault.status.to_string()] =
                fixed_answer(&fault, "A server fault. The cause is in the server's log.");
        }
    }
    responses
}

/// The schema of `message` in an answer with code 200.
fn value(endpoint: &Endpoint) -> Value {
    match endpoint.value {
        ValueKind::Sentence | ValueKind::Captcha => {
            json!({"type": "string", "const": endpoint.success.message})
        }
        ValueKind::Token => token(),
        ValueKind::SentenceOrToken => {
            let sentence = json!({"type": "string", "const": endpoint.success.message});
            json!({"anyOf": [sentence, token()]})
        }
        ValueKind::Sessions => json!({"type": "array", "items": session()}),
        ValueKind::AvatarName => text(&format!("The picture's name under `{AVATARS}`.")),
        ValueKind::Link => {
            let members = json!({
                "kind": {"enum": ["invite", "reset"]},
                "name": {
                    "type": ["string", "null"],
                    "description": "The user whose password the link resets.",
                },
                "groups": {
                    "type": "array",
                    "items": {"type": "string"},
                    "description": "The groups that a user who registers with the invitation joins.",
                },
                "expires_at": {
                    "type": "integer",
                    "format": "int64",
                    "description": "When the link expires, in Unix seconds.",
                },
            });
            json!({
                "type": "object", "required": ["kind", "name", "groups", "expires_at"],
                "properties": members, "additionalProperties": false,
            })
        }
        ValueKind::SecondFactor => json!({
            "type": "object", "required": ["on", "recovery_codes"],
            "properties": {
                "on": {"type": "boolean"},
                "recovery_codes": {
                    "type": "integer", "minimum": 0,
                    "description": "How many recovery codes are left.",
                },
            },
            "additionalProperties": false,
        }),
        ValueKind::Enrolment => json!({
            "type": "object", "required": ["secret", "uri", "qr"],
            "properties": {
                "secret": text("The secret in base32, without padding."),
                "uri": text("The secret as an `otpauth://` address."),
                "qr": text("The QR code of that address, as SVG."),
            },
            "additionalProperties": false,
        }),
        ValueKind::RecoveryCodes => json!({
            "type": "array", "items": {"type": "string"},
            "description": "Codes, each of which replaces `otp` once. They are shown only now.",
        }),
        ValueKind::Account => {
            let names = ["key", "name", "token", "show_name", "email", "avatar"];
            let mut members: Map<String, Value> = names
                .map(|name| (name.to_string(), json!({"type": "string"})))
                .into_iter()
                .collect();
            members.insert("id".into(), json!({"type": "integer", "format": "int64"}));
            let required: Vec<String> = members.keys().cloned().collect();
            json!({
                "type": "object", "required": required, "properties": members,
                "additionalProperties": false,
            })
        }
    }
}

/// The schema of a session in a list. What those of older versions lack is null.
fn session() -> Value {
    let time = |description: &str| {
        json!({
            "type": ["integer", "null"], "format": "int64",
            "description": format!("{description}, in Unix seconds."),
        })
    };
    let texts = |description: &str| json!({"type": ["string", "null"], "description": description});
    let is = |description: &str| json!({"type": "boolean", "description": description});
    let members = json!({
        "id": text("Names the session in `end`."),
        "opened": time("When it was opened"),
        "seen": time("The beginning of the hour in which it was used last"),
        "source": texts("The address that it was opened from."),
        "client": texts("The kind of client that has opened it, in fixed words."),
        "current": is("Whether it is the session of the request."),
        "second_factor": is("Whether it was opened with a second factor."),
    });
    json!({
        "type": "object",
        "required": ["id", "opened", "seen", "source", "client", "current", "second_factor"],
        "properties": members, "additionalProperties": false,
    })
}

fn refusal(endpoint: &Endpoint, row: &Row) -> Value {
    let reasons: Vec<String> = row.reasons.iter().map(|reason| words(*reason)).collect();
    let message = json!({"type": "string", "const": row.message});
    let mut schema = answer_schema(
        &title(endpoint, row.code),
        &reasons.join(", or "),
        row.code,
        &message,
    );
    // The reasons that a body that cannot be read may lead to.
    let unreadable = [
        Reason::BodyUnreadable,
        Reason::CaptchaAbsent,
        Reason::TokenAbsent,
    ];
    let json = endpoint.method == "POST" && endpoint.token != Token::Header;
    let has_only_fields = !endpoint.captcha && endpoint.token == Token::None;
    let is_unreadable = |reason: &Reason| {
        unreadable.contains(reason) || has_only_fields && *reason == Reason::FieldAbsent
    };
    if json && row.reasons.iter().any(is_unreadable) {
        schema["properties"]["detail"] = text("What was wrong with a body that cannot be read.");
    }
    if row.reasons.contains(&Reason::FileUnusable) {
        let detail = "What was wrong with the form or the picture, and sometimes what to do. It is missing if the server failed.";
        schema["properties"]["detail"] = text(detail);
    }
    schema
}

/// A reason in words: `CaptchaWrong` is "captcha wrong".
fn words(reason: Reason) -> String {
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
    alphanumeric(contract::TOKEN_LENGTH)
}

fn alphanumeric(count: usize) -> Value {
    json!({"type": "string", "pattern": format!("^[A-Za-z0-9]{{{count}}}$")})
}
