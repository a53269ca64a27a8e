//! Output for people: aligned columns, times, counts.

pub use crate::log::escape::{json, plain};

use std::time::{Duration, SystemTime};
use unicode_width::UnicodeWidthStr;

/// A time in Unix seconds, in the format of the log.
pub fn time(seconds: i64) -> String {
    let since = Duration::from_secs(u64::try_from(seconds).unwrap_or_default());
    humantime::format_rfc3339_seconds(SystemTime::UNIX_EPOCH + since).to_string()
}

/// A number with its noun, whose plural ends in s.
pub fn count(number: u64, noun: &str) -> String {
    format!("{number} {noun}{}", if number == 1 { "" } else { "s" })
}

/// Rows in columns. A column keeps its width from page to page, and grows for a wider cell.
pub struct Table<const N: usize> {
    widths: [usize; N],
    header: Option<[String; N]>,
}

impl<const N: usize> Table<N> {
    /// Columns without a header.
    pub fn without_header() -> Table<N> {
        Table {
            widths: [0; N],
            header: None,
        }
    }

    /// Columns with a header on the first page.
    pub fn with_header(header: [&str; N]) -> Table<N> {
        Table {
            widths: [0; N],
            header: Some(header.map(String::from)),
        }
    }

    /// The lines of these rows.
    pub fn page(&mut self, rows: impl IntoIterator<Item = [String; N]>) -> String {
        let rows: Vec<_> = self.header.take().into_iter().chain(rows).collect();
        for (column, width) in self.widths.iter_mut().enumerate() {
            *width = rows
                .iter()
                .map(|row| row[column].width())
                .fold(*width, usize::max);
        }
        let mut text = String::new();
        for row in &rows {
            let cell = |(cell, width): (&String, &usize)| {
                format!("{cell}{}", " ".repeat(2 + width - cell.width()))
            };
            text += row
                .iter()
                .zip(&self.widths)
                .map(cell)
                .collect::<String>()
                .trim_end();
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
        let rows = [
            row("rei", "1"),
            row("阿巴", "2"),
            row("", "3"),
            row("e\u{301}", ""),
        ];
        assert_eq!(
            Table::without_header().page(rows),
            "rei   1\n阿巴  2\n      3\ne\u{301}\n"
        );
        let mut table = Table::with_header(["A", "B"]);
        assert_eq!(table.page([row("1", "2")]), "A  B\n1  2\n");
        assert_eq!(
            table.page([row("long", "3"), row("4", "5")]),
            "long  3\n4     5\n"
        );
        assert_eq!(
            table.page([row("6", "7")]),
            "6     7\n",
            "a column does not shrink"
        );
    }

    #[test]
    fn times_are_utc() {
        assert_eq!(time(1_795_544_937), "2026-11-24T18:28:57Z");
        assert_eq!(time(-1), "1970-01-01T00:00:00Z");
    }
}
