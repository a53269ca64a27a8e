//! From tiny_http's request to a plain [`Request`], and from a plain [`Reply`] to its socket.

mod arrived;
mod framing;
mod reply;

pub use arrived::{Arrived, abandon, forgotten};
pub use framing::{Framing, Incoming, framing, holds_connection};
pub use reply::{Body, Outgoing, Reply, cors};

use crate::clock;
use crate::form::Form;
use crate::forwarded::{self, Headers, Proxy};
use crate::log::{self, Level};
use crate::secret;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Seconds from one line of the log about the headers of proxies to the next: each request may be a reason for one.
const PROXY_LINES: u64 = 60;

/// A request as the interfaces see it.
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
    /// Whether `Access-Control-Request-Method` asks what an OPTIONS request may find out.
    pub preflight: bool,
    /// The members of a JSON body.
    pub form: Form,
    /// Who asks, as far as it is known: nothing over a unix socket whose other end is not trusted to say, and where trusted
    /// proxies do not tell.
    pub client: Option<IpAddr>,
    /// When, in Unix seconds.
    pub now: i64,
    /// When, on a clock that nobody can set.
    pub uptime: Duration,
}

impl Request {
    /// Who asks, for a line of a log: an address, or `-`.
    #[must_use]
    pub fn source(&self) -> String {
        self.client.map_or_else(|| "-".into(), |client| client.to_string())
    }
}

/// The plain request, its body still unread. Who asks, these proxies may say.
#[must_use]
pub fn head(request: &tiny_http::Request, trusted: &[Proxy]) -> Request {
    let mut head = Request {
        method: request.method().as_str().into(),
        path: path(request.url()).into(),
        now: clock::now(),
        uptime: clock::uptime(),
        ..Request::default()
    };
    let mut forwarded = Headers::default();
    for header in request.headers() {
        let text = match header.field.as_str().as_str() {
            name if name.eq_ignore_ascii_case("token") => &mut head.token,
            name if name.eq_ignore_ascii_case("content-type") => &mut head.content_type,
            name if name.eq_ignore_ascii_case("if-none-match") => &mut head.if_none_match,
            name if name.eq_ignore_ascii_case("origin") => &mut head.origin,
            name if name.eq_ignore_ascii_case("x-forwarded-for") => {
                forwarded.list.push(header.value.as_str());
                continue;
            }
            name if name.eq_ignore_ascii_case("forwarded") => {
                forwarded.standard.push(header.value.as_str());
                continue;
            }
            name => {
                head.preflight |= name.eq_ignore_ascii_case("access-control-request-method");
                continue;
            }
        };
        header.value.as_str().clone_into(text);
    }
    let peer = request.remote_addr().map(|address| address.ip().to_canonical());
    head.client = forwarded::client(peer, &forwarded, trusted).unwrap_or_else(|why| {
        warn_of_proxy(&why, head.uptime);
        None
    });
    head
}

/// Writes what is wrong with the headers of a proxy, unless there was such a line a moment ago.
fn warn_of_proxy(why: &str, now: Duration) {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let now = now.as_secs();
    let due = |next| (now >= next).then_some(now + PROXY_LINES);
    if NEXT.fetch_update(Ordering::Relaxed, Ordering::Relaxed, due).is_ok() {
        log::line(Level::Info, why);
    }
}

/// The path of a request target, which may name scheme and host (RFC 9112, 3.2.2) and may have a query string.
#[must_use]
pub fn path(target: &str) -> &str {
    let after_host = target.strip_prefix("http://").map(|rest| rest.find('/').map_or("/", |at| &rest[at..]));
    after_host.unwrap_or(target).split(['?', '#']).next().unwrap_or_default()
}

/// The `ETag` of a text. Half a SHA-256: nobody looks for two texts with one digest here.
#[must_use]
pub fn tag(text: &str) -> String {
    let digits: String = secret::digest(text)[..16].iter().map(|byte| format!("{byte:02x}")).collect();
    format!("\"{digits}\"")
}

/// Whether `If-None-Match` says that the client has what carries this `ETag` (RFC 9110, 13.1.2).
#[must_use]
pub fn knows(if_none_match: &str, tag: &str) -> bool {
    if_none_match.split(',').map(str::trim).any(|one| one.trim_start_matches("W/") == tag || one == "*")
}

#[cfg(test)]
mod tests {
    use super::path;

    #[test]
    fn the_path_of_a_target() {
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
