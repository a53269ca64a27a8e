//! Cleans a JPEG file: keeps the segments that are needed to show the picture.

use super::scanner::Scanner;
use super::{Kind, Picture, check_size, exif, icc};

// The codes that follow 0xFF in a marker (ITU-T T.81, table B.1).
const TEM: u8 = 0x01;
const DHT: u8 = 0xC4;
const JPG: u8 = 0xC8;
const DAC: u8 = 0xCC;
const RST0: u8 = 0xD0;
const RST7: u8 = 0xD7;
const SOI: u8 = 0xD8;
const EOI: u8 = 0xD9;
const SOS: u8 = 0xDA;
const DQT: u8 = 0xDB;
const DNL: u8 = 0xDC;
const DRI: u8 = 0xDD;
const APP0: u8 = 0xE0;
const APP1: u8 = 0xE1;
const APP2: u8 = 0xE2;
const APP14: u8 = 0xEE;

/// The identifier before each part of a colour profile (ICC.1, annex B). The part's number and the
/// count of parts follow it.
const ICC: &[u8] = b"ICC_PROFILE\0";
/// The most bytes of a profile in one segment.
const ICC_PART: usize = 65_535 - 2 - ICC.len() - 2;

/// The application segments before the first scan, reduced to what is needed.
#[derive(Default)]
struct Head<'a> {
    /// Version, unit and density of the JFIF segment (JFIF 1.02), not its thumbnail.
    jfif: Option<[u8; 7]>,
    /// Version, flags and colour transform of the Adobe segment (T.872, 6.5.3).
    adobe: Option<[u8; 7]>,
    /// The orientation in the EXIF segment.
    orientation: Option<u8>,
    /// The parts of the colour profile.
    profile: Vec<&'a [u8]>,
}

impl<'a> Head<'a> {
    /// Takes what is needed from an application segment.
    fn add(&mut self, code: u8, body: &'a [u8]) {
        let known = |mark| Some(*body.strip_prefix(mark)?.first_chunk()?);
        match code {
            APP0 => self.jfif = self.jfif.or(known(b"JFIF\0")),
            APP1 => self.orientation = self.orientation.or(exif::orientation(body)),
            // A profile with more parts than can be numbered is invalid.
            APP2 if self.profile.len() < 256 => self.profile.extend(body.strip_prefix(ICC)),
            // Decoders use the last of several.
            APP14 => self.adobe = known(b"Adobe").or(self.adobe),
            _ => {}
        }
    }

    /// The start of the cleaned file.
    fn write(&self) -> Vec<u8> {
        let mut head = vec![0xFF, SOI];
        if let Some(jfif) = self.jfif {
            // Its last two bytes are the size of the thumbnail.
            head.extend(new_segment(APP0, &[b"JFIF\0", &jfif, &[0, 0]]));
        }
        if let Some(orientation) = self.orientation {
            let block = exif::minimal(orientation);
            head.extend(new_segment(APP1, &[b"Exif\0\0", &block]));
        }
        if let Some(adobe) = self.adobe {
            head.extend(new_segment(APP14, &[b"Adobe", &adobe]));
        }
        let profile = joined(&self.profile)
            .and_then(|profile| icc::clean(&profile))
            .unwrap_or_default();
        let parts = profile.chunks(ICC_PART);
        let count = parts.len() as u8;
        for (part, number) in parts.zip(1..) {
            head.extend(new_segment(APP2, &[ICC, &[number, count], part]));
        }
        head
    }
}

/// The colour profile in these parts, in the order of their numbers. `None` if a part is missing or
/// there are too many: decoders then ignore the profile.
fn joined(parts: &[&[u8]]) -> Option<Vec<u8>> {
    let mut parts = parts.to_vec();
    parts.sort_by_key(|part| part.first().copied());
    let length = parts.iter().map(|part| part.len()).sum::<usize>();
    (length <= icc::MAX_LENGTH).then_some(())?;
    let mut profile = Vec::with_capacity(length);
    for (part, number) in parts.iter().zip(1..) {
        let &[own, count, ref data @ ..] = *part else {
            return None;
        };
        (usize::from(own) == number && usize::from(count) == parts.len()).then_some(())?;
        profile.extend(data);
    }
    Some(profile)
}

