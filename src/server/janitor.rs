//! Ends connections that only cost, and notices when this process has become a burden itself.

use super::{DEAF, Server, Trouble};
use crate::http;
use crate::limits;
use crate::socket::{self, Census};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::{Duration, Instant};

/// Between two rounds when all is quiet; and how much later the next one is where nothing at all has changed, and nobody
/// is seen to connect.
const QUIET: Duration = Duration::from_secs(1);
const REST: Duration = Duration::from_secs(9);
/// Between two rounds when there are many connections.
const BUSY: Duration = Duration::from_millis(10);
/// Rounds at the start that are as close as if there were many: whoever was too much for the process before may be
/// waiting for this one.
const WARY: u32 = 100;
/// Descriptors of a process that has no connection, and of a few that it has: nothing to look after.
const FEW: usize = 64;
/// Connections of a process that is quiet.
const QUIET_PEERS: usize = FEW / 4;
/// Rounds between two looks at all connections when there are few: one that tiny_http neither answers nor ends
/// (`HTTP/2.0`) is not left hanging.
const SELDOM: u32 = 10;
/// Connections at the most, however many descriptors there are: each costs a thread, about 15 KB.
const CONNECTIONS: usize = 1024;
/// Sockets that are at their end and yet not closed, at the most: tiny_http loses a thread and two descriptors to
/// some requests. A few are ours: the listening socket, the line to the supervisor.
const LOST: usize = 128;
/// Requests that had to be forgotten, and sockets that are lost, at the most: a quiet process is given up for more.
const SPARED: usize = 4;
const SPARED_SOCKETS: usize = 16;
/// A quiet process that keeps so many bytes more than it began with has been flooded: what was freed stays in pieces. A
/// hundred connections leave less.
const GROWN: u64 = 6 * 1024 * 1024;
/// How long a quiet process may be a burden until it is given up.
const PATIENCE: Duration = Duration::from_secs(5);

/// Looks after a server until the process ends.
pub fn start(server: Arc<Server>) {
    // A third of the descriptors, two for each connection, leaves room for what comes until the next round.
    let most = usize::try_from(limits::descriptors() / 3 / 2).map_or(CONNECTIONS, |most| most.min(CONNECTIONS));
    let first = limits::resident();
    thread::spawn(move || {
        let (mut rounds, mut burden, mut sockets) = (0_u32, None, Census::default());
        let (mut before, mut rested) = (0, false);
        loop {
            let descriptors = socket::descriptors();
            let look = descriptors > FEW || burden.is_some() || server.connections().is_large();
            if look || rested || rounds.is_multiple_of(SELDOM) {
                sockets = socket::census();
                socket::shut_all(&server.connections().review(&sockets.peers, &sockets.gone, most));
                if sockets.lost > LOST {
                    server.ask_for_help(Trouble::Worn);
                }
            }
            // Work in progress needs memory, and gives it back.
            let quiet = sockets.peers.len() <= QUIET_PEERS && server.is_idle();
            let worn =
                || limits::resident() > first + GROWN || http::forgotten() > SPARED || sockets.lost > SPARED_SOCKETS;
            let heavy = quiet && worn();
            burden = burden.filter(|_| heavy).or_else(|| heavy.then(Instant::now));
            if burden.is_some_and(|since| since.elapsed() > PATIENCE) {
                server.ask_for_help(Trouble::Worn);
            }
            if DEAF.load(Ordering::Relaxed) {
                server.ask_for_help(Trouble::Deaf);
            }
            rounds = rounds.wrapping_add(1);
            thread::sleep(if descriptors > most || rounds < WARY { BUSY } else { QUIET });
            let still = rounds >= WARY && quiet && burden.is_none() && descriptors == before;
            rested = still && !server.socket.wait(REST);
            before = descriptors;
        }
    });
}
