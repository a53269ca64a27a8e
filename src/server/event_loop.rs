//! Accepts connections, reads requests until they are complete, and sends what clients read slowly:
//! one thread for all.
//!
//! Every socket is registered once, edge-triggered: the kernel reports that something has come, and
//! the loop reads until nothing is left, or until a request is complete. While a request is being
//! answered, its connection is not read, so a client that sends many ahead waits in the kernel's
//! buffers.

use super::connection::{
    Absorbing, Body, Connection, Exchange, Incoming, LONGEST_BODY, Phase, Progress, Rest, SILENCE,
    State, patience,
};
use super::crowd::{self, Member, Rank};
use super::head::{self, Framing, Head, Parsed};
use super::outgoing::{After, Outgoing, Sent};
use super::queue::Queue;
use crate::api::{self, BodyKind};
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
const MOST_CONNECTIONS: usize = 4096;
/// Descriptors that are kept for other things: the database, pictures, the log.
const OTHER_DESCRIPTORS: u64 = 128;
/// The most bytes of memory that all connections hold together: requests until a thread takes them,
/// and answers that clients do not read.
const MOST_HELD: usize = 8 * 1024 * 1024;
/// An honest client's request or unread answer takes no more than so many bytes, an upload or a
/// picture apart, which are not kept.
const SMALL: usize = 4 * 1024;
/// The part of all connections that is closed at once if there are too many: a look at all of them
/// takes a millisecond.
const PART: usize = 16;
/// The part of the memory that is freed at once if they hold too much: a flood fills it many times
/// a second.
const PART_HELD: usize = 4;
/// The most bytes of a refused body that are read and thrown away, so that the client gets to the
/// answer: more than any `max_avatar_bytes`.
const MOST_DISCARDED: u64 = 128 * 1024 * 1024;
/// Bytes that are read of one connection before it is the turn of others: chunks of a byte take 0.1
/// ms to decode.
const SCRATCH: usize = 16 * 1024;
/// Connections that are accepted before it is the turn of others.
const ACCEPTS: u32 = 64;
/// Between two looks at all deadlines.
const SWEEP: Duration = Duration::from_secs(1);
/// Events that are taken at once.
const EVENTS: usize = 256;

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
    most: usize,
    /// Their connections are those of many clients.
    proxies: Vec<Proxy>,
    /// Bytes of memory that all connections hold together.
    held: Arc<AtomicUsize>,
    /// How many those may be.
    most_held: usize,
    /// No further request is begun: this worker hands over or stops.
    paused: AtomicBool,
    /// A round has begun since then.
    at_rest: AtomicBool,
    /// The loop ends.
    stopped: AtomicBool,
    /// Told of each connection that ends or waits for a request while the loop is paused.
    settled: Condvar,
    settling: Mutex<()>,
}