/// Reads a file that starts with an SOI marker.
pub(super) fn read(file: &[u8]) -> Result<Picture<'_>, &'static str> {
    let mut scanner = Scanner::new(file);
    scanner.take(2); // SOI
    let mut head = Head::default();
    let mut size = None;
    let mut has_scan = false;
    // Browsers show the beginning of a file that ends or is damaged after the start of a scan. So
    // the file is taken to end at the first damage.
    while let Some((start, code, body)) = segment(&mut scanner) {
        match code {
            EOI => break,
            SOS => {
                size.ok_or("the JPEG has a scan before its size")?;
                has_scan = true;
                scanner.take(entropy_coded(scanner.rest()));
                scanner.keep(start);
            }
            DHT | DAC | DQT | DRI | DNL => scanner.keep(start),
            0xC0..=0xCF if code != JPG => {
                if size.is_some() {
                    return Err("the JPEG has more than one frame");
                }
                let (width, height) = frame(body).ok_or("the JPEG has a broken frame header")?;
                check_size(width, height)?;
                size = Some((width, height));
                scanner.keep(start);
            }
            // Decoders ignore application segments after the start of a scan.
            _ if !has_scan => head.add(code, body),
            _ => {}
        }
    }
    let (Some((width, height)), true) = (size, has_scan) else {
        return Err("the JPEG is truncated or damaged: its image data is missing");
    };
    scanner.add(vec![0xFF, EOI]);
    Ok(Picture {
        kind: Kind::Jpeg,
        width,
        height,
        pieces: scanner.finish(head.write())?,
    })
}

/// Reads a marker and its segment. Returns the position of the marker, its code, and the segment's
/// data after the length.
fn segment<'a>(scanner: &mut Scanner<'a>) -> Option<(usize, u8, &'a [u8])> {
    // Any number of fill bytes may precede a code (T.81, B.1.1.2), and some cameras and editors
    // write other bytes before a marker. Browsers skip both.
    let [mut before, mut code] = scanner.array()?;
    while before != 0xFF || code == 0xFF || code == 0 {
        before = code;
        [code] = scanner.array()?;
    }
    let start = scanner.position() - 2;
    let body = match code {
        SOI => return None,
        TEM | RST0..=RST7 | EOI => &[],
        _ => {
            // The length includes itself.
            let length = usize::from(u16::from_be_bytes(scanner.array()?));
            scanner.take(length.checked_sub(2)?)?
        }
    };
    Some((start, code, body))
}

/// The width and height in a frame header (T.81, B.2.2).
fn frame(header: &[u8]) -> Option<(u32, u32)> {
    let &[_precision, h0, h1, w0, w1, _components, ..] = header else {
        return None;
    };
    let width = u16::from_be_bytes([w0, w1]);
    let height = u16::from_be_bytes([h0, h1]);
    Some((width.into(), height.into()))
}

/// The number of bytes before the next marker or the end of the file.
fn entropy_coded(rest: &[u8]) -> usize {
    let mut data = rest;
    while let Some(at) = data.iter().position(|&byte| byte == 0xFF) {
        let marker = data.get(at..).unwrap_or_default();
        let fill = marker.iter().take_while(|&&byte| byte == 0xFF).count();
        match marker.split_at(fill).1 {
            // 0xFF followed by zero is data, not a marker (T.81, F.1.2.3).
            [0 | RST0..=RST7, following @ ..] => data = following,
            _ => return rest.len() - marker.len(),
        }
    }
    rest.len()
}

/// Makes a segment of these parts, which have less than 64 KiB together.
fn new_segment(code: u8, parts: &[&[u8]]) -> Vec<u8> {
    let body = parts.concat();
    let length = (body.len() as u16 + 2).to_be_bytes();
    [&[0xFF, code][..], &length, &body].concat()
}

#[cfg(test)]
mod tests {
    use super::super::{cleaned, contains, icc::tests as profiles, read};
    use super::*;

    const JFIF: &[u8] = b"\xff\xe0\0\x10JFIF\0\x01\x02\0\0\x48\0\x48\0\0";
    const TABLES: &[u8] = b"\xff\xdb\0\x05abc\xff\xc4\0\x04de\xff\xcc\0\x04fg\xff\xdd\0\x04\0\x02";
    const SCAN: &[u8] = b"\xff\xda\0\x04hi\x12\xff\0\x34\xff\xd0\x56\xff\xff\0\xff\xff\xd7\x78";
    const END: &[u8] = b"\xff\xd9";

    /// A frame header of this kind and size.
    fn frame_header(code: u8, width: u16, height: u16) -> Vec<u8> {
        let size = [height.to_be_bytes(), width.to_be_bytes()].concat();
        new_segment(code, &[&[8], &size, &[1, 1, 0x11, 0]])
    }

