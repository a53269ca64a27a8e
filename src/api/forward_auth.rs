//! `/api/forward_auth`: tells a proxy whether a request may pass, and as which user.
//!
//! A proxy asks before it passes a request on to a program. A status of 200 lets the request pass,
//! and `Remote-*` headers say as whom. Every other status is for the client: to sign in, or that
//! this user may not go there. Whatever is unclear is refused.

use super::body::json::JsonBody;
use super::call::Call;
use super::{checks, cookie, retry_after};
use crate::account::plain_name;
use crate::account::throttle::Secret;
use crate::app::App;
use crate::config::{PublicUrl, cookie_domain};
use crate::contract::{FORWARD_AUTH, Reason, Refusal, Success, outside};
use crate::crypto;
use crate::http::authorization::Authorization;
use crate::http::{Body, Original, Reply, Request};
use crate::log::{self, Level, Limited};
use crate::store::forward_auth::{self, ForwardedUser};
use std::borrow::Cow;
use std::fmt::Write;

/// Why proxies get no answer that they can use. Every client can cause these lines.
static WARNINGS: Limited = Limited::every(60);

/// No proxy and no browser may keep a decision.
const NO_STORE: (&str, Cow<str>) = ("Cache-Control", Cow::Borrowed("no-store"));

/// Answers the question of a proxy, or of the page that has set the cookie.
pub fn answer(app: &App, request: &Request) -> Reply {
    decide(app, request).map_or_else(|refusal| refusal, pass)
}

fn decide(app: &App, request: &Request) -> Result<ForwardedUser, Reply> {
    let Demands { groups, factor } = demands(&request.query).map_err(|parameter| {
        let shown: String = parameter.chars().take(80).collect();
        warn(&format!(
            "the parameter {shown:?} is not group=NAME or factor=2 once, so every request is refused; correct the proxy's \
             configuration"
        ));
        Reply::from(outside(403))
    })?;
    let call = Call::new(app, &FORWARD_AUTH, request, JsonBody::default());
    let user = identify(&call, factor).map_err(|refusal| refused(&call, refusal))?;
    let Some(user) = user else {
        return Err(sign_in(app, request, factor));
    };
    if !plain_name::is_plain(&user.name) {
        warn(&format!(
            "the name of user {} is not plain, so programs could take it for another one; rename the user",
            user.id
        ));
        return Err(forbidden(request, &user, &[]));
    }
    let is_member = |group: &&str| user.groups.split(',').any(|own| own == *group);
    if !groups.is_empty() && !groups.iter().any(is_member) {
        return Err(forbidden(request, &user, &groups));
    }
    Ok(user)
}

fn warn(text: &str) {
    WARNINGS.line(Level::Error, &format!("{}: {text}", FORWARD_AUTH.path));
}

/// What the proxy's configuration demands of a user.
#[derive(Default)]
struct Demands<'a> {
    /// The groups of which one is needed: `group=NAME`, repeatedly.
    groups: Vec<&'a str>,
    /// Whether the session must have been opened with a second factor: `factor=2`.
    factor: bool,
}

/// Reads the query. A parameter that is not known is an error, since a misspelt one would let
/// everyone pass.
fn demands(query: &str) -> Result<Demands<'_>, &str> {
    let mut demands = Demands::default();
    for parameter in query.split('&').filter(|parameter| !parameter.is_empty()) {
        match parameter.split_once('=') {
            Some(("group", name)) if plain_name::is_plain(name) => demands.groups.push(name),
            Some(("factor", "2")) if !demands.factor => demands.factor = true,
            _ => return Err(parameter),
        }
    }
    Ok(demands)
}

/// The user whose cookie, token or user key a request has. If a second factor is demanded, a user
/// key is not enough, and neither is a session that was opened without one.
fn identify(call: &Call, factor: bool) -> Result<Option<ForwardedUser>, Refusal> {
    let suffices = |user: &ForwardedUser| user.second_factor || !factor;
    let headers = &call.request.headers;
    let scope = cookie::scope(&call.app.config, call.request);
    if let Some(token) = scope.find(&headers.cookies)
        && let Some(user) = by_token(call, token)?.filter(suffices)
    {
        return Ok(Some(user));
    }
    match Authorization::parse(&headers.authorization) {
        Some(Authorization::Bearer(token)) => Ok(by_token(call, &token)?.filter(suffices)),
        Some(Authorization::Basic(name, key)) if !factor => by_key(call, &name, &key),
        _ => Ok(None),
    }
}

