//! The process that holds the lock of a data folder, found in /proc/locks.
//!
//! The pid in the lock file may be that of another PID namespace, or of a process that has ended.
//! The kernel's list of locks shows each holder with its pid in the reader's namespace.

use super::data_folder::{LOCK, failed};
use crate::command::Failure;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::OwnedFd;
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use std::fs;
use std::io::{self, ErrorKind};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, Instant};

/// proc_locks(5)
const LOCKS: &str = "/proc/locks";

/// The kernel lists no lock whose holder is in another PID namespace.
const ABSENT: &str = "no server that this command can see uses this folder; signal one in a container with `docker kill -s HUP NAME` \
     or `docker stop NAME`";

/// A process that holds the lock. Its descriptor refers to it even if its pid is used again.
pub struct Holder {
    /// The pid in this process's namespace.
    pub pid: i32,
    process: OwnedFd,
}

/// The server that uses this data folder, or why there is none that can be signalled.
pub fn server(data: &Path) -> Result<Holder, Failure> {
    let path = data.join(LOCK);
    let shown = data.display();
    let refuse = |sentence: String| Failure::new(1, format!("{shown}: {sentence}"));
    let metadata = match fs::metadata(&path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Err(refuse(ABSENT.into())),
        other => other.map_err(|error| failed(&path, error))?,
    };
    let holder = || {
        fs::read_to_string(LOCKS)
            .map(|locks| pid_of_holder(&locks, metadata.ino(), |pid| has_open(pid, &metadata)))
            .map_err(|error| failed(Path::new(LOCKS), error))
    };
    let pid = holder()?.ok_or_else(|| refuse(ABSENT.into()))?;
    let raw = Pid::from_raw(pid).expect("a pid that is not 0");
    let process = pidfd_open(raw, PidfdFlags::empty())
        .map_err(|error| refuse(format!("process {pid}: {}", io::Error::from(error))))?;
    // It held the lock after its descriptor was opened, so the descriptor is its own.
    if holder()? != Some(pid) {
        return Err(refuse("its server is being replaced; try again".into()));
    }
    // A server writes its pid once it handles signals; a restore adds a word.
    let text = fs::read_to_string(&path).map_err(|error| failed(&path, error))?;
    match text.split_once('\n') {
        Some((number, "")) if number.bytes().all(|byte| byte.is_ascii_digit()) => {
            Ok(Holder { pid, process })
        }
        Some(_) => Err(refuse(format!("process {pid} is restoring a backup"))),
        None => Err(refuse(format!("process {pid} is starting; try again"))),
    }
}

impl Holder {
    /// Sends SIGHUP.
    pub fn reload(&self) -> io::Result<()> {
        Ok(pidfd_send_signal(&self.process, Signal::HUP)?)
    }

    /// Sends SIGTERM, and returns whether the process has ended within this time.
    pub fn stop(&self, patience: Duration) -> io::Result<bool> {
        pidfd_send_signal(&self.process, Signal::TERM)?;
        let end = Instant::now() + patience;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            let left = Timespec::try_from(left).expect("less than a minute");
            match poll(
                &mut [PollFd::new(&self.process, PollFlags::IN)],
                Some(&left),
            ) {
                Err(Errno::INTR) => {}
                other => return Ok(other? > 0),
            }
        }
    }
}

/// The pid of the process that holds a lock of flock(2) on the file with this inode. Files of other
/// file systems may have the same inode, so `has_open` tells whether a process has opened the right
/// one. Btrfs lists another device than stat(2) returns, so devices are not compared.
fn pid_of_holder(locks: &str, inode: u64, has_open: impl Fn(i32) -> bool) -> Option<i32> {
    locks
        .lines()
        .filter_map(|line| {
            let mut words = line.split_ascii_whitespace().skip(1);
            // A process that waits for a lock has `->` here.
            let is_held = words.next()? == "FLOCK" && words.nth(1)? == "WRITE";
            let pid: i32 = words.next()?.parse().ok()?;
            let found: u64 = words.next()?.rsplit(':').next()?.parse().ok()?;
            (is_held && pid > 0 && found == inode).then_some(pid)
        })
        .find(|&pid| has_open(pid))
}

/// Whether a process has opened this file.
fn has_open(pid: i32, file: &fs::Metadata) -> bool {
    let Ok(entries) = fs::read_dir(format!("/proc/{pid}/fd")) else {
        // A process of another user. It can't be signalled either, and the error tells.
        return true;
    };
    entries.flatten().any(|entry| {
        fs::metadata(entry.path())
            .is_ok_and(|found| (found.dev(), found.ino()) == (file.dev(), file.ino()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIST: &str = "\
1: POSIX  ADVISORY  WRITE 11 fe:00:4711 128 128
2: FLOCK  ADVISORY  READ  12 fe:00:4711 0 EOF
3: FLOCK  ADVISORY  WRITE 13 fe:01:4711 0 EOF
4: FLOCK  ADVISORY  WRITE 14 00:2f:4711 0 EOF
4: -> FLOCK  ADVISORY  WRITE 15 00:2f:4711 0 EOF
5: OFDLCK ADVISORY  WRITE -1 fe:00:4711 0 EOF
6: FLOCK  ADVISORY  WRITE 0 fe:00:815 0 EOF
7: LEASE  ACTIVE    READ 17 fe:00:4711 0 EOF
half a line";

    #[test]
    fn the_holder_of_the_file_is_found() {
        assert_eq!(pid_of_holder(LIST, 4711, |_| true), Some(13));
        assert_eq!(pid_of_holder(LIST, 4711, |pid| pid == 14), Some(14));
        // A process that waits, or that holds another kind of lock, is not the holder.
        assert_eq!(
            pid_of_holder(LIST, 4711, |pid| !(13..=14).contains(&pid)),
            None
        );
        assert_eq!(pid_of_holder(LIST, 4712, |_| true), None);
        assert_eq!(pid_of_holder(LIST, 815, |_| true), None);
        assert_eq!(pid_of_holder("", 4711, |_| true), None);
    }
}
