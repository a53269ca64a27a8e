//! From tiny_http's request to a plain [`Request`], and from a plain [`Reply`] to its socket.

use crate::contract::Answer;
use crate::form::Form;
use crate::socket;
use std::borrow::Cow;
use std::fs::File;
use std::io::{self, Cursor, Read, Write};
use std::net::IpAddr;
use std::time::{Duration, Instant, SystemTime};
use tiny_http::StatusCode;

/// The longest body that tiny_http reads before it hands the request over; reading it never waits for the client.
const AT_HAND: u64 = 1024;
/// How much of a body that nobody wants is read, so that the client gets to the answer: more than any
/// `max_avatar_bytes`. Who announces more is not listened to.
const DRAINED: u64 = 128 * 1024 * 1024;
/// A body must have come after this time ...
const PATIENCE: Duration = Duration::from_secs(10);
/// ... or go on coming at this pace on average, in bytes per second: an old telephone line.
const PACE: u64 = 4 * 1024;

/// A request as the interfaces see it.
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
    /// Who asks; nothing over a unix socket.
    pub client: Option<IpAddr>,
    /// When, in Unix seconds.
    pub now: i64,
}

/// What a client gets.
pub struct Reply {
    /// HTTP status.
    pub status: u16,
    /// `code` of a JSON answer, for the log.
    pub code: Option<u16>,
    /// Headers beside those of [`send`].
    pub headers: Vec<(&'static str, Cow<'static, str>)>,
    /// What follows the head.
    pub body: Body,
}

/// What follows the head of a reply.
pub enum Body {
    /// Bytes made for this reply.
    Bytes(Cow<'static, [u8]>),
    /// A file and its size in bytes.
    File(File, u64),
}

/// How the body of a request is delimited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// So many bytes, which are there already.
    AtHand,
    /// So many bytes, still to be read.
    Length(u64),
    /// Chunks, still to be read.
    Chunked,
    /// Nobody can say where the body ends.
    Broken,
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

impl Body {
    /// Bytes on the wire.
    #[must_use]
    pub fn len(&self) -> u64 {
        match self {
            Body::Bytes(bytes) => bytes.len() as u64,
            Body::File(_, size) => *size,
        }
    }

    /// Whether there is nothing to send.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// The time in Unix seconds.
#[must_use]
pub fn now() -> i64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs().cast_signed())
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

/// The plain request, its body still unread.
#[must_use]
pub fn head(request: &tiny_http::Request) -> Request {
    let mut head = Request {
        method: request.method().as_str().into(),
        path: request.url().split(['?', '#']).next().unwrap_or_default().into(),
        token: String::new(),
        content_type: String::new(),
        if_none_match: String::new(),
        origin: String::new(),
        preflight: false,
        form: Form::default(),
        client: request.remote_addr().map(|address| address.ip().to_canonical()),
        now: now(),
    };
    for header in request.headers() {
        let text = match header.field.as_str().as_str() {
            name if name.eq_ignore_ascii_case("token") => &mut head.token,
            name if name.eq_ignore_ascii_case("content-type") => &mut head.content_type,
            name if name.eq_ignore_ascii_case("if-none-match") => &mut head.if_none_match,
            name if name.eq_ignore_ascii_case("origin") => &mut head.origin,
            name => {
                head.preflight |= name.eq_ignore_ascii_case("access-control-request-method");
                continue;
            }
        };
        header.value.as_str().clone_into(text);
    }
    head
}

/// Reads a head strictly: what tiny_http would take in one way and a proxy before it in another is broken.
#[must_use]
pub fn framing(request: &tiny_http::Request) -> Framing {
    let (mut length, mut lengths, mut chunked, mut codings, mut expects, mut raw) = (None, 0, false, 0, false, false);
    for header in request.headers() {
        let (name, value) = (header.field.as_str().as_str(), header.value.as_str());
        if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_graphic()) || !value.bytes().all(printable) {
            return Framing::Broken;
        }
        if name.eq_ignore_ascii_case("content-length") {
            lengths += 1;
            length = Some(value)
                .filter(|value| value.bytes().all(|byte| byte.is_ascii_digit()))
                .and_then(|n| n.parse().ok());
        } else if name.eq_ignore_ascii_case("transfer-encoding") {
            codings += 1;
            chunked = value.eq_ignore_ascii_case("chunked");
        } else if name.eq_ignore_ascii_case("expect") {
            expects = true;
        } else if name.eq_ignore_ascii_case("connection") {
            raw |= upgrades(value);
        }
    }
    if !request.url().bytes().all(|byte| byte.is_ascii_graphic()) {
        return Framing::Broken;
    }
    match (lengths, length, codings) {
        (0, None, 0) => Framing::AtHand,
        (1, Some(bytes), 0) if bytes == 0 || bytes <= AT_HAND && !expects && !raw => Framing::AtHand,
        (1, Some(bytes), 0) => Framing::Length(bytes),
        (0, None, 1) if chunked && !raw => Framing::Chunked,
        _ => Framing::Broken,
    }
}

fn printable(byte: u8) -> bool {
    byte == b'\t' || (b' '..=b'~').contains(&byte)
}

/// The body of a request: ends where it ends, and fails when it comes too slowly or is announced too long.
pub struct Incoming<'a> {
    /// Nothing, if the announced length is not to be borne: what was begun would have to be read to its end.
    reader: Option<&'a mut dyn Read>,
    /// Bytes still to come; unknown of chunks.
    left: Option<u64>,
    ended: bool,
    read: u64,
    since: Instant,
}

