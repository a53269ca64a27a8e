//! The web page: its files, which are part of the program, and how they are served.

use crate::config::Config;
use crate::contract::{DOCUMENT, TOO_SMALL};
use crate::http::{self, Body, Reply};
use std::borrow::Cow;
use std::collections::BTreeMap;

/// The page at `/`. Each `{NAME}` in it is replaced by a value from the configuration.
const INDEX: &str = include_str!("files/index.html");

/// The files below `/page/`: names and texts.
const FILES: [(&str, &str); 24] = [
    ("style.css", include_str!("files/style.css")),
    ("icon.svg", include_str!("files/icon.svg")),
    ("main.js", include_str!("files/main.js")),
    ("account.js", include_str!("files/account.js")),
    ("address.js", include_str!("files/address.js")),
    ("api.js", include_str!("files/api.js")),
    ("captcha.js", include_str!("files/captcha.js")),
    ("crop.js", include_str!("files/crop.js")),
    ("encode.js", include_str!("files/encode.js")),
    ("forms.js", include_str!("files/forms.js")),
    ("links.js", include_str!("files/links.js")),
    ("onward.js", include_str!("files/onward.js")),
    ("return.js", include_str!("files/return.js")),
    ("session.js", include_str!("files/session.js")),
    ("settings.js", include_str!("files/settings.js")),
    ("square.js", include_str!("files/square.js")),
    ("storage.js", include_str!("files/storage.js")),
    ("texts.js", include_str!("files/texts.js")),
    ("key.js", include_str!("files/key.js")),
    ("own.js", include_str!("files/own.js")),
    ("sessions.js", include_str!("files/sessions.js")),
    ("sheet.js", include_str!("files/sheet.js")),
    ("texts-account.js", include_str!("files/texts-account.js")),
    ("totp.js", include_str!("files/totp.js")),
];

/// What a browser may do with the page: run its scripts, show its pictures and the one that is
/// being cropped, and send requests to this server. Inline scripts, other origins, frames, and text
/// as markup are forbidden.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; connect-src 'self'; \
     base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'";

/// The files as they are sent.
pub struct Page(Vec<File>);

struct File {
    path: String,
    content_type: &'static str,
    text: Cow<'static, str>,
    etag: String,
}

impl Page {
    /// The page of a server with this configuration.
    pub fn new(config: &Config) -> Page {
        let below_page = FILES
            .into_iter()
            .map(|(name, text)| (format!("/page/{name}"), Cow::Borrowed(text)));
        let all = [("/".to_string(), Cow::Owned(index(config)))]
            .into_iter()
            .chain(below_page);
        Page(
            all.map(|(path, text)| File {
                content_type: content_type(&path),
                etag: http::etag(&text),
                path,
                text,
            })
            .collect(),
        )
    }

    /// The reply to GET; `None` if the path has no file.
    pub fn serve(&self, path: &str, if_none_match: &str) -> Option<Reply> {
        let file = self.0.iter().find(|file| file.path == path)?;
        let headers = vec![
            ("Content-Type", file.content_type.into()),
            ("ETag", file.etag.clone().into()),
            ("Cache-Control", "no-cache".into()),
            ("Content-Security-Policy", POLICY.into()),
            ("Referrer-Policy", "no-referrer".into()),
            ("Cross-Origin-Opener-Policy", "same-origin".into()),
        ];
        if http::etag_matches(if_none_match, &file.etag) {
            return Some(Reply::empty(304, headers));
        }
        let body = match &file.text {
            Cow::Borrowed(text) => Cow::Borrowed(text.as_bytes()),
            Cow::Owned(text) => Cow::Owned(text.clone().into_bytes()),
        };
        Some(Reply {
            status: 200,
            code: None,
            headers,
            body: Body::Bytes(body),
        })
    }
}

/// The text of `/`. Without a configured key, a function is shown as closed, since no key is
/// accepted.
fn index(config: &Config) -> String {
    let open = |on: bool, key: &Option<String>| {
        if on && key.is_some() {
            "open"
        } else {
            "closed"
        }
    };
    let registration = open(
        config.registration_function_status,
        &config.secret_key_required_for_account_registration,
    );
    let reset = open(
        config.forgot_password_function_status,
        &config.forget_password_key,
    );
    let cookie_domain = config.cookie_domain.as_deref().unwrap_or_default();
    let cookie_domain = cookie_domain.to_ascii_lowercase();
    let limits: BTreeMap<_, _> = DOCUMENT
        .iter()
        .flat_map(|endpoint| endpoint.fields)
        .map(|field| (field.name, field.limit))
        .collect();
    INDEX
        .replace("{registration}", registration)
        .replace("{reset}", reset)
        .replace("{too-small}", &TOO_SMALL.to_string())
        .replace("{largest}", &config.max_avatar_bytes.to_string())
        .replace("{least}", &config.min_password_length.to_string())
        .replace(
            "{common}",
            if config.refuse_common_passwords {
                "refused"
            } else {
                "allowed"
            },
        )
        .replace("{cookie-domain}", &cookie_domain)
        .replace(
            "{limits}",
            &serde_json::to_string(&limits).expect("names and numbers serialise"),
        )
}

fn content_type(path: &str) -> &'static str {
    match path.rsplit_once('.') {
        None => "text/html; charset=utf-8",
        Some((_, "css")) => "text/css; charset=utf-8",
        Some((_, "js")) => "text/javascript; charset=utf-8",
        Some((_, "svg")) => "image/svg+xml",
        Some(other) => panic!("no content type for {other:?}"),
    }
}
