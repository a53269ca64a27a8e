//! Requests and replies as values. Nothing here uses a socket.

pub mod client_address;
pub mod network;
mod reply;

pub use reply::{Body, Reply, cors};

use self::client_address::Proxy;
use crate::clock;
use crate::crypto;
use crate::log::{self, Level};
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Seconds between two log lines about the headers of proxies, since every request could cause one.
const WARNING_INTERVAL: u64 = 60;

/// A request as the handlers receive it, apart from its body.
#[derive(Default)]
pub struct Request {
    /// The method as it was sent.
    pub method: String,
    /// The path without its query string.
    pub path: String,
    /// The header `token`; empty if there is none.
    pub token: String,
    /// The header `Content-Type`; empty if there is none.
    pub content_type: String,
    /// The header `If-None-Match`; empty if there is none.
    pub if_none_match: String,
    /// The header `Origin`; empty if there is none.
    pub origin: String,
    /// Whether the header `Access-Control-Request-Method` is there: an OPTIONS request with it is a
    /// CORS preflight.
    pub preflight: bool,
    /// The client's address; `None` over a unix socket whose peer is not a trusted proxy, and if
    /// the headers of trusted proxies do not name one.
    pub client: Option<IpAddr>,
    /// When the request was complete, in Unix seconds.
    pub now: i64,
    /// The same time on the monotonic clock.
    pub uptime: Duration,
}

/// The headers that requests are answered by. Those about the connection itself are not among them.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Headers {
    token: String,
    content_type: String,
    if_none_match: String,
    origin: String,
    preflight: bool,
    forwarded_for: Vec<String>,
    forwarded: Vec<String>,
}

impl Headers {
    /// Adds a header line, if it is one of these headers. Bytes that are not UTF-8 are replaced.
    pub fn add(&mut self, name: &str, value: &[u8]) {
        let text = || String::from_utf8_lossy(value).into_owned();
        match name.len() {
            5 if name.eq_ignore_ascii_case("token") => self.token = text(),
            6 if name.eq_ignore_ascii_case("origin") => self.origin = text(),
            9 if name.eq_ignore_ascii_case("forwarded") => self.forwarded.push(text()),
            12 if name.eq_ignore_ascii_case("content-type") => self.content_type = text(),
            13 if name.eq_ignore_ascii_case("if-none-match") => self.if_none_match = text(),
            15 if name.eq_ignore_ascii_case("x-forwarded-for") => self.forwarded_for.push(text()),
            29 if name.eq_ignore_ascii_case("access-control-request-method") => {
                self.preflight = true
            }
            _ => {}
        }
    }

    /// The length of all values together, in bytes.
    pub fn size(&self) -> usize {
        let one = [
            &self.token,
            &self.content_type,
            &self.if_none_match,
            &self.origin,
        ];
        one.into_iter()
            .chain(&self.forwarded_for)
            .chain(&self.forwarded)
            .map(String::len)
            .sum()
    }

    /// The header `token`; empty if there is none.
    pub fn token(&self) -> &str {
        &self.token
    }

    /// The header `Origin`; empty if there is none.
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// The client's address for a connection from `peer`, which may be a trusted proxy.
    pub fn client(&self, peer: Option<IpAddr>, trusted: &[Proxy]) -> Option<IpAddr> {
        if self.forwarded_for.is_empty() && self.forwarded.is_empty() {
            return peer;
        }
        let headers = client_address::Headers {
            x_forwarded_for: self.forwarded_for.iter().map(String::as_str).collect(),
            forwarded: self.forwarded.iter().map(String::as_str).collect(),
        };
        client_address::client(peer, &headers, trusted).unwrap_or_else(|why| {
            warn_of_proxy(&why);
            None
        })
    }
}

/// Logs what is wrong with the headers of a proxy, at most once in [`WARNING_INTERVAL`].
fn warn_of_proxy(why: &str) {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let now = clock::uptime().as_secs();
    let due = |next| (now >= next).then_some(now + WARNING_INTERVAL);
    if NEXT
        .fetch_update(Ordering::Relaxed, Ordering::Relaxed, due)
        .is_ok()
    {
        log::line(Level::Info, why);
    }
}

impl Request {
    /// A complete request.
    pub fn new(
        method: String,
        path: String,
        headers: Headers,
        client: Option<IpAddr>,
        now: i64,
        uptime: Duration,
    ) -> Request {
        let Headers {
            token,
            content_type,
            if_none_match,
            origin,
            preflight,
            ..
        } = headers;
        Request {
            method,
            path,
            token,
            content_type,
            if_none_match,
            origin,
            preflight,
            client,
            now,
            uptime,
        }
    }

    /// The client's address for a log line, or `-` if it is not known.
    pub fn source(&self) -> String {
        self.client
            .map_or_else(|| "-".into(), |client| client.to_string())
    }
}

/// The path of a request target, which may name scheme and host (RFC 9112, 3.2.2) and may have a
/// query string.
pub fn path(target: &str) -> &str {
    let after_host = target
        .strip_prefix("http://")
        .map(|rest| rest.find('/').map_or("/", |at| &rest[at..]));
    after_host
        .unwrap_or(target)
        .split(['?', '#'])
        .next()
        .unwrap_or_default()
}

/// The beginning of a path, for a log line.
pub fn path_for_log(path: &str) -> String {
    path.chars().take(200).collect()
}

/// The `ETag` of a text: half of its SHA-256, since only accidental collisions matter here.
pub fn etag(text: &str) -> String {
    let digits: String = crypto::sha256(text)[..16]
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    format!("\"{digits}\"")
}

/// Whether an `If-None-Match` header matches this `ETag`, so that the client's copy is current (RFC
/// 9110, 13.1.2).
pub fn etag_matches(if_none_match: &str, etag: &str) -> bool {
    if_none_match
        .split(',')
        .map(str::trim)
        .any(|one| one.trim_start_matches("W/") == etag || one == "*")
}

#[cfg(test)]
mod tests {
    use super::path;

    #[test]
    fn a_path_has_neither_host_nor_query_string() {
        for (target, expected) in [
            ("/api/login", "/api/login"),
            ("/api/login/?a=/b#c", "/api/login/"),
            ("http://localhost:9999/api/login?a", "/api/login"),
            ("http://localhost", "/"),
            ("//api/login", "//api/login"),
            ("*", "*"),
            ("", ""),
        ] {
            assert_eq!(path(target), expected, "{target}");
        }
    }
}
