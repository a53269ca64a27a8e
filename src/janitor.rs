//! Ends connections that only cost: those that say too little, and the longest idle of too many.

use crate::limits;
use crate::server::Server;
use crate::socket;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

/// Between two rounds when all is quiet.
const QUIET: Duration = Duration::from_secs(1);
/// Between two rounds when there are many connections.
const BUSY: Duration = Duration::from_millis(10);
/// Descriptors of a process that has no connection, and of a few that it has: nothing to look after.
const FEW: usize = 64;
/// Connections at the most, however many descriptors there are: each costs a thread, about 15 KB.
const CONNECTIONS: usize = 1024;

/// Looks after a server's connections until the process ends.
pub fn start(server: Arc<Server>) {
    // A third of the descriptors, two for each connection, leaves room for what comes until the next round.
    let most = usize::try_from(limits::descriptors() / 3 / 2).map_or(CONNECTIONS, |most| most.min(CONNECTIONS));
    thread::spawn(move || {
        loop {
            let descriptors = socket::descriptors();
            if descriptors > FEW || server.connections().is_large() {
                let peers = socket::peers();
                socket::shut_all(&server.connections().review(&peers, most));
            }
            thread::sleep(if descriptors > most { BUSY } else { QUIET });
        }
    });
}
