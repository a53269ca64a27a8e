//! The event loop: one thread accepts connections, reads requests until they are complete, and
//! sends replies that clients read slowly.
//!
//! Every socket is registered once and edge-triggered: the kernel reports new input, and the loop
//! reads until there is none left or a request is complete. A connection is not read while its
//! request is being answered, so pipelined requests wait in the kernel's buffers.

mod limits;
mod replies;
mod requests;

use super::connection::{Connection, PendingRequest, Phase};
use super::fair_queue::FairQueue;
use super::queue::Queue;
use crate::http::client_address::Proxy;
use crate::http::network::Network;
use crate::metrics::usage;
use crate::sync::lock;
use rustix::event::{EventfdFlags, Timespec, epoll, eventfd};
use rustix::fd::OwnedFd;
use rustix::io::Errno;
use rustix::net::{SocketFlags, accept_with};
use std::collections::HashMap;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Bytes read from one connection before other connections are served: decoding as many chunks of
/// one byte takes 0.1 ms.
const READ_BUFFER: usize = 16 * 1024;
/// Connections accepted before other events are handled.
const MAX_ACCEPTS: u32 = 64;
/// Time between two checks of all deadlines.
const SWEEP_INTERVAL: Duration = Duration::from_secs(1);
/// Time until work that waits is done although there are no connections.
const LONGEST_WAIT: Duration = Duration::from_secs(60);
/// Events fetched by one call of epoll_wait.
const MAX_EVENTS: usize = 256;
/// Events handled before new ones are fetched: a few milliseconds if each is a full buffer of
/// chunks.
const MAX_TURNS: usize = 32;

/// The tokens of the sockets that are not clients' in events.
const LISTENER: u64 = u64::MAX;
const WAKER: u64 = u64::MAX - 1;

/// The event loop, and what it shares with the threads that answer requests.
pub struct EventLoop {
    epoll: OwnedFd,
    waker: OwnedFd,
    listener: OwnedFd,
    /// Receives the complete requests.
    pub queue: Queue,
    connections: Mutex<HashMap<u64, Arc<Connection>>>,
    next: AtomicU64,
    max_connections: usize,
    /// The trusted proxies. Each of their connections serves many clients.
    proxies: Vec<Proxy>,
    /// Bytes of memory that all connections use together.
    memory_used: Arc<AtomicUsize>,
    /// The limit for `memory_used`.
    memory_limit: usize,
    /// Whether new requests are left unread because this worker drains or stops.
    paused: AtomicBool,
    /// Whether an iteration of the loop has begun since the pause.
    pause_seen: AtomicBool,
    /// Whether the loop is to end.
    stopped: AtomicBool,
    /// Notified, while the loop is paused, when a connection ends or starts to wait for a request.
    changed: Condvar,
    change_lock: Mutex<()>,
}

/// An idle connection that is passed from one worker to the next.
pub struct Transfer {
    /// Its socket.
    pub socket: OwnedFd,
    /// The part of its next request that was received already.
    pub received: Vec<u8>,
}

