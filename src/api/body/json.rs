//! The text members of a JSON body, and what was wrong with one that can't be read.

use crate::contract::{Field, No};
use serde_json::{Map, Value};

/// What a JSON body holds. A body that can't be read is one whose fields are all absent.
#[derive(Default)]
pub struct Form {
    members: Map<String, Value>,
    fault: Option<String>,
}

impl Form {
    /// Reads a body: one JSON object in UTF-8, a byte order mark before it is skipped.
    #[must_use]
    pub fn read(body: &[u8]) -> Form {
        let body = body.strip_prefix("\u{feff}".as_bytes()).unwrap_or(body);
        match serde_json::from_slice(body) {
            Ok(Value::Object(members)) => Form {
                members,
                fault: None,
            },
            Ok(other) => Form::unreadable(&format!("it is {}", kind(&other))),
            Err(error) => Form::unreadable(&error.to_string()),
        }
    }

    /// A body that can't be read, and why.
    #[must_use]
    pub fn unreadable(why: &str) -> Form {
        Form {
            members: Map::new(),
            fault: Some(format!("body is not a JSON object: {why}")),
        }
    }

    /// What is wrong with the body, in a sentence for whoever writes a client.
    #[must_use]
    pub fn fault(&self) -> Option<&str> {
        self.fault.as_deref()
    }

    /// A field's text; empty if the field is absent: missing, no string, empty or only CR and LF.
    #[must_use]
    pub fn get(&self, name: &str) -> &str {
        let text = self
            .members
            .get(name)
            .and_then(Value::as_str)
            .unwrap_or_default();
        if is_absent(text) { "" } else { text }
    }

    /// Whether a member is `true` and nothing else.
    #[must_use]
    pub fn is_true(&self, name: &str) -> bool {
        self.members.get(name) == Some(&Value::Bool(true))
    }

    /// Asks for every one of these fields.
    ///
    /// # Errors
    /// [`No::FieldAbsent`].
    pub fn require(&self, fields: &[Field]) -> Result<(), No> {
        if fields.iter().any(|field| self.get(field.name).is_empty()) {
            Err(No::FieldAbsent)
        } else {
            Ok(())
        }
    }

    /// Asks that none of these fields is too long.
    ///
    /// # Errors
    /// [`No::FieldTooLong`].
    pub fn limit(&self, fields: &[Field]) -> Result<(), No> {
        let long = |field: &Field| self.get(field.name).chars().nth(field.limit).is_some();
        if fields.iter().any(long) {
            Err(No::FieldTooLong)
        } else {
            Ok(())
        }
    }
}

/// Whether a text counts as absent: empty, or only CR and LF.
#[must_use]
pub fn is_absent(text: &str) -> bool {
    text.bytes().all(|byte| byte == b'\r' || byte == b'\n')
}

/// What a JSON value is, without showing it.
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
    fn what_is_absent() {
        let form =
            Form::read(br#"{"a":null,"b":1,"c":"","d":"\r\n\n","e":["x"],"f":{"x":"y"},"g":true,"h":" ","i":"\nx"}"#);
        for name in ["a", "b", "c", "d", "e", "f", "g", "nothing"] {
            assert_eq!(form.get(name), "", "{name}");
        }
        assert_eq!(
            (form.get("h"), form.get("i"), form.fault()),
            (" ", "\nx", None)
        );
    }

    #[test]
    fn what_cannot_be_read_says_why_and_shows_nothing_of_it() {
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
            let form = Form::read(body);
            let fault = form.fault().unwrap_or_else(|| panic!("{body:?}"));
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
            Form::read("{\"a\":\"阿巴阿\"}".as_bytes())
                .limit(&field)
                .is_ok()
        );
        assert_eq!(
            Form::read("{\"a\":\"阿巴阿巴\"}".as_bytes()).limit(&field),
            Err(No::FieldTooLong)
        );
    }

    #[test]
    fn a_byte_order_mark_is_skipped_and_the_last_of_two_members_counts() {
        assert_eq!(
            Form::read("\u{feff}{\"a\":\"1\",\"a\":\"2\"}".as_bytes()).get("a"),
            "2"
        );
    }
}
