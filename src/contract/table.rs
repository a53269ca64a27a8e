//! Every path, code and message of the contract.

use super::{Cost, Endpoint, Field, Reason, Row, Token, Value};

/// The message of a fault that has no row.
pub(super) const BROKEN: &str = "你不对劲！为什么报错了？";

/// The member `username`.
pub const USERNAME: Field = field("username", 64);
const NAME: Field = field("name", 64);
/// The member `show_name`.
pub const SHOW_NAME: Field = field("show_name", 64);
/// The member `new_show_name`.
pub const NEW_SHOW_NAME: Field = field("new_show_name", 64);
/// The member `email`.
pub const EMAIL: Field = field("email", 254);
/// The member `passwd`.
pub const PASSWD: Field = field("passwd", 1024);
const OLD_PASSWD: Field = field("old_passwd", 1024);
const NEW_PASSWD: Field = field("new_passwd", 1024);
/// The member `otp`: a code of the second factor, or a recovery code.
pub const OTP: Field = field("otp", 64);
/// The member `new_email`, with the limit of an email.
pub const NEW_EMAIL: Field = field("new_email", EMAIL.limit);
/// The member `end`: a session's id, a number of 64 bits.
pub const END: Field = field("end", 20);
/// The member `key`. A configured key has at most as many characters.
pub const KEY: Field = field("key", 1024);

const POST_ONLY: Row = row(500, "请使用Post请求", &[Reason::WrongMethod]);
const CAPTCHA_WRONG: Row = row(503, "验证码错误或者过期！", &[Reason::CaptchaWrong]);
const CAPTCHA_ABSENT: Row = row(
    504,
    "验证码或者验证码秘钥不能为空！",
    &[Reason::CaptchaAbsent],
);
const TOKEN_UNKNOWN: Row = row(
    403,
    "小宝贝这是非法查询哦(๑•̀ㅂ•́)و✧",
    &[Reason::TokenUnknown],
);
const TOKEN_ABSENT: Row = row(404, "搁着闹呢？", &[Reason::TokenAbsent]);
/// An account with a second factor, and no code that fits.
pub(super) const OTP_WRONG: Row = row(
    605,
    "二步验证码不对或者没有填哦~",
    &[Reason::OtpAbsent, Reason::OtpWrong],
);
const GET_ONLY: Row = row(500, "请使用GET请求", &[Reason::WrongMethod]);

const fn field(name: &'static str, limit: usize) -> Field {
    Field { name, limit }
}

const fn row(code: u16, message: &'static str, reasons: &'static [Reason]) -> Row {
    Row {
        code,
        message,
        reasons,
    }
}

/// `/api/registered`: a new account.
pub const REGISTERED: Endpoint = Endpoint {
    path: "/api/registered",
    method: "POST",
    summary: "A new account",
    fields: &[SHOW_NAME, USERNAME, PASSWD, EMAIL, KEY],
    optional: &[],
    flags: &["login", "cookie", "remember"],
    captcha: true,
    token: Token::None,
    cost: Cost::Hash,
    throttled: true,
    audited: true,
    value: Value::SentenceOrToken,
    success: row(200, "注册成功", &[]),
    refusals: &[
        row(400, "位置错误", &[Reason::Panicked]),
        row(403, "小宝贝这是非法注册哦(๑•̀ㅂ•́)و✧", &[Reason::KeyWrong]),
        row(404, "报错", &[Reason::ReadFailed]),
        POST_ONLY,
        row(
            503,
            "小宝贝你没有开启注册功能哦！！",
            &[Reason::Disabled, Reason::DisabledAndKeyWrong],
        ),
        row(504, "验证码错误或者过期！", &[Reason::CaptchaWrong]),
        row(
            505,
            "验证码或者验证码秘钥不能为空！",
            &[Reason::CaptchaAbsent],
        ),
        row(
            603,
            "注册失败",
            &[
                Reason::FieldTooLong,
                Reason::NameNotPlain,
                Reason::PasswordTooWeak,
                Reason::WriteFailed,
            ],
        ),
        row(604, "用户名或邮箱已存在", &[Reason::Taken]),
        row(
            666,
            "宝贝数据呢？",
            &[Reason::BodyUnreadable, Reason::FieldAbsent],
        ),
    ],
};

