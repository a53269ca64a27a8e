//! A reply that is being sent, as far as the kernel takes it.

use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::sendfile;
use rustix::io::Errno;
use rustix::net::{SendFlags, send};
use std::fs::File;

/// Bytes of a file that are sent at once, so that one client does not delay the others.
const MAX_FILE_BYTES: u64 = 512 * 1024;

/// A reply.
pub struct Outgoing {
    bytes: Vec<u8>,
    sent: usize,
    file: Option<FileRange>,
    total: u64,
    /// What happens to the connection afterwards.
    pub after: After,
}

/// The part of a file that was not sent yet.
struct FileRange {
    file: File,
    offset: u64,
    left: u64,
}

/// What happens to a connection after its reply was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum After {
    /// It waits for the next request.
    KeepAlive,
    /// It is closed.
    Close,
    /// It is closed after the rest of the client's request was read and discarded, so that the
    /// client gets the reply.
    LingeringClose,
}

/// How far a reply was sent.
#[derive(Debug, PartialEq, Eq)]
pub enum Sent {
    /// The kernel has taken all of it.
    Complete,
    /// The kernel's buffer is full until the client reads.
    Blocked,
    /// The kernel would take more, but other connections are served first.
    Yielded,
    /// The connection has failed, or the file has become shorter.
    Failed,
}

impl Outgoing {
    /// A reply of these bytes, followed by a file with its size.
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

    /// The bytes of memory that it uses.
    pub fn memory(&self) -> usize {
        self.bytes.capacity()
    }

    /// The number of bytes that were sent.
    pub fn total(&self) -> u64 {
        self.total
    }

    /// Sends as much as the kernel takes.
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
                // The file is shorter than the Content-Length that was sent.
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