impl EventLoop {
    /// Creates a loop for a listening socket and this number of answering threads. It accepts
    /// connections once [`EventLoop::run`] is called.
    pub fn new(
        listener: OwnedFd,
        proxies: Vec<Proxy>,
        threads: usize,
    ) -> Result<EventLoop, String> {
        let open = || -> io::Result<(OwnedFd, OwnedFd)> {
            let poll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
            let waker = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
            // Accepting must never block the loop.
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
            max_connections: limits::max_connections(usage::descriptors()),
            proxies,
            memory_used: Arc::default(),
            memory_limit: limits::MAX_MEMORY,
            paused: AtomicBool::new(false),
            pause_seen: AtomicBool::new(false),
            stopped: AtomicBool::new(false),
            changed: Condvar::new(),
            change_lock: Mutex::new(()),
        })
    }

    /// Runs until [`EventLoop::stop`]. Calls `each_second` about once a second while there are
    /// connections, and within a minute while `waits` says that there is work for it.
    pub fn run(&self, each_second: impl Fn(), waits: impl Fn() -> bool) {
        let mut buffer = vec![0; READ_BUFFER];
        let mut events = Vec::with_capacity(MAX_EVENTS);
        // The connections with events: a network with many busy ones delays only its own.
        let mut ready: FairQueue<Network, u64> = FairQueue::default();
        let mut flags: HashMap<u64, epoll::EventFlags> = HashMap::new();
        let mut swept = Instant::now();
        let mut accepting = true;
        while !self.stopped.load(Ordering::SeqCst) {
            if self.paused.load(Ordering::SeqCst) {
                self.pause_seen.store(true, Ordering::SeqCst);
                self.notify_change();
            }
            // Without connections there are no deadlines to check.
            let timeout = match !accepting || !self.connections().is_empty() {
                true => Some(SWEEP_INTERVAL),
                false => waits().then_some(LONGEST_WAIT),
            };
            let timeout = if flags.is_empty() {
                timeout
            } else {
                Some(Duration::ZERO)
            };
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
                        if let Some(earlier) = flags.get_mut(&number) {
                            *earlier |= event.flags;
                        } else if let Some(connection) = self.connections().get(&number) {
                            ready.push(connection.source.of_customer(), number);
                            flags.insert(number, event.flags);
                        }
                    }
                }
            }
            for _ in 0..MAX_TURNS {
                let Some(number) = ready.pop() else {
                    break;
                };
                let flags = flags.remove(&number).unwrap_or(epoll::EventFlags::IN);
                // An earlier event may have closed the connection.
                let connection = self.connections().get(&number).cloned();
                if let Some(connection) = connection {
                    self.on_event(&connection, flags, &mut buffer);
                    self.enforce_memory_limit();
                }
            }
            // An error means that tiny_http's threads are gone, and then the process is ending.
            let _ = self.queue.flush();
            if swept.elapsed() >= SWEEP_INTERVAL {
                swept = Instant::now();
                self.close_overdue();
                each_second();
                if !accepting {
                    // Accepting was suspended because descriptors had run out.
                    accepting = true;
                    let _ = self.watch_listener(true);
                }
            }
        }
    }

    /// Stops accepting connections and reading requests. When this returns, every accepted
    /// connection is registered.
    pub fn pause(&self) {
        self.paused.store(true, Ordering::SeqCst);
        let _ = epoll::delete(&self.epoll, &self.listener);
        // The current iteration may still accept connections.
        let change_lock = lock(&self.change_lock);
        self.wake();
        drop(
            self.changed
                .wait_while(change_lock, |()| !self.pause_seen.load(Ordering::SeqCst)),
        );
    }

    /// Makes the loop end.
    pub fn stop(&self) {
        self.stopped.store(true, Ordering::SeqCst);
        self.wake();
    }

    fn wake(&self) {
        let _ = rustix::io::write(&self.waker, &1_u64.to_ne_bytes());
    }

    /// Waits until a condition on all connections holds, at most for `timeout`. The condition is
    /// checked whenever a connection ends or starts to wait for a request while the loop is paused.
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

    /// Removes and returns the connections that wait for a request or have sent a part of one.
    pub fn export_idle(&self) -> Vec<Transfer> {
        let mut transfers = Vec::new();
        for connection in self.all() {
            let mut state = connection.state();
            if matches!(state.phase, Phase::Head | Phase::Body(_))
                && let Ok(socket) = connection.socket.try_clone()
            {
                // A thread may keep its handle on the connection for a moment. The loop must get no
                // more events of it.
                let _ = epoll::delete(&self.epoll, &connection.socket);
                transfers.push(Transfer {
                    socket,
                    received: std::mem::take(&mut state.received),
                });
                state.enter(Phase::Closed, None);
                self.remove(&connection);
            }
        }
        transfers
    }

    /// Takes over a connection from another worker.
    pub fn import(&self, transfer: Transfer) {
        self.add(transfer.socket, transfer.received);
        self.enforce_memory_limit();
        let _ = self.queue.flush();
    }

    /// The number of connections.
    pub fn count(&self) -> usize {
        self.connections().len()
    }

    /// The connection with this number and its queued request, which is no longer queued then.
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

    /// Closes a connection without a reply.
    pub fn abort(&self, connection: &Arc<Connection>) {
        self.close(connection, &mut connection.state());
        self.notify_change();
    }

    /// Unregisters a connection so that the calling thread can read it, and returns the bytes that
    /// were received already.
    pub fn detach(&self, connection: &Connection) -> Vec<u8> {
        let _ = epoll::delete(&self.epoll, &connection.socket);
        std::mem::take(&mut connection.state().received)
    }

    /// Registers a connection again after [`EventLoop::detach`]. `received` is what the thread has
    /// read beyond the body.
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
                        self.evict_idle();
                    }
                    self.add(socket, Vec::new());
                }
                Err(Errno::AGAIN) => return true,
                Err(Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM) => {
                    self.evict_idle();
                    // The connection stays in the backlog, so epoll would report the listener
                    // again and again.
                    return self.watch_listener(false).is_err();
                }
                // The client has aborted the connection, for example.
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
        // The lock keeps the loop from handling the client's end before its earlier requests.
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

    /// Makes the kernel report the pending events of a connection once more.
    fn rearm(&self, connection: &Connection) {
        use epoll::EventFlags;
        let flags = EventFlags::IN | EventFlags::OUT | EventFlags::RDHUP | EventFlags::ET;
        let data = epoll::EventData::new_u64(connection.number);
        let _ = epoll::modify(&self.epoll, &connection.socket, data, flags);
    }

    fn remove(&self, connection: &Connection) {
        self.connections().remove(&connection.number);
    }

    /// Ends the phases whose deadline has passed.
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

    fn all(&self) -> Vec<Arc<Connection>> {
        self.connections().values().cloned().collect()
    }

    fn notify_change(&self) {
        if self.paused.load(Ordering::SeqCst) {
            let _guard = lock(&self.change_lock);
            self.changed.notify_all();
        }
    }

    fn connections(&self) -> MutexGuard<'_, HashMap<u64, Arc<Connection>>> {
        lock(&self.connections)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::connection::Remaining;
    use crate::server::outgoing::{After, Outgoing};
    use rustix::net::sockopt;
    use std::io::{Read, Write};
    use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
    use std::thread;

    /// A running loop with this memory limit, and its address. Requests stay in its queue.
    fn start(memory_limit: usize) -> (Arc<EventLoop>, SocketAddr) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let mut event_loop = EventLoop::new(listener.into(), Vec::new(), 4).unwrap();
        event_loop.memory_limit = memory_limit;
        let event_loop = Arc::new(event_loop);
        let running = event_loop.clone();
        thread::spawn(move || running.run(|| (), || false));
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
                "the condition does not become true"
            );
            thread::yield_now();
        }
    }

    fn is_queued(connection: &Arc<Connection>) -> bool {
        matches!(connection.state().phase, Phase::Queued(_))
    }

    #[test]
    fn a_transferred_connection_keeps_its_request_although_the_client_has_closed_its_side() {
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
            // The request is queued, and the end of input did not close the connection.
            wait_until(&event_loop, |all| {
                all.len() == 1 && is_queued(&all[0]) && all[0].state().readable
            });
            event_loop.stop();
        }
    }

    #[test]
    fn the_kernel_discards_a_reply_whose_connection_is_closed_at_its_deadline() {
        let (event_loop, address) = start(16 * 1024 * 1024);
        let mut client = send(address, b"GET / HTTP/1.0\r\n\r\n");
        wait_until(&event_loop, |all| all.len() == 1 && is_queued(&all[0]));
        let (connection, _) = event_loop.take(event_loop.all()[0].number).unwrap();
        let reply = Outgoing::new(vec![0; 8 * 1024 * 1024], None, After::Close);
        event_loop.answer(&connection, reply, Remaining::Length(0));
        connection.state().deadline = Some(Instant::now());
        drop(connection);
        wait_until(&event_loop, <[_]>::is_empty);
        let error = client.read_to_end(&mut Vec::new()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
        event_loop.stop();
    }

    #[test]
    fn a_client_that_reads_late_gets_all_of_a_reply_that_the_kernel_has_taken() {
        let (event_loop, address) = start(16 * 1024 * 1024);
        let mut client = send(address, b"GET / HTTP/1.0\r\n\r\n");
        wait_until(&event_loop, |all| all.len() == 1 && is_queued(&all[0]));
        let (connection, _) = event_loop.take(event_loop.all()[0].number).unwrap();
        sockopt::set_socket_send_buffer_size(&connection.socket, 256 * 1024).unwrap();
        // More than the client's receive window.
        let reply = Outgoing::new(vec![0; 200 * 1024], None, After::Close);
        event_loop.answer(&connection, reply, Remaining::Length(0));
        assert!(matches!(connection.state().phase, Phase::Closed));
        drop(connection);
        let mut bytes = Vec::new();
        client.read_to_end(&mut bytes).unwrap();
        assert_eq!(bytes.len(), 200 * 1024);
        event_loop.stop();
    }

    #[test]
    fn queued_requests_do_not_exceed_the_memory_limit() {
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
        assert!(
            event_loop.take(number).is_some(),
            "the small request is still queued"
        );
        drop((small, streams));
        event_loop.stop();
    }
}