/// `/api/login`: a new session.
pub const LOGIN: Endpoint = Endpoint {
    path: "/api/login",
    method: "POST",
    summary: "A new session",
    fields: &[USERNAME, PASSWD],
    optional: &[OTP],
    flags: &["cookie", "remember"],
    captcha: true,
    token: Token::None,
    cost: Cost::Hash,
    throttled: true,
    audited: true,
    value: Value::Token,
    success: row(200, "返回用户token", &[]),
    refusals: &[
        POST_ONLY,
        CAPTCHA_WRONG,
        CAPTCHA_ABSENT,
        row(
            604,
            "账号或密码错误",
            &[Reason::FieldAbsent, Reason::PasswordWrong],
        ),
        OTP_WRONG,
    ],
};

/// `/api/user_info`: the account of the user with the token.
pub const USER_INFO: Endpoint = Endpoint {
    path: "/api/user_info",
    method: "POST",
    summary: "The account",
    fields: &[],
    optional: &[],
    flags: &[],
    captcha: false,
    token: Token::Body,
    cost: Cost::Quick,
    throttled: false,
    audited: false,
    value: Value::Account,
    success: row(200, "返回用户信息", &[]),
    refusals: &[TOKEN_UNKNOWN, TOKEN_ABSENT, POST_ONLY],
};

/// `/api/update_password`: a new password, for a client that knows the old one.
pub const UPDATE_PASSWORD: Endpoint = Endpoint {
    path: "/api/update_password",
    method: "POST",
    summary: "Another password; ends every session",
    fields: &[USERNAME, OLD_PASSWD, NEW_PASSWD],
    optional: &[OTP],
    flags: &[],
    captcha: true,
    token: Token::None,
    cost: Cost::Hash,
    throttled: true,
    audited: true,
    value: Value::Sentence,
    success: row(200, "好耶！修改成功~", &[]),
    refusals: &[
        row(
            404,
            "输入信息有误重新输入",
            &[
                Reason::FieldAbsent,
                Reason::FieldTooLong,
                Reason::PasswordTooWeak,
                Reason::PasswordWrong,
            ],
        ),
        POST_ONLY,
        CAPTCHA_WRONG,
        CAPTCHA_ABSENT,
        OTP_WRONG,
    ],
};

/// `/api/update_show_name`: a new display name.
pub const UPDATE_SHOW_NAME: Endpoint = Endpoint {
    path: "/api/update_show_name",
    method: "POST",
    summary: "Another display name",
    fields: &[NEW_SHOW_NAME],
    optional: &[],
    flags: &[],
    captcha: false,
    token: Token::Body,
    cost: Cost::Write,
    throttled: true,
    audited: false,
    value: Value::Sentence,
    success: row(200, "好诶！修改成功~", &[]),
    refusals: &[
        TOKEN_UNKNOWN,
        row(
            404,
            "输入信息有误重新输入",
            &[
                Reason::TokenAbsent,
                Reason::FieldAbsent,
                Reason::FieldTooLong,
            ],
        ),
        POST_ONLY,
    ],
};

/// `/api/update_key`: a new user key.
pub const UPDATE_KEY: Endpoint = Endpoint {
    path: "/api/update_key",
    method: "POST",
    summary: "A fresh user key",
    fields: &[],
    optional: &[],
    flags: &[],
    captcha: false,
    token: Token::Body,
    cost: Cost::Write,
    throttled: true,
    audited: true,
    value: Value::Sentence,
    success: row(200, "呐呐呐呐！修改成功了呢~", &[]),
    refusals: &[
        row(404, "输入信息有误重新输入", &[Reason::TokenAbsent]),
        TOKEN_UNKNOWN,
        POST_ONLY,
    ],
};

