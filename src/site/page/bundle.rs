//! The page's modules as one script, its style sheet without comments, and its texts. build.rs uses
//! this.
//!
//! The modules share one scope. So that they stay modules of which each can be read by itself, they
//! keep to a few forms, and anything else is an error: imports like `import { a, b } from "./x.js";`,
//! `export` before a declaration, names at the top level that only one module has, no top-level
//! `await`, and what stands at the top level begins in the first column.

use std::collections::{BTreeMap, BTreeSet};

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

/// The place of the texts in index.html.
pub const TEXTS: &str = "{texts}";

/// The two halves of index.html, without indentation: the head with the places for values from the
/// configuration, and the rest, which is compressed at build time.
pub fn halves(index: &str) -> Result<(String, String), String> {
    let lines: String = index
        .lines()
        .map(|line| format!("{}\n", line.trim()))
        .collect();
    let at = lines.find("<main>").ok_or("index.html has no <main>")?;
    let (head, rest) = lines.split_at(at);
    if rest.matches('{').count() != 1 || !rest.contains(TEXTS) {
        return Err(format!(
            "from <main> on, index.html should have one place for a value, {TEXTS}"
        ));
    }
    Ok((head.into(), rest.into()))
}

/// A style sheet without comments that fill lines, and without empty lines.
pub fn without_comments(style: &str) -> String {
    let mut is_comment = false;
    let mut kept = String::new();
    for line in style.lines() {
        is_comment |= line.trim_start().starts_with("/*");
        if !is_comment && !line.trim().is_empty() {
            kept += line.trim_start();
            kept.push('\n');
        }
        is_comment &= !line.trim_end().ends_with("*/");
    }
    kept
}

/// A style sheet without line ends, and without blanks beside the punctuation of rules. A blank
/// before a colon or after a bracket means something in a selector.
pub fn squeezed_style(style: &str) -> String {
    let signs = [" {", "{ ", " }", "; ", ": ", ", "];
    let joined = style.lines().collect::<Vec<_>>().join(" ");
    let squeezed = signs
        .iter()
        .fold(joined, |text, sign| text.replace(sign, sign.trim()));
    squeezed.replace("} ", "}").replace(";}", "}")
}

/// A script without blanks beside punctuation and without most line ends, which are 3 % of what is
/// sent. Names stay as they are. What a slash begins is hard to tell, so a line with a slash, a
/// backslash or more than one text in backticks stays as it is.
pub fn squeezed(script: &str) -> String {
    let mut whole = String::new();
    for line in script.lines() {
        if line.contains(['/', '\\']) || line.matches('`').count() > 2 {
            whole += line;
            whole.push('\n');
            continue;
        }
        // The quotation mark that ends the text.
        let mut end = None;
        let mut letters = line.chars().peekable();
        while let Some(letter) = letters.next() {
            let around = [whole.chars().last(), letters.peek().copied()];
            let is_spare = letter == ' ' && around.into_iter().flatten().any(is_sign);
            if end.is_some() || !is_spare {
                whole.push(letter);
            }
            match end {
                None if "\"'`".contains(letter) => end = Some(letter),
                Some(mark) if mark == letter => end = None,
                _ => {}
            }
        }
        if !line.ends_with([';', ',', '{', '(', '[']) {
            whole.push('\n');
        }
    }
    whole
}

/// Whether a blank beside this sign means nothing in a script. `a + +b` is not `a ++b`.
fn is_sign(letter: char) -> bool {
    ",;:?()[]{}=<>&|*!".contains(letter)
}

/// The texts of both languages as compact JSON, which a script element may contain. Each text must
/// exist in both, with the same places for values such as `{0}`.
pub fn texts(english: &str, chinese: &str) -> Result<[String; 2], String> {
    let read = |name: &str, text: &str| {
        serde_json::from_str::<BTreeMap<String, String>>(text)
            .map_err(|error| format!("{name}.json: {error}"))
    };
    let (english, chinese) = (read("en", english)?, read("zh", chinese)?);
    for name in english.keys().chain(chinese.keys()) {
        let (Some(one), Some(other)) = (english.get(name), chinese.get(name)) else {
            return Err(format!("the text {name:?} exists in one language only"));
        };
        if values(one) != values(other) {
            return Err(format!(
                "the text {name:?} has other values in one language than in the other"
            ));
        }
        if one.contains('<') || other.contains('<') {
            return Err(format!("the text {name:?} contains <"));
        }
    }
    Ok([english, chinese].map(|texts| serde_json::to_string(&texts).expect("texts serialise")))
}

