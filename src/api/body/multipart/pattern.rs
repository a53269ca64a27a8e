//! A substring search that looks at few of the bytes.

/// Bytes to search for, with their shift table (R. N. Horspool, "Practical fast searching in
/// strings", 1980).
pub(super) struct Pattern {
    bytes: Vec<u8>,
    /// How far to shift the window, by the last byte in it.
    shifts: [usize; 256],
}

impl Pattern {
    /// A pattern of one or more bytes.
    pub(super) fn new(bytes: Vec<u8>) -> Pattern {
        let mut shifts = [bytes.len(); 256];
        let all_but_last = &bytes[..bytes.len() - 1];
        for (at, byte) in all_but_last.iter().enumerate() {
            shifts[usize::from(*byte)] = all_but_last.len() - at;
        }
        Pattern { bytes, shifts }
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// The position of the first occurrence.
    pub(super) fn find(&self, text: &[u8]) -> Option<usize> {
        let mut at = 0;
        while let Some(window) = text.get(at..at + self.bytes.len()) {
            if window == self.bytes {
                return Some(at);
            }
            at += self.shifts[usize::from(window[window.len() - 1])];
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_occurrence_is_found() {
        for text in [
            "",
            "--",
            "--a",
            "x--a--a",
            "-----a",
            "--b--ab",
            "aaaa-a--",
            "--c--c--a",
        ] {
            for pattern in ["-", "--a", "--aa", "-a-", "--c--a"] {
                let found = Pattern::new(pattern.into()).find(text.as_bytes());
                assert_eq!(found, text.find(pattern), "{pattern} in {text}");
            }
        }
    }
}
