//! The cookie that opens programs behind a proxy: only `forward_auth` reads it.

use super::call::Call;
use crate::config::{Config, PublicUrl};
use crate::http::Request;
use crate::http::cookie::Scope;

/// How the cookie is set for the page at which a request arrives.
pub fn scope<'a>(config: &'a Config, request: &Request) -> Scope<'a> {
    let from_proxy = request.from_proxy && request.headers.original.proto == "https";
    Scope {
        domain: config.cookie_domain.as_deref(),
        secure: config
            .public_url
            .as_ref()
            .map_or(from_proxy, PublicUrl::is_https),
    }
}

/// The cookie of a log-in that asks for one. A page of another origin gets none, so that it cannot
/// sign a person in to an account of its choice.
pub fn for_login(call: &Call, token: &str) -> Option<String> {
    let config = &call.app.config;
    if !call.body.is_true("cookie") || !is_own_origin(config, call.request) {
        return None;
    }
    let max_age = call
        .body
        .is_true("remember")
        .then_some(config.token_ttl_seconds);
    Some(scope(config, call.request).set(token, max_age))
}

/// The removal of the cookie at a log-out, if the client has sent it.
pub fn for_logout(call: &Call) -> Option<String> {
    let scope = scope(&call.app.config, call.request);
    let sent = call.request.headers.cookies.iter();
    let mut pairs = sent.flat_map(|line| line.split(';'));
    let has_it = pairs.any(|pair| {
        let name = pair.split('=').next().unwrap_or_default();
        name.trim_ascii() == scope.name()
    });
    has_it.then(|| scope.clear())
}

/// Whether a request comes from the server's own page, or not from a page.
fn is_own_origin(config: &Config, request: &Request) -> bool {
    let origin = &*request.headers.origin;
    let Some((_, authority)) = origin.split_once("://") else {
        return origin.is_empty();
    };
    let public = config.public_url.as_ref();
    public.is_some_and(|public| public.origin().eq_ignore_ascii_case(origin))
        || authority.eq_ignore_ascii_case(&request.headers.host)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::fixture::Fixture;
    use crate::contract::{LOGIN, LOGOUT};

    #[test]
    fn a_log_in_sets_the_cookie_only_for_the_own_page() {
        let fixture = Fixture::with(&[("ACCOUNTD_PUBLIC_URL", "https://accounts.example.org")]);
        let cookie = |origin: &str, body: &str| {
            let mut request = fixture.request(&LOGIN);
            request.headers.host = "127.0.0.1:9999".into();
            request.headers.origin = origin.into();
            for_login(&fixture.call(&LOGIN, &request, body), "t")
        };
        let wants = r#"{"cookie": true}"#;
        for origin in ["", "https://accounts.example.org", "http://127.0.0.1:9999"] {
            let found = cookie(origin, wants).unwrap_or_else(|| panic!("{origin}"));
            assert!(found.starts_with("__Host-accountd=t;") && found.contains("; Secure"));
            assert!(!found.contains("Max-Age"));
        }
        for origin in [
            "null",
            "https://evil.org",
            "http://accounts.example.org",
            "https://accounts.example.org:8443",
            "https://accounts.example.org.evil.org",
        ] {
            assert_eq!(cookie(origin, wants), None, "{origin}");
        }
        for body in [
            "{}",
            r#"{"cookie": false}"#,
            r#"{"cookie": "true"}"#,
            r#"{"remember": true}"#,
        ] {
            assert_eq!(cookie("", body), None, "{body}");
        }
        let lasting = cookie("", r#"{"cookie": true, "remember": true}"#).unwrap();
        assert!(lasting.ends_with("; Max-Age=86400"), "{lasting}");
    }

    #[test]
    fn the_scope_follows_from_the_address_of_the_page() {
        let https = |from_proxy: bool| {
            let mut request = Request {
                from_proxy,
                ..Request::default()
            };
            request.headers.original.proto = "https".into();
            request
        };
        for (settings, from_proxy, name, secure) in [
            (&[][..], false, "accountd", false),
            (&[], true, "__Host-accountd", true),
            (
                &[("ACCOUNTD_PUBLIC_URL", "http://box.lan")],
                true,
                "accountd",
                false,
            ),
            (
                &[("ACCOUNTD_PUBLIC_URL", "https://a.org")],
                false,
                "__Host-accountd",
                true,
            ),
            (
                &[("ACCOUNTD_COOKIE_DOMAIN", "example.org")],
                true,
                "accountd",
                true,
            ),
        ] {
            let fixture = Fixture::with(settings);
            let found = scope(&fixture.app.config, &https(from_proxy));
            assert_eq!((found.name(), found.secure), (name, secure), "{settings:?}");
        }
    }

    #[test]
    fn a_log_out_clears_the_cookie_that_was_sent() {
        let fixture = Fixture::new();
        for (line, clears) in [
            ("accountd=t", true),
            ("a=1; accountd=", true),
            ("a=accountd", false),
        ] {
            let mut request = fixture.request(&LOGOUT);
            request.headers.cookies = vec![line.into()];
            let cleared = for_logout(&fixture.call(&LOGOUT, &request, "{}"));
            assert_eq!(cleared.is_some(), clears, "{line}");
        }
    }
}
