//! The listening socket, and what every connection that is accepted there inherits.

use super::unix::{self, Access};
use crate::config::Listen;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::OwnedFd;
use rustix::io::Errno;
use rustix::net::sockopt;
use std::fs;
use std::io::{self, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

/// How long a client may leave what was sent unacknowledged.
const USER_TIMEOUT: Duration = Duration::from_secs(10);
/// Bytes of a request that the kernel keeps for each connection, which it doubles: an upload over a
/// long way needs them.
const RECEIVE_BUFFER: usize = 256 * 1024;
/// The same of an answer. It costs the kernel's memory if the client does not read, and the event
/// loop sends the rest as the client reads: 500 KB a second over a way of 0.2 seconds.
const SEND_BUFFER: usize = 64 * 1024;
/// How long an address may be in use until a start gives up.
const BIND_TIMEOUT: Duration = Duration::from_secs(2);
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
        Ok(Bound {
            socket: self.socket.try_clone()?,
            listen: self.listen.clone(),
        })
    }

    /// Waits, not longer than `timeout`, until a connection is seen that waits to be accepted;
    /// returns whether one was. One that is accepted at once may go unseen.
    #[must_use]
    pub fn wait_for_connection(&self, timeout: Duration) -> bool {
        let timeout = Timespec::try_from(timeout).ok();
        let mut listener = [PollFd::new(&self.socket, PollFlags::IN)];
        // A signal is as good a reason to look as a connection.
        poll(&mut listener, timeout.as_ref()).map_or(true, |seen| seen > 0)
    }
}

/// Binds an address, and sets what every connection that is accepted there inherits (Linux). An
/// address that is in use is tried again for a while: a server that was killed leaves it a moment
/// later.
///
/// # Errors
/// Whatever the operating system says.
pub fn bind(listen: &Listen, access: &Access) -> io::Result<Bound> {
    let since = Instant::now();
    loop {
        match bind_once(listen, access) {
            Err(error)
                if error.kind() == ErrorKind::AddrInUse && since.elapsed() < BIND_TIMEOUT =>
            {
                thread::sleep(Duration::from_millis(20));
            }
            other => return other,
        }
    }
}

fn bind_once(listen: &Listen, access: &Access) -> io::Result<Bound> {
    prepare(match listen {
        Listen::Tcp(address) => {
            let listener = TcpListener::bind(address).or_else(|error| {
                match ipv4_fallback(*address, &error) {
                    Some(instead) => TcpListener::bind(instead),
                    None => Err(error),
                }
            })?;
            let listen = Listen::Tcp(listener.local_addr()?);
            Bound {
                socket: listener.into(),
                listen,
            }
        }
        Listen::Unix(path) => {
            remove_stale(path)?;
            Bound {
                socket: unix::bind_path(path, access)?,
                listen: listen.clone(),
            }
        }
    })
}

/// The address that means the same as `[::]` on a machine where IPv6 is switched off, as in many
/// containers.
fn ipv4_fallback(address: SocketAddr, error: &io::Error) -> Option<SocketAddr> {
    let off = [Errno::AFNOSUPPORT, Errno::ADDRNOTAVAIL]
        .iter()
        .any(|off| error.raw_os_error() == Some(off.raw_os_error()));
    let every = address.is_ipv6() && address.ip().is_unspecified();
    (off && every).then(|| SocketAddr::from((Ipv4Addr::UNSPECIFIED, address.port())))
}

/// Sets what connections inherit, and listens.
///
/// # Errors
/// Whatever the operating system says.
pub fn prepare(bound: Bound) -> io::Result<Bound> {
    if let Listen::Tcp(_) = bound.listen {
        // Without it an answer in two writes waits for the client's delayed ACK, 40 ms.
        sockopt::set_tcp_nodelay(&bound.socket, true)?;
        sockopt::set_tcp_user_timeout(
            &bound.socket,
            u32::try_from(USER_TIMEOUT.as_millis()).unwrap_or(u32::MAX),
        )?;
    }
    sockopt::set_socket_send_buffer_size(&bound.socket, SEND_BUFFER)?;
    sockopt::set_socket_recv_buffer_size(&bound.socket, RECEIVE_BUFFER)?;
    rustix::net::listen(&bound.socket, BACKLOG)?;
    Ok(bound)
}

/// Removes the file of a socket that no process listens on any more.
fn remove_stale(path: &Path) -> io::Result<()> {
    let is_socket =
        fs::symlink_metadata(path).is_ok_and(|metadata| metadata.file_type().is_socket());
    match UnixStream::connect(path) {
        Err(error) if is_socket && error.kind() == ErrorKind::ConnectionRefused => {
            fs::remove_file(path)
        }
        _ => Ok(()),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_ipv6_address_is_every_ipv4_address_where_ipv6_is_switched_off() {
        let off = || io::Error::from_raw_os_error(Errno::AFNOSUPPORT.raw_os_error());
        let instead =
            |address: &str, error: io::Error| ipv4_fallback(address.parse().unwrap(), &error);
        assert_eq!(
            instead("[::]:80", off()),
            Some("0.0.0.0:80".parse().unwrap())
        );
        for (address, error) in [
            ("[::1]:80", off()),
            ("0.0.0.0:80", off()),
            ("[::]:80", ErrorKind::AddrInUse.into()),
        ] {
            assert_eq!(instead(address, error), None, "{address}");
        }
    }
}
