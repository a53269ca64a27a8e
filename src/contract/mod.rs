//! The wire contract: one table for the router, the answers, docs/api.md and the tests.
//!
//! The messages are copied verbatim from the interface document. Handlers return a [`Reason`], and
//! [`Endpoint::refusal`] finds its row in the endpoint's table.

mod table;

pub use table::*;

use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};

/// Why a request is refused. The endpoint's rows map each reason to a code and a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// The request does not have the endpoint's method.
    WrongMethod,
    /// The body is not a JSON object.
    BodyUnreadable,
    /// A captcha field is absent.
    CaptchaAbsent,
    /// The answer is wrong, or the captcha was answered before or has expired.
    CaptchaWrong,
    /// The function is switched off in the configuration.
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
    /// Another user has this name or this email.
    Taken,
    /// The user does not exist, or the password is wrong.
    PasswordWrong,
    /// The account has a second factor, and its code is absent.
    OtpAbsent,
    /// The account has a second factor, and its code is wrong or was used before.
    OtpWrong,
    /// The account has a second factor already.
    TotpOn,
    /// The account does not have a second factor.
    TotpOff,
    /// Name and email do not belong to one user.
    UserUnknown,
    /// The token is absent.
    TokenAbsent,
    /// The token is unknown or has expired.
    TokenUnknown,
    /// The part `file` is missing, the body is malformed, the file is over the limit, or it is not
    /// a picture in one of the four formats.
    FileUnusable,
    /// The file has [`TOO_SMALL`] bytes or less.
    FileTooSmall,
    /// There were too many wrong guesses, or a budget is used up; the client may try again after
    /// this number of seconds. There is no row for it: the answer is HTTP 429.
    TooOften(u64),
    /// This worker has passed its captchas and its counts of guesses to the next one, which answers
    /// the client's next connection. There is no row for it: the answer is HTTP 503.
    Moved,
    /// A server fault: the database could not be read.
    ReadFailed,
    /// A server fault: a write failed.
    WriteFailed,
    /// A server fault: a handler panicked.
    Panicked,
}

/// A code of the document, its message, and the reasons that lead to it.
pub struct Row {
    /// `code` of the answer.
    pub code: u16,
    /// `message` of the answer, verbatim.
    pub message: &'static str,
    /// The reasons that are answered with this row.
    pub reasons: &'static [Reason],
}

/// A text member of a request.
#[derive(Clone, Copy)]
pub struct Field {
    /// The name of the member.
    pub name: &'static str,
    /// The most characters it may have.
    pub limit: usize,
}

/// One interface.
pub struct Endpoint {
    /// The path without its trailing slash. The path with it is the same endpoint.
    pub path: &'static str,
    /// The only method that is allowed.
    pub method: &'static str,
    /// The summary in the OpenAPI document.
    pub summary: &'static str,
    /// The text members that the body must have, without captcha and token.
    pub fields: &'static [Field],
    /// The text members that the body may have.
    pub optional: &'static [Field],
    /// The optional boolean members of the body, which default to `false`.
    pub flags: &'static [&'static str],
    /// Whether the request must have a captcha.
    pub captcha: bool,
    /// Where the request has its token, if the endpoint needs one.
    pub token: Token,
    /// The cost of the most expensive request.
    pub cost: Cost,
    /// Whether requests spend a budget or count as guesses, so that HTTP 429 is possible.
    pub throttled: bool,
    /// Whether each change is recorded in the audit log.
    pub audited: bool,
    /// The kind of `message` in a success.
    pub value: Value,
    /// The row with code 200. Its message is replaced by the value, if there is one.
    pub success: Row,
    /// All other rows.
    pub refusals: &'static [Row],
}

/// The cost of a request, besides a little processor time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cost {
    /// No other cost.
    Quick,
    /// A wait for the disk.
    Write,
    /// A slow hash of a password, and a wait for the disk.
    Hash,
    /// A body that is read while it arrives.
    Upload,
}

