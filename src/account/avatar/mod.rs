//! Avatar files: naming, storing, removing and serving them.

mod spooled_upload;

pub use spooled_upload::SpooledUpload;

use crate::account::image::{self, Kind};
use crate::contract::{DEFAULT_AVATAR, outside};
use crate::crypto;
use crate::http::{self, Body, Reply};
use crate::sync::lock;
use std::borrow::Cow;
use std::fs::{self, DirEntry, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, chown};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant, SystemTime};

static DEFAULT_PICTURE: &[u8] = include_bytes!("admin.jpg");

/// The folder of the avatars, below the data folder.
pub const FOLDER: &str = "avatars";
/// Random characters before the Unix seconds in a name, `contract.md`.
const RANDOM_LENGTH: usize = 10;

/// A file that no user has may be an upload whose row is not committed yet, unless it is older than
/// this. Between the last write to the file and the commit there is only a sync.
pub const GRACE_PERIOD: Duration = Duration::from_secs(600);
/// How long [`lock_exclusive`] waits for removals that are in progress.
const LOCK_TIMEOUT: Duration = Duration::from_secs(2);

/// Random characters after the dot in a temporary name.
const TEMPORARY_LENGTH: usize = 20;

/// Bytes read or written at a time. Between two chunks the thread yields, so that short requests do
/// not wait for an upload.
const CHUNK: usize = 64 * 1024;
/// Held while an upload is in memory as a whole, so that only one is: it may have
/// `max_avatar_bytes`, 10 MiB by default.
static UPLOAD_IN_MEMORY: Mutex<()> = Mutex::new(());

/// Whether `name` has the format of the names that [`store`] makes.
pub fn is_name(name: &str) -> bool {
    let Some((stem, extension)) = name.rsplit_once('.') else {
        return false;
    };
    let (random, seconds) = stem.split_at_checked(RANDOM_LENGTH).unwrap_or_default();
    Kind::from_extension(extension).is_some()
        && random.len() == RANDOM_LENGTH
        && random.bytes().all(|byte| byte.is_ascii_alphanumeric())
        && (1..=12).contains(&seconds.len())
        && seconds.bytes().all(|byte| byte.is_ascii_digit())
}

