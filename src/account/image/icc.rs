//! Cleans a colour profile: keeps what defines colours, and removes texts, dates, makers and serial
//! numbers.

use super::scanner::Scanner;

/// The longest profile that is kept, in bytes. Those of printing presses have up to about 3
/// million.
pub(super) const MAX_LENGTH: usize = 4 * 1024 * 1024;

/// The length of the header (ICC.1:2022, 7.2). The number of tags follows it.
const HEADER: usize = 128;
/// The length of an entry in the table of tags.
const ENTRY: usize = 12;
/// The parts of the header that are kept, as start and end: version; class, colour space and
/// connection space; signature; intent and illuminant. The rest is makers, models, dates and a
/// digest.
const FIELDS: [(usize, usize); 4] = [(8, 10), (12, 24), (36, 40), (64, 80)];
/// The signature of every profile, with its position.
const SIGNATURE: (usize, &[u8]) = (36, b"acsp");
/// A fixed date, 1 January 2000, instead of the date of creation, which a profile must have.
const DATE: (usize, &[u8]) = (24, &[0x07, 0xD0, 0, 1, 0, 1]);

/// The tags that define colours (ICC.1:2022, 9.2): matrix and curves, tables, white and black, and
/// the code points of HDR.
const KEPT: [&[u8; 4]; 26] = [
    b"rXYZ", b"gXYZ", b"bXYZ", b"rTRC", b"gTRC", b"bTRC", b"kTRC", b"A2B0", b"A2B1", b"A2B2",
    b"B2A0", b"B2A1", b"B2A2", b"D2B0", b"D2B1", b"D2B2", b"D2B3", b"B2D0", b"B2D1", b"B2D2",
    b"B2D3", b"wtpt", b"bkpt", b"chad", b"gamt", b"cicp",
];
/// The types that their data may have (ICC.1:2022, 10). None of these is text.
const TYPES: [&[u8; 4]; 10] = [
    b"XYZ ", b"curv", b"para", b"sf32", b"mft1", b"mft2", b"mAB ", b"mBA ", b"mpet", b"cicp",
];
/// A profile must have at least one of these tags.
const REQUIRED: [&[u8; 4]; 4] = [b"rTRC", b"kTRC", b"A2B0", b"D2B0"];

/// A neutral text for the description and the copyright, which every profile must have.
fn neutral(name: &[u8; 4], version: u8) -> Option<&'static [u8]> {
    // Two empty texts follow the first one (ICC.1:2001, 6.5.17).
    const OLD_DESCRIPTION: [u8; 94] = {
        let mut data = [0; 94];
        data.split_at_mut(15)
            .0
            .copy_from_slice(b"desc\0\0\0\0\0\0\0\x04ICC");
        data
    };
    const OLD_COPYRIGHT: &[u8] = b"text\0\0\0\0ICC\0";
    const TEXT: &[u8] = b"mluc\0\0\0\0\0\0\0\x01\0\0\0\x0cenUS\0\0\0\x06\0\0\0\x1c\0I\0C\0C";
    match (name, version) {
        (b"desc", ..4) => Some(&OLD_DESCRIPTION),
        (b"cprt", ..4) => Some(OLD_COPYRIGHT),
        (b"desc" | b"cprt", _) => Some(TEXT),
        _ => None,
    }
}

/// The cleaned profile, or `None` if it is malformed or too long. Its length is a multiple of four.
pub(super) fn clean(profile: &[u8]) -> Option<Vec<u8>> {
    let mut scanner = Scanner::new(profile);
    let length = usize::try_from(u32::from_be_bytes(scanner.array()?)).ok()?;
    // Some files have padding after the profile.
    let profile = profile.get(..length)?;
    let mut scanner = Scanner::new(profile);
    let old = scanner.take(HEADER)?;
    let mut header = [0; HEADER];
    for (from, to) in FIELDS {
        header[from..to].copy_from_slice(&old[from..to]);
    }
    header[DATE.0..][..DATE.1.len()].copy_from_slice(DATE.1);
    header[SIGNATURE.0..]
        .starts_with(SIGNATURE.1)
        .then_some(())?;
    let count = usize::try_from(u32::from_be_bytes(scanner.array()?)).ok()?;
    let (entries, _) = scanner
        .take(count.checked_mul(ENTRY)?)?
        .as_chunks::<ENTRY>();
    let version = header[8];
    let mut tags: Vec<([u8; 4], &[u8])> = Vec::new();
    for &[n0, n1, n2, n3, o0, o1, o2, o3, l0, l1, l2, l3] in entries {
        let name = [n0, n1, n2, n3];
        if tags.iter().any(|tag| tag.0 == name) {
            continue;
        }
        if let Some(text) = neutral(&name, version) {
            tags.push((name, text));
        } else if KEPT.contains(&&name) {
            let from = usize::try_from(u32::from_be_bytes([o0, o1, o2, o3])).ok()?;
            let length = usize::try_from(u32::from_be_bytes([l0, l1, l2, l3])).ok()?;
            let data = profile.get(from..from.checked_add(length)?)?;
            if TYPES.iter().any(|kind| data.starts_with(*kind)) {
                tags.push((name, data));
            }
        }
    }
    REQUIRED
        .iter()
        .any(|name| tags.iter().any(|tag| tag.0 == **name))
        .then_some(())?;
    write(header, &tags)
}

