//! Cleans a WebP file: keeps the chunks that are needed to show the picture.

use super::scanner::Scanner;
use super::{Kind, Picture, check_size, exif, icc};

// The flags of a VP8X chunk (RFC 9649, 2.7).
const PROFILE: u8 = 0x20;
const ALPHA: u8 = 0x10;
const EXIF: u8 = 0x08;
const ANIMATION: u8 = 0x02;

/// The error for a file that cannot be read to its end.
const BROKEN: &str = "the WebP is damaged or truncated";

/// Reads a file that starts with a RIFF header of the form WEBP.
pub(super) fn read(file: &[u8]) -> Result<Picture<'_>, &'static str> {
    let mut scanner = Scanner::new(riff(file).ok_or("the WebP is truncated")?);
    scanner.take(12);
    let start = scanner.position();
    let (kind, body) = chunk(&mut scanner).ok_or(BROKEN)?;
    let (width, height, canvas) = match (&kind, body) {
        (b"VP8X", &[flags, _, _, _, w0, w1, w2, h0, h1, h2]) => {
            let width = 1 + number([w0, w1, w2]);
            let height = 1 + number([h0, h1, h2]);
            check_size(width, height)?;
            let mut flags = flags & (ALPHA | ANIMATION);
            let (has_profile, orientation) = extended(&mut scanner)?;
            if has_profile {
                flags |= PROFILE;
            }
            if let Some(orientation) = orientation {
                flags |= EXIF;
                scanner.add(new_chunk(b"EXIF", &exif::minimal(orientation)));
            }
            let canvas = [flags, 0, 0, 0, w0, w1, w2, h0, h1, h2];
            (width, height, new_chunk(&kind, &canvas))
        }
        _ => {
            // In the simple formats, the file ends with the image.
            let (width, height) = image(&kind, body)?;
            keep(&mut scanner, start);
            (width, height, Vec::new())
        }
    };
    let size = u32::try_from(4 + canvas.len() + scanner.kept_len()).map_err(|_| BROKEN)?;
    let head = [b"RIFF", &size.to_le_bytes()[..], b"WEBP", &canvas].concat();
    Ok(Picture {
        kind: Kind::WebP,
        width,
        height,
        pieces: scanner.finish(head)?,
    })
}

/// The file up to the end that its header states.
fn riff(file: &[u8]) -> Option<&[u8]> {
    let size = u32::from_le_bytes(*file.get(4..)?.first_chunk()?);
    file.get(..usize::try_from(size).ok()?.checked_add(8)?)
}

/// Reads the chunks after VP8X and keeps those that show the picture. Returns whether there is a
/// colour profile, and the orientation.
fn extended(scanner: &mut Scanner) -> Result<(bool, Option<u8>), &'static str> {
    let mut has_image = false;
    let mut has_profile = false;
    let mut orientation = None;
    while !scanner.rest().is_empty() {
        let start = scanner.position();
        let (kind, body) = chunk(scanner).ok_or(BROKEN)?;
        match &kind {
            b"VP8 " | b"VP8L" => {
                image(&kind, body)?;
                has_image = true;
            }
            b"ANMF" => {
                frame(body)?;
                has_image = true;
            }
            b"ANIM" | b"ALPH" => {}
            b"ICCP" => {
                // Decoders use the first of several profiles, and only before the image.
                let profile = if has_image || has_profile {
                    None
                } else {
                    icc::clean(body)
                };
                if let Some(profile) = profile {
                    has_profile = true;
                    scanner.add(new_chunk(b"ICCP", &profile));
                }
                continue;
            }
            b"EXIF" => {
                orientation = orientation.or(exif::orientation(body));
                continue;
            }
            _ => continue,
        }
        keep(scanner, start);
    }
    if has_image {
        Ok((has_profile, orientation))
    } else {
        Err("the WebP is truncated or has no image")
    }
}

/// Checks a frame of an animation. It is kept as a whole, so it must contain only its image.
fn frame(body: &[u8]) -> Result<(), &'static str> {
    let mut scanner = Scanner::new(body);
    let mut next = || scanner.array().map(number).ok_or(BROKEN);
    let (left, top) = (2 * next()?, 2 * next()?);
    let (width, height) = (1 + next()?, 1 + next()?);
    check_size(left + width, top + height)?;
    scanner.take(4).ok_or(BROKEN)?; // the duration and flags
    let mut has_image = false;
    while !scanner.rest().is_empty() {
        let (kind, body) = chunk(&mut scanner).ok_or(BROKEN)?;
        if &kind != b"ALPH" {
            image(&kind, body)?;
            has_image = true;
        }
    }
    if has_image {
        Ok(())
    } else {
        Err("the WebP has a frame without an image")
    }
}

