//! Escapes characters that are invisible or control the terminal.

use serde::Serialize;
use std::fmt::Write;
use std::ops::RangeInclusive;

/// Invisible characters: Default_Ignorable_Code_Point of Unicode's
/// DerivedCoreProperties.txt (zero-width, bidirectional controls, variation selectors, tags), the
/// separators of lines and paragraphs, and annotations of U+FFF0 to U+FFFB.
const INVISIBLE: [RangeInclusive<char>; 17] = [
    '\u{ad}'..='\u{ad}',
    '\u{34f}'..='\u{34f}',
    '\u{61c}'..='\u{61c}',
    '\u{115f}'..='\u{1160}',
    '\u{17b4}'..='\u{17b5}',
    '\u{180b}'..='\u{180f}',
    '\u{200b}'..='\u{200f}',
    '\u{2028}'..='\u{202e}',
    '\u{2060}'..='\u{206f}',
    '\u{3164}'..='\u{3164}',
    '\u{fe00}'..='\u{fe0f}',
    '\u{feff}'..='\u{feff}',
    '\u{ffa0}'..='\u{ffa0}',
    '\u{fff0}'..='\u{fffb}',
    '\u{1bca0}'..='\u{1bca3}',
    '\u{1d173}'..='\u{1d17a}',
    '\u{e0000}'..='\u{e0fff}',
];

/// Whether a character is a control character or invisible.
pub fn is_invisible(c: char) -> bool {
    c.is_control() || (!c.is_ascii() && INVISIBLE.iter().any(|range| range.contains(&c)))
}

/// Escapes a short text like a name: invisible characters, unusual spaces, and spaces at its ends.
pub fn plain(text: &str) -> String {
    let (start, end) = (text.len() - text.trim_start().len(), text.trim_end().len());
    let mut plain = String::with_capacity(text.len());
    for (at, c) in text.char_indices() {
        // U+3000 is the usual space in East Asian scripts.
        let usual = matches!(c, ' ' | '\u{3000}') && (start..end).contains(&at);
        match c {
            _ if is_invisible(c) => plain.extend(c.escape_default()),
            _ if c.is_whitespace() && !usual => plain.extend(c.escape_unicode()),
            _ => plain.push(c),
        }
    }
    plain
}

/// Escapes invisible characters in a text of several lines, except for the line breaks.
pub fn lines(text: &str) -> String {
    let mut lines = String::with_capacity(text.len());
    for c in text.chars() {
        if is_invisible(c) && c != '\n' {
            lines.extend(c.escape_default());
        } else {
            lines.push(c);
        }
    }
    lines
}

/// A value as a line of JSON, with invisible characters in JSON's own escapes, so that programs
/// read the same value. The keys of maps must be strings.
pub fn json(value: &impl Serialize) -> String {
    let text = serde_json::to_string(value).expect("texts and numbers serialise");
    let mut json = String::with_capacity(text.len() + 1);
    for c in text.chars() {
        if is_invisible(c) {
            c.encode_utf16(&mut [0; 2])
                .iter()
                .for_each(|unit| _ = write!(json, "\\u{unit:04x}"));
        } else {
            json.push(c);
        }
    }
    json + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn invisible_characters_are_escaped() {
        for (text, escaped) in [
            (
                "a\n\u{1b}[31m\u{202e}阿é\u{9b}",
                "a\\n\\u{1b}[31m\\u{202e}阿é\\u{9b}",
            ),
            (
                "r\u{200b}e\u{2060}i\u{feff}",
                "r\\u{200b}e\\u{2060}i\\u{feff}",
            ),
            (
                "rei\u{e0041}\u{fe0f}\u{ad}\u{61c}",
                "rei\\u{e0041}\\u{fe0f}\\u{ad}\\u{61c}",
            ),
            (" rei  ayanami ", "\\u{20}rei  ayanami\\u{20}"),
            ("\u{3000}阿\u{3000}巴\u{a0}", "\\u{3000}阿\u{3000}巴\\u{a0}"),
            ("rei\u{a0}ayanami", "rei\\u{a0}ayanami"),
            ("  ", "\\u{20}\\u{20}"),
            ("", ""),
        ] {
            assert_eq!(plain(text), escaped, "{text:?}");
        }
    }

    #[test]
    fn line_breaks_are_not_escaped_in_lines() {
        assert_eq!(
            lines("a  b\n c\r\n\u{202e}d\n"),
            "a  b\n c\\r\n\\u{202e}d\n"
        );
    }

    #[test]
    fn escaped_json_has_the_same_value() {
        let text = "\n\u{7f}\u{9b}\u{202e}\u{200b}\u{e0041}阿 \"";
        let shown = json(&text);
        assert_eq!(
            shown,
            "\"\\n\\u007f\\u009b\\u202e\\u200b\\udb40\\udc41阿 \\\"\"\n"
        );
        assert_eq!(serde_json::from_str::<String>(&shown).unwrap(), text);
    }
}
