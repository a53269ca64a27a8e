//! A multipart body whose boundary lines and header blocks are rewritten so that `multipart` reads
//! them correctly.
//!
//! `multipart` takes the `filename` for the name if it comes first, and refuses more than four
//! headers, text that is not UTF-8, and spaces after a boundary. So each boundary is passed on
//! without spaces and with one header that is written here. The data of the parts is not changed.

use super::head;
use super::pattern::Pattern;
use std::io::{self, ErrorKind, Read};

/// Bytes of the body that are in memory at a time.
const BUFFER: usize = 16 * 1024;
/// The longest boundary line and header block together, in bytes. Browsers write up to 1,000.
const MAX_HEAD: usize = 8 * 1024;

/// A body that is being rewritten.
pub(super) struct Parts<R> {
    body: R,
    /// The most bytes that the body may have.
    limit: u64,
    /// The bytes read so far.
    read: u64,
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    boundary: Pattern,
    /// The replacement of a boundary and its header block, as far as `multipart` has not read it.
    rewritten: Vec<u8>,
    has_boundary: bool,
    ended: bool,
    error: Option<String>,
}

impl<R: Read> Parts<R> {
    /// A body of at most `limit` bytes. The boundary must not be empty.
    pub(super) fn new(body: R, boundary: &str, limit: u64) -> Parts<R> {
        Parts {
            body,
            limit,
            read: 0,
            buffer: vec![0; BUFFER],
            start: 0,
            end: 0,
            boundary: Pattern::new(format!("--{boundary}").into_bytes()),
            rewritten: Vec::new(),
            has_boundary: false,
            ended: false,
            error: None,
        }
    }

    /// Why reading failed, as a sentence for the client.
    pub(super) fn error(self) -> Option<String> {
        self.error
    }

    fn buffered(&self) -> &[u8] {
        &self.buffer[self.start..self.end]
    }

    /// Reads until `count` bytes are buffered, or the body ends.
    fn fill(&mut self, count: usize) -> io::Result<()> {
        while self.end - self.start < count {
            self.buffer.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
            match self.body.read(&mut self.buffer[self.end..]) {
                Ok(0) => return Ok(()),
                Ok(count) => {
                    self.end += count;
                    self.read += count as u64;
                }
                Err(error) if error.kind() == ErrorKind::FileTooLarge => self.read = u64::MAX,
                Err(_) => {
                    return Err(self.fail(format!("the body broke off after {} bytes", self.read)));
                }
            }
            if self.read > self.limit {
                return Err(self.fail(format!(
                    "the form is larger than the limit of {} bytes",
                    self.limit
                )));
            }
        }
        Ok(())
    }

    /// How many of the next bytes are certainly before a boundary; 0 if it comes next. Looks at
    /// about `limit` bytes.
    fn bytes_before_boundary(&mut self, limit: usize) -> io::Result<usize> {
        // The last buffered bytes may be the beginning of a boundary and its CRLF.
        let margin = self.boundary.len() + 1;
        self.fill(margin + 1)?;
        let bytes = self.buffered();
        let bytes = &bytes[..bytes.len().min(limit.saturating_add(margin))];
        match self.boundary.find(bytes) {
            Some(at) if bytes[..at].ends_with(b"\r\n") => Ok(at - 2),
            Some(at) => Ok(at),
            None if bytes.len() > margin => Ok(bytes.len() - margin),
            None => Err(self.ended_early()),
        }
    }

    /// Skips a boundary and its header block, and prepares their replacement.
    fn rewrite(&mut self) -> io::Result<()> {
        let line_break = if self.buffered().starts_with(b"\r\n") {
            2
        } else {
            0
        };
        self.start += line_break + self.boundary.len();
        self.has_boundary = true;
        // Also after the last boundary: a body that ends in the middle of it is incomplete.
        self.fill(MAX_HEAD)?;
        let (length, kind) = match self.next_part() {
            Ok(Some(found)) => found,
            Ok(None) if self.buffered().len() < MAX_HEAD => return Err(self.ended_early()),
            Ok(None) => {
                return Err(self.fail(format!("a part has more than {MAX_HEAD} bytes of headers")));
            }
            Err(why) => return Err(self.fail(why.into())),
        };
        self.start += length;
        self.ended = matches!(kind, Kind::End);
        let rest: &[u8] = match kind {
            Kind::File => b"\r\nContent-Disposition: form-data; name=\"file\"\r\n\r\n",
            Kind::Other => b"\r\nContent-Disposition: form-data; name=\"other\"\r\n\r\n",
            Kind::End => b"--",
        };
        self.rewritten = [b"\r\n", self.boundary.bytes(), rest].concat();
        Ok(())
    }

    /// What a boundary begins, and the length of the header block up to the data. `None` if the
    /// block is not buffered completely.
    fn next_part(&self) -> Result<Option<(usize, Kind)>, &'static str> {
        let bytes = &self.buffered()[..self.buffered().len().min(MAX_HEAD)];
        if bytes.starts_with(b"--") {
            return Ok(Some((2, Kind::End)));
        }
        // RFC 2046, 5.1.1: "transport padding".
        let padding = bytes
            .iter()
            .take_while(|byte| matches!(byte, b' ' | b'\t'))
            .count();
        let from = match &bytes[padding..] {
            [b'\r', b'\n', ..] => padding + 2,
            [] | [b'\r'] => return Ok(None),
            [b'-'] if padding == 0 => return Ok(None),
            _ => return Err("unexpected text follows a boundary on its line"),
        };
        let mut end = from;
        for line in bytes[from..].split_inclusive(|byte| *byte == b'\n') {
            if matches!(line, b"\r\n" | b"\n") {
                let block = &bytes[from..end];
                if self.boundary.find(block).is_some() {
                    return Err("the headers of a part do not end with an empty line");
                }
                let kind = if head::is_file(block)? {
                    Kind::File
                } else {
                    Kind::Other
                };
                return Ok(Some((end + line.len(), kind)));
            }
            end += line.len();
        }
        Ok(None)
    }

    fn ended_early(&mut self) -> io::Error {
        let read = self.read;
        self.fail(match (read, self.has_boundary) {
            (0, _) => "the body is empty".into(),
            (_, false) => format!(
                "the boundary that the Content-Type names is not in the body of {read} bytes"
            ),
            _ => format!("the body ended after {read} bytes, before the last boundary of the form"),
        })
    }

    fn fail(&mut self, why: String) -> io::Error {
        self.error = Some(why);
        ErrorKind::InvalidData.into()
    }
}

impl<R: Read> Read for Parts<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if self.rewritten.is_empty() && !self.ended {
            let count = self.bytes_before_boundary(out.len())?.min(out.len());
            if count > 0 {
                out[..count].copy_from_slice(&self.buffered()[..count]);
                self.start += count;
                return Ok(count);
            }
            self.rewrite()?;
        }
        // `multipart` mistakes the CR before a boundary for data if a read returns nothing else.
        // Its reads have room for at least 1,024 bytes, so one read returns the whole replacement.
        let count = self.rewritten.len().min(out.len());
        out[..count].copy_from_slice(&self.rewritten[..count]);
        self.rewritten.drain(..count);
        Ok(count)
    }
}

/// What a boundary begins.
enum Kind {
    /// The part named `file`.
    File,
    /// Another part.
    Other,
    /// Nothing: it was the last boundary.
    End,
}
