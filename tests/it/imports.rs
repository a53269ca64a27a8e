//! The import graph of the modules, drawn from the sources: no cycle, and no arrow that is not
//! listed.

use crate::tidy::{code, sources};
use std::collections::{BTreeMap, BTreeSet};

/// Every top-level module and the ones that it may import, from the top down. A module imports only
/// modules below it, so this list is the map of docs/architecture.md as well.
const MAY_IMPORT: [(&str, &[&str]); 19] = [
    ("main", &["cli", "log"]),
    ("cli", &["commands", "config", "command"]),
    (
        "commands",
        &[
            "process", "account", "store", "config", "command", "log", "contract", "crypto",
            "clock",
        ],
    ),
    (
        "process",
        &[
            "server", "app", "account", "store", "metrics", "config", "command", "log", "contract",
            "crypto", "clock", "sync",
        ],
    ),
    (
        "server",
        &[
            "api", "site", "app", "metrics", "config", "http", "log", "contract", "crypto",
            "clock", "sync",
        ],
    ),
    (
        "api",
        &[
            "app", "account", "store", "config", "http", "log", "contract", "crypto",
        ],
    ),
    (
        "site",
        &[
            "app", "account", "store", "metrics", "config", "http", "log", "contract", "clock",
        ],
    ),
    (
        "app",
        &[
            "account", "store", "metrics", "config", "contract", "crypto", "sync",
        ],
    ),
    ("account", &["config", "http", "contract", "crypto", "sync"]),
    ("store", &["config", "contract", "sync"]),
    ("metrics", &["log", "contract"]),
    ("config", &["http", "log", "contract"]),
    ("http", &["log", "contract", "crypto"]),
    ("command", &["log"]),
    ("log", &["clock", "sync"]),
    ("contract", &[]),
    ("crypto", &[]),
    ("clock", &[]),
    ("sync", &[]),
];

/// The modules that each module's code imports. Tests may import anything.
fn imports() -> BTreeMap<String, BTreeSet<String>> {
    let mut graph: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (name, text) in sources() {
        let module = name.split('/').next().unwrap().trim_end_matches(".rs");
        if module == "lib" {
            continue;
        }
        let found = graph.entry(module.into()).or_default();
        let lines = code(&text).lines().map(str::trim);
        for line in lines.filter(|line| !line.starts_with("//")) {
            for path in line
                .split("crate::")
                .skip(1)
                .chain(line.split("accountd::").skip(1))
            {
                let other: String = path
                    .chars()
                    .take_while(|c| c.is_alphanumeric() || *c == '_')
                    .collect();
                assert!(
                    !other.is_empty(),
                    "{name}: write one `use` for each module: {line}"
                );
                if other != module {
                    found.insert(other);
                }
            }
        }
    }
    graph
}

/// A path from a module back to itself, if there is one.
fn cycle(graph: &BTreeMap<String, BTreeSet<String>>) -> Option<Vec<String>> {
    fn visit<'a>(
        graph: &'a BTreeMap<String, BTreeSet<String>>,
        module: &'a str,
        path: &mut Vec<&'a str>,
        done: &mut BTreeSet<&'a str>,
    ) -> Option<Vec<String>> {
        if let Some(at) = path.iter().position(|one| *one == module) {
            let found = path[at..].iter().chain([&module]);
            return Some(found.map(ToString::to_string).collect());
        }
        if !done.insert(module) {
            return None;
        }
        path.push(module);
        let imported = graph.get(module).into_iter().flatten();
        let found = imported
            .into_iter()
            .find_map(|other| visit(graph, other, path, done));
        path.pop();
        found
    }
    let mut done = BTreeSet::new();
    graph
        .keys()
        .find_map(|module| visit(graph, module, &mut Vec::new(), &mut done))
}

#[test]
fn a_module_imports_only_what_the_list_allows() {
    let allowed: BTreeMap<&str, &[&str]> = MAY_IMPORT.into_iter().collect();
    for (module, imported) in imports() {
        let Some(allowed) = allowed.get(&*module) else {
            panic!("src/{module} is not in MAY_IMPORT");
        };
        for other in imported {
            assert!(allowed.contains(&&*other), "{module} imports {other}");
        }
    }
}

#[test]
fn the_list_has_no_arrow_that_is_not_used() {
    let graph = imports();
    for (module, allowed) in MAY_IMPORT {
        for other in allowed {
            assert!(
                graph[module].contains(*other),
                "{module} does not import {other}"
            );
        }
    }
}

#[test]
fn the_list_allows_only_arrows_that_point_down() {
    let rank = |module: &str| MAY_IMPORT.iter().position(|(one, _)| *one == module);
    for (module, allowed) in MAY_IMPORT {
        for other in allowed {
            assert!(rank(other) > rank(module), "{module} stands below {other}");
        }
    }
}

#[test]
fn modules_do_not_import_each_other_in_a_circle() {
    assert_eq!(cycle(&imports()), None);
    // That the search finds one.
    let graph = [("a", "b"), ("b", "c"), ("c", "b")]
        .map(|(from, to)| (from.to_string(), BTreeSet::from([to.to_string()])));
    assert_eq!(
        cycle(&graph.into()),
        Some(["b", "c", "b"].map(String::from).to_vec())
    );
}
