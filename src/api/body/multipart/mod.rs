//! Uploads: reads the part `file` of a multipart body. Nothing else uses the crate `multipart`.

mod head;
mod parts;
mod pattern;

use crate::contract::{Reason, Refusal};
use multipart::server::Multipart;
use parts::Parts;
use std::io::{Read, Write};
use std::thread;

/// The most bytes of a form besides the file.
const MAX_OVERHEAD: u64 = 1024 * 1024;

/// Copies the part `file` of a form to `target` and returns its size in bytes.
///
/// # Errors [`Reason::FileUnusable`] with a detail if the part is missing or larger than `limit`
/// bytes, or if the form is malformed or incomplete; [`Reason::WriteFailed`] with the cause if
/// writing fails.
pub fn copy_file(
    content_type: &str,
    body: &mut dyn Read,
    limit: u64,
    target: &mut dyn Write,
) -> Result<u64, Refusal> {
    let boundary = boundary(content_type).map_err(Refusal::unusable)?;
    let mut parts = Parts::new(body, &boundary, limit + MAX_OVERHEAD);
    let copied = first_file(Multipart::with_body(&mut parts, boundary), limit, target);
    // An error of `parts` is the cause of the one that `multipart` reports.
    parts
        .error()
        .map_or(copied, |error| Err(Refusal::unusable(error)))
}

/// Refuses a form if its announced length implies a file of more than `limit` bytes.
pub fn check_length(announced: u64, limit: u64) -> Result<(), Refusal> {
    if announced > limit + MAX_OVERHEAD {
        Err(too_large(limit))
    } else {
        Ok(())
    }
}

fn first_file(
    mut form: Multipart<impl Read>,
    limit: u64,
    target: &mut dyn Write,
) -> Result<u64, Refusal> {
    let mut size = None;
    // Reads to the last part, since `multipart` does not report a truncated body before.
    while let Some(mut part) = form.read_entry().map_err(|_| unreadable())? {
        if size.is_none() && &*part.headers.name == "file" {
            size = Some(copy(&mut part.data, limit, target)?);
        }
    }
    size.ok_or_else(|| Refusal::unusable("the form has no part named `file`"))
}

fn copy(part: &mut dyn Read, limit: u64, target: &mut dyn Write) -> Result<u64, Refusal> {
    let mut buffer = [0; 16 * 1024];
    let mut size = 0;
    loop {
        // Short requests do not wait for an upload.
        thread::yield_now();
        let count = part.read(&mut buffer).map_err(|_| unreadable())?;
        if count == 0 {
            return Ok(size);
        }
        size += count as u64;
        if size > limit {
            return Err(too_large(limit));
        }
        let written = target.write_all(&buffer[..count]);
        written.map_err(|error| Refusal {
            cause: Some(error.to_string()),
            ..Reason::WriteFailed.into()
        })?;
    }
}

fn too_large(limit: u64) -> Refusal {
    Refusal::unusable(format!(
        "the file is larger than the limit of {limit} bytes"
    ))
}

fn unreadable() -> Refusal {
    Refusal::unusable("the form cannot be read")
}

