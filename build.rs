//! Makes the page's modules one script, and compresses the files of the page that the program carries.

use flate2::Compression;
use flate2::write::GzEncoder;
use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::{env, fs};

/// The folder of the page's files.
const FILES: &str = "src/site/page/files";
/// The module that imports all others, directly or not.
const FIRST: &str = "main.js";
/// How a declaration at the top level begins.
const DECLARATIONS: [&str; 6] = [
    "const ",
    "let ",
    "var ",
    "function ",
    "async function ",
    "class ",
];

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed={FILES}");
    if let Err(sentence) = build() {
        println!("cargo::error={sentence}");
    }
}

fn build() -> Result<(), String> {
    let mut modules = BTreeMap::new();
    for entry in fs::read_dir(FILES).map_err(|error| format!("{FILES}: {error}"))? {
        let path = entry.map_err(|error| format!("{FILES}: {error}"))?.path();
        let name = path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        if name.ends_with(".js") {
            modules.insert(name, read(&path)?);
        }
    }
    let style = read(&Path::new(FILES).join("style.css"))?;
    let icon = read(&Path::new(FILES).join("icon.svg"))?;
    write("script.js.gz", &script(&modules)?)?;
    write("style.css.gz", &without_comments(&style))?;
    write("icon.svg.gz", &icon)
}

fn read(path: &Path) -> Result<String, String> {
    fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))
}

/// Compresses a file. The result depends on the text alone: the header has no time and no name.
fn write(name: &str, text: &str) -> Result<(), String> {
    let path = PathBuf::from(env::var_os("OUT_DIR").unwrap_or_default()).join(name);
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder
        .write_all(text.as_bytes())
        .and_then(|()| encoder.finish())
        .and_then(|bytes| fs::write(&path, bytes))
        .map_err(|error| format!("{}: {error}", path.display()))
}

/// A style sheet without comments that fill lines, and without empty lines.
pub fn without_comments(style: &str) -> String {
    let mut is_comment = false;
    let mut kept = String::new();
    for line in style.lines() {
        is_comment |= line.trim_start().starts_with("/*");
        if !is_comment && !line.trim().is_empty() {
            kept += line;
            kept.push('\n');
        }
        is_comment &= !line.trim_end().ends_with("*/");
    }
    kept
}

/// A module of the page.
#[derive(Default)]
struct Module {
    /// Its text without imports, the word `export`, comments that fill a line, and empty lines.
    text: String,
    /// The names that it declares at the top level.
    names: Vec<String>,
    /// Those that other modules may import.
    exports: BTreeSet<String>,
    /// The names that it imports, and the file of each.
    imports: Vec<(String, String)>,
}

/// The modules as one script, each after the modules that it imports. They share one scope, so each
/// name at the top level is that of one module.
pub fn script(modules: &BTreeMap<String, String>) -> Result<String, String> {
    let mut parsed = BTreeMap::new();
    let mut owners: BTreeMap<String, &str> = BTreeMap::new();
    for (file, text) in modules {
        let module = parse(file, text)?;
        for name in &module.names {
            if let Some(other) = owners.insert(name.clone(), file) {
                return Err(format!(
                    "{other} and {file} both declare {name} at the top level; rename one of them"
                ));
            }
        }
        parsed.insert(&**file, module);
    }
    for (file, module) in &parsed {
        for (name, from) in &module.imports {
            let other = parsed
                .get(&**from)
                .ok_or_else(|| format!("{file} imports {from}, which does not exist"))?;
            if !other.exports.contains(name) {
                return Err(format!(
                    "{file} imports {name}, which {from} does not export"
                ));
            }
        }
    }
    let mut order = Vec::new();
    sort(FIRST, &parsed, &mut Vec::new(), &mut order)?;
    if let Some(file) = parsed.keys().find(|file| !order.contains(*file)) {
        return Err(format!(
            "{file} is not imported by {FIRST} or a module that it imports"
        ));
    }
    Ok(order.iter().map(|file| &*parsed[file].text).collect())
}

