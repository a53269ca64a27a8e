//! Prompts: a new password, from a terminal without echo or from standard input, and a
//! confirmation.
//!
//! The package rpassword (7.5.4) is not used: it shows its prompt before it turns the echo off, so
//! that an answer typed at once is shown, and on Ctrl-C it ends the process before it restores the
//! terminal.

use crate::command::Failure;
use crate::contract::PASSWD;
use rustix::termios::{LocalModes, OptionalActions, SpecialCodeIndex, tcgetattr, tcsetattr};
use std::io::{self, IsTerminal, Read, Write};

/// The longest input in bytes: four for each character that a password may have, and the end of the
/// line.
const MAX_BYTES: u64 = 4 * PASSWD.limit as u64 + 2;

/// Reads a new password: twice if standard input is a terminal, otherwise as its one line.
pub fn new_password() -> Result<String, Failure> {
    let bytes = if io::stdin().is_terminal() {
        let first = read_hidden("new password").map_err(not_read)?;
        if read_hidden("repeat the new password").map_err(not_read)? != first {
            return Err(Failure::new(
                1,
                "the two passwords differ; nothing has changed".into(),
            ));
        }
        first
    } else {
        let mut line = Vec::new();
        io::stdin()
            .take(MAX_BYTES)
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

/// Asks a yes-or-no question; any answer but yes is an error. If standard input is not a terminal,
/// the answer is taken to be yes.
pub fn confirm(question: &str) -> Result<(), Failure> {
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
    Failure::new(
        1,
        format!("the answer could not be read: {error}; nothing has changed"),
    )
}

/// Reads a line without echo. Ctrl-C arrives as a byte, not as a signal, so the terminal is
/// restored in that case too.
fn read_hidden(prompt: &str) -> io::Result<Vec<u8>> {
    let input = io::stdin();
    let before = tcgetattr(&input)?;
    let mut hidden = before.clone();
    hidden
        .local_modes
        .remove(LocalModes::ECHO | LocalModes::ICANON | LocalModes::ISIG);
    hidden.special_codes[SpecialCodeIndex::VMIN] = 1;
    hidden.special_codes[SpecialCodeIndex::VTIME] = 0;
    // Flush discards what was typed before the prompt.
    tcsetattr(&input, OptionalActions::Flush, &hidden)?;
    eprint!("{prompt}: ");
    let line = edited_line(&mut input.lock());
    tcsetattr(&input, OptionalActions::Drain, &before)?;
    io::stderr().write_all(b"\n")?;
    line
}

/// Reads a line byte by byte and applies the keys that edit it.
fn edited_line(input: &mut impl Read) -> io::Result<Vec<u8>> {
    const INTERRUPT: u8 = 3;
    const END_OF_INPUT: u8 = 4;
    const ERASE: [u8; 2] = [8, 127];
    const KILL: u8 = 21;
    let mut line = Vec::new();
    loop {
        let mut byte = [0];
        input.read_exact(&mut byte)?;
        match byte[0] {
            b'\n' | b'\r' => return Ok(line),
            INTERRUPT => return Err(io::ErrorKind::Interrupted.into()),
            END_OF_INPUT => return Err(io::ErrorKind::UnexpectedEof.into()),
            KILL => line.clear(),
            byte if ERASE.contains(&byte) => {
                // Removes a whole character: the continuation bytes of UTF-8, and the first byte.
                while line.pop().is_some_and(|byte| byte & 0xc0 == 0x80) {}
            }
            byte if line.len() as u64 <= MAX_BYTES => line.push(byte),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::edited_line;

    #[test]
    fn backspace_and_ctrl_u_edit_the_line_and_ctrl_c_and_ctrl_d_end_it() {
        for (typed, read) in [
            ("a password\nmore", "a password"),
            ("ab\u{7f}c\r", "ac"),
            ("a阿\u{8}b\n", "ab"),
            ("\u{7f}a\n", "a"),
            ("wrong\u{15}right\n", "right"),
        ] {
            assert_eq!(
                edited_line(&mut typed.as_bytes()).unwrap(),
                read.as_bytes(),
                "{typed:?}"
            );
        }
        assert_eq!(
            edited_line(&mut &b"ab\x03"[..]).unwrap_err().kind(),
            std::io::ErrorKind::Interrupted
        );
        assert_eq!(
            edited_line(&mut &b"ab\x04"[..]).unwrap_err().kind(),
            std::io::ErrorKind::UnexpectedEof
        );
        assert!(edited_line(&mut &b"ab"[..]).is_err());
    }
}