/// The width and height in the chunk of a lossy (RFC 6386, 9.1) or lossless (RFC 9649, 3.4) image.
fn image(kind: &[u8; 4], body: &[u8]) -> Result<(u32, u32), &'static str> {
    // A side has 14 bits; the two bits above it are the scale.
    let (width, height) = match (kind, body) {
        (b"VP8 ", &[tag, _, _, 0x9D, 0x01, 0x2A, w0, w1, h0, h1, ..]) if tag & 1 == 0 => {
            (number([w0, w1, 0]) & 0x3FFF, number([h0, h1, 0]) & 0x3FFF)
        }
        (b"VP8L", &[0x2F, b0, b1, b2, b3, ..]) => {
            let bits = u32::from_le_bytes([b0, b1, b2, b3]);
            (1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF))
        }
        _ => return Err("the WebP has a damaged or unknown image"),
    };
    check_size(width, height)?;
    Ok((width, height))
}

/// Reads one chunk with its padding. Returns its type and its data.
fn chunk<'a>(scanner: &mut Scanner<'a>) -> Option<([u8; 4], &'a [u8])> {
    let kind = scanner.array()?;
    let size = u32::from_le_bytes(scanner.array()?);
    let body = scanner.take(usize::try_from(size).ok()?)?;
    // Some programs omit the padding at the end of the file.
    scanner.take(body.len() % 2);
    Some((kind, body))
}

/// Keeps the chunk from `start` to the current position, and adds its padding if it is missing.
fn keep(scanner: &mut Scanner, start: usize) {
    scanner.keep(start);
    if (scanner.position() - start) % 2 == 1 {
        scanner.add(vec![0]);
    }
}

/// A 24-bit number.
fn number([b0, b1, b2]: [u8; 3]) -> u32 {
    u32::from_le_bytes([b0, b1, b2, 0])
}

/// Makes a chunk. `body` has an even length of less than 4 GiB.
fn new_chunk(kind: &[u8; 4], body: &[u8]) -> Vec<u8> {
    [kind, &(body.len() as u32).to_le_bytes()[..], body].concat()
}

#[cfg(test)]
mod tests {
    use super::super::{cleaned, contains, icc::tests as profiles, read};
    use super::*;

    const LOSSY: &[u8] = b"VP8 \x0a\0\0\0\0\0\0\x9d\x01\x2a\x03\0\x02\0";
    const LOSSLESS: &[u8] = b"VP8L\x05\0\0\0\x2f\x02\x40\0\0\0";

    /// A file of these chunks.
    fn webp(chunks: &[&[u8]]) -> Vec<u8> {
        let body = [b"WEBP", &chunks.concat()[..]].concat();
        new_chunk(b"RIFF", &body)
    }

    /// A chunk for a canvas of 3 x 2 pixels with these flags.
    fn canvas(flags: u8) -> Vec<u8> {
        new_chunk(b"VP8X", &[flags, 0, 0, 0, 2, 0, 0, 1, 0, 0])
    }

    /// A frame of 1 x 1 pixel with these chunks. `left` is its distance from the left, in units of
    /// two pixels.
    fn frame_at(left: u8, chunks: &[&[u8]]) -> Vec<u8> {
        let body = [&[0, left, 0, 0, 0, 0], &[0; 10][..], &chunks.concat()].concat();
        new_chunk(b"ANMF", &body)
    }

    #[test]
    fn chunks_that_show_the_picture_are_kept() {
        let clean = icc::clean(&profiles::profile(4, &[(b"kTRC", profiles::CURVE)])).unwrap();
        let profile = new_chunk(b"ICCP", &clean);
        let loops = new_chunk(b"ANIM", b"abcdef");
        let alpha = new_chunk(b"ALPH", b"ab");
        let frames = [frame_at(0, &[LOSSLESS]), frame_at(1, &[&alpha, LOSSY])].concat();
        for (file, pieces) in [
            (webp(&[LOSSY]), 2),
            (webp(&[LOSSLESS]), 2),
            (webp(&[&canvas(PROFILE), &profile, &alpha, LOSSY]), 3),
            (webp(&[&canvas(ANIMATION | ALPHA), &loops, &frames]), 2),
        ] {
            let picture = read(&file).unwrap();
            assert_eq!((picture.width, picture.height), (3, 2));
            assert_eq!(picture.pieces.len(), pieces);
            assert_eq!(picture.pieces.concat(), file);
        }
    }

    #[test]
    fn other_chunks_are_removed() {
        for kind in [b"EXIF", b"XMP ", b"VP8X", b"abcd"] {
            let dropped = new_chunk(kind, b"at home.");
            let file = webp(&[&canvas(0xFF), &dropped, LOSSLESS, &dropped]);
            let clean = webp(&[&canvas(ALPHA | ANIMATION), LOSSLESS]);
            assert_eq!(cleaned(&file), Ok(clean));
            let file = webp(&[LOSSY, &dropped]);
            assert_eq!(cleaned(&file), Ok(webp(&[LOSSY])));
            let file = [&webp(&[LOSSY]), &dropped[..]].concat();
            assert_eq!(cleaned(&file), Ok(webp(&[LOSSY])));
            let file = webp(&[&canvas(ANIMATION), &frame_at(0, &[LOSSY, &dropped])]);
            assert!(cleaned(&file).is_err());
        }
    }

