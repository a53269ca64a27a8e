//! The file that the setting `logo` names.

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// Extensions, media types, and the bytes with which files of the kind begin (W3C PNG 3, 5.2; ITU-T
/// T.81, B.2; RFC 9649, 2.4; GIF 89a, 17). An SVG file is a text.
const KINDS: [(&str, &str, &[u8]); 6] = [
    ("png", "image/png", b"\x89PNG\r\n\x1a\n"),
    ("jpg", "image/jpeg", b"\xFF\xD8\xFF"),
    ("jpeg", "image/jpeg", b"\xFF\xD8\xFF"),
    ("webp", "image/webp", b"RIFF"),
    ("gif", "image/gif", b"GIF8"),
    ("svg", "image/svg+xml", b""),
];

/// The largest logo in bytes. It stays in memory, and the page shows it 32 pixels wide.
pub const LARGEST: u64 = 65_536;

/// The row of a file's kind, by its extension.
fn kind(name: &str) -> Option<&'static (&'static str, &'static str, &'static [u8])> {
    let (_, extension) = name.rsplit_once('.')?;
    let mut kinds = KINDS.iter();
    kinds.find(|(one, ..)| extension.eq_ignore_ascii_case(one))
}

/// Whether a logo may have this name: one of a visible file in the data folder itself, with an
/// extension of `KINDS`. The longest name that Linux allows has 255 bytes.
pub fn is_name(name: &str) -> bool {
    let is_plain = |c: char| !c.is_control() && !matches!(c, '/' | '\\');
    name.len() <= 255
        && !name.starts_with('.')
        && name.chars().all(is_plain)
        && kind(name).is_some()
}

/// The media type and the content of a logo. The error is a sentence that names the file.
pub fn read(data: &Path, name: &str) -> Result<(&'static str, Vec<u8>), String> {
    let fault = |what: &str| format!("the logo {} {what}", data.join(name).display());
    let (_, content_type, start) = kind(name)
        .filter(|_| is_name(name))
        .ok_or_else(|| fault("has a name of another kind"))?;
    let file = open(data, name).map_err(|error| fault(&format!("cannot be read: {error}")))?;
    let mut content = Vec::new();
    file.take(LARGEST + 1)
        .read_to_end(&mut content)
        .map_err(|error| fault(&format!("cannot be read: {error}")))?;
    if content.len() as u64 > LARGEST {
        return Err(fault(&format!("is larger than {LARGEST} bytes")));
    }
    let is_svg = || std::str::from_utf8(&content).is_ok_and(|text| text.contains("<svg"));
    if !content.starts_with(start) || (start.is_empty() && !is_svg()) {
        return Err(fault("is a file of another kind than its name says"));
    }
    Ok((content_type, content))
}

/// Opens a logo, which must be a file itself: a symbolic link could lead out of the folder.
pub fn open(data: &Path, name: &str) -> io::Result<File> {
    let path = data.join(name);
    let named = fs::symlink_metadata(&path)?;
    let not_a_file = || io::Error::other("it is not a regular file");
    if !named.is_file() {
        return Err(not_a_file());
    }
    let file = File::open(&path)?;
    // Something else may have taken its place in between.
    let opened = file.metadata()?;
    if (opened.dev(), opened.ino()) != (named.dev(), named.ino()) {
        return Err(not_a_file());
    }
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn only_names_of_pictures_in_the_folder_itself_are_valid() {
        for (name, valid) in [
            ("logo.png", true),
            ("Logo of us.SVG", true),
            ("标志.webp", true),
            ("a.b.jpeg", true),
            ("config.json", false),
            ("accountd.db", false),
            ("png", false),
            (".png", false),
            ("../logo.png", false),
            ("avatars/logo.png", false),
            ("/etc/logo.png", false),
            ("a\\logo.png", false),
            ("a\nlogo.png", false),
            ("a\0.png", false),
            ("", false),
        ] {
            assert_eq!(is_name(name), valid, "{name:?}");
        }
        assert!(!is_name(&format!("{}.png", "a".repeat(252))));
    }

    #[test]
    fn a_logo_is_a_small_file_of_the_kind_that_its_name_says() {
        let data = std::env::temp_dir().join(format!(
            "accountd-logo-{}",
            crate::crypto::random_alphanumeric(10)
        ));
        fs::create_dir(&data).unwrap();
        let write = |name: &str, content: &[u8]| fs::write(data.join(name), content).unwrap();
        write("a.svg", b"<?xml version=\"1.0\"?><svg/>");
        write("b.jpeg", b"\xFF\xD8\xFF and more");
        write("html.svg", b"<html></html>");
        write("svg.png", b"<svg/>");
        write("empty.gif", b"");
        write(
            "large.svg",
            format!("<svg/>{}", " ".repeat(65_536)).as_bytes(),
        );
        symlink(data.join("a.svg"), data.join("link.svg")).unwrap();
        fs::create_dir(data.join("folder.png")).unwrap();
        assert_eq!(read(&data, "a.svg").unwrap().0, "image/svg+xml");
        assert_eq!(read(&data, "b.jpeg").unwrap().0, "image/jpeg");
        for (name, end) in [
            (
                "html.svg",
                "html.svg is a file of another kind than its name says",
            ),
            (
                "svg.png",
                "svg.png is a file of another kind than its name says",
            ),
            (
                "empty.gif",
                "empty.gif is a file of another kind than its name says",
            ),
            ("large.svg", "large.svg is larger than 65536 bytes"),
            (
                "link.svg",
                "link.svg cannot be read: it is not a regular file",
            ),
            (
                "folder.png",
                "folder.png cannot be read: it is not a regular file",
            ),
            (
                "none.png",
                "none.png cannot be read: No such file or directory (os error 2)",
            ),
            ("../a.svg", "../a.svg has a name of another kind"),
        ] {
            let error = read(&data, name).unwrap_err();
            assert!(error.ends_with(end), "{error}");
        }
        fs::remove_dir_all(data).unwrap();
    }
}