/// Why an uploaded file was not stored.
pub enum StoreError {
    /// It is not an acceptable picture; the text says why.
    NotAPicture(&'static str),
    /// It could not be written.
    Io(io::Error),
}

impl From<io::Error> for StoreError {
    fn from(error: io::Error) -> StoreError {
        StoreError::Io(error)
    }
}

/// Writes an uploaded picture without its metadata to a new avatar file and returns the file's
/// name. After an error no file is left. The file needs no temporary name while it is written,
/// since its final name is random and no client has seen it.
pub fn store(data: &Path, upload: SpooledUpload, now: i64) -> Result<String, StoreError> {
    let (name, file, written) = {
        let _only_one = lock(&UPLOAD_IN_MEMORY);
        let bytes = upload.into_bytes()?;
        let picture = image::read(&bytes).map_err(StoreError::NotAPicture)?;
        let name = format!(
            "{}{now}.{}",
            crypto::random_alphanumeric(RANDOM_LENGTH),
            picture.kind.extension()
        );
        let mut file = create(&path(data, &name))?;
        let mut chunks = picture.pieces.iter().flat_map(|piece| piece.chunks(CHUNK));
        let written = chunks.try_for_each(|chunk| {
            thread::yield_now();
            file.write_all(chunk)
        });
        (name, file, written)
    };
    let synced = written.and_then(|()| {
        file.sync_all()?;
        // A new name is durable only after a sync of its folder.
        File::open(folder(data))?.sync_all()
    });
    match synced {
        Ok(()) => Ok(name),
        Err(error) => {
            let _ = fs::remove_file(path(data, &name));
            Err(error.into())
        }
    }
}

/// Prevents the removal of avatars until the returned file is dropped, so that a backup can copy
/// the database first and then the pictures that it names. If another process has the lock, the
/// error is a sentence that says so.
pub fn lock_exclusive(data: &Path) -> Result<File, String> {
    let folder = folder(data);
    let failed = |error: io::Error| format!("{}: {error}", folder.display());
    if fs::create_dir(&folder).is_ok() {
        // The command may run as root, but the folder must belong to the server's user.
        let owner = fs::metadata(data).map_err(failed)?;
        chown(&folder, Some(owner.uid()), Some(owner.gid())).map_err(failed)?;
    }
    let locked = File::open(&folder).map_err(failed)?;
    let since = Instant::now();
    loop {
        match locked.try_lock() {
            Ok(()) => return Ok(locked),
            Err(TryLockError::Error(error)) => return Err(failed(error)),
            Err(TryLockError::WouldBlock) if since.elapsed() < LOCK_TIMEOUT => {
                thread::sleep(Duration::from_millis(1))
            }
            Err(TryLockError::WouldBlock) => {
                let path = folder.display();
                return Err(format!(
                    "{path}: another accountd backup or import is using it; try again when it is done"
                ));
            }
        }
    }
}

/// Allows the caller to remove avatars until the returned file is dropped; `None` while another
/// process has [`lock_exclusive`].
pub fn lock_shared(data: &Path) -> Option<File> {
    let locked = File::open(folder(data)).ok()?;
    locked.try_lock_shared().ok()?;
    Some(locked)
}

/// Removes an avatar that no user has any more. Returns false if removals are locked: the next
/// [`sweep`] then removes the file. A file that does not exist counts as removed.
pub fn remove(data: &Path, name: &str) -> io::Result<bool> {
    if !is_name(name) {
        return Ok(true);
    }
    let locked = lock_shared(data);
    let removed = match &locked {
        Some(_) => fs::remove_file(path(data, name)),
        // So old that it is past the grace period.
        None => {
            File::open(path(data, name)).and_then(|file| file.set_modified(SystemTime::UNIX_EPOCH))
        }
    };
    match removed {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(true),
        other => other.map(|()| locked.is_some()),
    }
}

/// Files last modified before `start` that no user has, left behind by a crash.
pub fn orphans(
    data: &Path,
    start: SystemTime,
    mut is_used: impl FnMut(&str) -> bool,
) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder(data)) else {
        return Vec::new();
    };
    let mut is_orphan = |entry: &DirEntry| {
        let name = entry.file_name().to_string_lossy().into_owned();
        let ours = is_name(&name) || is_temporary_name(&name);
        // A newer file may belong to an upload that is not committed yet.
        let old = entry
            .metadata()
            .and_then(|metadata| metadata.modified())
            .is_ok_and(|modified| modified < start);
        ours && old && !is_used(&name)
    };
    entries
        .filter_map(Result::ok)
        .filter(|entry| is_orphan(entry))
        .map(|entry| entry.path())
        .collect()
}

/// Removes [`orphans`], unless removals are locked, and returns how many it has removed.
pub fn sweep(data: &Path, start: SystemTime, is_used: impl FnMut(&str) -> bool) -> usize {
    let Some(_locked) = lock_shared(data) else {
        return 0;
    };
    orphans(data, start, is_used)
        .iter()
        .filter(|path| fs::remove_file(path).is_ok())
        .count()
}

/// Checks that an avatar's file exists and is a picture. The error says what is wrong with it.
pub fn check(data: &Path, name: &str) -> Result<(), String> {
    if !is_name(name) {
        return Err("it is not the name of a picture".into());
    }
    let bytes = fs::read(path(data, name)).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => "it is not there".into(),
        _ => format!("it cannot be read: {error}"),
    })?;
    check_bytes(name, &bytes)
}

