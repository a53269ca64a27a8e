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
pub const LONGEST_BODY: usize = 64 * 1024;
/// The most bytes of a chunked body as it is sent: each chunk of a byte takes six.
const LONGEST_CHUNKED: usize = 6 * LONGEST_BODY;
/// How long a connection may be without a request, and how long a head may take from its first byte
/// on.
pub const SILENCE: Duration = Duration::from_secs(20);
/// A body must have come, and an answer must have been read, after this time ...
const PATIENCE: Duration = Duration::from_secs(10);
/// ... or go on moving at this pace on average, in bytes per second: an old telephone line.
const PACE: u64 = 4 * 1024;

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
    held: Arc<AtomicUsize>,
}

/// The state of a connection while it is locked. What it holds is counted when it is unlocked.
pub struct Locked<'a> {
    state: MutexGuard<'a, State>,
    held: &'a AtomicUsize,
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
    /// The bytes that are counted for it.
    counted: usize,
}

/// What a connection is doing.
pub enum Phase {
    /// It waits for a request, or its head is coming.
    Head,
    /// A body is coming that is short enough to be kept until it is complete.
    Body(Box<Incoming>),
    /// A request waits for a thread; its method and path are in the queue.
    Queued(Box<Exchange>),
    /// A thread answers a request.
    Busy,
    /// An answer is ready, and is sent when the rest of the request's body, which nothing wants,
    /// has come.
    Absorbing(Box<Absorbing>),
    /// The client reads an answer.
    Sending(Box<Outgoing>),
    /// The last answer is sent; this many bytes that the client may still send are thrown away.
    Discarding(u64),
    /// It is at its end.
    Closed,
}

/// A request while its body is coming.
pub struct Incoming {
    /// Its head.
    pub head: Head,
    /// Where in the received bytes the next piece begins.
    at: usize,
    chunked: Chunked,
    decoded: Vec<u8>,
}

/// The rest of a body that nothing wants. Proxies and browsers that are answered before they have
/// sent all of a body may lose the answer.
pub struct Absorbing {
    /// What is still to come.
    pub rest: Rest,
    /// Bytes that have come.
    pub total: u64,
    /// The answer.
    pub outgoing: Outgoing,
}

/// What is still to come of a body.
pub enum Rest {
    /// A number of bytes.
    Length(u64),
    /// Chunks.
    Chunked(Chunked),
    /// Nothing that can be told from another request, or that the client sends before it has the
    /// answer.
    Unknown,
}

impl Rest {
    /// The whole body of a request.
    pub fn of(framing: Framing, expects_continue: bool) -> Rest {
        match framing {
            _ if expects_continue => Rest::Unknown,
            Framing::Length(length) => Rest::Length(length),
            Framing::Chunked => Rest::Chunked(Chunked::default()),
        }
    }

    /// Takes what belongs to it from the beginning of the received bytes: how many those are, and
    /// whether that was the end, or `None` if it is not a body.
    pub fn take(&mut self, received: &[u8]) -> Option<(usize, bool)> {
        match self {
            Rest::Length(left) => {
                let count = received
                    .len()
                    .min(usize::try_from(*left).unwrap_or(usize::MAX));
                *left -= count as u64;
                Some((count, *left == 0))
            }
            Rest::Chunked(chunked) => {
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
            Rest::Unknown => None,
        }
    }
}

/// What has come of a body.
pub enum Progress {
    /// There is more to come.
    Partial,
    /// It is complete; so many of the received bytes are this request.
    Whole(Vec<u8>, usize),
    /// It is longer than any JSON body may be; from this byte on its rest is still to be read.
    TooLarge(Chunked, usize),
    /// It is not a chunked body.
    Malformed,
}

/// A complete request, apart from its method and path, which the queue carries.
pub struct Exchange {
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
    Broken(Vec<u8>),
    /// It is still to come, and the thread that answers reads it if it is wanted.
    Unread {
        /// How it is delimited.
        framing: Framing,
        /// Whether the client waits for `100 Continue`.
        expects_continue: bool,
    },
    /// It is longer than any JSON body may be; this is still to come.
    TooLarge(Rest),
    /// The request is malformed, and where it ends is unknown.
    Malformed,
}

impl Body {
    /// The bytes that have come of it.
    fn size(&self) -> usize {
        match self {
            Body::Whole(bytes) | Body::Broken(bytes) => bytes.capacity(),
            Body::Unread { .. } | Body::TooLarge(_) | Body::Malformed => 0,
        }
    }
}

impl Connection {
    /// A connection that has just been accepted, or comes from another worker with what it had
    /// received. What it holds is added to `held`.
    pub fn new(
        number: u64,
        socket: OwnedFd,
        received: Vec<u8>,
        held: Arc<AtomicUsize>,
    ) -> Connection {
        let peer = getpeername(&socket)
            .ok()
            .flatten()
            .and_then(|address| SocketAddr::try_from(address).ok());
        let peer = peer.map(|address| address.ip().to_canonical());
        let since = Instant::now();
        let deadline = Some(since + SILENCE);
        let phase = Phase::Head;
        let state = State {
            phase,
            received,
            scanned: 0,
            readable: false,
            since,
            deadline,
            counted: 0,
        };
        let connection = Connection {
            number,
            socket,
            peer,
            source: Source::of(peer),
            state: Mutex::new(state),
            held,
        };
        drop(connection.state());
        connection
    }

