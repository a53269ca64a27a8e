//! tiny_http, which hands complete requests to the threads that answer them: the only file that names it.
//!
//! tiny_http never reads from a client. It can be made to lose threads, to abort or to answer wrongly by what a client sends
//! (docs/architecture.md lists how), so the event loop reads clients itself and passes one short, well-formed request line for
//! each request through a connection inside the process. The rest of the request waits at the client's connection, whose
//! number travels in a header.

use std::io::{self, Write};
use std::mem::ManuallyDrop;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The header with the number of the client's connection.
const NUMBER: &str = "n";
/// The longest path that is passed on, in bytes; every path that the server knows is shorter.
const LONGEST_PATH: usize = 1024;

/// The queue between the event loop and the threads that answer.
pub struct Queue {
    // Dropping it would make it connect to its listener, which is gone.
    http: ManuallyDrop<tiny_http::Server>,
    inlet: Mutex<Inlet>,
}

struct Inlet {
    stream: UnixStream,
    /// What is to be written with the next flush.
    pending: Vec<u8>,
}

/// A request that a thread is to answer.
pub struct Job {
    /// The number of its connection.
    pub connection: u64,
    /// Its method.
    pub method: String,
    /// Its path, in which bytes beyond ASCII are percent-encoded.
    pub path: String,
}

impl Queue {
    /// Starts tiny_http on a socket that nothing else can connect to.
    ///
    /// # Errors
    /// A sentence with what the operating system says.
    pub fn start() -> Result<Queue, String> {
        Queue::open().map_err(|error| format!("the queue of requests cannot be opened: {error}"))
    }

    fn open() -> Result<Queue, Box<dyn std::error::Error + Send + Sync>> {
        let name = crate::secret::letters(32);
        let address = SocketAddr::from_abstract_name(format!("accountd-{name}"))?;
        let listener = UnixListener::bind_addr(&address)?;
        let handle = listener.try_clone()?;
        let http = ManuallyDrop::new(tiny_http::Server::from_listener(listener, None)?);
        let stream = UnixStream::connect_addr(&address)?;
        let queue = Queue { http, inlet: Mutex::new(Inlet { stream, pending: Vec::new() }) };
        // Once a first request has come through, the connection is accepted. Then the listener is closed: tiny_http reports
        // that once, and its thread that accepts ends.
        queue.push(0, "GET", "/");
        queue.flush()?;
        queue.http.recv()?.into_writer();
        rustix::net::shutdown(&handle, rustix::net::Shutdown::Both)?;
        while queue.http.recv().is_ok() {}
        Ok(queue)
    }

    /// Adds a request; it is on its way with the next [`Queue::flush`].
    pub fn push(&self, connection: u64, method: &str, path: &str) {
        let mut inlet = self.inlet();
        inlet.pending.extend_from_slice(method.as_bytes());
        inlet.pending.push(b' ');
        for byte in path.bytes().take(LONGEST_PATH) {
            if byte.is_ascii_graphic() {
                inlet.pending.push(byte);
            } else {
                let _ = write!(inlet.pending, "%{byte:02X}");
            }
        }
        let _ = write!(inlet.pending, " HTTP/1.1\r\n{NUMBER}: {connection}\r\n\r\n");
    }

    /// Passes on everything that was added.
    ///
    /// # Errors
    /// Whatever the operating system says; tiny_http reads without end, so it is never full for long.
    pub fn flush(&self) -> io::Result<()> {
        let mut inlet = self.inlet();
        let Inlet { stream, pending } = &mut *inlet;
        if !pending.is_empty() {
            stream.write_all(pending)?;
            pending.clear();
        }
        Ok(())
    }

    /// Waits for a request; `None` after [`Queue::unblock`].
    pub fn pop(&self) -> Option<Job> {
        let request = self.http.recv().ok()?;
        let number = request.headers().iter().find(|header| header.field.equiv(NUMBER));
        let connection = number.and_then(|header| header.value.as_str().parse().ok()).unwrap_or_default();
        let job = Job { connection, method: request.method().as_str().into(), path: request.url().into() };
        // The reply goes to the client's own connection. A request that is dropped without its writer would be answered here.
        drop(request.into_writer());
        Some(job)
    }

    /// Makes one [`Queue::pop`] return `None`, behind the requests that wait already.
    pub fn unblock(&self) {
        self.http.unblock();
    }

    fn inlet(&self) -> MutexGuard<'_, Inlet> {
        self.inlet.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_come_out_in_the_order_in_which_they_went_in() {
        let queue = Queue::start().unwrap();
        for number in 1..=1000 {
            queue.push(number, "POST", if number % 2 == 0 { "/api/login" } else { "/s/阿 \r\n" });
        }
        queue.flush().unwrap();
        for number in 1..=1000 {
            let job = queue.pop().unwrap();
            let path = if number % 2 == 0 { "/api/login" } else { "/s/%E9%98%BF%20%0D%0A" };
            assert_eq!((job.connection, &*job.method, &*job.path), (number, "POST", path));
        }
        queue.unblock();
        assert!(queue.pop().is_none());
    }
}