/// `/api/forget_password`: a new password for a client that knows name, email and a key.
pub const FORGET_PASSWORD: Endpoint = Endpoint {
    path: "/api/forget_password",
    method: "POST",
    summary: "A password for one that is forgotten; ends every session",
    fields: &[KEY, NAME, NEW_PASSWD, EMAIL],
    optional: &[OTP],
    flags: &[],
    captcha: true,
    token: Token::None,
    cost: Cost::Hash,
    throttled: true,
    audited: true,
    value: Value::Sentence,
    success: row(200, "修改成功啦~建议去配置文件中关闭忘记密码功能哦~", &[]),
    refusals: &[
        row(
            403,
            "小宝贝你没有开启忘记密码功能哦(๑•̀ㅂ•́)و✧",
            &[Reason::Disabled, Reason::DisabledAndKeyWrong],
        ),
        row(404, "大黑阔别乱搞，莎莎好怕怕(*/ω＼*)", &[Reason::KeyWrong]),
        POST_ONLY,
        row(
            501,
            "这个数据你是认真的嘛(。﹏。)",
            &[
                Reason::FieldAbsent,
                Reason::FieldTooLong,
                Reason::PasswordTooWeak,
                Reason::UserUnknown,
            ],
        ),
        CAPTCHA_WRONG,
        CAPTCHA_ABSENT,
        OTP_WRONG,
    ],
};

/// `/api/upload_avatar`: a new picture.
pub const UPLOAD_AVATAR: Endpoint = Endpoint {
    path: "/api/upload_avatar",
    method: "POST",
    summary: "A new picture",
    fields: &[],
    optional: &[],
    flags: &[],
    captcha: false,
    token: Token::Header,
    cost: Cost::Upload,
    throttled: true,
    audited: true,
    value: Value::AvatarName,
    success: row(200, "返回用户头像名字", &[]),
    refusals: &[
        row(
            169,
            BROKEN,
            &[
                Reason::FileUnusable,
                Reason::ReadFailed,
                Reason::WriteFailed,
                Reason::Panicked,
            ],
        ),
        TOKEN_UNKNOWN,
        row(
            404,
            "宝贝没有用户你要插到哪里去呢？",
            &[Reason::TokenAbsent],
        ),
        POST_ONLY,
        row(
            603,
            "它实在是太小了，莎酱真的一点感觉都没有o(TヘTo)",
            &[Reason::FileTooSmall],
        ),
    ],
};

/// `/api/get_verification_code`: a new captcha. It is not in the document; contract.md defines it.
pub const GET_VERIFICATION_CODE: Endpoint = Endpoint {
    path: "/api/get_verification_code",
    method: "GET",
    summary: "A captcha",
    fields: &[],
    optional: &[],
    flags: &[],
    captcha: false,
    token: Token::None,
    cost: Cost::Quick,
    throttled: true,
    audited: false,
    value: Value::Captcha,
    success: row(200, "", &[]),
    refusals: &[
        row(169, "呐呐呐！莎酱被玩坏啦(>^ω^<)", &[Reason::Panicked]),
        GET_ONLY,
    ],
};

/// `/api/logout`: the end of the token's session or, with `"everywhere": true`, of all sessions of
/// its user. An addition in the style of `user_info`.
pub const LOGOUT: Endpoint = Endpoint {
    path: "/api/logout",
    method: "POST",
    summary: "The end of a session or, with `everywhere`, of all of the user's",
    fields: &[],
    optional: &[],
    flags: &["everywhere"],
    captcha: false,
    token: Token::Body,
    cost: Cost::Write,
    throttled: true,
    audited: true,
    value: Value::Sentence,
    success: row(200, "好耶！退出成功~", &[]),
    refusals: &[TOKEN_UNKNOWN, TOKEN_ABSENT, POST_ONLY],
};

/// `/api/link_info`: what an invitation or a reset link is for. An addition for the page, so that
/// it can tell before a person types anything.
pub const LINK_INFO: Endpoint = Endpoint {
    path: "/api/link_info",
    method: "POST",
    summary: "What the key of an invitation or a reset link is for",
    fields: &[KEY],
    optional: &[],
    flags: &[],
    captcha: false,
    token: Token::None,
    cost: Cost::Quick,
    throttled: true,
    audited: false,
    value: Value::Link,
    success: row(200, "返回链接信息", &[]),
    refusals: &[
        row(
            404,
            "这个链接已经失效啦~",
            &[Reason::FieldAbsent, Reason::LinkUnknown],
        ),
        POST_ONLY,
    ],
};