    /// What changes of it.
    pub fn state(&self) -> Locked<'_> {
        Locked {
            state: lock(&self.state),
            held: &self.held,
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        let state = self.state.get_mut().unwrap_or_else(PoisonError::into_inner);
        self.held.fetch_sub(state.counted, Ordering::Relaxed);
    }
}

impl Deref for Locked<'_> {
    type Target = State;

    fn deref(&self) -> &State {
        &self.state
    }
}

impl DerefMut for Locked<'_> {
    fn deref_mut(&mut self) -> &mut State {
        &mut self.state
    }
}

impl Drop for Locked<'_> {
    fn drop(&mut self) {
        let now = self.state.held();
        let before = std::mem::replace(&mut self.state.counted, now);
        // Wraps around when it becomes less.
        self.held
            .fetch_add(now.wrapping_sub(before), Ordering::Relaxed);
    }
}

impl State {
    /// Begins a phase that may take so long.
    pub fn begin(&mut self, phase: Phase, patience: Option<Duration>) {
        self.phase = phase;
        self.since = Instant::now();
        self.deadline = patience.map(|patience| self.since + patience);
    }

    /// The bytes of memory that it holds: what was received, a body until a thread takes it, and an
    /// answer that the client does not read.
    pub fn held(&self) -> usize {
        let phase = match &self.phase {
            Phase::Body(incoming) => {
                incoming.head.headers.size()
                    + incoming.head.path.len()
                    + incoming.decoded.capacity()
            }
            Phase::Queued(exchange) => exchange.headers.size() + exchange.body.size(),
            Phase::Absorbing(absorbing) => absorbing.outgoing.held(),
            Phase::Sending(outgoing) => outgoing.held(),
            Phase::Head | Phase::Busy | Phase::Discarding(_) | Phase::Closed => 0,
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
    pub fn moved(&mut self, bytes: u64) {
        self.deadline = Some(self.since + patience(bytes));
    }
}

/// How long a transfer may take of which so many bytes have moved.
pub fn patience(bytes: u64) -> Duration {
    PATIENCE + Duration::from_secs(bytes / PACE)
}

impl Incoming {
    /// A body of which nothing was looked at yet.
    pub fn new(head: Head) -> Incoming {
        Incoming {
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
                Progress::Whole(received[self.head.length..end].to_vec(), end)
            }
            Framing::Chunked => loop {
                match self.chunked.next(received, self.at, usize::MAX) {
                    Piece::Data(range) => {
                        self.at = range.end;
                        self.decoded.extend_from_slice(&received[range]);
                        if self.decoded.len() > LONGEST_BODY {
                            return Progress::TooLarge(std::mem::take(&mut self.chunked), self.at);
                        }
                    }
                    Piece::End(end) => {
                        return Progress::Whole(std::mem::take(&mut self.decoded), end);
                    }
                    Piece::Partial(at) if received.len() - self.head.length > LONGEST_CHUNKED => {
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
    pub fn into_broken(self, received: &[u8]) -> (Head, Vec<u8>) {
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
        let length = || Rest::of(Framing::Length(5), false);
        let chunked = || Rest::of(Framing::Chunked, false);
        for (rest, body) in [
            (length as fn() -> Rest, &b"abcde"[..]),
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
        assert_eq!(Rest::of(Framing::Length(5), true).take(b"abcde"), None);
    }
}
