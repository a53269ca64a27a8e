//! A health check of a server on this machine.

use crate::config::Listen;
use crate::contract;
use crate::server::listener;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::time::Duration;

/// Requests `/health` with this method and returns the HTTP status.
pub fn status(listen: &Listen, method: &str, timeout: Duration) -> io::Result<u16> {
    let request = format!(
        "{method} {} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
        contract::HEALTH.path
    );
    // "HTTP/1.1 200"
    let mut answer = [0; 12];
    match listen {
        Listen::Tcp(address) => {
            let mut stream = TcpStream::connect_timeout(&listener::reachable(*address), timeout)?;
            stream.set_read_timeout(Some(timeout))?;
            stream.write_all(request.as_bytes())?;
            stream.read_exact(&mut answer)?;
        }
        Listen::Unix(path) => {
            let mut stream = UnixStream::connect(path)?;
            stream.set_read_timeout(Some(timeout))?;
            stream.write_all(request.as_bytes())?;
            stream.read_exact(&mut answer)?;
        }
    }
    let status = answer
        .strip_prefix(b"HTTP/1.")
        .and_then(|rest| std::str::from_utf8(&rest[2..]).ok()?.parse().ok());
    status.ok_or_else(|| io::Error::other("the answer is not HTTP"))
}
