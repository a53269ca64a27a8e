//! Output for people: columns that are aligned in every script, times, and texts that do nothing to a terminal.

use std::time::{Duration, SystemTime};
use unicode_width::UnicodeWidthStr;

/// A text whose control characters, and those that turn the direction of writing, are escaped.
pub fn plain(text: &str) -> String {
    let turns =
        |c: char| matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}');
    text.chars().fold(String::with_capacity(text.len()), |mut plain, c| {
        if c.is_control() || turns(c) {
            plain.extend(c.escape_default());
        } else {
            plain.push(c);
        }
        plain
    })
}

/// Unix seconds as the log writes times.
pub fn time(seconds: i64) -> String {
    let since = Duration::from_secs(u64::try_from(seconds).unwrap_or_default());
    humantime::format_rfc3339_seconds(SystemTime::UNIX_EPOCH + since).to_string()
}

/// Rows in columns, which grow as they have to.
pub struct Table<const N: usize> {
    widths: [usize; N],
}

impl<const N: usize> Table<N> {
    /// Columns that have room for these rows.
    pub fn new(rows: &[[String; N]]) -> Table<N> {
        let mut table = Table { widths: [0; N] };
        table.widen(rows);
        table
    }

    /// Makes room for these rows too.
    pub fn widen(&mut self, rows: &[[String; N]]) {
        for row in rows {
            for (width, cell) in self.widths.iter_mut().zip(row) {
                *width = (*width).max(cell.width());
            }
        }
    }

    /// A line for each row.
    pub fn lines(&self, rows: &[[String; N]]) -> String {
        let mut text = String::new();
        for row in rows {
            let mut line = String::new();
            for (width, cell) in self.widths.iter().zip(row) {
                line += cell;
                line += &" ".repeat(2 + width - cell.width());
            }
            text += line.trim_end();
            text.push('\n');
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_in_every_script() {
        let row = |a: &str, b: &str| [a.to_string(), b.to_string()];
        let rows = [row("rei", "1"), row("阿巴", "2"), row("", "3"), row("e\u{301}", "")];
        assert_eq!(Table::new(&rows).lines(&rows), "rei   1\n阿巴  2\n      3\ne\u{301}\n");
    }

    #[test]
    fn nothing_reaches_the_terminal_that_does_something_to_it() {
        assert_eq!(plain("a\n\u{1b}[31m\u{202e}阿é\u{9b}"), "a\\n\\u{1b}[31m\\u{202e}阿é\\u{9b}");
    }

    #[test]
    fn times_are_utc() {
        assert_eq!(time(1_795_544_937), "2026-11-24T18:28:57Z");
        assert_eq!(time(-1), "1970-01-01T00:00:00Z");
    }
}
