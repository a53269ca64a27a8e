//! The page at `/`, which carries values from the configuration.

use crate::account::policy;
use crate::config::{Config, Usernames};
use crate::contract::{ADDITIONS, DOCUMENT, TOO_SMALL};
use std::collections::BTreeMap;

/// Its text up to `<main>`. Each `{NAME}` in it is replaced.
const HEAD: &str = include_str!(concat!(env!("OUT_DIR"), "/head.html"));

/// The page up to `<main>` in a language with this tag, with the paths of the page's files by the
/// names of their places. Without a configured key, a function is shown as closed, since no key is
/// accepted.
pub(super) fn head(config: &Config, language: &str, files: &[(&str, &str)]) -> String {
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
    let common = if config.refuse_common_passwords {
        "refused"
    } else {
        "allowed"
    };
    let usernames = match config.usernames {
        Usernames::Any => "any",
        Usernames::Plain => "plain",
    };
    let cookie_domain = config.cookie_domain.as_deref().unwrap_or_default();
    let title = config.title.as_deref().unwrap_or_default();
    let limits: BTreeMap<_, _> = DOCUMENT
        .iter()
        .chain(&ADDITIONS)
        .flat_map(|endpoint| endpoint.fields)
        .map(|field| (field.name, field.limit))
        .collect();
    let limits = serde_json::to_string(&limits).expect("names and numbers serialise");
    // Relative, so that the page also works below a path of a proxy.
    let relative = |path: &str| path.trim_start_matches('/').to_string();
    let files = files.iter().map(|&(name, path)| (name, relative(path)));
    let mut values: Vec<_> = files.collect();
    values.extend([
        ("language", language.into()),
        ("title", title.into()),
        (
            "brand",
            config.title.as_deref().unwrap_or("accountd").into(),
        ),
        ("registration", registration.into()),
        ("reset", reset.into()),
        ("too-small", TOO_SMALL.to_string()),
        ("largest", config.max_avatar_bytes.to_string()),
        ("least", config.min_password_length.to_string()),
        ("common", common.into()),
        ("cookie-domain", cookie_domain.to_ascii_lowercase()),
        ("captcha-ttl", config.captcha_ttl_seconds.to_string()),
        ("usernames", usernames.into()),
        ("common-hashes", common_hashes()),
        ("limits", limits),
    ]);
    fill(HEAD, &values)
}

/// The passwords about which the page warns while they are typed: so many of the most common ones.
/// It never sends a password to ask.
const COMMON: usize = 50;

/// Five hex digits for each of these passwords: the upper 20 bits of FNV-1a. With 50 of them, one
/// other password in 21,000 gets the warning. The words themselves, many of them vulgar, would be
/// readable in the page's source and compress no better.
fn common_hashes() -> String {
    let hash = |word: &str| {
        word.bytes().fold(0x811c_9dc5_u32, |state, byte| {
            (state ^ u32::from(byte)).wrapping_mul(0x0100_0193)
        })
    };
    let list = policy::common_passwords();
    policy::words(&list)
        .take(COMMON)
        .map(|word| format!("{:05x}", hash(word) >> 12))
        .collect()
}

/// Replaces each `{NAME}`, in one pass: a value may contain braces. Values are escaped for text and
/// for attributes.
fn fill(template: &str, values: &[(&str, String)]) -> String {
    let mut parts = template.split('{');
    let mut filled = parts.next().unwrap_or_default().to_string();
    for part in parts {
        let (name, rest) = part.split_once('}').expect("each brace is closed");
        let value = values.iter().find(|(one, _)| *one == name);
        escape(&value.expect("each name has a value").1, &mut filled);
        filled += rest;
    }
    filled
}

fn escape(value: &str, into: &mut String) {
    for letter in value.chars() {
        match letter {
            '&' => into.push_str("&amp;"),
            '<' => into.push_str("&lt;"),
            '>' => into.push_str("&gt;"),
            '"' => into.push_str("&quot;"),
            '\'' => into.push_str("&#39;"),
            _ => into.push(letter),
        }
    }
}
