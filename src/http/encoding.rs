//! The headers `Accept-Encoding` and `Accept-Language`, and gzip.

use flate2::bufread::GzDecoder;
use flate2::write::{DeflateEncoder, GzEncoder};
use flate2::{Compression, Crc};
use std::io::{Read, Write};

/// Whether a client prefers a body compressed by gzip (RFC 9110, 12.5.3). A client without the
/// header, and one whose header cannot be read, gets the body as it is.
pub fn prefers_gzip(accept_encoding: &str) -> bool {
    let weight = |wanted: &[&str]| {
        let mut items = accept_encoding.split(',').map(|item| item.split(';'));
        items.find_map(|mut item| {
            let name = item.next()?.trim();
            let is_wanted = wanted.iter().any(|one| name.eq_ignore_ascii_case(one));
            is_wanted.then(|| item.next().map_or(1.0, quality))
        })
    };
    // `x-gzip` is an old name of gzip (RFC 9110, 8.4.1.3).
    let gzip = weight(&["gzip", "x-gzip"]).or_else(|| weight(&["*"]));
    let as_it_is = weight(&["identity"]).unwrap_or(0.0);
    gzip.is_some_and(|gzip| gzip > 0.0 && gzip >= as_it_is)
}

/// Whether a client prefers Chinese to English. Browsers list languages in the order of preference,
/// so their weights are not read.
pub fn prefers_chinese(accept_language: &str) -> bool {
    let tags = accept_language.split(',').map(str::trim_start);
    let primary = tags.map(|tag| tag.split(['-', ';', ' ']).next().unwrap_or_default());
    let is = |tag: &str, language| tag.eq_ignore_ascii_case(language);
    let mut known = primary.filter(|tag| is(tag, "zh") || is(tag, "en"));
    known.next().is_some_and(|tag| is(tag, "zh"))
}

/// The number of `q=0.5`; 0 if it is malformed.
fn quality(parameter: &str) -> f32 {
    let parameter = parameter.trim();
    let number = parameter
        .strip_prefix("q=")
        .or_else(|| parameter.strip_prefix("Q="));
    let number = number.and_then(|number| number.parse().ok());
    number
        .filter(|number| (0.0..=1.0).contains(number))
        .unwrap_or(0.0)
}

/// Compresses by gzip.
pub fn compress(content: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    let compressed = encoder.write_all(content).and_then(|()| encoder.finish());
    compressed.expect("writing to memory succeeds")
}

/// A compressed file that begins with a text, and goes on with a file that build.rs has compressed
/// better than would be possible while a server starts.
pub fn joined(text: &[u8], rest: &[u8]) -> Vec<u8> {
    // The header and the trailer of gzip (RFC 1952, 2.3).
    let (header, compressed) = rest.split_at(10);
    let compressed = &compressed[..compressed.len() - 8];
    let mut encoder = DeflateEncoder::new(header.to_vec(), Compression::best());
    // A flush ends the text on the boundary of a byte.
    let flushed = encoder.write_all(text).and_then(|()| encoder.flush());
    flushed.expect("writing to memory succeeds");
    let mut check = Crc::new();
    check.update(text);
    check.update(&decompress(rest));
    [
        encoder.get_ref(),
        compressed,
        &check.sum().to_le_bytes(),
        &check.amount().to_le_bytes(),
    ]
    .concat()
}

/// What [`compress`] or build.rs has compressed.
pub fn decompress(compressed: &[u8]) -> Vec<u8> {
    let mut whole = Vec::new();
    let read = GzDecoder::new(compressed).read_to_end(&mut whole);
    read.expect("the content was compressed by us");
    whole
}

/// A text that build.rs has compressed.
pub fn decompress_text(compressed: &[u8]) -> String {
    String::from_utf8(decompress(compressed)).expect("build.rs compresses texts")
}

#[cfg(test)]
mod tests {
    use super::{prefers_chinese, prefers_gzip};

    #[test]
    fn the_first_language_that_the_page_has_is_preferred() {
        for (header, expected) in [
            ("", false),
            ("*", false),
            ("zh", true),
            ("zh-CN,zh;q=0.9,en;q=0.8", true),
            ("ZH-hant-TW", true),
            ("en-US,en;q=0.5,zh;q=0.3", false),
            ("de, fr;q=0.9, zh;q=0.8, en;q=0.7", true),
            ("de,zha", false),
            ("zh;q=1", true),
        ] {
            assert_eq!(prefers_chinese(header), expected, "{header}");
        }
    }

    #[test]
    fn gzip_is_sent_only_to_clients_that_prefer_it() {
        for (header, expected) in [
            ("gzip, deflate, br, zstd", true),
            ("br, GZIP", true),
            ("x-gzip", true),
            ("*", true),
            ("deflate, *;q=0.1", true),
            ("gzip;q=0.5", true),
            ("gzip ; q=0.001", true),
            ("gzip;q=0.5, identity;q=0.5", true),
            ("identity;q=0, gzip", true),
            ("", false),
            ("identity", false),
            ("br, deflate", false),
            ("gzip;q=0", false),
            ("gzip;q=0.000, *", false),
            ("*;q=0", false),
            ("gzip;q=0.5, identity", false),
            ("gzip;q=", false),
            ("gzip;q=2", false),
            ("gzip;q=-1", false),
            ("gzip;q=NaN", false),
            ("gzipped", false),
            (",;,=;q", false),
        ] {
            assert_eq!(prefers_gzip(header), expected, "{header}");
        }
    }
}
