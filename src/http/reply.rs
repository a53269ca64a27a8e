//! What a client gets, and how it gets there: in one write, and without waiting for one who does not read.

use super::Arrived;
use crate::contract::Answer;
use crate::socket;
use std::borrow::Cow;
use std::fs::File;
use std::io::{self, ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::time::{Duration, Instant, SystemTime};
use tiny_http::{Method, StatusCode};

/// An answer must have been read after this time ...
const PATIENCE: Duration = Duration::from_secs(10);
/// ... or go on being read at this pace on average, in bytes per second.
const PACE: u64 = 4 * 1024;
/// The largest answer in bytes that is small.
const SMALL: u64 = 128 * 1024;
/// Room for a head, in bytes; few are longer.
const HEAD: usize = 768;
/// How much of a file is in memory at a time, in bytes.
const WINDOW: u64 = 64 * 1024;

/// What a client gets.
pub struct Reply {
    /// HTTP status.
    pub status: u16,
    /// `code` of a JSON answer, for the log.
    pub code: Option<u16>,
    /// Headers beside those that every answer has.
    pub headers: Vec<(&'static str, Cow<'static, str>)>,
    /// What follows the head.
    pub body: Body,
}

/// What follows the head of a reply.
pub enum Body {
    /// Bytes.
    Bytes(Cow<'static, [u8]>),
    /// A file and its size in bytes.
    File(File, u64),
}

impl From<Answer> for Reply {
    fn from(answer: Answer) -> Reply {
        Reply {
            status: answer.status,
            code: Some(answer.code),
            headers: vec![("Content-Type", "application/json".into()), ("Cache-Control", "no-store".into())],
            body: Body::Bytes(answer.json.into_bytes().into()),
        }
    }
}

impl Reply {
    /// An answer without a body.
    #[must_use]
    pub fn empty(status: u16, headers: Vec<(&'static str, Cow<'static, str>)>) -> Reply {
        Reply { status, code: None, headers, body: Body::Bytes(Cow::Borrowed(&[])) }
    }

    /// Bytes of the body.
    #[must_use]
    pub fn size(&self) -> u64 {
        match &self.body {
            Body::Bytes(bytes) => bytes.len() as u64,
            Body::File(_, size) => *size,
        }
    }
}

/// What tells a browser that pages of other origins may use an answer: on every one, or it shows nothing of it.
#[must_use]
pub fn cors<'a>(allowed: &'a [String], origin: &str) -> Vec<(&'static str, &'a str)> {
    let mut headers = vec![
        ("Access-Control-Allow-Methods", "GET, POST, OPTIONS"),
        ("Access-Control-Allow-Headers", "content-type, token, x-requested-with"),
        ("Access-Control-Max-Age", "86400"),
        ("Access-Control-Expose-Headers", "VerificationCodeKey, Retry-After"),
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

/// An answer on its way. Dropped before its end, it ends the connection, since the client waits for the rest.
pub struct Outgoing {
    writer: Box<dyn Write + Send>,
    peer: Option<SocketAddr>,
    /// What is to be sent next, of which `sent` bytes are.
    window: Vec<u8>,
    sent: usize,
    rest: Option<io::Take<File>>,
    done: bool,
    total: u64,
    since: Instant,
}

impl Outgoing {
    /// The answer to a request whose body has been read to its end; the last one of its connection, if `closing`.
    #[must_use]
    pub fn new(arrived: Arrived, reply: Reply, cors: &[(&str, &str)], closing: bool) -> Outgoing {
        let request = arrived.into_inner();
        let (window, rest) = wire(&request, reply, cors, if closing { "close" } else { last(&request) });
        Outgoing {
            peer: request.remote_addr().copied(),
            writer: request.into_writer(),
            window,
            sent: 0,
            rest,
            done: false,
            total: 0,
            since: Instant::now(),
        }
    }

    /// Whether it goes into the kernel's buffer even if nobody reads.
    #[must_use]
    pub fn is_small(&self) -> bool {
        self.window.len() as u64 + self.rest.as_ref().map_or(0, io::Take::limit) <= SMALL
    }

    /// Sends what the kernel takes; true when that was all.
    ///
    /// # Errors
    /// Whatever the connection says.
    pub fn push(&mut self) -> io::Result<bool> {
        match self.push_all() {
            Ok(()) => {
                self.done = true;
                Ok(true)
            }
            // The time-out that the socket has for a write.
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(false),
            Err(error) => {
                // A connection that is broken needs no end; a file that is shorter than announced does.
                self.done = error.kind() != ErrorKind::UnexpectedEof;
                Err(error)
            }
        }
    }

    /// Sends all of it, for as long as the client goes on reading.
    ///
    /// # Errors
    /// Whatever the connection says, or that the client reads too slowly.
    pub fn finish(mut self) -> io::Result<()> {
        while !self.push()? {
            if self.since.elapsed() > PATIENCE + Duration::from_secs(self.total / PACE) {
                return Err(ErrorKind::TimedOut.into());
            }
        }
        Ok(())
    }

    fn push_all(&mut self) -> io::Result<()> {
        loop {
            while self.sent < self.window.len() {
                let count = self.writer.write(&self.window[self.sent..])?;
                if count == 0 {
                    return Err(ErrorKind::WriteZero.into());
                }
                self.sent += count;
                self.total += count as u64;
            }
            self.window.clear();
            self.sent = 0;
            if !fill(&mut self.window, &mut self.rest)? {
                return self.writer.flush();
            }
        }
    }
}

impl Drop for Outgoing {
    fn drop(&mut self) {
        if !self.done
            && let Some(peer) = self.peer
        {
            let _ = socket::shut(peer);
        }
    }
}

/// Fills the window up from the file; false if there is nothing more.
fn fill(window: &mut Vec<u8>, rest: &mut Option<io::Take<File>>) -> io::Result<bool> {
    let Some(file) = rest else { return Ok(false) };
    let space = WINDOW.saturating_sub(window.len() as u64);
    let count = file.by_ref().take(space).read_to_end(window)?;
    if count == 0 && file.limit() > 0 {
        // Fewer bytes than its head announces.
        return Err(ErrorKind::UnexpectedEof.into());
    }
    Ok(count > 0)
}

/// What `Connection` has to say: tiny_http ends or keeps the connection by the same rules.
fn last(request: &tiny_http::Request) -> &'static str {
    let wish = request.headers().iter().find(|header| header.field.equiv("Connection"));
    let wish = wish.map(|header| header.value.as_str().to_ascii_lowercase()).unwrap_or_default();
    match (wish.contains("close") || wish.contains("upgrade"), *request.http_version() <= (1, 0)) {
        (true, _) => "close",
        (false, true) if wish.contains("keep-alive") => "keep-alive",
        (false, true) => "close",
        (false, false) => "",
    }
}

/// The first bytes of an answer, and the file that the others come from. Head and body are one write, since two would
/// wait for each other (Nagle's algorithm and delayed ACKs).
pub(super) fn wire(
    request: &tiny_http::Request,
    reply: Reply,
    cors: &[(&str, &str)],
    connection: &str,
) -> (Vec<u8>, Option<io::Take<File>>) {
    let size = reply.size();
    let follows = if let Body::Bytes(bytes) = &reply.body { bytes.len() } else { 0 };
    let mut wire = Vec::with_capacity(HEAD + follows);
    let reason = StatusCode(reply.status).default_reason_phrase();
    let date = httpdate::HttpDate::from(SystemTime::now());
    // A Vec takes every write.
    let _ = write!(wire, "HTTP/1.1 {} {reason}\r\nDate: {date}\r\nX-Content-Type-Options: nosniff\r\n", reply.status);
    if reply.status != 204 && reply.status != 304 {
        let _ = write!(wire, "Content-Length: {size}\r\n");
    }
    let connection = Some(("Connection", connection)).filter(|(_, value)| !value.is_empty());
    let own = reply.headers.iter().map(|(name, value)| (*name, &**value));
    for (name, value) in connection.into_iter().chain(own).chain(cors.iter().copied()) {
        // Put together by hand: formatting takes several times as long, for each answer.
        for piece in [name, ": ", value, "\r\n"] {
            wire.extend_from_slice(piece.as_bytes());
        }
    }
    wire.extend_from_slice(b"\r\n");
    match reply.body {
        _ if *request.method() == Method::Head => (wire, None),
        Body::Bytes(bytes) => {
            wire.extend_from_slice(&bytes);
            (wire, None)
        }
        Body::File(file, size) => {
            let mut rest = Some(file.take(size));
            match fill(&mut wire, &mut rest) {
                Ok(_) => (wire, rest),
                // A head that promises more than follows: the connection ends, and the client knows.
                Err(_) => (Vec::new(), None),
            }
        }
    }
}
