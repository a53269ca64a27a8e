//! Reads the orientation from an EXIF block, and makes a block with only the orientation.

/// The TIFF tag of the orientation (EXIF 2.3, 4.6.4 A).
const ORIENTATION: u16 = 0x0112;
/// The TIFF field type of a 16-bit number.
const SHORT: u16 = 3;

/// The orientation in a TIFF block, with or without the `Exif` identifier before it, if it rotates
/// or mirrors the picture (2 to 8).
pub(super) fn orientation(block: &[u8]) -> Option<u8> {
    let tiff = match block.split_first_chunk() {
        Some(([b'E', b'x', b'i', b'f', 0, _], tiff)) => tiff,
        _ => block,
    };
    let is_big = match tiff.first_chunk()? {
        b"MM\0*" => true,
        b"II*\0" => false,
        _ => return None,
    };
    let short = |bytes| match is_big {
        true => u16::from_be_bytes(bytes),
        false => u16::from_le_bytes(bytes),
    };
    let long = |bytes| match is_big {
        true => u32::from_be_bytes(bytes),
        false => u32::from_le_bytes(bytes),
    };
    let first_directory = long(*tiff.get(4..)?.first_chunk()?);
    let directory = tiff.get(usize::try_from(first_directory).ok()?..)?;
    let (&count, entries) = directory.split_first_chunk()?;
    let (entries, _) = entries.as_chunks::<12>();
    entries
        .iter()
        .take(usize::from(short(count)))
        .find_map(|&[t0, t1, f0, f1, c0, c1, c2, c3, v0, v1, _, _]| {
            let is_orientation = short([t0, t1]) == ORIENTATION
                && short([f0, f1]) == SHORT
                && long([c0, c1, c2, c3]) == 1;
            is_orientation.then(|| short([v0, v1]))
        })
        .and_then(|value| u8::try_from(value).ok())
        .filter(|value| (2..=8).contains(value))
}

/// The smallest TIFF block: one directory with one entry, the orientation.
pub(super) fn minimal(orientation: u8) -> Vec<u8> {
    let entry = [1, 0x12, 0, 3, 0, 0, 0, 1, 0, orientation, 0, 0];
    // The directory is at offset 8 and ends with the offset of the next directory: none.
    [&b"MM\0*\0\0\0\x08\0\x01"[..], &entry, &[0; 4]].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A block in the other byte order, with one entry before the orientation.
    fn little_endian(orientation: u8) -> Vec<u8> {
        let make = *b"\x0f\x01\x02\0\x04\0\0\0Cam\0";
        let entry = [0x12, 1, 3, 0, 1, 0, 0, 0, orientation, 0, 0, 0];
        [&b"II*\0\x0a\0\0\0--\x02\0"[..], &make, &entry, &[0; 4]].concat()
    }

    #[test]
    fn both_byte_orders_are_read() {
        for value in 0..=255 {
            let expected = (2..=8).contains(&value).then_some(value);
            assert_eq!(orientation(&minimal(value)), expected);
            assert_eq!(orientation(&little_endian(value)), expected);
        }
    }

    #[test]
    fn the_exif_identifier_is_skipped() {
        let block = [&b"Exif\0\0"[..], &little_endian(8)].concat();
        assert_eq!(orientation(&block), Some(8));
    }

    #[test]
    fn an_entry_with_another_type_or_count_is_ignored() {
        for (at, value) in [(13, 4), (17, 2), (18, 1), (3, 43), (0, b'I')] {
            let mut block = minimal(6);
            block[at] = value;
            assert_eq!(orientation(&block), None);
        }
    }

    #[test]
    fn only_the_counted_entries_are_read() {
        let mut block = little_endian(6);
        block[10] = 1;
        assert_eq!(orientation(&block), None);
        block[10..12].fill(0xFF);
        assert_eq!(orientation(&block), Some(6));
    }

    #[test]
    fn malformed_blocks_do_not_panic() {
        for block in [minimal(6), little_endian(6)] {
            for end in 0..block.len() {
                orientation(&block[..end]);
                for value in [0, 0x7F, 0xFF] {
                    let mut mutated = block.clone();
                    mutated[end] = value;
                    orientation(&mutated);
                }
            }
        }
        assert_eq!(orientation(b"MM\0*\xff\xff\xff\xff\0\x01"), None);
    }
}
