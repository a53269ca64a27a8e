//! A client's connection: what was received, and what it is doing.

use super::chunked::{Chunked, Piece};
use super::head::{Framing, Head};
use super::outgoing::Outgoing;
use crate::http::Headers;
use crate::http::network::Source;
use crate::sync::lock;
use rustix::fd::OwnedFd;
use rustix::net::{SendFlags, getpeername, send};
use std::net::{IpAddr, SocketAddr};
use std::ops::{Deref, DerefMut};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// The maximum size of a JSON body in bytes; a longer one gets HTTP 413.
pub const MAX_BODY: usize = 64 * 1024;
/// The maximum size of a chunked JSON body as it is sent: a chunk of one byte takes six.
const MAX_CHUNKED_BODY: usize = 6 * MAX_BODY;
/// How long a connection may be idle, and how long a head may take from its first byte.
pub const IDLE_TIMEOUT: Duration = Duration::from_secs(20);
/// A body must be received, and a reply read by the client, within this time ...
const TRANSFER_GRACE: Duration = Duration::from_secs(10);
/// ... or at this rate on average, in bytes per second: a slow modem's.
const MIN_RATE: u64 = 4 * 1024;

/// A connection.
pub struct Connection {
    /// Its number, unique in this process.
    pub number: u64,
    /// Its socket, which is non-blocking.
    pub socket: OwnedFd,
    /// The address of its other end; `None` for a unix socket.
    pub peer: Option<IpAddr>,
    /// The network that it is counted for.
    pub source: Source,
    state: Mutex<State>,
    /// Bytes of memory that all connections use together.
    memory_used: Arc<AtomicUsize>,
}

/// The locked state of a connection. Its memory is counted when it is unlocked.
pub struct StateGuard<'a> {
    state: MutexGuard<'a, State>,
    memory_used: &'a AtomicUsize,
}

/// The mutable part of a connection.
pub struct State {
    /// What it is doing.
    pub phase: Phase,
    /// Received bytes that do not belong to a complete request yet.
    pub received: Vec<u8>,
    /// How many of them were searched for the end of the head.
    pub scanned: usize,
    /// Whether the kernel has reported input, or its end, that was not read yet.
    pub readable: bool,
    /// When the current phase began.
    pub since: Instant,
    /// When the current phase is ended if it has not ended by then.
    pub deadline: Option<Instant>,
    /// The part of the shared counter that is counted for this connection.
    accounted: usize,
}

/// What a connection is doing.
pub enum Phase {
    /// It waits for a request, or a head is being received.
    Head,
    /// A short body is being received, which is kept until it is complete.
    Body(Box<PartialRequest>),
    /// A complete request waits for a thread. Its method and path are in the queue.
    Queued(Box<PendingRequest>),
    /// A thread answers the request.
    Busy,
    /// A reply is ready. It is sent after the rest of the request's body was received and
    /// discarded.
    DrainingBody(Box<BodyDrain>),
    /// A reply is being sent.
    Sending(Box<Outgoing>),
    /// Lingering close: the last reply was sent, and up to this many more bytes are discarded.
    Lingering(u64),
    /// It is closed.
    Closed,
}

/// A request whose body is being received.
pub struct PartialRequest {
    /// Its head.
    pub head: Head,
    /// Where the undecoded part of the received bytes begins.
    at: usize,
    chunked: Chunked,
    decoded: Vec<u8>,
}

/// Discards the rest of a body before the reply is sent, since proxies and browsers may lose a
/// reply that they get before they have sent the whole body.
pub struct BodyDrain {
    /// The part that was not received yet.
    pub rest: Remaining,
    /// Bytes that were discarded.
    pub total: u64,
    /// The reply.
    pub outgoing: Outgoing,
}

/// The part of a body that was not received yet.
pub enum Remaining {
    /// A number of bytes.
    Length(u64),
    /// Chunks.
    Chunked(Chunked),
    /// Its end cannot be found, or the client does not send it before it has a reply.
    Unknown,
}

impl Remaining {
    /// All of a body.
    pub fn of(framing: Framing, expects_continue: bool) -> Remaining {
        match framing {
            _ if expects_continue => Remaining::Unknown,
            Framing::Length(length) => Remaining::Length(length),
            Framing::Chunked => Remaining::Chunked(Chunked::default()),
        }
    }

