//! The contract of the wire: one table for the router, the answers, docs/api.md and the tests.
//!
//! The sentences are those of the interface document, character by character. Handlers return
//! reasons ([`Reason`]); [`Endpoint::refusal`] finds the endpoint's row for one.

mod table;

pub use table::*;

use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};

/// Why a request is refused. The rows of an endpoint say which number and sentence that is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// The method is not the endpoint's.
    WrongMethod,
    /// The body is not a JSON object.
    BodyUnreadable,
    /// A captcha field is absent.
    CaptchaAbsent,
    /// The captcha was answered wrongly, is used up or has expired.
    CaptchaWrong,
    /// The configuration switches the function off.
    Disabled,
    /// The configuration switches the function off, and the `key` is not one that works all the
    /// same.
    DisabledAndKeyWrong,
    /// A field is absent.
    FieldAbsent,
    /// A field is longer than its limit.
    FieldTooLong,
    /// The name is not plain, and the configuration asks for plain names.
    NameNotPlain,
    /// The password policy refuses the new password.
    PasswordTooWeak,
    /// The `key` is neither the configured one nor that of an invitation or a reset link.
    KeyWrong,
    /// The `key` is not that of an invitation or a reset link.
    LinkUnknown,
    /// Another user has the name or the email.
    Taken,
    /// There is no such user, or the password is another one.
    PasswordWrong,
    /// Name and email do not belong to one user.
    UserUnknown,
    /// The token is absent.
    TokenAbsent,
    /// The token is unknown or has expired.
    TokenUnknown,
    /// There is no `file` part, the body is broken, the file is over the limit, or it is not a
    /// picture of the four formats.
    FileUnusable,
    /// The file has [`TOO_SMALL`] bytes or less.
    FileTooSmall,
    /// There were too many failures, or a budget is used up; the client may try again after this
    /// number of seconds. It has no row: the answer is HTTP 429.
    TooOften(u64),
    /// This worker has handed its captchas and its counts of guesses over; the next worker answers
    /// the client's next connection. It has no row: the answer is HTTP 503.
    Moved,
    /// A fault of the server: the database could not be read.
    ReadFailed,
    /// A fault of the server: a write failed.
    WriteFailed,
    /// A fault of the server: a handler panicked.
    Panicked,
}

/// One line of the document: a code, its sentence, and the reasons that lead to it.
pub struct Row {
    /// `code` of the answer.
    pub code: u16,
    /// `message` of the answer, verbatim.
    pub message: &'static str,
    /// What is answered with this row.
    pub reasons: &'static [Reason],
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
    /// The path without its trailing slash; with the slash, it is the same endpoint.
    pub path: &'static str,
    /// The only method that it takes.
    pub method: &'static str,
    /// One line of the OpenAPI document.
    pub summary: &'static str,
    /// Its text members, captcha and token apart.
    pub fields: &'static [Field],
    /// Its optional boolean members; `false` if absent.
    pub flags: &'static [&'static str],
    /// Whether a captcha comes with the request.
    pub captcha: bool,
    /// Where the token comes from, if the endpoint needs one.
    pub token: Token,
    /// What the most expensive request to it takes.
    pub cost: Cost,
    /// Whether requests spend a budget or count as guesses, and so may get HTTP 429.
    pub throttled: bool,
    /// Whether the audit log has a line for each success.
    pub audited: bool,
    /// What stands in `message` of a success.
    pub value: Value,
    /// The row with code 200; a value, if there is one, replaces its message.
    pub success: Row,
    /// All other rows.
    pub refusals: &'static [Row],
}

/// What a request takes, beside a thread for a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cost {
    /// Nothing else.
    Quick,
    /// A wait for the disk.
    Write,
    /// A slow hash of a password, and a wait for the disk.
    Hash,
    /// A body that is read as it comes.
    Upload,
}

/// What stands in `message` of a success.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Value {
    /// The sentence of the row.
    Sentence,
    /// A session's token.
    Token,
    /// The members of an account.
    Account,
    /// What an invitation or a reset link is for.
    Link,
    /// A picture's name under [`AVATARS`].
    AvatarName,
    /// Nothing: the body is a picture, and a header has the captcha's key.
    Captcha,
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

