// SPDX-License-Identifier: LGPL-2.1-or-later
//! Compiles the writing half of the serialization, with a way in for the fuzzer.

fn main() {
    println!("cargo:rerun-if-changed=../capi/shim");
    println!("cargo:rerun-if-changed=serialize.c");
    cc::Build::new()
        .files(["../capi/shim/serialize.c", "../capi/shim/format.c", "serialize.c"])
        .include("../include")
        .include("../capi/shim")
        .flag("-std=c11")
        .flag("-fsanitize=address")
        .define("_GNU_SOURCE", None)
        .compile("fuzzshim");
}
