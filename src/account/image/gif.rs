//! Walks a GIF file block by block and keeps those that show the picture.

use super::walk::Walk;
use super::{Kind, Picture, check_size};

// The first bytes of blocks, and the labels of extensions (GIF89a, appendix A).
const EXTENSION: u8 = 0x21;
const IMAGE: u8 = 0x2C;
const TRAILER: u8 = 0x3B;
const GRAPHIC_CONTROL: u8 = 0xF9;
const APPLICATION: u8 = 0xFF;

/// The length of the signature, and of all up to the end of the screen's size.
const SIGNATURE: usize = 6;
const SCREEN_END: usize = 10;

/// The bit of a flag byte that tells of a colour table.
const COLOUR_TABLE: u8 = 0x80;

/// What a block is to the picture.
enum Block {
    /// An image, with how far it reaches to the right and down.
    Image(u32, u32),
    /// An extension that shapes the animation.
    Animation,
    /// Anything else.
    Other,
}

/// Reads a file that starts with a GIF signature.
pub(super) fn read(file: &[u8]) -> Result<Picture<'_>, &'static str> {
    let mut walk = Walk::new(file);
    let (mut width, mut height) = screen(&mut walk).ok_or("the GIF is truncated")?;
    let has_screen = width > 0 && height > 0;
    let mut head = Vec::new();
    if has_screen {
        check_size(width, height)?;
        walk.keep(0);
    } else {
        walk.keep(SCREEN_END);
    }
    let mut has_image = false;
    let mut start = walk.at();
    // Browsers take the first break after an image for the end, so it ends here too.
    while let Some(block) = block(&mut walk) {
        match block {
            Block::Image(right, bottom) => {
                check_size(width.max(right), height.max(bottom))?;
                if !has_screen {
                    (width, height) = (width.max(right), height.max(bottom));
                }
                has_image = true;
                walk.keep(start);
            }
            Block::Animation => walk.keep(start),
            Block::Other => {}
        }
        start = walk.at();
    }
    if !has_image {
        return Err("the GIF is truncated: it has no complete image");
    }
    if !has_screen {
        // Browsers give such a picture the size of its images.
        let (width, height) = ((width as u16).to_le_bytes(), (height as u16).to_le_bytes());
        head = [&file[..SIGNATURE], &width, &height].concat();
    }
    walk.add(vec![TRAILER]);
    Ok(Picture {
        kind: Kind::Gif,
        width,
        height,
        pieces: walk.finish(head)?,
    })
}

/// Walks over the signature, the logical screen and the global colour table:
/// the width and height of the screen.
fn screen(walk: &mut Walk) -> Option<(u32, u32)> {
    walk.take(SIGNATURE)?;
    let width = number(walk)?;
    let height = number(walk)?;
    let [flags, _background, _aspect] = walk.array()?;
    colour_table(walk, flags)?;
    Some((width, height))
}

/// Walks over one block that is complete and not the trailer.
fn block(walk: &mut Walk) -> Option<Block> {
    let [introducer] = walk.array()?;
    match introducer {
        // Some programs end the data of a block twice.
        0 => Some(Block::Other),
        IMAGE => image(walk),
        EXTENSION => extension(walk),
        _ => None,
    }
}

/// Walks over an image descriptor, its colour table and its data.
fn image(walk: &mut Walk) -> Option<Block> {
    let left = number(walk)?;
    let top = number(walk)?;
    let width = number(walk)?;
    let height = number(walk)?;
    let [flags] = walk.array()?;
    colour_table(walk, flags)?;
    walk.take(1)?; // the minimum code size
    sub_blocks(walk)?;
    Some(Block::Image(left + width, top + height))
}

/// Walks over an extension.
fn extension(walk: &mut Walk) -> Option<Block> {
    let [label] = walk.array()?;
    let data = walk.rest();
    sub_blocks(walk)?;
    // Only these exact forms, as any other sub-block could say anything.
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

/// Walks over a colour table, if the flags tell of one.
fn colour_table(walk: &mut Walk, flags: u8) -> Option<()> {
    if flags & COLOUR_TABLE != 0 {
        walk.take(3 << ((flags & 7) + 1))?;
    }
    Some(())
}

/// Walks over sub-blocks and the empty one that ends them.
fn sub_blocks(walk: &mut Walk) -> Option<()> {
    loop {
        match walk.array()? {
            [0] => return Some(()),
            [length] => walk.take(length.into())?,
        };
    }
}

/// Walks over a 16-bit number.
fn number(walk: &mut Walk) -> Option<u32> {
    Some(u16::from_le_bytes(walk.array()?).into())
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

    /// An image of 1 x 1 pixel at this place, with its own colour table.
    fn image_at(left: u16, top: u16) -> Vec<u8> {
        let place = [left.to_le_bytes(), top.to_le_bytes()].concat();
        let rest = b"\x01\0\x01\0\x81colourtable!\x02\x02ab\0";
        [&[IMAGE], &place[..], rest].concat()
    }

    #[test]
    fn what_shows_the_picture_is_kept() {
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
    fn everything_else_is_dropped() {
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
    fn zeros_between_blocks_are_dropped() {
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
    fn a_screen_without_a_size_gets_that_of_the_images() {
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
