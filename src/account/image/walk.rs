//! Walks a file from its first byte to its last and notes what is kept of it.

use std::borrow::Cow;

/// The most pieces a cleaned file may have.
///
/// Metadata interrupts an honest file a few times, or once a frame; a hostile
/// one could be made of interruptions only, and cost several times its own
/// size in pieces.
const MAX_PIECES: usize = 16_384;

/// A position in a file, and the pieces of it that are kept so far.
pub(super) struct Walk<'a> {
    file: &'a [u8],
    at: usize,
    pieces: Vec<Cow<'a, [u8]>>,
    /// Where in the file the newest piece ends, if it is a slice of the file.
    kept_to: usize,
}

impl<'a> Walk<'a> {
    /// Starts at the first byte of `file`.
    pub(super) fn new(file: &'a [u8]) -> Self {
        Walk {
            file,
            at: 0,
            pieces: Vec::new(),
            kept_to: 0,
        }
    }

    /// The number of bytes walked over.
    pub(super) fn at(&self) -> usize {
        self.at
    }

    /// The bytes not walked over yet.
    pub(super) fn rest(&self) -> &'a [u8] {
        self.file.get(self.at..).unwrap_or_default()
    }

    /// Walks over the next `count` bytes; stays where it is if there are fewer.
    pub(super) fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let taken = self.rest().get(..count)?;
        self.at += count;
        Some(taken)
    }

    /// Walks over the next `N` bytes.
    pub(super) fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.first_chunk().copied()
    }

    /// Keeps what was walked over since `from`, an earlier position.
    pub(super) fn keep(&mut self, from: usize) {
        // Neighbours grow into one piece, so that a clean file is a single one.
        let from = match self.pieces.last() {
            Some(Cow::Borrowed(last)) if self.kept_to == from => {
                let start = from - last.len();
                self.pieces.pop();
                start
            }
            _ => from,
        };
        self.push(Cow::Borrowed(&self.file[from..self.at]));
        self.kept_to = self.at;
    }

    /// Adds bytes that are not in the file.
    pub(super) fn add(&mut self, bytes: Vec<u8>) {
        self.push(Cow::Owned(bytes));
    }

    /// The length of all that is kept.
    pub(super) fn kept_len(&self) -> usize {
        self.pieces.iter().map(|piece| piece.len()).sum()
    }

    /// The pieces of the cleaned file, which starts with `head`.
    pub(super) fn finish(mut self, head: Vec<u8>) -> Result<Vec<Cow<'a, [u8]>>, &'static str> {
        if self.pieces.len() > MAX_PIECES {
            return Err("the metadata of the picture is in too many places");
        }
        if !head.is_empty() {
            self.pieces.insert(0, Cow::Owned(head));
        }
        Ok(self.pieces)
    }

    /// Adds a piece, until there are too many for [`Walk::finish`].
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
    fn a_walk_ends_with_the_file() {
        let mut walk = Walk::new(b"abc");
        assert_eq!(walk.take(usize::MAX), None);
        assert_eq!(walk.array(), Some(*b"ab"));
        assert_eq!(walk.take(2), None);
        assert_eq!((walk.at(), walk.rest()), (2, &b"c"[..]));
        assert_eq!(walk.take(1), Some(&b"c"[..]));
        assert_eq!(walk.take(1), None);
    }

    #[test]
    fn neighbours_become_one_piece() {
        let mut walk = Walk::new(b"abcdef");
        for kept in [true, true, false, true, true, true] {
            let start = walk.at();
            walk.take(1);
            if kept {
                walk.keep(start);
            }
            if start == 4 {
                walk.add(b"-".to_vec());
            }
        }
        assert_eq!(walk.kept_len(), 6);
        let pieces = walk.finish(b"+".to_vec()).unwrap();
        assert_eq!(pieces, [&b"+"[..], b"ab", b"de", b"-", b"f"]);
    }

    #[test]
    fn scattered_pieces_are_bounded() {
        let file = vec![0; 8 * MAX_PIECES];
        let mut walk = Walk::new(&file);
        while walk.take(1).is_some() {
            walk.keep(walk.at() - 1);
            walk.take(1);
        }
        assert!(walk.pieces.capacity() <= 2 * MAX_PIECES);
        assert!(walk.finish(Vec::new()).is_err());
    }
}
