//! The queue of complete requests: a fair queue, then tiny_http, which this file alone names.
//!
//! tiny_http never reads from a client: malicious input makes it lose threads, abort or answer
//! wrongly (docs/architecture.md). The event loop reads clients itself. For each request it sends a
//! short, well-formed request line through a connection inside the process, with the number of the
//! client's connection in a header; the rest of the request stays at that connection. tiny_http is
//! a FIFO, so it gets only a few requests ahead of the threads. The others wait in the fair queue
//! of their networks.

use super::fair_queue::FairQueue;
use crate::http::network::Network;
use crate::sync::lock;
use std::io::{self, Write};
use std::mem::ManuallyDrop;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::sync::{Mutex, MutexGuard};

/// The header with the number of the client's connection.
const CONNECTION_HEADER: &str = "n";
/// Longer paths are cut off here, in bytes; every path that the server knows is shorter.
const MAX_PATH: usize = 1024;

/// The queue between the event loop and the threads that answer.
pub struct Queue {
    // Never dropped: its destructor connects to its listener, which is closed.
    http: ManuallyDrop<tiny_http::Server>,
    input: Mutex<Input>,
}

struct Input {
    stream: UnixStream,
    /// Request lines with their header.
    waiting: FairQueue<Network, Vec<u8>>,
    /// Requests that were sent to tiny_http and that no thread has taken yet.
    in_flight: usize,
    /// The limit for `in_flight`.
    max_in_flight: usize,
}

/// A request for a thread to answer.
pub struct Job {
    /// The number of its connection.
    pub connection: u64,
    /// Its method.
    pub method: String,
    /// Its path, with non-ASCII bytes percent-encoded.
    pub path: String,
}

impl Queue {
    /// Starts tiny_http for this number of threads, on a socket that nothing else can connect to.
    pub fn start(threads: usize) -> Result<Queue, String> {
        Queue::open(2 * threads)
            .map_err(|error| format!("the queue of requests cannot be opened: {error}"))
    }

    fn open(max_in_flight: usize) -> Result<Queue, Box<dyn std::error::Error + Send + Sync>> {
        let name = crate::crypto::random_alphanumeric(32);
        let address = SocketAddr::from_abstract_name(format!("accountd-{name}"))?;
        let listener = UnixListener::bind_addr(&address)?;
        let handle = listener.try_clone()?;
        let http = ManuallyDrop::new(tiny_http::Server::from_listener(listener, None)?);
        let stream = UnixStream::connect_addr(&address)?;
        let input = Input {
            stream,
            waiting: FairQueue::default(),
            in_flight: 0,
            max_in_flight,
        };
        let queue = Queue {
            http,
            input: Mutex::new(input),
        };
        // A first request shows that the connection was accepted. Then the listener is closed:
        // tiny_http reports that once, and its accepting thread ends.
        queue.push(Network::EVERYWHERE, 0, "GET", "/");
        queue.flush()?;
        queue.pop();
        rustix::net::shutdown(&handle, rustix::net::Shutdown::Both)?;
        while queue.http.recv().is_ok() {}
        Ok(queue)
    }

    /// Adds a request from this network. [`Queue::flush`] sends it when its turn has come.
    pub fn push(&self, network: Network, connection: u64, method: &str, path: &str) {
        let mut line = Vec::with_capacity(64);
        line.extend_from_slice(method.as_bytes());
        line.push(b' ');
        for byte in path.bytes().take(MAX_PATH) {
            if byte.is_ascii_graphic() {
                line.push(byte);
            } else {
                let _ = write!(line, "%{byte:02X}");
            }
        }
        let _ = write!(
            line,
            " HTTP/1.1\r\n{CONNECTION_HEADER}: {connection}\r\n\r\n"
        );
        self.input().waiting.push(network, line);
    }

    /// Sends as many requests to tiny_http as may be in flight. tiny_http always reads, so this
    /// blocks only for a moment.
    pub fn flush(&self) -> io::Result<()> {
        self.input().flush()
    }

    /// Waits for a request; `None` after [`Queue::unblock`].
    pub fn pop(&self) -> Option<Job> {
        let request = self.http.recv().ok()?;
        let mut input = self.input();
        input.in_flight -= 1;
        // While more than half are left, the threads are busy enough; waiting batches the writes.
        if input.in_flight <= input.max_in_flight / 2 {
            // The event loop notices errors, too.
            let _ = input.flush();
        }
        drop(input);
        let number = request
            .headers()
            .iter()
            .find(|header| header.field.equiv(CONNECTION_HEADER));
        let connection = number
            .and_then(|header| header.value.as_str().parse().ok())
            .unwrap_or_default();
        let job = Job {
            connection,
            method: request.method().as_str().into(),
            path: request.url().into(),
        };
        // The reply goes to the client's own connection. Dropping the request itself would make
        // tiny_http answer it here.
        drop(request.into_writer());
        Some(job)
    }

    /// Makes one [`Queue::pop`] return `None`, after the requests that wait already.
    pub fn unblock(&self) {
        self.http.unblock();
    }

    fn input(&self) -> MutexGuard<'_, Input> {
        lock(&self.input)
    }
}

impl Input {
    fn flush(&mut self) -> io::Result<()> {
        let mut lines = Vec::new();
        while self.in_flight < self.max_in_flight
            && let Some(line) = self.waiting.pop()
        {
            lines.extend_from_slice(&line);
            self.in_flight += 1;
        }
        if lines.is_empty() {
            Ok(())
        } else {
            self.stream.write_all(&lines)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(address: &str) -> Network {
        Network::of(address.parse().ok())
    }

    #[test]
    fn a_network_with_many_requests_delays_only_its_own() {
        let queue = Queue::start(4).unwrap();
        for number in 1..=1000 {
            queue.push(of("192.0.2.1"), number, "GET", "/");
        }
        queue.flush().unwrap();
        queue.push(of("192.0.2.2"), 1001, "GET", "/");
        queue.flush().unwrap();
        let before = std::iter::from_fn(|| queue.pop())
            .take_while(|job| job.connection != 1001)
            .count();
        assert!(before <= 10, "{before}");
        // All the others arrive, too.
        (0..1000 - before).for_each(|_| drop(queue.pop().unwrap()));
        queue.unblock();
        assert!(queue.pop().is_none());
    }

    #[test]
    fn requests_of_one_network_keep_their_order() {
        let queue = Queue::start(4).unwrap();
        for number in 1..=1000 {
            let path = if number % 2 == 0 {
                "/api/login"
            } else {
                "/s/阿 \r\n"
            };
            queue.push(of("192.0.2.1"), number, "POST", path);
        }
        queue.flush().unwrap();
        for number in 1..=1000 {
            let job = queue.pop().unwrap();
            let path = if number % 2 == 0 {
                "/api/login"
            } else {
                "/s/%E9%98%BF%20%0D%0A"
            };
            assert_eq!(
                (job.connection, &*job.method, &*job.path),
                (number, "POST", path)
            );
        }
        queue.unblock();
        assert!(queue.pop().is_none());
    }
}
