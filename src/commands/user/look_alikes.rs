//! Names that a person may take for each other.

use crate::command::Failure;
use crate::commands::Folder;
use crate::log::escape::is_invisible;
use crate::store::accounts;
use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};

/// Names that are read at once.
const PAGE: i64 = 10_000;
/// Others of whom the ids are shown, so that a thousand names that look alike make no list of a
/// million ids.
const SHOWN: usize = 5;

/// Users whose names look like another one's.
pub struct LookAlikes {
    /// Hashes of skeletons that several users have, and the ids of these users.
    alike: Vec<(u64, i64)>,
    /// For each of these users, where those with the same hash begin.
    starts: HashMap<i64, usize>,
}

impl LookAlikes {
    /// Looks at all names.
    ///
    /// # Errors
    /// Whatever the database says.
    pub fn find(folder: &Folder) -> Result<LookAlikes, Failure> {
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

    /// The users whose skeleton another user has too. Sixteen bytes a user: of a million, two
    /// skeletons have the same hash once in forty million.
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

    /// The ids of some others whose names look like that of the user with this id.
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

/// What is left of a name without what the eye may miss: characters that are not seen, spaces at
/// its ends, the kind of a space, upper and lower case, full-width forms.
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

/// A full-width form as the character of usual width (Unicode's block U+FF00 to U+FFEF), and any
/// space as the usual one.
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
    fn ids_are_those_of_the_others_and_not_too_many() {
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
