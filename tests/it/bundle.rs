//! The rules by which build.rs makes the page's modules one script.

#[allow(dead_code)]
#[path = "../../build.rs"]
mod build;

use std::collections::BTreeMap;

fn script(modules: &[(&str, &str)]) -> Result<String, String> {
    let modules = modules
        .iter()
        .map(|(name, text)| (name.to_string(), text.to_string()));
    build::script(&modules.collect::<BTreeMap<_, _>>())
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
        script(&modules).unwrap(),
        "const [a, d] = [1, 2];\nconst b = a + \"//\";\nasync function c() {\n  await a; // Kept.\n}\nlet at = a;\n"
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
        let error = script(&[("main.js", main), ("b.js", other)]).unwrap_err();
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
        script(&circle).unwrap_err(),
        "main.js imports itself through main.js, b.js"
    );
}

#[test]
fn comments_that_fill_lines_are_not_in_the_style_sheet() {
    assert_eq!(
        build::without_comments(
            "/* One. */\na { b: c } /* Kept. */\n\n  /* Two\n  lines. */\nd { e: f }\n"
        ),
        "a { b: c } /* Kept. */\nd { e: f }\n"
    );
}
