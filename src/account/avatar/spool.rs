//! What is being uploaded, until it is whole: in memory while it is small, then in a file without a
//! name.

use super::{PIECE, create, path, temporary_name};
use std::fs::{self, File};
use std::io::{self, Read, Seek, Write};
use std::path::Path;
use std::thread;

/// The longest upload in bytes that stays in memory: most avatars, and little even if every place
/// for an upload is taken.
const SMALL: usize = 128 * 1024;

/// A place for an upload; dropped, it leaves nothing behind.
pub struct Spool<'a> {
    data: &'a Path,
    bytes: Vec<u8>,
    file: Option<File>,
}

impl<'a> Spool<'a> {
    /// An empty one, for a data folder.
    pub fn new(data: &'a Path) -> Spool<'a> {
        Spool {
            data,
            bytes: Vec::new(),
            file: None,
        }
    }

    /// One that is whole already.
    pub fn of(data: &'a Path, file: File) -> Spool<'a> {
        Spool {
            data,
            bytes: Vec::new(),
            file: Some(file),
        }
    }

    /// All of it, in memory.
    pub(super) fn into_bytes(mut self) -> io::Result<Vec<u8>> {
        if let Some(mut file) = self.file {
            self.bytes
                .reserve(usize::try_from(file.metadata()?.len()).unwrap_or_default());
            file.rewind()?;
            while Read::by_ref(&mut file)
                .take(PIECE as u64)
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
        Ok(self.file.as_mut().expect("it has just been made"))
    }
}

impl Write for Spool<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.file.is_none() && self.bytes.len() + bytes.len() <= SMALL {
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
    fn what_is_large_goes_to_the_disk_and_leaves_nothing_there() {
        let data = std::env::temp_dir().join(format!(
            "accountd-spool-{}",
            crate::crypto::random_alphanumeric(10)
        ));
        fs::create_dir(&data).unwrap();
        for (size, on_disk) in [(SMALL, false), (SMALL + 1, true), (3 * SMALL, true)] {
            let bytes: Vec<u8> = (0..size).map(|n| (n % 251) as u8).collect();
            let mut spool = Spool::new(&data);
            for piece in bytes.chunks(SMALL / 3 + 1) {
                spool.write_all(piece).unwrap();
            }
            assert_eq!(
                (spool.file.is_some(), folder(&data).exists()),
                (on_disk, on_disk),
                "{size}"
            );
            assert!(spool.into_bytes().unwrap() == bytes, "{size}");
        }
        assert_eq!(fs::read_dir(folder(&data)).unwrap().count(), 0);
        fs::remove_dir_all(data).unwrap();
    }
}