    /// A file of 3 x 2 pixels with these parts before and after its frame header.
    fn jpeg(before: &[&[u8]], after: &[&[u8]]) -> Vec<u8> {
        let start = [&[0xFF, SOI], &before.concat()[..]].concat();
        [start, frame_header(0xC2, 3, 2), after.concat()].concat()
    }

    /// An EXIF segment with this orientation and more.
    fn exif_segment(orientation: u8) -> Vec<u8> {
        let block = exif::minimal(orientation);
        new_segment(APP1, &[b"Exif\0\0", &block, b"home"])
    }

    #[test]
    fn segments_that_show_the_picture_are_kept() {
        let clean = icc::clean(&profiles::profile(4, &[(b"kTRC", profiles::CURVE)])).unwrap();
        let profile = new_segment(APP2, &[ICC, b"\x01\x01", &clean]);
        let adobe = new_segment(APP14, &[b"Adobe\0\x64\0\0\0\0\x02"]);
        let lines = b"\xff\xdc\0\x04\0\x02";
        let file = jpeg(
            &[JFIF, &adobe, &profile, TABLES],
            &[SCAN, lines, TABLES, SCAN, SCAN, END],
        );
        let picture = read(&file).unwrap();
        assert_eq!((picture.width, picture.height), (3, 2));
        assert_eq!(picture.pieces.len(), 3);
        assert_eq!(picture.pieces.concat(), file);
    }

    #[test]
    fn other_segments_are_removed() {
        let clean = jpeg(&[JFIF, TABLES], &[SCAN, TABLES, SCAN, END]);
        for code in (APP1..=0xFE).chain(0x02..=0xBF).chain([JPG]) {
            let dropped = new_segment(code, &[b"made at home"]);
            let file = jpeg(
                &[&dropped, JFIF, &dropped, TABLES],
                &[
                    &dropped, SCAN, &dropped, TABLES, SCAN, &dropped, END, &dropped,
                ],
            );
            assert_eq!(cleaned(&file).as_ref(), Ok(&clean), "{code:x}");
        }
        let fill: &[u8] = b"\xff\xff\xff";
        let late = new_segment(APP2, &[ICC, b"made at home"]);
        let file = jpeg(
            &[b"\xff\x01", JFIF, fill, TABLES],
            &[SCAN, &late, &exif_segment(6), fill, TABLES, SCAN, fill, END],
        );
        for after in [&b"more"[..], TABLES, SCAN, &file] {
            assert_eq!(cleaned(&[&file, after].concat()).as_ref(), Ok(&clean));
        }
    }

    #[test]
    fn stray_bytes_between_segments_are_removed() {
        let clean = jpeg(&[JFIF, TABLES], &[SCAN, TABLES, SCAN, END]);
        for stray in [
            &b"\0"[..],
            b"between",
            b"\xff",
            b"\xff\0",
            b"a\xff\xff\0\0b\xff",
            &[0; 70_000],
        ] {
            let file = jpeg(
                &[JFIF, stray, TABLES, stray],
                &[stray, SCAN, TABLES, stray, SCAN, END, stray],
            );
            // The signature must be followed by a marker.
            assert_eq!(
                cleaned(&file).as_ref(),
                Ok(&clean),
                "{:?}",
                &stray[..stray.len().min(9)]
            );
        }
        let file = [&[0xFF, SOI, 0xFF, 0xFF, 0, 1], &clean[2..]].concat();
        assert_eq!(cleaned(&file), Ok(clean));
    }

    #[test]
    fn a_colour_profile_in_parts_is_cleaned() {
        let table = [b"mft2", &[9; 150_000][..]].concat();
        let original = profiles::profile(2, &[(b"desc", b"desc of her screen"), (b"A2B0", &table)]);
        let clean = icc::clean(&original).unwrap();
        let part = |number: usize, count: usize, data: &[u8]| {
            new_segment(APP2, &[ICC, &[number as u8, count as u8], data])
        };
        let segments = |profile: &[u8], size: usize| -> Vec<Vec<u8>> {
            let chunks = profile.chunks(size);
            let count = chunks.len();
            chunks
                .zip(1..)
                .map(|(data, number)| part(number, count, data))
                .collect()
        };
        let expected = jpeg(
            &[JFIF, &segments(&clean, ICC_PART).concat(), TABLES],
            &[SCAN, END],
        );
        let mut parts = segments(&original, 60_000);
        assert_eq!(
            cleaned(&jpeg(&[&parts.concat(), JFIF, TABLES], &[SCAN, END])).as_ref(),
            Ok(&expected)
        );
        parts.reverse();
        assert_eq!(
            cleaned(&jpeg(&[JFIF, TABLES, &parts.concat()], &[SCAN, END])).as_ref(),
            Ok(&expected)
        );
        let without = jpeg(&[JFIF, TABLES], &[SCAN, END]);
        for malformed in [
            parts[1..].concat(),
            [&parts[..], &parts[..1]].concat().concat(),
            part(0, 1, &original[..100]),
            part(1, 0, &original[..100]),
            part(1, 1, &original[..100]),
            part(1, 1, b""),
            new_segment(APP2, &[ICC]),
            new_segment(APP2, &[ICC, &[1]]),
            part(1, 1, b"").repeat(300),
        ] {
            let file = jpeg(&[JFIF, TABLES, &malformed], &[SCAN, END]);
            assert_eq!(cleaned(&file).as_ref(), Ok(&without));
        }
    }

