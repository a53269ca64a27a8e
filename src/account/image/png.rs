//! Cleans a PNG file: keeps the chunks that are needed to show the picture.

use super::scanner::Scanner;
use super::{Kind, Picture, check_size, exif, icc};
use flate2::Compression;
use flate2::read::{ZlibDecoder, ZlibEncoder};
use std::io::Read;

/// The first bytes of every PNG file.
pub(super) const SIGNATURE: &[u8] = b"\x89PNG\r\n\x1a\n";

/// The length of the signature and the whole IHDR chunk.
const HEADER: usize = 33;

/// The chunks that are kept besides IHDR, IDAT, IEND and iCCP (PNG, third edition, 11.2 and 11.3):
/// palette, transparency, colour space, density and animation.
const KEPT: [&[u8; 4]; 12] = [
    b"PLTE", b"tRNS", b"gAMA", b"cHRM", b"sRGB", b"sBIT", b"bKGD", b"pHYs", b"cICP", b"acTL",
    b"fcTL", b"fdAT",
];

/// The error for a file that ends too early.
const TRUNCATED: &str = "the PNG is truncated";

/// The last chunk.
const IEND: &[u8] = b"\0\0\0\0IEND\xae\x42\x60\x82";

/// The bytes before the compressed profile in an iCCP chunk: a name, its terminator, and the
/// compression method.
const PROFILE: &[u8] = b"ICC\0\0";

/// The bit of a chunk's first letter that marks it as not needed for decoding.
const ANCILLARY: u8 = 0x20;

/// Reads a file that starts with the [`SIGNATURE`].
pub(super) fn read(file: &[u8]) -> Result<Picture<'_>, &'static str> {
    let mut scanner = Scanner::new(file);
    let mut head = scanner.take(HEADER).ok_or(TRUNCATED)?.to_vec();
    let (width, height) = header(&head).ok_or("the PNG has a damaged header")?;
    check_size(width, height)?;
    let mut has_data = false;
    let mut has_profile = false;
    let mut orientation = None;
    loop {
        let start = scanner.position();
        let rest = scanner.rest();
        if has_data && rest.len() < IEND.len() && IEND.starts_with(rest) {
            // Browsers show a picture without its last chunk. Image data missing between two chunks
            // is not detected: all of it would have to be inflated, and 1 MB may become 500.
            scanner.add(IEND.to_vec());
            break;
        }
        let (kind, body) = chunk(&mut scanner).ok_or(TRUNCATED)?;
        match &kind {
            b"IEND" if has_data && body.is_empty() => {
                scanner.keep(start);
                break;
            }
            b"IDAT" => {
                has_data = true;
                scanner.keep(start);
            }
            // Decoders use the first of several profiles.
            b"iCCP" if !has_data && !has_profile => {
                has_profile = true;
                if let Some(profile) = profile(body) {
                    scanner.add(new_chunk(b"iCCP", &profile));
                }
            }
            b"eXIf" => orientation = orientation.or(exif::orientation(body)),
            kind if KEPT.contains(&kind) => {
                if kind == b"fcTL" {
                    let (width, height) = frame(body).ok_or("the PNG has a damaged frame")?;
                    check_size(width, height)?;
                }
                scanner.keep(start);
            }
            [first, ..] if first & ANCILLARY == 0 => {
                return Err("the PNG has an unknown or misplaced critical chunk");
            }
            _ => {}
        }
    }
    if let Some(orientation) = orientation {
        head.extend(new_chunk(b"eXIf", &exif::minimal(orientation)));
    }
    Ok(Picture {
        kind: Kind::Png,
        width,
        height,
        pieces: scanner.finish(head)?,
    })
}

/// The width and height in the IHDR chunk; `None` if the chunk is malformed.
fn header(head: &[u8]) -> Option<(u32, u32)> {
    let mut scanner = Scanner::new(head);
    scanner.take(SIGNATURE.len())?;
    let (kind, body) = chunk(&mut scanner)?;
    let &[w0, w1, w2, w3, h0, h1, h2, h3, ..] = body else {
        return None;
    };
    let is_valid =
        &kind == b"IHDR" && head.ends_with(&crc(&kind, body)) && scanner.rest().is_empty();
    is_valid.then_some((
        u32::from_be_bytes([w0, w1, w2, w3]),
        u32::from_be_bytes([h0, h1, h2, h3]),
    ))
}

