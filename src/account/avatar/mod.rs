//! Avatars on disk: their names, how they get there, and how they are served.

mod spool;

pub use spool::Spool;

use crate::account::image::{self, Kind};
use crate::contract::outside;
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

/// The picture of a new user, part of the program.
pub const DEFAULT: &str = "admin.jpg";
static DEFAULT_PICTURE: &[u8] = include_bytes!("admin.jpg");

/// The folder in the data folder.
pub const FOLDER: &str = "avatars";
/// Letters before the Unix seconds in a name, `contract.md`.
const LETTERS: usize = 10;

/// A file that belongs to nobody may be an upload that is about to be recorded, unless it is older
/// than this: from the end of a file to the record it takes a sync of the file and a commit.
pub const GRACE_PERIOD: Duration = Duration::from_secs(600);
/// How long [`lock_exclusive`] waits for those who remove pictures at this moment.
const HOLD: Duration = Duration::from_secs(2);

/// Letters behind the dot in the name of a file that is being written.
const TEMPORARY_LETTERS: usize = 20;

/// Bytes that are read or written at a time; in between, whoever has less to do has the processor.
const PIECE: usize = 64 * 1024;
/// One large picture at a time is held in memory.
static WORKBENCH: Mutex<()> = Mutex::new(());

/// Whether this is a name of the shape that [`store`] makes.
pub fn is_name(name: &str) -> bool {
    let Some((stem, extension)) = name.rsplit_once('.') else {
        return false;
    };
    let (letters, seconds) = stem.split_at_checked(LETTERS).unwrap_or_default();
    Kind::from_extension(extension).is_some()
        && letters.len() == LETTERS
        && letters.bytes().all(|byte| byte.is_ascii_alphanumeric())
        && (1..=12).contains(&seconds.len())
        && seconds.bytes().all(|byte| byte.is_ascii_digit())
}

