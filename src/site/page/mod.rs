//! The web page: its files, which are part of the program, and how they are served.

mod index;

use crate::config::Config;
use crate::http::encoding::prefers_gzip;
use crate::http::{self, Body, Headers, Reply};
use flate2::Compression;
use flate2::bufread::GzDecoder;
use flate2::write::GzEncoder;
use std::borrow::Cow;
use std::io::{Read, Write};

/// All modules of the page as one script, its style sheet and its icon, compressed (build.rs).
const SCRIPT: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/script.js.gz"));
const STYLE: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/style.css.gz"));
const ICON: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/icon.svg.gz"));

/// What a browser may do with the page: run its scripts, show its pictures and the one that is
/// being cropped, and send requests to this server. Inline scripts, other origins, frames, and text
/// as markup are forbidden.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; connect-src 'self'; \
     base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'";

/// Browsers ask each time whether their copy is current.
const CHECKED: &str = "no-cache";
/// A file whose name contains its digest never changes. A year is the longest time that caches keep
/// a file (RFC 9111, 1.2.2 asks for no more).
const FOREVER: &str = "public, max-age=31536000, immutable";

/// The files as they are sent.
pub struct Page(Vec<File>);

struct File {
    path: String,
    content_type: &'static str,
    cache: &'static str,
    /// Compressed by gzip.
    content: Cow<'static, [u8]>,
    digest: String,
}

impl File {
    fn new(
        path: &str,
        content_type: &'static str,
        cache: &'static str,
        content: Cow<'static, [u8]>,
    ) -> File {
        File {
            path: path.into(),
            content_type,
            cache,
            digest: http::digest(&content),
            content,
        }
    }

    /// A file whose name contains its digest, as in `/page/main-0123….js`.
    fn named(
        stem: &str,
        extension: &str,
        content_type: &'static str,
        content: &'static [u8],
    ) -> File {
        let path = format!("/page/{stem}-{}.{extension}", http::digest(content));
        File::new(&path, content_type, FOREVER, content.into())
    }
}

impl Page {
    /// The page of a server with this configuration.
    pub fn new(config: &Config) -> Page {
        let script = File::named("main", "js", "text/javascript; charset=utf-8", SCRIPT);
        let style = File::named("style", "css", "text/css; charset=utf-8", STYLE);
        let index = compress(&index::text(config, &script.path, &style.path));
        Page(vec![
            File::new("/", "text/html; charset=utf-8", CHECKED, index.into()),
            File::new("/page/icon.svg", "image/svg+xml", CHECKED, ICON.into()),
            script,
            style,
        ])
    }

    /// The reply to GET; `None` if the path has no file.
    pub fn serve(&self, path: &str, request: &Headers) -> Option<Reply> {
        let file = self.0.iter().find(|file| file.path == path)?;
        let is_compressed = prefers_gzip(&request.accept_encoding);
        // The two encodings of a file are two representations (RFC 9110, 8.8.3).
        let encoding = if is_compressed { "-gzip" } else { "" };
        let etag = format!("\"{}{encoding}\"", file.digest);
        let is_current = http::etag_matches(&request.if_none_match, &etag);
        let mut headers = vec![
            ("Content-Type", file.content_type.into()),
            ("ETag", etag.into()),
            ("Vary", "Accept-Encoding".into()),
            ("Cache-Control", file.cache.into()),
            ("Content-Security-Policy", POLICY.into()),
            ("Referrer-Policy", "no-referrer".into()),
            ("Cross-Origin-Opener-Policy", "same-origin".into()),
        ];
        if is_current {
            return Some(Reply::empty(304, headers));
        }
        let body = if is_compressed {
            headers.push(("Content-Encoding", "gzip".into()));
            file.content.clone()
        } else {
            decompress(&file.content).into()
        };
        Some(Reply {
            status: 200,
            code: None,
            headers,
            body: Body::Bytes(body),
        })
    }
}

fn compress(text: &str) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    let compressed = encoder
        .write_all(text.as_bytes())
        .and_then(|()| encoder.finish());
    compressed.expect("writing to memory succeeds")
}

fn decompress(compressed: &[u8]) -> Vec<u8> {
    let mut whole = Vec::new();
    let read = GzDecoder::new(compressed).read_to_end(&mut whole);
    read.expect("the file was compressed by us");
    whole
}

#[cfg(test)]
mod tests;
