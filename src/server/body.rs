//! Reads a body that is too long for memory from its connection, in the thread that answers.

use super::chunked::{Chunked, Piece};
use super::connection::{Connection, Remaining, transfer_timeout};
use super::event_loop::EventLoop;
use super::head::Framing;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{RecvFlags, recv};
use std::io::{self, ErrorKind, Read};
use std::time::{Duration, Instant};

/// Bytes read at once.
const PIECE: usize = 64 * 1024;

/// Reads the body of a request. When it is dropped, the event loop reads the connection again.
pub struct BodyReader<'a> {
    connection: &'a Connection,
    event_loop: &'a EventLoop,
    framing: State,
    /// The received bytes; those before `at` were returned already.
    received: Vec<u8>,
    at: usize,
    /// Bytes of the body that were returned. Chunk sizes and extensions are not counted: with them,
    /// a client could keep a thread busy for days.
    total: u64,
    since: Instant,
    expects_continue: bool,
}

enum State {
    Length(u64),
    Chunked(Chunked),
    /// The body was read completely.
    End,
}

impl<'a> BodyReader<'a> {
    /// A reader of the body that follows on this connection.
    pub fn new(
        event_loop: &'a EventLoop,
        connection: &'a Connection,
        framing: Framing,
        expects_continue: bool,
    ) -> BodyReader<'a> {
        let received = event_loop.detach(connection);
        let framing = match framing {
            Framing::Length(0) => State::End,
            Framing::Length(length) => State::Length(length),
            Framing::Chunked => State::Chunked(Chunked::default()),
        };
        let since = Instant::now();
        BodyReader {
            connection,
            event_loop,
            framing,
            received,
            at: 0,
            total: 0,
            since,
            expects_continue,
        }
    }

    /// Whether the body was read completely. Only then can the connection be kept alive.
    pub fn is_complete(&self) -> bool {
        matches!(self.framing, State::End)
    }

    /// The part of the body that was not read yet.
    pub fn remaining(&mut self) -> Remaining {
        match std::mem::replace(&mut self.framing, State::End) {
            _ if self.expects_continue => Remaining::Unknown,
            State::Length(left) => Remaining::Length(left),
            State::Chunked(chunked) => Remaining::Chunked(chunked),
            State::End => Remaining::Length(0),
        }
    }

    /// Receives more bytes, and waits for them if necessary.
    fn receive(&mut self) -> io::Result<()> {
        self.received.drain(..self.at);
        self.at = 0;
        if std::mem::take(&mut self.expects_continue) && self.received.is_empty() {
            self.connection.send_continue();
        }
        let kept = self.received.len();
        self.received.resize(kept + PIECE, 0);
        let count = self.wait_for_bytes(kept);
        self.received.truncate(kept + *count.as_ref().unwrap_or(&0));
        match count? {
            0 => Err(ErrorKind::UnexpectedEof.into()),
            _ => Ok(()),
        }
    }

    fn wait_for_bytes(&mut self, kept: usize) -> io::Result<usize> {
        loop {
            match recv(
                &self.connection.socket,
                &mut self.received[kept..],
                RecvFlags::DONTWAIT,
            ) {
                Ok((_, count)) => return Ok(count),
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => {
                    let left = (self.since + transfer_timeout(self.total))
                        .saturating_duration_since(Instant::now());
                    if left.is_zero() {
                        return Err(ErrorKind::TimedOut.into());
                    }
                    let timeout = Timespec::try_from(left.min(Duration::from_secs(60))).ok();
                    match poll(
                        &mut [PollFd::new(&self.connection.socket, PollFlags::IN)],
                        timeout.as_ref(),
                    ) {
                        Ok(_) | Err(Errno::INTR) => {}
                        Err(error) => return Err(error.into()),
                    }
                }
                Err(error) => return Err(error.into()),
            }
        }
    }
}

impl Read for BodyReader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        loop {
            match &mut self.framing {
                State::End => return Ok(0),
                State::Length(left) => {
                    let available = self.received.len() - self.at;
                    if available > 0 {
                        let max = usize::try_from(*left).unwrap_or(usize::MAX);
                        let count = buffer.len().min(available).min(max);
                        buffer[..count].copy_from_slice(&self.received[self.at..self.at + count]);
                        self.at += count;
                        self.total += count as u64;
                        *left -= count as u64;
                        if *left == 0 {
                            self.framing = State::End;
                        }
                        return Ok(count);
                    }
                }
                State::Chunked(chunked) => {
                    match chunked.next(&self.received, self.at, buffer.len()) {
                        Piece::Data(range) => {
                            let count = range.len();
                            buffer[..count].copy_from_slice(&self.received[range.clone()]);
                            self.at = range.end;
                            self.total += count as u64;
                            return Ok(count);
                        }
                        Piece::End(at) => {
                            self.at = at;
                            self.framing = State::End;
                            return Ok(0);
                        }
                        Piece::Partial(at) => self.at = at,
                        Piece::Malformed => return Err(ErrorKind::InvalidData.into()),
                    }
                }
            }
            self.receive()?;
        }
    }
}

impl Drop for BodyReader<'_> {
    fn drop(&mut self) {
        self.received.drain(..self.at);
        self.event_loop
            .reattach(self.connection, std::mem::take(&mut self.received));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::net::{Ipv4Addr, TcpListener, TcpStream};
    use std::sync::Arc;

    #[test]
    fn only_the_bytes_of_the_body_extend_the_time_limit_of_an_upload() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let served = listener.accept().unwrap().0;
        let event_loop = EventLoop::new(listener.into(), Vec::new(), 1).unwrap();
        let connection = Connection::new(1, served.into(), Vec::new(), Arc::default());
        let mut body = BodyReader::new(&event_loop, &connection, Framing::Chunked, false);
        // As if the upload had begun that long ago.
        body.since -= transfer_timeout(0);
        let chunk = format!("1;{}\r\na\r\n", "x".repeat(1000));
        client.write_all(chunk.repeat(100).as_bytes()).unwrap();
        let (since, mut bytes) = (Instant::now(), Vec::new());
        assert_eq!(
            body.read_to_end(&mut bytes).unwrap_err().kind(),
            ErrorKind::TimedOut
        );
        assert!(
            !bytes.is_empty() && since.elapsed() < transfer_timeout(0),
            "{:?}",
            since.elapsed()
        );
    }
}