/// The boundary in `multipart/form-data; boundary=…`: 1 to 70 characters (RFC 2046, 5.1.1),
/// possibly quoted.
fn boundary(content_type: &str) -> Result<String, &'static str> {
    let kind = content_type.split(';').next().unwrap_or_default();
    if !kind.trim().eq_ignore_ascii_case("multipart/form-data") {
        return Err("the Content-Type is not multipart/form-data");
    }
    let value = head::parameter(content_type.as_bytes(), "boundary")
        .ok_or("the Content-Type names no boundary")?;
    String::from_utf8(value)
        .ok()
        .filter(|value| (1..=70).contains(&value.len()))
        .filter(|value| value.bytes().all(|byte| (b' '..=b'~').contains(&byte) && byte != b'"'))
        .ok_or("the boundary in the Content-Type is not 1 to 70 printable ASCII characters without quotes")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io;

    const TYPE: &str = "multipart/form-data; boundary=XX";

    fn form(parts: &[(&str, &str)]) -> String {
        let part = |(name, text): &(&str, &str)| {
            format!(
                "--XX\r\nContent-Disposition: form-data; name=\"{name}\"; filename=\"a.png\"\r\n\r\n{text}\r\n"
            )
        };
        parts.iter().map(part).collect::<String>() + "--XX--\r\n"
    }

    fn read(content_type: &str, body: &str, limit: u64) -> Option<String> {
        let mut target = Vec::new();
        let size = copy_file(content_type, &mut body.as_bytes(), limit, &mut target).ok()?;
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
            assert_eq!(
                read(TYPE, &body[..end], 100),
                None,
                "cut at {end} of {}",
                body.len()
            );
        }
    }

    #[test]
    fn a_file_may_have_exactly_the_limit() {
        let body = form(&[("file", "1234567")]);
        assert!(read(TYPE, &body, 7).is_some());
        assert!(read(TYPE, &body, 6).is_none());
    }

    #[test]
    fn the_boundary_is_read_from_the_content_type() {
        for (content_type, expected) in [
            ("multipart/form-data; boundary=abc", Some("abc")),
            (
                "multipart/form-data;boundary=----=_Part_1;charset=utf-8",
                Some("----=_Part_1"),
            ),
            (
                "Multipart/Form-Data; charset=utf-8; Boundary=\"a b\"",
                Some("a b"),
            ),
            (
                "multipart/form-data; boundary = \"a;b=c\" ; charset=utf-8",
                Some("a;b=c"),
            ),
            (
                "multipart/form-data; x=\";boundary=c\"; boundary=abc",
                Some("abc"),
            ),
            ("multipart/form-data; boundary=\"abc", None),
            ("multipart/form-data; boundary=\"a\\\"c\"", None),
            ("multipart/form-data", None),
            ("multipart/form-data; boundary=", None),
            ("multipart/mixed; boundary=abc", None),
            ("application/json", None),
        ] {
            assert_eq!(
                boundary(content_type).ok().as_deref(),
                expected,
                "{content_type}"
            );
        }
        assert!(boundary(&format!("multipart/form-data; boundary={}", "a".repeat(71))).is_err());
    }

    /// Reads the form in pieces of this many bytes.
    fn in_pieces(body: &[u8], size: usize) -> Result<Vec<u8>, Refusal> {
        struct Pieces<'a>(&'a [u8], usize);
        impl Read for Pieces<'_> {
            fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
                let count = self.1.min(out.len());
                self.0.read(&mut out[..count])
            }
        }
        let mut target = Vec::new();
        copy_file(TYPE, &mut Pieces(body, size), 100_000, &mut target).map(|_| target)
    }

    /// A part with these headers, in which `\n` is a line break.
    fn part(headers: &[u8], data: &[u8]) -> Vec<u8> {
        let lines: Vec<&[u8]> = headers.split(|byte| *byte == b'\n').collect();
        [
            b"--XX\r\n",
            &*lines.join(&b"\r\n"[..]),
            b"\r\n\r\n",
            data,
            b"\r\n",
        ]
        .concat()
    }

    #[test]
    fn headers_are_read_as_clients_write_them() {
        let long = format!(
            "Content-Disposition: form-data; name=file; filename={}",
            "a".repeat(3000)
        );
        let many = "X-Header: a\n".repeat(40) + "Content-Disposition: form-data; name=file";
        for (headers, is_file) in [
            (&b"Content-Disposition: form-data; name=\"file\"; filename=\"a.png\"\nContent-Type: image/png"[..], true),
            (b"Content-Disposition: form-data; name=file", true),
            (b"Content-Disposition: form-data; name=\"file", true),
            (b"Content-Disposition: form-data; name=\"file\"\"; filename=a", true),
            (b"Content-Disposition: form-data; filename=\"\"; name=\"\"file\"\"", true),
            (b"Content-Disposition:form-data;name=\"file\";filename=\"a.png\"", true),
            (b"Content-Disposition: form-data ; filename=\"a.png\" ; name = \"file\" ", true),
            (b"content-disposition: FORM-DATA; FILENAME=\"a.png\"; NAME=\"file\"", true),
            (b"Content-Disposition: form-data; filename=\"name=b\"; name=\"file\"", true),
            (b"Content-Disposition: form-data; filename=\"; name=b\"; name=\"file\"", true),
            (b"Content-Disposition: form-data; filename=\"a\\\"; name=b\"; name=\"file\"", true),
            (b"Content-Disposition: form-data; filename=\"a\"b.png\"; name=\"file\"", true),
            (b"Content-Disposition: form-data; filename=\"C:\\a.png\"; name=\"file\"", true),
            (b"Content-Disposition: form-data; name=\"file\"; filename=\"C:\\\"", true),
            (b"Content-Disposition: form-data; filename=\"a%22; name=%22b\"; name=\"file\"", true),
            // The second byte of the last character is a backslash in GBK.
            (b"Content-Disposition: form-data; filename=\"\xc4\xe3\xd5\x5c\"; name=\"file\"", true),
            (b"Content-Disposition: form-data; name=\"file\"; filename=\"\xc4\xe3.png\"\nX: \xc4\xe3", true),
            (b"Content-Disposition: form-data; name=\"file\"; filename*=UTF-8''%e4%bd%a0.png", true),
            (b"Content-Disposition: form-data; name*=UTF-8''b; name=file", true),
            (b"Content-Disposition: form-data;\n\tname=\"file\";\n filename=\"a.png\"", true),
            (b"Content-Type:\nContent-Disposition: form-data; name=file", true),
            (b"Content-Type: image/png;\n name=\"a.png\"\nContent-Disposition: form-data; name=file", true),
            (b"Content-Type: no type\nContent-Disposition: form-data; name=file", true),
            (b"A: 1\nB: 2\nContent-Disposition: form-data; name=file\nC: 3\nContent-Type: image/png", true),
            (long.as_bytes(), true),
            (many.as_bytes(), true),
            (b"Content-Disposition: form-data; name=\"a\"; filename=\"file\"", false),
            (b"Content-Disposition: form-data; filename=\"file\"; name=\"a\"", false),
            (b"Content-Disposition: form-data; filename=\"a\"; x=\"; name=file\"; name=\"b\"", false),
            (b"Content-Disposition: form-data; name=\"a\"\nContent-Disposition: form-data; name=\"file\"", false),
            (b"Content-Disposition: form-data; name=\"File\"", false),
            (b"Content-Disposition: form-data; name=\"file \"", false),
            (b"Content-Disposition: form-data; name=\"fi\\le\"", false),
            (b"Content-Disposition: form-data; name=\"%66ile\"", false),
            (b"Content-Disposition: form-data; name=\"\\\"file\\\"\"", false),
            (b"Content-Disposition: form-data; name=\"file\"x", false),
            (b"Content-Disposition: form-data; name=\"\"", false),
            (b"Content-Type: image/png;\n name=\"file\"\nContent-Disposition: form-data; name=a", false),
        ] {
            let body = [&part(headers, b"picture")[..], b"--XX--"].concat();
            for size in [1, 7, body.len()] {
                let read = in_pieces(&body, size);
                let expected = if is_file { Ok(&b"picture"[..]) } else { Err("the form has no part named `file`") };
                let read = read.as_deref().map_err(|refusal| refusal.detail.as_deref().unwrap());
                assert_eq!(read, expected, "{}", String::from_utf8_lossy(headers));
            }
        }
    }

    #[test]
    fn header_lines_may_end_with_a_line_feed_alone() {
        let body = b"--XX\r\nContent-Disposition: form-data;\n name=file\n\npicture\r\n--XX--";
        assert_eq!(in_pieces(body, 9).unwrap(), b"picture");
    }

    #[test]
    fn malformed_headers_of_a_part_are_refused() {
        for (headers, detail) in [
            (&b""[..], "a part has no Content-Disposition"),
            (
                b"Content-Type: image/png",
                "a part has no Content-Disposition",
            ),
            (
                b"Content-Disposition: attachment; name=file",
                "the Content-Disposition of a part is not form-data",
            ),
            (b"Content-Disposition: form-data", "a part has no name"),
            (
                b"Content-Disposition: form-data; filename=file",
                "a part has no name",
            ),
            (
                b"Content-Disposition form-data; name=file",
                "a part has a malformed header",
            ),
            (
                b"Content-Disposition : form-data; name=file",
                "a part has a malformed header",
            ),
            (
                b" Content-Disposition: form-data; name=file",
                "a part has a malformed header",
            ),
            (
                b"Content-Disposition: form-data; name=file\nme",
                "a part has a malformed header",
            ),
            (
                b"Content-Disposition: form-data; name=file\n: a",
                "a part has a malformed header",
            ),
            (
                b"Content-Disposition: form-data; name=file\nX: \0",
                "a part has a malformed header",
            ),
            (
                b"Content-Disposition: form-data; name=file\n--XX",
                "the headers of a part do not end with an empty line",
            ),
            (&[b'a'; 9000], "a part has more than 8192 bytes of headers"),
        ] {
            let body = [&part(headers, b"picture")[..], b"--XX--"].concat();
            for size in [1, 7, body.len()] {
                let refusal = in_pieces(&body, size).unwrap_err();
                let headers = String::from_utf8_lossy(headers);
                assert_eq!(
                    (refusal.reason, refusal.detail.as_deref()),
                    (Reason::FileUnusable, Some(detail)),
                    "{headers}"
                );
            }
        }
    }

    #[test]
    fn every_byte_of_a_file_is_copied_whatever_the_size_of_the_reads() {
        let other = part(b"Content-Disposition: form-data; name=\"a\"", b"text");
        let headers = b"Content-Disposition: form-data; name=\"file\"";
        // Parts of a boundary, and line breaks at the ends of buffers.
        let tricky = b"\r\n--X\r\n--\r\r\n\n--X-\r\n".repeat(2000);
        for data in [
            &b""[..],
            b"\r\n",
            b"\r",
            b"-",
            b"--X",
            &[b'\r'; 20_000],
            &tricky,
        ] {
            for padding in [&b""[..], b" ", b" \t \t"] {
                let padded = part(headers, data);
                let padded = [b"--XX", padding, &padded[4..]].concat();
                let body = [
                    b"a preamble\r\n",
                    &other[..],
                    &padded,
                    &other,
                    b"--XX--\r\nan epilogue",
                ]
                .concat();
                for size in [1, 2, 3, 1023, 1024, 8191, body.len()] {
                    assert!(
                        in_pieces(&body, size).unwrap() == data,
                        "{} bytes in pieces of {size}",
                        data.len()
                    );
                }
            }
        }
        for boundary in [
            &b"--XXX\r\n"[..],
            b"--XX-\r\n",
            b"--XX\n",
            b"--XX a\r\n",
            b"--XX\r\r\n",
        ] {
            let body = [boundary, &part(headers, b"picture")[6..], b"--XX--"].concat();
            let detail = in_pieces(&body, 5).unwrap_err().detail.unwrap();
            assert_eq!(detail, "unexpected text follows a boundary on its line");
        }
    }

    #[test]
    fn each_refused_form_has_its_detail() {
        let whole = form(&[("file", "picture")]);
        let many = form(&[("a", "b"); 20_000]);
        for (content_type, body, detail) in [
            (
                "application/json",
                "{}",
                "the Content-Type is not multipart/form-data",
            ),
            (
                "multipart/form-data",
                &*whole,
                "the Content-Type names no boundary",
            ),
            (TYPE, "", "the body is empty"),
            (
                TYPE,
                "something",
                "the boundary that the Content-Type names is not in the body of 9 bytes",
            ),
            (
                TYPE,
                &whole[..20],
                "the body ended after 20 bytes, before the last boundary of the form",
            ),
            (
                TYPE,
                &whole[..whole.len() - 10],
                "the body ended after 78 bytes, before the last boundary of the form",
            ),
            (
                TYPE,
                &form(&[("a", "b")]),
                "the form has no part named `file`",
            ),
            (TYPE, &whole, "the file is larger than the limit of 6 bytes"),
            (
                TYPE,
                &many,
                "the form is larger than the limit of 1048582 bytes",
            ),
        ] {
            let refusal =
                copy_file(content_type, &mut body.as_bytes(), 6, &mut Vec::new()).unwrap_err();
            assert_eq!(
                (refusal.reason, refusal.cause, refusal.detail.as_deref()),
                (Reason::FileUnusable, None, Some(detail))
            );
        }
    }

    #[test]
    fn a_connection_error_and_a_full_disk_have_different_reasons() {
        struct Broken;
        impl Read for Broken {
            fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
                Err(io::ErrorKind::TimedOut.into())
            }
        }
        impl Write for Broken {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(io::ErrorKind::StorageFull.into())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let whole = form(&[("file", "picture")]);
        let refusal = copy_file(
            TYPE,
            &mut whole.as_bytes()[..50].chain(Broken),
            100,
            &mut Vec::new(),
        )
        .unwrap_err();
        assert_eq!(
            (refusal.reason, refusal.detail.as_deref()),
            (
                Reason::FileUnusable,
                Some("the body broke off after 50 bytes")
            )
        );
        let refusal = copy_file(TYPE, &mut whole.as_bytes(), 100, &mut Broken).unwrap_err();
        assert_eq!(
            (refusal.reason, refusal.cause.is_some(), refusal.detail),
            (Reason::WriteFailed, true, None)
        );
    }
}
