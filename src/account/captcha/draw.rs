//! Draws captcha pictures: two sloping rows of swaying characters, and discs with light and dark exchanged.
//!
//! What keeps readers off the shelf out, and hardly bothers people, was found by trial with
//! `scripts/captcha.sh --ddddocr`. Such readers expect one line of text, so two rows stop them. The
//! rest is for those that first cut the picture in half: a slope, so that a straight cut goes
//! through characters; strokes that sway; and discs that exchange light and dark in the middle of a
//! stroke. Lines, waves and cuts through the characters bother people more than programs.

use super::glyphs::GLYPHS;
use rand::{Rng, RngExt};
use std::f32::consts::TAU;

/// The characters of random answers: those that a person can still tell apart.
/// In trials most misreadings were of 8, d, e, h, t and x.
pub const ALPHABET: &[u8] = b"fkmpw2457";
/// Width of every picture in pixels.
pub const WIDTH: usize = 160;
/// Height of every picture in pixels.
pub const HEIGHT: usize = 60;

/// Red, green and blue of the background (shade 0) and of the ink (shade `FULL`).
const BACKGROUND: [f32; 3] = [246.0, 247.0, 249.0];
const INK: [f32; 3] = [60.0, 66.0, 78.0];
const FULL: f32 = 15.0;
/// Half the line width of the glyphs in pixels.
const GLYPH_RADIUS: f32 = 1.6;
/// The height of every glyph in pixels: small letters become as high as digits.
const GLYPH_HEIGHT: f32 = 17.0;
/// Pixels per grid unit of the font from left to right, and the part of a column that the widest
/// glyphs fill.
const GLYPH_SCALE: f32 = 3.2;
const FILL: f32 = 0.8;
/// Pixels from the left to the right end of a row, and from the middle of the canvas to that of a row.
const ROW_WIDTH: f32 = 150.0;
const ROW_DISTANCE: f32 = 12.5;
/// The fewest pixels from the middle of a glyph to the upper or lower edge.
const MARGIN: f32 = 14.5;
/// How far the strokes of a glyph sway to the left and right, in pixels, and how fast, in radians
/// per pixel of height.
const SWAY: f32 = 1.6;
const SWAY_FREQUENCY: f32 = 0.2;
/// The number of discs, and the pixels between their middles.
const DISCS: u8 = 3;
const DISC_DISTANCE: f32 = 46.0;

type Point = (f32, f32);

/// Returns a PNG file of [`WIDTH`] by [`HEIGHT`] pixels that shows `text`: 1 to 12 of the
/// characters a-z and 0-9. Any other character is skipped.
pub fn draw(text: &str, rng: &mut impl Rng) -> Vec<u8> {
    let mut canvas = Canvas {
        shades: [0; WIDTH * HEIGHT],
        amplitude: (rng.random_range(0.8..1.6), rng.random_range(0.5..1.3)),
        frequency: (rng.random_range(0.11..0.18), rng.random_range(0.05..0.09)),
        phase: (rng.random_range(0.0..TAU), rng.random_range(0.0..TAU)),
        sway: (0.0, 0.0),
    };
    draw_text(text, &mut canvas, rng);
    draw_noise(&mut canvas, rng);
    canvas
        .encode()
        .expect("encoding a fixed size into memory cannot fail")
}

/// Draws the glyphs in two rows, which slope up or down, each randomly shifted, scaled, rotated and
/// swaying.
fn draw_text(text: &str, canvas: &mut Canvas, rng: &mut impl Rng) {
    let glyphs: Vec<&[&[u8]]> = text
        .chars()
        .filter_map(|c| GLYPHS.iter().find(|glyph| glyph.0 == c))
        .map(|&(_, strokes)| strokes)
        .collect();
    let columns = glyphs.len().div_ceil(2).max(1);
    let column_width = (ROW_WIDTH / columns as f32).min(50.0);
    // In pixels of height per pixel of width.
    let slope = rng.random_range(0.08..0.12) * if rng.random() { 1.0 } else { -1.0 };
    for (nth, strokes) in glyphs.into_iter().enumerate() {
        let from_middle = column_width * ((nth % columns) as f32 - (columns - 1) as f32 / 2.0);
        let row = if nth < columns {
            -ROW_DISTANCE
        } else {
            ROW_DISTANCE
        };
        let y = HEIGHT as f32 / 2.0 + row + slope * from_middle;
        let middle = (
            WIDTH as f32 / 2.0 + from_middle + column_width * rng.random_range(-0.08..0.08),
            y.clamp(MARGIN, HEIGHT as f32 - MARGIN),
        );
        let (width, (top, bottom)) = (width(strokes), rows(strokes));
        let scale = (
            GLYPH_SCALE.min(FILL * column_width / width) * rng.random_range(0.9..1.1),
            GLYPH_HEIGHT / (bottom - top) * rng.random_range(0.95..1.05),
        );
        let (sin, cos) = rng.random_range(-0.15..0.15f32).sin_cos();
        let position = |code: &u8| {
            let x = (f32::from(code >> 4) - width / 2.0) * scale.0;
            let y = (f32::from(code & 15) - (top + bottom) / 2.0) * scale.1;
            (middle.0 + x * cos - y * sin, middle.1 + x * sin + y * cos)
        };
        canvas.sway = (
            SWAY_FREQUENCY * rng.random_range(0.8..1.2),
            rng.random_range(0.0..TAU),
        );
        for stroke in strokes {
            let points: Vec<Point> = stroke.iter().map(position).collect();
            canvas.stroke(&points, GLYPH_RADIUS);
        }
    }
}

