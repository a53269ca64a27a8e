//! Makes the page's modules one script, and compresses the texts that the program carries.

#[path = "src/site/page/bundle.rs"]
mod bundle;
#[allow(dead_code)]
#[path = "src/contract/mod.rs"]
mod contract;
#[path = "src/site/openapi/document.rs"]
mod document;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::{env, fs};

/// The folder of the page's files.
const FILES: &str = "src/site/page/files";

/// The list of common passwords.
const COMMON: &str = "src/account/common-passwords.txt";

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed={FILES}");
    println!("cargo::rerun-if-changed={COMMON}");
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
    write(
        "script.js.gz",
        &bundle::squeezed(&bundle::script(&modules)?),
    )?;
    write(
        "style.css.gz",
        &bundle::squeezed_style(&bundle::without_comments(&style)),
    )?;
    write("icon.svg.gz", &icon)?;
    write("common-passwords.txt.gz", &read(Path::new(COMMON))?)?;
    let folder = Path::new(FILES).join("texts");
    let (english, chinese) = (
        read(&folder.join("en.json"))?,
        read(&folder.join("zh.json"))?,
    );
    let [english, chinese] = bundle::texts(&english, &chinese)?;
    let (head, rest) = bundle::halves(&read(&Path::new(FILES).join("index.html"))?)?;
    let head_path = PathBuf::from(env::var_os("OUT_DIR").unwrap_or_default()).join("head.html");
    fs::write(&head_path, head).map_err(|error| format!("{}: {error}", head_path.display()))?;
    for (language, texts) in [("en", english), ("zh", chinese)] {
        write(
            &format!("rest-{language}.html.gz"),
            &rest.replace(bundle::TEXTS, &texts),
        )?;
        write(&format!("{language}.json.gz"), &texts)?;
    }
    write("openapi.json.gz", &document::document().to_string())
}

fn read(path: &Path) -> Result<String, String> {
    fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))
}

/// Compresses a file. The result depends on the text alone: the header has no time and no name.
fn write(name: &str, text: &str) -> Result<(), String> {
    let path = PathBuf::from(env::var_os("OUT_DIR").unwrap_or_default()).join(name);
    let mut compressed = Vec::new();
    zopfli::compress(
        zopfli::Options::default(),
        zopfli::Format::Gzip,
        text.as_bytes(),
        &mut compressed,
    )
    .and_then(|()| fs::write(&path, compressed))
    .map_err(|error| format!("{}: {error}", path.display()))
}
