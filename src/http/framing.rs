//! Where a body begins and ends, and reading it without waiting for ever.

use std::io::{self, Read};
use std::time::{Duration, Instant};

/// The longest body that tiny_http reads before it hands the request over; reading it never waits for the client.
const AT_HAND: u64 = 1024;
/// How much of a body that nobody wants is read, so that the client gets to the answer: more than any
/// `max_avatar_bytes`. Who announces more is not listened to.
const DRAINED: u64 = 128 * 1024 * 1024;
/// A body must have come after this time ...
const PATIENCE: Duration = Duration::from_secs(10);
/// ... or go on coming at this pace on average, in bytes per second: an old telephone line.
const PACE: u64 = 4 * 1024;

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

/// Whether the body is still to be read from the connection, so that nothing behind it has been parsed.
#[must_use]
pub fn holds_connection(request: &tiny_http::Request) -> bool {
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
