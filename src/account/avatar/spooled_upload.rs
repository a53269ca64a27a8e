//! The bytes of an upload until it is complete: in memory while it is small, then in an unnamed
//! file.
//!
//! `tempfile::SpooledTempFile` does the same, but its file gets mode 0660 under the service's umask
//! and, on file systems without `O_TMPFILE`, a name that `sweep` would not remove after a crash.

use super::{CHUNK, create, path, temporary_name};
use std::fs::{self, File};
use std::io::{self, Read, Seek, Write};
use std::path::Path;
use std::thread;

/// The longest upload in bytes that stays in memory. Most avatars are shorter, and as many as may
/// be uploaded at the same time need little memory.
const MAX_IN_MEMORY: usize = 128 * 1024;

/// The bytes of an upload. When it is dropped, nothing is left on disk.
pub struct SpooledUpload<'a> {
    data: &'a Path,
    bytes: Vec<u8>,
    file: Option<File>,
}

impl<'a> SpooledUpload<'a> {
    /// An empty upload, whose file would be in the folder of the avatars.
    pub fn new(data: &'a Path) -> SpooledUpload<'a> {
        SpooledUpload {
            data,
            bytes: Vec::new(),
            file: None,
        }
    }

    /// A complete upload that is in a file already.
    pub fn from_file(data: &'a Path, file: File) -> SpooledUpload<'a> {
        SpooledUpload {
            data,
            bytes: Vec::new(),
            file: Some(file),
        }
    }

    /// The whole upload, read into memory.
    pub(super) fn into_bytes(mut self) -> io::Result<Vec<u8>> {
        if let Some(mut file) = self.file {
            self.bytes
                .reserve(usize::try_from(file.metadata()?.len()).unwrap_or_default());
            file.rewind()?;
            while Read::by_ref(&mut file)
                .take(CHUNK as u64)
                .read_to_end(&mut self.bytes)?
                > 0
            {
                thread::yield_now();
            }
        }
        Ok(self.bytes)
    }

    fn file(&mut self) -> io::Result<&mut File> {
        if self.file.is_none() {
            let path = path(self.data, &temporary_name());
            let mut file = create(&path)?;
            fs::remove_file(path)?;
            file.write_all(&self.bytes)?;
            self.bytes = Vec::new();
            self.file = Some(file);
        }
        Ok(self.file.as_mut().expect("created above"))
    }
}

impl Write for SpooledUpload<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.file.is_none() && self.bytes.len() + bytes.len() <= MAX_IN_MEMORY {
            self.bytes.extend_from_slice(bytes);
            return Ok(bytes.len());
        }
        self.file()?.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::account::avatar::folder;

    #[test]
    fn a_large_upload_is_on_disk_and_leaves_no_file() {
        let data = std::env::temp_dir().join(format!(
            "accountd-upload-{}",
            crate::crypto::random_alphanumeric(10)
        ));
        fs::create_dir(&data).unwrap();
        for (size, on_disk) in [
            (MAX_IN_MEMORY, false),
            (MAX_IN_MEMORY + 1, true),
            (3 * MAX_IN_MEMORY, true),
        ] {
            let bytes: Vec<u8> = (0..size).map(|n| (n % 251) as u8).collect();
            let mut upload = SpooledUpload::new(&data);
            for chunk in bytes.chunks(MAX_IN_MEMORY / 3 + 1) {
                upload.write_all(chunk).unwrap();
            }
            assert_eq!(
                (upload.file.is_some(), folder(&data).exists()),
                (on_disk, on_disk),
                "{size}"
            );
            assert!(upload.into_bytes().unwrap() == bytes, "{size}");
        }
        assert_eq!(fs::read_dir(folder(&data)).unwrap().count(), 0);
        fs::remove_dir_all(data).unwrap();
    }
}
