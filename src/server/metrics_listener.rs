//! A listener of its own for `/metrics`, where `metrics_listen` names one.

use super::Server;
use crate::http;
use crate::log::{self, Level};
use crate::metrics::{CONTENT_TYPE, PATH, now};
use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// How long a request or its answer may take; others wait meanwhile.
const PATIENCE: Duration = Duration::from_secs(2);
/// The longest head in bytes.
const LONGEST: usize = 8 * 1024;
/// Between two attempts to listen, while the process before still does.
const PAUSE: Duration = Duration::from_millis(100);

/// The listener, until [`MetricsListener::end`].
#[derive(Default)]
pub struct MetricsListener {
    ended: AtomicBool,
    listener: Mutex<Option<TcpListener>>,
}

impl MetricsListener {
    /// Answers on this address, in a thread of its own.
    #[must_use]
    pub fn start(server: Arc<Server>, address: SocketAddr) -> Arc<MetricsListener> {
        let listener = Arc::new(MetricsListener::default());
        let this = listener.clone();
        thread::spawn(move || {
            let Some(listener) = this.listen(address) else { return };
            while !this.ended.load(Ordering::SeqCst) {
                // A client that breaks off is its own affair; a listener that fails has ended, or lacks descriptors.
                match listener.accept() {
                    Ok((stream, _)) => drop(answer(&server, stream)),
                    Err(_) => thread::sleep(PAUSE),
                }
            }
        });
        listener
    }

    /// Leaves the address to the next process.
    pub fn end(&self) {
        let listener = self.listener();
        self.ended.store(true, Ordering::SeqCst);
        listener.as_ref().map(|listener| rustix::net::shutdown(listener, rustix::net::Shutdown::Both));
    }

    /// Listens as soon as nobody else does; nothing if that is not wanted any more.
    fn listen(&self, address: SocketAddr) -> Option<TcpListener> {
        let mut said = false;
        loop {
            let mut kept = self.listener();
            if self.ended.load(Ordering::SeqCst) {
                return None;
            }
            let bound = TcpListener::bind(address).and_then(|listener| Ok((listener.try_clone()?, listener)));
            match bound {
                Ok((listener, other)) => {
                    let shown = other.local_addr().map_or(address, |address| address);
                    log::line(Level::Info, &format!("metrics on http://{shown}{PATH}"));
                    *kept = Some(other);
                    return Some(listener);
                }
                Err(error) if !said => log::line(Level::Error, &format!("metrics_listen {address}: {error}")),
                Err(_) => {}
            }
            drop(kept);
            said = true;
            thread::sleep(PAUSE);
        }
    }

    fn listener(&self) -> std::sync::MutexGuard<'_, Option<TcpListener>> {
        self.listener.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn answer(server: &Server, mut stream: TcpStream) -> io::Result<()> {
    let head = head(&mut stream)?;
    let mut words = head.split(' ');
    let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let (status, kind, body) = match (method, http::path(target)) {
        ("GET" | "HEAD", PATH) => ("200 OK", CONTENT_TYPE, now::text(server.app())),
        _ => ("404 Not Found", "text/plain; charset=utf-8", format!("there is only {PATH}\n")),
    };
    let mut answer = format!(
        "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {}\r\nX-Content-Type-Options: nosniff\r\n\
         Cache-Control: no-store\r\nConnection: close\r\n\r\n",
        body.len()
    );
    if method != "HEAD" {
        answer += &body;
    }
    stream.set_write_timeout(Some(PATIENCE))?;
    stream.write_all(answer.as_bytes())
}

/// The head of a request.
fn head(stream: &mut TcpStream) -> io::Result<String> {
    let since = Instant::now();
    let mut head = Vec::new();
    while !head.windows(4).any(|end| end == b"\r\n\r\n") {
        let left = PATIENCE.checked_sub(since.elapsed()).filter(|left| !left.is_zero()).ok_or(ErrorKind::TimedOut)?;
        stream.set_read_timeout(Some(left))?;
        let mut piece = [0; 1024];
        let count = stream.read(&mut piece)?;
        if count == 0 || head.len() + count > LONGEST {
            return Err(ErrorKind::InvalidData.into());
        }
        head.extend_from_slice(&piece[..count]);
    }
    Ok(String::from_utf8_lossy(&head).into_owned())
}
