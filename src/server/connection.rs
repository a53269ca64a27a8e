//! A client's connection: what it has sent, and what it is doing.

use super::chunked::{Chunked, Piece};
use super::head::{Framing, Head};
use super::outgoing::Outgoing;
use crate::http::Headers;
use crate::http::network::Source;
use crate::sync::lock;
use rustix::fd::OwnedFd;
use rustix::net::getpeername;
use std::net::{IpAddr, SocketAddr};
use std::ops::{Deref, DerefMut};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// The longest JSON body in bytes, `contract.md`.
pub const MAX_BODY: usize = 64 * 1024;
/// The most bytes of a chunked body as it is sent: each chunk of a byte takes six.
const MAX_CHUNKED_BODY: usize = 6 * MAX_BODY;
/// How long a connection may be without a request, and how long a head may take from its first byte
/// on.
pub const IDLE_TIMEOUT: Duration = Duration::from_secs(20);
/// A body must have come, and an answer must have been read, after this time ...
const TRANSFER_GRACE: Duration = Duration::from_secs(10);
/// ... or go on moving at this pace on average, in bytes per second: an old telephone line.
const MIN_RATE: u64 = 4 * 1024;

/// A connection.
pub struct Connection {
    /// Its number in this process.
    pub number: u64,
    /// Its socket, which never blocks.
    pub socket: OwnedFd,
    /// The address of its other end; `None` for a unix socket.
    pub peer: Option<IpAddr>,
    /// The network that it counts for.
    pub source: Source,
    state: Mutex<State>,
    /// The bytes that all connections hold together.
    memory_used: Arc<AtomicUsize>,
}

/// The state of a connection while it is locked. What it holds is accounted when it is unlocked.
pub struct StateGuard<'a> {
    state: MutexGuard<'a, State>,
    memory_used: &'a AtomicUsize,
}

/// What changes of a connection.
pub struct State {
    /// What it is doing.
    pub phase: Phase,
    /// Bytes that were received and belong to no complete request yet.
    pub received: Vec<u8>,
    /// How many of them were searched for the end of a head.
    pub scanned: usize,
    /// Whether the kernel has reported bytes or the end of the connection that were not read yet.
    pub readable: bool,
    /// When the phase began.
    pub since: Instant,
    /// When the connection is given up, if the phase has not ended.
    pub deadline: Option<Instant>,
    /// The bytes that are accounted for it.
    accounted: usize,
}

/// What a connection is doing.
pub enum Phase {
    /// It waits for a request, or its head is coming.
    Head,
    /// A body is coming that is short enough to be kept until it is complete.
    Body(Box<PartialRequest>),
    /// A request waits for a thread; its method and path are in the queue.
    Queued(Box<PendingRequest>),
    /// A thread answers a request.
    Busy,
    /// An answer is ready, and is sent when the rest of the request's body, which nothing wants,
    /// has come.
    DrainingBody(Box<BodyDrain>),
    /// The client reads an answer.
    Sending(Box<Outgoing>),
    /// The last answer is sent; this many bytes that the client may still send are thrown away.
    Lingering(u64),
    /// It is at its end.
    Closed,
}

/// A request while its body is coming.
pub struct PartialRequest {
    /// Its head.
    pub head: Head,
    /// Where in the received bytes the next piece begins.
    at: usize,
    chunked: Chunked,
    decoded: Vec<u8>,
}

/// The rest of a body that nothing wants. Proxies and browsers that are answered before they have
/// sent all of a body may lose the answer.
pub struct BodyDrain {
    /// What is still to come.
    pub rest: Remaining,
    /// Bytes that have come.
    pub total: u64,
    /// The answer.
    pub outgoing: Outgoing,
}

/// What is still to come of a body.
pub enum Remaining {
    /// A number of bytes.
    Length(u64),
    /// Chunks.
    Chunked(Chunked),
    /// Nothing that can be told from another request, or that the client sends before it has the
    /// answer.
    Unknown,
}

impl Remaining {
    /// The whole body of a request.
    pub fn of(framing: Framing, expects_continue: bool) -> Remaining {
        match framing {
            _ if expects_continue => Remaining::Unknown,
            Framing::Length(length) => Remaining::Length(length),
            Framing::Chunked => Remaining::Chunked(Chunked::default()),
        }
    }

