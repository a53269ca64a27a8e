//! The domain whose hosts share the cookie of a sign-in.

use std::net::IpAddr;

/// Whether a text is a valid `cookie_domain`. Browsers refuse cookies for a single label such as
/// `lan` or `home`, and for an IP address.
pub fn is_domain(text: &str) -> bool {
    text.contains('.') && is_host_name(text) && text.parse::<IpAddr>().is_err()
}

/// Whether a host is a domain or below it.
pub fn is_within(host: &str, domain: &str) -> bool {
    let host = host.to_ascii_lowercase();
    let below = host.strip_suffix(&domain.to_ascii_lowercase());
    below.is_some_and(|rest| rest.is_empty() || rest.ends_with('.') && is_host_name(&host))
}

/// Whether a text has labels of letters, digits and hyphens (RFC 1123, 2.1), and of underscores, which
/// browsers accept.
pub(super) fn is_host_name(text: &str) -> bool {
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
    };
    text.len() <= 253 && text.split('.').all(is_label)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cookie_domain_has_two_labels_and_nothing_else() {
        for domain in ["example.org", "a.b.example.org", "box.lan", "EXAMPLE.org"] {
            assert!(is_domain(domain), "{domain}");
        }
        for domain in [
            "",
            "lan",
            "home",
            "localhost",
            ".example.org",
            "example.org.",
            "example.org:8443",
            "https://example.org",
            "127.0.0.1",
            "*.example.org",
            "a b.org",
            "阿.org",
            "a..b",
        ] {
            assert!(!is_domain(domain), "{domain}");
        }
    }

    #[test]
    fn a_host_is_within_a_domain_at_a_dot() {
        for (host, expected) in [
            ("example.org", true),
            ("wiki.example.org", true),
            ("a.b.example.org", true),
            ("WIKI.Example.ORG", true),
            ("evilexample.org", false),
            ("example.org.evil.com", false),
            (".example.org", false),
            ("evil@.example.org", false),
            ("evil.com/.example.org", false),
            ("wiki.example.org:8443", false),
            ("org", false),
            ("", false),
        ] {
            assert_eq!(is_within(host, "example.org"), expected, "{host}");
        }
    }
}
