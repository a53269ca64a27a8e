//! What every source file keeps to: its first line, the packages that it may name.

use crate::support::root;
use accountd::contract::{ADDITIONS, DOCUMENT};
use std::fs;
use std::path::{Path, PathBuf};

pub fn sources() -> Vec<(String, String)> {
    fn walk(folder: &Path, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(&path, found);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push(path);
            }
        }
    }
    let mut found = Vec::new();
    walk(&root().join("src"), &mut found);
    let name = |path: &Path| {
        path.strip_prefix(root().join("src"))
            .unwrap()
            .to_str()
            .unwrap()
            .to_string()
    };
    found
        .iter()
        .map(|path| (name(path), fs::read_to_string(path).unwrap()))
        .collect()
}

/// The code of a file without its tests.
pub fn code(text: &str) -> &str {
    if text.contains("#![cfg(test)]") {
        return "";
    }
    text.split("#[cfg(test)]\nmod ").next().unwrap()
}

#[test]
fn every_file_opens_with_a_sentence() {
    for (name, text) in sources() {
        let first = text.lines().next().unwrap_or_default();
        assert!(
            first.starts_with("//! ") && first.len() > 20,
            "{name}: {first}"
        );
    }
}

#[test]
fn packages_are_named_where_they_belong() {
    let rooms: [(&str, &[&str]); 20] = [
        ("tiny_http::", &["server/queue.rs"]),
        ("httparse::", &["server/head.rs"]),
        (
            "rusqlite::",
            &["store/", "app.rs", "api/", "commands/mod.rs"],
        ),
        ("multipart::server", &["api/body/multipart/"]),
        ("md5::", &["account/password.rs"]),
        ("argon2::", &["account/password.rs"]),
        ("sha2::", &["crypto.rs"]),
        ("subtle::", &["crypto.rs"]),
        ("hmac::", &["account/totp.rs"]),
        ("sha1::", &["account/totp.rs"]),
        ("chacha20poly1305::", &["account/sealed.rs"]),
        ("qrcodegen::", &["account/qr.rs"]),
        ("rand::", &["crypto.rs", "account/captcha/"]),
        (
            "png::",
            &["account/captcha/draw.rs", "account/image/mod.rs"],
        ),
        (
            "rustix::",
            &[
                "clock.rs",
                "metrics/usage.rs",
                "server/",
                "process/",
                "commands/terminal/prompt.rs",
            ],
        ),
        (
            "signal_hook::",
            &["process/", "commands/terminal/progress.rs"],
        ),
        ("lexopt::", &["cli/", "command/args.rs"]),
        ("unicode_width::", &["commands/terminal/table.rs"]),
        ("ipnet::", &["http/client_address.rs"]),
        ("httpdate::", &["http/reply.rs"]),
    ];
    for (name, text) in sources() {
        for (package, allowed) in rooms {
            let named = code(&text).lines().any(|line| {
                let line = line.trim();
                !line.starts_with("//")
                    && line.match_indices(package).any(|(at, _)| {
                        !line[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == ':')
                    })
            });
            assert!(
                !named || allowed.iter().any(|room| name.starts_with(room)),
                "{name} names {package}"
            );
        }
    }
}

/// Docker's default seccomp profile refuses this system call, and closing slow connections must not
/// depend on it.
#[test]
fn only_socket_activation_needs_pidfd_getfd() {
    let users = sources()
        .into_iter()
        .filter(|(_, text)| code(text).contains("pidfd_getfd"));
    assert_eq!(
        users.map(|(name, _)| name).collect::<Vec<_>>(),
        ["process/activation.rs"]
    );
}

#[test]
fn handlers_know_no_number_and_no_sentence() {
    for (name, text) in sources()
        .iter()
        .filter(|(name, _)| name.starts_with("api/") && !name.starts_with("api/body/"))
        // forward_auth speaks to proxies, in HTTP statuses alone.
        .filter(|(name, _)| !["api/mod.rs", "api/forward_auth.rs"].contains(&&**name))
    {
        for line in code(text)
            .lines()
            .filter(|line| !line.trim().starts_with("//"))
        {
            assert!(line.is_ascii(), "{name}: {line}");
            // A digest is not a code.
            let line = line.replace("sha256", "");
            let numbers = line
                .split(|c: char| !c.is_ascii_digit())
                .any(|number| number.len() == 3);
            assert!(!numbers, "{name}: {line}");
        }
    }
}

#[test]
fn every_package_has_its_reason() {
    let manifest = fs::read_to_string(root().join("Cargo.toml")).unwrap();
    let further = manifest
        .split("# What those seven can't do.")
        .nth(1)
        .unwrap()
        .split("\n[")
        .next()
        .unwrap();
    let mut before = "";
    for line in further.lines().filter(|line| !line.is_empty()) {
        assert!(
            line.starts_with('#') || before.starts_with("# "),
            "no reason beside {line}"
        );
        before = line;
    }
}

#[test]
fn the_openapi_document_is_the_table() {
    let document = accountd::site::openapi::document();
    for (endpoint, tag) in DOCUMENT
        .iter()
        .map(|one| (one, "document"))
        .chain(ADDITIONS.iter().map(|one| (one, "additions")))
    {
        let operation = &document["paths"][endpoint.path][endpoint.method.to_lowercase()];
        assert_eq!(operation["tags"][0], tag, "{}", endpoint.path);
        assert!(
            operation["summary"].is_string(),
            "{} has no summary in src/site/openapi/interface.rs",
            endpoint.path
        );
        let answers =
            operation["responses"]["200"]["content"]["application/json"]["schema"]["oneOf"]
                .as_array()
                .unwrap();
        for row in endpoint
            .refusals
            .iter()
            .chain([&endpoint.success])
            .filter(|row| !row.message.is_empty())
        {
            let found = answers
                .iter()
                .find(|answer| answer["properties"]["code"]["const"] == row.code);
            let message = &found.unwrap_or_else(|| panic!("{} {}", endpoint.path, row.code))["properties"]
                ["message"];
            assert!(
                row.code == 200 || message["const"] == row.message,
                "{} {message}",
                endpoint.path
            );
        }
        let has_budget = !["/api/user_info", "/api/totp_info", "/health"].contains(&endpoint.path);
        assert_eq!(
            operation["responses"]["429"].is_object(),
            has_budget,
            "{}",
            endpoint.path
        );
        let members =
            &operation["requestBody"]["content"]["application/json"]["schema"]["properties"];
        for field in endpoint.fields {
            assert_eq!(
                members[field.name]["maxLength"], field.limit,
                "{} {}",
                endpoint.path, field.name
            );
        }
    }
    assert_eq!(
        document["paths"].as_object().unwrap().len(),
        DOCUMENT.len() + ADDITIONS.len() + 3
    );
}
