//! Every path, number and sentence of the wire: one table for the router, the answers, README and the tests.
//!
//! The sentences are those of the interface document, character by character. Handlers speak
//! reasons ([`No`]); [`Endpoint::refusal`] finds the row that the endpoint at hand has for it.

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

/// The members that carry a captcha: its key and its answer.
pub const CAPTCHA: [&str; 2] = ["verification_code_key", "verification_code"];

const USERNAME: Field = Field { name: "username", limit: 64 };
const NAME: Field = Field { name: "name", limit: 64 };
const SHOW_NAME: Field = Field { name: "show_name", limit: 64 };
const NEW_SHOW_NAME: Field = Field { name: "new_show_name", limit: 64 };
const EMAIL: Field = Field { name: "email", limit: 254 };
const PASSWD: Field = Field { name: "passwd", limit: 1024 };
const OLD_PASSWD: Field = Field { name: "old_passwd", limit: 1024 };
const NEW_PASSWD: Field = Field { name: "new_passwd", limit: 1024 };
/// Compared with the configured one, which has at most this many characters.
const KEY: Field = Field { name: "key", limit: 1024 };

const POST_ONLY: Row = row(500, "请使用Post请求", &[No::Method]);
const CAPTCHA_WRONG: Row = row(503, "验证码错误或者过期！", &[No::CaptchaWrong]);
const CAPTCHA_ABSENT: Row = row(504, "验证码或者验证码秘钥不能为空！", &[No::CaptchaAbsent]);
const TOKEN_UNKNOWN: Row = row(403, "小宝贝这是非法查询哦(๑•̀ㅂ•́)و✧", &[No::TokenUnknown]);

const fn row(code: u16, message: &'static str, reasons: &'static [No]) -> Row {
    Row { code, message, reasons }
}

/// `/api/registered`: a new account.
pub const REGISTERED: Endpoint = Endpoint {
    path: "/api/registered",
    method: "POST",
    fields: &[SHOW_NAME, USERNAME, PASSWD, EMAIL, KEY],
    captcha: true,
    token: Token::None,
    done: row(200, "注册成功", &[]),
    refusals: &[
        row(400, "位置错误", &[No::Crashed]),
        row(403, "小宝贝这是非法注册哦(๑•̀ㅂ•́)و✧", &[No::KeyWrong]),
        row(404, "报错", &[No::NotAsked]),
        POST_ONLY,
        row(503, "小宝贝你没有开启注册功能哦！！", &[No::SwitchedOff]),
        row(504, "验证码错误或者过期！", &[No::CaptchaWrong]),
        row(505, "验证码或者验证码秘钥不能为空！", &[No::CaptchaAbsent]),
        row(603, "注册失败", &[No::FieldTooLong, No::NotWritten]),
        row(604, "用户名或邮箱已存在", &[No::Taken]),
        row(666, "宝贝数据呢？", &[No::BodyUnreadable, No::FieldAbsent]),
    ],
};

/// `/api/login`: a name, a password and a captcha for a token.
pub const LOGIN: Endpoint = Endpoint {
    path: "/api/login",
    method: "POST",
    fields: &[USERNAME, PASSWD],
    captcha: true,
    token: Token::None,
    done: row(200, "返回用户token", &[]),
    refusals: &[
        POST_ONLY,
        CAPTCHA_WRONG,
        CAPTCHA_ABSENT,
        row(604, "账号或密码错误", &[No::FieldAbsent, No::PasswordWrong]),
    ],
};

/// `/api/user_info`: what there is to know about the token's owner.
pub const USER_INFO: Endpoint = Endpoint {
    path: "/api/user_info",
    method: "POST",
    fields: &[],
    captcha: false,
    token: Token::Body,
    done: row(200, "返回用户信息", &[]),
    refusals: &[TOKEN_UNKNOWN, row(404, "搁着闹呢？", &[No::TokenAbsent]), POST_ONLY],
};

/// `/api/update_password`: a new password for the old one.
pub const UPDATE_PASSWORD: Endpoint = Endpoint {
    path: "/api/update_password",
    method: "POST",
    fields: &[USERNAME, OLD_PASSWD, NEW_PASSWD],
    captcha: true,
    token: Token::None,
    done: row(200, "好耶！修改成功~", &[]),
    refusals: &[
        row(404, "输入信息有误重新输入", &[No::FieldAbsent, No::FieldTooLong, No::PasswordWrong]),
        POST_ONLY,
        CAPTCHA_WRONG,
        CAPTCHA_ABSENT,
    ],
};

/// `/api/update_show_name`: another display name.
pub const UPDATE_SHOW_NAME: Endpoint = Endpoint {
    path: "/api/update_show_name",
    method: "POST",
    fields: &[NEW_SHOW_NAME],
    captcha: false,
    token: Token::Body,
    done: row(200, "好诶！修改成功~", &[]),
    refusals: &[
        TOKEN_UNKNOWN,
        row(404, "输入信息有误重新输入", &[No::TokenAbsent, No::FieldAbsent, No::FieldTooLong]),
        POST_ONLY,
    ],
};

/// `/api/update_key`: a fresh user key.
pub const UPDATE_KEY: Endpoint = Endpoint {
    path: "/api/update_key",
    method: "POST",
    fields: &[],
    captcha: false,
    token: Token::Body,
    done: row(200, "呐呐呐呐！修改成功了呢~", &[]),
    refusals: &[row(404, "输入信息有误重新输入", &[No::TokenAbsent]), TOKEN_UNKNOWN, POST_ONLY],
};

