// SPDX-License-Identifier: LGPL-2.1-or-later
//! Which macros a header defines: their names and, for macros like functions, the number of arguments. The values of
//! constants are compared by `bindings`.

use crate::allowed;
use crate::report::Report;
use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

/// Macros in use at the end of a header that defined them, with their number of arguments (None: like a constant).
pub type Macros = BTreeMap<String, Option<usize>>;

/// The macros that `include/qb/NAME` itself defines.
pub fn of(include: &Path, name: &str) -> Result<Macros, String> {
    let mut cc = Command::new(std::env::var("CC").unwrap_or_else(|_| "cc".into()))
        .args(["-x", "c", "-std=gnu11", "-E", "-dD", "-I"])
        .arg(include)
        .arg("-")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|e| format!("cc: {e}"))?;
    let source = format!("#include <qb/{name}>\n");
    cc.stdin
        .take()
        .map_or(Ok(()), |mut to| to.write_all(source.as_bytes()))
        .map_err(|e| format!("cc: {e}"))?;
    let out = cc.wait_with_output().map_err(|e| format!("cc: {e}"))?;
    if !out.status.success() {
        return Err(format!("cc -E failed for {name}"));
    }
    Ok(defined_in(&String::from_utf8_lossy(&out.stdout), &format!("/qb/{name}")))
}

/// Reads `cc -E -dD` output, whose line markers tell the file.
fn defined_in(text: &str, file: &str) -> Macros {
    let mut macros = Macros::new();
    let mut inside = false;
    for line in text.lines() {
        if let Some(marker) = line.strip_prefix("# ") {
            inside = marker.split('"').nth(1).is_some_and(|path| path.ends_with(file));
        } else if let Some(name) = line.strip_prefix("#undef ") {
            macros.remove(name.trim());
        } else if let Some(definition) = line.strip_prefix("#define ").filter(|_| inside) {
            let end = definition.find([' ', '(']).unwrap_or(definition.len());
            let (name, rest) = definition.split_at(end);
            let arguments = rest
                .strip_prefix('(')
                .and_then(|rest| rest.split_once(')'))
                .map(|(list, _)| if list.trim().is_empty() { 0 } else { list.split(',').count() });
            macros.insert(name.to_owned(), arguments);
        }
    }
    macros
}

/// One check for each macro of either side.
pub fn compare(header: &str, reference: &Macros, ours: &Macros, report: &mut Report) {
    let names: BTreeSet<_> = reference.keys().chain(ours.keys()).collect();
    for name in names {
        let (theirs, our) = (reference.get(name), ours.get(name));
        if theirs == our {
            report.check(true, String::new);
        } else if let Some(reason) = allowed::reason(header, &format!("macro {name}")) {
            report.allow(&format!("{header}: macro {name}"), reason);
        } else {
            let show = |side: Option<&Option<usize>>| match side {
                None => "not defined".to_owned(),
                Some(None) => "without arguments".to_owned(),
                Some(Some(n)) => format!("{n} arguments"),
            };
            report.fail(format!("{header}: macro {name}: reference: {}, ours: {}", show(theirs), show(our)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn macros_of_other_files_and_undefined_ones_do_not_count() {
        let text = "# 1 \"/usr/include/x.h\" 1\n#define OTHER 1\n# 1 \"include/qb/qbdefs.h\" 1 3\n#define A\n\
                    #define B(x, y) x\n#define C 1\n#undef C\n#define D() 2\n# 2 \"<stdin>\" 2\n#define E 3";
        let got = defined_in(text, "/qb/qbdefs.h");
        let want = [("A", None), ("B", Some(2)), ("D", Some(0))];
        assert_eq!(got, want.map(|(name, n)| (name.to_owned(), n)).into());
    }
}
