//! What a supervisor and the serving process that it started say to each other, over a socket pair.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::{Mutex, PoisonError};

/// Reasons of a renewal.
pub const REASONS: usize = 4;

/// A message, either way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    /// To the serving process, first of all: the text of the configuration's file.
    Configure(Vec<u8>),
    /// From it: it can't start, and why.
    Failed(Vec<u8>),
    /// From it: everything is open, and [`Message::Start`] may come.
    Ready,
    /// To it: answer requests, and go on with this state of the one before; and how many renewals there were, by reason.
    Start([u64; REASONS], Vec<u8>),
    /// To it: no other process works on the folder, so what a crash left behind can go.
    Sweep,
    /// From it: it can't go on for long.
    Renew,
    /// To it: accept nothing more, say the state, answer what is begun, end.
    Retire,
    /// From it: what the next one needs.
    State(Vec<u8>),
    /// To it: answer what has come, end.
    Stop,
}

/// One end. The other end is gone when nothing is heard any more.
pub struct Line {
    stream: UnixStream,
    writing: Mutex<()>,
}

impl Line {
    /// An end from its socket.
    #[must_use]
    pub fn new(stream: UnixStream) -> Line {
        Line { stream, writing: Mutex::new(()) }
    }

    /// Says something. That the other end is gone is heard, not said.
    pub fn say(&self, message: &Message) {
        let numbers = |numbers: &[u64; REASONS]| numbers.map(u64::to_be_bytes).concat();
        let (kind, numbers, body): (u8, Vec<u8>, &[u8]) = match message {
            Message::Configure(text) => (b'c', Vec::new(), text),
            Message::Failed(why) => (b'x', Vec::new(), why),
            Message::Ready => (b'r', Vec::new(), &[]),
            Message::Start(renewals, state) => (b's', numbers(renewals), state),
            Message::Sweep => (b'w', Vec::new(), &[]),
            Message::Renew => (b'n', Vec::new(), &[]),
            Message::Retire => (b'f', Vec::new(), &[]),
            Message::State(state) => (b'd', Vec::new(), state),
            Message::Stop => (b't', Vec::new(), &[]),
        };
        // A state has some megabytes at the most.
        let length = u32::try_from(numbers.len() + body.len()).unwrap_or(u32::MAX);
        let head = [&[kind][..], &length.to_be_bytes(), &numbers].concat();
        let _turn = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let _ = (&self.stream).write_all(&head).and_then(|()| (&self.stream).write_all(body));
    }

    /// Waits for a message; nothing if the other end is gone.
    #[must_use]
    pub fn hear(&self) -> Option<Message> {
        self.read().ok()
    }

    fn read(&self) -> io::Result<Message> {
        let mut head = [0; 5];
        (&self.stream).read_exact(&mut head)?;
        let [kind, length @ ..] = head;
        let mut body = vec![0; u32::from_be_bytes(length) as usize];
        (&self.stream).read_exact(&mut body)?;
        match kind {
            b'c' => Ok(Message::Configure(body)),
            b'x' => Ok(Message::Failed(body)),
            b'r' => Ok(Message::Ready),
            b's' => {
                let (numbers, state) = body.split_at_checked(REASONS * 8).ok_or(io::ErrorKind::InvalidData)?;
                let number = |nth: usize| u64::from_be_bytes(std::array::from_fn(|byte| numbers[nth * 8 + byte]));
                Ok(Message::Start(std::array::from_fn(number), state.to_vec()))
            }
            b'w' => Ok(Message::Sweep),
            b'n' => Ok(Message::Renew),
            b'f' => Ok(Message::Retire),
            b'd' => Ok(Message::State(body)),
            b't' => Ok(Message::Stop),
            _ => Err(io::ErrorKind::InvalidData.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_is_heard() {
        let (one, other) = UnixStream::pair().unwrap();
        let (one, other) = (Line::new(one), Line::new(other));
        let all = [
            Message::Configure(b"{}".to_vec()),
            Message::Failed(b"a sentence".to_vec()),
            Message::Ready,
            Message::Start([1, 2, 1 << 40, 4], vec![1, 2, 3]),
            Message::Start([0; REASONS], Vec::new()),
            Message::Sweep,
            Message::Renew,
            Message::Retire,
            Message::State(vec![7; 1000]),
            Message::Stop,
        ];
        for message in &all {
            one.say(message);
            assert_eq!(other.hear().as_ref(), Some(message));
        }
        drop(one);
        assert_eq!(other.hear(), None);
    }
}