fn by_token(call: &Call, token: &str) -> Result<Option<ForwardedUser>, Refusal> {
    let digest = crypto::sha256(token);
    let now = call.request.now;
    let found = call
        .app
        .read(|db| forward_auth::by_token(db, &digest, now))?;
    Ok(found.map(|(user, seen_at)| {
        call.note_use(&digest, seen_at);
        user
    }))
}

fn by_key(call: &Call, name: &str, key: &str) -> Result<Option<ForwardedUser>, Refusal> {
    let mut found = None;
    let attempt = checks::attempt(call, &[Secret::UserKey(name)], || {
        let user = call.app.read(|db| forward_auth::by_name(db, name))?;
        found = user
            .filter(|(_, own)| crypto::constant_time_eq(own, key))
            .map(|(user, _)| user);
        if found.is_some() {
            Ok(Success::Sentence)
        } else {
            Err(Reason::KeyWrong.into())
        }
    });
    match attempt {
        Ok(_) => Ok(found),
        Err(refusal) if refusal.reason == Reason::KeyWrong => {
            checks::record_failed_sign_in(call, name);
            Ok(None)
        }
        Err(refusal) => Err(refusal),
    }
}

/// The reply if the question could not be answered.
fn refused(call: &Call, refusal: Refusal) -> Reply {
    if let Some(cause) = refusal.cause {
        log::line(Level::Error, &format!("{}: {cause}", call.endpoint.path));
    }
    match refusal.reason {
        Reason::TooOften(seconds) => retry_after(429, seconds),
        _ => retry_after(503, 1),
    }
}

/// The request may pass.
fn pass(user: ForwardedUser) -> Reply {
    let headers = vec![
        ("Remote-User", user.name.into()),
        ("Remote-Name", header_text(user.show_name).into()),
        ("Remote-Email", header_text(user.email).into()),
        ("Remote-Groups", user.groups.into()),
        NO_STORE,
    ];
    Reply::empty(200, headers)
}

/// A text without control characters, which could end a header, and without spaces around it.
fn header_text(text: String) -> String {
    if text.contains(char::is_control) || text.trim().len() < text.len() {
        let visible: String = text.chars().filter(|c| !c.is_control()).collect();
        visible.trim().into()
    } else {
        text
    }
}

/// The client has to sign in first: it is redirected to the page, or told so.
fn sign_in(app: &App, request: &Request, factor: bool) -> Reply {
    if let Some(location) = sign_in_address(app, request) {
        return Reply::empty(303, vec![("Location", location.into()), NO_STORE]);
    }
    let mut reply = Reply::from(outside(401));
    // A browser would show a dialog of its own for this challenge, also for requests of scripts. A
    // user key does not help if a second factor is demanded.
    let from_page = request.headers.from_browser || !request.headers.origin.is_empty();
    if !factor && !from_page && !accepts_html(request) {
        let challenge = "Basic realm=\"accountd\", charset=\"UTF-8\"";
        reply.headers.push(("WWW-Authenticate", challenge.into()));
    }
    reply
}

/// The page's address with the one to return to, if the proxy has told the latter and the client
/// can come back from there with the cookie.
fn sign_in_address(app: &App, request: &Request) -> Option<String> {
    let Original {
        method,
        proto,
        host,
        uri,
    } = &request.headers.original;
    let page = app.config.public_url.as_ref()?;
    let is_navigation = matches!(&**method, "" | "GET" | "HEAD") && accepts_html(request);
    if !request.from_proxy || !is_navigation || host.contains('/') || !uri.starts_with('/') {
        return None;
    }
    let asked: PublicUrl = format!("{proto}://{host}").parse().ok()?;
    let gets_the_cookie = match &app.config.cookie_domain {
        Some(domain) => cookie_domain::is_within(asked.host(), domain),
        None => asked.origin() == page.origin(),
    };
    if !gets_the_cookie {
        warn(&format!(
            "{} does not get the cookie of {}; set \"cookie_domain\" to a domain of both",
            asked.origin(),
            page.origin()
        ));
        return None;
    }
    let address = percent_encode(&format!("{}{uri}", asked.origin()));
    Some(format!("{page}/#return={address}"))
}

