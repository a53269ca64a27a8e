//! The settings: one table of names, kinds, defaults and words.

use super::{LONGEST_PATH, Listen};
use crate::contract;
use serde_json::Value;
use std::fmt;

/// One setting, as `config.json`, the environment, docs/settings.md and `accountd config` know it.
pub struct Setting {
    /// Its member in `config.json`; in the environment `ACCOUNTD_` and the name in capitals.
    pub name: &'static str,
    /// What its value may be.
    pub kind: Kind,
    /// JSON of the value that is in force when nobody gives one.
    pub default: &'static str,
    /// One sentence for whoever sets it.
    pub doc: &'static str,
}

/// What the value of a setting may be.
#[derive(Clone, Copy)]
pub enum Kind {
    /// true or false
    Flag,
    /// A whole number from the first to the second.
    Number(u64, u64),
    /// One of these words.
    Word(&'static [&'static str]),
    /// `IP:PORT` or `unix:PATH`.
    Address,
    /// Permission bits, as `0660`.
    Mode,
    /// A group's name or number, or none.
    Group,
    /// `IP:PORT` or `unix:PATH`, or none.
    OptionalAddress,
    /// `*`, or origins like `https://example.org`.
    Origins,
    /// IP, IP/BITS or `unix`.
    Proxies,
    /// 1 to [`contract::KEY`]'s limit of characters that are shown nowhere; absent by default, and then no key fits.
    Secret,
}

/// Every setting, in the order of the table in docs/settings.md.
pub const SETTINGS: &[Setting] = &[
    Setting {
        name: "registration_function_status",
        kind: Kind::Flag,
        default: "true",
        doc: "Whether accounts can be registered.",
    },
    Setting {
        name: "forgot_password_function_status",
        kind: Kind::Flag,
        default: "false",
        doc: "Whether a forgotten password can be reset with `forget_password_key`.",
    },
    Setting {
        name: "secret_key_required_for_account_registration",
        kind: Kind::Secret,
        default: "null",
        doc: "The `key` that registering asks for; random in the file that the first start writes.",
    },
    Setting {
        name: "forget_password_key",
        kind: Kind::Secret,
        default: "null",
        doc: "The `key` that resetting a password asks for; random in the file that the first start writes.",
    },
    Setting {
        name: "listen",
        kind: Kind::Address,
        default: "\"127.0.0.1:9999\"",
        doc: "Where to listen; port 0 picks a free one.",
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
        doc: "Where `/metrics` is served, to every client that can connect there; without this setting, nowhere.",
    },
    Setting {
        name: "threads",
        kind: Kind::Number(1, 64),
        default: "4",
        doc: "Threads that answer requests; uploads and other long work have threads of their own.",
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
        doc: "How many tokens of a user are valid at the same time; a further log-in ends the oldest.",
    },
    Setting {
        name: "password_hash",
        kind: Kind::Word(&["md5", "argon2id"]),
        default: "\"md5\"",
        doc: "How passwords are stored; a log-in rewrites a row that is stored the other way.",
    },
    Setting {
        name: "min_password_length",
        kind: Kind::Number(0, 1024),
        default: "0",
        doc: "The fewest characters of a new password.",
    },
    Setting {
        name: "refuse_common_passwords",
        kind: Kind::Flag,
        default: "false",
        doc: "Whether the 2,500 commonest passwords, and a user's own name, are refused as new passwords.",
    },
    Setting {
        name: "audit_days",
        kind: Kind::Number(0, 36_500),
        default: "90",
        doc: "Days for which the audit log is kept; 0 keeps none.",
    },
    Setting {
        name: "max_avatar_bytes",
        kind: Kind::Number(10_241, 104_857_600),
        default: "10485760",
        doc: "The largest picture that can be uploaded.",
    },
    Setting {
        name: "captcha_ttl_seconds",
        kind: Kind::Number(1, 86_400),
        default: "300",
        doc: "How long a captcha can be answered.",
    },
    Setting {
        name: "max_captchas",
        kind: Kind::Number(1, 10_000_000),
        default: "20000",
        doc: "How many captchas wait for their answer (about 220 bytes each); when there are more, the network that has most loses its oldest.",
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
        doc: "The proxies whose `X-Forwarded-For` or `Forwarded` is believed; `unix` is every client of the unix socket.",
    },
    Setting {
        name: "throttle",
        kind: Kind::Flag,
        default: "true",
        doc: "Whether guessing is slowed down and each source has budgets; requests above them get HTTP 429.",
    },
    Setting {
        name: "supervise",
        kind: Kind::Flag,
        default: "true",
        doc: "Whether a supervisor starts the worker that serves, and replaces it if it dies or does not answer.",
    },
    Setting {
        name: "memory_limit_mib",
        kind: Kind::Number(128, 1_048_576),
        default: "384",
        doc: "The most memory of a worker in MiB, with the whole stacks of its threads; one that needs more ends and is replaced.",
    },
    Setting {
        name: "page",
        kind: Kind::Flag,
        default: "true",
        doc: "Whether `/` is a web page for people.",
    },
    Setting {
        name: "log",
        kind: Kind::Word(&["error", "info", "debug"]),
        default: "\"info\"",
        doc: "What is written to standard error: faults; also a line for each request; also why an upload was refused.",
    },
];

