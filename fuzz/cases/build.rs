// SPDX-License-Identifier: LGPL-2.1-or-later
//! Compiles the writing half of the serialization, with a way in for the fuzzer.

#![allow(clippy::print_stdout, reason = "this is how a build script speaks to cargo")]

fn main() {
    println!("cargo:rerun-if-changed=../../capi/shim");
    println!("cargo:rerun-if-changed=serialize.c");
    let mut build = cc::Build::new();
    // The fuzzer brings the sanitizer's runtime; the replay of the seeds has none.
    if std::env::var_os("CARGO_CFG_FUZZING").is_some() {
        build.flag("-fsanitize=address");
    }
    build
        .files(["serialize.c", "measure.c", "format.c"].map(|file| format!("../../capi/shim/{file}")))
        .file("serialize.c")
        .include("../../include")
        .include("../../capi/shim")
        .flag("-std=c11")
        .define("_GNU_SOURCE", None)
        .compile("fuzzshim");
}
