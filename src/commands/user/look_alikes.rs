//! User names that a person may mistake for each other.

use crate::command::Failure;
use crate::commands::DataFolder;
use crate::log::escape::is_invisible;
use crate::store::accounts;
use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};

/// Names per query.
const PAGE: i64 = 10_000;
/// Ids that are shown for a name, so that a thousand look-alikes do not print a million ids.
const SHOWN: usize = 5;

/// The users whose name looks like another user's.
pub struct LookAlikes {
    /// Hashes of the skeletons that several users share, each with the id of one of these users;
    /// sorted.
    alike: Vec<(u64, i64)>,
    /// For each of these users, the index of the first entry with the same hash.
    starts: HashMap<i64, usize>,
}

impl LookAlikes {
    /// Compares the names of all users.
    pub fn find(folder: &DataFolder) -> Result<LookAlikes, Failure> {
        let mut all = Vec::new();
        let mut last = 0;
        loop {
            let page = folder.read(|db| accounts::names(db, last, PAGE))?;
            let Some((id, _)) = page.last() else {
                return Ok(LookAlikes::among(all));
            };
            last = *id;
            all.extend(page.iter().map(|(id, name)| (hash(&skeleton(name)), *id)));
        }
    }

    /// The users who share a skeleton. Hashes keep this at 16 bytes a user; among a million users,
    /// two different skeletons have the same hash with a probability of one in 40 million.
    fn among(mut all: Vec<(u64, i64)>) -> LookAlikes {
        all.sort_unstable();
        let mut found = LookAlikes {
            alike: Vec::new(),
            starts: HashMap::new(),
        };
        for group in all
            .chunk_by(|one, other| one.0 == other.0)
            .filter(|group| group.len() > 1)
        {
            let start = found.alike.len();
            found
                .starts
                .extend(group.iter().map(|(_, id)| (*id, start)));
            found.alike.extend(group);
        }
        found
    }

    /// The ids of at most [`SHOWN`] other users whose names look like that of this user.
    pub fn of(&self, id: i64) -> Vec<i64> {
        let Some(start) = self.starts.get(&id) else {
            return Vec::new();
        };
        let from = &self.alike[*start..];
        let group = from.iter().take_while(|(hash, _)| *hash == from[0].0);
        group
            .map(|(_, one)| *one)
            .filter(|one| *one != id)
            .take(SHOWN)
            .collect()
    }
}

fn hash(text: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    hasher.finish()
}

/// A name without the differences that a reader may miss: invisible characters, spaces at its ends,
/// kinds of spaces, upper and lower case, full-width forms.
fn skeleton(name: &str) -> String {
    // Upper case first: some letters have two lower-case forms, as sigma has.
    let seen = name
        .chars()
        .filter(|c| !is_invisible(*c))
        .map(narrow)
        .flat_map(char::to_uppercase);
    let skeleton: String = seen.flat_map(char::to_lowercase).collect();
    skeleton.trim().into()
}

/// A full-width form (Unicode's block U+FF00 to U+FFEF) as its ordinary character, and any space as
/// U+0020.
fn narrow(c: char) -> char {
    match c {
        '\u{ff01}'..='\u{ff5e}' => char::from_u32(c as u32 - 0xff01 + u32::from('!')).unwrap_or(c),
        '\u{ffe0}' => '¢',
        '\u{ffe1}' => '£',
        '\u{ffe2}' => '¬',
        '\u{ffe3}' => '¯',
        '\u{ffe4}' => '¦',
        '\u{ffe5}' => '¥',
        '\u{ffe6}' => '₩',
        c if c.is_whitespace() => ' ',
        c => c,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_look_alike_have_one_skeleton() {
        for (name, other) in [
            ("rei", "REI"),
            ("rei", "ｒｅｉ"),
            ("rei", "r\u{200b}ei"),
            ("rei", "rei\u{e0041}"),
            ("rei", "\u{202e}rei"),
            ("rei", "rei\u{7}"),
            ("rei", " rei\u{3000}"),
            ("rei ayanami", "rei\u{a0}ayanami"),
            ("ΣΊΣΥΦΟΣ", "σίσυφος"),
            ("a~1", "ａ～１"),
        ] {
            assert_eq!(skeleton(name), skeleton(other), "{other:?}");
        }
        for (name, other) in [
            ("rei", "rey"),
            ("rei", "re i"),
            ("阿巴", "阿八"),
            ("a", "á"),
            ("1", "l"),
        ] {
            assert_ne!(skeleton(name), skeleton(other), "{other:?}");
        }
    }

    #[test]
    fn a_user_gets_the_ids_of_at_most_five_others() {
        let alike = LookAlikes::among(vec![(7, 1), (9, 2), (7, 3), (8, 4), (9, 5)]);
        assert_eq!((alike.of(1), alike.of(3)), (vec![3], vec![1]));
        assert_eq!(
            (alike.of(2), alike.of(5), alike.of(4)),
            (vec![5], vec![2], vec![])
        );
        let many = LookAlikes::among((0..1000).map(|id| (7, id)).collect());
        assert_eq!(many.of(3), [0, 1, 2, 4, 5]);
    }
}
