//! Socket activation: a listening socket from the service manager (sd_listen_fds(3)).

use crate::config::Listen;
use crate::server::listener::{Bound, prepare};
use rustix::fd::OwnedFd;
use rustix::net::{AddressFamily, SocketType, sockopt};
use rustix::process::{PidfdFlags, PidfdGetfdFlags, getpid, pidfd_getfd, pidfd_open};
use std::io::{self, Error};
use std::net::TcpListener;
use std::os::unix::net::UnixListener;

/// The variables of the protocol. They are not passed on to workers.
pub const VARIABLES: [&str; 3] = ["LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"];
/// The first descriptor of a passed socket.
const FIRST_DESCRIPTOR: i32 = 3;

/// The listening socket that the service manager has passed, if it has.
pub fn inherited_socket() -> io::Result<Option<Bound>> {
    let [pid, count] =
        [VARIABLES[0], VARIABLES[1]].map(|name| std::env::var(name).unwrap_or_default());
    if pid != std::process::id().to_string() {
        return Ok(None);
    }
    match &*count {
        "0" => return Ok(None),
        "1" => {}
        _ => {
            return Err(Error::other(format!(
                "{count} sockets were passed, but accountd serves only one"
            )));
        }
    }
    // Duplicating the descriptor by pidfd_getfd needs no unsafe code, unlike OwnedFd::from_raw_fd.
    let own = pidfd_open(getpid(), PidfdFlags::empty())?;
    let socket: OwnedFd = pidfd_getfd(&own, FIRST_DESCRIPTOR, PidfdGetfdFlags::empty()).map_err(|error| {
        // Docker's default seccomp profile denies it, for example.
        let hint = "taking a passed socket needs the system call pidfd_getfd; allow it, or pass none and set `listen`";
        Error::other(format!("{error}: {hint}"))
    })?;
    let listens = sockopt::socket_type(&socket)? == SocketType::STREAM
        && sockopt::socket_acceptconn(&socket)?;
    let listen = match sockopt::socket_domain(&socket)? {
        AddressFamily::INET | AddressFamily::INET6 if listens => {
            Listen::Tcp(TcpListener::from(socket.try_clone()?).local_addr()?)
        }
        AddressFamily::UNIX if listens => {
            let address = UnixListener::from(socket.try_clone()?).local_addr()?;
            let path = address
                .as_pathname()
                .ok_or_else(|| Error::other("a unix socket without a path was passed"))?;
            Listen::Unix(path.into())
        }
        _ => {
            return Err(Error::other(
                "the passed socket is not a listening stream socket",
            ));
        }
    };
    prepare(Bound { socket, listen }).map(Some)
}
