//! Which connections have a request in hand, and what waits behind it.
//!
//! tiny_http hands out every request of a connection as soon as it is parsed, and lets whoever answers the second
//! wait for the first. So a client who sends a hundred at once would hold every worker; here they wait instead.

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Requests that may wait behind one that is being answered; no honest client sends so many without reading.
const WAITING: usize = 64;
/// How long an ended connection is remembered: what had been read of it by then is parsed long before.
const REMEMBERED: Duration = Duration::from_secs(5);

/// The connections that have something in hand, by the address of the client.
pub struct Connections<R> {
    open: Mutex<HashMap<SocketAddr, Connection<R>>>,
}

struct Connection<R> {
    busy: bool,
    waiting: VecDeque<R>,
    ended: Option<Instant>,
}

/// What is to be done with a request that came.
pub enum Turn<R> {
    /// Answer it, then [`Connections::leave`].
    Now(R),
    /// Nothing: it waits, or its connection has ended.
    Later,
    /// Shut the connection: too many wait. It counts as ended already.
    Shut,
}

impl<R> Connections<R> {
    /// None yet.
    #[must_use]
    pub fn new() -> Connections<R> {
        Connections { open: Mutex::new(HashMap::new()) }
    }

    /// A request has come on a connection.
    pub fn enter(&self, peer: SocketAddr, request: R) -> Turn<R> {
        let mut open = self.open();
        let Some(connection) = open.get_mut(&peer) else {
            open.insert(peer, Connection { busy: true, waiting: VecDeque::new(), ended: None });
            return Turn::Now(request);
        };
        if connection.ended.is_some() && !connection.busy {
            drop(open);
            // Only now, since a request answers when it is dropped.
            drop(request);
            return Turn::Later;
        }
        connection.waiting.push_back(request);
        if connection.ended.is_none() && connection.waiting.len() > WAITING {
            connection.ended = Some(Instant::now());
            return Turn::Shut;
        }
        Turn::Later
    }

    /// The request in hand is answered: the next one of its connection, if one waits.
    pub fn leave(&self, peer: SocketAddr) -> Option<R> {
        let mut open = self.open();
        let connection = open.get_mut(&peer)?;
        if connection.ended.is_some() {
            connection.busy = false;
            let rest = std::mem::take(&mut connection.waiting);
            drop(open);
            drop(rest);
            return None;
        }
        let next = connection.waiting.pop_front();
        if next.is_none() {
            open.remove(&peer);
        }
        next
    }

    /// Nothing that waits on this connection, or still comes from it, is to be answered.
    pub fn end(&self, peer: SocketAddr) {
        let mut open = self.open();
        open.retain(|_, one| one.busy || one.ended.is_none_or(|since| since.elapsed() < REMEMBERED));
        if let Some(connection) = open.get_mut(&peer) {
            connection.ended = Some(Instant::now());
        }
    }

    fn open(&self) -> MutexGuard<'_, HashMap<SocketAddr, Connection<R>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<R> Default for Connections<R> {
    fn default() -> Connections<R> {
        Connections::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(port: u16) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], port))
    }

    #[test]
    fn one_at_a_time_and_in_their_order() {
        let connections = Connections::new();
        assert!(matches!(connections.enter(peer(1), 'a'), Turn::Now('a')));
        assert!(matches!(connections.enter(peer(1), 'b'), Turn::Later));
        assert!(matches!(connections.enter(peer(2), 'x'), Turn::Now('x')));
        assert!(matches!(connections.enter(peer(1), 'c'), Turn::Later));
        assert_eq!(connections.leave(peer(1)), Some('b'));
        assert_eq!(connections.leave(peer(1)), Some('c'));
        assert_eq!((connections.leave(peer(1)), connections.leave(peer(2))), (None, None));
        assert!(connections.open().is_empty());
    }

    #[test]
    fn of_an_ended_connection_nothing_is_answered() {
        let connections = Connections::new();
        assert!(matches!(connections.enter(peer(1), 'a'), Turn::Now('a')));
        assert!(matches!(connections.enter(peer(1), 'b'), Turn::Later));
        connections.end(peer(1));
        assert!(matches!(connections.enter(peer(1), 'c'), Turn::Later));
        assert_eq!(connections.leave(peer(1)), None);
        assert!(matches!(connections.enter(peer(1), 'd'), Turn::Later));
        assert!(connections.open()[&peer(1)].waiting.is_empty());
    }

    #[test]
    fn too_many_end_it_once() {
        let connections = Connections::new();
        let turns: Vec<_> = (0..WAITING + 10).map(|i| connections.enter(peer(1), i)).collect();
        assert_eq!(turns.iter().filter(|turn| matches!(turn, Turn::Shut)).count(), 1);
        assert!(matches!(turns[WAITING + 1], Turn::Shut));
        assert_eq!(connections.leave(peer(1)), None);
    }
}
