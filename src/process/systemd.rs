//! Notifications to a service manager, sent to the socket that `NOTIFY_SOCKET` names
//! (sd_notify(3)).

use crate::clock;
use std::ffi::OsStr;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

/// The variable with the path of the socket. It is not passed on to workers.
pub const VARIABLE: &str = "NOTIFY_SOCKET";

/// Requests are answered.
pub const READY: &str = "READY=1";
/// The server is stopping.
pub const STOPPING: &str = "STOPPING=1";

/// Sends a notification if a service manager expects it. Errors are ignored.
pub fn notify(state: &str) {
    if let Some(path) = std::env::var_os(VARIABLE) {
        let _ = send(&path, state);
    }
}

/// Notifies the service manager that a reload has begun.
pub fn notify_reloading() {
    notify(&format!(
        "RELOADING=1\nMONOTONIC_USEC={}",
        clock::monotonic().as_micros()
    ));
}

fn send(path: &OsStr, state: &str) -> io::Result<usize> {
    let address = match path.as_bytes() {
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name)?,
        path => SocketAddr::from_pathname(OsStr::from_bytes(path))?,
    };
    UnixDatagram::unbound()?.send_to_addr(state.as_bytes(), &address)
}
