//! The table of settings: names, kinds, defaults and descriptions.

use super::cookie_domain::is_domain;
use super::{Listen, MAX_SOCKET_PATH, PublicUrl, logo};
use crate::contract;
use serde_json::Value;
use std::fmt;

/// A setting. `config.json`, the environment, docs/settings.md and `accountd config` follow this
/// table.
pub struct Setting {
    /// Its member in `config.json`. Its environment variable is `ACCOUNTD_` and the name in
    /// capitals.
    pub name: &'static str,
    /// The kind of its value.
    pub kind: Kind,
    /// The default value as JSON.
    pub default: &'static str,
    /// Its description, one sentence.
    pub doc: &'static str,
}

/// The kind of a setting's value.
#[derive(Clone, Copy)]
pub enum Kind {
    /// true or false.
    Flag,
    /// A whole number from the first to the second.
    Number(u64, u64),
    /// One of these words.
    Word(&'static [&'static str]),
    /// `IP:PORT` or `unix:PATH`.
    Address,
    /// Permission bits in octal, like `0660`.
    Mode,
    /// A group's name or number, or null.
    Group,
    /// `IP:PORT`, `unix:PATH` or null.
    OptionalAddress,
    /// A list of origins like `https://example.org`, or of `*`.
    Origins,
    /// A list of IP, IP/BITS or `unix`.
    Proxies,
    /// An address like `https://accounts.example.org`, or null.
    PublicUrl,
    /// A domain of at least two labels, or null.
    Domain,
    /// A line of text for people, or null.
    Title,
    /// The name of a picture in the data folder, or null.
    Logo,
    /// A text within the limit of [`contract::KEY`] or null, never shown. If it is null, no key is
    /// accepted.
    Secret,
}

/// The longest title in characters: it stands beside the logo on a phone.
const LONGEST_TITLE: usize = 60;

