//! JSON bodies and their members.

use crate::contract::{Field, Reason, is_absent};
use serde_json::{Map, Value};

/// A JSON body. If it cannot be read, all fields are absent.
#[derive(Default)]
pub struct JsonBody {
    members: Map<String, Value>,
    error: Option<String>,
}

impl JsonBody {
    /// Reads one JSON object in UTF-8. A byte order mark before it is skipped.
    pub fn read(body: &[u8]) -> JsonBody {
        let body = body.strip_prefix("\u{feff}".as_bytes()).unwrap_or(body);
        match serde_json::from_slice(body) {
            Ok(Value::Object(members)) => JsonBody {
                members,
                error: None,
            },
            Ok(other) => JsonBody::unreadable(&format!("it is {}", kind(&other))),
            Err(error) => JsonBody::unreadable(&error.to_string()),
        }
    }

    /// A body that cannot be read, with the reason.
    pub fn unreadable(why: &str) -> JsonBody {
        JsonBody {
            members: Map::new(),
            error: Some(format!("body is not a JSON object: {why}")),
        }
    }

    /// Why the body could not be read, as a sentence for the developer of a client.
    pub fn error(&self) -> Option<&str> {
        self.error.as_deref()
    }

    /// The text of a member. It is empty if the member is absent: missing, not a string, empty, or
    /// only CR and LF.
    pub fn text(&self, name: &str) -> &str {
        let text = self.members.get(name).and_then(Value::as_str);
        text.filter(|text| !is_absent(text)).unwrap_or_default()
    }

    /// Whether a member is `true`.
    pub fn is_true(&self, name: &str) -> bool {
        self.members.get(name) == Some(&Value::Bool(true))
    }

    /// Refuses a body in which one of these fields is absent.
    pub fn require(&self, fields: &[Field]) -> Result<(), Reason> {
        if fields.iter().any(|field| self.text(field.name).is_empty()) {
            Err(Reason::FieldAbsent)
        } else {
            Ok(())
        }
    }

    /// Refuses a body in which one of these fields is longer than its limit.
    pub fn limit(&self, fields: &[Field]) -> Result<(), Reason> {
        let is_long = |field: &Field| self.text(field.name).chars().nth(field.limit).is_some();
        if fields.iter().any(is_long) {
            Err(Reason::FieldTooLong)
        } else {
            Ok(())
        }
    }
}

/// The type of a JSON value. The value may be a secret, so it is not shown.
fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_member_is_absent_if_it_is_missing_empty_or_not_a_string() {
        let body =
            JsonBody::read(br#"{"a":null,"b":1,"c":"","d":"\r\n\n","e":["x"],"f":{"x":"y"},"g":true,"h":" ","i":"\nx"}"#);
        for name in ["a", "b", "c", "d", "e", "f", "g", "nothing"] {
            assert_eq!(body.text(name), "", "{name}");
        }
        assert_eq!(
            (body.text("h"), body.text("i"), body.error()),
            (" ", "\nx", None)
        );
    }

    #[test]
    fn the_error_of_an_unreadable_body_states_the_cause_without_quoting_the_body() {
        let deep = "[".repeat(1000);
        for (body, why) in [
            (&b""[..], "EOF while parsing a value at line 1 column 0"),
            (
                br#"{"token":"a""#,
                "EOF while parsing an object at line 1 column 12",
            ),
            (b"\"a secret\"", "it is a string"),
            (b"[]", "it is an array"),
            (b"null", "it is null"),
            (
                b"{\"a\":\"\xff\"}",
                "invalid unicode code point at line 1 column",
            ),
            (b"{} {}", "trailing characters at line 1 column 4"),
            (
                deep.as_bytes(),
                "recursion limit exceeded at line 1 column 128",
            ),
        ] {
            let read = JsonBody::read(body);
            let fault = read.error().unwrap_or_else(|| panic!("{body:?}"));
            assert!(
                fault.starts_with(&format!("body is not a JSON object: {why}")),
                "{fault}"
            );
            assert!(!fault.contains("secret"));
        }
    }

    #[test]
    fn limits_count_characters() {
        let field = [Field {
            name: "a",
            limit: 3,
        }];
        assert!(
            JsonBody::read("{\"a\":\"阿巴阿\"}".as_bytes())
                .limit(&field)
                .is_ok()
        );
        assert_eq!(
            JsonBody::read("{\"a\":\"阿巴阿巴\"}".as_bytes()).limit(&field),
            Err(Reason::FieldTooLong)
        );
    }

    #[test]
    fn a_byte_order_mark_is_skipped_and_the_last_of_two_equal_members_is_used() {
        assert_eq!(
            JsonBody::read("\u{feff}{\"a\":\"1\",\"a\":\"2\"}".as_bytes()).text("a"),
            "2"
        );
    }
}
