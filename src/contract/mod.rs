//! The contract of the wire: one table for the router, the answers, docs/api.md and the tests.
//!
//! The sentences are those of the interface document, character by character. Handlers speak
//! reasons ([`No`]); [`Endpoint::refusal`] finds the row that the endpoint at hand has for it.

mod table;

pub use table::*;

use serde::Serialize;
use serde_json::value::RawValue;

/// Why a request is refused. What number and sentence that is, each endpoint's rows say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum No {
    /// Another method than the endpoint's.
    Method,
    /// The body is no JSON object.
    BodyUnreadable,
    /// A captcha field is absent.
    CaptchaAbsent,
    /// The captcha was answered wrongly, is used up or has expired.
    CaptchaWrong,
    /// The configuration switches the function off.
    SwitchedOff,
    /// A field is absent.
    FieldAbsent,
    /// A field is longer than its limit.
    FieldTooLong,
    /// A rule of the configuration refuses the new password.
    PasswordTooWeak,
    /// The `key` is not the configured one.
    KeyWrong,
    /// The user name or the email belongs to somebody.
    Taken,
    /// No such user, or not this password.
    PasswordWrong,
    /// Name and email are not of one user.
    UserUnknown,
    /// The token is absent.
    TokenAbsent,
    /// The token is unknown or has expired.
    TokenUnknown,
    /// No `file` part, a broken body, a file over the limit, or none of the four picture formats.
    FileUnusable,
    /// The file has 10,240 bytes or less.
    FileTooSmall,
    /// Too many failures, or a budget that is used up: to be tried again after so many seconds. No
    /// row has it; the answer is HTTP 429.
    TooOften(u64),
    /// This worker has given away the captchas and the counts of guesses: to be tried again on a
    /// new connection, which the next worker answers. No row has it; the answer is HTTP 503.
    Moved,
    /// The server's own fault: the database could not be asked.
    NotAsked,
    /// The server's own fault: a write failed.
    NotWritten,
    /// The server's own fault: a cause that no other row names, such as a panic.
    Crashed,
}

/// One line of the document: a code, its sentence, and the reasons that lead to it.
pub struct Row {
    /// `code` of the answer.
    pub code: u16,
    /// `message` of the answer, verbatim.
    pub message: &'static str,
    /// What is answered with this row.
    pub reasons: &'static [No],
}

/// A member of a request that is text.
#[derive(Clone, Copy)]
pub struct Field {
    /// Its name on the wire.
    pub name: &'static str,
    /// The most characters it may have.
    pub limit: usize,
}

/// One interface.
pub struct Endpoint {
    /// The path without its trailing slash; with it, it is the same endpoint.
    pub path: &'static str,
    /// The only method that it takes.
    pub method: &'static str,
    /// Its text members, captcha and token apart.
    pub fields: &'static [Field],
    /// Whether a captcha comes with the request.
    pub captcha: bool,
    /// Where the token comes from, if one is asked for.
    pub token: Token,
    /// The row with code 200; a value, where there is one, takes the place of its message.
    pub done: Row,
    /// All other rows.
    pub refusals: &'static [Row],
}

/// Where a request carries its token.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Token {
    /// Nowhere: none is asked for.
    None,
    /// In the member `token` of the body.
    Body,
    /// In the header `token`.
    Header,
}

/// Characters of a token, `contract.md`.
pub const TOKEN_LENGTH: usize = 250;
/// Characters of a user's key, `contract.md`.
pub const KEY_LENGTH: usize = 40;
/// Characters of a captcha's key, `contract.md`.
pub const CAPTCHA_KEY_LENGTH: usize = 250;

/// The members that carry a captcha: its key and its answer.
pub const CAPTCHA: [&str; 2] = ["verification_code_key", "verification_code"];

/// The largest file in bytes that is too small for an avatar.
pub const TOO_SMALL: u64 = 10_240;

/// The path of the OpenAPI document.
pub const OPENAPI: &str = "/openapi.json";

/// An avatar's path is this and its name.
pub const AVATARS: &str = "/s/";

/// Where an endpoint has no row for a fault of the server: HTTP 500 with this code and
/// [`table::BROKEN`].
const FAULT: (u16, u16) = (500, 169);

