//! Notifications to a service manager, sent to the socket that `NOTIFY_SOCKET` names
//! (sd_notify(3)).

use crate::clock;
use std::ffi::OsStr;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

/// Names the socket; nothing for the processes that this one starts.
pub const VARIABLE: &str = "NOTIFY_SOCKET";

/// Requests are answered.
pub const READY: &str = "READY=1";
/// The end has begun.
pub const STOPPING: &str = "STOPPING=1";

/// Sends a notification, if a service manager wants it. A failure does not matter to the server.
pub fn notify(what: &str) {
    if let Some(path) = std::env::var_os(VARIABLE) {
        let _ = send(&path, what);
    }
}

/// The configuration is being read again.
pub fn reloading() {
    notify(&format!(
        "RELOADING=1\nMONOTONIC_USEC={}",
        clock::monotonic().as_micros()
    ));
}

fn send(path: &OsStr, what: &str) -> io::Result<usize> {
    let address = match path.as_bytes() {
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name)?,
        path => SocketAddr::from_pathname(OsStr::from_bytes(path))?,
    };
    UnixDatagram::unbound()?.send_to_addr(what.as_bytes(), &address)
}