/// The kind of `message` in a success.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Value {
    /// The message of the row.
    Sentence,
    /// The token of a session.
    Token,
    /// The message of the row or, with the flag `login`, the token of a session.
    SentenceOrToken,
    /// The sessions of a user.
    Sessions,
    /// The members of an account.
    Account,
    /// What an invitation or a reset link is for.
    Link,
    /// Whether a second factor is on, and how many recovery codes are left.
    SecondFactor,
    /// The secret of a second factor, as text, address and QR code.
    Enrolment,
    /// Recovery codes.
    RecoveryCodes,
    /// A picture's name under [`AVATARS`].
    AvatarName,
    /// No message: the body is a picture, and a header has the captcha's key.
    Captcha,
}

/// Where a request has its token.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Token {
    /// No token is needed.
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

/// The members for a captcha: its key and its answer.
pub const CAPTCHA: [&str; 2] = ["verification_code_key", "verification_code"];

/// The name of a new user's picture, which is part of the program.
pub const DEFAULT_AVATAR: &str = "admin.jpg";

/// The largest file in bytes that is too small for an avatar.
pub const TOO_SMALL: u64 = 10_240;

/// The path of the OpenAPI document.
pub const OPENAPI: &str = "/openapi.json";

/// The prefix of an avatar's path; its name follows.
pub const AVATARS: &str = "/s/";

/// The HTTP status and code of a server fault for which an endpoint has no row. The message is
/// [`table::BROKEN`].
const FAULT: (u16, u16) = (500, 169);

/// A handler's answer to a successful request.
pub enum Success {
    /// The message of the endpoint's row.
    Sentence,
    /// The value that replaces the message.
    Value(Box<RawValue>),
    /// A captcha.
    Captcha {
        /// Identifies the captcha; the client sends it with its answer.
        key: String,
        /// A PNG file.
        picture: Vec<u8>,
    },
    /// Another success, and a value of `Set-Cookie`.
    WithCookie(Box<Success>, String),
}

/// Why a handler has refused a request.
#[derive(Debug)]
pub struct Refusal {
    /// Selects the endpoint's row.
    pub reason: Reason,
    /// The cause of a server fault, for the log. It is never sent to a client.
    pub cause: Option<String>,
    /// What was wrong with a body or a picture, as a sentence for the client. A server fault has no
    /// detail.
    pub detail: Option<String>,
}

/// The result of a handler.
pub type Outcome = Result<Success, Refusal>;

impl Success {
    /// A success with a value of texts and numbers.
    pub fn value(value: &impl Serialize) -> Success {
        Success::Value(to_raw_value(value).expect("texts and numbers serialise"))
    }

    /// The same success, which also sets or clears a cookie.
    pub fn with_cookie(self, cookie: Option<String>) -> Success {
        match cookie {
            Some(cookie) => Success::WithCookie(self.into(), cookie),
            None => self,
        }
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

    /// A server fault with its cause for the log.
    pub fn fault(reason: Reason, cause: impl Into<String>) -> Refusal {
        Refusal {
            cause: Some(cause.into()),
            ..reason.into()
        }
    }
}

/// A JSON answer with its HTTP status.
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

    /// The answer to a refused request. `detail` is what was wrong with a body or a picture.
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

    /// The answer to a successful request.
    pub fn success(&self, value: Option<&RawValue>) -> Answer {
        match value {
            Some(value) => json(200, self.success.code, value, None),
            None => json(200, self.success.code, self.success.message, None),
        }
    }
}

/// Whether a member with this text counts as absent: the text is empty, or only CR and LF.
pub fn is_absent(text: &str) -> bool {
    text.bytes().all(|byte| byte == b'\r' || byte == b'\n')
}

/// The answer with an HTTP status of [`OUTSIDE`].
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
    fn each_reason_is_in_at_most_one_row_of_an_endpoint() {
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
    fn a_detail_is_the_third_member_of_an_answer() {
        let answer = LOGIN.refusal(Reason::CaptchaAbsent, Some("body is empty"));
        assert_eq!(answer.code, 504);
        assert!(
            answer
                .json
                .ends_with(r#","code":504,"detail":"body is empty"}"#)
        );
    }
}
