//! Draws the QR code of a text as an SVG picture.

use qrcodegen::{QrCode, QrCodeEcc};
use std::fmt::Write;

/// Modules of the white margin, which ISO/IEC 18004 demands.
const MARGIN: i32 = 4;

/// The QR code of a text as an SVG picture: a white square, and one black path. `None` if the text
/// is too long.
pub fn svg(text: &str) -> Option<String> {
    let code = QrCode::encode_text(text, QrCodeEcc::Low).ok()?;
    let side = code.size() + 2 * MARGIN;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {side} {side}\" shape-rendering=\"crispEdges\">\
         <path fill=\"#fff\" d=\"M0 0h{side}v{side}H0z\"/><path d=\""
    );
    for y in 0..code.size() {
        let mut x = 0;
        while x < code.size() {
            let length = (x..code.size())
                .take_while(|x| code.get_module(*x, y))
                .count() as i32;
            if length > 0 {
                let _ = write!(svg, "M{} {}h{length}v1h-{length}z", x + MARGIN, y + MARGIN);
            }
            x += length.max(1);
        }
    }
    svg.push_str("\"/></svg>");
    Some(svg)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_path_has_the_modules_of_the_code() {
        let svg = svg("otpauth://totp/a:b?secret=MZXW6YTB").unwrap();
        let path = svg.split("<path d=\"").nth(1).unwrap();
        // The finder pattern in the upper left corner is seven modules wide and high.
        assert!(path.starts_with("M4 4h7v1h-7z"), "{path}");
        assert!(path.contains("M4 5h1v1h-1zM10 5h1v1h-1z"), "{path}");
        assert!(path.ends_with("\"/></svg>"));
    }

    #[test]
    fn a_text_that_is_too_long_has_no_code() {
        assert!(svg(&"a".repeat(2953)).is_some());
        assert!(svg(&"a".repeat(2954)).is_none());
    }
}