/// The width of a glyph in grid units.
fn width(strokes: &[&[u8]]) -> f32 {
    let columns = strokes.iter().copied().flatten().map(|code| code >> 4);
    f32::from(columns.max().unwrap_or(0))
}

/// The first and the last row of a glyph.
fn rows(strokes: &[&[u8]]) -> (f32, f32) {
    let rows = || strokes.iter().copied().flatten().map(|code| code & 15);
    let (top, bottom) = (rows().min().unwrap_or(0), rows().max().unwrap_or(15));
    (f32::from(top), f32::from(bottom))
}

/// Draws specks, and exchanges light and dark in discs.
fn draw_noise(canvas: &mut Canvas, rng: &mut impl Rng) {
    for _ in 0..8 {
        let spot = (rng.random_range(4.0..156.0), rng.random_range(4.0..56.0));
        canvas.line(spot, spot, rng.random_range(0.3..1.0));
    }
    let middle = WIDTH as f32 / 2.0 + rng.random_range(-8.0..8.0);
    for nth in 0..DISCS {
        let from_middle = f32::from(nth) - f32::from(DISCS - 1) / 2.0;
        let x = middle + DISC_DISTANCE * from_middle + rng.random_range(-6.0..6.0);
        let y = rng.random_range(19.0..41.0);
        canvas.invert((x, y), rng.random_range(7.5..9.5));
    }
}

/// The picture as shades of ink, and the sine waves that warp strokes: one per axis for all of them,
/// with amplitude in pixels, frequency in radians per pixel, phase in radians; and one for the glyph
/// that is being drawn, with frequency and phase.
struct Canvas {
    shades: [u8; WIDTH * HEIGHT],
    amplitude: Point,
    frequency: Point,
    phase: Point,
    sway: Point,
}

impl Canvas {
    /// Draws a quadratic spline from the first point to the last, with those in between as its
    /// control points.
    fn stroke(&mut self, points: &[Point], radius: f32) {
        let last = points.len() - 1;
        let mut from = points[0];
        let mut pen = self.warp(from);
        // Two points make a straight line: the end is also the control point.
        for i in 1..last.max(2) {
            let control = points[i];
            let to = if i + 1 < last {
                between(control, points[i + 1], 0.5)
            } else {
                points[last]
            };
            let steps = ((distance(from, control) + distance(control, to)) / 3.5).ceil();
            for step in 1..=steps as usize {
                let t = step as f32 / steps;
                let next = self.warp(between(
                    between(from, control, t),
                    between(control, to, t),
                    t,
                ));
                self.line(pen, next, radius);
                pen = next;
            }
            from = to;
        }
    }

    fn warp(&self, (x, y): Point) -> Point {
        let x = x + SWAY * (y * self.sway.0 + self.sway.1).sin();
        let (dx, dy) = (
            (y * self.frequency.0 + self.phase.0).sin(),
            (x * self.frequency.1 + self.phase.1).sin(),
        );
        (x + self.amplitude.0 * dx, y + self.amplitude.1 * dy)
    }

    /// Exchanges light and dark in a disc.
    fn invert(&mut self, middle: Point, radius: f32) {
        let rim = radius + 0.5;
        for row in span(middle.1, middle.1, rim, HEIGHT) {
            for column in span(middle.0, middle.0, rim, WIDTH) {
                let cover = rim - distance((column as f32, row as f32), middle);
                let shade = &mut self.shades[row * WIDTH + column];
                let old = f32::from(*shade);
                let new = old + (FULL - 2.0 * old) * cover.clamp(0.0, 1.0);
                *shade = (new + 0.5) as u8;
            }
        }
    }

    /// Draws a straight line with round ends. Of overlapping lines, the darker shade remains.
    fn line(&mut self, a: Point, b: Point, radius: f32) {
        let rim = radius + 0.5;
        let (dx, dy) = (b.0 - a.0, b.1 - a.1);
        let scale = 1.0 / (dx * dx + dy * dy).max(1e-6);
        for row in span(a.1, b.1, rim, HEIGHT) {
            for column in span(a.0, b.0, rim, WIDTH) {
                let (x, y) = (column as f32 - a.0, row as f32 - a.1);
                let t = ((x * dx + y * dy) * scale).clamp(0.0, 1.0);
                let cover = (rim - distance((x, y), (t * dx, t * dy))).clamp(0.0, 1.0);
                let shade = &mut self.shades[row * WIDTH + column];
                let cover = (cover * FULL + 0.5) as u8;
                *shade = (*shade).max(cover);
            }
        }
    }

