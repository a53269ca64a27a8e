//! The listening socket and the options that accepted connections inherit.

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

/// TCP_USER_TIMEOUT: how long sent data may stay unacknowledged.
const USER_TIMEOUT: Duration = Duration::from_secs(10);
/// SO_RCVBUF in bytes, which the kernel doubles. Uploads over connections with a high latency need
/// it.
const RECEIVE_BUFFER: usize = 256 * 1024;
/// SO_SNDBUF in bytes, which the kernel doubles. A client that does not read occupies this much of
/// the kernel's memory. It allows 500 KB/s at a round-trip time of 0.2 s.
const SEND_BUFFER: usize = 64 * 1024;
/// How long binding is retried while the address is in use.
const BIND_TIMEOUT: Duration = Duration::from_secs(2);
/// The maximum number of connections that wait to be accepted.
const BACKLOG: i32 = 4096;

/// A listening socket and its address.
pub struct Bound {
    /// The socket.
    pub socket: OwnedFd,
    /// Its address, with the actual port if port 0 was requested.
    pub listen: Listen,
}

impl Bound {
    /// Duplicates the descriptor.
    pub fn try_clone(&self) -> io::Result<Bound> {
        Ok(Bound {
            socket: self.socket.try_clone()?,
            listen: self.listen.clone(),
        })
    }

    /// Waits, at most for `timeout`, for a connection that waits to be accepted, and returns
    /// whether there was one. One that is accepted immediately may be missed.
    pub fn wait_for_connection(&self, timeout: Duration) -> bool {
        let timeout = Timespec::try_from(timeout).ok();
        let mut listener = [PollFd::new(&self.socket, PollFlags::IN)];
        // An interrupted wait counts as a connection.
        poll(&mut listener, timeout.as_ref()).map_or(true, |seen| seen > 0)
    }
}

/// Binds an address and sets the options that accepted connections inherit on Linux. While the
/// address is in use, binding is retried for a while: a server that was killed releases it a moment
/// later.
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

/// The IPv4 address to bind instead of `[::]` if IPv6 is disabled, as in many containers.
fn ipv4_fallback(address: SocketAddr, error: &io::Error) -> Option<SocketAddr> {
    let off = [Errno::AFNOSUPPORT, Errno::ADDRNOTAVAIL]
        .iter()
        .any(|off| error.raw_os_error() == Some(off.raw_os_error()));
    let every = address.is_ipv6() && address.ip().is_unspecified();
    (off && every).then(|| SocketAddr::from((Ipv4Addr::UNSPECIFIED, address.port())))
}

/// Sets the options that connections inherit, and listens.
pub fn prepare(bound: Bound) -> io::Result<Bound> {
    if let Listen::Tcp(_) = bound.listen {
        // Without it, the second write of a reply waits up to 40 ms for the client's delayed ACK.
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

/// Removes a socket file that no process listens on any more.
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

/// The address at which this machine itself reaches a listening socket.
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
    fn the_unspecified_ipv6_address_falls_back_to_ipv4_if_ipv6_is_disabled() {
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