fn accepts_html(request: &Request) -> bool {
    request.headers.accept.contains("text/html")
}

/// As `encodeURIComponent` does, except for `!'()*`.
pub(super) fn percent_encode(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len() * 3 / 2);
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
            encoded.push(byte.into());
        } else {
            let _ = write!(encoded, "%{byte:02X}");
        }
    }
    encoded
}

/// The client is signed in, but may not go there.
fn forbidden(request: &Request, user: &ForwardedUser, groups: &[&str]) -> Reply {
    if !accepts_html(request) {
        return outside(403).into();
    }
    let name = escape_html(&user.name);
    let needed = escape_html(&groups.join(", "));
    let (english, chinese) = if groups.is_empty() {
        (
            "The administrator has to rename this account first: programs here accept plain names only.".into(),
            "请管理员先修改此账户的用户名：这里的程序只接受由字母、数字和 . _ - 组成的名称。".into(),
        )
    } else {
        (
            format!("This address is for members of: <b>{needed}</b>."),
            format!("此地址仅供以下用户组的成员访问：<b>{needed}</b>。"),
        )
    };
    let page = format!(
        "<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content=\"width=device-width\">\
         <title>403</title><p>Signed in as <b>{name}</b>. {english}</p>\
         <p lang=zh>当前登录用户：<b>{name}</b>。{chinese}</p></html>"
    );
    let headers = vec![
        ("Content-Type", "text/html; charset=utf-8".into()),
        NO_STORE,
        (
            "Content-Security-Policy",
            "default-src 'none'; frame-ancestors 'none'".into(),
        ),
    ];
    Reply {
        status: 403,
        code: None,
        headers,
        body: Body::Bytes(page.into_bytes().into()),
    }
}

