//! Cleans a colour profile: what colours need stays; texts, dates, makes and serial numbers go.

use super::walk::Walk;

/// The longest profile in bytes that is kept. Those of printing presses have up to about 3 million.
pub(super) const LONGEST: usize = 4 * 1024 * 1024;

/// The length of the header (ICC.1:2022, 7.2); the number of tags follows.
const HEADER: usize = 128;
/// The length of an entry in the table of tags.
const ENTRY: usize = 12;
/// The parts of the header that stay, from and to: version; class, colour space and connection
/// space; the mark of every profile; intent and illuminant. The rest names makers, models and
/// dates, or is a digest.
const FIELDS: [(usize, usize); 4] = [(8, 10), (12, 24), (36, 40), (64, 80)];
const MARK: (usize, &[u8]) = (36, b"acsp");
/// The year 2000, instead of the date of creation: a date must be there.
const DATE: (usize, &[u8]) = (24, &[0x07, 0xD0, 0, 1, 0, 1]);

/// The tags that make colours (ICC.1:2022, 9.2): matrix and curves, tables, white and black, and
/// the code points of HDR.
const KEPT: [&[u8; 4]; 26] = [
    b"rXYZ", b"gXYZ", b"bXYZ", b"rTRC", b"gTRC", b"bTRC", b"kTRC", b"A2B0", b"A2B1", b"A2B2",
    b"B2A0", b"B2A1", b"B2A2", b"D2B0", b"D2B1", b"D2B2", b"D2B3", b"B2D0", b"B2D1", b"B2D2",
    b"B2D3", b"wtpt", b"bkpt", b"chad", b"gamt", b"cicp",
];
/// The types of their data (ICC.1:2022, 10). None of them is text.
const TYPES: [&[u8; 4]; 10] = [
    b"XYZ ", b"curv", b"para", b"sf32", b"mft1", b"mft2", b"mAB ", b"mBA ", b"mpet", b"cicp",
];
/// A profile has at least one of these.
const NEEDED: [&[u8; 4]; 4] = [b"rTRC", b"kTRC", b"A2B0", b"D2B0"];

/// What stands in place of the description and the copyright, which every profile must have.
fn neutral(name: &[u8; 4], version: u8) -> Option<&'static [u8]> {
    // Behind the text follow two more of them, which are empty (ICC.1:2001, 6.5.17).
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

/// The profile without anything else, or nothing if it is malformed or too long. Its length is a
/// multiple of four.
pub(super) fn clean(profile: &[u8]) -> Option<Vec<u8>> {
    let mut walk = Walk::new(profile);
    let length = usize::try_from(u32::from_be_bytes(walk.array()?)).ok()?;
    // Some files have padding behind the profile.
    let profile = profile.get(..length)?;
    let mut walk = Walk::new(profile);
    let old = walk.take(HEADER)?;
    let mut header = [0; HEADER];
    for (from, to) in FIELDS {
        header[from..to].copy_from_slice(&old[from..to]);
    }
    header[DATE.0..][..DATE.1.len()].copy_from_slice(DATE.1);
    header[MARK.0..].starts_with(MARK.1).then_some(())?;
    let count = usize::try_from(u32::from_be_bytes(walk.array()?)).ok()?;
    let (entries, _) = walk.take(count.checked_mul(ENTRY)?)?.as_chunks::<ENTRY>();
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
    NEEDED
        .iter()
        .any(|name| tags.iter().any(|tag| tag.0 == **name))
        .then_some(())?;
    write(header, &tags)
}

/// A profile of these tags; equal data is written once, as the three curves of most profiles.
fn write(header: [u8; HEADER], tags: &[([u8; 4], &[u8])]) -> Option<Vec<u8>> {
    let mut table = (tags.len() as u32).to_be_bytes().to_vec();
    let mut at = HEADER + table.len() + ENTRY * tags.len();
    let mut written: Vec<(usize, &[u8])> = Vec::new();
    for (name, data) in tags {
        let known = written
            .iter()
            .find(|(_, one)| one == data)
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
    // Tags may share data in part, so that a short profile would become a long one.
    (at <= LONGEST).then_some(())?;
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

    /// A profile of this version with these tags, and a maker in its header.
    pub fn profile(version: u8, tags: &[(&[u8; 4], &[u8])]) -> Vec<u8> {
        let mut header = [0; HEADER];
        header[4..8].copy_from_slice(b"lcms");
        header[8] = version;
        header[12..24].copy_from_slice(b"mntrRGB XYZ ");
        header[24..36].copy_from_slice(&[7, 0xE9, 0, 5, 0, 17, 0, 13, 0, 37, 0, 59]);
        header[MARK.0..40].copy_from_slice(MARK.1);
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

    /// The tags of a profile, read anew.
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
    fn colours_stay_and_texts_makes_and_serial_numbers_go() {
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
            for told in [
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
                assert!(contains(&file, told) && !contains(&clean, told), "{told:?}");
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
    fn malformed_profiles_are_dropped() {
        let sound = profile(2, &[(b"rTRC", CURVE)]);
        assert!(clean(&sound).is_some());
        assert_eq!(clean(&[&sound[..], b"padding"].concat()), clean(&sound));
        for end in 0..sound.len() {
            assert_eq!(clean(&sound[..end]), None, "{end}");
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
            let mut file = sound.clone();
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
        let table = [b"mft2", &vec![7; LONGEST / 2][..]].concat();
        assert!(clean(&profile(2, &[(b"A2B0", &table)])).is_some());
        // Tags that share all but their first bytes.
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