    #[test]
    fn the_orientation_is_kept() {
        let only = new_chunk(b"EXIF", &exif::minimal(6));
        let more = new_chunk(
            b"EXIF",
            &[b"Exif\0\0", &exif::minimal(6)[..], b"home"].concat(),
        );
        let clean = webp(&[&canvas(EXIF), LOSSY, &only]);
        for file in [
            webp(&[&canvas(EXIF), LOSSY, &more]),
            webp(&[&canvas(0), &more, LOSSY]),
        ] {
            assert_eq!(cleaned(&file).as_ref(), Ok(&clean));
        }
        let upright = new_chunk(b"EXIF", &exif::minimal(1));
        let file = webp(&[&canvas(EXIF), LOSSY, &upright]);
        assert_eq!(cleaned(&file), Ok(webp(&[&canvas(0), LOSSY])));
    }

    #[test]
    fn a_colour_profile_is_cleaned() {
        let original =
            profiles::profile(2, &[(b"rTRC", profiles::CURVE), (b"dmnd", b"made at home")]);
        let clean = new_chunk(b"ICCP", &icc::clean(&original).unwrap());
        let original = new_chunk(b"ICCP", &original);
        let only = webp(&[&canvas(PROFILE), &clean, LOSSY]);
        for flags in [0, PROFILE] {
            assert_eq!(
                cleaned(&webp(&[
                    &canvas(flags),
                    &original,
                    &original,
                    LOSSY,
                    &original
                ]))
                .as_ref(),
                Ok(&only)
            );
        }
        let malformed = new_chunk(b"ICCP", b"colour");
        assert_eq!(
            cleaned(&webp(&[&canvas(PROFILE), &malformed, LOSSY])),
            Ok(webp(&[&canvas(0), LOSSY]))
        );
    }

    #[test]
    fn odd_chunks_are_padded() {
        let padded = webp(&[b"VP8L\x05\0\0\0\x2f\x02\x40\0\0\0"]);
        let mut bare = padded[..padded.len() - 1].to_vec();
        bare[4] -= 1;
        assert_eq!(cleaned(&bare), Ok(padded));
        let odd = b"XMP \x03\0\0\0abc\0";
        let file = webp(&[&canvas(0), odd, LOSSY]);
        assert!(!contains(&cleaned(&file).unwrap(), b"abc"));
    }

    #[test]
    fn broken_files_are_refused() {
        for chunks in [
            &[][..],
            &[&canvas(0)[..]],
            &[&canvas(0), b"VP8 \xff\xff\xff\xff"],
            &[&canvas(0), LOSSY, b"XMP"],
            &[&canvas(0), &frame_at(0, &[])],
            &[b"VP8X\x02\0\0\0\0\0", LOSSY],
            &[b"ALPH\x02\0\0\0ab"],
            &[b"VP8 \x0a\0\0\0\x01\0\0\x9d\x01\x2a\x03\0\x02\0"],
        ] {
            assert!(cleaned(&webp(chunks)).is_err());
        }
        let file = webp(&[&canvas(0), LOSSY]);
        for end in 0..file.len() {
            assert!(cleaned(&file[..end]).is_err());
        }
    }

    #[test]
    fn large_canvases_frames_and_images_are_refused() {
        let wide = new_chunk(b"VP8X", &[0, 0, 0, 0, 0, 0x40, 0, 0, 0, 0]);
        let large = b"VP8L\x05\0\0\0\x2f\xff\xff\xff\x0f\0";
        assert!(cleaned(&webp(&[&wide, LOSSY])).is_err());
        assert!(cleaned(&webp(&[large])).is_err());
        assert!(cleaned(&webp(&[&canvas(0), large])).is_err());
        assert!(cleaned(&webp(&[&canvas(0), &frame_at(0, &[large])])).is_err());
        assert!(cleaned(&webp(&[&canvas(0), &frame_at(31, &[LOSSY])])).is_ok());
        assert!(cleaned(&webp(&[&canvas(0), &frame_at(32, &[LOSSY])])).is_err());
        let mut far = frame_at(0xFF, &[LOSSY]);
        far[8..23].fill(0xFF);
        assert!(cleaned(&webp(&[&canvas(0), &far])).is_err());
        assert!(cleaned(&webp(&[b"VP8 \x0a\0\0\0\0\0\0\x9d\x01\x2a\0\0\x02\0"])).is_err());
    }
}
