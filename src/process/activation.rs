//! A listening socket that whoever started this process has bound for it (sd_listen_fds(3)).

use crate::config::Listen;
use crate::server::listener::{Bound, prepare};
use rustix::fd::OwnedFd;
use rustix::net::{AddressFamily, SocketType, sockopt};
use rustix::process::{PidfdFlags, PidfdGetfdFlags, getpid, pidfd_getfd, pidfd_open};
use std::io::{self, Error};
use std::net::TcpListener;
use std::os::unix::net::UnixListener;

/// What tells of the sockets; nothing for the processes that this one starts.
pub const VARIABLES: [&str; 3] = ["LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"];
/// The number of the first of them.
const FIRST: i32 = 3;

/// The socket that was passed, if one was.
///
/// # Errors
/// A sentence, if it is not one that can be served.
pub fn passed() -> io::Result<Option<Bound>> {
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
                "{count} sockets were passed: it serves one"
            )));
        }
    }
    // A second handle on our own descriptor, which nobody else owns as far as the compiler can
    // know.
    let own = pidfd_open(getpid(), PidfdFlags::empty())?;
    let socket: OwnedFd = pidfd_getfd(&own, FIRST, PidfdGetfdFlags::empty()).map_err(|error| {
        // Docker's default seccomp profile refuses it, for example.
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
                "what was passed is no socket that listens for streams",
            ));
        }
    };
    prepare(Bound { socket, listen }).map(Some)
}