fn escape_html(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::fixture::{Fixture, PASSWORD, value};
    use crate::contract::{LOGIN, LOGOUT, UPDATE_PASSWORD};
    use crate::store::{Durable, groups};
    use base64ct::{Base64, Encoding};
    use serde_json::json;

    const PAGE: (&str, &str) = ("ACCOUNTD_PUBLIC_URL", "https://accounts.example.org");
    const DOMAIN: (&str, &str) = ("ACCOUNTD_COOKIE_DOMAIN", "example.org");

    /// A request of a trusted proxy for a browser that wants to read a page.
    fn asked(fixture: &Fixture, host: &str, uri: &str) -> Request {
        let mut request = fixture.request(&FORWARD_AUTH);
        request.method = "GET".into();
        request.from_proxy = true;
        request.headers.from_browser = true;
        request.headers.accept = "text/html,application/xhtml+xml".into();
        request.headers.original = Original {
            method: "GET".into(),
            proto: "https".into(),
            host: host.into(),
            uri: uri.into(),
        };
        request
    }

    fn header<'a>(reply: &'a Reply, name: &str) -> Option<&'a str> {
        let found = reply.headers.iter().find(|one| one.0 == name);
        found.map(|one| &*one.1)
    }

    fn with_cookie(mut request: Request, cookie: &str) -> Request {
        request.headers.cookies = vec![cookie.into()];
        request
    }

    fn join(fixture: &Fixture, user: i64, group: &str) {
        let joined = fixture.app.write(Durable::Now, |db| {
            groups::add(db, group)?;
            let id = groups::id(db, group)?.unwrap();
            groups::join(db, user, id)
        });
        joined.unwrap();
    }

    #[test]
    fn each_credential_lets_a_request_pass_as_its_user() {
        let fixture = Fixture::with(&[PAGE, DOMAIN, ("ACCOUNTD_THROTTLE", "false")]);
        let (id, token) = fixture.signed_in("rei");
        join(&fixture, id, "media");
        join(&fixture, id, "admins");
        let basic = |name: &str, key: &str| {
            let text = Base64::encode_string(format!("{name}:{key}").as_bytes());
            format!("Basic {text}")
        };
        for (cookie, authorization, passes) in [
            (format!("accountd={token}"), String::new(), true),
            (
                format!("x=é; accountd={token}"),
                "Bearer of-the-program".into(),
                true,
            ),
            (String::new(), format!("Bearer {token}"), true),
            ("accountd=unknown".into(), format!("Bearer {token}"), true),
            (String::new(), basic("rei", "user key"), true),
            (String::new(), basic("rei", PASSWORD), false),
            (String::new(), basic("rei", ""), false),
            (String::new(), basic("REI", "user key"), false),
            (String::new(), basic("nobody", "user key"), false),
            (format!("__Host-accountd={token}"), String::new(), false),
            (
                format!("accountd={token}; accountd=other"),
                String::new(),
                false,
            ),
            (format!("accountd={}", &token[1..]), String::new(), false),
            (String::new(), String::new(), false),
        ] {
            for method in ["GET", "POST", "OPTIONS", "PROPFIND", ""] {
                let mut request = with_cookie(asked(&fixture, "wiki.example.org", "/"), &cookie);
                request.method = method.into();
                request.headers.preflight = true;
                request.headers.authorization = authorization.clone();
                let reply = answer(&fixture.app, &request);
                let expected = if passes { 200 } else { 303 };
                assert_eq!(reply.status, expected, "{method} {cookie} {authorization}");
                assert_eq!(header(&reply, "Cache-Control"), Some("no-store"));
                if passes {
                    let names = [
                        "Remote-User",
                        "Remote-Name",
                        "Remote-Email",
                        "Remote-Groups",
                    ];
                    let values = names.map(|name| header(&reply, name).unwrap());
                    assert_eq!(values, ["rei", "rei", "rei@example.org", "admins,media"]);
                    assert_eq!(reply.size(), 0);
                }
            }
        }
    }

    #[test]
    fn a_session_that_has_ended_lets_nothing_pass() {
        let fixture = Fixture::new();
        let (id, token) = fixture.signed_in("rei");
        let status = |token: &str| {
            let request = with_cookie(fixture.request(&FORWARD_AUTH), &format!("accountd={token}"));
            answer(&fixture.app, &request).status
        };
        assert_eq!(status(&token), 200);
        let other = fixture.session(id);
        let logout = json!({"token": token}).to_string();
        assert!(fixture.outcome(&LOGOUT, &logout).is_ok());
        assert_eq!((status(&token), status(&other)), (401, 200));
        let change = format!(r#""username":"rei","old_passwd":"{PASSWORD}","new_passwd":"new""#);
        assert!(fixture.with_captcha(&UPDATE_PASSWORD, &change).is_ok());
        assert_eq!(status(&other), 401);
    }

    #[test]
    fn a_group_is_needed_if_the_proxy_asks_for_it() {
        let fixture = Fixture::new();
        let (id, token) = fixture.signed_in("rei");
        join(&fixture, id, "media");
        for (query, status) in [
            ("", 200),
            ("&", 200),
            ("group=media", 200),
            ("group=admins&group=media", 200),
            ("group=admins", 403),
            ("group=Media", 403),
            ("group=", 403),
            ("group", 403),
            ("groups=media", 403),
            ("group=media&x=1", 403),
            ("group=media%2Cadmins", 403),
        ] {
            for accept in ["text/html", "*/*"] {
                let mut request =
                    with_cookie(fixture.request(&FORWARD_AUTH), &format!("accountd={token}"));
                request.query = query.into();
                request.headers.accept = accept.into();
                assert_eq!(answer(&fixture.app, &request).status, status, "{query}");
            }
        }
    }

    #[test]
    fn a_second_factor_is_needed_if_the_proxy_asks_for_it() {
        let fixture = Fixture::with(&[PAGE, DOMAIN, ("ACCOUNTD_SESSIONS_PER_USER", "10")]);
        let (id, without) = fixture.signed_in("rei");
        fixture.second_factor(id);
        join(&fixture, id, "media");
        let members = format!(
            r#""username":"rei","passwd":"{PASSWORD}","otp":"{}""#,
            Fixture::code(0)
        );
        let token = value(fixture.with_captcha(&LOGIN, &members));
        let with = token.as_str().unwrap();
        let key = format!("Basic {}", Base64::encode_string(b"rei:user key"));
        for (query, statuses) in [
            ("", [200, 200, 200]),
            ("factor=2", [303, 200, 303]),
            ("factor=2&group=media", [303, 200, 303]),
            ("group=admins&factor=2", [303, 403, 303]),
            ("factor=2&factor=2", [403, 403, 403]),
            ("factor=1", [403, 403, 403]),
            ("factor=", [403, 403, 403]),
            ("factor", [403, 403, 403]),
            ("Factor=2", [403, 403, 403]),
        ] {
            let credentials = [
                (format!("accountd={without}"), String::new()),
                (format!("accountd={with}"), String::new()),
                (String::new(), key.clone()),
            ];
            for ((cookie, authorization), status) in credentials.into_iter().zip(statuses) {
                let mut request = with_cookie(asked(&fixture, "wiki.example.org", "/"), &cookie);
                request.query = query.into();
                request.headers.authorization = authorization;
                assert_eq!(answer(&fixture.app, &request).status, status, "{query}");
            }
        }
        // A program may send its token instead. A challenge for the user key would mislead it.
        for (token, status) in [(&*without, 401), (with, 200)] {
            let mut request = fixture.request(&FORWARD_AUTH);
            request.query = "factor=2".into();
            request.headers.authorization = format!("Bearer {token}");
            let reply = answer(&fixture.app, &request);
            assert_eq!(reply.status, status);
            assert_eq!(header(&reply, "WWW-Authenticate"), None);
        }
    }

    #[test]
    fn a_refusal_names_user_and_group_as_text() {
        let fixture = Fixture::new();
        let (_, token) = fixture.signed_in("rei");
        let mut request = with_cookie(fixture.request(&FORWARD_AUTH), &format!("accountd={token}"));
        request.query = "group=admins&group=media".into();
        request.headers.accept = "text/html".into();
        let reply = answer(&fixture.app, &request);
        let Body::Bytes(bytes) = &reply.body else {
            panic!()
        };
        let text = std::str::from_utf8(bytes).unwrap();
        assert!(
            text.contains("<b>rei</b>") && text.contains("<b>admins, media</b>"),
            "{text}"
        );
        assert_eq!(
            escape_html("<a href=\"x\">&"),
            "&lt;a href=&quot;x&quot;&gt;&amp;"
        );
    }

    #[test]
    fn a_name_that_programs_could_confuse_does_not_pass() {
        let fixture = Fixture::new();
        for name in ["Rei", "rei ", "a,b", "阿巴", "-rei", "rei\u{200b}"] {
            let (_, token) = fixture.signed_in(name);
            let request = with_cookie(fixture.request(&FORWARD_AUTH), &format!("accountd={token}"));
            assert_eq!(answer(&fixture.app, &request).status, 403, "{name}");
        }
    }

    #[test]
    fn a_display_name_cannot_end_its_header() {
        for (text, expected) in [
            ("Rei\r\nRemote-User: admin", "ReiRemote-User: admin"),
            ("Rei\u{85}\u{0}\t", "Rei"),
            (" 阿巴 ", "阿巴"),
            ("", ""),
        ] {
            assert_eq!(header_text(text.into()), expected);
        }
    }

    #[test]
    fn a_browser_is_sent_to_the_page_with_the_address_to_return_to() {
        let fixture = Fixture::with(&[PAGE, DOMAIN]);
        for (host, uri, expected) in [
            (
                "wiki.example.org",
                "/a?b=c&d#e",
                Some("https%3A%2F%2Fwiki.example.org%2Fa%3Fb%3Dc%26d%23e"),
            ),
            ("example.org", "/", Some("https%3A%2F%2Fexample.org%2F")),
            (
                "a.b.example.org",
                "/é",
                Some("https%3A%2F%2Fa.b.example.org%2F%C3%A9"),
            ),
            (
                "wiki.example.org:8443",
                "/",
                Some("https%3A%2F%2Fwiki.example.org%3A8443%2F"),
            ),
            (
                "WIKI.example.org",
                "/",
                Some("https%3A%2F%2Fwiki.example.org%2F"),
            ),
            ("evil.org", "/", None),
            ("evilexample.org", "/", None),
            ("example.org.evil.org", "/", None),
            ("user@example.org", "/", None),
            ("evil.org/.example.org", "/", None),
            ("evil.org\\.example.org", "/", None),
            ("wiki.example.org:99999", "/", None),
            ("", "/", None),
            ("wiki.example.org", "", None),
            (
                "wiki.example.org",
                "//evil.org",
                Some("https%3A%2F%2Fwiki.example.org%2F%2Fevil.org"),
            ),
            ("wiki.example.org", "evil", None),
            ("wiki.example.org", "\r\nSet-Cookie: a=b", None),
        ] {
            let reply = answer(&fixture.app, &asked(&fixture, host, uri));
            let location = expected.map(|to| format!("https://accounts.example.org/#return={to}"));
            assert_eq!(
                header(&reply, "Location"),
                location.as_deref(),
                "{host} {uri}"
            );
            assert_eq!(reply.status, if expected.is_some() { 303 } else { 401 });
        }
    }

    #[test]
    fn only_a_navigation_that_a_trusted_proxy_describes_is_redirected() {
        let fixture = Fixture::with(&[PAGE, DOMAIN]);
        let status = |change: fn(&mut Request)| {
            let mut request = asked(&fixture, "wiki.example.org", "/");
            change(&mut request);
            answer(&fixture.app, &request).status
        };
        assert_eq!(status(|_| {}), 303);
        assert_eq!(
            status(|request| request.headers.original.method = String::new()),
            303
        );
        assert_eq!(status(|request| request.from_proxy = false), 401);
        assert_eq!(
            status(|request| request.headers.original.method = "POST".into()),
            401
        );
        assert_eq!(
            status(|request| request.headers.accept = "application/json".into()),
            401
        );
        assert_eq!(
            status(|request| request.headers.original.proto = "javascript".into()),
            401
        );
        assert_eq!(
            status(|request| request.headers.original = Original::default()),
            401
        );
        // Without a domain, only the page's own host gets the cookie.
        let own = Fixture::with(&[PAGE]);
        for (host, expected) in [
            ("accounts.example.org", 303),
            ("wiki.example.org", 401),
            ("accounts.example.org:8443", 401),
        ] {
            assert_eq!(
                answer(&own.app, &asked(&own, host, "/")).status,
                expected,
                "{host}"
            );
        }
        let unset = Fixture::new();
        assert_eq!(
            answer(&unset.app, &asked(&unset, "wiki.example.org", "/")).status,
            401
        );
    }

    #[test]
    fn a_challenge_is_only_for_programs_that_are_not_browsers() {
        let fixture = Fixture::new();
        for (accept, from_browser, challenged) in [
            ("", false, true),
            ("*/*", false, true),
            ("text/html", false, false),
            ("*/*", true, false),
        ] {
            let mut request = fixture.request(&FORWARD_AUTH);
            request.headers.accept = accept.into();
            request.headers.from_browser = from_browser;
            let reply = answer(&fixture.app, &request);
            let challenge = header(&reply, "WWW-Authenticate").is_some();
            assert_eq!((reply.status, challenge), (401, challenged), "{accept}");
        }
    }

    #[test]
    fn guesses_at_a_user_key_are_slowed_down() {
        let fixture = Fixture::new();
        fixture.signed_in("rei");
        let statuses = [0; 5].map(|_| {
            let mut request = fixture.request(&FORWARD_AUTH);
            let text = Base64::encode_string(b"rei:wrong");
            request.headers.authorization = format!("Basic {text}");
            answer(&fixture.app, &request).status
        });
        assert_eq!(statuses, [401, 401, 401, 429, 429]);
        let log_in = fixture.with_captcha(
            &LOGIN,
            &format!(r#""username":"rei","passwd":"{PASSWORD}""#),
        );
        assert!(
            log_in.is_ok(),
            "guesses at the key do not lock the password"
        );
    }
}
