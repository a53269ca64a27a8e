//! Accepts connections, reads requests until they are complete, and sends what clients read slowly:
//! one thread for all.
//!
//! Every socket is registered once, edge-triggered: the kernel reports that something has come, and
//! the loop reads until nothing is left, or until a request is complete. While a request is being
//! answered, its connection is not read, so a client that sends many ahead waits in the kernel's
//! buffers.

use super::connection::{
    Body, BodyDrain, Connection, IDLE_TIMEOUT, MAX_BODY, PartialRequest, PendingRequest, Phase,
    Progress, Remaining, State, transfer_timeout,
};
use super::eviction::{self, Candidate, Rank};
use super::head::{self, Framing, Head, Parsed};
use super::outgoing::{After, Outgoing, Sent};
use super::queue::Queue;
use crate::api::{self, Wanted};
use crate::http::Headers;
use crate::http::client_address::Proxy;
use crate::http::network::Network;
use crate::metrics::usage;
use crate::sync::lock;
use rustix::event::{EventfdFlags, Timespec, epoll, eventfd};
use rustix::fd::OwnedFd;
use rustix::io::Errno;
use rustix::net::{
    RecvFlags, SendFlags, Shutdown, SocketFlags, accept_with, recv, send, shutdown, sockopt,
};
use std::collections::HashMap;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// The most connections; each costs about a kilobyte.
const MAX_CONNECTIONS: usize = 4096;
/// Descriptors that are kept for other things: the database, pictures, the log.
const OTHER_DESCRIPTORS: u64 = 128;
/// The most bytes of memory that all connections hold together: requests until a thread takes them,
/// and answers that clients do not read.
const MAX_MEMORY: usize = 8 * 1024 * 1024;
/// An honest client's request or unread answer takes no more than so many bytes, an upload or a
/// picture apart, which are not kept.
const NORMAL_SIZE: usize = 4 * 1024;
/// The part of all connections that is closed at once if there are too many: a look at all of them
/// takes a millisecond.
const EVICTED_FRACTION: usize = 16;
/// The part of the memory that is freed at once if they hold too much: a flood fills it many times
/// a second.
const MEMORY_FRACTION: usize = 4;
/// The most bytes of a refused body that are read and thrown away, so that the client gets to the
/// answer: more than any `max_avatar_bytes`.
const MAX_DISCARDED: u64 = 128 * 1024 * 1024;
/// Bytes that are read of one connection before it is the turn of others: chunks of a byte take 0.1
/// ms to decode.
const READ_BUFFER: usize = 16 * 1024;
/// Connections that are accepted before it is the turn of others.
const MAX_ACCEPTS: u32 = 64;
/// Between two looks at all deadlines.
const SWEEP_INTERVAL: Duration = Duration::from_secs(1);
/// Events that are taken at once.
const MAX_EVENTS: usize = 256;

/// Numbers in the events of sockets that are not clients'.
const LISTENER: u64 = u64::MAX;
const WAKER: u64 = u64::MAX - 1;

const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// The event loop, and what it shares with the threads that answer.
pub struct EventLoop {
    epoll: OwnedFd,
    waker: OwnedFd,
    listener: OwnedFd,
    /// Where complete requests go.
    pub queue: Queue,
    connections: Mutex<HashMap<u64, Arc<Connection>>>,
    next: AtomicU64,
    max_connections: usize,
    /// Their connections are those of many clients.
    proxies: Vec<Proxy>,
    /// Bytes of memory that all connections hold together.
    memory_used: Arc<AtomicUsize>,
    /// How many those may be.
    memory_limit: usize,
    /// No further request is begun: this worker hands over or stops.
    paused: AtomicBool,
    /// A round has begun since then.
    pause_seen: AtomicBool,
    /// The loop ends.
    stopped: AtomicBool,
    /// Told of each connection that ends or waits for a request while the loop is paused.
    changed: Condvar,
    change_lock: Mutex<()>,
}

/// A connection that another worker goes on with.
pub struct Transfer {
    /// Its socket.
    pub socket: OwnedFd,
    /// What it had received of the next request.
    pub received: Vec<u8>,
}

