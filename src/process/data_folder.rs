//! The data folder: its creation, its lock, its mode.

use super::limits;
use crate::account::avatar;
use crate::command::Failure;
use crate::config;
use crate::store;
use rustix::fs::Access;
use rustix::io::Errno;
use std::fs::{self, DirBuilder, File, Permissions, TryLockError};
use std::io::{self, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

/// The lock file. A server holds its lock and writes its pid into it.
pub(super) const LOCK: &str = "accountd.lock";

/// Creates the folder if it does not exist, and checks that this process may use it.
pub(super) fn create(data: &Path) -> Result<(), Failure> {
    if data.to_str().is_none() {
        let why = "the path of the data folder is not UTF-8; give the folder another name";
        return Err(Failure::new(2, format!("{}: {why}", data.display())));
    }
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(data)
        .map_err(|error| failed(data, error))?;
    check_access(data)
}

/// Fails if this user may not use the folder or a file in it, as after a container was started with
/// another user.
fn check_access(data: &Path) -> Result<(), Failure> {
    let change = Access::READ_OK | Access::WRITE_OK;
    let needed = [
        (data.to_path_buf(), change | Access::EXEC_OK),
        (data.join(avatar::FOLDER), change | Access::EXEC_OK),
        (data.join(LOCK), change),
        (data.join(store::FILE), change),
        // An admin may want a file that the server cannot change.
        (data.join(config::FILE), Access::READ_OK),
    ];
    for (path, access) in needed {
        if rustix::fs::access(&path, access) != Err(Errno::ACCESS) {
            continue;
        }
        let user = limits::user();
        let (shown, folder) = (path.display(), data.display());
        let sentence = match fs::metadata(&path) {
            Ok(metadata) if metadata.uid() != user => format!(
                "{shown}: belongs to the user with id {}, but this process has the user id {user}; `chown -R {user} {folder}` \
                 gives the folder to it",
                metadata.uid(),
            ),
            _ => format!(
                "{shown}: its mode does not let the user with id {user} use it; `chmod -R u+rwX {folder}` does"
            ),
        };
        return Err(Failure::new(1, sentence));
    }
    Ok(())
}

/// A failure that names a file.
pub(super) fn failed(path: &Path, error: io::Error) -> Failure {
    Failure::new(1, format!("{}: {error}", path.display()))
}

/// Why a process locks the data folder.
#[derive(Clone, Copy)]
pub enum Purpose {
    /// It is a server, which handles SIGHUP and SIGTERM already.
    Serve,
    /// It restores a backup.
    Restore,
}

/// Locks the data folder for this process until the returned file is dropped. The error names the
/// process that holds the lock.
pub fn lock(data: &Path, purpose: Purpose) -> Result<File, Failure> {
    let path = data.join(LOCK);
    let failed = |error| failed(&path, error);
    let mut options = File::options();
    let options = options
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600);
    let mut file = options.open(&path).map_err(failed)?;
    let mode = file.metadata().map_err(failed)?.permissions().mode();
    if mode & 0o077 != 0 {
        // Older versions created it with this mode. The lock works in any case, so errors are
        // ignored.
        let _ = file.set_permissions(Permissions::from_mode(0o600));
    }
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::Error(error)) => return Err(failed(error)),
        Err(TryLockError::WouldBlock) => {
            let text = fs::read_to_string(&path).unwrap_or_default();
            let sentence = format!(
                "{}: another accountd, with pid {}, is using this folder",
                data.display(),
                text.split_ascii_whitespace().next().unwrap_or_default()
            );
            return Err(Failure::new(1, sentence));
        }
    }
    let pid = std::process::id();
    let text = match purpose {
        Purpose::Serve => format!("{pid}\n"),
        Purpose::Restore => format!("{pid} restore\n"),
    };
    file.set_len(0)
        .and_then(|()| file.rewind())
        .and_then(|()| file.write_all(text.as_bytes()))
        .map_err(failed)?;
    Ok(file)
}

/// A warning if other users of the machine can access the folder: others at all, or the group for
/// writing. The group may read, since a proxy that connects to a unix socket there may be in it.
pub(super) fn mode_warning(data: &Path) -> Option<String> {
    let mode = fs::metadata(data).ok()?.permissions().mode() & 0o777;
    (mode & 0o027 != 0).then(|| {
        let shown = data.display();
        format!(
            "the mode of the data folder {shown}, 0{mode:03o}, lets other users of this machine in; `chmod 700 {shown}` \
             keeps them out"
        )
    })
}
