//! Strict incremental decoder of chunked bodies (RFC 9112, 7.1).

use std::ops::Range;

/// The maximum length in bytes of a chunk-size line with its extensions, and of a trailer field.
const MAX_LINE: usize = 1024;
/// The maximum number of trailer fields, which are ignored.
const MAX_TRAILERS: u32 = 32;

/// A decoder, which keeps its position in the encoding.
#[derive(Debug, Default)]
pub struct Chunked {
    state: State,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Before a chunk-size line.
    #[default]
    Size,
    /// In a chunk, before this many bytes of data.
    Data(u64),
    /// Before the CR LF that ends a chunk.
    DataEnd,
    /// Before a trailer field or the last line, after this many fields.
    Trailer(u32),
    /// After the last line.
    End,
}

/// The result of one decoding step.
#[derive(Debug, PartialEq, Eq)]
pub enum Piece {
    /// These bytes of the input are data of the body. The next step starts at their end.
    Data(Range<usize>),
    /// The encoding ends before this byte.
    End(usize),
    /// More input is needed. The next step starts at this byte.
    Partial(usize),
    /// The encoding is malformed.
    Malformed,
}

impl Chunked {
    /// Decodes the next piece of the input, from byte `at` on. Data is returned `max` bytes at a
    /// time.
    pub fn next(&mut self, input: &[u8], mut at: usize, max: usize) -> Piece {
        loop {
            let rest = &input[at..];
            match self.state {
                State::End => return Piece::End(at),
                State::Data(_) if rest.is_empty() => return Piece::Partial(at),
                State::Data(left) => {
                    let count = rest
                        .len()
                        .min(max)
                        .min(usize::try_from(left).unwrap_or(usize::MAX));
                    let left = left - count as u64;
                    self.state = if left == 0 {
                        State::DataEnd
                    } else {
                        State::Data(left)
                    };
                    return Piece::Data(at..at + count);
                }
                State::DataEnd => match rest {
                    [b'\r', b'\n', ..] => (self.state, at) = (State::Size, at + 2),
                    [] | [b'\r'] => return Piece::Partial(at),
                    _ => return Piece::Malformed,
                },
                State::Size | State::Trailer(_) => {
                    let Some(line) = line(rest) else {
                        return Piece::Malformed;
                    };
                    let Some(line) = line else {
                        return Piece::Partial(at);
                    };
                    at += line.len() + 2;
                    match self.state {
                        State::Size => match size(line) {
                            Some(0) => self.state = State::Trailer(0),
                            Some(size) => self.state = State::Data(size),
                            None => return Piece::Malformed,
                        },
                        State::Trailer(_) if line.is_empty() => self.state = State::End,
                        State::Trailer(count) if count < MAX_TRAILERS && line.contains(&b':') => {
                            self.state = State::Trailer(count + 1);
                        }
                        _ => return Piece::Malformed,
                    }
                }
            }
        }
    }
}

/// The first line of the input without its CR LF. Returns `Some(None)` if the line is not complete,
/// and `None` if it is too long or contains a bare CR or LF.
fn line(input: &[u8]) -> Option<Option<&[u8]>> {
    match input.iter().position(|byte| matches!(byte, b'\r' | b'\n')) {
        Some(at) if at > MAX_LINE => None,
        Some(at) if input[at] == b'\n' => None,
        Some(at) => match input.get(at + 1) {
            Some(b'\n') => Some(Some(&input[..at])),
            Some(_) => None,
            None => Some(None),
        },
        None if input.len() > MAX_LINE => None,
        None => Some(None),
    }
}

