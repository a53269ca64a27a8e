//! What tiny_http leaves to others: the listening socket with its options, and a hand on each connection.

pub mod activation;
pub mod unix;

pub use unix::Access;

use crate::config::Listen;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::OwnedFd;
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvFlags, Shutdown, SocketAddrAny, SocketAddrUnix, SocketType, connect, connect_unspec,
    getpeername, recv, shutdown, socket, sockopt,
};
use rustix::process::{PidfdFlags, PidfdGetfdFlags, getpid, pidfd_getfd, pidfd_open};
use std::collections::HashSet;
use std::fs;
use std::io::{self, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

/// How long a connection may say nothing: between two requests, within a head, within a body. It also ends
/// tiny_http's accept(), so something must connect more often than that; see the heartbeat in [`crate::server`].
pub const SILENCE: Duration = Duration::from_secs(20);
/// How long a client may leave what was sent unacknowledged.
const UNREAD: Duration = Duration::from_secs(10);
/// How long a write waits for room in the kernel's buffer. A worker then leaves the rest to a thread that has time.
const WRITE: Duration = Duration::from_millis(40);
/// Bytes of an answer that the kernel takes at once from a worker, so that a slow reader holds up none; and bytes of
/// requests that it keeps for us, all of which are still parsed when a connection has ended.
const BUFFER: usize = 256 * 1024;
/// How long an address may be in use until a start gives up.
const IN_USE: Duration = Duration::from_secs(2);
/// Connections that wait to be accepted.
const BACKLOG: i32 = 1024;

/// A listening socket with its options, and the address that it got.
pub struct Bound {
    /// The socket.
    pub socket: OwnedFd,
    /// Where it listens; a port that was 0 is the one that was picked.
    pub listen: Listen,
}

impl Bound {
    /// A second handle on it.
    ///
    /// # Errors
    /// Whatever the operating system says.
    pub fn try_clone(&self) -> io::Result<Bound> {
        Ok(Bound { socket: self.socket.try_clone()?, listen: self.listen.clone() })
    }

    /// Sets whether accept() waits for a connection, in every process that has the socket.
    ///
    /// # Errors
    /// Whatever the operating system says.
    pub fn block(&self, wait: bool) -> io::Result<()> {
        // The same request for every kind of socket.
        TcpListener::from(self.socket.try_clone()?).set_nonblocking(!wait)
    }

    /// Waits, no longer than `patience`, until somebody is seen who has connected and is not accepted yet; says whether
    /// it was so. One who is accepted at once may go unseen.
    #[must_use]
    pub fn wait(&self, patience: Duration) -> bool {
        let patience = Timespec::try_from(patience).ok();
        let mut listener = [PollFd::new(&self.socket, PollFlags::IN)];
        // A signal is as good a reason to look as a connection.
        poll(&mut listener, patience.as_ref()).map_or(true, |seen| seen > 0)
    }
}

/// Binds an address, and sets what every connection that is accepted there inherits (Linux). An address that is in use
/// is tried again for a while: a server that was killed leaves it a moment later.
///
/// # Errors
/// Whatever the operating system says.
pub fn bind(listen: &Listen, access: &Access) -> io::Result<Bound> {
    let since = Instant::now();
    loop {
        match bind_once(listen, access) {
            Err(error) if error.kind() == ErrorKind::AddrInUse && since.elapsed() < IN_USE => {
                thread::sleep(Duration::from_millis(20));
            }
            other => return other,
        }
    }
}

fn bind_once(listen: &Listen, access: &Access) -> io::Result<Bound> {
    prepare(match listen {
        Listen::Tcp(address) => {
            let listener = TcpListener::bind(address)?;
            let listen = Listen::Tcp(listener.local_addr()?);
            Bound { socket: listener.into(), listen }
        }
        Listen::Unix(path) => {
            remove_stale(path)?;
            Bound { socket: unix::bind_path(path, access)?, listen: listen.clone() }
        }
    })
}

/// Sets what connections inherit, and listens.
fn prepare(bound: Bound) -> io::Result<Bound> {
    if let Listen::Tcp(_) = bound.listen {
        // Without it an answer in two writes waits for the client's delayed ACK, 40 ms.
        sockopt::set_tcp_nodelay(&bound.socket, true)?;
        sockopt::set_tcp_user_timeout(&bound.socket, u32::try_from(UNREAD.as_millis()).unwrap_or(u32::MAX))?;
    }
    sockopt::set_socket_timeout(&bound.socket, sockopt::Timeout::Recv, Some(SILENCE))?;
    sockopt::set_socket_timeout(&bound.socket, sockopt::Timeout::Send, Some(WRITE))?;
    sockopt::set_socket_send_buffer_size(&bound.socket, BUFFER)?;
    sockopt::set_socket_recv_buffer_size(&bound.socket, BUFFER)?;
    rustix::net::listen(&bound.socket, BACKLOG)?;
    Ok(bound)
}

/// Removes a socket that nobody listens on any more.
fn remove_stale(path: &Path) -> io::Result<()> {
    let is_socket = fs::symlink_metadata(path).is_ok_and(|metadata| metadata.file_type().is_socket());
    match UnixStream::connect(path) {
        Err(error) if is_socket && error.kind() == ErrorKind::ConnectionRefused => fs::remove_file(path),
        _ => Ok(()),
    }
}

/// A connection to a listening socket that is still to be made, its own socket being there already.
pub struct Knock {
    socket: OwnedFd,
    address: SocketAddrAny,
}

impl Knock {
    /// Prepares one.
    ///
    /// # Errors
    /// Whatever the operating system says.
    pub fn new(listen: &Listen) -> io::Result<Knock> {
        let (family, address) = match listen {
            Listen::Tcp(address) => {
                let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
                (family, SocketAddrAny::from(reachable(*address)))
            }
            Listen::Unix(path) => (AddressFamily::UNIX, SocketAddrUnix::new(path.as_path())?.into()),
        };
        Ok(Knock { socket: socket(family, SocketType::STREAM, None)?, address })
    }

    /// Connects. Dropped, the connection is reset, so that no port of ours stays in TIME_WAIT.
    #[must_use]
    pub fn hold(self) -> OwnedFd {
        let _ = sockopt::set_socket_linger(&self.socket, Some(Duration::ZERO));
        let _ = sockopt::set_socket_timeout(&self.socket, sockopt::Timeout::Send, Some(Duration::from_secs(1)));
        // A failure is a full queue, and then there is somebody who wakes the listener.
        let _ = connect(&self.socket, &self.address);
        self.socket
    }

    /// Connects, and resets the connection at once.
    pub fn knock(self) {
        drop(self.hold());
    }
}

/// The address under which a listening socket is reached from its own machine.
#[must_use]
pub fn reachable(mut address: SocketAddr) -> SocketAddr {
    match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => address.set_ip(Ipv4Addr::LOCALHOST.into()),
        IpAddr::V6(ip) if ip.is_unspecified() => address.set_ip(Ipv6Addr::LOCALHOST.into()),
        _ => {}
    }
    address
}

