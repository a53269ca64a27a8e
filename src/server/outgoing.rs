//! An answer on its way to a client, sent as far as the kernel takes it.

use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::sendfile;
use rustix::io::Errno;
use rustix::net::{SendFlags, send};
use std::fs::File;

/// The most bytes of a file that are passed to the kernel at once, so that one client does not hold
/// up the others.
const MAX_FILE_BYTES: u64 = 512 * 1024;

/// An answer.
pub struct Outgoing {
    bytes: Vec<u8>,
    sent: usize,
    file: Option<FileRange>,
    total: u64,
    /// What becomes of the connection afterwards.
    pub after: After,
}

/// What is left of a file.
struct FileRange {
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
    LingeringClose,
}

/// How far an answer has come.
#[derive(Debug, PartialEq, Eq)]
pub enum Sent {
    /// All of it is with the kernel.
    Complete,
    /// The client has to read first.
    Blocked,
    /// The kernel would take more, but it is time for others.
    Yielded,
    /// The connection has ended, or the file is shorter than it was.
    Failed,
}

impl Outgoing {
    /// An answer of these bytes, and of a file with its size.
    pub fn new(bytes: Vec<u8>, file: Option<(File, u64)>, after: After) -> Outgoing {
        let file = file.map(|(file, left)| FileRange {
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
    pub fn memory(&self) -> usize {
        self.bytes.capacity()
    }

    /// Bytes that were sent.
    pub fn total(&self) -> u64 {
        self.total
    }

    /// Sends what the kernel takes.
    pub fn send(&mut self, socket: &OwnedFd) -> Sent {
        match self.try_send(socket) {
            Ok(sent) => sent,
            Err(Errno::AGAIN) => Sent::Blocked,
            Err(_) => Sent::Failed,
        }
    }

    fn try_send(&mut self, socket: &OwnedFd) -> Result<Sent, Errno> {
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
        let Some(file) = &mut self.file else {
            return Ok(Sent::Complete);
        };
        let mut budget = MAX_FILE_BYTES;
        while file.left > 0 {
            if budget == 0 {
                return Ok(Sent::Yielded);
            }
            let count = usize::try_from(file.left.min(budget)).unwrap_or(usize::MAX);
            match sendfile(socket, file.file.as_fd(), Some(&mut file.offset), count) {
                // The head has promised more than there is.
                Ok(0) => return Ok(Sent::Failed),
                Ok(count) => {
                    file.left -= count as u64;
                    budget = budget.saturating_sub(count as u64);
                    self.total += count as u64;
                }
                Err(Errno::INTR) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(Sent::Complete)
    }
}
