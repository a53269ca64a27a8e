//! The web page: its files, which are part of the program, and how they are served.

mod index;

use super::file::{CHECKED, FOREVER, File};
use crate::config::{Config, logo};
use crate::http::encoding::{compress, joined};
use crate::http::{self, Headers, Reply};
use crate::log::{self, Level};
use std::path::Path;

/// All modules of the page as one script, its style sheet and its icon, compressed (build.rs).
const SCRIPT: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/script.js.gz"));
const STYLE: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/style.css.gz"));
const ICON: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/icon.svg.gz"));
/// The texts of each language, and the page from `<main>` on with these texts.
const ENGLISH: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/en.json.gz"));
const CHINESE: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/zh.json.gz"));
const ENGLISH_PAGE: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/rest-en.html.gz"));
const CHINESE_PAGE: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/rest-zh.html.gz"));

/// What a browser may do with the page: run its scripts, show its pictures and the one that is
/// being cropped, and send requests to this server. Inline scripts, other origins, frames, and text
/// as markup are forbidden.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; connect-src 'self'; \
     base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'";

/// What a browser may do with a host's own logo, if it is opened by itself: nothing but show it. An
/// SVG file may have a style.
const LOGO_POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; sandbox";

/// The page at `/` and its files.
pub struct Page {
    english: File,
    chinese: File,
    files: Vec<File>,
}

impl Page {
    /// The page of a server with this data folder and configuration. Without a usable logo, the page
    /// has the icon in its place.
    pub fn new(data: &Path, config: &Config) -> Page {
        let script = named("main", "js", "text/javascript; charset=utf-8", SCRIPT);
        let style = named("style", "css", "text/css; charset=utf-8", STYLE);
        let en = named("en", "json", "application/json", ENGLISH);
        let zh = named("zh", "json", "application/json", CHINESE);
        let icon = File::new("/page/icon.svg", "image/svg+xml", CHECKED, ICON.into());
        let logo = config.logo.as_deref().and_then(|name| own_logo(data, name));
        let logo_path = &logo.as_ref().unwrap_or(&icon).path;
        // Each carries the texts of its language, so that the page needs no further request.
        let index = |language, rest, other: &File| {
            let paths = [
                ("script", &*script.path),
                ("style", &style.path),
                ("other", &other.path),
                ("logo", logo_path),
            ];
            let head = index::head(config, language, &paths);
            let content = joined(head.as_bytes(), rest).into();
            let mut file = File::new("/", "text/html; charset=utf-8", CHECKED, content);
            file.policy = Some(POLICY);
            file.vary = "Accept-Encoding, Accept-Language";
            file
        };
        let (english, chinese) = (
            index("en", ENGLISH_PAGE, &zh),
            index("zh-CN", CHINESE_PAGE, &en),
        );
        let mut files = vec![script, style, icon, en, zh];
        for file in &mut files {
            file.policy = Some(POLICY);
        }
        files.extend(logo);
        Page {
            english,
            chinese,
            files,
        }
    }

    /// The reply to GET; `None` if the path has no file.
    pub fn serve(&self, path: &str, request: &Headers) -> Option<Reply> {
        let file = match path {
            "/" if request.prefers_chinese => &self.chinese,
            "/" => &self.english,
            _ => self.files.iter().find(|file| file.path == path)?,
        };
        Some(file.serve(request))
    }
}

/// A file whose name contains its digest, as in `/page/main-0123….js`.
fn named(stem: &str, extension: &str, content_type: &'static str, content: &'static [u8]) -> File {
    // Half of the digest tells the builds apart.
    let digest = &http::digest(content)[..16];
    let path = format!("/page/{stem}-{digest}.{extension}");
    File::new(&path, content_type, FOREVER, content.into())
}

/// The logo that the host has set. What is wrong with it is logged.
fn own_logo(data: &Path, name: &str) -> Option<File> {
    match logo::read(data, name) {
        Ok((content_type, content)) => {
            let content = compress(&content).into();
            let mut file = File::new("/page/logo", content_type, CHECKED, content);
            file.policy = Some(LOGO_POLICY);
            Some(file)
        }
        Err(fault) => {
            log::line(
                Level::Error,
                &format!("{fault}; the page shows accountd's own"),
            );
            None
        }
    }
}

#[cfg(test)]
mod bundle;
#[cfg(test)]
mod tests;