    /// Consumes the body's bytes at the beginning of `received`. Returns their number and whether
    /// they were the last ones, or `None` if the end of the body cannot be found.
    pub fn consume(&mut self, received: &[u8]) -> Option<(usize, bool)> {
        match self {
            Remaining::Length(left) => {
                let count = received
                    .len()
                    .min(usize::try_from(*left).unwrap_or(usize::MAX));
                *left -= count as u64;
                Some((count, *left == 0))
            }
            Remaining::Chunked(chunked) => {
                let mut at = 0;
                loop {
                    match chunked.next(received, at, usize::MAX) {
                        Piece::Data(range) => at = range.end,
                        Piece::End(at) => return Some((at, true)),
                        Piece::Partial(at) => return Some((at, false)),
                        Piece::Malformed => return None,
                    }
                }
            }
            Remaining::Unknown => None,
        }
    }
}

/// How much of a body was received.
pub enum Progress {
    /// It is not complete.
    Partial,
    /// It is complete. The request takes this many of the received bytes.
    Complete(Vec<u8>, usize),
    /// It is longer than a JSON body may be. The rest, from this byte on, must still be decoded.
    TooLarge(Chunked, usize),
    /// The chunked encoding is malformed.
    Malformed,
}

/// A complete request without its method and path, which are in the queue.
pub struct PendingRequest {
    /// The query string of its target.
    pub query: String,
    /// Its headers.
    pub headers: Headers,
    /// The address of its client.
    pub client: Option<IpAddr>,
    /// Its body.
    pub body: Body,
    /// If the connection is kept alive afterwards, the value of the reply's header `Connection`.
    pub keep_alive: Option<&'static str>,
}

/// The body of a request.
pub enum Body {
    /// It is complete.
    Complete(Vec<u8>),
    /// The beginning of a body that was cut off.
    Truncated(Vec<u8>),
    /// It was not received yet. The thread that answers reads it if needed.
    Unread {
        /// How it is delimited.
        framing: Framing,
        /// Whether the client waits for `100 Continue`.
        expects_continue: bool,
    },
    /// It is longer than a JSON body may be, and this part was not received yet.
    TooLarge(Remaining),
    /// The request is malformed, so its end is unknown.
    Malformed,
}

impl Body {
    /// The bytes of memory that it uses.
    fn size(&self) -> usize {
        match self {
            Body::Complete(bytes) | Body::Truncated(bytes) => bytes.capacity(),
            Body::Unread { .. } | Body::TooLarge(_) | Body::Malformed => 0,
        }
    }
}

impl Connection {
    /// A connection that was accepted just now, or transferred from another worker with the bytes
    /// `received` there. Its memory is added to `memory_used`.
    pub fn new(
        number: u64,
        socket: OwnedFd,
        received: Vec<u8>,
        memory_used: Arc<AtomicUsize>,
    ) -> Connection {
        let peer = getpeername(&socket)
            .ok()
            .flatten()
            .and_then(|address| SocketAddr::try_from(address).ok());
        let peer = peer.map(|address| address.ip().to_canonical());
        let since = Instant::now();
        let deadline = Some(since + IDLE_TIMEOUT);
        let phase = Phase::Head;
        let state = State {
            phase,
            received,
            scanned: 0,
            readable: false,
            since,
            deadline,
            accounted: 0,
        };
        let connection = Connection {
            number,
            socket,
            peer,
            source: Source::of(peer),
            state: Mutex::new(state),
            memory_used,
        };
        drop(connection.state());
        connection
    }

    /// Locks its state.
    pub fn state(&self) -> StateGuard<'_> {
        StateGuard {
            state: lock(&self.state),
            memory_used: &self.memory_used,
        }
    }

    /// Asks the client to send the body (RFC 9110, 10.1.1). If the kernel does not take it, the
    /// client sends the body after a timeout of its own.
    pub fn send_continue(&self) {
        let _ = send(
            &self.socket,
            b"HTTP/1.1 100 Continue\r\n\r\n",
            SendFlags::DONTWAIT | SendFlags::NOSIGNAL,
        );
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        let state = self.state.get_mut().unwrap_or_else(PoisonError::into_inner);
        self.memory_used
            .fetch_sub(state.accounted, Ordering::Relaxed);
    }
}

impl Deref for StateGuard<'_> {
    type Target = State;

    fn deref(&self) -> &State {
        &self.state
    }
}

impl DerefMut for StateGuard<'_> {
    fn deref_mut(&mut self) -> &mut State {
        &mut self.state
    }
}

