//! The manifest of a backup: the summary in `backup.json` and the checksums in `SHA256SUMS`, which
//! reveal damage.
//!
//! The checksums are sorted by path, byte by byte: the database, its pictures, `backup.json`,
//! `config.json`. The page's logo comes last, whatever its name is. The database returns its pictures in the same order, so both lists are compared
//! line by line, without holding either in memory.

use crate::account::avatar;
use crate::commands::terminal::progress::Progress;
use crate::commands::terminal::table::count;
use crate::config::{self, logo};
use crate::crypto;
use crate::store::{self, Store, integrity, schema, users};
use serde::{Deserialize, Serialize};
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader};
use std::path::Path;
use std::time::{Duration, SystemTime};

/// The file of checksums, in the format of `sha256sum`.
pub const CHECKSUMS: &str = "SHA256SUMS";
/// The file with the summary of the backup.
pub const SUMMARY: &str = "backup.json";

/// The content of `backup.json`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Summary {
    /// The version of accountd that made the backup.
    pub accountd: String,
    /// When the state in the backup was current, in Unix seconds.
    pub moment: u64,
    /// The number of users.
    pub users: u64,
    /// The number of uploaded pictures.
    pub pictures: u64,
    /// The size of the database and all pictures, in bytes.
    pub bytes: u64,
}

impl Summary {
    /// When the state in the backup was current.
    pub fn moment(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(self.moment)
    }

    /// The numbers of users and pictures, in a few words.
    pub fn content(&self) -> String {
        content(self.users, self.pictures)
    }
}

/// Numbers of users and pictures, in a few words.
pub fn content(users: u64, pictures: u64) -> String {
    format!(
        "{} and {}",
        count(users, "user"),
        count(pictures, "picture")
    )
}

/// A line of `SHA256SUMS`.
pub struct Line {
    /// SHA-256 in lower-case hex.
    pub sum: String,
    /// The path within the backup.
    pub path: String,
}

/// The path of a picture within the backup.
pub fn picture_path(name: &str) -> String {
    format!("{}/{name}", avatar::FOLDER)
}

/// A line of `SHA256SUMS` as it is written.
pub fn line(sum: &str, path: &str) -> String {
    format!("{sum}  {path}\n")
}

/// The lines of a backup's `SHA256SUMS`, each of which may be invalid.
pub fn lines(backup: &Path) -> Result<impl Iterator<Item = Result<Line, String>> + use<>, String> {
    let path = backup.join(CHECKSUMS);
    let shown = path.display().to_string();
    let file = File::open(&path).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => format!(
            "{}: is not a backup: it has no {CHECKSUMS}",
            backup.display()
        ),
        _ => format!("{shown}: cannot be read: {error}"),
    })?;
    Ok(BufReader::new(file)
        .lines()
        .enumerate()
        .map(move |(at, line)| {
            let line = line.map_err(|error| format!("{shown}: {error}"))?;
            let parts = line
                .split_once("  ")
                .filter(|(sum, path)| sum.len() == 64 && is_path(path));
            parts
                .map(|(sum, path)| Line {
                    sum: sum.into(),
                    path: path.into(),
                })
                .ok_or_else(|| {
                    format!(
                        "{CHECKSUMS}: line {} is not a checksum and the path of a backup's file",
                        at + 1
                    )
                })
        }))
}

/// Whether a file of a backup can have this path.
fn is_path(path: &str) -> bool {
    matches!(path, store::FILE | SUMMARY | config::FILE)
        || logo::is_name(path)
        || path.strip_prefix("avatars/").is_some_and(avatar::is_name)
}

/// Reads `backup.json`.
pub fn summary(backup: &Path) -> Result<Summary, String> {
    let text = fs::read_to_string(backup.join(SUMMARY))
        .map_err(|error| format!("{SUMMARY}: cannot be read: {error}"))?;
    serde_json::from_str(&text).map_err(|error| format!("{SUMMARY}: {error}"))
}

/// Reads a whole backup and returns its faults: none if it is sound. An error if it is not a
/// backup, or if Ctrl-C interrupts the work.
pub fn verify(backup: &Path, progress: &mut Progress) -> Result<Vec<String>, String> {
    let mut lines = lines(backup)?;
    let (total, mut faults) = summary(backup).map_or_else(
        |fault| (0, vec![fault]),
        |summary| (summary.bytes, Vec::new()),
    );
    let next_line = next_valid(&mut lines, &mut faults);
    let mut check = Check {
        backup,
        lines,
        next_line,
        progress,
        total,
        done: 0,
        faults,
    };
    check.run()?;
    Ok(check.faults)
}