    #[test]
    fn thumbnails_are_removed() {
        let mut jfif = new_segment(APP0, &[&JFIF[4..], b"rgb"]);
        jfif[16..18].fill(1);
        let jfxx = new_segment(APP0, &[b"JFXX\0\x13rgb"]);
        let file = jpeg(&[&jfif, &jfxx, TABLES], &[SCAN, END]);
        assert_eq!(cleaned(&file), Ok(jpeg(&[JFIF, TABLES], &[SCAN, END])));
    }

    #[test]
    fn the_orientation_is_kept() {
        for orientation in 2..=8 {
            let only = new_segment(APP1, &[b"Exif\0\0", &exif::minimal(orientation)]);
            let clean = jpeg(&[JFIF, &only, TABLES], &[SCAN, END]);
            let segment = exif_segment(orientation);
            for before in [[JFIF, &segment, TABLES], [&segment, JFIF, TABLES]] {
                assert_eq!(cleaned(&jpeg(&before, &[SCAN, END])).as_ref(), Ok(&clean));
            }
        }
        let clean = jpeg(&[JFIF, TABLES], &[SCAN, END]);
        for orientation in [0, 1, 9] {
            let segment = exif_segment(orientation);
            let file = jpeg(&[JFIF, &segment, TABLES], &[SCAN, END]);
            assert_eq!(cleaned(&file).as_ref(), Ok(&clean));
        }
    }

    #[test]
    fn place_and_device_are_removed_from_a_photograph() {
        let file = include_bytes!("../../../tests/pictures/progressive-gps.jpg");
        // The latitude: 48 degrees and 12 minutes, as fractions.
        let latitude = b"\0\0\0\x30\0\0\0\x01\0\0\0\x0c\0\0\0\x01";
        assert!(contains(file, latitude) && contains(file, b"Secret"));
        let clean = cleaned(file).unwrap();
        assert!(!contains(&clean, latitude) && !contains(&clean, b"Secret"));
        assert!(contains(&clean, &exif::minimal(6)));
    }

    #[test]
    fn a_missing_end_is_added() {
        let clean = jpeg(&[TABLES], &[SCAN, END]);
        for end in [
            &b""[..],
            b"\xff",
            b"\xff\xff",
            b"\xff\xc4\0\x09ab",
            b"\xff\xd8",
        ] {
            assert_eq!(cleaned(&jpeg(&[TABLES], &[SCAN, end])).as_ref(), Ok(&clean));
        }
    }

    #[test]
    fn broken_files_are_refused() {
        for file in [
            jpeg(&[TABLES], &[END]),
            jpeg(&[SCAN], &[SCAN, END]),
            jpeg(&[b"\xff\xe1\0\x01"], &[SCAN, END]),
            jpeg(&[&frame_header(0xC0, 3, 2)], &[SCAN, END]),
            [&[0xFF, SOI], TABLES, SCAN, END].concat(),
            [&[0xFF, SOI, 0xFF, 0xC0, 0, 4, 8, 0], SCAN, END].concat(),
        ] {
            assert!(cleaned(&file).is_err());
        }
    }

    #[test]
    fn the_size_is_read_from_every_kind_of_frame_header() {
        for code in 0xC0..=0xCF {
            let is_frame = ![DHT, JPG, DAC].contains(&code);
            for (width, height, is_good) in [
                (5, 4, true),
                (16_385, 1, false),
                (0, 1, false),
                (1, 0, false),
            ] {
                let header = frame_header(code, width, height);
                let file = [&[0xFF, SOI], &header[..], SCAN, END].concat();
                assert_eq!(cleaned(&file).is_ok(), is_frame && is_good);
            }
        }
    }
}
