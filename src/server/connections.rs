//! Which connections have a request in hand, what waits behind it, and which have been idle for how long.
//!
//! tiny_http hands out every request of a connection as soon as it is parsed, and lets whoever answers the second
//! wait for the first. So a client who sends a hundred at once would hold every worker; here they wait instead.

use std::collections::{HashMap, HashSet, VecDeque};
use std::net::SocketAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Requests that may wait behind one that is being answered; no honest client sends so many without reading.
const WAITING: usize = 64;
/// How long an ended connection is remembered: what had been read of it is parsed by then, and hardly any client comes
/// from the same port again so soon.
const REMEMBERED: Duration = Duration::from_secs(1);
/// More than this are worth a review.
const LARGE: usize = 256;
/// How long a connection may be without a request: one that says nothing ends earlier, so this one says too little.
const IDLE: Duration = Duration::from_secs(30);
/// How long one may be without a request whose client is gone: tiny_http notices at once, if it does.
const GONE: Duration = Duration::from_secs(2);

/// The connections that are known, by the address of the client.
pub struct Connections<R> {
    known: Mutex<HashMap<SocketAddr, Connection<R>>>,
}

struct Connection<R> {
    busy: bool,
    waiting: VecDeque<R>,
    ended: bool,
    /// Since when it is what it is.
    since: Instant,
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

impl<R> Connection<R> {
    fn idle() -> Connection<R> {
        Connection { busy: false, waiting: VecDeque::new(), ended: false, since: Instant::now() }
    }
}

impl<R> Connections<R> {
    /// None yet.
    #[must_use]
    pub fn new() -> Connections<R> {
        Connections { known: Mutex::new(HashMap::new()) }
    }

    /// A request has come on a connection.
    pub fn enter(&self, peer: SocketAddr, request: R) -> Turn<R> {
        let mut known = self.known();
        let connection = known.entry(peer).or_insert_with(Connection::idle);
        if connection.busy {
            connection.waiting.push_back(request);
            if !connection.ended && connection.waiting.len() > WAITING {
                connection.ended = true;
                return Turn::Shut;
            }
            return Turn::Later;
        }
        if connection.ended && connection.since.elapsed() > REMEMBERED {
            // The same port again, on a new connection.
            *connection = Connection::idle();
        }
        if connection.ended {
            drop(known);
            // Only now, since a request answers when it is dropped.
            drop(request);
            return Turn::Later;
        }
        connection.busy = true;
        Turn::Now(request)
    }

    /// The request in hand is answered: the next one of its connection, if one waits.
    pub fn leave(&self, peer: SocketAddr) -> Option<R> {
        let mut known = self.known();
        let connection = known.get_mut(&peer)?;
        if !connection.ended
            && let Some(next) = connection.waiting.pop_front()
        {
            return Some(next);
        }
        connection.busy = false;
        connection.since = Instant::now();
        let rest = std::mem::take(&mut connection.waiting);
        drop(known);
        drop(rest);
        None
    }

    /// Nothing that waits on this connection, or still comes from it, is to be answered.
    pub fn end(&self, peer: SocketAddr) {
        if let Some(connection) = self.known().get_mut(&peer) {
            connection.ended = true;
            connection.since = Instant::now();
        }
    }

    /// Whether more are known than a quiet server has.
    #[must_use]
    pub fn is_large(&self) -> bool {
        self.known().len() > LARGE
    }

    /// How many have a request in hand.
    #[must_use]
    pub fn busy(&self) -> usize {
        self.known().values().filter(|connection| connection.busy).count()
    }

    /// Forgets the connections that are not among these, and says which are to be shut: those that have been without a
    /// request for too long, sooner those whose client is gone, and where there are more than `most`, of the others those
    /// that have been longest.
    pub fn review(&self, peers: &HashSet<SocketAddr>, gone: &HashSet<SocketAddr>, most: usize) -> HashSet<SocketAddr> {
        let mut known = self.known();
        known.retain(|peer, one| one.busy || peers.contains(peer) || (one.ended && one.since.elapsed() < REMEMBERED));
        for peer in peers {
            known.entry(*peer).or_insert_with(Connection::idle);
        }
        let mut idle: Vec<(Instant, SocketAddr)> =
            known.iter().filter(|(_, one)| !one.busy && !one.ended).map(|(peer, one)| (one.since, *peer)).collect();
        idle.sort_unstable();
        let surplus = peers.len().saturating_sub(most);
        let patience = |peer| if gone.contains(peer) { GONE } else { IDLE };
        let chosen: HashSet<SocketAddr> = idle
            .iter()
            .enumerate()
            .filter(|(nth, (since, peer))| *nth < surplus || since.elapsed() > patience(peer))
            .map(|(_, (_, peer))| *peer)
            .collect();
        known.retain(|peer, _| !chosen.contains(peer));
        chosen
    }

    fn known(&self) -> MutexGuard<'_, HashMap<SocketAddr, Connection<R>>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
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
        assert_eq!(connections.busy(), 0);
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
        assert!(connections.known()[&peer(1)].waiting.is_empty());
    }

    #[test]
    fn too_many_end_it_once() {
        let connections = Connections::new();
        let turns: Vec<_> = (0..WAITING + 10).map(|i| connections.enter(peer(1), i)).collect();
        assert_eq!(turns.iter().filter(|turn| matches!(turn, Turn::Shut)).count(), 1);
        assert!(matches!(turns[WAITING + 1], Turn::Shut));
        assert_eq!(connections.leave(peer(1)), None);
    }

    #[test]
    fn of_too_many_the_longest_idle_go_and_none_that_is_busy() {
        let connections: Connections<char> = Connections::new();
        let old: HashSet<SocketAddr> = (1..=10).map(peer).collect();
        assert!(connections.review(&old, &HashSet::new(), 10).is_empty());
        assert!(matches!(connections.enter(peer(1), 'a'), Turn::Now('a')));
        assert!(matches!(connections.enter(peer(2), 'b'), Turn::Now('b')));
        assert_eq!(connections.leave(peer(2)), None);
        let all: HashSet<SocketAddr> = (1..=12).map(peer).collect();
        let chosen = connections.review(&all, &HashSet::new(), 8);
        assert_eq!(chosen.len(), 4);
        assert!(chosen.iter().all(|one| (3..=10).contains(&one.port())), "{chosen:?}");
        assert!(connections.review(&HashSet::new(), &HashSet::new(), 8).is_empty());
        assert_eq!(connections.busy(), 1);
    }
}
