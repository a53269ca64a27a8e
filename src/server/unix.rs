//! Unix sockets in the file system with configured permissions.

use rustix::fd::OwnedFd;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, bind, socket_with};
use std::fs::{self, Permissions};
use std::io::{self, Error};
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::Path;

/// The permissions of a socket in the file system.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Access {
    /// The permission bits; clients need write permission to connect.
    pub mode: u32,
    /// The name or number of its group, instead of the process's group.
    pub group: Option<String>,
}

/// Binds a path and sets its permissions. Clients cannot connect until the socket listens, which is
/// later.
pub fn bind_path(path: &Path, access: &Access) -> io::Result<OwnedFd> {
    let group = access.group.as_deref().map(group).transpose()?;
    let socket = socket_with(
        AddressFamily::UNIX,
        SocketType::STREAM,
        SocketFlags::CLOEXEC,
        None,
    )?;
    bind(&socket, &SocketAddrUnix::new(path)?)?;
    let opened = chown(path, None, group)
        .map_err(|error| {
            Error::other(format!(
                "socket_group: {error}; the process must be in that group"
            ))
        })
        .and_then(|()| fs::set_permissions(path, Permissions::from_mode(access.mode)));
    if opened.is_err() {
        let _ = fs::remove_file(path);
    }
    opened.map(|()| socket)
}

/// The ID of a group (group(5)).
fn group(group: &str) -> io::Result<u32> {
    if let Ok(number) = group.parse() {
        return Ok(number);
    }
    let groups = fs::read_to_string("/etc/group")?;
    let row = groups
        .lines()
        .map(|line| line.split(':').collect::<Vec<_>>())
        .find(|row| row[0] == group);
    let number = row.and_then(|row| row.get(2)?.parse().ok());
    number.ok_or_else(|| {
        Error::other(format!(
            "socket_group: no {group} in /etc/group; give the group's number"
        ))
    })
}