/// Adds the modules that this one imports to the order, and then this one, as a browser runs them.
fn sort<'a>(
    file: &'a str,
    modules: &'a BTreeMap<&str, Module>,
    above: &mut Vec<&'a str>,
    order: &mut Vec<&'a str>,
) -> Result<(), String> {
    if order.contains(&file) {
        return Ok(());
    }
    if above.contains(&file) {
        return Err(format!(
            "{file} imports itself through {}",
            above.join(", ")
        ));
    }
    let module = modules
        .get(file)
        .ok_or_else(|| format!("{file} does not exist"))?;
    above.push(file);
    for (_, from) in &module.imports {
        sort(from, modules, above, order)?;
    }
    above.pop();
    order.push(file);
    Ok(())
}

/// Reads a module. What stands at the top level begins in the first column.
fn parse(file: &str, text: &str) -> Result<Module, String> {
    let mut module = Module::default();
    let mut lines = text.lines().enumerate();
    while let Some((at, line)) = lines.next() {
        let fault = |what: &str| Err(format!("{file} line {}: {what}", at + 1));
        if line.trim().is_empty() || line.trim_start().starts_with("//") {
            continue;
        }
        // A comment in a text that spans lines would be removed, too.
        if (line.matches('`').count() - line.matches("\\`").count()) % 2 == 1 {
            return fault("a text in backticks must end on the line on which it begins");
        }
        if line.contains("import(") || line.contains("import.meta") {
            return fault(
                "a module is imported only by `import { a, b } from \"./x.js\";` at the top level",
            );
        }
        if line.starts_with("import") {
            let mut whole = line.to_string();
            while !whole.ends_with(';')
                && let Some((_, more)) = lines.next()
            {
                whole += more;
            }
            let Some((names, from)) = import(&whole) else {
                return fault("an import should be `import { a, b } from \"./x.js\";`");
            };
            module
                .imports
                .extend(names.into_iter().map(|name| (name, from.clone())));
            continue;
        }
        if !line.starts_with(char::is_whitespace)
            && line.contains("await ")
            && !line.contains("async")
        {
            return fault("the top level cannot await");
        }
        let (line, is_exported) = line
            .strip_prefix("export ")
            .map_or((line, false), |rest| (rest, true));
        match DECLARATIONS.iter().find_map(|word| line.strip_prefix(word)) {
            Some(rest) => {
                let Some(names) = declared(rest) else {
                    return fault(
                        "a declaration should have one name, or be a list like `const [a, b]` on one line",
                    );
                };
                if is_exported {
                    module.exports.extend(names.iter().cloned());
                }
                module.names.extend(names);
            }
            None if is_exported || line.starts_with("export") => {
                return fault(
                    "`export` stands only before const, let, function, async function or class",
                );
            }
            None => {}
        }
        module.text += line;
        module.text.push('\n');
    }
    Ok(module)
}

/// The names and the file of an import.
fn import(statement: &str) -> Option<(Vec<String>, String)> {
    let (names, from) = statement
        .strip_prefix("import {")?
        .strip_suffix("\";")?
        .split_once("} from \"./")?;
    let names = names
        .split(',')
        .map(str::trim)
        .filter(|name| !name.is_empty());
    let names: Vec<String> = names.map(String::from).collect();
    let is_plain = !names.is_empty() && names.iter().all(|name| is_name(name));
    is_plain.then(|| (names, from.into()))
}

/// The names that a declaration makes, from the text after its first word.
fn declared(rest: &str) -> Option<Vec<String>> {
    let rest = rest.trim_start_matches('*').trim_start();
    let list = rest
        .strip_prefix('[')
        .map(|rest| rest.split_once(']'))
        .or_else(|| rest.strip_prefix('{').map(|rest| rest.split_once('}')));
    let names: Vec<String> = match list {
        Some(closed) => closed?
            .0
            .split(',')
            .map(|name| name.trim().into())
            .collect(),
        None => vec![rest.split(|c| !is_part(c)).next()?.into()],
    };
    names.iter().all(|name| is_name(name)).then_some(names)
}

fn is_name(text: &str) -> bool {
    !text.is_empty() && text.chars().all(is_part)
}

fn is_part(c: char) -> bool {
    c.is_alphanumeric() || c == '_' || c == '$'
}
