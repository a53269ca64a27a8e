//! Messages between the supervisor and a worker over a socket pair: length-prefixed JSON, sometimes
//! with a socket.

use crate::metrics::Restarts;
use crate::sync::lock;
use rustix::fd::{AsFd, OwnedFd};
use rustix::io::{Errno, IoSlice, IoSliceMut};
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use std::io::{self, Read, Write};
use std::mem::MaybeUninit;
use std::os::unix::net::UnixStream;
use std::sync::Mutex;

/// A message. The names are part of the protocol between different versions.
#[derive(Debug, Serialize, Deserialize)]
pub enum Message {
    /// To the worker, first: the text of the configuration's file.
    Configure(String),
    /// From the worker: why it cannot start.
    Failed(String),
    /// From the worker: it is ready for [`Message::Serve`].
    Ready,
    /// To the worker: start to answer requests.
    Serve {
        /// How often workers were replaced.
        restarts: Restarts,
        /// The state of the previous worker, if it has sent one.
        state: Option<Box<RawValue>>,
    },
    /// To the worker: no other process uses the data folder, so leftovers of a crash can be
    /// removed.
    Sweep,
    /// To the worker: drain. It reads no further request, sends its state and its idle connections,
    /// answers the last requests and exits.
    HandOver,
    /// From the worker: the state for the next one. It does not use captchas or budgets afterwards.
    State(Box<RawValue>),
    /// In both directions, with its socket: a client's connection, and the received part of its
    /// next request.
    Connection(Vec<u8>),
    /// To the worker: answer the requests that were received, then exit.
    Stop,
}

/// One end of a channel.
pub struct Channel {
    stream: UnixStream,
    sending: Mutex<()>,
}

impl Channel {
    /// Wraps one end of a socket pair.
    pub fn new(stream: UnixStream) -> Channel {
        Channel {
            stream,
            sending: Mutex::new(()),
        }
    }

    /// Sends a message. If the other end is closed, [`Channel::receive`] shows it.
    pub fn send(&self, message: &Message) {
        let _ = self.send_with(message, None);
    }

    /// Sends a message with an optional socket.
    pub fn send_with(&self, message: &Message, socket: Option<&OwnedFd>) -> io::Result<()> {
        let body = serde_json::to_vec(message)?;
        let length = u32::try_from(body.len())
            .map_err(io::Error::other)?
            .to_be_bytes();
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        let sockets = socket.map(AsFd::as_fd);
        if let Some(socket) = &sockets {
            ancillary.push(SendAncillaryMessage::ScmRights(std::slice::from_ref(
                socket,
            )));
        }
        let _sending = lock(&self.sending);
        // Four bytes are sent completely or not at all.
        while let Err(error) = sendmsg(
            &self.stream,
            &[IoSlice::new(&length)],
            &mut ancillary,
            SendFlags::NOSIGNAL,
        ) {
            if error != Errno::INTR {
                return Err(error.into());
            }
        }
        (&self.stream).write_all(&body)
    }

    /// Waits for a message and its socket. Returns `None` if the other end is closed.
    pub fn receive(&self) -> Option<(Message, Option<OwnedFd>)> {
        self.read().ok()
    }

    fn read(&self) -> io::Result<(Message, Option<OwnedFd>)> {
        let mut length = [0; 4];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut ancillary = RecvAncillaryBuffer::new(&mut space);
        let count = loop {
            let flags = RecvFlags::WAITALL | RecvFlags::CMSG_CLOEXEC;
            match recvmsg(
                &self.stream,
                &mut [IoSliceMut::new(&mut length)],
                &mut ancillary,
                flags,
            ) {
                Err(Errno::INTR) => {}
                other => break other?.bytes,
            }
        };
        if count < length.len() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let socket = ancillary.drain().find_map(|message| match message {
            RecvAncillaryMessage::ScmRights(mut sockets) => sockets.next(),
            _ => None,
        });
        let mut body = vec![0; u32::from_be_bytes(length) as usize];
        (&self.stream).read_exact(&mut body)?;
        Ok((serde_json::from_slice(&body)?, socket))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::OwnedFd;

    #[test]
    fn messages_arrive_as_they_were_sent() {
        let (one, other) = UnixStream::pair().unwrap();
        let (one, other) = (Channel::new(one), Channel::new(other));
        let state = || RawValue::from_string("{\"a\":[1,2]}".into()).unwrap();
        let all = [
            Message::Configure("{\n}".into()),
            Message::Failed("a sentence".into()),
            Message::Ready,
            Message::Serve {
                restarts: Restarts::default(),
                state: Some(state()),
            },
            Message::Serve {
                restarts: Restarts::default(),
                state: None,
            },
            Message::Sweep,
            Message::HandOver,
            Message::State(state()),
            Message::Stop,
        ];
        for message in &all {
            one.send(message);
            let (received, socket) = other.receive().unwrap();
            assert_eq!(format!("{received:?}"), format!("{message:?}"));
            assert!(socket.is_none());
        }
        drop(one);
        assert!(other.receive().is_none());
    }

    #[test]
    fn a_socket_arrives_with_its_message() {
        let (one, other) = UnixStream::pair().unwrap();
        let (one, other) = (Channel::new(one), Channel::new(other));
        let (mut client, served) = UnixStream::pair().unwrap();
        one.send(&Message::Ready);
        one.send_with(
            &Message::Connection(b"GET".to_vec()),
            Some(&OwnedFd::from(served)),
        )
        .unwrap();
        one.send(&Message::Stop);
        assert!(matches!(other.receive(), Some((Message::Ready, None))));
        let Some((Message::Connection(received), Some(socket))) = other.receive() else {
            panic!("a connection")
        };
        assert!(matches!(other.receive(), Some((Message::Stop, None))));
        UnixStream::from(socket).write_all(&received).unwrap();
        let mut text = [0; 3];
        client.read_exact(&mut text).unwrap();
        assert_eq!(&text, b"GET");
    }
}
