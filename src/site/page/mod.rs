//! The web page: its files, which are part of the program, and how they are served.

mod index;

use crate::config::{Config, logo};
use crate::http::encoding::prefers_gzip;
use crate::http::{self, Body, Headers, Reply};
use crate::log::{self, Level};
use flate2::Compression;
use flate2::bufread::GzDecoder;
use flate2::write::GzEncoder;
use std::borrow::Cow;
use std::io::{Read, Write};
use std::path::Path;

/// All modules of the page as one script, its style sheet and its icon, compressed (build.rs).
const SCRIPT: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/script.js.gz"));
const STYLE: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/style.css.gz"));
const ICON: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/icon.svg.gz"));

/// What a browser may do with the page: run its scripts, show its pictures and the one that is
/// being cropped, and send requests to this server. Inline scripts, other origins, frames, and text
/// as markup are forbidden.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; connect-src 'self'; \
     base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'";

/// What a browser may do with a host's own logo, if it is opened by itself: nothing but show it. An
/// SVG file may have a style.
const LOGO_POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; sandbox";

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
    policy: &'static str,
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
            policy: POLICY,
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
    /// The page of a server with this data folder and configuration. Without a usable logo, the page
    /// has the icon in its place.
    pub fn new(data: &Path, config: &Config) -> Page {
        let script = File::named("main", "js", "text/javascript; charset=utf-8", SCRIPT);
        let style = File::named("style", "css", "text/css; charset=utf-8", STYLE);
        let icon = File::new("/page/icon.svg", "image/svg+xml", CHECKED, ICON.into());
        let logo = config.logo.as_deref().and_then(|name| own_logo(data, name));
        let shown = &logo.as_ref().unwrap_or(&icon).path;
        let index = index::text(config, &script.path, &style.path, shown);
        let index = compress(index.as_bytes());
        let mut files = vec![
            File::new("/", "text/html; charset=utf-8", CHECKED, index.into()),
            script,
            style,
            icon,
        ];
        files.extend(logo);
        Page(files)
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
            ("Content-Security-Policy", file.policy.into()),
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

/// The logo that the host has set. What is wrong with it is logged.
fn own_logo(data: &Path, name: &str) -> Option<File> {
    match logo::read(data, name) {
        Ok((content_type, content)) => Some(File {
            policy: LOGO_POLICY,
            ..File::new(
                "/page/logo",
                content_type,
                CHECKED,
                compress(&content).into(),
            )
        }),
        Err(fault) => {
            log::line(
                Level::Error,
                &format!("{fault}; the page shows accountd's own"),
            );
            None
        }
    }
}

fn compress(content: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    let compressed = encoder.write_all(content).and_then(|()| encoder.finish());
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
