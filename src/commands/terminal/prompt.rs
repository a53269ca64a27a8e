//! A password from a terminal that does not show it, or from standard input; never from an
//! argument.

use crate::command::Failure;
use rustix::termios::{LocalModes, OptionalActions, SpecialCodeIndex, tcgetattr, tcsetattr};
use std::io::{self, IsTerminal, Read, Write};

/// Bytes of input at the most: four for each of the 1,024 characters that a password may have, and
/// the end of a line.
const MOST: u64 = 4 * 1024 + 2;

/// Asks for a new password: twice on a terminal, otherwise it is the one line of standard input.
///
/// # Errors
/// If there is none, or the two are not the same.
pub fn ask() -> Result<String, Failure> {
    let bytes = if io::stdin().is_terminal() {
        let first = hidden("new password").map_err(not_read)?;
        if hidden("once more").map_err(not_read)? != first {
            return Err(Failure::new(
                1,
                "the two are not the same; nothing has changed".into(),
            ));
        }
        first
    } else {
        let mut line = Vec::new();
        io::stdin()
            .take(MOST)
            .read_to_end(&mut line)
            .map_err(not_read)?;
        let end = [&b"\r\n"[..], b"\n"]
            .into_iter()
            .find(|end| line.ends_with(end))
            .map_or(0, <[u8]>::len);
        line.truncate(line.len() - end);
        line
    };
    match String::from_utf8(bytes) {
        Ok(text) if text.contains(['\n', '\r']) => Err(refused("has more than one line")),
        Ok(text) => Ok(text),
        Err(_) => Err(refused("is not UTF-8")),
    }
}

/// Whether whoever sits at the terminal agrees. Without a terminal nobody is asked.
///
/// # Errors
/// If nobody does.
pub fn agree(question: &str) -> Result<(), Failure> {
    if !io::stdin().is_terminal() {
        return Ok(());
    }
    eprint!("{question} [y/N] ");
    let mut answer = String::new();
    io::stdin().read_line(&mut answer).map_err(not_read)?;
    match answer.trim() {
        "y" | "Y" | "yes" => Ok(()),
        _ => Err(Failure::new(1, "nothing has changed".into())),
    }
}

fn refused(why: &str) -> Failure {
    Failure::new(
        1,
        format!("the password on standard input {why}; nothing has changed"),
    )
}

fn not_read(error: io::Error) -> Failure {
    Failure::new(1, format!("no answer: {error}; nothing has changed"))
}

/// Reads a line that the terminal does not show. It is read byte by byte, so that the terminal is
/// as before even when an interrupt is typed.
fn hidden(question: &str) -> io::Result<Vec<u8>> {
    let input = io::stdin();
    let before = tcgetattr(&input)?;
    let mut quiet = before.clone();
    quiet
        .local_modes
        .remove(LocalModes::ECHO | LocalModes::ICANON | LocalModes::ISIG);
    quiet.special_codes[SpecialCodeIndex::VMIN] = 1;
    quiet.special_codes[SpecialCodeIndex::VTIME] = 0;
    // What was typed before the question was shown.
    tcsetattr(&input, OptionalActions::Flush, &quiet)?;
    eprint!("{question}: ");
    let line = line(&mut input.lock());
    tcsetattr(&input, OptionalActions::Drain, &before)?;
    io::stderr().write_all(b"\n")?;
    line
}

/// A line of single bytes as a terminal gives them, with the keys that edit it.
fn line(input: &mut impl Read) -> io::Result<Vec<u8>> {
    const INTERRUPT: u8 = 3;
    const END: u8 = 4;
    const ERASE: [u8; 2] = [8, 127];
    const KILL: u8 = 21;
    let mut line = Vec::new();
    loop {
        let mut byte = [0];
        input.read_exact(&mut byte)?;
        match byte[0] {
            b'\n' | b'\r' => return Ok(line),
            INTERRUPT => return Err(io::ErrorKind::Interrupted.into()),
            END => return Err(io::ErrorKind::UnexpectedEof.into()),
            KILL => line.clear(),
            byte if ERASE.contains(&byte) => {
                // A character of several bytes goes as one.
                while line.pop().is_some_and(|byte| byte & 0xc0 == 0x80) {}
            }
            byte if line.len() as u64 <= MOST => line.push(byte),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::line;

    #[test]
    fn keys_edit_the_line() {
        for (typed, read) in [
            ("a password\nmore", "a password"),
            ("ab\u{7f}c\r", "ac"),
            ("a阿\u{8}b\n", "ab"),
            ("\u{7f}a\n", "a"),
            ("wrong\u{15}right\n", "right"),
        ] {
            assert_eq!(
                line(&mut typed.as_bytes()).unwrap(),
                read.as_bytes(),
                "{typed:?}"
            );
        }
        assert_eq!(
            line(&mut &b"ab\x03"[..]).unwrap_err().kind(),
            std::io::ErrorKind::Interrupted
        );
        assert_eq!(
            line(&mut &b"ab\x04"[..]).unwrap_err().kind(),
            std::io::ErrorKind::UnexpectedEof
        );
        assert!(line(&mut &b"ab"[..]).is_err());
    }
}
