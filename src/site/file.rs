//! A file that GET serves from memory, compressed by gzip.

use crate::http::encoding::{decompress, prefers_gzip};
use crate::http::{self, Body, Headers, Reply};
use std::borrow::Cow;

/// Browsers ask each time whether their copy is current.
pub(super) const CHECKED: &str = "no-cache";
/// A file whose name contains its digest never changes. A year is the longest time that caches keep
/// a file (RFC 9111, 1.2.2 asks for no more).
pub(super) const FOREVER: &str = "public, max-age=31536000, immutable";

/// A file and its headers.
pub(super) struct File {
    pub(super) path: String,
    pub(super) content_type: &'static str,
    pub(super) cache: &'static str,
    /// The headers of the request on which the reply depends.
    pub(super) vary: &'static str,
    /// The content security policy of a file of the page.
    pub(super) policy: Option<&'static str>,
    /// Compressed.
    pub(super) content: Cow<'static, [u8]>,
    pub(super) digest: String,
}

impl File {
    /// A file with this compressed content.
    pub(super) fn new(
        path: &str,
        content_type: &'static str,
        cache: &'static str,
        content: Cow<'static, [u8]>,
    ) -> File {
        File {
            path: path.into(),
            content_type,
            cache,
            vary: "Accept-Encoding",
            policy: None,
            digest: http::digest(&content),
            content,
        }
    }

    /// The reply to GET.
    pub(super) fn serve(&self, request: &Headers) -> Reply {
        let is_compressed = prefers_gzip(&request.accept_encoding);
        // The two encodings of a file are two representations (RFC 9110, 8.8.3).
        let encoding = if is_compressed { "-gzip" } else { "" };
        let etag = format!("\"{}{encoding}\"", self.digest);
        let is_current = http::etag_matches(&request.if_none_match, &etag);
        let mut headers = vec![
            ("Content-Type", self.content_type.into()),
            ("ETag", etag.into()),
            ("Vary", self.vary.into()),
            ("Cache-Control", self.cache.into()),
        ];
        if let Some(policy) = self.policy {
            headers.extend([
                ("Content-Security-Policy", policy.into()),
                ("Referrer-Policy", "no-referrer".into()),
                ("Cross-Origin-Opener-Policy", "same-origin".into()),
            ]);
        }
        if is_current {
            return Reply::empty(304, headers);
        }
        let body = if is_compressed {
            headers.push(("Content-Encoding", "gzip".into()));
            self.content.clone()
        } else {
            decompress(&self.content).into()
        };
        Reply {
            status: 200,
            code: None,
            headers,
            body: Body::Bytes(body),
        }
    }
}