impl Drop for StateGuard<'_> {
    fn drop(&mut self) {
        let now = self.state.memory();
        let before = std::mem::replace(&mut self.state.accounted, now);
        // The difference wraps around if it is negative.
        self.memory_used
            .fetch_add(now.wrapping_sub(before), Ordering::Relaxed);
    }
}

impl State {
    /// Begins a phase, which ends after `timeout` at the latest.
    pub fn enter(&mut self, phase: Phase, timeout: Option<Duration>) {
        self.phase = phase;
        self.since = Instant::now();
        self.deadline = timeout.map(|timeout| self.since + timeout);
    }

    /// The bytes of memory that it uses: received bytes, a body that no thread has taken yet, and a
    /// reply that the client does not read.
    pub fn memory(&self) -> usize {
        let phase = match &self.phase {
            Phase::Body(incoming) => {
                incoming.head.headers.size()
                    + incoming.head.query.len()
                    + incoming.head.path.len()
                    + incoming.decoded.capacity()
            }
            Phase::Queued(exchange) => {
                exchange.query.len() + exchange.headers.size() + exchange.body.size()
            }
            Phase::DrainingBody(drain) => drain.outgoing.memory(),
            Phase::Sending(outgoing) => outgoing.memory(),
            Phase::Head | Phase::Busy | Phase::Lingering(_) | Phase::Closed => 0,
        };
        self.received.capacity() + phase
    }

    /// Removes the first `count` received bytes.
    pub fn consume(&mut self, count: usize) {
        if count >= self.received.len() {
            self.received = Vec::new();
        } else {
            self.received.drain(..count);
        }
        self.scanned = 0;
    }

    /// Extends the deadline: this many bytes were transferred since the phase began.
    pub fn extend_deadline(&mut self, bytes: u64) {
        self.deadline = Some(self.since + transfer_timeout(bytes));
    }
}

/// How long a transfer may take after this many bytes of it.
pub fn transfer_timeout(bytes: u64) -> Duration {
    TRANSFER_GRACE + Duration::from_secs(bytes / MIN_RATE)
}

impl PartialRequest {
    /// A request of which only the head was parsed.
    pub fn new(head: Head) -> PartialRequest {
        PartialRequest {
            at: head.length,
            head,
            chunked: Chunked::default(),
            decoded: Vec::new(),
        }
    }

    /// Decodes what was received since the last call.
    pub fn advance(&mut self, received: &[u8]) -> Progress {
        match self.head.framing {
            Framing::Length(length) => {
                // A body whose length does not fit is not kept in memory, so it never gets here.
                let end = self.head.length
                    + usize::try_from(length).unwrap_or(usize::MAX - self.head.length);
                self.at = received.len().min(end);
                if self.at < end {
                    return Progress::Partial;
                }
                Progress::Complete(received[self.head.length..end].to_vec(), end)
            }
            Framing::Chunked => loop {
                match self.chunked.next(received, self.at, usize::MAX) {
                    Piece::Data(range) => {
                        self.at = range.end;
                        self.decoded.extend_from_slice(&received[range]);
                        if self.decoded.len() > MAX_BODY {
                            return Progress::TooLarge(std::mem::take(&mut self.chunked), self.at);
                        }
                    }
                    Piece::End(end) => {
                        return Progress::Complete(std::mem::take(&mut self.decoded), end);
                    }
                    Piece::Partial(at) if received.len() - self.head.length > MAX_CHUNKED_BODY => {
                        return Progress::TooLarge(std::mem::take(&mut self.chunked), at);
                    }
                    Piece::Partial(at) => {
                        self.at = at;
                        return Progress::Partial;
                    }
                    Piece::Malformed => return Progress::Malformed,
                }
            },
        }
    }

