// SPDX-License-Identifier: LGPL-2.1-or-later
//! Build script of `capi/`: compiles the C shim. Writes to `OUT_DIR` only.

fn main() {
    println!("cargo:rerun-if-changed=shim");
    println!("cargo:rerun-if-changed=../include/qb");
    let mut sources: Vec<_> = std::fs::read_dir("shim")
        .map(|dir| {
            dir.flatten().map(|e| e.path()).filter(|p| p.extension().is_some_and(|x| x == "c")).collect()
        })
        .unwrap_or_default();
    sources.sort();
    if sources.is_empty() {
        return;
    }
    cc::Build::new()
        .files(&sources)
        .include("../include")
        .flag("-std=c11")
        .flag("-fvisibility=hidden")
        .define("_GNU_SOURCE", None)
        .pic(true)
        .warnings(true)
        .compile("qbshim");
}
