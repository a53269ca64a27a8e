//! Finds bytes in bytes, and looks at few of them.

/// Bytes to look for, prepared (R. N. Horspool, "Practical fast searching in strings", 1980).
pub(super) struct Pattern {
    bytes: Vec<u8>,
    /// How far to go on from a window whose last byte is the index.
    steps: [usize; 256],
}

impl Pattern {
    /// Looks for these bytes, of which there is one or more.
    pub(super) fn new(bytes: Vec<u8>) -> Pattern {
        let mut steps = [bytes.len(); 256];
        let all_but_last = &bytes[..bytes.len() - 1];
        for (at, byte) in all_but_last.iter().enumerate() {
            steps[usize::from(*byte)] = all_but_last.len() - at;
        }
        Pattern { bytes, steps }
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Where the pattern occurs first.
    pub(super) fn find(&self, text: &[u8]) -> Option<usize> {
        let mut at = 0;
        while let Some(window) = text.get(at..at + self.bytes.len()) {
            if window == self.bytes {
                return Some(at);
            }
            at += self.steps[usize::from(window[window.len() - 1])];
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