    /// Four bits per pixel and no row filter: the fast compression works on runs of background,
    /// which are zero bytes, and a filter would break these up.
    fn encode(&self) -> Result<Vec<u8>, png::EncodingError> {
        let tint = |shade: u8, i: usize| {
            BACKGROUND[i] + (INK[i] - BACKGROUND[i]) * f32::from(shade) / FULL
        };
        let palette: Vec<u8> = (0..=15)
            .flat_map(|shade| [0, 1, 2].map(|i| tint(shade, i) as u8))
            .collect();
        let packed: Vec<u8> = self
            .shades
            .chunks_exact(2)
            .map(|pair| pair[0] << 4 | pair[1])
            .collect();
        let mut bytes = Vec::with_capacity(4096);
        let mut encoder = png::Encoder::new(&mut bytes, WIDTH as u32, HEIGHT as u32);
        encoder.set_color(png::ColorType::Indexed);
        encoder.set_depth(png::BitDepth::Four);
        encoder.set_palette(palette);
        encoder.set_compression(png::Compression::Fast);
        encoder.set_filter(png::Filter::NoFilter);
        let mut writer = encoder.write_header()?;
        writer.write_image_data(&packed)?;
        writer.finish()?;
        Ok(bytes)
    }
}

/// The rows or columns below `end` whose middle is at most `rim` away from the range from a to b.
fn span(a: f32, b: f32, rim: f32, end: usize) -> std::ops::Range<usize> {
    let low = (a.min(b) - rim).ceil().max(0.0) as usize;
    let high = (a.max(b) + rim + 1.0).max(0.0) as usize;
    low..high.min(end)
}

fn between(a: Point, b: Point, t: f32) -> Point {
    (a.0 + (b.0 - a.0) * t, a.1 + (b.1 - a.1) * t)
}

fn distance(a: Point, b: Point) -> f32 {
    let (x, y) = (b.0 - a.0, b.1 - a.1);
    (x * x + y * y).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{SeedableRng, rngs::SmallRng};
    use std::time::UNIX_EPOCH;

    fn answer(rng: &mut impl Rng) -> String {
        (0..6)
            .map(|_| char::from(ALPHABET[rng.random_range(0..ALPHABET.len())]))
            .collect()
    }

    #[test]
    fn every_letter_and_digit_has_a_glyph() {
        let known = |c: u8| GLYPHS.iter().any(|glyph| glyph.0 == char::from(c));
        assert!((b'a'..=b'z').chain(b'0'..=b'9').all(known));
        assert!(ALPHABET.len() >= 9 && ALPHABET.iter().all(|&c| known(c)));
    }

    #[test]
    fn a_picture_decodes_to_its_size() {
        let bytes = draw("k7wtem", &mut SmallRng::seed_from_u64(1));
        let mut reader = png::Decoder::new(std::io::Cursor::new(bytes))
            .read_info()
            .unwrap();
        let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
        let info = reader.next_frame(&mut pixels).unwrap();
        assert_eq!((info.width as usize, info.height as usize), (WIDTH, HEIGHT));
    }

    #[test]
    fn pictures_are_small() {
        let mut rng = SmallRng::seed_from_u64(2);
        for _ in 0..500 {
            let text = answer(&mut rng);
            assert!(draw(&text, &mut rng).len() <= 4096, "{text}");
        }
    }

    #[test]
    fn two_pictures_of_one_text_differ() {
        let mut rng = SmallRng::seed_from_u64(3);
        assert_ne!(draw("h2xkp4", &mut rng), draw("h2xkp4", &mut rng));
    }

    #[test]
    fn characters_without_a_glyph_are_skipped() {
        let mut rng = SmallRng::seed_from_u64(4);
        for text in ["", "i", "é", "A b\0", "ijl1oqzsc069", &"w".repeat(100)] {
            assert!(draw(text, &mut rng).starts_with(b"\x89PNG"));
        }
    }

    #[test]
    #[ignore = "for scripts/captcha.sh: writes CAPTCHA_COUNT pictures (default 300) to CAPTCHA_DIR, seeded with CAPTCHA_SEED (default: the clock)"]
    fn samples() {
        let folder = std::env::var("CAPTCHA_DIR").expect("CAPTCHA_DIR names a folder");
        let count = std::env::var("CAPTCHA_COUNT").map_or(300, |count| count.parse().unwrap());
        let now = UNIX_EPOCH.elapsed().unwrap().as_nanos() as u64;
        let mut rng = SmallRng::seed_from_u64(
            std::env::var("CAPTCHA_SEED").map_or(now, |seed| seed.parse().unwrap()),
        );
        for number in 1..=count {
            let text = answer(&mut rng);
            let path = format!("{folder}/{number:04}-{text}.png");
            std::fs::write(path, draw(&text, &mut rng)).unwrap();
        }
    }
}