/// Shuts the connection to a peer, both ways. One that is not there any more is at its end too.
///
/// # Errors
/// If the kernel gives no handle on it.
pub fn shut(peer: SocketAddr) -> io::Result<()> {
    with(peer, |socket| shutdown(socket, Shutdown::Both))
}

/// Resets the connection to a peer, and throws away what it has sent: a socket that is merely shut goes on giving out what
/// comes.
pub fn cut(peer: SocketAddr) {
    // An old kernel does not reset a connection that a thread reads from.
    let _ = with(peer, |socket| connect_unspec(socket).or_else(|_| shutdown(socket, Shutdown::Both)));
}

/// Does something to the socket whose other end is this peer, if there is one.
fn with(peer: SocketAddr, act: impl Fn(&OwnedFd) -> rustix::io::Result<()>) -> io::Result<()> {
    let mut result = Ok(());
    each_socket(|socket, of| {
        let found = of == Peer::At(peer);
        if found {
            result = act(socket);
        }
        !found
    })?;
    match result {
        Ok(()) | Err(Errno::NOTCONN) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Ends a listening socket: whoever waits there for a connection waits no longer.
pub fn shut_listener(listener: &TcpListener) {
    let _ = shutdown(listener, Shutdown::Both);
}

/// Shuts the connections to these peers.
pub fn shut_all(peers: &HashSet<SocketAddr>) {
    let _ = each_socket(|socket, of| {
        if matches!(of, Peer::At(peer) if peers.contains(&peer)) {
            let _ = shutdown(socket, Shutdown::Both);
        }
        true
    });
}

/// The sockets of this process.
#[derive(Default)]
pub struct Census {
    /// The peers of all connections over TCP.
    pub peers: HashSet<SocketAddr>,
    /// Those of them that have closed their end, and of which nothing is left to read.
    pub gone: HashSet<SocketAddr>,
    /// Sockets without a peer: those that never have one, and those of connections that are at their end.
    pub lost: usize,
}

/// Counts the sockets of this process.
#[must_use]
pub fn census() -> Census {
    let mut census = Census::default();
    let _ = each_socket(|socket, of| {
        match of {
            Peer::At(peer) => {
                census.peers.insert(peer);
                if matches!(recv(socket, &mut [0], RecvFlags::PEEK | RecvFlags::DONTWAIT), Ok((0, _))) {
                    census.gone.insert(peer);
                }
            }
            Peer::None => census.lost += 1,
            Peer::Local => {}
        }
        true
    });
    census
}

/// How many descriptors this process has open, or 0 if that is not to be known.
#[must_use]
pub fn descriptors() -> usize {
    fs::read_dir("/proc/self/fd").map_or(0, Iterator::count)
}

/// Who is at the other end of a socket.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Peer {
    /// Somebody over TCP.
    At(SocketAddr),
    /// Somebody over a unix socket, who has no address.
    Local,
    /// Nobody, any more or ever.
    None,
}

/// Goes through this process's sockets for as long as `visit` says so.
///
/// tiny_http keeps its sockets to itself. `pidfd_getfd` (Linux 5.6) gives a second handle on a descriptor of any
/// process that one may trace, and so of one's own. Sockets alone may be taken: closing a second handle on the
/// database would release every lock that SQLite holds on it, as POSIX has it, and another process would take the
/// file for unused.
fn each_socket(mut visit: impl FnMut(&OwnedFd, Peer) -> bool) -> io::Result<()> {
    let own = pidfd_open(getpid(), PidfdFlags::empty())?;
    for entry in fs::read_dir("/proc/self/fd")?.filter_map(Result::ok) {
        let is_socket =
            fs::read_link(entry.path()).is_ok_and(|target| target.as_os_str().as_bytes().starts_with(b"socket:"));
        let Some(number) = entry.file_name().to_str().and_then(|name| name.parse().ok()).filter(|_| is_socket) else {
            continue;
        };
        let descriptor = match pidfd_getfd(&own, number, PidfdGetfdFlags::empty()) {
            Ok(descriptor) => descriptor,
            // Closed meanwhile.
            Err(Errno::BADF) => continue,
            Err(error) => return Err(error.into()),
        };
        if !visit(&descriptor, peer_of(&descriptor)) {
            return Ok(());
        }
    }
    Ok(())
}

fn peer_of(descriptor: &OwnedFd) -> Peer {
    match getpeername(descriptor) {
        Ok(Some(address)) => SocketAddr::try_from(address).map_or(Peer::Local, Peer::At),
        Ok(None) => Peer::Local,
        Err(_) => Peer::None,
    }
}
