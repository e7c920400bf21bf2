// SPDX-License-Identifier: LGPL-2.1-or-later
//! What the dynamic loader sees of a shared object, as readelf tells it.

use crate::allowed;
use crate::report::Report;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

/// The only libraries that ours may need.
const MAY_NEED: &[&str] = &["libc.so.6", "libgcc_s.so.1"];

/// One shared object.
#[derive(Default)]
pub struct Object {
    soname: String,
    needed: BTreeSet<String>,
    /// Name, and for variables the size in bytes.
    defined: BTreeMap<String, Option<u64>>,
    /// Name and version, if it has one.
    undefined: BTreeMap<String, Option<String>>,
    defines_versions: bool,
}

impl Object {
    /// Reads the dynamic section, symbols and version definitions.
    pub fn read(path: &Path) -> Result<Self, String> {
        let out = Command::new("readelf")
            .args(["--wide", "--dynamic", "--dyn-syms", "--version-info"])
            .arg(path)
            .env("LC_ALL", "C")
            .output()
            .map_err(|e| format!("readelf: {e}"))?;
        if !out.status.success() {
            return Err(format!("readelf failed for {}", path.display()));
        }
        Ok(Self::parse(&String::from_utf8_lossy(&out.stdout)))
    }

    fn parse(text: &str) -> Self {
        let mut object = Self::default();
        for line in text.lines() {
            let bracketed = || line.split(['[', ']']).nth(1).unwrap_or_default().to_owned();
            if line.contains("(SONAME)") {
                object.soname = bracketed();
            } else if line.contains("(NEEDED)") {
                object.needed.insert(bracketed());
            } else if line.starts_with("Version definition section") {
                object.defines_versions = true;
            }
            // `Num: Value Size Type Bind Vis Ndx Name`
            let fields: Vec<_> = line.split_whitespace().collect();
            let [number, _, size, kind, bind, _, section, name, ..] = fields[..] else { continue };
            if !number.ends_with(':') || !matches!(bind, "GLOBAL" | "WEAK") {
                continue;
            }
            let (bare, version) = match name.split_once('@') {
                Some((bare, version)) => (bare, Some(version.trim_start_matches('@').to_owned())),
                None => (name, None),
            };
            if section == "UND" {
                object.undefined.insert(bare.to_owned(), version);
            } else {
                let size = (kind == "OBJECT").then(|| size.parse().unwrap_or(0));
                object.defined.insert(bare.to_owned(), size);
            }
        }
        object
    }

    /// Whether `name` can be found in it.
    pub fn exports(&self, name: &str) -> bool {
        self.defined.contains_key(name)
    }
}

/// The names in an export list (a linker version script with one name per line).
pub fn listed(script: &str) -> BTreeSet<String> {
    let names = script.lines().map(str::trim).filter_map(|line| line.strip_suffix(';'));
    names.filter(|name| name.chars().all(|c| c.is_alphanumeric() || c == '_')).map(str::to_owned).collect()
}

/// Compares what programs depend on.
pub fn compare(reference: &Object, ours: &Object, listed: &BTreeSet<String>, report: &mut Report) {
    report.check(ours.soname == reference.soname, || {
        format!("soname is {}, the reference's is {}", ours.soname, reference.soname)
    });
    report.check(!ours.defines_versions, || "the shared object defines symbol versions".to_owned());
    for library in &ours.needed {
        report.check(MAY_NEED.contains(&library.as_str()), || format!("it needs {library}"));
    }
    for (name, size) in &ours.defined {
        report.check(listed.contains(name), || format!("{name} is exported but not listed"));
        // A program that is not position independent has a copy of a variable, of the reference's size.
        if let (Some(size), Some(Some(theirs))) = (size, reference.defined.get(name)) {
            report.check(size == theirs, || {
                format!("variable {name} has {size} bytes, the reference's {theirs}")
            });
        }
    }
    for (name, version) in &ours.undefined {
        let known = match version {
            Some(version) => version.starts_with("GLIBC_") || version.starts_with("GCC_"),
            None => allowed::UNVERSIONED.iter().any(|(other, _)| other == name),
        };
        report.check(known, || format!("{name} is undefined and no symbol of libc or libgcc"));
    }
    let private =
        reference.defined.keys().filter(|name| !ours.exports(name) && !listed.contains(*name)).count();
    println!(
        "{private} symbols that only the reference exports have no public header (capi/libqb.sym lists ours)"
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = " 0x0000000000000001 (NEEDED)             Shared library: [libc.so.6]\n\
        0x000000000000000e (SONAME)             Library soname: [libqb.so.100]\n\
        \x20    1: 0000000000000000     0 FUNC    GLOBAL DEFAULT  UND free@GLIBC_2.2.5 (2)\n\
        \x20    2: 0000000000088d70    16 OBJECT  GLOBAL DEFAULT   22 qb_ver\n\
        \x20    3: 0000000000001000    20 FUNC    LOCAL  DEFAULT   10 hidden\n\
        \x20    4: 0000000000001000    20 FUNC    GLOBAL DEFAULT   10 qb_a\n";

    #[test]
    fn readelf_is_understood() {
        let object = Object::parse(TEXT);
        assert_eq!(object.soname, "libqb.so.100");
        assert!(object.needed.contains("libc.so.6"));
        assert_eq!(object.defined, [("qb_ver".to_owned(), Some(16)), ("qb_a".to_owned(), None)].into());
        assert_eq!(object.undefined, [("free".to_owned(), Some("GLIBC_2.2.5".to_owned()))].into());
    }

    #[test]
    fn an_export_list_is_understood() {
        let names = listed("{\nglobal:\n/* x.h */\nqb_a;\nqb_b;\nlocal: *;\n};\n");
        assert_eq!(names, ["qb_a".to_owned(), "qb_b".to_owned()].into());
    }
}