/// `/api/forget_password`: a new password for who knows name, email and the configured key.
pub const FORGET_PASSWORD: Endpoint = Endpoint {
    path: "/api/forget_password",
    method: "POST",
    fields: &[KEY, NAME, NEW_PASSWD, EMAIL],
    captcha: true,
    token: Token::None,
    done: row(200, "修改成功啦~建议去配置文件中关闭忘记密码功能哦~", &[]),
    refusals: &[
        row(403, "小宝贝你没有开启忘记密码功能哦(๑•̀ㅂ•́)و✧", &[No::SwitchedOff]),
        row(404, "大黑阔别乱搞，莎莎好怕怕(*/ω＼*)", &[No::KeyWrong]),
        POST_ONLY,
        row(501, "这个数据你是认真的嘛(。﹏。)", &[No::FieldAbsent, No::FieldTooLong, No::UserUnknown]),
        CAPTCHA_WRONG,
        CAPTCHA_ABSENT,
    ],
};

/// `/api/upload_avatar`: a new picture.
pub const UPLOAD_AVATAR: Endpoint = Endpoint {
    path: "/api/upload_avatar",
    method: "POST",
    fields: &[],
    captcha: false,
    token: Token::Header,
    done: row(200, "返回用户头像名字", &[]),
    refusals: &[
        row(169, BROKEN, &[No::FileUnusable, No::NotAsked, No::NotWritten, No::Crashed]),
        TOKEN_UNKNOWN,
        row(404, "宝贝没有用户你要插到哪里去呢？", &[No::TokenAbsent]),
        POST_ONLY,
        row(603, "它实在是太小了，莎酱真的一点感觉都没有o(TヘTo)", &[No::FileTooSmall]),
    ],
};

/// `/api/get_verification_code`: a captcha. Not in the document; decided beside it.
pub const GET_VERIFICATION_CODE: Endpoint = Endpoint {
    path: "/api/get_verification_code",
    method: "GET",
    fields: &[],
    captcha: false,
    token: Token::None,
    done: row(200, "", &[]),
    refusals: &[row(169, "呐呐呐！莎酱被玩坏啦(>^ω^<)", &[No::Crashed]), row(500, "请使用GET请求", &[No::Method])],
};

/// The eight interfaces of the document, in its order.
pub const DOCUMENT: [&Endpoint; 8] = [
    &REGISTERED,
    &LOGIN,
    &USER_INFO,
    &UPDATE_PASSWORD,
    &UPDATE_SHOW_NAME,
    &UPDATE_KEY,
    &FORGET_PASSWORD,
    &UPLOAD_AVATAR,
];

/// Answers about HTTP itself, outside the interfaces: the HTTP status, which is `code` too, and its sentence.
pub const OUTSIDE: [(u16, &str); 5] = [
    (400, "malformed HTTP request"),
    (404, "no such path"),
    (413, "request body too large"),
    (429, "too many requests, try again later"),
    (503, "the server is busy, try again later"),
];

/// The largest file in bytes that is too small for an avatar.
pub const TOO_SMALL: u64 = 10_240;

/// An avatar's path is this and its name.
pub const AVATARS: &str = "/s/";

const BROKEN: &str = "你不对劲！为什么报错了？";
/// Where an endpoint has no row for a fault of the server: HTTP 500 with this code and [`BROKEN`].
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
}

/// What a handler comes to.
pub type Outcome = Result<Done, Stop>;

impl From<No> for Stop {
    fn from(reason: No) -> Stop {
        Stop { reason, cause: None }
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
    /// The answer that this endpoint has for a reason; `detail` says what was wrong with an unreadable body.
    #[must_use]
    pub fn refusal(&self, reason: No, detail: Option<&str>) -> Answer {
        let row = self.refusals.iter().find(|row| row.reasons.contains(&reason));
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
    let (code, message) = OUTSIDE.into_iter().find(|row| row.0 == status).expect("a row of OUTSIDE");
    json(status, code, message, None)
}

fn json<M: Serialize + ?Sized>(status: u16, code: u16, message: &M, detail: Option<&str>) -> Answer {
    #[derive(Serialize)]
    struct Body<'a, M: ?Sized> {
        message: &'a M,
        code: u16,
        #[serde(skip_serializing_if = "Option::is_none")]
        detail: Option<&'a str>,
    }
    let body = Body { message, code, detail };
    let json = serde_json::to_string(&body).expect("strings and numbers serialise");
    Answer { status, code, json }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_leads_to_one_row() {
        for endpoint in DOCUMENT.iter().chain([&&GET_VERIFICATION_CODE]) {
            let reasons: Vec<No> = endpoint.refusals.iter().flat_map(|row| row.reasons).copied().collect();
            for (i, reason) in reasons.iter().enumerate() {
                assert!(!reasons[..i].contains(reason), "{} has {reason:?} twice", endpoint.path);
            }
        }
    }

    #[test]
    fn a_fault_without_a_row_is_http_500() {
        let answer = LOGIN.refusal(No::NotAsked, None);
        assert_eq!((answer.status, answer.code), (500, 169));
        assert_eq!(answer.json, r#"{"message":"你不对劲！为什么报错了？","code":169}"#);
        assert_eq!(REGISTERED.refusal(No::NotAsked, None).status, 200);
    }

    #[test]
    fn only_an_unreadable_body_brings_a_detail() {
        let answer = LOGIN.refusal(No::CaptchaAbsent, Some("body is empty"));
        assert_eq!(answer.code, 504);
        assert!(answer.json.ends_with(r#","code":504,"detail":"body is empty"}"#));
    }
}