    /// Takes what belongs to it from the beginning of the received bytes: how many those are, and
    /// whether that was the end, or `None` if it is not a body.
    pub fn take(&mut self, received: &[u8]) -> Option<(usize, bool)> {
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

/// What has come of a body.
pub enum Progress {
    /// There is more to come.
    Partial,
    /// It is complete; so many of the received bytes are this request.
    Complete(Vec<u8>, usize),
    /// It is longer than any JSON body may be; from this byte on its rest is still to be read.
    TooLarge(Chunked, usize),
    /// It is not a chunked body.
    Malformed,
}

/// A complete request, apart from its method and path, which the queue carries.
pub struct PendingRequest {
    /// Its headers.
    pub headers: Headers,
    /// The address of its client.
    pub client: Option<IpAddr>,
    /// Its body.
    pub body: Body,
    /// If the connection can be used again afterwards, the value of the header that says so.
    pub keep_alive: Option<&'static str>,
}

/// The body of a request.
pub enum Body {
    /// All of it.
    Whole(Vec<u8>),
    /// The beginning of one that broke off.
    Truncated(Vec<u8>),
    /// It is still to come, and the thread that answers reads it if it is wanted.
    Unread {
        /// How it is delimited.
        framing: Framing,
        /// Whether the client waits for `100 Continue`.
        expects_continue: bool,
    },
    /// It is longer than any JSON body may be; this is still to come.
    TooLarge(Remaining),
    /// The request is malformed, and where it ends is unknown.
    Malformed,
}

impl Body {
    /// The bytes that have come of it.
    fn size(&self) -> usize {
        match self {
            Body::Whole(bytes) | Body::Truncated(bytes) => bytes.capacity(),
            Body::Unread { .. } | Body::TooLarge(_) | Body::Malformed => 0,
        }
    }
}

impl Connection {
    /// A connection that has just been accepted, or comes from another worker with what it had
    /// received. What it holds is added to `memory_used`.
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

    /// What changes of it.
    pub fn state(&self) -> StateGuard<'_> {
        StateGuard {
            state: lock(&self.state),
            memory_used: &self.memory_used,
        }
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
        // Wraps around when it becomes less.
        self.memory_used
            .fetch_add(now.wrapping_sub(before), Ordering::Relaxed);
    }
}

impl State {
    /// Begins a phase that may take so long.
    pub fn enter(&mut self, phase: Phase, timeout: Option<Duration>) {
        self.phase = phase;
        self.since = Instant::now();
        self.deadline = timeout.map(|timeout| self.since + timeout);
    }

    /// The bytes of memory that it holds: what was received, a body until a thread takes it, and an
    /// answer that the client does not read.
    pub fn memory(&self) -> usize {
        let phase = match &self.phase {
            Phase::Body(incoming) => {
                incoming.head.headers.size()
                    + incoming.head.path.len()
                    + incoming.decoded.capacity()
            }
            Phase::Queued(exchange) => exchange.headers.size() + exchange.body.size(),
            Phase::DrainingBody(drain) => drain.outgoing.memory(),
            Phase::Sending(outgoing) => outgoing.memory(),
            Phase::Head | Phase::Busy | Phase::Lingering(_) | Phase::Closed => 0,
        };
        self.received.capacity() + phase
    }

    /// Forgets so many of the received bytes.
    pub fn consume(&mut self, count: usize) {
        if count >= self.received.len() {
            self.received = Vec::new();
        } else {
            self.received.drain(..count);
        }
        self.scanned = 0;
    }

    /// Puts the deadline off: so many bytes have moved since the phase began.
    pub fn extend_deadline(&mut self, bytes: u64) {
        self.deadline = Some(self.since + transfer_timeout(bytes));
    }
}

/// How long a transfer may take of which so many bytes have moved.
pub fn transfer_timeout(bytes: u64) -> Duration {
    TRANSFER_GRACE + Duration::from_secs(bytes / MIN_RATE)
}

impl PartialRequest {
    /// A body of which nothing was looked at yet.
    pub fn new(head: Head) -> PartialRequest {
        PartialRequest {
            at: head.length,
            head,
            chunked: Chunked::default(),
            decoded: Vec::new(),
        }
    }

    /// Looks at what has come since.
    pub fn advance(&mut self, received: &[u8]) -> Progress {
        match self.head.framing {
            Framing::Length(length) => {
                // Longer ones are not kept.
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

    /// What has come of a body that will not come whole.
    pub fn into_truncated(self, received: &[u8]) -> (Head, Vec<u8>) {
        match self.head.framing {
            Framing::Length(_) => {
                let begun = received[self.head.length..].to_vec();
                (self.head, begun)
            }
            Framing::Chunked => (self.head, self.decoded),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rest_of_a_body_ends_where_the_next_request_begins() {
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
                let (first, ended) = rest.take(&all[..cut]).unwrap();
                assert_eq!(ended, cut >= body.len(), "{cut}");
                if !ended {
                    assert_eq!(
                        rest.take(&all[first..]),
                        Some((body.len() - first, true)),
                        "{cut}"
                    );
                }
            }
        }
        assert_eq!(chunked().take(b"+1\r\n"), None);
        assert_eq!(Remaining::of(Framing::Length(5), true).take(b"abcde"), None);
    }
}
