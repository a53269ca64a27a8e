//! Removes the metadata from uploaded pictures.
//!
//! Pixels are neither decoded nor encoded. Each format is read block by block, and only blocks that
//! are known to be needed to show the picture are kept.

mod exif;
mod gif;
mod icc;
mod jpeg;
mod png;
mod scanner;
mod webp;

use std::borrow::Cow;

/// The longest side of a picture, in pixels: the limit of textures on common graphics hardware, and
/// one more than the limit of WebP.
pub const MAX_SIDE: u32 = 16_384;

/// The most pixels of a picture: more than the usual 50 million of a phone camera. A viewer that
/// decodes to four bytes per pixel needs at most 256 MB.
pub const MAX_PIXELS: u64 = 64_000_000;

/// The format of a picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// ITU-T T.81, usually within JFIF or EXIF.
    Jpeg,
    /// Portable Network Graphics, animated or not.
    Png,
    /// GIF 87a or 89a, animated or not.
    Gif,
    /// WebP, lossy, lossless or animated.
    WebP,
}

/// Each format with its extension and its media type.
const KINDS: [(Kind, &str, &str); 4] = [
    (Kind::Jpeg, "jpg", "image/jpeg"),
    (Kind::Png, "png", "image/png"),
    (Kind::Gif, "gif", "image/gif"),
    (Kind::WebP, "webp", "image/webp"),
];

/// The brands of AVIF (AVIF 1.1, 5), and of HEIF with the codecs that phones use (ISO/IEC 23008-12,
/// B.4 and 10).
const AVIF: [&[u8; 4]; 2] = [b"avif", b"avis"];
const HEIF: [&[u8; 4]; 10] = [
    b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs", b"mif1", b"msf1",
];

impl Kind {
    /// The extension of a file name, without the dot.
    pub fn extension(self) -> &'static str {
        KINDS[self as usize].1
    }

    /// The media type, for the `Content-Type` header.
    pub fn content_type(self) -> &'static str {
        KINDS[self as usize].2
    }

    /// The format with this [`Kind::extension`].
    pub fn from_extension(extension: &str) -> Option<Kind> {
        let (kind, ..) = KINDS.iter().find(|row| row.1 == extension)?;
        Some(*kind)
    }
}

/// A picture without metadata.
#[derive(Debug)]
pub struct Picture<'a> {
    /// The format, by the content alone.
    pub kind: Kind,
    /// The stored width in pixels, before the orientation is applied.
    pub width: u32,
    /// The stored height in pixels, before the orientation is applied.
    pub height: u32,
    /// The cleaned file, in pieces to be written one after the other.
    pub pieces: Vec<Cow<'a, [u8]>>,
}

/// Recognises a picture by its first bytes and removes its metadata: place, time, device, names,
/// comments, thumbnails, and the texts of a colour profile. Pixels, colours, animation and
/// orientation stay. The error is a sentence for the client.
pub fn read(bytes: &[u8]) -> Result<Picture<'_>, &'static str> {
    match bytes {
        [0xFF, 0xD8, 0xFF, ..] => jpeg::read(bytes),
        [b'G', b'I', b'F', b'8', b'7' | b'9', b'a', ..] => gif::read(bytes),
        [
            b'R',
            b'I',
            b'F',
            b'F',
            _,
            _,
            _,
            _,
            b'W',
            b'E',
            b'B',
            b'P',
            ..,
        ] => webp::read(bytes),
        _ if bytes.starts_with(png::SIGNATURE) => png::read(bytes),
        _ => Err(unknown(bytes)),
    }
}

/// The error for a file of another format. It names the two formats of phone cameras that not every
/// browser shows.
fn unknown(file: &[u8]) -> &'static str {
    let brands = brands(file).unwrap_or_default();
    let has = |known: &[&[u8; 4]]| brands.iter().any(|brand| known.contains(&brand));
    if has(&AVIF) {
        "the picture is in the format AVIF: convert it to JPEG or PNG"
    } else if has(&HEIF) {
        "the picture is in the format HEIC: convert it to JPEG or PNG"
    } else {
        "the file is not a JPEG, PNG, GIF or WebP picture"
    }
}

