//! Reads requests from connections and queues the complete ones.

use super::EventLoop;
use super::replies::MAX_DISCARDED;
use crate::api::{self, BodyKind};
use crate::http::Headers;
use crate::http::network::Network;
use crate::server::connection::{
    Body, Connection, IDLE_TIMEOUT, MAX_BODY, PartialRequest, PendingRequest, Phase, Progress,
    Remaining, State, transfer_timeout,
};
use crate::server::head::{self, Framing, Head, Parsed};
use rustix::io::Errno;
use rustix::net::{RecvFlags, recv};
use std::sync::Arc;
use std::sync::atomic::Ordering;

impl EventLoop {
    /// Reads one buffer of input. If `ended`, the client has closed its side, and the end of input
    /// follows what is pending.
    pub(super) fn read(
        &self,
        connection: &Arc<Connection>,
        state: &mut State,
        ended: bool,
        buffer: &mut [u8],
    ) {
        state.readable = true;
        if !matches!(
            state.phase,
            Phase::Head | Phase::Body(_) | Phase::DrainingBody(_) | Phase::Lingering(_)
        ) {
            return;
        }
        if self.paused.load(Ordering::SeqCst) && matches!(state.phase, Phase::Head | Phase::Body(_))
        {
            // The next worker reads the request.
            return;
        }
        let count = match recv(&connection.socket, &mut *buffer, RecvFlags::DONTWAIT) {
            Ok((0, _)) => return self.on_end(connection, state),
            Ok((_, count)) => count.min(buffer.len()),
            Err(Errno::INTR) => return self.rearm(connection),
            Err(Errno::AGAIN) => {
                state.readable = false;
                return;
            }
            Err(_) => return self.close(connection, state),
        };
        // If the buffer is not full, the input was read completely (epoll(7)).
        state.readable = count == buffer.len() || ended;
        if state.readable {
            // Other connections are served first.
            self.rearm(connection);
        }
        if let Phase::Lingering(left) = &mut state.phase {
            match left.checked_sub(count as u64) {
                Some(rest) => *left = rest,
                None => return self.close(connection, state),
            }
            let discarded = MAX_DISCARDED - *left;
            state.extend_deadline(discarded);
        } else {
            state.received.extend_from_slice(&buffer[..count]);
            self.advance(connection, state);
            self.drain_body(connection, state);
        }
    }

    /// Parses the next request, as far as it was received, and queues it if it is complete.
    pub(super) fn advance(&self, connection: &Arc<Connection>, state: &mut State) {
        if self.paused.load(Ordering::SeqCst) {
            return;
        }
        if matches!(state.phase, Phase::Head) {
            if state.received.is_empty() {
                return;
            }
            if state.scanned == 0 {
                // These are the first bytes of a head.
                state.enter(Phase::Head, Some(IDLE_TIMEOUT));
            }
            let mut scanned = state.scanned;
            let parsed = head::parse(&state.received, &mut scanned);
            state.scanned = scanned;
            match parsed {
                Parsed::Partial => {}
                Parsed::Malformed => self.dispatch_malformed(connection, state),
                Parsed::Complete(head) => self.begin_body(connection, state, *head),
            }
        }
        if let Phase::Body(incoming) = &mut state.phase {
            match incoming.advance(&state.received) {
                Progress::Partial => {
                    let received = state.received.len() as u64;
                    state.extend_deadline(received);
                }
                Progress::Complete(body, end) => {
                    let keep_alive = incoming.head.keep_alive;
                    self.dispatch(connection, state, Body::Complete(body), keep_alive, end);
                }
                Progress::TooLarge(chunked, end) => {
                    self.dispatch(
                        connection,
                        state,
                        Body::TooLarge(Remaining::Chunked(chunked)),
                        None,
                        end,
                    );
                }
                Progress::Malformed => self.dispatch_malformed(connection, state),
            }
        }
    }

    /// Decides how the body of a request is read: here, or by the thread that answers.
    fn begin_body(&self, connection: &Connection, state: &mut State, head: Head) {
        let kind = api::body_kind(&head.method, &head.path);
        let fits = match head.framing {
            Framing::Length(length) => length <= MAX_BODY as u64,
            Framing::Chunked => kind == BodyKind::Json,
        };
        let unread = match kind {
            BodyKind::Json => !fits,
            // A short body that is not used is read so that the connection can be kept alive.
            BodyKind::Ignored => !fits || head.expects_continue,
            BodyKind::Upload => head.framing != Framing::Length(0),
        };
        if unread {
            let body = Body::Unread {
                framing: head.framing,
                expects_continue: head.expects_continue,
            };
            let (keep_alive, length) = (head.keep_alive, head.length);
            state.enter(Phase::Body(Box::new(PartialRequest::new(head))), None);
            return self.dispatch(connection, state, body, keep_alive, length);
        }
        if head.expects_continue && state.received.len() == head.length {
            connection.send_continue();
        }
        state.enter(
            Phase::Body(Box::new(PartialRequest::new(head))),
            Some(transfer_timeout(0)),
        );
    }

    /// Queues the request whose body was being received; its first `end` received bytes belong to
    /// it.
    fn dispatch(
        &self,
        connection: &Connection,
        state: &mut State,
        body: Body,
        keep_alive: Option<&'static str>,
        end: usize,
    ) {
        let Phase::Body(incoming) = std::mem::replace(&mut state.phase, Phase::Busy) else {
            return;
        };
        let Head {
            method,
            path,
            query,
            headers,
            ..
        } = incoming.head;
        state.consume(end);
        let client = headers.client(connection.peer, &self.proxies);
        self.enqueue(
            connection,
            state,
            &method,
            &path,
            PendingRequest {
                query,
                headers,
                client,
                body,
                keep_alive,
            },
        );
    }

    fn dispatch_malformed(&self, connection: &Connection, state: &mut State) {
        state.consume(usize::MAX);
        let (headers, client) = (Headers::default(), connection.peer);
        let exchange = PendingRequest {
            query: String::new(),
            headers,
            client,
            body: Body::Malformed,
            keep_alive: None,
        };
        self.enqueue(connection, state, "-", "-", exchange);
    }

    fn enqueue(
        &self,
        connection: &Connection,
        state: &mut State,
        method: &str,
        path: &str,
        exchange: PendingRequest,
    ) {
        let network = Network::of(exchange.client).of_customer();
        state.enter(Phase::Queued(Box::new(exchange)), None);
        self.queue.push(network, connection.number, method, path);
    }

    /// Handles the end of the client's input.
    pub(super) fn on_end(&self, connection: &Arc<Connection>, state: &mut State) {
        match std::mem::replace(&mut state.phase, Phase::Head) {
            Phase::Body(incoming) => self.dispatch_truncated(connection, state, *incoming),
            Phase::DrainingBody(drain) => {
                state.phase = Phase::DrainingBody(drain);
                self.finish_drain(connection, state, true);
            }
            _ => self.close(connection, state),
        }
    }

    /// Queues a request whose body was cut off.
    pub(super) fn dispatch_truncated(
        &self,
        connection: &Connection,
        state: &mut State,
        incoming: PartialRequest,
    ) {
        let (head, begun) = incoming.into_truncated(&state.received);
        state.enter(Phase::Body(Box::new(PartialRequest::new(head))), None);
        self.dispatch(connection, state, Body::Truncated(begun), None, usize::MAX);
    }
}
