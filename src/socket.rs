//! What tiny_http leaves to others: options of the listening socket, and the end of a connection.

use rustix::fd::OwnedFd;
use rustix::net::{Shutdown, SocketAddrAny, getpeername, shutdown, sockopt};
use rustix::process::{PidfdFlags, PidfdGetfdFlags, getpid, pidfd_getfd, pidfd_open};
use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::AsFd;
use std::time::Duration;

/// How long a connection may say nothing: between two requests, within a head, within a body. It also ends
/// tiny_http's accept(), so something must connect more often than that; see [`crate::heartbeat`].
pub const SILENCE: Duration = Duration::from_secs(20);
/// How long a client may leave what was sent unacknowledged.
const UNREAD: Duration = Duration::from_secs(10);
/// How long a write waits for room in the kernel's buffer. A worker then leaves the rest to a thread that has time.
const WRITE: Duration = Duration::from_millis(100);
/// Bytes of an answer that the kernel takes at once from a worker, so that a slow reader holds up none.
const BUFFER: usize = 256 * 1024;

/// Sets what every connection that this socket accepts inherits (Linux).
///
/// # Errors
/// Whatever the operating system says.
pub fn prepare(listener: impl AsFd) -> rustix::io::Result<()> {
    let listener = listener.as_fd();
    sockopt::set_socket_timeout(listener, sockopt::Timeout::Recv, Some(SILENCE))?;
    sockopt::set_socket_timeout(listener, sockopt::Timeout::Send, Some(WRITE))?;
    sockopt::set_socket_send_buffer_size(listener, BUFFER)
}

/// Sets what only connections over TCP have.
///
/// # Errors
/// Whatever the operating system says.
pub fn prepare_tcp(listener: &TcpListener) -> rustix::io::Result<()> {
    // Without it an answer in two writes waits for the client's delayed ACK, 40 ms.
    sockopt::set_tcp_nodelay(listener, true)?;
    sockopt::set_tcp_user_timeout(listener, u32::try_from(UNREAD.as_millis()).unwrap_or(u32::MAX))
}

/// Shuts the connection to a peer, both ways; false if the kernel gives no handle on it.
///
/// tiny_http keeps its sockets to itself. `pidfd_getfd` (Linux 5.6) gives a second handle on a descriptor of any
/// process that one may trace, and so of one's own.
#[must_use]
pub fn shut(peer: SocketAddr) -> bool {
    let Ok(own) = pidfd_open(getpid(), PidfdFlags::empty()) else { return false };
    let Ok(entries) = fs::read_dir("/proc/self/fd") else { return false };
    entries
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter_map(|fd| pidfd_getfd(&own, fd, PidfdGetfdFlags::empty()).ok())
        .find(|fd| peer_of(fd) == Some(peer))
        .is_some_and(|fd| shutdown(fd, Shutdown::Both).is_ok())
}

fn peer_of(fd: &OwnedFd) -> Option<SocketAddr> {
    let address: SocketAddrAny = getpeername(fd).ok()??;
    SocketAddr::try_from(address).ok()
}