/// The brands in the first box of a file in the family of MP4 (ISO/IEC 14496-12, 4.3): the major
/// brand, its version, and the compatible brands.
fn brands(file: &[u8]) -> Option<&[[u8; 4]]> {
    let (&length, rest) = file.split_first_chunk()?;
    let length = usize::try_from(u32::from_be_bytes(length))
        .ok()?
        .clamp(4, file.len());
    let brands = rest[..length - 4].strip_prefix(b"ftyp")?;
    Some(brands.as_chunks().0)
}

/// Refuses a picture, or a frame of one, that is empty or too large.
fn check_size(width: u32, height: u32) -> Result<(), &'static str> {
    if width == 0 || height == 0 {
        Err("the picture has no width or no height")
    } else if width.max(height) > MAX_SIDE || u64::from(width) * u64::from(height) > MAX_PIXELS {
        Err("the picture has too many pixels: at most 64,000,000 in all and 16,384 on a side")
    } else {
        Ok(())
    }
}

/// The cleaned file in one buffer.
#[cfg(test)]
fn cleaned(file: &[u8]) -> Result<Vec<u8>, &'static str> {
    read(file).map(|picture| picture.pieces.concat())
}

/// Whether `file` contains `needle`.
#[cfg(test)]
fn contains(file: &[u8], needle: &[u8]) -> bool {
    file.windows(needle.len()).any(|window| window == needle)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Pictures with many kinds of metadata, with their format and size.
    const SAMPLES: [(&[u8], Kind, u32, u32); 8] = [
        (
            include_bytes!("../../../tests/pictures/progressive-gps.jpg"),
            Kind::Jpeg,
            48,
            32,
        ),
        (
            include_bytes!("../../../tests/pictures/adobe-cmyk.jpg"),
            Kind::Jpeg,
            16,
            11,
        ),
        (
            include_bytes!("../../../tests/pictures/text-exif.png"),
            Kind::Png,
            16,
            12,
        ),
        (
            include_bytes!("../../../tests/pictures/animated.png"),
            Kind::Png,
            8,
            6,
        ),
        (
            include_bytes!("../../../tests/pictures/animated-comment.gif"),
            Kind::Gif,
            16,
            12,
        ),
        (
            include_bytes!("../../../tests/pictures/lossy-exif.webp"),
            Kind::WebP,
            48,
            32,
        ),
        (
            include_bytes!("../../../tests/pictures/lossless-exif.webp"),
            Kind::WebP,
            12,
            8,
        ),
        (
            include_bytes!("../../../tests/pictures/animated-exif.webp"),
            Kind::WebP,
            16,
            12,
        ),
    ];

    /// Checks that cleaning a cleaned file changes nothing. The file may be malformed.
    fn check_idempotent(file: &[u8]) {
        if let Ok(once) = cleaned(file) {
            assert_eq!(cleaned(&once).as_ref(), Ok(&once));
        }
    }

    #[test]
    fn each_format_has_its_row_in_the_table() {
        for (index, (kind, extension, content_type)) in KINDS.into_iter().enumerate() {
            assert_eq!(kind as usize, index);
            assert_eq!(kind.extension(), extension);
            assert_eq!(kind.content_type(), content_type);
            assert_eq!(Kind::from_extension(extension), Some(kind));
        }
        assert_eq!(Kind::from_extension("svg"), None);
    }

    #[test]
    fn samples_are_recognised_and_cleaned() {
        for (file, kind, width, height) in SAMPLES {
            let picture = read(file).unwrap();
            assert_eq!(
                (picture.kind, picture.width, picture.height),
                (kind, width, height)
            );
            let clean = picture.pieces.concat();
            for metadata in [&b"made at home"[..], b"JaneDoe", b"Secret", b"xmp"] {
                assert!(!contains(&clean, metadata));
            }
            check_idempotent(file);
        }
    }

    #[test]
    fn data_after_the_picture_is_removed() {
        for (file, ..) in SAMPLES {
            let longer = [file, b"\0\0\0\x18ftypmp42 a motion photo"].concat();
            assert_eq!(cleaned(&longer), cleaned(file));
        }
    }

    #[test]
    fn other_files_are_refused() {
        for file in [
            &b""[..],
            b"\xff\xd8",
            b"<svg/>",
            b"BM",
            b"GIF88a",
            b"RIFF\x04\0\0\0WAVE",
        ] {
            assert_eq!(
                cleaned(file),
                Err("the file is not a JPEG, PNG, GIF or WebP picture")
            );
        }
    }

    #[test]
    fn the_formats_of_phone_cameras_are_refused_by_name() {
        let file = |brands: &[u8]| {
            let length = 8 + brands.len() as u32;
            [
                &length.to_be_bytes(),
                &b"ftyp"[..],
                brands,
                b"\0\0\0\x08avif",
            ]
            .concat()
        };
        for (brands, name) in [
            (&b"heic\0\0\0\0mif1heic"[..], "HEIC"),
            (b"mif1\0\0\0\0heic", "HEIC"),
            (b"hevc\0\0\0\0", "HEIC"),
            (b"avif\0\0\0\0mif1", "AVIF"),
            (b"mif1\0\0\0\0mif1avif", "AVIF"),
            (b"avis", "AVIF"),
            (b"isom\0\0\0\0mp42", "file"),
            (b"", "file"),
        ] {
            assert!(
                cleaned(&file(brands)).unwrap_err().contains(name),
                "{brands:?}"
            );
        }
        for length in [0, 1, 4, 7, u32::MAX] {
            assert!(
                cleaned(&[&length.to_be_bytes(), &b"ftyp"[..]].concat())
                    .unwrap_err()
                    .contains("file")
            );
        }
    }

    #[test]
    fn the_error_for_a_large_picture_states_the_limits() {
        let error = check_size(MAX_SIDE + 1, 1).unwrap_err().replace(',', "");
        assert!(
            error.contains(&MAX_PIXELS.to_string()) && error.contains(&MAX_SIDE.to_string()),
            "{error}"
        );
    }

    #[test]
    fn sizes_are_bounded() {
        for (width, height) in [(1, 1), (MAX_SIDE, 3_906), (8_000, 8_000)] {
            assert_eq!(check_size(width, height), Ok(()));
        }
        for (width, height) in [
            (0, 1),
            (1, 0),
            (MAX_SIDE + 1, 1),
            (1, MAX_SIDE + 1),
            (8_000, 8_001),
            (50_000, 50_000),
            (u32::MAX, u32::MAX),
        ] {
            assert!(check_size(width, height).is_err());
        }
    }

    #[test]
    fn truncated_files_do_not_panic() {
        for (file, ..) in SAMPLES {
            for end in 0..file.len() {
                check_idempotent(&file[..end]);
            }
        }
    }

    #[test]
    fn mutated_files_do_not_panic() {
        for (file, ..) in SAMPLES {
            let mut mutated = file.to_vec();
            for (at, &byte) in file.iter().enumerate() {
                for value in [0, 0xFF, byte.wrapping_add(1)] {
                    mutated[at] = value;
                    check_idempotent(&mutated);
                }
                mutated[at] = byte;
            }
        }
    }

    #[test]
    fn the_built_in_picture_has_no_metadata() {
        let file = include_bytes!("../avatar/admin.jpg");
        let picture = read(file).unwrap();
        assert_eq!((picture.width, picture.height), (256, 256));
        assert_eq!(picture.pieces.concat(), file);
    }
}