/// What a handler did, for the client.
pub enum Done {
    /// The endpoint's sentence says it.
    Plain,
    /// The value that takes the sentence's place.
    Value(Box<RawValue>),
    /// A picture and the header that belongs to it.
    Captcha {
        /// Names the captcha when it is answered.
        key: String,
        /// A PNG file.
        picture: Vec<u8>,
    },
}

/// Why a handler stopped: the reason for the client and, of a fault, the cause for the log.
#[derive(Debug)]
pub struct Stop {
    /// What the endpoint's rows are searched for.
    pub reason: No,
    /// What happened, never shown to a client.
    pub cause: Option<String>,
    /// What was wrong with a form or a picture, as a sentence for the client. A fault of the server
    /// has none.
    pub detail: Option<String>,
}

/// What a handler comes to.
pub type Outcome = Result<Done, Stop>;

impl From<No> for Stop {
    fn from(reason: No) -> Stop {
        Stop {
            reason,
            cause: None,
            detail: None,
        }
    }
}

impl Stop {
    /// [`No::FileUnusable`], and why.
    pub fn unusable(detail: impl Into<String>) -> Stop {
        Stop {
            detail: Some(detail.into()),
            ..No::FileUnusable.into()
        }
    }
}

/// A JSON answer and the HTTP status it travels with.
#[derive(Debug, PartialEq, Eq)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// `code` in the body.
    pub code: u16,
    /// The body.
    pub json: String,
}

impl Endpoint {
    /// The last segment of the path: what the audit log calls it.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.path.rsplit('/').next().unwrap_or(self.path)
    }

    /// The answer that this endpoint has for a reason; `detail` says what was wrong with an
    /// unreadable body, form or picture.
    #[must_use]
    pub fn refusal(&self, reason: No, detail: Option<&str>) -> Answer {
        let row = self
            .refusals
            .iter()
            .find(|row| row.reasons.contains(&reason));
        let (status, code, message) = match row {
            Some(row) => (200, row.code, row.message),
            None => (FAULT.0, FAULT.1, BROKEN),
        };
        json(status, code, message, detail)
    }

    /// The answer of a request that was carried out.
    #[must_use]
    pub fn done(&self, value: Option<&RawValue>) -> Answer {
        match value {
            Some(value) => json(200, self.done.code, value, None),
            None => json(200, self.done.code, self.done.message, None),
        }
    }
}

/// An answer about HTTP itself.
///
/// # Panics
/// If the status is not one of [`OUTSIDE`].
#[must_use]
pub fn outside(status: u16) -> Answer {
    let (code, message) = OUTSIDE
        .into_iter()
        .find(|row| row.0 == status)
        .expect("a row of OUTSIDE");
    json(status, code, message, None)
}

fn json<M: Serialize + ?Sized>(
    status: u16,
    code: u16,
    message: &M,
    detail: Option<&str>,
) -> Answer {
    #[derive(Serialize)]
    struct Body<'a, M: ?Sized> {
        message: &'a M,
        code: u16,
        #[serde(skip_serializing_if = "Option::is_none")]
        detail: Option<&'a str>,
    }
    let body = Body {
        message,
        code,
        detail,
    };
    let json = serde_json::to_string(&body).expect("strings and numbers serialise");
    Answer { status, code, json }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_leads_to_one_row() {
        for endpoint in DOCUMENT.iter().chain(&ADDITIONS) {
            let reasons: Vec<No> = endpoint
                .refusals
                .iter()
                .flat_map(|row| row.reasons)
                .copied()
                .collect();
            for (i, reason) in reasons.iter().enumerate() {
                assert!(
                    !reasons[..i].contains(reason),
                    "{} has {reason:?} twice",
                    endpoint.path
                );
            }
        }
    }

    #[test]
    fn a_fault_without_a_row_is_http_500() {
        let answer = LOGIN.refusal(No::NotAsked, None);
        assert_eq!((answer.status, answer.code), (500, 169));
        assert_eq!(
            answer.json,
            r#"{"message":"你不对劲！为什么报错了？","code":169}"#
        );
        assert_eq!(REGISTERED.refusal(No::NotAsked, None).status, 200);
    }

    #[test]
    fn a_detail_is_the_third_member() {
        let answer = LOGIN.refusal(No::CaptchaAbsent, Some("body is empty"));
        assert_eq!(answer.code, 504);
        assert!(
            answer
                .json
                .ends_with(r#","code":504,"detail":"body is empty"}"#)
        );
    }
}