/// The members of the additions for one's own account that are not in order.
const INPUT_WRONG: Row = row(
    404,
    "输入信息有误重新输入",
    &[
        Reason::TokenAbsent,
        Reason::FieldAbsent,
        Reason::FieldTooLong,
    ],
);
const PASSWORD_WRONG: Row = row(604, "账号或密码错误", &[Reason::PasswordWrong]);

/// `/api/totp_info`: whether the account has a second factor. An addition.
pub const TOTP_INFO: Endpoint = Endpoint {
    path: "/api/totp_info",
    method: "POST",
    summary: "Whether the account has a second factor, and how many recovery codes are left",
    fields: &[],
    optional: &[],
    flags: &[],
    captcha: false,
    token: Token::Body,
    cost: Cost::Quick,
    throttled: false,
    audited: false,
    value: Value::SecondFactor,
    success: row(200, "返回二步验证信息", &[]),
    refusals: &[TOKEN_UNKNOWN, TOKEN_ABSENT, POST_ONLY],
};

/// `/api/totp_begin`: the secret of a second factor, which is not on yet. An addition.
pub const TOTP_BEGIN: Endpoint = Endpoint {
    path: "/api/totp_begin",
    method: "POST",
    summary: "The secret of a second factor; nothing is on before `totp_confirm`",
    fields: &[PASSWD],
    optional: &[],
    flags: &[],
    captcha: false,
    token: Token::Body,
    cost: Cost::Hash,
    throttled: true,
    audited: false,
    value: Value::Enrolment,
    success: row(200, "返回二步验证密钥", &[]),
    refusals: &[
        TOKEN_UNKNOWN,
        INPUT_WRONG,
        POST_ONLY,
        row(
            503,
            "小宝贝你没有开启二步验证功能哦！！",
            &[Reason::Disabled],
        ),
        PASSWORD_WRONG,
        row(606, "二步验证已经开启啦~", &[Reason::TotpOn]),
    ],
};

/// `/api/totp_confirm`: turns the second factor on whose secret `totp_begin` has returned. An addition.
pub const TOTP_CONFIRM: Endpoint = Endpoint {
    path: "/api/totp_confirm",
    method: "POST",
    summary: "The second factor is on from now; recovery codes, shown once",
    fields: &[PASSWD, OTP],
    optional: &[],
    flags: &[],
    captcha: false,
    token: Token::Body,
    cost: Cost::Hash,
    throttled: true,
    audited: true,
    value: Value::RecoveryCodes,
    success: row(200, "返回恢复码", &[]),
    refusals: &[
        TOKEN_UNKNOWN,
        INPUT_WRONG,
        POST_ONLY,
        PASSWORD_WRONG,
        OTP_WRONG,
        row(
            606,
            "二步验证已经开启，或者还没有开始设置哦~",
            &[Reason::TotpOn, Reason::TotpOff],
        ),
    ],
};

/// `/api/totp_end`: turns the second factor off. An addition.
pub const TOTP_END: Endpoint = Endpoint {
    path: "/api/totp_end",
    method: "POST",
    summary: "The second factor is off from now",
    fields: &[PASSWD, OTP],
    optional: &[],
    flags: &[],
    captcha: false,
    token: Token::Body,
    cost: Cost::Hash,
    throttled: true,
    audited: true,
    value: Value::Sentence,
    success: row(200, "二步验证已经关闭~", &[]),
    refusals: &[
        TOKEN_UNKNOWN,
        INPUT_WRONG,
        POST_ONLY,
        PASSWORD_WRONG,
        OTP_WRONG,
        row(606, "还没有开启二步验证哦~", &[Reason::TotpOff]),
    ],
};