/// The size in a chunk-size line: hexadecimal digits, then optional extensions.
fn size(line: &[u8]) -> Option<u64> {
    let digits = line.split(|byte| *byte == b';').next()?;
    // Some clients pad the number with spaces, which are allowed before extensions (RFC 9112,
    // 7.1.1).
    let digits = if digits.len() < line.len() {
        digits.trim_ascii_end()
    } else {
        digits
    };
    let plain = !digits.is_empty() && digits.iter().all(u8::is_ascii_hexdigit);
    u64::from_str_radix(std::str::from_utf8(digits).ok().filter(|_| plain)?, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Decodes input that is received `step` bytes at a time. Returns the body and the length of
    /// its encoding.
    fn decode(input: &[u8], step: usize) -> Result<(Vec<u8>, usize), Piece> {
        let (mut chunked, mut body, mut at, mut end) = (Chunked::default(), Vec::new(), 0, 0);
        loop {
            match chunked.next(&input[..end], at, 5) {
                Piece::Data(range) => {
                    at = range.end;
                    body.extend_from_slice(&input[range]);
                }
                Piece::End(at) => return Ok((body, at)),
                Piece::Partial(here) if end < input.len() => {
                    (at, end) = (here, input.len().min(end + step))
                }
                other => return Err(other),
            }
        }
    }

    #[test]
    fn bodies_are_decoded_however_they_are_split() {
        for (input, body) in [
            (&b"0\r\n\r\n"[..], &b""[..]),
            (b"3\r\nabc\r\n0\r\n\r\n", b"abc"),
            (
                b"3;x=\"y\"\r\nabc\r\n0b\r\nlonger text\r\n000\r\n\r\n",
                b"abclonger text",
            ),
            (b"2 ;a\r\nab\r\n0\r\nX-Checksum: 1\r\nY:\r\n\r\n", b"ab"),
        ] {
            let whole = [input, b"GET /"].concat();
            for step in 1..=whole.len() {
                assert_eq!(
                    decode(&whole, step),
                    Ok((body.to_vec(), input.len())),
                    "{step}"
                );
            }
        }
    }

    #[test]
    fn lines_and_trailers_may_be_as_long_as_the_limits() {
        let extension = [&b"1;"[..], &[b'x'; MAX_LINE - 2], b"\r\na\r\n0\r\n\r\n"].concat();
        let trailers = [
            &b"1\r\na\r\n0\r\n"[..],
            &b"a: b\r\n".repeat(MAX_TRAILERS as usize),
            b"\r\n",
        ]
        .concat();
        for input in [extension, trailers] {
            assert_eq!(decode(&input, 1), Ok((b"a".to_vec(), input.len())));
        }
    }

    #[test]
    fn a_chunk_is_returned_in_pieces_of_at_most_the_requested_size() {
        let mut chunked = Chunked::default();
        let input = b"5\r\nabcde\r\n0\r\n\r\n";
        assert_eq!(chunked.next(input, 0, 3), Piece::Data(3..6));
        assert_eq!(chunked.next(input, 6, 3), Piece::Data(6..8));
        assert_eq!(chunked.next(input, 8, 3), Piece::End(input.len()));
        assert_eq!(chunked.next(input, input.len(), 3), Piece::End(input.len()));
    }

    #[test]
    fn ambiguous_encodings_are_malformed() {
        let long = [&b"1;"[..], &[b'x'; MAX_LINE], b"\r\na\r\n0\r\n\r\n"].concat();
        let trailers = [
            &b"0\r\n"[..],
            &b"a: b\r\n".repeat(MAX_TRAILERS as usize + 1),
            b"\r\n",
        ]
        .concat();
        for input in [
            &b"+3\r\nabc\r\n0\r\n\r\n"[..],
            b" 3\r\nabc\r\n0\r\n\r\n",
            b"3 \r\nabc\r\n0\r\n\r\n",
            b"0x3\r\nabc\r\n0\r\n\r\n",
            b"\r\n0\r\n\r\n",
            b"3\nabc\r\n0\r\n\r\n",
            b"3\rabc\r\n0\r\n\r\n",
            b"3;a\rb\r\nabc\r\n0\r\n\r\n",
            b"-3\r\nabc\r\n0\r\n\r\n",
            b";x\r\n0\r\n\r\n",
            b"3\r\nabcd\r\n0\r\n\r\n",
            b"3\r\nab\r\n0\r\n\r\n",
            b"3\r\nabc\n0\r\n\r\n",
            b"10000000000000000\r\na",
            b"0\r\nnot a field\r\n\r\n",
            b"0\r\na: b\n\r\n",
            &long,
            &trailers,
        ] {
            assert_eq!(
                decode(input, 1),
                Err(Piece::Malformed),
                "{:?}",
                input.escape_ascii().to_string()
            );
        }
    }

    #[test]
    fn a_body_that_is_cut_off_is_partial() {
        let input = b"3\r\nabc\r\n0\r\na: b\r\n\r\n";
        for end in 0..input.len() - 1 {
            assert!(
                matches!(decode(&input[..end], 1), Err(Piece::Partial(_))),
                "{end}"
            );
        }
    }
}