impl<'a> Incoming<'a> {
    /// The body of a request with this framing.
    pub fn new(request: &'a mut tiny_http::Request, framing: Framing) -> Incoming<'a> {
        let left = match framing {
            Framing::Length(bytes) => Some(bytes),
            Framing::AtHand => Some(request.body_length().unwrap_or_default() as u64),
            Framing::Chunked | Framing::Broken => None,
        };
        let reader = bearable(framing).then(|| request.as_reader() as &mut dyn Read);
        Incoming { reader, left, ended: left == Some(0), read: 0, since: Instant::now() }
    }

    /// Reads on to the end, and says whether it came: only then may the connection be used again.
    pub fn drain(&mut self) -> bool {
        let _ = io::copy(&mut self.take(DRAINED), &mut io::sink());
        self.ended
    }
}

impl Read for Incoming<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.ended || buffer.is_empty() {
            return Ok(0);
        }
        let Some(reader) = &mut self.reader else { return Err(io::ErrorKind::FileTooLarge.into()) };
        if self.since.elapsed() > PATIENCE + Duration::from_secs(self.read / PACE) {
            return Err(io::ErrorKind::TimedOut.into());
        }
        let most = self.left.map_or(buffer.len(), |left| buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX)));
        let count = reader.read(&mut buffer[..most])?;
        self.read += count as u64;
        match &mut self.left {
            Some(_) if count == 0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            Some(left) => {
                *left -= count as u64;
                self.ended = *left == 0;
            }
            None => self.ended = count == 0,
        }
        Ok(count)
    }
}

/// Whether a body may be begun: only what is read to its end leaves the connection in order.
fn bearable(framing: Framing) -> bool {
    match framing {
        Framing::Length(bytes) => bytes <= DRAINED,
        Framing::AtHand | Framing::Chunked => true,
        Framing::Broken => false,
    }
}

/// Answers a request whose body has been read to its end.
///
/// # Errors
/// Whatever the connection says.
pub fn send(request: tiny_http::Request, reply: Reply, cors: &[(&str, &str)]) -> io::Result<()> {
    let head = reply_head(&reply, cors, last(&request));
    let bare = *request.method() == tiny_http::Method::Head;
    write(&mut request.into_writer(), head, reply.body, bare)
}

/// Answers a request whose body has no end in sight, and ends the connection.
pub fn abandon(request: tiny_http::Request, reply: Reply, cors: &[(&str, &str)]) {
    let peer = request.remote_addr().copied();
    let head = reply_head(&reply, cors, "close");
    let (held, known) = (holds_connection(&request), bearable(framing(&request)));
    let bare = *request.method() == tiny_http::Method::Head;
    // An interim answer, which clients skip, is what tiny_http lets go of reader and writer for.
    let mut stream = request.upgrade("close", tiny_http::Response::empty(100));
    let _ = write(&mut stream, head, reply.body, bare);
    let shut = peer.is_some_and(socket::shut);
    // Dropped, a reader that holds the connection would allocate what the client announced, or hand the rest of the
    // body to the parser as the next request. Only one that has come to its end may go; the others cost a thread
    // and two descriptors.
    if held && !(shut && known && io::copy(&mut stream, &mut io::sink()).is_ok()) {
        std::mem::forget(stream);
    }
}

/// Whether the body is still to be read from the connection, so that nothing behind it has been parsed.
fn holds_connection(request: &tiny_http::Request) -> bool {
    let length = request.body_length().unwrap_or_default() as u64;
    length > AT_HAND
        || request.headers().iter().any(|header| match header.field.as_str().as_str() {
            name if name.eq_ignore_ascii_case("transfer-encoding") => true,
            name if name.eq_ignore_ascii_case("expect") => length > 0,
            name if name.eq_ignore_ascii_case("connection") => upgrades(header.value.as_str()),
            _ => false,
        })
}

/// Whether tiny_http hands out the raw connection instead of a body.
fn upgrades(connection: &str) -> bool {
    connection.to_ascii_lowercase().contains("upgrade")
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

fn reply_head(reply: &Reply, cors: &[(&str, &str)], connection: &str) -> Vec<u8> {
    let mut head =
        Vec::with_capacity(640 + usize::try_from(reply.body.len()).map_or(0, |len| len.min(AT_HAND as usize)));
    let reason = StatusCode(reply.status).default_reason_phrase();
    let date = httpdate::HttpDate::from(SystemTime::now());
    // A Vec takes every write.
    let _ = write!(head, "HTTP/1.1 {} {reason}\r\nDate: {date}\r\nX-Content-Type-Options: nosniff\r\n", reply.status);
    if reply.status != 204 && reply.status != 304 {
        let _ = write!(head, "Content-Length: {}\r\n", reply.body.len());
    }
    if !connection.is_empty() {
        let _ = write!(head, "Connection: {connection}\r\n");
    }
    for (name, value) in reply.headers.iter().map(|(name, value)| (*name, &**value)).chain(cors.iter().copied()) {
        let _ = write!(head, "{name}: {value}\r\n");
    }
    head.extend_from_slice(b"\r\n");
    head
}

/// One write for head and body, since two would wait for each other (Nagle's algorithm and delayed ACKs).
fn write(writer: &mut dyn Write, mut head: Vec<u8>, body: Body, bare: bool) -> io::Result<()> {
    match body {
        Body::Bytes(bytes) if !bare => {
            head.extend_from_slice(&bytes);
            writer.write_all(&head)?;
        }
        Body::File(file, size) if !bare => {
            let mut all = Cursor::new(head).chain(file.take(size));
            let mut buffer = vec![0; 64 * 1024];
            let mut filled = 0;
            loop {
                let count = all.read(&mut buffer[filled..])?;
                filled += count;
                if filled > 0 && (count == 0 || filled == buffer.len()) {
                    writer.write_all(&buffer[..filled])?;
                    filled = 0;
                }
                if count == 0 {
                    break;
                }
            }
        }
        _ => writer.write_all(&head)?,
    }
    writer.flush()
}