/// `/api/sessions`: the sessions of the token's owner. With `end` it ends one of them first. An
/// addition.
pub const SESSIONS: Endpoint = Endpoint {
    path: "/api/sessions",
    method: "POST",
    summary: "The user's sessions, the newest first; `end` is the id of one to end before",
    fields: &[],
    optional: &[END, OTP],
    flags: &[],
    captcha: false,
    token: Token::Body,
    cost: Cost::Write,
    throttled: true,
    audited: true,
    value: Value::Sessions,
    success: row(200, "返回会话列表", &[]),
    refusals: &[TOKEN_UNKNOWN, TOKEN_ABSENT, POST_ONLY, OTP_WRONG],
};

/// `/api/update_email`: another email. An addition.
pub const UPDATE_EMAIL: Endpoint = Endpoint {
    path: "/api/update_email",
    method: "POST",
    summary: "Another email; ends the reset link",
    fields: &[PASSWD, NEW_EMAIL],
    optional: &[OTP],
    flags: &[],
    captcha: false,
    token: Token::Body,
    cost: Cost::Hash,
    throttled: true,
    audited: true,
    value: Value::Sentence,
    success: row(200, "好耶！邮箱修改成功~", &[]),
    refusals: &[
        TOKEN_UNKNOWN,
        INPUT_WRONG,
        POST_ONLY,
        PASSWORD_WRONG,
        OTP_WRONG,
        row(607, "这个邮箱已经有人用啦~", &[Reason::Taken]),
    ],
};

/// `/api/delete_account`: the end of the account and of all that is stored of it. An addition.
pub const DELETE_ACCOUNT: Endpoint = Endpoint {
    path: "/api/delete_account",
    method: "POST",
    summary: "The end of the account, with its sessions and its picture",
    fields: &[PASSWD],
    optional: &[OTP],
    flags: &[],
    captcha: false,
    token: Token::Body,
    cost: Cost::Hash,
    throttled: true,
    audited: true,
    value: Value::Sentence,
    success: row(200, "账户已经删除，后会有期~", &[]),
    refusals: &[
        TOKEN_UNKNOWN,
        INPUT_WRONG,
        POST_ONLY,
        PASSWORD_WRONG,
        OTP_WRONG,
    ],
};

/// `/health`: whether requests are answered and the database can be read. An addition for
/// monitoring and for the supervisor.
pub const HEALTH: Endpoint = Endpoint {
    path: "/health",
    method: "GET",
    summary: "Whether requests are answered and the database can be read",
    fields: &[],
    optional: &[],
    flags: &[],
    captcha: false,
    token: Token::None,
    cost: Cost::Quick,
    throttled: false,
    audited: false,
    value: Value::Sentence,
    success: row(200, "ok", &[]),
    refusals: &[GET_ONLY],
};

/// `/api/forward_auth`: tells a proxy whether a request may pass, and as which user. An addition.
/// It answers with HTTP statuses and headers, and takes every method, so it has no rows and is not
/// in [`ADDITIONS`].
pub const FORWARD_AUTH: Endpoint = Endpoint {
    path: "/api/forward_auth",
    method: "",
    summary: "Whether a request that a proxy has received may pass, and as which user",
    fields: &[],
    optional: &[],
    flags: &[],
    captcha: false,
    token: Token::None,
    cost: Cost::Quick,
    throttled: true,
    audited: false,
    value: Value::Sentence,
    success: row(200, "", &[]),
    refusals: &[],
};

/// The eight interfaces of the document, in the order of the document.
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

/// The interfaces that are not in the document.
pub const ADDITIONS: [&Endpoint; 11] = [
    &GET_VERIFICATION_CODE,
    &LOGOUT,
    &SESSIONS,
    &UPDATE_EMAIL,
    &DELETE_ACCOUNT,
    &LINK_INFO,
    &TOTP_INFO,
    &TOTP_BEGIN,
    &TOTP_CONFIRM,
    &TOTP_END,
    &HEALTH,
];

/// The answers about HTTP itself, outside the interfaces: the HTTP status, which is also the
/// `code`, and the message.
pub const OUTSIDE: [(u16, &str); 7] = [
    (400, "malformed HTTP request"),
    (401, "not signed in"),
    (403, "this user may not open this address"),
    (404, "no such path"),
    (413, "request body too large"),
    (429, "too many requests, try again later"),
    (503, "the server is busy, try again later"),
];
