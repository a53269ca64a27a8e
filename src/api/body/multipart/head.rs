//! The header block of a part, and the parameters of a header such as `form-data; name="file"`.

use std::str;

/// The most parameters that are read, since each may cost another pass over the rest of the header.
/// Browsers write two.
const MAX_PARAMETERS: usize = 16;

/// Whether the part with this header block is the one named `file`. The block ends before its blank
/// line.
///
/// Nothing else is checked: the `Content-Type` may be empty or malformed, and text may be in any
/// encoding.
pub(super) fn is_file(block: &[u8]) -> Result<bool, &'static str> {
    let disposition = disposition(block)?.ok_or("a part has no Content-Disposition")?;
    let kind = disposition
        .split(|byte| *byte == b';')
        .next()
        .unwrap_or_default();
    if !kind.trim_ascii().eq_ignore_ascii_case(b"form-data") {
        return Err("the Content-Disposition of a part is not form-data");
    }
    let name = parameter(&disposition, "name").ok_or("a part has no name")?;
    // Some scripts write the second, with a quote that is never closed.
    Ok(matches!(&*name, b"file" | b"\"file"))
}

/// The value of the first `Content-Disposition`, with folded lines joined (RFC 5322, 2.2.3).
fn disposition(block: &[u8]) -> Result<Option<Vec<u8>>, &'static str> {
    const MALFORMED: &str = "a part has a malformed header";
    let mut found: Option<Vec<u8>> = None;
    let mut is_first = true;
    let mut is_wanted = false;
    // The last line also ends with a line feed.
    for line in block.split_inclusive(|byte| *byte == b'\n') {
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let value = match line {
            [b' ' | b'\t', ..] if !is_first => line,
            _ => {
                let colon = line
                    .iter()
                    .position(|byte| !is_token(*byte))
                    .filter(|at| *at > 0 && line[*at] == b':');
                let colon = colon.ok_or(MALFORMED)?;
                is_wanted =
                    found.is_none() && line[..colon].eq_ignore_ascii_case(b"content-disposition");
                &line[colon + 1..]
            }
        };
        is_first = false;
        if value
            .iter()
            .any(|byte| byte.is_ascii_control() && *byte != b'\t')
        {
            return Err(MALFORMED);
        }
        if is_wanted {
            found.get_or_insert_default().extend_from_slice(value);
        }
    }
    Ok(found)
}

/// Whether a byte is allowed in the name of a header (RFC 9110, 5.6.2).
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// The value of the first parameter with this name, ignoring case.
pub(super) fn parameter(header: &[u8], expected: &str) -> Option<Vec<u8>> {
    // In GBK or Shift_JIS, a backslash may be the second byte of a character.
    let has_escapes = str::from_utf8(header).is_ok();
    let mut rest = after(header, b';');
    for _ in 0..MAX_PARAMETERS {
        let end = rest.iter().position(|byte| matches!(byte, b'=' | b';'))?;
        let name = rest[..end].trim_ascii();
        if rest[end] == b';' {
            rest = &rest[end + 1..];
            continue;
        }
        let value = rest[end + 1..].trim_ascii_start();
        let (value, following) = quoted(value, has_escapes).unwrap_or_else(|| unquoted(value));
        if name.eq_ignore_ascii_case(expected.as_bytes()) {
            return Some(value);
        }
        rest = following;
    }
    None
}

/// A quoted value, and the rest of the header after the `;`.
///
/// Old browsers write a quote in a name as `\"`, new ones as `%22`, which is not decoded; scripts
/// do not escape it. So a quote ends the value only if a `;` or the end of the header follows. Some
/// scripts write the last quote twice.
fn quoted(text: &[u8], has_escapes: bool) -> Option<(Vec<u8>, &[u8])> {
    let mut value = Vec::new();
    let mut rest = text.strip_prefix(b"\"")?;
    loop {
        rest = match rest {
            [b'\\', byte @ (b'"' | b'\\'), rest @ ..] if has_escapes => {
                value.push(*byte);
                rest
            }
            [b'"', rest @ ..] if is_end(rest.strip_prefix(b"\"").unwrap_or(rest)) => {
                return Some((value, after(rest, b';')));
            }
            [byte, rest @ ..] => {
                value.push(*byte);
                rest
            }
            [] => return None,
        };
    }
}

/// Whether `rest` starts with the end of a parameter.
fn is_end(rest: &[u8]) -> bool {
    matches!(rest.trim_ascii_start(), [] | [b';', ..])
}

/// An unquoted value, and the rest of the header after the `;`.
fn unquoted(text: &[u8]) -> (Vec<u8>, &[u8]) {
    let value = text.split(|byte| *byte == b';').next().unwrap_or_default();
    (value.trim_ascii().to_vec(), after(text, b';'))
}

/// The text after the first occurrence of a byte; empty if it does not occur.
fn after(text: &[u8], byte: u8) -> &[u8] {
    text.iter()
        .position(|found| *found == byte)
        .map_or(&[], |at| &text[at + 1..])
}