/// The next valid line. Invalid ones become faults.
fn next_valid(
    lines: &mut impl Iterator<Item = Result<Line, String>>,
    faults: &mut Vec<String>,
) -> Option<Line> {
    lines.find_map(|line| line.map_err(|fault| faults.push(fault)).ok())
}

/// A check under way.
struct Check<'a, L> {
    backup: &'a Path,
    lines: L,
    next_line: Option<Line>,
    progress: &'a mut Progress,
    total: u64,
    done: u64,
    faults: Vec<String>,
}

impl<L: Iterator<Item = Result<Line, String>>> Check<'_, L> {
    fn run(&mut self) -> Result<(), String> {
        self.expect(store::FILE)?;
        let mut result = Ok(());
        let opened = Store::open_immutable(self.backup);
        // The checks below report a schema that cannot be read.
        let differences = opened.as_ref().map_or_else(
            |_| Vec::new(),
            |store| store.read(schema::differences).unwrap_or_default(),
        );
        if !differences.is_empty() {
            // A view may take the place of a table, so such a database is not queried further.
            self.faults.extend(
                differences
                    .iter()
                    .map(|one| format!("{}: {one}", store::FILE)),
            );
            return Ok(());
        }
        let opened = opened.map(|store| {
            let found = store
                .read(integrity::problems)
                .unwrap_or_else(|fault| vec![fault.cause().into()]);
            self.faults.extend(
                found
                    .into_iter()
                    .map(|fault| format!("{}: {fault}", store::FILE)),
            );
            let walked = store.read(|db| {
                users::each_avatar(db, &mut |name| {
                    result = self.expect(&picture_path(name));
                    result.is_ok()
                })
            });
            self.faults.extend(
                walked
                    .err()
                    .map(|fault| format!("{}: {}", store::FILE, fault.cause())),
            );
        });
        self.faults.extend(opened.err());
        result?;
        self.expect(SUMMARY)?;
        while let Some(line) = self.take() {
            if line.path != config::FILE && !logo::is_name(&line.path) {
                self.faults.push(format!(
                    "{CHECKSUMS}: {} is listed, but does not belong to the backup",
                    line.path
                ));
            }
            self.file(&line)?;
        }
        Ok(())
    }

    /// Checks the file with this path, whose line should come next. Lines of other files before it
    /// are faults.
    fn expect(&mut self, path: &str) -> Result<(), String> {
        while self
            .next_line
            .as_ref()
            .is_some_and(|line| &*line.path < path)
        {
            let line = self.take().expect("there is a next line");
            self.faults.push(format!(
                "{CHECKSUMS}: {} is listed, but does not belong to the backup",
                line.path
            ));
            self.file(&line)?;
        }
        if self
            .next_line
            .as_ref()
            .is_some_and(|line| line.path == path)
        {
            let line = self.take().expect("there is a next line");
            return self.file(&line);
        }
        self.faults
            .push(format!("{CHECKSUMS}: {path} is not listed"));
        Ok(())
    }

    fn take(&mut self) -> Option<Line> {
        let next = next_valid(&mut self.lines, &mut self.faults);
        std::mem::replace(&mut self.next_line, next)
    }

    /// Compares a file with its checksum, and a picture with its name.
    fn file(&mut self, line: &Line) -> Result<(), String> {
        let path = self.backup.join(&line.path);
        match read(&path, &line.path) {
            Ok((size, sum)) => {
                if sum != line.sum {
                    self.faults.push(format!(
                        "{}: has changed since the backup: its checksum differs",
                        line.path
                    ));
                }
                self.done += size;
            }
            Err(fault) => self.faults.push(format!("{}: {fault}", line.path)),
        }
        self.progress.show(self.done, self.total)
    }
}

/// The size and checksum of a file. A picture must also be a valid one; only pictures are read into
/// memory.
fn read(path: &Path, shown: &str) -> Result<(u64, String), String> {
    let failed = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound => "is missing".into(),
        _ => format!("cannot be read: {error}"),
    };
    let mut file = File::open(path).map_err(failed)?;
    let Some((_, name)) = shown.split_once('/') else {
        return crypto::copy_with_checksum(&mut file, &mut io::sink()).map_err(failed);
    };
    let bytes = fs::read(path).map_err(failed)?;
    let (size, sum) = crypto::copy_with_checksum(&mut &*bytes, &mut io::sink()).map_err(failed)?;
    avatar::check_bytes(name, &bytes)?;
    Ok((size, sum))
}

/// All faults in one sentence: the first one, and how many more there are.
pub fn in_one_sentence(faults: &[String]) -> String {
    match faults {
        [first, _, rest @ ..] => format!("{first}; and {} more", 1 + rest.len()),
        _ => faults.concat(),
    }
}
