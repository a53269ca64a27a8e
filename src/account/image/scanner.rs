//! Reads a file from start to end and collects the pieces of it to keep.

use std::borrow::Cow;

/// The most pieces that a cleaned file may have.
///
/// An honest file has metadata in a few places, or once per frame. A hostile one could have it
/// everywhere, and the list of pieces would be several times as large as the file.
const MAX_PIECES: usize = 16_384;

/// A position in a file, and the pieces kept so far.
pub(super) struct Scanner<'a> {
    file: &'a [u8],
    position: usize,
    pieces: Vec<Cow<'a, [u8]>>,
    /// Where the last piece that is a slice of the file ends.
    kept_to: usize,
}

impl<'a> Scanner<'a> {
    /// Starts at the first byte of `file`.
    pub(super) fn new(file: &'a [u8]) -> Self {
        Scanner {
            file,
            position: 0,
            pieces: Vec::new(),
            kept_to: 0,
        }
    }

    /// The number of bytes read.
    pub(super) fn position(&self) -> usize {
        self.position
    }

    /// The bytes not read yet.
    pub(super) fn rest(&self) -> &'a [u8] {
        self.file.get(self.position..).unwrap_or_default()
    }

    /// Reads the next `count` bytes; if there are fewer, reads nothing.
    pub(super) fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let taken = self.rest().get(..count)?;
        self.position += count;
        Some(taken)
    }

    /// Reads the next `N` bytes.
    pub(super) fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.first_chunk().copied()
    }

    /// Keeps the bytes from an earlier position up to the current one.
    pub(super) fn keep(&mut self, from: usize) {
        // Adjacent pieces are joined, so that a file without metadata is one piece.
        let from = match self.pieces.last() {
            Some(Cow::Borrowed(last)) if self.kept_to == from => {
                let start = from - last.len();
                self.pieces.pop();
                start
            }
            _ => from,
        };
        self.push(Cow::Borrowed(&self.file[from..self.position]));
        self.kept_to = self.position;
    }

    /// Adds a piece that is not in the file.
    pub(super) fn add(&mut self, bytes: Vec<u8>) {
        self.push(Cow::Owned(bytes));
    }

    /// The length of all pieces.
    pub(super) fn kept_len(&self) -> usize {
        self.pieces.iter().map(|piece| piece.len()).sum()
    }

    /// The pieces of the cleaned file, with `head` before them.
    pub(super) fn finish(mut self, head: Vec<u8>) -> Result<Vec<Cow<'a, [u8]>>, &'static str> {
        if self.pieces.len() > MAX_PIECES {
            return Err("the picture has metadata in too many places");
        }
        if !head.is_empty() {
            self.pieces.insert(0, Cow::Owned(head));
        }
        Ok(self.pieces)
    }

    /// Adds a piece, unless there are too many for [`Scanner::finish`] already.
    fn push(&mut self, piece: Cow<'a, [u8]>) {
        if self.pieces.len() <= MAX_PIECES {
            self.pieces.push(piece);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_read_beyond_the_end() {
        let mut scanner = Scanner::new(b"abc");
        assert_eq!(scanner.take(usize::MAX), None);
        assert_eq!(scanner.array(), Some(*b"ab"));
        assert_eq!(scanner.take(2), None);
        assert_eq!((scanner.position(), scanner.rest()), (2, &b"c"[..]));
        assert_eq!(scanner.take(1), Some(&b"c"[..]));
        assert_eq!(scanner.take(1), None);
    }

    #[test]
    fn adjacent_pieces_are_joined() {
        let mut scanner = Scanner::new(b"abcdef");
        for kept in [true, true, false, true, true, true] {
            let start = scanner.position();
            scanner.take(1);
            if kept {
                scanner.keep(start);
            }
            if start == 4 {
                scanner.add(b"-".to_vec());
            }
        }
        assert_eq!(scanner.kept_len(), 6);
        let pieces = scanner.finish(b"+".to_vec()).unwrap();
        assert_eq!(pieces, [&b"+"[..], b"ab", b"de", b"-", b"f"]);
    }

    #[test]
    fn scattered_pieces_are_bounded() {
        let file = vec![0; 8 * MAX_PIECES];
        let mut scanner = Scanner::new(&file);
        while scanner.take(1).is_some() {
            scanner.keep(scanner.position() - 1);
            scanner.take(1);
        }
        assert!(scanner.pieces.capacity() <= 2 * MAX_PIECES);
        assert!(scanner.finish(Vec::new()).is_err());
    }
}
