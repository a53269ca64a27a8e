//! Uploaded files: the part `file` of a multipart form, and the only file that names `multipart`.

use crate::contract::{No, Stop};
use multipart::server::Multipart;
use std::io::{Read, Write};
use std::thread;

/// What a form may hold beside the file, in bytes.
pub const BESIDE: u64 = 1024 * 1024;

/// Copies the part `file` of a form to `target` and says how many bytes it has.
///
/// # Errors
/// [`No::FileUnusable`] if there is no such part, it is larger than `limit` bytes, or the form is broken or ends
/// early; [`No::NotWritten`] with its cause if `target` does not take it.
pub fn file(content_type: &str, body: &mut dyn Read, limit: u64, target: &mut dyn Write) -> Result<u64, Stop> {
    let unusable = |_| No::FileUnusable;
    let boundary = boundary(content_type).ok_or(No::FileUnusable)?;
    let mut form = Multipart::with_body(body.take(limit + BESIDE), boundary);
    let mut size = None;
    // To the last part, since a body that was cut off reads as a whole file.
    while let Some(mut part) = form.read_entry().map_err(unusable)? {
        if size.is_none() && &*part.headers.name == "file" {
            size = Some(copy(&mut part.data, limit, target)?);
        }
    }
    size.ok_or_else(|| No::FileUnusable.into())
}

fn copy(part: &mut dyn Read, limit: u64, target: &mut dyn Write) -> Result<u64, Stop> {
    let mut buffer = [0; 16 * 1024];
    let mut size = 0;
    loop {
        // Whoever has less to do goes first.
        thread::yield_now();
        let count = part.read(&mut buffer).map_err(|_| No::FileUnusable)?;
        if count == 0 {
            return Ok(size);
        }
        size += count as u64;
        if size > limit {
            return Err(No::FileUnusable.into());
        }
        let written = target.write_all(&buffer[..count]);
        written.map_err(|error| Stop { reason: No::NotWritten, cause: Some(error.to_string()) })?;
    }
}

/// The boundary of `multipart/form-data; boundary=…`: 1 to 70 characters (RFC 2046, 5.1.1), perhaps in quotes.
fn boundary(content_type: &str) -> Option<String> {
    let (kind, parameters) = content_type.split_once(';')?;
    if !kind.trim().eq_ignore_ascii_case("multipart/form-data") {
        return None;
    }
    let (_, value) = parameters
        .split(';')
        .filter_map(|parameter| parameter.split_once('='))
        .find(|(name, _)| name.trim().eq_ignore_ascii_case("boundary"))?;
    let value = value.trim();
    let value = value.strip_prefix('"').and_then(|value| value.strip_suffix('"')).unwrap_or(value);
    let fits =
        (1..=70).contains(&value.len()) && value.bytes().all(|byte| (b' '..=b'~').contains(&byte) && byte != b'"');
    fits.then(|| value.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    const TYPE: &str = "multipart/form-data; boundary=XX";

    fn form(parts: &[(&str, &str)]) -> String {
        let part = |(name, text): &(&str, &str)| {
            format!("--XX\r\nContent-Disposition: form-data; name=\"{name}\"; filename=\"a.png\"\r\n\r\n{text}\r\n")
        };
        parts.iter().map(part).collect::<String>() + "--XX--\r\n"
    }

    fn read(content_type: &str, body: &str, limit: u64) -> Option<String> {
        let mut target = Vec::new();
        let size = file(content_type, &mut body.as_bytes(), limit, &mut target).ok()?;
        assert_eq!(size, target.len() as u64);
        Some(String::from_utf8(target).unwrap())
    }

    #[test]
    fn the_part_named_file_is_found_among_others() {
        let body = form(&[("other", "1"), ("file", "picture"), ("file", "second")]);
        assert_eq!(read(TYPE, &body, 100).as_deref(), Some("picture"));
        assert_eq!(read(TYPE, &form(&[("files", "picture")]), 100), None);
    }

    #[test]
    fn a_form_that_is_cut_off_anywhere_has_no_file() {
        let body = form(&[("file", "picture")]);
        assert_eq!(read(TYPE, &body, 100).as_deref(), Some("picture"));
        for end in 0..body.len() - "--\r\n".len() {
            assert_eq!(read(TYPE, &body[..end], 100), None, "cut at {end} of {}", body.len());
        }
    }

    #[test]
    fn the_limit_is_the_largest_file() {
        let body = form(&[("file", "1234567")]);
        assert!(read(TYPE, &body, 7).is_some());
        assert!(read(TYPE, &body, 6).is_none());
    }

    #[test]
    fn boundaries() {
        for (content_type, expected) in [
            ("multipart/form-data; boundary=abc", Some("abc")),
            ("Multipart/Form-Data; charset=utf-8; Boundary=\"a b\"", Some("a b")),
            ("multipart/form-data", None),
            ("multipart/form-data; boundary=", None),
            ("multipart/mixed; boundary=abc", None),
            ("application/json", None),
        ] {
            assert_eq!(boundary(content_type).as_deref(), expected, "{content_type}");
        }
        assert!(boundary(&format!("multipart/form-data; boundary={}", "a".repeat(71))).is_none());
    }
}
