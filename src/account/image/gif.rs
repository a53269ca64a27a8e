//! Cleans a GIF file: keeps the blocks that are needed to show the picture.

use super::scanner::Scanner;
use super::{Kind, Picture, check_size};

// The first bytes of blocks, and the labels of extensions (GIF89a, appendix A).
const EXTENSION: u8 = 0x21;
const IMAGE: u8 = 0x2C;
const TRAILER: u8 = 0x3B;
const GRAPHIC_CONTROL: u8 = 0xF9;
const APPLICATION: u8 = 0xFF;

/// The length of the signature, and the position after the size of the logical screen.
const SIGNATURE: usize = 6;
const SCREEN_END: usize = 10;

/// The bit of a flag byte that announces a colour table.
const COLOUR_TABLE: u8 = 0x80;

/// The role of a block.
enum Block {
    /// An image, with its right and bottom edge.
    Image(u32, u32),
    /// An extension about the animation.
    Animation,
    /// Anything else.
    Other,
}

/// Reads a file that starts with a GIF signature.
pub(super) fn read(file: &[u8]) -> Result<Picture<'_>, &'static str> {
    let mut scanner = Scanner::new(file);
    let (mut width, mut height) = screen(&mut scanner).ok_or("the GIF is truncated")?;
    let has_screen = width > 0 && height > 0;
    let mut head = Vec::new();
    if has_screen {
        check_size(width, height)?;
        scanner.keep(0);
    } else {
        scanner.keep(SCREEN_END);
    }
    let mut has_image = false;
    let mut start = scanner.position();
    // Browsers take the first damage after an image as the end of the file, and so does this.
    while let Some(block) = block(&mut scanner) {
        match block {
            Block::Image(right, bottom) => {
                check_size(width.max(right), height.max(bottom))?;
                if !has_screen {
                    (width, height) = (width.max(right), height.max(bottom));
                }
                has_image = true;
                scanner.keep(start);
            }
            Block::Animation => scanner.keep(start),
            Block::Other => {}
        }
        start = scanner.position();
    }
    if !has_image {
        return Err("the GIF is truncated: it has no complete image");
    }
    if !has_screen {
        // Browsers use the size of the images if the screen has none.
        let (width, height) = ((width as u16).to_le_bytes(), (height as u16).to_le_bytes());
        head = [&file[..SIGNATURE], &width, &height].concat();
    }
    scanner.add(vec![TRAILER]);
    Ok(Picture {
        kind: Kind::Gif,
        width,
        height,
        pieces: scanner.finish(head)?,
    })
}

/// Reads the signature, the logical screen and the global colour table. Returns the width and
/// height of the screen.
fn screen(scanner: &mut Scanner) -> Option<(u32, u32)> {
    scanner.take(SIGNATURE)?;
    let width = number(scanner)?;
    let height = number(scanner)?;
    let [flags, _background, _aspect] = scanner.array()?;
    colour_table(scanner, flags)?;
    Some((width, height))
}

/// Reads one block; `None` for the trailer and for an incomplete block.
fn block(scanner: &mut Scanner) -> Option<Block> {
    let [introducer] = scanner.array()?;
    match introducer {
        // Some programs write a second terminator after a block.
        0 => Some(Block::Other),
        IMAGE => image(scanner),
        EXTENSION => extension(scanner),
        _ => None,
    }
}

/// Reads an image descriptor, its colour table and its data.
fn image(scanner: &mut Scanner) -> Option<Block> {
    let left = number(scanner)?;
    let top = number(scanner)?;
    let width = number(scanner)?;
    let height = number(scanner)?;
    let [flags] = scanner.array()?;
    colour_table(scanner, flags)?;
    scanner.take(1)?; // the minimum code size
    sub_blocks(scanner)?;
    Some(Block::Image(left + width, top + height))
}

/// Reads an extension.
fn extension(scanner: &mut Scanner) -> Option<Block> {
    let [label] = scanner.array()?;
    let data = scanner.rest();
    sub_blocks(scanner)?;
    // Only these exact forms are kept, since other sub-blocks could contain any text.
    let is_animation = match label {
        GRAPHIC_CONTROL => matches!(data, [4, _, _, _, _, 0, ..]),
        APPLICATION => [b"\x0bNETSCAPE2.0", b"\x0bANIMEXTS1.0"].iter().any(|name| {
            let data = data.strip_prefix(*name);
            matches!(data, Some([3, 1, _, _, 0, ..]))
        }),
        _ => false,
    };
    Some(if is_animation {
        Block::Animation
    } else {
        Block::Other
    })
}

/// Reads the colour table that the flags announce, if any.
fn colour_table(scanner: &mut Scanner, flags: u8) -> Option<()> {
    if flags & COLOUR_TABLE != 0 {
        scanner.take(3 << ((flags & 7) + 1))?;
    }
    Some(())
}

/// Reads sub-blocks and the empty one that terminates them.
fn sub_blocks(scanner: &mut Scanner) -> Option<()> {
    loop {
        match scanner.array()? {
            [0] => return Some(()),
            [length] => scanner.take(length.into())?,
        };
    }
}

/// Reads a 16-bit number.
fn number(scanner: &mut Scanner) -> Option<u32> {
    Some(u16::from_le_bytes(scanner.array()?).into())
}

#[cfg(test)]
mod tests {
    use super::super::{cleaned, contains, read};
    use super::*;

