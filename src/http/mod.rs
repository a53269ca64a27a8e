//! Requests and replies as values. Nothing here uses a socket.

pub mod authorization;
pub mod client_address;
pub mod cookie;
pub mod encoding;
pub mod network;
mod reply;
pub mod user_agent;

pub use reply::{Body, Reply, cors};

use self::client_address::Proxy;
use crate::crypto;
use crate::log::{Level, Limited};
use std::net::IpAddr;
use std::time::Duration;

/// What is wrong with the headers of proxies.
static PROXY_WARNINGS: Limited = Limited::every(60);
/// Bytes of `User-Agent` that are looked at: browsers send up to 250.
const LONGEST_USER_AGENT: usize = 512;

/// A request as the handlers receive it, apart from its body.
#[derive(Default)]
pub struct Request {
    /// The method as it was sent.
    pub method: String,
    /// The path without its query string.
    pub path: String,
    /// The query string; empty if there is none.
    pub query: String,
    /// The headers that requests are answered by.
    pub headers: Headers,
    /// The client's address; `None` over a unix socket whose peer is not a trusted proxy, and if
    /// the headers of trusted proxies do not name one.
    pub client: Option<IpAddr>,
    /// Whether the peer is a trusted proxy.
    pub from_proxy: bool,
    /// When the request was complete, in Unix seconds.
    pub now: i64,
    /// The same time on the monotonic clock.
    pub uptime: Duration,
}

/// The headers that requests are answered by. Those about the connection itself are not among them.
/// An absent header is empty.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Headers {
    /// `token`
    pub token: String,
    /// `Content-Type`
    pub content_type: String,
    /// `If-None-Match`
    pub if_none_match: String,
    /// `Origin`
    pub origin: String,
    /// `Host`
    pub host: String,
    /// `Accept`
    pub accept: String,
    /// `Accept-Encoding`; several lines are one list.
    pub accept_encoding: String,
    /// Whether `Accept-Language` prefers Chinese to English.
    pub prefers_chinese: bool,
    /// `Authorization`
    pub authorization: String,
    /// The beginning of `User-Agent`.
    pub user_agent: String,
    /// Each line of `Cookie`.
    pub cookies: Vec<String>,
    /// Whether `Access-Control-Request-Method` is there: an OPTIONS request with it is a CORS
    /// preflight.
    pub preflight: bool,
    /// Whether `Sec-Fetch-Mode` or `Referer` is there, as in requests of pages in browsers.
    /// Browsers send the former only over HTTPS and to this machine.
    pub from_browser: bool,
    /// The request that a proxy asks about. Only that of a trusted proxy is true.
    pub original: Original,
    forwarded_for: Vec<String>,
    forwarded: Vec<String>,
}

/// The client's request, as a proxy describes it in its question to `/api/forward_auth`.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Original {
    /// `X-Forwarded-Method`
    pub method: String,
    /// `X-Forwarded-Proto`
    pub proto: String,
    /// `X-Forwarded-Host`
    pub host: String,
    /// `X-Forwarded-Uri`
    pub uri: String,
}

impl Headers {
    /// Adds a header line, if it is one of these headers. Bytes that are not UTF-8 are replaced.
    pub fn add(&mut self, name: &str, value: &[u8]) {
        let text = || String::from_utf8_lossy(value).into_owned();
        let is = |other: &str| name.eq_ignore_ascii_case(other);
        match name.len() {
            4 if is("host") => self.host = text(),
            5 if is("token") => self.token = text(),
            6 if is("origin") => self.origin = text(),
            6 if is("accept") => self.accept = text(),
            6 if is("cookie") => self.cookies.push(text()),
            9 if is("forwarded") => self.forwarded.push(text()),
            10 if is("user-agent") => {
                let end = value.len().min(LONGEST_USER_AGENT);
                self.user_agent = String::from_utf8_lossy(&value[..end]).into_owned();
            }
            12 if is("content-type") => self.content_type = text(),
            13 if is("if-none-match") => self.if_none_match = text(),
            13 if is("authorization") => self.authorization = text(),
            7 if is("referer") => self.from_browser = true,
            14 if is("sec-fetch-mode") => self.from_browser = true,
            15 if is("x-forwarded-for") => self.forwarded_for.push(text()),
            15 if is("accept-encoding") => {
                if !self.accept_encoding.is_empty() {
                    self.accept_encoding.push(',');
                }
                self.accept_encoding
                    .push_str(&String::from_utf8_lossy(value));
            }
            15 if is("accept-language") => {
                self.prefers_chinese = encoding::prefers_chinese(&text())
            }
            15 if is("x-forwarded-uri") => self.original.uri = text(),
            16 if is("x-forwarded-host") => self.original.host = text(),
            17 if is("x-forwarded-proto") => self.original.proto = text(),
            18 if is("x-forwarded-method") => self.original.method = text(),
            29 if is("access-control-request-method") => self.preflight = true,
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
            &self.host,
            &self.accept,
            &self.accept_encoding,
            &self.authorization,
            &self.user_agent,
            &self.original.method,
            &self.original.proto,
            &self.original.host,
            &self.original.uri,
        ];
        let lists = [&self.cookies, &self.forwarded_for, &self.forwarded];
        let lists = lists.into_iter().flatten();
        one.into_iter().chain(lists).map(String::len).sum()
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
            PROXY_WARNINGS.line(Level::Info, &why);
            None
        })
    }
}

impl Request {
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

/// The query string of a request target, without its question mark.
pub fn query(target: &str) -> &str {
    let target = target.split('#').next().unwrap_or_default();
    target.split_once('?').map_or("", |(_, query)| query)
}

/// The beginning of a path, for a log line.
pub fn path_for_log(path: &str) -> String {
    path.chars().take(200).collect()
}

/// The `ETag` of a content.
pub fn etag(content: impl AsRef<[u8]>) -> String {
    format!("\"{}\"", digest(content))
}

/// A digest that tells contents apart: half of their SHA-256, since only accidental collisions
/// matter here.
pub fn digest(content: impl AsRef<[u8]>) -> String {
    crypto::sha256(content)[..16]
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
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