/// Writes a profile with these tags. Equal data, like the three curves of most profiles, is written
/// once.
fn write(header: [u8; HEADER], tags: &[([u8; 4], &[u8])]) -> Option<Vec<u8>> {
    let mut table = (tags.len() as u32).to_be_bytes().to_vec();
    let mut at = HEADER + table.len() + ENTRY * tags.len();
    let mut written: Vec<(usize, &[u8])> = Vec::new();
    for (name, data) in tags {
        let known = written
            .iter()
            .find(|(_, known)| known == data)
            .map(|(from, _)| *from);
        let from = known.unwrap_or(at);
        if known.is_none() {
            written.push((at, data));
            at += data.len().next_multiple_of(4);
        }
        table.extend(
            [
                name,
                &(from as u32).to_be_bytes()[..],
                &(data.len() as u32).to_be_bytes(),
            ]
            .concat(),
        );
    }
    // The result may be longer than the original, in which the data of tags may overlap.
    (at <= MAX_LENGTH).then_some(())?;
    let mut profile = Vec::with_capacity(at);
    profile.extend(header);
    profile[..4].copy_from_slice(&(at as u32).to_be_bytes());
    profile.extend(table);
    for (_, data) in written {
        profile.extend(data);
        profile.resize(profile.len().next_multiple_of(4), 0);
    }
    Some(profile)
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::contains;
    use super::*;

    /// A profile of this version with these tags and with metadata in its header.
    pub fn profile(version: u8, tags: &[(&[u8; 4], &[u8])]) -> Vec<u8> {
        let mut header = [0; HEADER];
        header[4..8].copy_from_slice(b"lcms");
        header[8] = version;
        header[12..24].copy_from_slice(b"mntrRGB XYZ ");
        header[24..36].copy_from_slice(&[7, 0xE9, 0, 5, 0, 17, 0, 13, 0, 37, 0, 59]);
        header[SIGNATURE.0..40].copy_from_slice(SIGNATURE.1);
        header[40..44].copy_from_slice(b"APPL");
        header[48..56].copy_from_slice(b"MakrModl");
        header[68..80].copy_from_slice(&[0, 0, 0xF6, 0xD6, 0, 1, 0, 0, 0, 0, 0xD3, 0x2D]);
        header[80..84].copy_from_slice(b"Jane");
        header[84..100].fill(0xAB);
        let mut table = (tags.len() as u32).to_be_bytes().to_vec();
        let mut data = Vec::new();
        for (name, one) in tags {
            let from = HEADER + 4 + ENTRY * tags.len() + data.len();
            table.extend(
                [
                    *name,
                    &(from as u32).to_be_bytes()[..],
                    &(one.len() as u32).to_be_bytes(),
                ]
                .concat(),
            );
            data.extend(*one);
            data.resize(data.len().next_multiple_of(4), 0);
        }
        let mut profile = [&header[..], &table, &data].concat();
        let length = profile.len() as u32;
        profile[..4].copy_from_slice(&length.to_be_bytes());
        profile
    }

    pub const CURVE: &[u8] = b"curv\0\0\0\0\0\0\0\x01\x02\x33";
    const RED: &[u8] = b"XYZ \0\0\0\0\0\0\x6f\xa2\0\0\x38\xf5\0\0\x03\x90";

    /// Reads the tags of a profile.
    fn tags(profile: &[u8]) -> Vec<(String, Vec<u8>)> {
        let number = |at: usize| u32::from_be_bytes(*profile[at..].first_chunk().unwrap()) as usize;
        assert_eq!(number(0), profile.len());
        let entry = |at: usize| {
            let (from, length) = (number(at + 4), number(at + 8));
            (
                String::from_utf8(profile[at..at + 4].to_vec()).unwrap(),
                profile[from..from + length].to_vec(),
            )
        };
        (0..number(HEADER))
            .map(|i| entry(HEADER + 4 + ENTRY * i))
            .collect()
    }

    #[test]
    fn colours_are_kept_and_texts_makers_and_serial_numbers_are_removed() {
        for version in [2, 4] {
            let file = profile(
                version,
                &[
                    (b"desc", b"desc\0\0\0\0\0\0\0\x0cJane's home\0"),
                    (b"cprt", b"text\0\0\0\0Jane Doe\0"),
                    (b"dmnd", b"desc\0\0\0\0\0\0\0\x05Make\0"),
                    (b"rXYZ", RED),
                    (b"mmod", b"mmod\0\0\0\0\0\0\x06\x10Serial17"),
                    (b"rTRC", CURVE),
                    (b"gTRC", CURVE),
                    (b"wtpt", b"text\0\0\0\0not a colour"),
                    (b"rTRC", b"curv of another"),
                    (b"vcgt", b"vcgt of her screen"),
                    (b"bTRC", CURVE),
                ],
            );
            let clean = clean(&file).unwrap();
            for metadata in [
                &b"Jane"[..],
                b"Make",
                b"Serial",
                b"Makr",
                b"Modl",
                b"lcms",
                b"APPL",
                b"another",
                b"screen",
                b"\xab",
            ] {
                assert!(
                    contains(&file, metadata) && !contains(&clean, metadata),
                    "{metadata:?}"
                );
            }
            assert!(!contains(&clean, &file[24..36]) && clean[8] == version);
            let found = tags(&clean);
            let names: Vec<&str> = found.iter().map(|tag| &*tag.0).collect();
            assert_eq!(names, ["desc", "cprt", "rXYZ", "rTRC", "gTRC", "bTRC"]);
            assert!(found[2].1 == RED && found[3..].iter().all(|tag| tag.1 == CURVE));
            assert_eq!(clean.windows(4).filter(|bytes| bytes == b"curv").count(), 1);
            assert_eq!(super::clean(&clean), Some(clean));
        }
    }

    #[test]
    fn malformed_profiles_are_refused() {
        let valid = profile(2, &[(b"rTRC", CURVE)]);
        assert!(clean(&valid).is_some());
        assert_eq!(clean(&[&valid[..], b"padding"].concat()), clean(&valid));
        for end in 0..valid.len() {
            assert_eq!(clean(&valid[..end]), None, "{end}");
        }
        for (at, value) in [
            (0, 1),
            (36, b'A'),
            (128, 0xFF),
            (136, 0xFF),
            (140, 0xFF),
            (144, b'd'),
            (132, b'x'),
        ] {
            let mut file = valid.clone();
            file[at] = value;
            assert_eq!(clean(&file), None, "{at}");
        }
        assert_eq!(
            clean(&profile(2, &[(b"wtpt", RED), (b"desc", b"desc")])),
            None
        );
    }

    #[test]
    fn a_profile_does_not_grow_beyond_the_limit() {
        let table = [b"mft2", &vec![7; MAX_LENGTH / 2][..]].concat();
        assert!(clean(&profile(2, &[(b"A2B0", &table)])).is_some());
        // Tags whose data overlaps except for the first bytes.
        let starts = [&b"mft2"[..]; 3].concat();
        let mut file = profile(
            2,
            &[
                (b"A2B0", &[&starts[..], &table].concat()),
                (b"A2B1", b""),
                (b"A2B2", b""),
            ],
        );
        for (tag, shift) in [(1, 4), (2, 8)] {
            let first = u32::from_be_bytes(*file[136..].first_chunk().unwrap());
            let entry = &mut file[132 + ENTRY * tag..][..ENTRY];
            entry[4..8].copy_from_slice(&(first + shift).to_be_bytes());
            entry[8..].copy_from_slice(&(table.len() as u32).to_be_bytes());
        }
        assert_eq!(clean(&file), None);
    }
}
