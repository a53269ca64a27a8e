//! The documentation agrees with the tables of the source, both languages agree, and links work.

use crate::support::root;
use accountd::config::{SETTINGS, Setting};
use accountd::contract::{ADDITIONS, DOCUMENT, OUTSIDE};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

fn read(name: &str) -> String {
    fs::read_to_string(root().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// The paths of all pages in both languages, from the root of the repository.
fn pages() -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for folder in ["", "docs/", "docs/zh/"] {
        let entries = fs::read_dir(root().join(folder)).into_iter().flatten();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        found.extend(
            names
                .filter(|name| name.ends_with(".md"))
                .map(|name| format!("{folder}{name}")),
        );
    }
    found
}

/// The pages in docs/ that must exist in both languages, since hosts and authors of clients need
/// them.
const TRANSLATED: [&str; 8] = [
    "api",
    "backup",
    "commands",
    "forward-auth",
    "medusa",
    "operating",
    "security",
    "settings",
];

/// The pages that exist or must exist in both languages: English, then Chinese.
fn pairs() -> Vec<(String, String)> {
    let mut found = BTreeSet::from([("README.md".to_string(), "README.zh.md".to_string())]);
    found.extend(TRANSLATED.map(|page| (format!("docs/{page}.md"), format!("docs/zh/{page}.md"))));
    for chinese in pages()
        .into_iter()
        .filter(|page| page.starts_with("docs/zh/"))
    {
        found.insert((chinese.replace("docs/zh/", "docs/"), chinese));
    }
    found.into_iter().collect()
}

/// The expected table of settings in docs/settings.md.
fn settings() -> String {
    let mut table = String::from("| setting | default | value | meaning |\n|---|---|---|---|\n");
    for setting in SETTINGS {
        table += &format!("{}{} |\n", without_meaning(setting), setting.doc);
    }
    table
}

/// A row of that table without its last cell.
fn without_meaning(setting: &Setting) -> String {
    let default = if setting.default == "null" {
        String::new()
    } else {
        format!("`{}`", setting.default)
    };
    format!("| `{}` | {default} | {} | ", setting.name, setting.kind)
}

/// A message with Markdown's characters escaped.
fn plain(message: &str) -> String {
    message.replace('*', "\\*").replace('~', "\\~")
}

/// The expected table of codes in docs/api.md.
fn codes() -> String {
    let mut table = String::from("| path | code | message |\n|---|---|---|\n");
    for endpoint in DOCUMENT.iter().chain(&ADDITIONS) {
        let mut rows: Vec<_> = endpoint
            .refusals
            .iter()
            .chain([&endpoint.success])
            .filter(|row| !row.message.is_empty())
            .collect();
        rows.sort_by_key(|row| row.code);
        for row in rows {
            table += &format!(
                "| `{}` | {} | {} |\n",
                endpoint.path,
                row.code,
                plain(row.message)
            );
        }
    }
    for (status, message) in OUTSIDE {
        table += &format!("| HTTP {status} | {status} | {message} |\n");
    }
    table
}

#[test]
fn the_pages_have_the_tables_of_the_source() {
    let help = format!("```\n{}```\n", accountd::cli::help());
    for (page, what) in [
        ("docs/settings.md", settings()),
        ("docs/api.md", codes()),
        ("docs/commands.md", help),
    ] {
        assert!(
            read(page).contains(&what),
            "{page} should have this:\n\n{what}"
        );
    }
    let api = read("docs/api.md");
    for endpoint in DOCUMENT.iter().chain(&ADDITIONS) {
        assert!(
            api.contains(&format!("$URL{}", endpoint.path)),
            "docs/api.md shows no curl line for {}",
            endpoint.path
        );
    }
}

#[test]
fn the_readme_has_each_interface_and_the_current_defaults() {
    let readme = read("README.md");
    for endpoint in DOCUMENT.iter().chain(&ADDITIONS) {
        let row = format!("\n| `{} {}", endpoint.method, endpoint.path);
        assert!(
            readme.contains(&row),
            "README.md has no row for {}",
            endpoint.path
        );
    }
    let table = readme
        .split("\n| setting | default | meaning |\n")
        .nth(1)
        .expect("a table of settings");
    for row in table
        .lines()
        .skip(1)
        .take_while(|line| line.starts_with('|'))
    {
        let fresh = SETTINGS
            .iter()
            .any(|one| row.starts_with(&format!("| `{}` | `{}` | ", one.name, one.default)));
        assert!(
            fresh,
            "README.md: unknown setting, or another default: {row}"
        );
    }
}

#[test]
fn docs_testing_has_a_row_for_every_script() {
    let testing = read("docs/testing.md");
    for entry in fs::read_dir(root().join("scripts")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        // A file that names no interpreter in its first line is not a script.
        if (name.ends_with(".sh") || name.ends_with(".py"))
            && fs::read(&path).unwrap().starts_with(b"#!")
        {
            assert!(
                testing.contains(&format!("\n| `scripts/{name}")),
                "docs/testing.md has no row for scripts/{name}"
            );
        }
    }
}

/// The text between backticks.
fn code_in(text: &str) -> impl Iterator<Item = String> {
    text.split('`')
        .skip(1)
        .step_by(2)
        .map(|code| code.split_whitespace().collect::<Vec<_>>().join(" "))
}

/// The numbers that are written in digits.
fn numbers_in(text: &str) -> impl Iterator<Item = String> {
    let digits = text.split(|c: char| !c.is_ascii_digit() && c != '.' && c != ',');
    digits
        .map(|digits| digits.trim_matches(['.', ',']).to_string())
        .filter(|digits| !digits.is_empty())
}

/// The parts of a page that must be the same in every language, by section: the heading's level,
/// code blocks, the code in the first cell of each table row, then code and numbers in all other
/// text, sorted. The heading itself is returned beside them.
fn skeleton(page: &str) -> Vec<(&str, Vec<String>)> {
    let mut sections: Vec<(&str, Vec<String>, String)> = Vec::new();
    let mut in_block = false;
    for line in page.lines() {
        let fence = line.starts_with("```");
        if !in_block && line.starts_with('#') {
            let level = line.split(' ').next().unwrap().to_string();
            sections.push((line, vec![level], String::new()));
            continue;
        }
        let (_, bones, text) = sections.last_mut().expect("a page begins with a heading");
        if in_block || fence {
            bones.push(line.to_string());
            in_block ^= fence;
        } else {
            if let Some(row) = line.strip_prefix("| ") {
                bones.push(format!(
                    "| {}",
                    code_in(row.split(" | ").next().unwrap())
                        .collect::<Vec<_>>()
                        .join(" ")
                ));
            }
            *text += &format!("{line}\n");
        }
    }
    let finish = |(heading, mut bones, text): (_, Vec<String>, String)| {
        bones.extend(
            code_in(&text)
                .chain(numbers_in(&text))
                .collect::<BTreeSet<_>>(),
        );
        (heading, bones)
    };
    sections.into_iter().map(finish).collect()
}

#[test]
fn both_languages_have_the_same_structure() {
    for (name, other_name) in pairs() {
        let (english, chinese) = (read(&name), read(&other_name));
        let (left, right) = (skeleton(&english), skeleton(&chinese));
        for ((heading, bones), (title, others)) in left.iter().zip(&right) {
            if let Some(nth) =
                (0..bones.len().max(others.len())).find(|&nth| bones.get(nth) != others.get(nth))
            {
                let (bone, other) = (bones.get(nth), others.get(nth));
                panic!(
                    "{name}, {heading:?}, has {bone:?} where {other_name}, {title:?}, has {other:?}"
                );
            }
        }
        assert_eq!(
            left.len(),
            right.len(),
            "{name} and {other_name} should have as many headings"
        );
        let (there, back) = match name.strip_prefix("docs/") {
            Some(page) => (
                format!("[中文](zh/{page})"),
                format!("[English](../{page})"),
            ),
            None => ("[中文](README.zh.md)".into(), "[English](README.md)".into()),
        };
        assert!(
            english.contains(&there) && chinese.contains(&back),
            "{name} and {other_name}: {there} and {back}"
        );
        if name == "docs/settings.md" {
            for setting in SETTINGS {
                let row = without_meaning(setting);
                assert!(
                    chinese.contains(&format!("\n{row}")),
                    "{other_name} should have a row that begins\n{row}"
                );
            }
        }
        if name == "docs/api.md" {
            assert!(
                chinese.contains(&codes()),
                "{other_name} should have the table of codes of {name}"
            );
        }
    }
}

/// A page without its code blocks and the code in its text.
fn prose(page: &str) -> String {
    let mut in_block = false;
    let mut text = String::new();
    for line in page.lines() {
        if line.starts_with("```") {
            in_block ^= true;
        } else if !in_block {
            text.extend(line.split('`').step_by(2).chain(["\n"]));
        }
    }
    text
}

/// The anchors of a page's headings, by GitHub's rules.
fn anchors(page: &str) -> BTreeSet<String> {
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    let mut in_block = false;
    let mut found = BTreeSet::new();
    for line in page.lines() {
        in_block ^= line.starts_with("```");
        if in_block || !line.starts_with('#') {
            continue;
        }
        let title = line.trim_start_matches('#').trim().to_lowercase();
        let kept = title
            .chars()
            .filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
        let anchor = kept.collect::<String>().replace(' ', "-");
        let count = counts.entry(anchor.clone()).or_default();
        found.insert(if *count == 0 {
            anchor
        } else {
            format!("{anchor}-{count}")
        });
        *count += 1;
    }
    found
}

/// A path without `.` and `..`.
fn normal(path: &Path) -> PathBuf {
    let mut normal = PathBuf::new();
    for part in path.components() {
        match part {
            std::path::Component::ParentDir => assert!(
                normal.pop(),
                "{} leads out of the repository",
                path.display()
            ),
            other => normal.push(other),
        }
    }
    normal
}

#[test]
fn every_link_has_a_target() {
    let mut count = 0;
    for name in pages() {
        let page = read(&name);
        for link in prose(&page)
            .split("](")
            .skip(1)
            .map(|rest| rest.split(')').next().unwrap())
        {
            if link.contains("://") {
                continue;
            }
            count += 1;
            let (path, anchor) = link
                .split_once('#')
                .map_or((link, None), |(path, anchor)| (path, Some(anchor)));
            let target = match path {
                "" => PathBuf::from(&name),
                _ => normal(&Path::new(&name).parent().unwrap().join(path)),
            };
            assert!(
                root().join(&target).exists(),
                "{name}: {link}: {} does not exist",
                target.display()
            );
            if let Some(anchor) = anchor {
                let found = anchors(&read(target.to_str().unwrap()));
                assert!(
                    found.contains(anchor),
                    "{name}: {link}: the page has no such heading; it has {found:?}"
                );
            }
        }
    }
    assert!(count > 50, "{count} links were found");
}

#[test]
fn anchors_follow_githubs_rules() {
    let page = "# One\n\n## systemd, OpenRC and BusyBox\n\n```\n# no heading\n```\n## A client from `/openapi.json`\n## One\n## 限制 一\n";
    let expected = [
        "one",
        "systemd-openrc-and-busybox",
        "a-client-from-openapijson",
        "one-1",
        "限制-一",
    ];
    assert_eq!(anchors(page), expected.map(String::from).into());
}