    const CONTROL: &[u8] = b"\x21\xf9\x04\x04\x0a\0\0\0";
    const LOOP: &[u8] = b"\x21\xff\x0bNETSCAPE2.0\x03\x01\0\0\0";
    const PIXELS: &[u8] = b"\x2c\0\0\0\0\x03\0\x02\0\0\x02\x03abc\0";

    /// A file of 3 x 2 pixels with these blocks and a global colour table.
    fn gif(blocks: &[&[u8]]) -> Vec<u8> {
        let screen = b"GIF89a\x03\0\x02\0\x80\0\0\0\0\0\xff\xff\xff";
        [&screen[..], &blocks.concat()].concat()
    }

    /// An image of 1 x 1 pixel at this position, with its own colour table.
    fn image_at(left: u16, top: u16) -> Vec<u8> {
        let position = [left.to_le_bytes(), top.to_le_bytes()].concat();
        let rest = b"\x01\0\x01\0\x81colourtable!\x02\x02ab\0";
        [&[IMAGE], &position[..], rest].concat()
    }

    #[test]
    fn blocks_that_show_the_picture_are_kept() {
        let endless = LOOP.to_vec();
        let other_name = b"\x21\xff\x0bANIMEXTS1.0\x03\x01\x05\0\0";
        let second = image_at(1, 1);
        let file = gif(&[
            &endless, other_name, CONTROL, PIXELS, CONTROL, &second, b"\x3b",
        ]);
        let picture = read(&file).unwrap();
        assert_eq!((picture.width, picture.height), (3, 2));
        assert_eq!(picture.pieces.len(), 2);
        assert_eq!(picture.pieces.concat(), file);
        let older = [b"GIF87a", &file[6..]].concat();
        assert_eq!(cleaned(&older), Ok(older));
    }

    #[test]
    fn other_blocks_are_removed() {
        for dropped in [
            &b"\x21\xfe\x04home\0"[..],
            b"\x21\x01\x0c123456789012\x04home\0",
            b"\x21\xff\x0bXMP DataXMP\x04home\0",
            b"\x21\xff\x0bICCRGBG1012\x04home\0",
            b"\x21\xff\x0bNETSCAPE2.0\x03\x01\0\0\x04home\0",
            b"\x21\xf9\x04\x04\x0a\0\0\x04home\0",
            b"\x21\x99\x04home\0",
        ] {
            let file = gif(&[dropped, PIXELS, dropped, CONTROL, PIXELS, b"\x3b", dropped]);
            let clean = gif(&[PIXELS, CONTROL, PIXELS, b"\x3b"]);
            assert_eq!(cleaned(&file), Ok(clean));
            assert!(!contains(&cleaned(&file).unwrap(), b"home"));
        }
    }

    #[test]
    fn a_missing_trailer_is_added() {
        let clean = gif(&[PIXELS, b"\x3b"]);
        for end in [
            &b""[..],
            b"\0junk",
            &PIXELS[..PIXELS.len() - 1],
            b"\x21\xfe\x09ho",
        ] {
            assert_eq!(cleaned(&gif(&[PIXELS, end])).as_ref(), Ok(&clean));
        }
        let file = gif(&[PIXELS]);
        for end in 0..file.len() {
            assert!(cleaned(&file[..end]).is_err());
        }
        assert!(cleaned(&gif(&[CONTROL, b"\x3b"])).is_err());
    }

    #[test]
    fn large_screens_and_images_are_refused() {
        assert!(cleaned(&gif(&[&image_at(16_383, 0), b"\x3b"])).is_ok());
        for (left, top) in [(16_384, 0), (0, 16_384), (16_000, 16_000), (65_535, 65_535)] {
            assert!(cleaned(&gif(&[PIXELS, &image_at(left, top), b"\x3b"])).is_err());
        }
        for at in [7, 9] {
            let mut file = gif(&[PIXELS, b"\x3b"]);
            file[at] = 0xFF;
            assert!(cleaned(&file).is_err());
        }
    }

    #[test]
    fn zeros_between_blocks_are_removed() {
        let zeros: &[u8] = &[0; 9];
        let file = gif(&[
            zeros,
            LOOP,
            b"\0",
            CONTROL,
            PIXELS,
            b"\0",
            CONTROL,
            zeros,
            PIXELS,
            b"\0\0\x3b",
        ]);
        assert_eq!(
            cleaned(&file),
            Ok(gif(&[LOOP, CONTROL, PIXELS, CONTROL, PIXELS, b"\x3b"]))
        );
    }

    #[test]
    fn a_screen_without_a_size_gets_the_size_of_the_images() {
        let screen = |width: u8, height: u8, blocks: &[&[u8]]| {
            let mut file = gif(blocks);
            (file[6], file[8]) = (width, height);
            file
        };
        let corner = image_at(6, 4);
        let blocks: [&[u8]; 5] = [CONTROL, PIXELS, CONTROL, &corner, b"\x3b"];
        for (width, height) in [(0, 0), (0, 5), (7, 0)] {
            let file = screen(width, height, &blocks);
            let picture = read(&file).unwrap();
            assert_eq!((picture.width, picture.height), (7, 5));
            assert_eq!(picture.pieces.concat(), screen(7, 5, &blocks));
        }
        let empty = b"\x2c\0\0\0\0\0\0\0\0\0\x02\0";
        for images in [
            &[&empty[..]][..],
            &[&image_at(16_383, 0), &image_at(0, 16_383)],
        ] {
            assert!(cleaned(&screen(0, 0, images)).is_err());
            assert!(cleaned(&screen(3, 2, images)).is_ok());
        }
    }
}
