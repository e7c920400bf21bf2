// SPDX-License-Identifier: LGPL-2.1-or-later
//! Writes the public headers: `headergen OUT_DIR`, run from the top of the source tree.
//!
//! Each template `capi/headers/X.h.in` becomes `OUT_DIR/X.h`. Its line `@PROTOTYPES@`, if it has one, is replaced by the
//! C prototypes of `capi/src/X.rs` with their doc comments. Everything else in a header is written by hand in the
//! template. The output depends on the templates, the Rust files and `capi/cbindgen.toml` only.

#![allow(clippy::print_stderr, reason = "a program says why it failed")]

mod comment;
mod tidy;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::{env, fs};

const TEMPLATES: &str = "capi/headers";
const SOURCES: &str = "capi/src";
const CONFIG: &str = "capi/cbindgen.toml";
const MARK: &str = "@PROTOTYPES@";

fn main() -> ExitCode {
    let Some(out) = env::args_os().nth(1) else {
        eprintln!("usage: headergen OUT_DIR (from the top of the source tree)");
        return ExitCode::from(2);
    };
    match generate(Path::new(&out)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("headergen: {why}");
            ExitCode::FAILURE
        }
    }
}

fn generate(out: &Path) -> Result<(), String> {
    let templates = templates()?;
    let mut config = cbindgen::Config::from_file(CONFIG)?;
    let texts = templates.iter().map(|path| read(path)).collect::<Result<Vec<_>, _>>()?;
    for tag in tags(&texts) {
        let (_, name) = tag.split_once(' ').unwrap_or(("", &tag));
        config.export.rename.insert(name.to_owned(), tag.clone());
    }
    fs::create_dir_all(out).map_err(|e| format!("{}: {e}", out.display()))?;
    for (path, text) in templates.iter().zip(&texts) {
        let name = path.file_stem().unwrap_or_default(); // X.h
        let header = expand(text, &source_of(path), &config)?;
        let target = out.join(name);
        // Untouched when equal, so that nothing that depends on a header is rebuilt for nothing.
        if fs::read_to_string(&target).ok().as_deref() != Some(&header) {
            fs::write(&target, header).map_err(|e| format!("{}: {e}", target.display()))?;
        }
    }
    Ok(())
}

/// The templates in a fixed order.
fn templates() -> Result<Vec<PathBuf>, String> {
    let entries = fs::read_dir(TEMPLATES).map_err(|e| format!("{TEMPLATES}: {e}"))?;
    let mut paths: Vec<_> = entries
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.to_string_lossy().ends_with(".h.in"))
        .collect();
    paths.sort();
    Ok(paths)
}

/// `capi/headers/X.h.in` -> `capi/src/X.rs`
fn source_of(template: &Path) -> PathBuf {
    let name = template.file_name().unwrap_or_default().to_string_lossy();
    Path::new(SOURCES).join(format!("{}.rs", name.trim_end_matches(".h.in")))
}

fn read(path: &Path) -> Result<String, String> {
    fs::read_to_string(path).map_err(|e| format!("{}: {e}", path.display()))
}

fn expand(template: &str, source: &Path, config: &cbindgen::Config) -> Result<String, String> {
    let mut header = String::new();
    for line in template.lines() {
        if line.trim() == MARK {
            header.push_str(prototypes(source, config)?.trim_matches('\n'));
        } else {
            header.push_str(line);
        }
        header.push('\n');
    }
    Ok(header)
}

fn prototypes(source: &Path, config: &cbindgen::Config) -> Result<String, String> {
    let bindings = cbindgen::Builder::new()
        .with_config(config.clone())
        .with_src(source)
        .generate()
        .map_err(|e| format!("{}: {e}", source.display()))?;
    let mut text = Vec::new();
    bindings.write(&mut text);
    let text = String::from_utf8(text).map_err(|e| e.to_string())?;
    Ok(tidy::tidy(&text))
}

/// The tags (`struct x`, `enum y`) that the templates declare and do not make a type name of the same spelling.
fn tags(texts: &[String]) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut typedefs = BTreeSet::new();
    for line in texts.iter().flat_map(|text| text.lines()) {
        let words: Vec<_> =
            line.split(|c: char| !c.is_alphanumeric() && c != '_').filter(|w| !w.is_empty()).collect();
        if line.trim_start().starts_with(['*', '/']) {
            continue;
        }
        for pair in words.windows(2) {
            if matches!(pair[0], "struct" | "enum" | "union") && pair[1].starts_with("qb_") {
                found.insert(pair.join(" "));
            }
        }
        if words.first() == Some(&"typedef") || line.starts_with('}') {
            typedefs.extend(words.last().map(|w| (*w).to_owned()));
        }
    }
    found.retain(|tag| !typedefs.contains(tag.rsplit(' ').next().unwrap_or_default()));
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_without_a_typedef_of_the_same_name_are_found() {
        let text = "typedef struct qb_a qb_a_t;\nenum qb_b {\n\tX,\n};\ntypedef struct qb_c {\n} qb_c;\n * a struct qb_d here";
        let found = tags(&[text.to_owned()]);
        assert_eq!(found.into_iter().collect::<Vec<_>>(), ["enum qb_b", "struct qb_a"]);
    }
}
