//! Avatars on disk: their names, how they get there, and how they are served.

use crate::contract::outside;
use crate::http::{self, Body, Reply};
use crate::picture::{self, Kind};
use crate::secret;
use std::borrow::Cow;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

/// The picture of a new user, part of the program.
pub const FIRST: &str = "admin.jpg";
static FIRST_PICTURE: &[u8] = include_bytes!("admin.jpg");

/// The folder in the data folder.
const FOLDER: &str = "avatars";
/// Letters before the Unix seconds in a name, `contract.md`.
const LETTERS: usize = 10;

/// Letters behind the dot in the name of a file that is being written.
const FRESH_LETTERS: usize = 20;

/// One picture at a time is held in memory.
static WORKBENCH: Mutex<()> = Mutex::new(());

/// Whether this is a name of the shape that [`store`] makes.
#[must_use]
pub fn is_name(name: &str) -> bool {
    let Some((stem, extension)) = name.rsplit_once('.') else { return false };
    let (letters, seconds) = stem.split_at_checked(LETTERS).unwrap_or_default();
    Kind::from_extension(extension).is_some()
        && letters.len() == LETTERS
        && letters.bytes().all(|byte| byte.is_ascii_alphanumeric())
        && (1..=12).contains(&seconds.len())
        && seconds.bytes().all(|byte| byte.is_ascii_digit())
}

/// A file without a name for what is being uploaded; it is gone when it is closed.
///
/// # Errors
/// Whatever the file system says.
pub fn spool(data: &Path) -> io::Result<File> {
    let (path, file) = fresh(data)?;
    fs::remove_file(path)?;
    Ok(file)
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
///
/// # Errors
/// [`Unfit`]; no file is left then.
pub fn store(data: &Path, mut upload: File, now: i64) -> Result<String, Unfit> {
    let (path, mut file) = fresh(data)?;
    let name = write(&mut upload, &mut file, now).and_then(|name| {
        file.sync_all()?;
        fs::rename(&path, folder(data).join(&name))?;
        // The name is in the folder; it lasts when the folder is on disk.
        File::open(folder(data))?.sync_all()?;
        Ok(name)
    });
    if name.is_err() {
        let _ = fs::remove_file(path);
    }
    name
}

fn write(upload: &mut File, file: &mut File, now: i64) -> Result<String, Unfit> {
    let _turn = WORKBENCH.lock().unwrap_or_else(PoisonError::into_inner);
    let mut bytes = Vec::with_capacity(usize::try_from(upload.metadata()?.len()).unwrap_or_default());
    upload.rewind()?;
    upload.read_to_end(&mut bytes)?;
    let picture = picture::read(&bytes).map_err(Unfit::NoPicture)?;
    for piece in &picture.pieces {
        file.write_all(piece)?;
    }
    Ok(format!("{}{now}.{}", secret::letters(LETTERS), picture.kind.extension()))
}

/// Removes an avatar that no user has any more.
pub fn remove(data: &Path, name: &str) {
    if is_name(name) {
        // Gone already is as good.
        let _ = fs::remove_file(folder(data).join(name));
    }
}

/// Removes what a crash left behind: files from before `start` that no user has. Says how many.
pub fn sweep(data: &Path, start: SystemTime, mut is_used: impl FnMut(&str) -> bool) -> usize {
    let Ok(entries) = fs::read_dir(folder(data)) else { return 0 };
    let left = entries.filter_map(Result::ok).filter(|entry| {
        let name = entry.file_name().to_string_lossy().into_owned();
        let ours = is_name(&name) || is_fresh_name(&name);
        // A younger one is being uploaded at this moment.
        let old = entry.metadata().and_then(|metadata| metadata.modified()).is_ok_and(|modified| modified < start);
        ours && old && !is_used(&name)
    });
    left.filter(|entry| fs::remove_file(entry.path()).is_ok()).count()
}

/// What `GET /s/NAME` gets.
#[must_use]
pub fn serve(data: &Path, name: &str, if_none_match: &str) -> Reply {
    let tag = format!("\"{name}-{}\"", env!("CARGO_PKG_VERSION"));
    let (body, cache) = match name {
        FIRST => (Body::Bytes(FIRST_PICTURE.into()), "public, max-age=86400"),
        _ => match open(data, name) {
            // Another picture has another name.
            Some((file, size)) => (Body::File(file, size), "public, max-age=31536000, immutable"),
            None => return outside(404).into(),
        },
    };
    let kind = name.rsplit_once('.').and_then(|(_, extension)| Kind::from_extension(extension));
    let known = http::knows(if_none_match, &tag);
    let headers: Vec<(&'static str, Cow<'static, str>)> = vec![
        ("Content-Type", kind.map_or("application/octet-stream", Kind::content_type).into()),
        ("ETag", tag.into()),
        ("Cache-Control", cache.into()),
        ("Content-Security-Policy", "default-src 'none'; sandbox".into()),
        ("Cross-Origin-Resource-Policy", "cross-origin".into()),
    ];
    if known { Reply::empty(304, headers) } else { Reply { status: 200, code: None, headers, body } }
}

fn open(data: &Path, name: &str) -> Option<(File, u64)> {
    let file = is_name(name).then(|| File::open(folder(data).join(name)).ok())??;
    let size = file.metadata().ok()?.len();
    Some((file, size))
}

fn folder(data: &Path) -> PathBuf {
    data.join(FOLDER)
}

fn is_fresh_name(name: &str) -> bool {
    let letters = name.strip_prefix('.').unwrap_or_default();
    letters.len() == FRESH_LETTERS && letters.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

/// A new file in the folder, which is made if it is not there, under a name that nobody asks for.
fn fresh(data: &Path) -> io::Result<(PathBuf, File)> {
    fs::create_dir_all(folder(data))?;
    let path = folder(data).join(format!(".{}", secret::letters(FRESH_LETTERS)));
    let file = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(&path)?;
    Ok((path, file))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_of_our_shape_or_none() {
        for name in
            ["vA3iBsOVzo1609400797.jpg", "vA3iBsOVzo1609400797.webp", "0000000000 1.png".replace(' ', "").as_str()]
        {
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