/// The places for values in a text.
fn values(text: &str) -> BTreeSet<&str> {
    let inside = text.split('{').skip(1);
    inside.filter_map(|rest| rest.split('}').next()).collect()
}

/// A module of the page.
#[derive(Default)]
struct Module {
    /// Its text without imports, the word `export`, comments that fill a line, empty lines, and
    /// indentation, which is 2 % of what is sent.
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
        module.text += line.trim_start();
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    fn bundle(modules: &[(&str, &str)]) -> Result<String, String> {
        let modules = modules
            .iter()
            .map(|(name, text)| (name.to_string(), text.to_string()));
        super::script(&modules.collect::<BTreeMap<_, _>>())
    }

    #[test]
    fn texts_that_differ_between_the_languages_are_refused() {
        assert_eq!(
            super::texts(
                r#"{"b": "B {0}", "a": "A"}"#,
                r#"{"a": "甲", "b": "{0} 乙"}"#
            )
            .unwrap(),
            [r#"{"a":"A","b":"B {0}"}"#, r#"{"a":"甲","b":"{0} 乙"}"#]
        );
        for (english, chinese, part) in [
            (r#"{"a": "A"}"#, "{}", "one language only"),
            ("{}", r#"{"a": "甲"}"#, "one language only"),
            (r#"{"a": "A {0}"}"#, r#"{"a": "甲 {1}"}"#, "other values"),
            (r#"{"a": "A"}"#, r#"{"a": "<b>"}"#, "contains <"),
            (r#"{"a": 1}"#, "{}", "en.json"),
            ("{}", "{", "zh.json"),
        ] {
            let error = super::texts(english, chinese).unwrap_err();
            assert!(error.contains(part), "{error}");
        }
    }

    #[test]
    fn modules_stand_after_those_that_they_import() {
        let modules = [
            (
                "main.js",
                "// The first.\nimport { a } from \"./z.js\";\nimport {\n  b,\n  c,\n} from \"./b.js\";\n\nlet at = a;\n",
            ),
            (
                "b.js",
                "import { a } from \"./z.js\";\n/// A doc comment.\nexport const b = a + \"//\";\nexport async function c() {\n  // Why.\n  await a; // Kept.\n}\n",
            ),
            ("z.js", "export const [a, d] = [1, 2];\n"),
        ];
        assert_eq!(
            bundle(&modules).unwrap(),
            "const [a, d] = [1, 2];\nconst b = a + \"//\";\nasync function c() {\nawait a; // Kept.\n}\nlet at = a;\n"
        );
    }

    #[test]
    fn a_module_that_breaks_a_rule_fails_the_build_with_a_sentence() {
        let b = "import { b } from \"./b.js\";\n";
        for (main, other, fault) in [
            (
                b,
                "export const b = 1;\nconst main = 2;\nlet main = 3;",
                "b.js and b.js both declare main",
            ),
            (
                "import { b } from \"./b.js\";\nfunction c() {}",
                "export const b = 1;\nclass c {}",
                "b.js and main.js both declare c at the top level; rename one of them",
            ),
            (
                "import * as all from \"./b.js\";",
                "",
                "main.js line 1: an import should be",
            ),
            (
                "import { b as c } from \"./b.js\";",
                "export const b = 1;",
                "main.js line 1: an import should be",
            ),
            (
                "import b from \"./b.js\";",
                "export const b = 1;",
                "main.js line 1: an import should be",
            ),
            (
                "import \"./b.js\";",
                "",
                "main.js line 1: an import should be",
            ),
            (
                "import { b } from \"b.js\";",
                "export const b = 1;",
                "main.js line 1: an import should be",
            ),
            (
                "const b = 1;\n  import(\"./b.js\");",
                "",
                "main.js line 2: a module is imported only by",
            ),
            (
                b,
                "const b = 1;",
                "main.js imports b, which b.js does not export",
            ),
            (
                "import { c } from \"./c.js\";",
                "",
                "main.js imports c.js, which does not exist",
            ),
            (
                b,
                "export { b };",
                "b.js line 1: `export` stands only before",
            ),
            (
                b,
                "export default 1;",
                "b.js line 1: `export` stands only before",
            ),
            (
                b,
                "export const { a: b } = c;",
                "b.js line 1: a declaration should have one name",
            ),
            (
                b,
                "\nexport const b = `\n// no comment`;",
                "b.js line 2: a text in backticks must end",
            ),
            (
                b,
                "export const b = await 1;",
                "b.js line 1: the top level cannot await",
            ),
            (
                b,
                "import { a } from \"./main.js\";\nexport const b = 1;",
                "main.js does not export",
            ),
            (
                "const a = 1;",
                "const b = 1;",
                "b.js is not imported by main.js or a module that it imports",
            ),
        ] {
            let error = bundle(&[("main.js", main), ("b.js", other)]).unwrap_err();
            assert!(error.contains(fault), "{main} {other}: {error}");
        }
        let circle = [
            (
                "main.js",
                "import { b } from \"./b.js\";\nexport const a = 1;",
            ),
            (
                "b.js",
                "import { a } from \"./main.js\";\nexport const b = 1;",
            ),
        ];
        assert_eq!(
            bundle(&circle).unwrap_err(),
            "main.js imports itself through main.js, b.js"
        );
    }

    #[test]
    fn only_the_head_of_the_page_has_places_for_values_of_the_configuration() {
        let index = "<p>\n  {a}</p>\n<main>\n\t<p>\n{texts}\n";
        let (head, rest) = super::halves(index).unwrap();
        assert_eq!(
            (&*head, &*rest),
            ("<p>\n{a}</p>\n", "<main>\n<p>\n{texts}\n")
        );
        for wrong in ["{texts}", "<main>{a}", "<main>{texts}{a}"] {
            assert!(super::halves(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn blanks_that_mean_something_stay() {
        for (script, squeezed) in [
            (
                "const a = b ? [c, d] : { e };\nif (a) {\nreturn (b);\n}\n",
                "const a=b?[c,d]:{e};if(a){return(b);}\n",
            ),
            ("a = \" = \" + \"; \";\n", "a=\" = \" + \"; \";"),
            ("a + +b - c in d\n", "a + +b - c in d\n"),
            ("a = b; // Kept;\nc = 1\n", "a = b; // Kept;\nc=1\n"),
            ("a = /b , c/;\n", "a = /b , c/;\n"),
            ("a = `b = ${c}, \" `;\n", "a=`b = ${c}, \" `;"),
            ("a = '\" , ' + \"it's , \";\n", "a='\" , ' + \"it's , \";"),
            ("a = `${b ? ` = ` : c}`;\n", "a = `${b ? ` = ` : c}`;\n"),
            ("a = \"\\\" , \";\n", "a = \"\\\" , \";\n"),
        ] {
            assert_eq!(super::squeezed(script), squeezed);
        }
        assert_eq!(
            super::squeezed_style(
                "a :is(b, c) > d {\ne: calc(1px - 2px);\nf: g;\n}\n[h] i { j: k; }\n"
            ),
            "a :is(b,c) > d{e:calc(1px - 2px);f:g}[h] i{j:k}"
        );
    }

    #[test]
    fn comments_that_fill_lines_are_not_in_the_style_sheet() {
        assert_eq!(
            super::without_comments(
                "/* One. */\na { b: c } /* Kept. */\n\n  /* Two\n  lines. */\nd { e: f }\n"
            ),
            "a { b: c } /* Kept. */\nd { e: f }\n"
        );
    }
}
