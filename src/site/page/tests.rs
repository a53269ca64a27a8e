//! Tests of the page's files as they are sent.
#![cfg(test)]

use super::*;
use crate::http::Body;
use crate::http::encoding::decompress;
use std::path::Path;

fn page() -> Page {
    let (config, _) = crate::config::load(Path::new("/nowhere"), &|_| None, &[]).unwrap();
    Page::new(Path::new("/nowhere"), &config)
}

fn all(page: &Page) -> impl Iterator<Item = &File> {
    page.files.iter().chain([&page.english])
}

fn ask(page: &Page, path: &str, accept_encoding: &str, if_none_match: &str) -> Reply {
    let mut headers = Headers::default();
    headers.accept_encoding = accept_encoding.into();
    headers.if_none_match = if_none_match.into();
    page.serve(path, &headers).unwrap()
}

fn header<'a>(reply: &'a Reply, name: &str) -> Option<&'a str> {
    let found = reply.headers.iter().find(|(one, _)| *one == name);
    found.map(|(_, value)| &**value)
}

fn bytes(reply: &Reply) -> &[u8] {
    let Body::Bytes(bytes) = &reply.body else {
        panic!("not in memory")
    };
    bytes
}

#[test]
fn both_encodings_are_the_same_file_under_different_tags() {
    let page = page();
    for file in all(&page) {
        let compressed = ask(&page, &file.path, "gzip", "");
        let whole = ask(&page, &file.path, "", "");
        assert_eq!(header(&compressed, "Content-Encoding"), Some("gzip"));
        assert_eq!(header(&whole, "Content-Encoding"), None);
        assert_eq!(
            decompress(bytes(&compressed)),
            bytes(&whole),
            "{}",
            file.path
        );
        assert_ne!(header(&compressed, "ETag"), header(&whole, "ETag"));
        for reply in [&compressed, &whole] {
            assert!(
                header(reply, "Vary")
                    .unwrap()
                    .starts_with("Accept-Encoding")
            );
        }
    }
}

#[test]
fn a_copy_is_current_only_in_the_encoding_that_the_client_asks_for() {
    let page = page();
    for file in all(&page) {
        let tag = |encoding| {
            header(&ask(&page, &file.path, encoding, ""), "ETag")
                .unwrap()
                .to_string()
        };
        for (encoding, other) in [("gzip", ""), ("", "gzip")] {
            let current = ask(&page, &file.path, encoding, &tag(encoding));
            assert_eq!((current.status, bytes(&current).len()), (304, 0));
            for name in ["ETag", "Vary", "Cache-Control"] {
                let whole = ask(&page, &file.path, encoding, "");
                assert_eq!(header(&current, name), header(&whole, name), "{name}");
            }
            assert_eq!(ask(&page, &file.path, encoding, &tag(other)).status, 200);
        }
    }
}

#[test]
fn the_page_names_its_script_and_style_which_never_change() {
    let page = page();
    let whole = ask(&page, "/", "", "");
    let index = String::from_utf8(bytes(&whole).to_vec()).unwrap();
    assert_eq!(header(&whole, "Cache-Control"), Some("no-cache"));
    for file in &page.files[..2] {
        assert!(
            index.contains(&format!("\"{}\"", &file.path[1..])),
            "{}",
            file.path
        );
        assert!(file.path.contains(&file.digest[..16]));
        let cache = header(&ask(&page, &file.path, "gzip", ""), "Cache-Control").map(String::from);
        assert_eq!(
            cache.as_deref(),
            Some("public, max-age=31536000, immutable")
        );
    }
    assert!(
        page.serve("/page/main-0123456789abcdef.js", &Headers::default())
            .is_none()
    );
}
