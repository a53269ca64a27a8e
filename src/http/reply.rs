//! A reply, and how it is serialised.

use crate::contract::Answer;
use std::borrow::Cow;
use std::fs::File;
use std::io::Write;
use std::time::SystemTime;

/// Bytes reserved for a head; few are longer.
const HEAD_CAPACITY: usize = 768;

/// A reply to a request.
pub struct Reply {
    /// HTTP status.
    pub status: u16,
    /// `code` of a JSON answer, for the log and the metrics.
    pub code: Option<u16>,
    /// Headers in addition to those that every reply has.
    pub headers: Vec<(&'static str, Cow<'static, str>)>,
    /// The body.
    pub body: Body,
}

/// The body of a reply.
pub enum Body {
    /// Bytes in memory.
    Bytes(Cow<'static, [u8]>),
    /// A file and its size in bytes.
    File(File, u64),
}

impl From<Answer> for Reply {
    fn from(answer: Answer) -> Reply {
        Reply {
            status: answer.status,
            code: Some(answer.code),
            headers: vec![
                ("Content-Type", "application/json".into()),
                ("Cache-Control", "no-store".into()),
            ],
            body: Body::Bytes(answer.json.into_bytes().into()),
        }
    }
}

impl Reply {
    /// A reply without a body.
    pub fn empty(status: u16, headers: Vec<(&'static str, Cow<'static, str>)>) -> Reply {
        Reply {
            status,
            code: None,
            headers,
            body: Body::Bytes(Cow::Borrowed(&[])),
        }
    }

    /// The length of the body in bytes.
    pub fn size(&self) -> u64 {
        match &self.body {
            Body::Bytes(bytes) => bytes.len() as u64,
            Body::File(_, size) => *size,
        }
    }

    /// The bytes to send, with the body if it is in memory, and otherwise the file to send after
    /// them. `connection` is the value of the header `Connection`, which is left out if it is
    /// empty.
    pub fn into_wire(
        self,
        head_only: bool,
        connection: &str,
        cors: &[(&str, &str)],
    ) -> (Vec<u8>, Option<(File, u64)>) {
        let size = self.size();
        let in_memory = if let Body::Bytes(bytes) = &self.body {
            bytes.len()
        } else {
            0
        };
        let mut wire = Vec::with_capacity(HEAD_CAPACITY + in_memory);
        let date = httpdate::HttpDate::from(SystemTime::now());
        // Writing to a Vec cannot fail.
        let _ = write!(
            wire,
            "HTTP/1.1 {} {}\r\nDate: {date}\r\nX-Content-Type-Options: nosniff\r\n",
            self.status,
            reason(self.status)
        );
        if self.status != 204 && self.status != 304 {
            let _ = write!(wire, "Content-Length: {size}\r\n");
        }
        let connection = Some(("Connection", connection)).filter(|(_, value)| !value.is_empty());
        let own = self.headers.iter().map(|(name, value)| (*name, &**value));
        for (name, value) in connection
            .into_iter()
            .chain(own)
            .chain(cors.iter().copied())
        {
            // Without `write!`, which takes several times as long.
            for part in [name, ": ", value, "\r\n"] {
                wire.extend_from_slice(part.as_bytes());
            }
        }
        wire.extend_from_slice(b"\r\n");
        match self.body {
            _ if head_only => (wire, None),
            Body::Bytes(bytes) => {
                wire.extend_from_slice(&bytes);
                (wire, None)
            }
            Body::File(file, size) => (wire, Some((file, size))),
        }
    }
}

/// The reason phrase of a status (RFC 9110, 15).
fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        204 => "No Content",
        303 => "See Other",
        304 => "Not Modified",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        413 => "Content Too Large",
        429 => "Too Many Requests",
        500 => "Internal Server Error",
        503 => "Service Unavailable",
        _ => "",
    }
}

/// The CORS headers, which allow pages of other origins to use the reply. Errors need them too:
/// without them a page cannot read the reply at all.
pub fn cors<'a>(allowed: &'a [String], origin: &str) -> Vec<(&'static str, &'a str)> {
    let mut headers = vec![
        ("Access-Control-Allow-Methods", "GET, POST, OPTIONS"),
        (
            "Access-Control-Allow-Headers",
            "content-type, token, x-requested-with",
        ),
        ("Access-Control-Max-Age", "86400"),
        (
            "Access-Control-Expose-Headers",
            "VerificationCodeKey, Retry-After",
        ),
    ];
    if allowed.iter().any(|one| one == "*") {
        headers.push(("Access-Control-Allow-Origin", "*"));
        return headers;
    }
    headers.push(("Vary", "Origin"));
    if let Some(origin) = allowed.iter().find(|one| *one == origin) {
        headers.push(("Access-Control-Allow-Origin", origin));
    }
    headers
}
