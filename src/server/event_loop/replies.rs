//! Sends replies: reads the rest of the request's body, sends as far as the client reads, closes.

use super::EventLoop;
use crate::server::connection::{
    BodyDrain, Connection, IDLE_TIMEOUT, Phase, Remaining, State, transfer_timeout,
};
use crate::server::outgoing::{After, Outgoing, Sent};
use rustix::net::{Shutdown, shutdown, sockopt};
use std::sync::Arc;
use std::time::Duration;

/// The most bytes of a refused body that are read and discarded so that the client gets the reply:
/// more than any `max_avatar_bytes`.
pub(super) const MAX_DISCARDED: u64 = 128 * 1024 * 1024;

impl EventLoop {
    /// Sends a reply after the rest of the request's body was received, if its end can be known.
    /// The loop sends the part that does not fit into the kernel's buffer as the client reads.
    pub fn answer(&self, connection: &Arc<Connection>, outgoing: Outgoing, rest: Remaining) {
        let mut state = connection.state();
        if !matches!(state.phase, Phase::Closed) {
            let drain = BodyDrain {
                rest,
                total: 0,
                outgoing,
            };
            state.enter(
                Phase::DrainingBody(Box::new(drain)),
                Some(transfer_timeout(0)),
            );
            self.drain_body(connection, &mut state);
            if matches!(state.phase, Phase::DrainingBody(_)) && state.readable {
                self.rearm(connection);
            }
        }
        drop(state);
        self.enforce_memory_limit();
        let _ = self.queue.flush();
        self.notify_change();
    }

    /// Discards the received part of a body that is not used, and sends the reply after its end.
    pub(super) fn drain_body(&self, connection: &Arc<Connection>, state: &mut State) {
        let State {
            phase: Phase::DrainingBody(drain),
            received,
            ..
        } = state
        else {
            return;
        };
        let too_long = matches!(drain.rest, Remaining::Length(left) if left > MAX_DISCARDED);
        let taken = if too_long {
            None
        } else {
            drain.rest.consume(received)
        };
        if let Some((count, end)) = taken {
            drain.total += count as u64;
            let total = drain.total;
            state.consume(count);
            if !end && total <= MAX_DISCARDED {
                return state.extend_deadline(total);
            }
            self.finish_drain(connection, state, end);
        } else {
            self.finish_drain(connection, state, false);
        }
    }

    /// Sends the reply to a request whose body has been discarded to its `end`, or is not waited
    /// for any longer.
    pub(super) fn finish_drain(&self, connection: &Arc<Connection>, state: &mut State, end: bool) {
        let Phase::DrainingBody(drain) = std::mem::replace(&mut state.phase, Phase::Busy) else {
            return;
        };
        let mut outgoing = drain.outgoing;
        if end && outgoing.after == After::LingeringClose {
            outgoing.after = After::Close;
        }
        state.enter(
            Phase::Sending(Box::new(outgoing)),
            Some(transfer_timeout(0)),
        );
        self.send(connection, state);
    }

    /// Continues to send a reply.
    pub(super) fn send(&self, connection: &Arc<Connection>, state: &mut State) {
        let Phase::Sending(outgoing) = &mut state.phase else {
            return;
        };
        match outgoing.send(&connection.socket) {
            Sent::Complete => {
                let after = outgoing.after;
                self.on_sent(connection, state, after);
            }
            Sent::Failed => self.close(connection, state),
            sent => {
                let total = outgoing.total();
                state.extend_deadline(total);
                if sent == Sent::Yielded {
                    self.rearm(connection);
                }
            }
        }
    }

    /// Decides what follows a reply that was sent.
    fn on_sent(&self, connection: &Arc<Connection>, state: &mut State, after: After) {
        if after == After::KeepAlive {
            state.enter(Phase::Head, Some(IDLE_TIMEOUT));
            self.advance(connection, state);
            if state.readable {
                self.rearm(connection);
            }
        } else if after == After::Close && state.received.is_empty() && !state.readable {
            self.close(connection, state);
        } else {
            // Lingering close: if input is unread, close() makes the kernel reset the connection,
            // and the client may lose the reply.
            state.consume(usize::MAX);
            let _ = shutdown(&connection.socket, Shutdown::Write);
            state.enter(Phase::Lingering(MAX_DISCARDED), Some(transfer_timeout(0)));
            self.rearm(connection);
        }
    }

    /// Closes a connection. A reply that its client does not read is discarded by the kernel at
    /// once.
    pub(super) fn close_without_flush(&self, connection: &Arc<Connection>, state: &mut State) {
        if matches!(state.phase, Phase::Sending(_)) {
            let _ = sockopt::set_socket_linger(&connection.socket, Some(Duration::ZERO));
        }
        self.close(connection, state);
    }

    pub(super) fn close(&self, connection: &Arc<Connection>, state: &mut State) {
        state.consume(usize::MAX);
        if !matches!(state.phase, Phase::Closed) {
            state.enter(Phase::Closed, None);
            // A thread that reads from the socket gets an error.
            let _ = shutdown(&connection.socket, Shutdown::Both);
            self.remove(connection);
        }
    }
}