/// Every setting, in the order of the table in docs/settings.md.
pub const SETTINGS: &[Setting] = &[
    Setting {
        name: "registration_function_status",
        kind: Kind::Flag,
        default: "true",
        doc: "Whether accounts can be registered with the key below; invitations work in any case.",
    },
    Setting {
        name: "forgot_password_function_status",
        kind: Kind::Flag,
        default: "false",
        doc: "Whether a forgotten password can be reset with `forget_password_key`; reset links work in any case.",
    },
    Setting {
        name: "secret_key_required_for_account_registration",
        kind: Kind::Secret,
        default: "null",
        doc: "The `key` that registration requires, unless it is the key of an invitation; the first start writes a random one to the file; with null only invitations work.",
    },
    Setting {
        name: "forget_password_key",
        kind: Kind::Secret,
        default: "null",
        doc: "The `key` that a password reset requires, unless it is the key of a reset link; the first start writes a random one to the file; with null only reset links work.",
    },
    Setting {
        name: "totp_key",
        kind: Kind::Secret,
        default: "null",
        doc: "The key that encrypts the secrets of second factors in the database; the first start writes a random one to the file; with null no second factor can be turned on.",
    },
    Setting {
        name: "usernames",
        kind: Kind::Word(&["any", "plain"]),
        default: "\"any\"",
        doc: "The names that new users may have: with `plain` only a–z, 0–9, `.`, `_` and `-`, at most 64 characters, beginning with a letter or digit; existing names stay valid.",
    },
    Setting {
        name: "public_url",
        kind: Kind::PublicUrl,
        default: "null",
        doc: "The address of the page as browsers see it; links of invitations and reset links begin with it.",
    },
    Setting {
        name: "cookie_domain",
        kind: Kind::Domain,
        default: "null",
        doc: "The domain on whose hosts a sign-in at the web page opens programs behind `/api/forward_auth`; null for the page's own host.",
    },
    Setting {
        name: "listen",
        kind: Kind::Address,
        default: "\"127.0.0.1:9999\"",
        doc: "The address to listen on; port 0 picks a free port.",
    },
    Setting {
        name: "socket_mode",
        kind: Kind::Mode,
        default: "\"0660\"",
        doc: "Permissions of unix sockets; a client needs write permission to connect.",
    },
    Setting {
        name: "socket_group",
        kind: Kind::Group,
        default: "null",
        doc: "The group of unix sockets, instead of the server's own.",
    },
    Setting {
        name: "metrics_listen",
        kind: Kind::OptionalAddress,
        default: "null",
        doc: "The address of `/metrics`, which every client that can connect there can read; null disables it.",
    },
    Setting {
        name: "threads",
        kind: Kind::Number(1, 64),
        default: "4",
        doc: "The number of threads that answer requests; uploads and other long work get threads of their own.",
    },
    Setting {
        name: "token_ttl_seconds",
        kind: Kind::Number(1, 315_360_000),
        default: "86400",
        doc: "Seconds until a token expires.",
    },
    Setting {
        name: "sessions_per_user",
        kind: Kind::Number(1, 1000),
        default: "1",
        doc: "How many tokens of a user are valid at the same time; another log-in ends the oldest. If `cookie_domain` is set, the default is 10.",
    },
    Setting {
        name: "password_hash",
        kind: Kind::Word(&["md5", "argon2id"]),
        default: "\"md5\"",
        doc: "How passwords are stored; a log-in converts a password that is stored the other way.",
    },
    Setting {
        name: "min_password_length",
        kind: Kind::Number(0, 1024),
        default: "0",
        doc: "The minimum number of characters of a new password.",
    },
    Setting {
        name: "refuse_common_passwords",
        kind: Kind::Flag,
        default: "false",
        doc: "Whether the 2,500 most common passwords, and a user's own name, are refused as new passwords.",
    },
    Setting {
        name: "audit_days",
        kind: Kind::Number(0, 36_500),
        default: "90",
        doc: "How many days the entries of the audit log are kept; 0 disables it.",
    },
    Setting {
        name: "max_avatar_bytes",
        kind: Kind::Number(10_241, 104_857_600),
        default: "10485760",
        doc: "The maximum size of an uploaded picture in bytes.",
    },
    Setting {
        name: "captcha_ttl_seconds",
        kind: Kind::Number(1, 86_400),
        default: "300",
        doc: "How many seconds a captcha is valid.",
    },
    Setting {
        name: "max_captchas",
        kind: Kind::Number(1, 10_000_000),
        default: "20000",
        doc: "The maximum number of unanswered captchas (about 220 bytes each); above it, the network with the most loses its oldest.",
    },
    Setting {
        name: "cors_origins",
        kind: Kind::Origins,
        default: "[\"*\"]",
        doc: "The origins whose pages may use the API in a browser.",
    },
    Setting {
        name: "trusted_proxies",
        kind: Kind::Proxies,
        default: "[]",
        doc: "The proxies whose `X-Forwarded-For` or `Forwarded` is trusted; `unix` stands for every client of the unix socket.",
    },
    Setting {
        name: "throttle",
        kind: Kind::Flag,
        default: "true",
        doc: "Whether guessing is slowed down and each source has budgets; requests that exceed them get HTTP 429.",
    },
    Setting {
        name: "registrations_per_source",
        kind: Kind::Number(0, 100_000),
        default: "20",
        doc: "How many new accounts one source can have at once; after that it can have one more every ten seconds; 0 means no limit.",
    },
    Setting {
        name: "registrations_per_hour",
        kind: Kind::Number(0, 100_000),
        default: "300",
        doc: "How many accounts can be registered with the key in an hour, from all sources together; accounts by invitation do not count; 0 means no limit.",
    },
    Setting {
        name: "supervise",
        kind: Kind::Flag,
        default: "true",
        doc: "Whether a supervisor starts the worker process, and replaces it if it dies or does not answer.",
    },
    Setting {
        name: "memory_limit_mib",
        kind: Kind::Number(128, 1_048_576),
        default: "384",
        doc: "The memory limit of a worker in MiB, with the full stacks of its threads; a worker that exceeds it exits and is replaced.",
    },
    Setting {
        name: "page",
        kind: Kind::Flag,
        default: "true",
        doc: "Whether `/` serves the web page.",
    },
    Setting {
        name: "title",
        kind: Kind::Title,
        default: "null",
        doc: "The server's own name on the page; null for `accountd` and the host.",
    },
    Setting {
        name: "logo",
        kind: Kind::Logo,
        default: "null",
        doc: "The picture beside that name, of at most 64 KiB; null for accountd's own.",
    },
    Setting {
        name: "log",
        kind: Kind::Word(&["error", "info", "debug"]),
        default: "\"info\"",
        doc: "What is logged to standard error: with `error` faults, with `info` also each request, with `debug` also why uploads were refused.",
    },
];