impl EventLoop {
    /// A loop over a listening socket, for so many threads that answer; nothing is accepted before
    /// [`EventLoop::run`].
    ///
    /// # Errors
    /// A sentence with what the operating system says.
    pub fn new(
        listener: OwnedFd,
        proxies: Vec<Proxy>,
        threads: usize,
    ) -> Result<EventLoop, String> {
        let open = || -> io::Result<(OwnedFd, OwnedFd)> {
            let poll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
            let waker = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
            // The loop never waits for a connection; it is told of one.
            rustix::io::ioctl_fionbio(&listener, true)?;
            epoll::add(
                &poll,
                &waker,
                epoll::EventData::new_u64(WAKER),
                epoll::EventFlags::IN,
            )?;
            epoll::add(
                &poll,
                &listener,
                epoll::EventData::new_u64(LISTENER),
                epoll::EventFlags::IN,
            )?;
            Ok((poll, waker))
        };
        let (epoll, waker) =
            open().map_err(|error| format!("the event loop cannot be started: {error}"))?;
        Ok(EventLoop {
            epoll,
            waker,
            listener,
            queue: Queue::start(threads)?,
            connections: Mutex::default(),
            next: AtomicU64::new(1),
            max_connections: max_connections(usage::descriptors()),
            proxies,
            memory_used: Arc::default(),
            memory_limit: MAX_MEMORY,
            paused: AtomicBool::new(false),
            pause_seen: AtomicBool::new(false),
            stopped: AtomicBool::new(false),
            changed: Condvar::new(),
            change_lock: Mutex::new(()),
        })
    }

    /// Runs until [`EventLoop::stop`]; `each_second` is called about once a second while there are
    /// connections.
    pub fn run(&self, each_second: impl Fn()) {
        let mut buffer = vec![0; READ_BUFFER];
        let mut events = Vec::with_capacity(MAX_EVENTS);
        let mut swept = Instant::now();
        let mut accepting = true;
        while !self.stopped.load(Ordering::SeqCst) {
            if self.paused.load(Ordering::SeqCst) {
                self.pause_seen.store(true, Ordering::SeqCst);
                self.notify_change();
            }
            // Without connections there is nothing to look after.
            let timeout = (!accepting || !self.connections().is_empty()).then_some(SWEEP_INTERVAL);
            let timeout = timeout.and_then(|timeout| Timespec::try_from(timeout).ok());
            events.clear();
            let _ = epoll::wait(
                &self.epoll,
                rustix::buffer::spare_capacity(&mut events),
                timeout.as_ref(),
            );
            for event in &events {
                match event.data.u64() {
                    WAKER => drop(rustix::io::read(&self.waker, &mut [0; 8])),
                    LISTENER => accepting = self.accept(),
                    number => {
                        // A connection that was closed by an event of the same round is not there
                        // any more.
                        let connection = self.connections().get(&number).cloned();
                        if let Some(connection) = connection {
                            self.on_event(&connection, event.flags, &mut buffer);
                            self.enforce_memory_limit();
                        }
                    }
                }
            }
            // tiny_http reads without end; if its end of the connection is gone, so is this
            // process.
            let _ = self.queue.flush();
            if swept.elapsed() >= SWEEP_INTERVAL {
                swept = Instant::now();
                self.close_overdue();
                each_second();
                if !accepting {
                    // For want of descriptors the listener was left alone until now.
                    accepting = true;
                    let _ = self.watch_listener(true);
                }
            }
        }
    }

    /// Accepts nothing more and begins no further request; what waits stays at its connection. When
    /// this returns, every connection that was accepted is known.
    pub fn pause(&self) {
        self.paused.store(true, Ordering::SeqCst);
        let _ = epoll::delete(&self.epoll, &self.listener);
        // A round that had begun before may accept until its end.
        let change_lock = lock(&self.change_lock);
        self.wake();
        drop(
            self.changed
                .wait_while(change_lock, |()| !self.pause_seen.load(Ordering::SeqCst)),
        );
    }

    /// Ends the loop.
    pub fn stop(&self) {
        self.stopped.store(true, Ordering::SeqCst);
        self.wake();
    }

    fn wake(&self) {
        let _ = rustix::io::write(&self.waker, &1_u64.to_ne_bytes());
    }