/// The HTTP status and code of a fault of the server for which an endpoint has no row. The sentence is
/// [`table::BROKEN`].
const FAULT: (u16, u16) = (500, 169);

/// What a handler did, for the client.
pub enum Success {
    /// The endpoint's sentence.
    Sentence,
    /// The value that replaces the sentence.
    Value(Box<RawValue>),
    /// A picture and the header that belongs to it.
    Captcha {
        /// Names the captcha when it is answered.
        key: String,
        /// A PNG file.
        picture: Vec<u8>,
    },
}

/// Why a handler stopped.
#[derive(Debug)]
pub struct Refusal {
    /// Selects the endpoint's row.
    pub reason: Reason,
    /// The cause of a fault of the server, for the log; never sent to a client.
    pub cause: Option<String>,
    /// What was wrong with a body or a picture, as a sentence for the client. A fault of the server
    /// has none.
    pub detail: Option<String>,
}

/// The result of a handler.
pub type Outcome = Result<Success, Refusal>;

impl Success {
    /// A value of texts and numbers.
    pub fn value(value: &impl Serialize) -> Success {
        Success::Value(to_raw_value(value).expect("texts and numbers serialise"))
    }
}

impl From<Reason> for Refusal {
    fn from(reason: Reason) -> Refusal {
        Refusal {
            reason,
            cause: None,
            detail: None,
        }
    }
}

impl Refusal {
    /// [`Reason::FileUnusable`] with a sentence for the client.
    pub fn unusable(detail: impl Into<String>) -> Refusal {
        Refusal {
            detail: Some(detail.into()),
            ..Reason::FileUnusable.into()
        }
    }

    /// A fault of the server with its cause for the log.
    pub fn fault(reason: Reason, cause: impl Into<String>) -> Refusal {
        Refusal {
            cause: Some(cause.into()),
            ..reason.into()
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
    /// The last segment of the path, which is also its name in the audit log.
    pub fn name(&self) -> &'static str {
        self.path.rsplit('/').next().unwrap_or(self.path)
    }

    /// The answer to a refused request. `detail` says what was wrong with a body or a picture.
    pub fn refusal(&self, reason: Reason, detail: Option<&str>) -> Answer {
        match self.row(reason) {
            Some(row) => json(200, row.code, row.message, detail),
            None => json(FAULT.0, FAULT.1, BROKEN, detail),
        }
    }

    /// The row for a reason, if there is one.
    pub fn row(&self, reason: Reason) -> Option<&Row> {
        self.refusals
            .iter()
            .find(|row| row.reasons.contains(&reason))
    }

    /// The answer to a request that succeeded.
    pub fn success(&self, value: Option<&RawValue>) -> Answer {
        match value {
            Some(value) => json(200, self.success.code, value, None),
            None => json(200, self.success.code, self.success.message, None),
        }
    }
}

/// Whether the text of a member counts as absent: empty, or only CR and LF.
pub fn is_absent(text: &str) -> bool {
    text.bytes().all(|byte| byte == b'\r' || byte == b'\n')
}

/// An answer about HTTP itself.
///
/// # Panics
/// If the status is not one of [`OUTSIDE`].
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
            let reasons: Vec<Reason> = endpoint
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
        let answer = LOGIN.refusal(Reason::ReadFailed, None);
        assert_eq!((answer.status, answer.code), (500, 169));
        assert_eq!(
            answer.json,
            r#"{"message":"你不对劲！为什么报错了？","code":169}"#
        );
        assert_eq!(REGISTERED.refusal(Reason::ReadFailed, None).status, 200);
    }

    #[test]
    fn a_detail_is_the_third_member() {
        let answer = LOGIN.refusal(Reason::CaptchaAbsent, Some("body is empty"));
        assert_eq!(answer.code, 504);
        assert!(
            answer
                .json
                .ends_with(r#","code":504,"detail":"body is empty"}"#)
        );
    }
}