/// The body of an iCCP chunk with its profile cleaned and its name replaced, since that may be the
/// name of a person or a device.
fn profile(body: &[u8]) -> Option<Vec<u8>> {
    let name = body.iter().position(|&byte| byte == 0)?;
    let [0, compressed @ ..] = &body[name + 1..] else {
        return None;
    };
    let mut profile = Vec::new();
    // A longer profile is cut off here and then refused as truncated.
    ZlibDecoder::new(compressed)
        .take(icc::MAX_LENGTH as u64)
        .read_to_end(&mut profile)
        .ok()?;
    let clean = icc::clean(&profile)?;
    let mut written = PROFILE.to_vec();
    ZlibEncoder::new(&clean[..], Compression::default())
        .read_to_end(&mut written)
        .ok()?;
    Some(written)
}

/// The right and bottom edge of a frame of an animation.
fn frame(control: &[u8]) -> Option<(u32, u32)> {
    let mut scanner = Scanner::new(control);
    scanner.take(4)?; // the sequence number
    let width = u32::from_be_bytes(scanner.array()?);
    let height = u32::from_be_bytes(scanner.array()?);
    let left = u32::from_be_bytes(scanner.array()?);
    let top = u32::from_be_bytes(scanner.array()?);
    Some((left.saturating_add(width), top.saturating_add(height)))
}

/// Reads one chunk. Returns its type and its data.
fn chunk<'a>(scanner: &mut Scanner<'a>) -> Option<([u8; 4], &'a [u8])> {
    let length = u32::from_be_bytes(scanner.array()?);
    let kind = scanner.array()?;
    let body = scanner.take(usize::try_from(length).ok()?)?;
    scanner.take(4)?; // the CRC
    Some((kind, body))
}

/// The checksum of a chunk, as bytes of the file.
fn crc(kind: &[u8; 4], body: &[u8]) -> [u8; 4] {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(kind);
    hasher.update(body);
    hasher.finalize().to_be_bytes()
}

/// Makes a chunk. `body` has less than 4 GiB.
fn new_chunk(kind: &[u8; 4], body: &[u8]) -> Vec<u8> {
    let length = (body.len() as u32).to_be_bytes();
    [&length[..], kind, body, &crc(kind, body)].concat()
}

#[cfg(test)]
mod tests {
    use super::super::{cleaned, contains, icc::tests as profiles};
    use super::*;

    /// A file with this size and these chunks after the header.
    fn png(width: u32, height: u32, chunks: &[(&[u8; 4], &[u8])]) -> Vec<u8> {
        let size = [width.to_be_bytes(), height.to_be_bytes()].concat();
        let header = [&size[..], &[8, 0, 0, 0, 0]].concat();
        let mut file = [SIGNATURE, &new_chunk(b"IHDR", &header)].concat();
        for (kind, body) in chunks {
            file.extend(new_chunk(kind, body));
        }
        file
    }

    const IDAT: (&[u8; 4], &[u8]) = (b"IDAT", b"pixels");
    const LAST: (&[u8; 4], &[u8]) = (b"IEND", b"");

    /// The body of an iCCP chunk with this name.
    fn named_profile(name: &[u8], profile: &[u8]) -> Vec<u8> {
        let mut body = [name, b"\0\0"].concat();
        ZlibEncoder::new(profile, Compression::default())
            .read_to_end(&mut body)
            .unwrap();
        body
    }

    #[test]
    fn chunks_that_show_the_picture_are_kept() {
        let frame = [&[0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 1][..], &[0; 14]].concat();
        let clean = icc::clean(&profiles::profile(4, &[(b"kTRC", profiles::CURVE)])).unwrap();
        let profile = named_profile(b"ICC", &clean);
        let chunks: [(&[u8; 4], &[u8]); 16] = [
            (b"gAMA", b"1"),
            (b"cHRM", b"2"),
            (b"sRGB", b"3"),
            (b"iCCP", &profile),
            (b"cICP", b"5"),
            (b"sBIT", b"6"),
            (b"PLTE", b"7"),
            (b"tRNS", b"8"),
            (b"bKGD", b"9"),
            (b"pHYs", b"10"),
            (b"acTL", b"11"),
            (b"fcTL", &frame),
            IDAT,
            IDAT,
            (b"fdAT", b"12"),
            LAST,
        ];
        let file = png(3, 2, &chunks);
        let picture = super::super::read(&file).unwrap();
        assert_eq!((picture.width, picture.height), (3, 2));
        // The header, the profile, and the chunks before and after the profile.
        assert_eq!(picture.pieces.len(), 4);
        assert_eq!(picture.pieces.concat(), file);
    }