    /// Waits until this holds of the connections, but not longer than `timeout`. It is asked when
    /// one ends or waits for a request, while the loop is paused.
    pub fn wait_until(&self, timeout: Duration, holds: impl Fn(&[Arc<Connection>]) -> bool) {
        let end = Instant::now() + timeout;
        let mut change_lock = lock(&self.change_lock);
        while !holds(&self.all()) {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            (change_lock, _) = self
                .changed
                .wait_timeout(change_lock, left)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Takes the connections away that wait for a request or have sent a part of one.
    pub fn export_idle(&self) -> Vec<Transfer> {
        let mut handed = Vec::new();
        for connection in self.all() {
            let mut state = connection.state();
            if matches!(state.phase, Phase::Head | Phase::Body(_))
                && let Ok(socket) = connection.socket.try_clone()
            {
                // Another handle on it may live for a moment; the loop must not hear of it any
                // more.
                let _ = epoll::delete(&self.epoll, &connection.socket);
                handed.push(Transfer {
                    socket,
                    received: std::mem::take(&mut state.received),
                });
                state.enter(Phase::Closed, None);
                self.remove(&connection);
            }
        }
        handed
    }

    /// Goes on with a connection of another worker.
    pub fn import(&self, transfer: Transfer) {
        self.add(transfer.socket, transfer.received);
        self.enforce_memory_limit();
        let _ = self.queue.flush();
    }

    /// How many connections there are.
    pub fn count(&self) -> usize {
        self.connections().len()
    }

    /// The connection with this number, and the request that it has in the queue.
    pub fn take(&self, number: u64) -> Option<(Arc<Connection>, PendingRequest)> {
        let connection = self.connections().get(&number).cloned()?;
        let mut state = connection.state();
        match std::mem::replace(&mut state.phase, Phase::Busy) {
            Phase::Queued(exchange) => {
                drop(state);
                Some((connection, *exchange))
            }
            other => {
                state.phase = other;
                None
            }
        }
    }

    /// Sends an answer, once the rest of the request's body has come, if that is told. What of the
    /// answer the kernel does not take at once is sent as the client reads.
    pub fn answer(&self, connection: &Arc<Connection>, outgoing: Outgoing, rest: Remaining) {
        let mut state = connection.state();
        if !matches!(state.phase, Phase::Closed) {
            let drain = BodyDrain {
                rest,
                total: 0,
                outgoing,
            };
            state.enter(
                Phase::DrainingBody(Box::new(drain)),
                Some(transfer_timeout(0)),
            );
            self.drain_body(connection, &mut state);
            if matches!(state.phase, Phase::DrainingBody(_)) && state.readable {
                self.rearm(connection);
            }
        }
        drop(state);
        self.enforce_memory_limit();
        let _ = self.queue.flush();
        self.notify_change();
    }

    /// Ends a connection without an answer.
    pub fn abort(&self, connection: &Arc<Connection>) {
        self.close(connection, &mut connection.state());
        self.notify_change();
    }

    /// Leaves the reading of a connection to the thread that answers it, which gets what has been
    /// received.
    pub fn detach(&self, connection: &Connection) -> Vec<u8> {
        let _ = epoll::delete(&self.epoll, &connection.socket);
        std::mem::take(&mut connection.state().received)
    }

    /// Takes a connection back that was lent, with what was read too far.
    pub fn reattach(&self, connection: &Connection, received: Vec<u8>) {
        let mut state = connection.state();
        state.received = received;
        state.readable = true;
        let _ = self.register(connection);
    }

    fn accept(&self) -> bool {
        for _ in 0..MAX_ACCEPTS {
            if self.paused.load(Ordering::SeqCst) {
                break;
            }
            match accept_with(&self.listener, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK) {
                Ok(socket) => {
                    if self.connections().len() >= self.max_connections {
                        self.evict(
                            (self.max_connections / EVICTED_FRACTION).max(1),
                            idle_weight,
                        );
                    }
                    self.add(socket, Vec::new());
                }
                Err(Errno::AGAIN) => return true,
                Err(Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM) => {
                    self.evict(
                        (self.max_connections / EVICTED_FRACTION).max(1),
                        idle_weight,
                    );
                    // A connection that cannot be accepted stays in the queue, and would be
                    // reported without end.
                    return self.watch_listener(false).is_err();
                }
                // The client is gone already, say.
                Err(_) => {}
            }
        }
        true
    }

    fn watch_listener(&self, on: bool) -> rustix::io::Result<()> {
        let flags = if on {
            epoll::EventFlags::IN
        } else {
            epoll::EventFlags::empty()
        };
        epoll::modify(
            &self.epoll,
            &self.listener,
            epoll::EventData::new_u64(LISTENER),
            flags,
        )
    }

    fn add(&self, socket: OwnedFd, received: Vec<u8>) {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let connection = Arc::new(Connection::new(
            number,
            socket,
            received,
            self.memory_used.clone(),
        ));
        // Until what came before is looked at, the loop must not hear that the client has ended.
        let mut state = connection.state();
        self.connections().insert(number, connection.clone());
        if self.register(&connection).is_ok() {
            self.advance(&connection, &mut state);
        } else {
            self.close(&connection, &mut state);
        }
    }

    fn register(&self, connection: &Connection) -> rustix::io::Result<()> {
        use epoll::EventFlags;
        let flags = EventFlags::IN | EventFlags::OUT | EventFlags::RDHUP | EventFlags::ET;
        epoll::add(
            &self.epoll,
            &connection.socket,
            epoll::EventData::new_u64(connection.number),
            flags,
        )
    }

    fn on_event(&self, connection: &Arc<Connection>, flags: epoll::EventFlags, buffer: &mut [u8]) {
        use epoll::EventFlags;
        let ended = flags.intersects(EventFlags::RDHUP | EventFlags::HUP | EventFlags::ERR);
        let mut state = connection.state();
        if matches!(state.phase, Phase::Sending(_)) {
            state.readable |= ended || flags.contains(EventFlags::IN);
            self.send(connection, &mut state);
        } else if ended || flags.contains(EventFlags::IN) {
            self.read(connection, &mut state, ended, buffer);
        }
        drop(state);
        self.notify_change();
    }

    /// Reads what has come, as far as it is this connection's turn; if the client has `ended`, its
    /// end is behind it.
    fn read(
        &self,
        connection: &Arc<Connection>,
        state: &mut State,
        ended: bool,
        buffer: &mut [u8],
    ) {
        state.readable = true;
        if !matches!(
            state.phase,
            Phase::Head | Phase::Body(_) | Phase::DrainingBody(_) | Phase::Lingering(_)
        ) {
            return;
        }
        if self.paused.load(Ordering::SeqCst) && matches!(state.phase, Phase::Head | Phase::Body(_))
        {
            // The next worker reads it.
            return;
        }
        let count = match recv(&connection.socket, &mut *buffer, RecvFlags::DONTWAIT) {
            Ok((0, _)) => return self.on_end(connection, state),
            Ok((_, count)) => count.min(buffer.len()),
            Err(Errno::INTR) => return self.rearm(connection),
            Err(Errno::AGAIN) => {
                state.readable = false;
                return;
            }
            Err(_) => return self.close(connection, state),
        };
        // Fewer bytes than there is room for are all that has come (epoll(7)).
        state.readable = count == buffer.len() || ended;
        if state.readable {
            // Others have their turn; changing the registration makes the kernel report it anew.
            self.rearm(connection);
        }
        if let Phase::Lingering(left) = &mut state.phase {
            match left.checked_sub(count as u64) {
                Some(rest) => *left = rest,
                None => return self.close(connection, state),
            }
            let discarded = MAX_DISCARDED - *left;
            state.extend_deadline(discarded);
        } else {
            state.received.extend_from_slice(&buffer[..count]);
            self.advance(connection, state);
            self.drain_body(connection, state);
        }
    }

    fn rearm(&self, connection: &Connection) {
        use epoll::EventFlags;
        let flags = EventFlags::IN | EventFlags::OUT | EventFlags::RDHUP | EventFlags::ET;
        let data = epoll::EventData::new_u64(connection.number);
        let _ = epoll::modify(&self.epoll, &connection.socket, data, flags);
    }

    /// Begins the next request, as far as it has come.
    fn advance(&self, connection: &Arc<Connection>, state: &mut State) {
        if self.paused.load(Ordering::SeqCst) {
            return;
        }
        if matches!(state.phase, Phase::Head) {
            if state.received.is_empty() {
                return;
            }
            if state.scanned == 0 {
                // The first bytes of a head.
                state.enter(Phase::Head, Some(IDLE_TIMEOUT));
            }
            let mut scanned = state.scanned;
            let parsed = head::parse(&state.received, &mut scanned);
            state.scanned = scanned;
            match parsed {
                Parsed::Partial => {}
                Parsed::Malformed => self.dispatch_malformed(connection, state),
                Parsed::Complete(head) => self.begin_body(connection, state, *head),
            }
        }
        if let Phase::Body(incoming) = &mut state.phase {
            match incoming.advance(&state.received) {
                Progress::Partial => {
                    let come = state.received.len() as u64;
                    state.extend_deadline(come);
                }
                Progress::Complete(body, end) => {
                    let keep_alive = incoming.head.keep_alive;
                    self.dispatch(connection, state, Body::Whole(body), keep_alive, end);
                }
                Progress::TooLarge(chunked, end) => {
                    self.dispatch(
                        connection,
                        state,
                        Body::TooLarge(Remaining::Chunked(chunked)),
                        None,
                        end,
                    );
                }
                Progress::Malformed => self.dispatch_malformed(connection, state),
            }
        }
    }

    /// Decides what becomes of the body behind a head.
    fn begin_body(&self, connection: &Connection, state: &mut State, head: Head) {
        let wanted = api::wanted(&head.method, &head.path);
        let fits = match head.framing {
            Framing::Length(length) => length <= MAX_BODY as u64,
            Framing::Chunked => wanted == Wanted::Json,
        };
        let unread = match wanted {
            Wanted::Json => !fits,
            // A short body that nothing asks for is read, so that the connection can be used again.
            Wanted::Nothing => !fits || head.expects_continue,
            Wanted::Upload => head.framing != Framing::Length(0),
        };
        if unread {
            let body = Body::Unread {
                framing: head.framing,
                expects_continue: head.expects_continue,
            };
            let (keep_alive, length) = (head.keep_alive, head.length);
            state.enter(Phase::Body(Box::new(PartialRequest::new(head))), None);
            return self.dispatch(connection, state, body, keep_alive, length);
        }
        if head.expects_continue && state.received.len() == head.length {
            // A client whose kernel does not take it sends the body without it.
            let _ = send(
                &connection.socket,
                CONTINUE,
                SendFlags::DONTWAIT | SendFlags::NOSIGNAL,
            );
        }
        state.enter(
            Phase::Body(Box::new(PartialRequest::new(head))),
            Some(transfer_timeout(0)),
        );
    }

    /// Puts the request whose body was coming into the queue; so many of the received bytes belong
    /// to it.
    fn dispatch(
        &self,
        connection: &Connection,
        state: &mut State,
        body: Body,
        keep_alive: Option<&'static str>,
        end: usize,
    ) {
        let Phase::Body(incoming) = std::mem::replace(&mut state.phase, Phase::Busy) else {
            return;
        };
        let Head {
            method,
            path,
            headers,
            ..
        } = incoming.head;
        state.consume(end);
        let client = headers.client(connection.peer, &self.proxies);
        self.enqueue(
            connection,
            state,
            &method,
            &path,
            PendingRequest {
                headers,
                client,
                body,
                keep_alive,
            },
        );
    }

    fn dispatch_malformed(&self, connection: &Connection, state: &mut State) {
        state.consume(usize::MAX);
        let (headers, client) = (Headers::default(), connection.peer);
        let exchange = PendingRequest {
            headers,
            client,
            body: Body::Malformed,
            keep_alive: None,
        };
        self.enqueue(connection, state, "-", "-", exchange);
    }

    fn enqueue(
        &self,
        connection: &Connection,
        state: &mut State,
        method: &str,
        path: &str,
        exchange: PendingRequest,
    ) {
        let network = Network::of(exchange.client).of_customer();
        state.enter(Phase::Queued(Box::new(exchange)), None);
        self.queue.push(network, connection.number, method, path);
    }

    /// Takes what has come of a body that nothing wants; behind its end the answer is sent.
    fn drain_body(&self, connection: &Arc<Connection>, state: &mut State) {
        let State {
            phase: Phase::DrainingBody(drain),
            received,
            ..
        } = state
        else {
            return;
        };
        let too_long = matches!(drain.rest, Remaining::Length(left) if left > MAX_DISCARDED);
        let taken = if too_long {
            None
        } else {
            drain.rest.take(received)
        };
        if let Some((count, end)) = taken {
            drain.total += count as u64;
            let total = drain.total;
            state.consume(count);
            if !end && total <= MAX_DISCARDED {
                return state.extend_deadline(total);
            }
            self.finish_drain(connection, state, end);
        } else {
            self.finish_drain(connection, state, false);
        }
    }

    /// Sends the answer to a request whose body has come to its `end`, or is not waited for any
    /// longer.
    fn finish_drain(&self, connection: &Arc<Connection>, state: &mut State, end: bool) {
        let Phase::DrainingBody(drain) = std::mem::replace(&mut state.phase, Phase::Busy) else {
            return;
        };
        let mut outgoing = drain.outgoing;
        if end && outgoing.after == After::LingeringClose {
            outgoing.after = After::Close;
        }
        state.enter(
            Phase::Sending(Box::new(outgoing)),
            Some(transfer_timeout(0)),
        );
        self.send(connection, state);
    }

    /// The client sends nothing more.
    fn on_end(&self, connection: &Arc<Connection>, state: &mut State) {
        match std::mem::replace(&mut state.phase, Phase::Head) {
            Phase::Body(incoming) => self.dispatch_truncated(connection, state, *incoming),
            Phase::DrainingBody(drain) => {
                state.phase = Phase::DrainingBody(drain);
                self.finish_drain(connection, state, true);
            }
            _ => self.close(connection, state),
        }
    }

    /// Answers a request whose body will not come whole.
    fn dispatch_truncated(
        &self,
        connection: &Connection,
        state: &mut State,
        incoming: PartialRequest,
    ) {
        let (head, begun) = incoming.into_truncated(&state.received);
        state.enter(Phase::Body(Box::new(PartialRequest::new(head))), None);
        self.dispatch(connection, state, Body::Truncated(begun), None, usize::MAX);
    }

    /// Sends on, and goes on with the connection when all is sent.
    fn send(&self, connection: &Arc<Connection>, state: &mut State) {
        let Phase::Sending(outgoing) = &mut state.phase else {
            return;
        };
        match outgoing.send(&connection.socket) {
            Sent::Complete => {
                let after = outgoing.after;
                self.on_sent(connection, state, after);
            }
            Sent::Failed => self.close(connection, state),
            sent => {
                let total = outgoing.total();
                state.extend_deadline(total);
                if sent == Sent::Yielded {
                    self.rearm(connection);
                }
            }
        }
    }

    fn on_sent(&self, connection: &Arc<Connection>, state: &mut State, after: After) {
        if after == After::KeepAlive {
            state.enter(Phase::Head, Some(IDLE_TIMEOUT));
            self.advance(connection, state);
            if state.readable {
                self.rearm(connection);
            }
        } else if after == After::Close && state.received.is_empty() && !state.readable {
            self.close(connection, state);
        } else {
            // Closing now would make the kernel reset the connection, and the client might lose the
            // answer.
            state.consume(usize::MAX);
            let _ = shutdown(&connection.socket, Shutdown::Write);
            state.enter(Phase::Lingering(MAX_DISCARDED), Some(transfer_timeout(0)));
            self.rearm(connection);
        }
    }

    /// Closes a connection; if its client does not read its answer, the kernel forgets at once what
    /// it has of it.
    fn close_without_flush(&self, connection: &Arc<Connection>, state: &mut State) {
        if matches!(state.phase, Phase::Sending(_)) {
            let _ = sockopt::set_socket_linger(&connection.socket, Some(Duration::ZERO));
        }
        self.close(connection, state);
    }

    fn close(&self, connection: &Arc<Connection>, state: &mut State) {
        state.consume(usize::MAX);
        if !matches!(state.phase, Phase::Closed) {
            state.enter(Phase::Closed, None);
            // A thread that reads from it notices.
            let _ = shutdown(&connection.socket, Shutdown::Both);
            self.remove(connection);
        }
    }

    fn remove(&self, connection: &Connection) {
        self.connections().remove(&connection.number);
    }

    /// Ends what takes too long.
    fn close_overdue(&self) {
        let now = Instant::now();
        for connection in self.all() {
            let mut state = connection.state();
            if state.deadline.is_none_or(|deadline| deadline > now) {
                continue;
            }
            match std::mem::replace(&mut state.phase, Phase::Head) {
                Phase::Body(incoming) => {
                    self.dispatch_truncated(&connection, &mut state, *incoming)
                }
                Phase::DrainingBody(drain) => {
                    state.phase = Phase::DrainingBody(drain);
                    self.finish_drain(&connection, &mut state, false);
                }
                phase => {
                    state.phase = phase;
                    self.close_without_flush(&connection, &mut state);
                }
            }
        }
        let _ = self.queue.flush();
        self.notify_change();
    }

    /// Closes connections if all of them hold too much memory.
    fn enforce_memory_limit(&self) {
        if let Some(excess) = self
            .memory_used
            .load(Ordering::Relaxed)
            .checked_sub(self.memory_limit)
        {
            self.evict(excess + self.memory_limit / MEMORY_FRACTION, State::memory);
        }
    }

    /// Closes connections that no thread works on and that weigh about `excess` together, first
    /// those of the networks that weigh most.
    fn evict(&self, excess: usize, weight: fn(&State) -> usize) {
        let all = self.all();
        let mut candidates = Vec::new();
        for connection in &all {
            let state = connection.state();
            let rank = match state.phase {
                Phase::Busy => Rank::Busy,
                _ if weight(&state) > NORMAL_SIZE => Rank::Large,
                _ if self.proxies.iter().any(|proxy| proxy.is(connection.peer)) => Rank::Proxy,
                _ => Rank::Normal,
            };
            candidates.push(Candidate {
                source: connection.source,
                weight: weight(&state),
                since: state.since,
                rank,
            });
        }
        for chosen in eviction::choose(&candidates, excess) {
            let mut state = all[chosen].state();
            if !matches!(state.phase, Phase::Busy) {
                self.close_without_flush(&all[chosen], &mut state);
            }
        }
    }

    fn all(&self) -> Vec<Arc<Connection>> {
        self.connections().values().cloned().collect()
    }

    fn notify_change(&self) {
        if self.paused.load(Ordering::SeqCst) {
            let _settling = lock(&self.change_lock);
            self.changed.notify_all();
        }
    }

    fn connections(&self) -> MutexGuard<'_, HashMap<u64, Arc<Connection>>> {
        lock(&self.connections)
    }
}

/// How many connections there may be with so many descriptors: one that is sent a picture, or sends
/// one, takes two.
fn max_connections(descriptors: u64) -> usize {
    let most = descriptors.saturating_sub(OTHER_DESCRIPTORS) / 2;
    usize::try_from(most)
        .unwrap_or(usize::MAX)
        .min(MAX_CONNECTIONS)
}

/// What a connection takes of the number of connections. One whose request waits for a thread is
/// answered soon.
fn idle_weight(state: &State) -> usize {
    usize::from(!matches!(state.phase, Phase::Queued(_)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
    use std::thread;

    /// A running loop that may hold so many bytes, and its address. Nothing takes requests from its
    /// queue.
    fn start(memory_limit: usize) -> (Arc<EventLoop>, SocketAddr) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let mut event_loop = EventLoop::new(listener.into(), Vec::new(), 4).unwrap();
        event_loop.memory_limit = memory_limit;
        let event_loop = Arc::new(event_loop);
        let running = event_loop.clone();
        thread::spawn(move || running.run(|| ()));
        (event_loop, address)
    }

    fn send(address: SocketAddr, raw: &[u8]) -> TcpStream {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.write_all(raw).unwrap();
        stream
    }

    fn wait_until(event_loop: &EventLoop, holds: impl Fn(&[Arc<Connection>]) -> bool) {
        let since = Instant::now();
        while !holds(&event_loop.all()) {
            assert!(
                since.elapsed() < Duration::from_secs(20),
                "it does not come to that"
            );
            thread::yield_now();
        }
    }

    #[test]
    fn requests_of_a_client_that_has_ended_go_over_with_its_connection() {
        for _ in 0..50 {
            let (event_loop, address) = start(16 * 1024 * 1024);
            let client = send(address, b"");
            wait_until(&event_loop, |all| all.len() == 1);
            let [Transfer { socket, .. }] = &mut *event_loop.export_idle() else {
                panic!("one connection")
            };
            client.shutdown(std::net::Shutdown::Write).unwrap();
            let received = b"GET / HTTP/1.0\r\n\r\n".to_vec();
            event_loop.import(Transfer {
                socket: socket.try_clone().unwrap(),
                received,
            });
            // It waits for a thread and was not closed for its end.
            wait_until(&event_loop, |all| {
                all.len() == 1 && is_queued(&all[0]) && all[0].state().readable
            });
            event_loop.stop();
        }
    }

    #[test]
    fn an_answer_that_is_given_up_takes_no_memory_of_the_kernel() {
        let (event_loop, address) = start(16 * 1024 * 1024);
        let mut client = send(address, b"GET / HTTP/1.0\r\n\r\n");
        wait_until(&event_loop, |all| all.len() == 1 && is_queued(&all[0]));
        let (connection, _) = event_loop.take(event_loop.all()[0].number).unwrap();
        let answer = Outgoing::new(vec![0; 8 * 1024 * 1024], None, After::Close);
        event_loop.answer(&connection, answer, Remaining::Length(0));
        connection.state().deadline = Some(Instant::now());
        drop(connection);
        wait_until(&event_loop, <[_]>::is_empty);
        let error = client.read_to_end(&mut Vec::new()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
        event_loop.stop();
    }

    #[test]
    fn an_answer_that_is_with_the_kernel_gets_to_a_client_that_reads_late() {
        let (event_loop, address) = start(16 * 1024 * 1024);
        let mut client = send(address, b"GET / HTTP/1.0\r\n\r\n");
        wait_until(&event_loop, |all| all.len() == 1 && is_queued(&all[0]));
        let (connection, _) = event_loop.take(event_loop.all()[0].number).unwrap();
        sockopt::set_socket_send_buffer_size(&connection.socket, 256 * 1024).unwrap();
        // More than the client's window.
        let answer = Outgoing::new(vec![0; 200 * 1024], None, After::Close);
        event_loop.answer(&connection, answer, Remaining::Length(0));
        assert!(matches!(connection.state().phase, Phase::Closed));
        drop(connection);
        let mut bytes = Vec::new();
        client.read_to_end(&mut bytes).unwrap();
        assert_eq!(bytes.len(), 200 * 1024);
        event_loop.stop();
    }

    #[test]
    fn each_connection_may_have_a_file() {
        assert_eq!(
            [256, 1024, 1 << 20].map(max_connections),
            [64, 448, MAX_CONNECTIONS]
        );
    }

    fn is_queued(connection: &Arc<Connection>) -> bool {
        matches!(connection.state().phase, Phase::Queued(_))
    }

    #[test]
    fn requests_that_wait_for_a_thread_hold_no_more_than_all_connections_may() {
        let (event_loop, address) = start(1024 * 1024);
        let small = send(
            address,
            b"POST /api/login HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n{}",
        );
        wait_until(&event_loop, |all| all.len() == 1 && is_queued(&all[0]));
        let number = event_loop.all()[0].number;
        let mut large =
            b"POST /api/login HTTP/1.1\r\nHost: a\r\nContent-Length: 60000\r\n\r\n".to_vec();
        large.resize(large.len() + 60000, b' ');
        let streams: Vec<TcpStream> = (0..40).map(|_| send(address, &large)).collect();
        let memory_used = || event_loop.memory_used.load(Ordering::Relaxed);
        wait_until(&event_loop, |all| {
            event_loop.next.load(Ordering::Relaxed) == 42
                && all.iter().all(is_queued)
                && memory_used() <= 1024 * 1024
        });
        assert!(
            memory_used() > 500_000 && event_loop.count() < 20,
            "{} of {} connections",
            memory_used(),
            event_loop.count()
        );
        assert!(event_loop.take(number).is_some(), "the small one waits on");
        drop((small, streams));
        event_loop.stop();
    }
}