/// Why an uploaded file did not become an avatar.
pub enum Unfit {
    /// It is no picture that we show, and why.
    NoPicture(&'static str),
    /// It could not be written.
    Io(io::Error),
}

impl From<io::Error> for Unfit {
    fn from(error: io::Error) -> Unfit {
        Unfit::Io(error)
    }
}

/// Makes an avatar of an uploaded file, cleaned of what tells about its owner, and says its name.
/// It has that name from the beginning, since nobody knows it yet.
///
/// # Errors
/// [`Unfit`]; no file is left then.
pub fn store(data: &Path, upload: Spool, now: i64) -> Result<String, Unfit> {
    let (name, file, written) = {
        let _turn = lock(&WORKBENCH);
        let bytes = upload.into_bytes()?;
        let picture = image::read(&bytes).map_err(Unfit::NoPicture)?;
        let name = format!(
            "{}{now}.{}",
            crypto::random_alphanumeric(LETTERS),
            picture.kind.extension()
        );
        let mut file = create(&path(data, &name))?;
        let mut pieces = picture.pieces.iter().flat_map(|piece| piece.chunks(PIECE));
        let written = pieces.try_for_each(|piece| {
            thread::yield_now();
            file.write_all(piece)
        });
        (name, file, written)
    };
    let lasts = written.and_then(|()| {
        file.sync_all()?;
        // The name is in the folder; it lasts when the folder is on disk.
        File::open(folder(data))?.sync_all()
    });
    match lasts {
        Ok(()) => Ok(name),
        Err(error) => {
            let _ = fs::remove_file(path(data, &name));
            Err(error.into())
        }
    }
}

/// Keeps all pictures in their places, whoever would remove one, until the result is dropped: the
/// database may be copied first, and the pictures that it names after it.
///
/// # Errors
/// A sentence, if somebody else does so already.
pub fn lock_exclusive(data: &Path) -> Result<File, String> {
    let folder = folder(data);
    let failed = |error: io::Error| format!("{}: {error}", folder.display());
    if fs::create_dir(&folder).is_ok() {
        // A command may be root's, the folder must be the server's.
        let owner = fs::metadata(data).map_err(failed)?;
        chown(&folder, Some(owner.uid()), Some(owner.gid())).map_err(failed)?;
    }
    let held = File::open(&folder).map_err(failed)?;
    let since = Instant::now();
    loop {
        match held.try_lock() {
            Ok(()) => return Ok(held),
            Err(TryLockError::Error(error)) => return Err(failed(error)),
            Err(TryLockError::WouldBlock) if since.elapsed() < HOLD => {
                thread::sleep(Duration::from_millis(1))
            }
            Err(TryLockError::WouldBlock) => {
                let shown = folder.display();
                return Err(format!(
                    "{shown}: another accountd backup or import is using it; try again when it is done"
                ));
            }
        }
    }
}

/// The right to remove pictures, until the result is dropped; nothing while they are held.
pub fn lock_shared(data: &Path) -> Option<File> {
    let held = File::open(folder(data)).ok()?;
    held.try_lock_shared().ok()?;
    Some(held)
}

/// Removes an avatar that no user has any more. False if pictures are held: then it stays, for the
/// next [`sweep`].
///
/// # Errors
/// Whatever the file system says; gone already is as good.
pub fn remove(data: &Path, name: &str) -> io::Result<bool> {
    if !is_name(name) {
        return Ok(true);
    }
    let right = lock_shared(data);
    let removed = match &right {
        Some(_) => fs::remove_file(path(data, name)),
        // As old as can be: no upload that is still to be recorded.
        None => {
            File::open(path(data, name)).and_then(|file| file.set_modified(SystemTime::UNIX_EPOCH))
        }
    };
    match removed {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(true),
        other => other.map(|()| right.is_some()),
    }
}

/// Files from before `start` that no user has: what a crash left behind.
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
        // A younger one is being uploaded at this moment.
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

/// Removes [`orphans`], unless pictures are held, and says how many.
pub fn sweep(data: &Path, start: SystemTime, is_used: impl FnMut(&str) -> bool) -> usize {
    let Some(_right) = lock_shared(data) else {
        return 0;
    };
    orphans(data, start, is_used)
        .iter()
        .filter(|path| fs::remove_file(path).is_ok())
        .count()
}

/// Whether the file of an avatar is there and a picture.
///
/// # Errors
/// What is wrong with it.
pub fn check(data: &Path, name: &str) -> Result<(), String> {
    if !is_name(name) {
        return Err("it is no name of a picture".into());
    }
    let bytes = fs::read(path(data, name)).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => "it is not there".into(),
        _ => format!("it cannot be read: {error}"),
    })?;
    check_bytes(name, &bytes)
}

/// Whether these bytes are a picture of the kind that its name says.
///
/// # Errors
/// What is wrong with them.
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

/// Where the file of an avatar is.
pub fn path(data: &Path, name: &str) -> PathBuf {
    folder(data).join(name)
}

/// What `GET /s/NAME` gets.
pub fn serve(data: &Path, name: &str, if_none_match: &str) -> Reply {
    let tag = format!("\"{name}-{}\"", env!("CARGO_PKG_VERSION"));
    let (body, cache) = match name {
        DEFAULT => (Body::Bytes(DEFAULT_PICTURE.into()), "public, max-age=86400"),
        _ => match open(data, name) {
            // Another picture has another name.
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
    let known = http::knows(if_none_match, &tag);
    let headers: Vec<(&'static str, Cow<'static, str>)> = vec![
        (
            "Content-Type",
            kind.map_or("application/octet-stream", Kind::content_type)
                .into(),
        ),
        ("ETag", tag.into()),
        ("Cache-Control", cache.into()),
        (
            "Content-Security-Policy",
            "default-src 'none'; sandbox".into(),
        ),
        ("Cross-Origin-Resource-Policy", "cross-origin".into()),
    ];
    if known {
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

/// The folder of all pictures.
pub fn folder(data: &Path) -> PathBuf {
    data.join(FOLDER)
}

fn is_temporary_name(name: &str) -> bool {
    let letters = name.strip_prefix('.').unwrap_or_default();
    letters.len() == TEMPORARY_LETTERS && letters.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

/// A name for a file that is being written, under which nobody asks for it.
pub fn temporary_name() -> String {
    format!(".{}", crypto::random_alphanumeric(TEMPORARY_LETTERS))
}

/// A new file in the folder of all pictures, which is made if it is not there.
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
    fn names_are_of_our_shape_or_none() {
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
