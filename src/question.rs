//! A question to a server on this machine: whether it answers, and how.

use crate::config::Listen;
use crate::socket;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::time::Duration;

/// Asks for `/health` with this method, and says the HTTP status of the answer.
///
/// # Errors
/// If nobody listens, or nobody answers for so long, or it is no HTTP.
pub fn ask(listen: &Listen, method: &str, patience: Duration) -> io::Result<u16> {
    let question = format!("{method} /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    // "HTTP/1.1 200"
    let mut answer = [0; 12];
    match listen {
        Listen::Tcp(address) => {
            let mut stream = TcpStream::connect_timeout(&socket::reachable(*address), patience)?;
            stream.set_read_timeout(Some(patience))?;
            stream.write_all(question.as_bytes())?;
            stream.read_exact(&mut answer)?;
        }
        Listen::Unix(path) => {
            let mut stream = UnixStream::connect(path)?;
            stream.set_read_timeout(Some(patience))?;
            stream.write_all(question.as_bytes())?;
            stream.read_exact(&mut answer)?;
        }
    }
    let status = answer.strip_prefix(b"HTTP/1.").and_then(|rest| std::str::from_utf8(&rest[2..]).ok()?.parse().ok());
    status.ok_or_else(|| io::Error::other("the answer is no HTTP"))
}