    /// The head, and the part of a body that was received before it was cut off.
    pub fn into_truncated(self, received: &[u8]) -> (Head, Vec<u8>) {
        match self.head.framing {
            Framing::Length(_) => {
                let part = received[self.head.length..].to_vec();
                (self.head, part)
            }
            Framing::Chunked => (self.head, self.decoded),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::head::{Parsed, parse};

    /// A request with this framing field, and the bytes that were received of its head.
    fn request(field: &str) -> (PartialRequest, Vec<u8>) {
        let text = format!("POST / HTTP/1.1\r\nHost: a\r\n{field}\r\n\r\n").into_bytes();
        let Parsed::Complete(head) = parse(&text, &mut 0) else {
            panic!("{field} is well-formed")
        };
        (PartialRequest::new(*head), text)
    }

    #[test]
    fn a_body_is_complete_at_its_last_byte_however_it_is_split() {
        for (field, encoded) in [
            ("Content-Length: 5", &b"abcde"[..]),
            (
                "Transfer-Encoding: chunked",
                b"2;x\r\nab\r\n3\r\ncde\r\n0\r\n\r\n",
            ),
        ] {
            for cut in 0..=encoded.len() {
                let (mut request, head) = request(field);
                let all = [&head, encoded, b"GET / HTTP/1.1\r\n"].concat();
                let end = head.len() + encoded.len();
                let first = request.advance(&all[..head.len() + cut]);
                if cut < encoded.len() {
                    assert!(matches!(first, Progress::Partial), "{field}, {cut}");
                }
                let last = if cut < encoded.len() {
                    request.advance(&all)
                } else {
                    first
                };
                let Progress::Complete(body, taken) = last else {
                    panic!("{field}, {cut}: not complete")
                };
                assert_eq!((&*body, taken), (&b"abcde"[..], end), "{field}, {cut}");
            }
        }
    }

    #[test]
    fn a_chunked_body_may_be_as_long_as_a_json_body_and_not_longer() {
        let (mut fits, head) = request("Transfer-Encoding: chunked");
        let body = [b'a'; MAX_BODY + 1];
        let chunk = |bytes: usize| [format!("{bytes:x}\r\n").as_bytes(), &body[..bytes]].concat();
        let all = [&*head, &chunk(MAX_BODY), b"\r\n0\r\n\r\n"].concat();
        assert!(
            matches!(fits.advance(&all), Progress::Complete(body, _) if body.len() == MAX_BODY)
        );
        let (mut large, _) = request("Transfer-Encoding: chunked");
        let all = [&*head, &chunk(MAX_BODY + 1)].concat();
        assert!(matches!(large.advance(&all), Progress::TooLarge(_, at) if at == all.len()));
        // Most of this encoding is extensions.
        let (mut padded, _) = request("Transfer-Encoding: chunked");
        let chunk = format!("1;{}\r\na\r\n", "x".repeat(1000));
        let all = [&*head, chunk.repeat(1 + MAX_CHUNKED_BODY / 1000).as_bytes()].concat();
        assert!(matches!(padded.advance(&all), Progress::TooLarge(..)));
    }

    #[test]
    fn a_malformed_chunk_is_noticed_and_a_truncated_body_keeps_its_beginning() {
        let (mut malformed, head) = request("Transfer-Encoding: chunked");
        let all = [&*head, b"2\r\nabc"].concat();
        assert!(matches!(malformed.advance(&all), Progress::Malformed));
        for (field, encoded) in [
            ("Content-Length: 9", &b"abc"[..]),
            ("Transfer-Encoding: chunked", b"9\r\nabc"),
        ] {
            let (mut request, head) = request(field);
            let all = [&*head, encoded].concat();
            assert!(
                matches!(request.advance(&all), Progress::Partial),
                "{field}"
            );
            assert_eq!(request.into_truncated(&all).1, b"abc", "{field}");
        }
    }

    #[test]
    fn a_slow_transfer_gets_more_time_for_its_bytes() {
        for (bytes, seconds) in [(0, 10), (4095, 10), (4096, 11), (40 * 1024, 20)] {
            assert_eq!(
                transfer_timeout(bytes),
                Duration::from_secs(seconds),
                "{bytes}"
            );
        }
    }

    #[test]
    fn the_drain_of_a_body_stops_where_the_next_request_begins() {
        let next = b"GET / HTTP/1.1\r\n";
        let length = || Remaining::of(Framing::Length(5), false);
        let chunked = || Remaining::of(Framing::Chunked, false);
        for (rest, body) in [
            (length as fn() -> Remaining, &b"abcde"[..]),
            (chunked, b"3;x\r\nabc\r\n0\r\na: b\r\n\r\n"),
        ] {
            let all = [body, next].concat();
            for cut in 0..all.len() {
                let mut rest = rest();
                let (first, ended) = rest.consume(&all[..cut]).unwrap();
                assert_eq!(ended, cut >= body.len(), "{cut}");
                if !ended {
                    assert_eq!(
                        rest.consume(&all[first..]),
                        Some((body.len() - first, true)),
                        "{cut}"
                    );
                }
            }
        }
        assert_eq!(chunked().consume(b"+1\r\n"), None);
        assert_eq!(
            Remaining::of(Framing::Length(5), true).consume(b"abcde"),
            None
        );
    }
}