impl fmt::Display for Kind {
    /// The valid values, for error messages and docs/settings.md.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Kind::Flag => f.write_str("true or false"),
            Kind::Number(min, max) => write!(f, "a whole number from {min} to {max}"),
            Kind::Word(words) => write!(f, "one of {}", words.join(", ")),
            Kind::Address => write!(f, "IP:PORT or unix:PATH (at most {MAX_SOCKET_PATH} bytes)"),
            Kind::OptionalAddress => write!(
                f,
                "IP:PORT, unix:PATH (at most {MAX_SOCKET_PATH} bytes) or null"
            ),
            Kind::Mode => f.write_str("permissions in octal like 0660"),
            Kind::Group => f.write_str("a group's name or number, or null"),
            Kind::Origins => f.write_str("a list of origins like https://example.org, or [\"*\"]"),
            Kind::Proxies => f.write_str("a list of IP, IP/BITS or unix"),
            Kind::PublicUrl => f.write_str("an address like https://accounts.example.org or null"),
            Kind::Domain => f.write_str(
                "a domain of at least two labels like example.org, without a dot before it, a port or a scheme, or null",
            ),
            Kind::Title => write!(f, "a line of 1 to {LONGEST_TITLE} characters or null"),
            Kind::Logo => f.write_str(
                "the name of a PNG, JPEG, WebP, GIF or SVG file in the data folder, or null",
            ),
            Kind::Secret => write!(
                f,
                "a text of 1 to {} characters or null",
                contract::KEY.limit
            ),
        }
    }
}

impl Kind {
    /// Whether a value is valid.
    pub(super) fn accepts(self, value: &Value) -> bool {
        match self {
            Kind::Flag => value.is_boolean(),
            Kind::Number(min, max) => value
                .as_u64()
                .is_some_and(|number| (min..=max).contains(&number)),
            Kind::Word(words) => value.as_str().is_some_and(|word| words.contains(&word)),
            Kind::OptionalAddress
            | Kind::PublicUrl
            | Kind::Domain
            | Kind::Title
            | Kind::Logo
            | Kind::Secret
                if value.is_null() =>
            {
                true
            }
            Kind::Address | Kind::OptionalAddress => value
                .as_str()
                .is_some_and(|text| text.parse::<Listen>().is_ok()),
            Kind::Mode => value
                .as_str()
                .is_some_and(|text| super::Mode::try_from(text.to_string()).is_ok()),
            Kind::Group => {
                let name = |text: &str| !text.is_empty() && !text.contains([':', '\n', ' ']);
                value.is_null() || value.as_str().is_some_and(name)
            }
            Kind::Origins => value
                .as_array()
                .is_some_and(|all| all.iter().all(|one| one.as_str().is_some_and(is_origin))),
            Kind::Proxies => {
                let proxy = |one: &Value| {
                    one.as_str().is_some_and(|text| {
                        text.parse::<crate::http::client_address::Proxy>().is_ok()
                    })
                };
                value.as_array().is_some_and(|all| all.iter().all(proxy))
            }
            Kind::PublicUrl => value
                .as_str()
                .is_some_and(|text| text.parse::<PublicUrl>().is_ok()),
            Kind::Domain => value.as_str().is_some_and(is_domain),
            Kind::Title => value.as_str().is_some_and(is_title),
            Kind::Logo => value.as_str().is_some_and(logo::is_name),
            Kind::Secret => value
                .as_str()
                .is_some_and(|text| (1..=contract::KEY.limit).contains(&text.chars().count())),
        }
    }

    /// Parses a value from the environment or the command line, where texts have no quotes.
    pub(super) fn parse_text(self, text: &str) -> Value {
        match self {
            Kind::Flag | Kind::Number(..) => {
                serde_json::from_str(text).unwrap_or_else(|_| text.into())
            }
            Kind::Origins | Kind::Proxies => text.split(',').map(str::trim).collect(),
            Kind::Word(_)
            | Kind::Address
            | Kind::OptionalAddress
            | Kind::Mode
            | Kind::Group
            | Kind::Domain
            | Kind::PublicUrl
            | Kind::Title
            | Kind::Logo
            | Kind::Secret => text.into(),
        }
    }
}

/// Whether a text is `*`, or a scheme, a host and an optional port as browsers send them.
fn is_origin(text: &str) -> bool {
    let host = text
        .strip_prefix("http://")
        .or_else(|| text.strip_prefix("https://"));
    let plain = |host: &str| {
        host.bytes()
            .all(|byte| byte.is_ascii_graphic() && !b"/?#@,\"\\".contains(&byte))
    };
    text == "*" || host.is_some_and(|host| !host.is_empty() && plain(host))
}

/// Whether a text is one line that is not blank.
fn is_title(text: &str) -> bool {
    let count = text.chars().count();
    count <= LONGEST_TITLE && !text.trim().is_empty() && !text.contains(char::is_control)
}