impl fmt::Display for Kind {
    /// What would be right, for an error and docs/settings.md.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Kind::Flag => f.write_str("true or false"),
            Kind::Number(least, most) => write!(f, "a whole number from {least} to {most}"),
            Kind::Word(words) => write!(f, "one of {}", words.join(", ")),
            Kind::Address => write!(f, "IP:PORT or unix:PATH (at most {LONGEST_PATH} bytes)"),
            Kind::OptionalAddress => write!(
                f,
                "IP:PORT, unix:PATH (at most {LONGEST_PATH} bytes) or null"
            ),
            Kind::Mode => f.write_str("permissions in octal like 0660"),
            Kind::Group => f.write_str("a group's name or number, or null"),
            Kind::Origins => f.write_str("a list of origins like https://example.org, or [\"*\"]"),
            Kind::Proxies => f.write_str("a list of IP, IP/BITS or unix"),
            Kind::Secret => write!(f, "a text of 1 to {} characters", contract::KEY.limit),
        }
    }
}

impl Kind {
    /// Whether a value is one of this kind.
    pub(super) fn allows(self, value: &Value) -> bool {
        match self {
            Kind::Flag => value.is_boolean(),
            Kind::Number(least, most) => value
                .as_u64()
                .is_some_and(|number| (least..=most).contains(&number)),
            Kind::Word(words) => value.as_str().is_some_and(|word| words.contains(&word)),
            Kind::OptionalAddress if value.is_null() => true,
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
                .is_some_and(|all| all.iter().all(|one| one.as_str().is_some_and(origin))),
            Kind::Proxies => {
                let proxy = |one: &Value| {
                    one.as_str().is_some_and(|text| {
                        text.parse::<crate::http::client_address::Proxy>().is_ok()
                    })
                };
                value.as_array().is_some_and(|all| all.iter().all(proxy))
            }
            Kind::Secret => value
                .as_str()
                .is_some_and(|text| (1..=contract::KEY.limit).contains(&text.chars().count())),
        }
    }

    /// The value that a text without quotes means, in the environment or on the command line.
    pub(super) fn of_text(self, text: &str) -> Value {
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
            | Kind::Secret => text.into(),
        }
    }
}

/// A scheme, a host and perhaps a port, as browsers send it; or all of them.
fn origin(text: &str) -> bool {
    let host = text
        .strip_prefix("http://")
        .or_else(|| text.strip_prefix("https://"));
    let plain = |host: &str| {
        host.bytes()
            .all(|byte| byte.is_ascii_graphic() && !b"/?#@,\"\\".contains(&byte))
    };
    text == "*" || host.is_some_and(|host| !host.is_empty() && plain(host))
}