/// A connection that another worker goes on with.
pub struct Handed {
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
            most: most_connections(usage::descriptors()),
            proxies,
            held: Arc::default(),
            most_held: MOST_HELD,
            paused: AtomicBool::new(false),
            at_rest: AtomicBool::new(false),
            stopped: AtomicBool::new(false),
            settled: Condvar::new(),
            settling: Mutex::new(()),
        })
    }

    /// Runs until [`EventLoop::stop`]; `each_second` is called about once a second while there are
    /// connections.
    pub fn run(&self, each_second: impl Fn()) {
        let mut scratch = vec![0; SCRATCH];
        let mut events = Vec::with_capacity(EVENTS);
        let mut swept = Instant::now();
        let mut accepting = true;
        while !self.stopped.load(Ordering::SeqCst) {
            if self.paused.load(Ordering::SeqCst) {
                self.at_rest.store(true, Ordering::SeqCst);
                self.tell_settled();
            }
            // Without connections there is nothing to look after.
            let timeout = (!accepting || !self.connections().is_empty()).then_some(SWEEP);
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
                            self.on_event(&connection, event.flags, &mut scratch);
                            self.make_room();
                        }
                    }
                }
            }
            // tiny_http reads without end; if its end of the connection is gone, so is this
            // process.
            let _ = self.queue.flush();
            if swept.elapsed() >= SWEEP {
                swept = Instant::now();
                self.sweep();
                each_second();
                if !accepting {
                    // For want of descriptors the listener was left alone until now.
                    accepting = true;
                    let _ = self.listen(true);
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
        let settling = lock(&self.settling);
        self.wake();
        drop(
            self.settled
                .wait_while(settling, |()| !self.at_rest.load(Ordering::SeqCst)),
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
        let mut settling = lock(&self.settling);
        while !holds(&self.all()) {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            (settling, _) = self
                .settled
                .wait_timeout(settling, left)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Takes the connections away that wait for a request or have sent a part of one.
    pub fn hand_over(&self) -> Vec<Handed> {
        let mut handed = Vec::new();
        for connection in self.all() {
            let mut state = connection.state();
            if matches!(state.phase, Phase::Head | Phase::Body(_))
                && let Ok(socket) = connection.socket.try_clone()
            {
                // Another handle on it may live for a moment; the loop must not hear of it any
                // more.
                let _ = epoll::delete(&self.epoll, &connection.socket);
                handed.push(Handed {
                    socket,
                    received: std::mem::take(&mut state.received),
                });
                state.begin(Phase::Closed, None);
                self.forget(&connection);
            }
        }
        handed
    }

    /// Goes on with a connection of another worker.
    pub fn adopt(&self, handed: Handed) {
        self.add(handed.socket, handed.received);
        self.make_room();
        let _ = self.queue.flush();
    }

    /// How many connections there are.
    pub fn count(&self) -> usize {
        self.connections().len()
    }

    /// The connection with this number, and the request that it has in the queue.
    pub fn take(&self, number: u64) -> Option<(Arc<Connection>, Exchange)> {
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
    pub fn answer(&self, connection: &Arc<Connection>, outgoing: Outgoing, rest: Rest) {
        let mut state = connection.state();
        if !matches!(state.phase, Phase::Closed) {
            let absorbing = Absorbing {
                rest,
                total: 0,
                outgoing,
            };
            state.begin(Phase::Absorbing(Box::new(absorbing)), Some(patience(0)));
            self.absorb(connection, &mut state);
            if matches!(state.phase, Phase::Absorbing(_)) && state.readable {
                self.report_again(connection);
            }
        }
        drop(state);
        self.make_room();
        let _ = self.queue.flush();
        self.tell_settled();
    }

    /// Ends a connection without an answer.
    pub fn abort(&self, connection: &Arc<Connection>) {
        self.close(connection, &mut connection.state());
        self.tell_settled();
    }

    /// Leaves the reading of a connection to the thread that answers it, which gets what has been
    /// received.
    pub fn lend(&self, connection: &Connection) -> Vec<u8> {
        let _ = epoll::delete(&self.epoll, &connection.socket);
        std::mem::take(&mut connection.state().received)
    }

    /// Takes a connection back that was lent, with what was read too far.
    pub fn take_back(&self, connection: &Connection, received: Vec<u8>) {
        let mut state = connection.state();
        state.received = received;
        state.readable = true;
        let _ = self.register(connection);
    }

    fn accept(&self) -> bool {
        for _ in 0..ACCEPTS {
            if self.paused.load(Ordering::SeqCst) {
                break;
            }
            match accept_with(&self.listener, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK) {
                Ok(socket) => {
                    if self.connections().len() >= self.most {
                        self.close_some((self.most / PART).max(1), one_if_idle);
                    }
                    self.add(socket, Vec::new());
                }
                Err(Errno::AGAIN) => return true,
                Err(Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM) => {
                    self.close_some((self.most / PART).max(1), one_if_idle);
                    // A connection that cannot be accepted stays in the queue, and would be
                    // reported without end.
                    return self.listen(false).is_err();
                }
                // The client is gone already, say.
                Err(_) => {}
            }
        }
        true
    }

    fn listen(&self, on: bool) -> rustix::io::Result<()> {
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
        let connection = Arc::new(Connection::new(number, socket, received, self.held.clone()));
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

    fn on_event(&self, connection: &Arc<Connection>, flags: epoll::EventFlags, scratch: &mut [u8]) {
        use epoll::EventFlags;
        let ended = flags.intersects(EventFlags::RDHUP | EventFlags::HUP | EventFlags::ERR);
        let mut state = connection.state();
        if matches!(state.phase, Phase::Sending(_)) {
            state.readable |= ended || flags.contains(EventFlags::IN);
            self.send(connection, &mut state);
        } else if ended || flags.contains(EventFlags::IN) {
            self.read(connection, &mut state, ended, scratch);
        }
        drop(state);
        self.tell_settled();
    }

    /// Reads what has come, as far as it is this connection's turn; if the client has `ended`, its
    /// end is behind it.
    fn read(
        &self,
        connection: &Arc<Connection>,
        state: &mut State,
        ended: bool,
        scratch: &mut [u8],
    ) {
        state.readable = true;
        if !matches!(
            state.phase,
            Phase::Head | Phase::Body(_) | Phase::Absorbing(_) | Phase::Discarding(_)
        ) {
            return;
        }
        if self.paused.load(Ordering::SeqCst) && matches!(state.phase, Phase::Head | Phase::Body(_))
        {
            // The next worker reads it.
            return;
        }
        let count = match recv(&connection.socket, &mut *scratch, RecvFlags::DONTWAIT) {
            Ok((0, _)) => return self.ended(connection, state),
            Ok((_, count)) => count.min(scratch.len()),
            Err(Errno::INTR) => return self.report_again(connection),
            Err(Errno::AGAIN) => {
                state.readable = false;
                return;
            }
            Err(_) => return self.close(connection, state),
        };
        // Fewer bytes than there is room for are all that has come (epoll(7)).
        state.readable = count == scratch.len() || ended;
        if state.readable {
            // Others have their turn; changing the registration makes the kernel report it anew.
            self.report_again(connection);
        }
        if let Phase::Discarding(left) = &mut state.phase {
            match left.checked_sub(count as u64) {
                Some(rest) => *left = rest,
                None => return self.close(connection, state),
            }
            let discarded = MOST_DISCARDED - *left;
            state.moved(discarded);
        } else {
            state.received.extend_from_slice(&scratch[..count]);
            self.advance(connection, state);
            self.absorb(connection, state);
        }
    }

    fn report_again(&self, connection: &Connection) {
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
                state.begin(Phase::Head, Some(SILENCE));
            }
            let mut scanned = state.scanned;
            let parsed = head::parse(&state.received, &mut scanned);
            state.scanned = scanned;
            match parsed {
                Parsed::Partial => {}
                Parsed::Malformed => self.dispatch_malformed(connection, state),
                Parsed::Whole(head) => self.begin_body(connection, state, *head),
            }
        }
        if let Phase::Body(incoming) = &mut state.phase {
            match incoming.advance(&state.received) {
                Progress::Partial => {
                    let come = state.received.len() as u64;
                    state.moved(come);
                }
                Progress::Whole(body, end) => {
                    let keep_alive = incoming.head.keep_alive;
                    self.dispatch(connection, state, Body::Whole(body), keep_alive, end);
                }
                Progress::TooLarge(chunked, end) => {
                    self.dispatch(
                        connection,
                        state,
                        Body::TooLarge(Rest::Chunked(chunked)),
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
        let kind = api::body_kind(&head.method, &head.path);
        let fits = match head.framing {
            Framing::Length(length) => length <= LONGEST_BODY as u64,
            Framing::Chunked => kind == BodyKind::Json,
        };
        let unread = match kind {
            BodyKind::Json => !fits,
            // A short body that nothing asks for is read, so that the connection can be used again.
            BodyKind::Ignored => !fits || head.expects_continue,
            BodyKind::Upload => head.framing != Framing::Length(0),
        };
        if unread {
            let body = Body::Unread {
                framing: head.framing,
                expects_continue: head.expects_continue,
            };
            let (keep_alive, length) = (head.keep_alive, head.length);
            state.begin(Phase::Body(Box::new(Incoming::new(head))), None);
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
        state.begin(
            Phase::Body(Box::new(Incoming::new(head))),
            Some(patience(0)),
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
            Exchange {
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
        let exchange = Exchange {
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
        exchange: Exchange,
    ) {
        let network = Network::of(exchange.client).of_customer();
        state.begin(Phase::Queued(Box::new(exchange)), None);
        self.queue.push(network, connection.number, method, path);
    }

    /// Takes what has come of a body that nothing wants; behind its end the answer is sent.
    fn absorb(&self, connection: &Arc<Connection>, state: &mut State) {
        let State {
            phase: Phase::Absorbing(absorbing),
            received,
            ..
        } = state
        else {
            return;
        };
        let too_long = matches!(absorbing.rest, Rest::Length(left) if left > MOST_DISCARDED);
        let taken = if too_long {
            None
        } else {
            absorbing.rest.take(received)
        };
        if let Some((count, end)) = taken {
            absorbing.total += count as u64;
            let total = absorbing.total;
            state.consume(count);
            if !end && total <= MOST_DISCARDED {
                return state.moved(total);
            }
            self.send_absorbed(connection, state, end);
        } else {
            self.send_absorbed(connection, state, false);
        }
    }

    /// Sends the answer to a request whose body has come to its `end`, or is not waited for any
    /// longer.
    fn send_absorbed(&self, connection: &Arc<Connection>, state: &mut State, end: bool) {
        let Phase::Absorbing(absorbing) = std::mem::replace(&mut state.phase, Phase::Busy) else {
            return;
        };
        let mut outgoing = absorbing.outgoing;
        if end && outgoing.after == After::Discard {
            outgoing.after = After::Close;
        }
        state.begin(Phase::Sending(Box::new(outgoing)), Some(patience(0)));
        self.send(connection, state);
    }

    /// The client sends nothing more.
    fn ended(&self, connection: &Arc<Connection>, state: &mut State) {
        match std::mem::replace(&mut state.phase, Phase::Head) {
            Phase::Body(incoming) => self.break_off(connection, state, *incoming),
            Phase::Absorbing(absorbing) => {
                state.phase = Phase::Absorbing(absorbing);
                self.send_absorbed(connection, state, true);
            }
            _ => self.close(connection, state),
        }
    }

    /// Answers a request whose body will not come whole.
    fn break_off(&self, connection: &Connection, state: &mut State, incoming: Incoming) {
        let (head, begun) = incoming.into_broken(&state.received);
        state.begin(Phase::Body(Box::new(Incoming::new(head))), None);
        self.dispatch(connection, state, Body::Broken(begun), None, usize::MAX);
    }

    /// Sends on, and goes on with the connection when all is sent.
    fn send(&self, connection: &Arc<Connection>, state: &mut State) {
        let Phase::Sending(outgoing) = &mut state.phase else {
            return;
        };
        match outgoing.push(&connection.socket) {
            Sent::Whole => {
                let after = outgoing.after;
                self.sent(connection, state, after);
            }
            Sent::Broken => self.close(connection, state),
            sent => {
                let total = outgoing.total();
                state.moved(total);
                if sent == Sent::Turn {
                    self.report_again(connection);
                }
            }
        }
    }

    fn sent(&self, connection: &Arc<Connection>, state: &mut State, after: After) {
        if after == After::KeepAlive {
            state.begin(Phase::Head, Some(SILENCE));
            self.advance(connection, state);
            if state.readable {
                self.report_again(connection);
            }
        } else if after == After::Close && state.received.is_empty() && !state.readable {
            self.close(connection, state);
        } else {
            // Closing now would make the kernel reset the connection, and the client might lose the
            // answer.
            state.consume(usize::MAX);
            let _ = shutdown(&connection.socket, Shutdown::Write);
            state.begin(Phase::Discarding(MOST_DISCARDED), Some(patience(0)));
            self.report_again(connection);
        }
    }

    /// Closes a connection; if its client does not read its answer, the kernel forgets at once what
    /// it has of it.
    fn give_up(&self, connection: &Arc<Connection>, state: &mut State) {
        if matches!(state.phase, Phase::Sending(_)) {
            let _ = sockopt::set_socket_linger(&connection.socket, Some(Duration::ZERO));
        }
        self.close(connection, state);
    }

    fn close(&self, connection: &Arc<Connection>, state: &mut State) {
        state.consume(usize::MAX);
        if !matches!(state.phase, Phase::Closed) {
            state.begin(Phase::Closed, None);
            // A thread that reads from it notices.
            let _ = shutdown(&connection.socket, Shutdown::Both);
            self.forget(connection);
        }
    }

    fn forget(&self, connection: &Connection) {
        self.connections().remove(&connection.number);
    }

    /// Ends what takes too long.
    fn sweep(&self) {
        let now = Instant::now();
        for connection in self.all() {
            let mut state = connection.state();
            if state.deadline.is_none_or(|deadline| deadline > now) {
                continue;
            }
            match std::mem::replace(&mut state.phase, Phase::Head) {
                Phase::Body(incoming) => self.break_off(&connection, &mut state, *incoming),
                Phase::Absorbing(absorbing) => {
                    state.phase = Phase::Absorbing(absorbing);
                    self.send_absorbed(&connection, &mut state, false);
                }
                phase => {
                    state.phase = phase;
                    self.give_up(&connection, &mut state);
                }
            }
        }
        let _ = self.queue.flush();
        self.tell_settled();
    }

    /// Closes connections if all of them hold too much memory.
    fn make_room(&self) {
        if let Some(excess) = self
            .held
            .load(Ordering::Relaxed)
            .checked_sub(self.most_held)
        {
            self.close_some(excess + self.most_held / PART_HELD, State::held);
        }
    }

    /// Closes connections that no thread works on and that weigh about `excess` together, first
    /// those of the networks that weigh most.
    fn close_some(&self, excess: usize, weight: fn(&State) -> usize) {
        let all = self.all();
        let mut candidates = Vec::new();
        for connection in &all {
            let state = connection.state();
            let rank = match state.phase {
                Phase::Busy => Rank::Busy,
                _ if weight(&state) > SMALL => Rank::Bulky,
                _ if self
                    .proxies
                    .iter()
                    .any(|proxy| proxy.matches(connection.peer)) =>
                {
                    Rank::Proxy
                }
                _ => Rank::Plain,
            };
            candidates.push(Member {
                source: connection.source,
                weight: weight(&state),
                since: state.since,
                rank,
            });
        }
        for chosen in crowd::choose(&candidates, excess) {
            let mut state = all[chosen].state();
            if !matches!(state.phase, Phase::Busy) {
                self.give_up(&all[chosen], &mut state);
            }
        }
    }

    fn all(&self) -> Vec<Arc<Connection>> {
        self.connections().values().cloned().collect()
    }

    fn tell_settled(&self) {
        if self.paused.load(Ordering::SeqCst) {
            let _settling = lock(&self.settling);
            self.settled.notify_all();
        }
    }

    fn connections(&self) -> MutexGuard<'_, HashMap<u64, Arc<Connection>>> {
        lock(&self.connections)
    }
}

/// How many connections there may be with so many descriptors: one that is sent a picture, or sends
/// one, takes two.
fn most_connections(descriptors: u64) -> usize {
    let most = descriptors.saturating_sub(OTHER_DESCRIPTORS) / 2;
    usize::try_from(most)
        .unwrap_or(usize::MAX)
        .min(MOST_CONNECTIONS)
}

/// What a connection takes of the number of connections. One whose request waits for a thread is
/// answered soon.
fn one_if_idle(state: &State) -> usize {
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
    fn start(most_held: usize) -> (Arc<EventLoop>, SocketAddr) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let mut event_loop = EventLoop::new(listener.into(), Vec::new(), 4).unwrap();
        event_loop.most_held = most_held;
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
            let [Handed { socket, .. }] = &mut *event_loop.hand_over() else {
                panic!("one connection")
            };
            client.shutdown(std::net::Shutdown::Write).unwrap();
            let received = b"GET / HTTP/1.0\r\n\r\n".to_vec();
            event_loop.adopt(Handed {
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
        event_loop.answer(&connection, answer, Rest::Length(0));
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
        event_loop.answer(&connection, answer, Rest::Length(0));
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
            [256, 1024, 1 << 20].map(most_connections),
            [64, 448, MOST_CONNECTIONS]
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
        let held = || event_loop.held.load(Ordering::Relaxed);
        wait_until(&event_loop, |all| {
            event_loop.next.load(Ordering::Relaxed) == 42
                && all.iter().all(is_queued)
                && held() <= 1024 * 1024
        });
        assert!(
            held() > 500_000 && event_loop.count() < 20,
            "{} of {} connections",
            held(),
            event_loop.count()
        );
        assert!(event_loop.take(number).is_some(), "the small one waits on");
        drop((small, streams));
        event_loop.stop();
    }
}