/// Checks that these bytes are a picture of the kind that the name's extension states. The error
/// says what is wrong with them.
pub fn check_bytes(name: &str, bytes: &[u8]) -> Result<(), String> {
    let picture = image::read(bytes).map_err(|why| format!("it is damaged: {why}"))?;
    match name.rsplit_once('.') {
        Some((_, extension)) if picture.kind.extension() == extension => Ok(()),
        _ => Err(format!(
            "it is a picture of another kind: {}",
            picture.kind.extension()
        )),
    }
}

/// The path of an avatar's file.
pub fn path(data: &Path, name: &str) -> PathBuf {
    folder(data).join(name)
}

/// The reply to `GET /s/NAME`.
pub fn serve(data: &Path, name: &str, if_none_match: &str) -> Reply {
    let etag = format!("\"{name}-{}\"", env!("CARGO_PKG_VERSION"));
    let (body, cache) = match name {
        DEFAULT_AVATAR => (Body::Bytes(DEFAULT_PICTURE.into()), "public, max-age=86400"),
        _ => match open(data, name) {
            // A name is never used again for another picture.
            Some((file, size)) => (
                Body::File(file, size),
                "public, max-age=31536000, immutable",
            ),
            None => return outside(404).into(),
        },
    };
    let kind = name
        .rsplit_once('.')
        .and_then(|(_, extension)| Kind::from_extension(extension));
    let not_modified = http::etag_matches(if_none_match, &etag);
    let headers: Vec<(&'static str, Cow<'static, str>)> = vec![
        (
            "Content-Type",
            kind.map_or("application/octet-stream", Kind::content_type)
                .into(),
        ),
        ("ETag", etag.into()),
        ("Cache-Control", cache.into()),
        (
            "Content-Security-Policy",
            "default-src 'none'; sandbox".into(),
        ),
        ("Cross-Origin-Resource-Policy", "cross-origin".into()),
    ];
    if not_modified {
        Reply::empty(304, headers)
    } else {
        Reply {
            status: 200,
            code: None,
            headers,
            body,
        }
    }
}

fn open(data: &Path, name: &str) -> Option<(File, u64)> {
    let file = is_name(name).then(|| File::open(path(data, name)).ok())??;
    let size = file.metadata().ok()?.len();
    Some((file, size))
}

/// The path of the folder of the avatars.
pub fn folder(data: &Path) -> PathBuf {
    data.join(FOLDER)
}

fn is_temporary_name(name: &str) -> bool {
    let random = name.strip_prefix('.').unwrap_or_default();
    random.len() == TEMPORARY_LENGTH && random.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

/// A random name for a file that is being written. It is never served, and [`sweep`] removes it.
pub fn temporary_name() -> String {
    format!(".{}", crypto::random_alphanumeric(TEMPORARY_LENGTH))
}

/// Creates a file in the folder of the avatars, and the folder if it does not exist.
fn create(path: &Path) -> io::Result<File> {
    let open = || {
        OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(path)
    };
    match (open(), path.parent()) {
        (Err(error), Some(folder)) if error.kind() == io::ErrorKind::NotFound => {
            fs::create_dir_all(folder)?;
            open()
        }
        (opened, _) => opened,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_the_format_that_store_makes_are_accepted() {
        for name in [
            "vA3iBsOVzo1609400797.jpg",
            "vA3iBsOVzo1609400797.webp",
            "0000000000 1.png".replace(' ', "").as_str(),
        ] {
            assert!(is_name(name), "{name}");
        }
        for name in [
            "",
            ".",
            "..",
            "admin.jpg",
            "vA3iBsOVzo.jpg",
            "vA3iBsOVzo1609400797.jpeg",
            "vA3iBsOVzo1609400797.JPG",
            "vA3iBsOVzo1609400797",
            "vA3iBsOVz/1609400797.jpg",
            "../3iBsOVzo1609400797.jpg",
            "阿A3iBsOV1609400797.jpg",
            "vA3iBsOVzo1609400797x.jpg",
            "vA3iBsOVzo1609400797.jpg/",
            "vA3iBsOVzo1609400797.jpg\0",
        ] {
            assert!(!is_name(name), "{name}");
        }
    }
}