    #[test]
    fn other_chunks_are_removed() {
        let dropped: [(&[u8; 4], &[u8]); 7] = [
            (b"tEXt", b"Author\0me"),
            (b"zTXt", b"Comment\0\0me"),
            (b"iTXt", b"XML:com.adobe.xmp\0"),
            (b"eXIf", b"MM\0*\0\0\0\x08\0\0"),
            (b"tIME", b"1234567"),
            (b"prVt", b"me"),
            (b"vpAg", b"me"),
        ];
        for chunk in dropped {
            let file = png(3, 2, &[chunk, IDAT, chunk, LAST, chunk]);
            assert_eq!(cleaned(&file), Ok(png(3, 2, &[IDAT, LAST])));
        }
    }

    #[test]
    fn a_missing_last_chunk_is_added() {
        let file = png(3, 2, &[IDAT, IDAT, LAST]);
        for end in file.len() - IEND.len()..file.len() {
            assert_eq!(cleaned(&file[..end]).as_ref(), Ok(&file), "{end}");
        }
        let rest = &file[..file.len() - IEND.len()];
        for more in [&b"\0\0\0\x05IDAT"[..], b"\0\0\x20", b"junk"] {
            assert_eq!(cleaned(&[rest, more].concat()), Err(TRUNCATED));
        }
    }

    #[test]
    fn a_colour_profile_is_cleaned_and_loses_its_name() {
        let original =
            profiles::profile(2, &[(b"rTRC", profiles::CURVE), (b"dmnd", b"made at home")]);
        let clean = named_profile(b"ICC", &icc::clean(&original).unwrap());
        let body = named_profile(b"Jane's screen", &original);
        let only = png(3, 2, &[(b"iCCP", &clean), IDAT, LAST]);
        for chunks in [
            [(b"iCCP", &body[..]), IDAT, LAST, LAST],
            [(b"iCCP", &body), (b"iCCP", &clean), IDAT, LAST],
            [(b"iCCP", &body), IDAT, (b"iCCP", &clean), LAST],
        ] {
            assert_eq!(cleaned(&png(3, 2, &chunks)).as_ref(), Ok(&only));
        }
        let bomb = named_profile(b"ICC", &vec![0; 2 * icc::MAX_LENGTH]);
        let short = &body[..body.len() - 10];
        for body in [
            &b""[..],
            b"name",
            b"name\0",
            b"name\0\x01",
            b"name\0\0junk",
            short,
            &bomb,
        ] {
            assert_eq!(
                cleaned(&png(3, 2, &[(b"iCCP", body), IDAT, LAST])),
                Ok(png(3, 2, &[IDAT, LAST]))
            );
        }
    }

    #[test]
    fn the_orientation_is_kept() {
        let block = [&exif::minimal(6)[..], b"place"].concat();
        let only = png(3, 2, &[(b"eXIf", &exif::minimal(6)), IDAT, LAST]);
        for chunks in [
            [(b"eXIf", &block[..]), IDAT, LAST],
            [IDAT, (b"eXIf", &block[..]), LAST],
        ] {
            assert_eq!(cleaned(&png(3, 2, &chunks)), Ok(only.clone()));
        }
        let upright = png(3, 2, &[(b"eXIf", &exif::minimal(1)), IDAT, LAST]);
        assert!(!contains(&cleaned(&upright).unwrap(), b"eXIf"));
    }

    #[test]
    fn broken_files_are_refused() {
        for chunks in [
            &[IDAT, (b"ABCD", b""), LAST][..],
            &[IDAT, (b"IHDR", b""), LAST],
            &[IDAT, (b"IEND", b"me")],
            &[IDAT, (b"fcTL", b"short"), LAST],
            &[LAST],
        ] {
            assert!(cleaned(&png(3, 2, chunks)).is_err());
        }
        let file = png(3, 2, &[IDAT, LAST]);
        for end in SIGNATURE.len()..file.len() - IEND.len() {
            assert_eq!(cleaned(&file[..end]), Err(TRUNCATED));
        }
        for at in 8..HEADER {
            let mut file = file.clone();
            file[at] ^= 1;
            assert!(cleaned(&file).is_err());
        }
    }

    #[test]
    fn large_pictures_and_frames_are_refused() {
        for (width, height) in [(50_000, 50_000), (0, 1), (1, 0)] {
            assert!(cleaned(&png(width, height, &[IDAT, LAST])).is_err());
        }
        let mut control = [0; 26];
        control[4..20].copy_from_slice(&[0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1]);
        assert!(cleaned(&png(2, 2, &[(b"fcTL", &control), IDAT, LAST])).is_ok());
        control[12] = 0xFF;
        assert!(cleaned(&png(2, 2, &[(b"fcTL", &control), IDAT, LAST])).is_err());
    }
}
