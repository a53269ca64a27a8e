//! An answer on its way to a client, sent as far as the kernel takes it.

use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::sendfile;
use rustix::io::Errno;
use rustix::net::{SendFlags, send};
use std::fs::File;

/// The most bytes of a file that are passed to the kernel at once, so that one client does not hold
/// up the others.
const TURN: u64 = 512 * 1024;

/// An answer.
pub struct Outgoing {
    bytes: Vec<u8>,
    sent: usize,
    file: Option<Rest>,
    total: u64,
    /// What becomes of the connection afterwards.
    pub after: After,
}

/// What is left of a file.
struct Rest {
    file: File,
    offset: u64,
    left: u64,
}

/// What becomes of a connection when its answer is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum After {
    /// It waits for the next request.
    KeepAlive,
    /// It ends.
    Close,
    /// It ends, and what the client still sends of its request is read and thrown away, so that the
    /// client gets to the answer.
    Discard,
}

/// How far an answer has come.
#[derive(Debug, PartialEq, Eq)]
pub enum Sent {
    /// All of it is with the kernel.
    Whole,
    /// The client has to read first.
    Blocked,
    /// The kernel would take more, but it is time for others.
    Turn,
    /// The connection has ended, or the file is shorter than it was.
    Broken,
}

impl Outgoing {
    /// An answer of these bytes, and of a file with its size.
    pub fn new(bytes: Vec<u8>, file: Option<(File, u64)>, after: After) -> Outgoing {
        let file = file.map(|(file, left)| Rest {
            file,
            offset: 0,
            left,
        });
        Outgoing {
            bytes,
            sent: 0,
            file,
            total: 0,
            after,
        }
    }

    /// The bytes of memory that it holds.
    pub fn held(&self) -> usize {
        self.bytes.capacity()
    }

    /// Bytes that were sent.
    pub fn total(&self) -> u64 {
        self.total
    }

    /// Sends what the kernel takes.
    pub fn push(&mut self, socket: &OwnedFd) -> Sent {
        match self.try_push(socket) {
            Ok(sent) => sent,
            Err(Errno::AGAIN) => Sent::Blocked,
            Err(_) => Sent::Broken,
        }
    }

    fn try_push(&mut self, socket: &OwnedFd) -> Result<Sent, Errno> {
        while self.sent < self.bytes.len() {
            let more = if self.file.is_some() {
                SendFlags::MORE
            } else {
                SendFlags::empty()
            };
            let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL | more;
            match send(socket, &self.bytes[self.sent..], flags) {
                Ok(count) => {
                    self.sent += count;
                    self.total += count as u64;
                }
                Err(Errno::INTR) => {}
                Err(error) => return Err(error),
            }
        }
        (self.bytes, self.sent) = (Vec::new(), 0);
        let Some(rest) = &mut self.file else {
            return Ok(Sent::Whole);
        };
        let mut turn = TURN;
        while rest.left > 0 {
            if turn == 0 {
                return Ok(Sent::Turn);
            }
            let count = usize::try_from(rest.left.min(turn)).unwrap_or(usize::MAX);
            match sendfile(socket, rest.file.as_fd(), Some(&mut rest.offset), count) {
                // The head has promised more than there is.
                Ok(0) => return Ok(Sent::Broken),
                Ok(count) => {
                    rest.left -= count as u64;
                    turn = turn.saturating_sub(count as u64);
                    self.total += count as u64;
                }
                Err(Errno::INTR) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(Sent::Whole)
    }
}
