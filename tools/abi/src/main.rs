// SPDX-License-Identifier: LGPL-2.1-or-later
//! Compares our headers and shared object with the reference's:
//! `abi REFERENCE_INCLUDE OUR_INCLUDE REFERENCE_SO OUR_SO SYMBOL_LIST REQUIRED_HEADER...`
//!
//! Types, enum values, constants and prototypes are compared as bindgen sees them, macros by name and number of
//! arguments, the shared object by soname, dependencies and symbols. Every compared item is one check. A header of the
//! reference that we do not have is a failure if it is required and a line of information otherwise.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program says what it found")]

mod allowed;
mod bindings;
mod macros;
mod object;
mod report;

use report::Report;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::{env, fs};

struct Arguments {
    reference: PathBuf,
    ours: PathBuf,
    reference_so: PathBuf,
    our_so: PathBuf,
    symbols: PathBuf,
    required: BTreeSet<String>,
}

fn main() -> ExitCode {
    let mut args = env::args().skip(1);
    let mut path = || args.next().map(PathBuf::from);
    let parsed = (|| {
        Some(Arguments {
            reference: path()?,
            ours: path()?,
            reference_so: path()?,
            our_so: path()?,
            symbols: path()?,
            required: env::args().skip(6).collect(),
        })
    })();
    let Some(args) = parsed else {
        eprintln!("usage: abi REF_INCLUDE OUR_INCLUDE REF_SO OUR_SO SYMBOL_LIST REQUIRED_HEADER...");
        return ExitCode::from(2);
    };
    let mut report = Report::default();
    match compare(&args, &mut report) {
        Ok(()) => report.finish(),
        Err(why) => {
            eprintln!("abi: {why}");
            ExitCode::FAILURE
        }
    }
}

fn compare(args: &Arguments, report: &mut Report) -> Result<(), String> {
    let theirs = headers_in(&args.reference)?;
    let ours = headers_in(&args.ours)?;
    for header in &args.required {
        report.check(theirs.contains(header), || format!("{header} is required but the reference has none"));
    }
    let exported = object::Object::read(&args.our_so)?;
    let reference_exports = object::Object::read(&args.reference_so)?;
    for header in ours.difference(&theirs) {
        let Some((_, reason)) = allowed::OWN_HEADERS.iter().find(|(name, _)| name == header) else {
            report.fail(format!("{header}: the reference has no such header"));
            continue;
        };
        let before = report.counts();
        for name in &bindings::of(&args.ours, header)?.symbols {
            report.check(exported.exports(name), || format!("{header}: {name} is not exported"));
            report.check(!reference_exports.exports(name), || {
                format!("{header}: {name} is the reference's own name")
            });
        }
        println!("{header}: {}, not in the reference: {reason}", report.since(before));
    }
    for header in &theirs {
        if !ours.contains(header) {
            if args.required.contains(header) {
                report.fail(format!("{header} is missing"));
            } else {
                println!("{header}: not compared (not there yet)");
            }
            continue;
        }
        let before = report.counts();
        let reference = bindings::of(&args.reference, header)?;
        bindings::compare(header, &reference, &bindings::of(&args.ours, header)?, report);
        macros::compare(
            header,
            &macros::of(&args.reference, header)?,
            &macros::of(&args.ours, header)?,
            report,
        );
        if args.required.contains(header) {
            for name in &reference.symbols {
                report.check(exported.exports(name), || format!("{header}: {name} is not exported"));
            }
        }
        println!("{header}: {}", report.since(before));
    }
    let before = report.counts();
    let list = fs::read_to_string(&args.symbols).map_err(|e| format!("{}: {e}", args.symbols.display()))?;
    object::compare(&reference_exports, &exported, &object::listed(&list), report);
    println!("{}: {}", args.our_so.display(), report.since(before));
    Ok(())
}

/// Names of the headers in `include/qb`.
fn headers_in(include: &Path) -> Result<BTreeSet<String>, String> {
    let dir = include.join("qb");
    let entries = fs::read_dir(&dir).map_err(|e| format!("{}: {e}", dir.display()))?;
    let names = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok());
    Ok(names.filter(|name| name.ends_with(".h")).collect())
}
