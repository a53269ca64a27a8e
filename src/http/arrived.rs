//! Requests as they came, and how to be rid of one without what tiny_http would do.

use super::framing::{Framing, framing, holds_connection};
use super::reply::{Reply, wire};
use crate::socket;
use std::io::{self, ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::ops::{Deref, DerefMut};
use std::sync::atomic::{AtomicUsize, Ordering};

/// The longest announced body in bytes that tiny_http may drop: it allocates so much for it.
const DROPPABLE: u64 = 16 * 1024 * 1024;

/// What is answered to a request that is dropped.
const GONE: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";

static FORGOTTEN: AtomicUsize = AtomicUsize::new(0);

/// Answers a request whose body has no end in sight, and ends the connection.
pub fn abandon(arrived: Arrived, reply: Reply, cors: &[(&str, &str)]) {
    let request = arrived.into_inner();
    let peer = request.remote_addr().copied();
    let (head, _) = wire(&request, reply, cors, "close");
    let (held, droppable) = (holds_connection(&request), droppable(&request));
    // An interim answer, which clients skip, is what tiny_http lets go of reader and writer for.
    let mut stream = request.upgrade("close", tiny_http::Response::empty(100));
    let _ = stream.write_all(&head).and_then(|()| stream.flush());
    let shut = shut(peer);
    if held && !(shut && droppable && at_end(&mut stream)) {
        FORGOTTEN.fetch_add(1, Ordering::Relaxed);
        std::mem::forget(stream);
    }
}

/// A request as it came. Dropped without an answer, it ends its connection.
///
/// tiny_http's own drop would allocate what the client announced as a body, or hand the rest of it to the parser as the
/// next request; where that can't be helped, the request is forgotten, which costs a thread and two descriptors.
pub struct Arrived(Option<tiny_http::Request>);

impl Arrived {
    /// Takes a request over.
    #[must_use]
    pub fn new(request: tiny_http::Request) -> Arrived {
        Arrived(Some(request))
    }

    pub(super) fn into_inner(mut self) -> tiny_http::Request {
        self.0.take().expect("it is there until it is dropped")
    }
}

impl Deref for Arrived {
    type Target = tiny_http::Request;

    fn deref(&self) -> &tiny_http::Request {
        self.0.as_ref().expect("it is there until it is dropped")
    }
}

impl DerefMut for Arrived {
    fn deref_mut(&mut self) -> &mut tiny_http::Request {
        self.0.as_mut().expect("it is there until it is dropped")
    }
}

impl Drop for Arrived {
    fn drop(&mut self) {
        let Some(request) = self.0.take() else { return };
        if !holds_connection(&request) {
            // Cheaper than tiny_http's own answer, and than its parsing: a flood of requests ends here. It reaches nobody but
            // who has the port of a connection that has just been ended.
            let mut writer = request.into_writer();
            let _ = writer.write_all(GONE).and_then(|()| writer.flush());
        } else if !(shut(request.remote_addr().copied()) && droppable(&request)) {
            FORGOTTEN.fetch_add(1, Ordering::Relaxed);
            std::mem::forget(request);
        }
    }
}

/// Whether the connection is at its end, or is shut now.
fn shut(peer: Option<SocketAddr>) -> bool {
    peer.is_some_and(|peer| socket::shut(peer).is_ok())
}

/// Whether tiny_http may drop the body of a request, on a connection that is shut.
fn droppable(request: &tiny_http::Request) -> bool {
    match framing(request) {
        Framing::Length(bytes) => bytes <= DROPPABLE,
        Framing::AtHand | Framing::Chunked => true,
        Framing::Broken => false,
    }
}

/// Reads a body on a connection that is shut to its end; false if something may follow that is no part of it.
fn at_end(body: &mut dyn Read) -> bool {
    // A broken connection is an end too; a chunk that is none is not.
    io::copy(body, &mut io::sink()).map_or_else(|error| error.kind() != ErrorKind::InvalidInput, |_| true)
}

/// How many requests had to be forgotten.
#[must_use]
pub fn forgotten() -> usize {
    FORGOTTEN.load(Ordering::Relaxed)
}
