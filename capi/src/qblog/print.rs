// SPDX-License-Identifier: LGPL-2.1-or-later
//! What the library prints to the program's stdout: blackbox files and the callsites.

use super::sinks::print;
use qb::log::dump::{Damage, Dump, Record};
use qb::log::format::priority_name;
use qb::log::logger;
use qb::{Error, log::Level};
use std::ffi::CStr;
use std::fs::File;
use std::os::unix::ffi::OsStrExt;

/// Prints a blackbox file; 0 or what qb_log_blackbox_print_from_file() returns.
pub fn blackbox(name: &CStr) -> i32 {
    let path = std::path::Path::new(std::ffi::OsStr::from_bytes(name.to_bytes()));
    let file = match File::open(path) {
        Ok(file) => file,
        Err(e) => {
            let code = Error::from(e).errno();
            let text = std::io::Error::from_raw_os_error(code).to_string();
            let text = text.split(" (os error").next().unwrap_or_default();
            qb::log!(Level::Error, "qb_log_blackbox_print_from_file: {text} ({code})");
            return -code;
        }
    };
    let dump = match Dump::read(file) {
        Ok(dump) => dump,
        Err(e) => {
            qb::log!(Level::Error, "{} is not a blackbox file: {e}", path.display());
            return -libc::EIO;
        }
    };
    let ((write, read, words), (free, used)) = (dump.position(), dump.space());
    print(
        format!(
            "Ringbuffer: \n ->NORMAL\n ->write_pt [{write}]\n ->read_pt [{read}]\n ->size [{words} words]\n \
             =>free [{free} bytes]\n =>used [{used} bytes]\n"
        )
        .as_bytes(),
    );
    for record in dump.records() {
        match record {
            Ok(record) => print(&line(&record)),
            Err(damage) => {
                print(format!("{damage}\n").as_bytes());
                return if damage == Damage::TooShort { -1 } else { -libc::EIO };
            }
        }
    }
    0
}

fn line(record: &Record) -> Vec<u8> {
    let mut out = format!("{:<7} {} ", priority_name(record.priority), date(record)).into_bytes();
    out.extend_from_slice(&record.function);
    out.extend_from_slice(format!("({}):{}: ", record.line, record.tags).as_bytes());
    out.extend_from_slice(&record.message);
    out.push(b'\n');
    out
}

/// `Nov 14 22:13:20.123` in the program's locale; the seconds alone where the calendar ends.
fn date(record: &Record) -> String {
    let mut text = [0u8; 64];
    // SAFETY: an all-zero `tm` is a valid value of the plain C struct.
    let mut tm: libc::tm = unsafe { std::mem::zeroed() };
    let seconds = record.time.sec;
    // SAFETY: both are ours; nothing is kept.
    if unsafe { libc::localtime_r(&raw const seconds, &raw mut tm) }.is_null() {
        return seconds.to_string();
    }
    // SAFETY: the buffer is writable for its length, the format is NUL-terminated, `tm` was filled.
    let len =
        unsafe { libc::strftime(text.as_mut_ptr().cast(), text.len(), c"%b %d %T".as_ptr(), &raw const tm) };
    let millis = (record.time.nsec / 1_000_000) as u64;
    format!("{}.{millis:03}", String::from_utf8_lossy(&text[..len.min(text.len())]))
}

/// The body of qb_log_callsites_dump().
pub fn callsites() {
    let mut ranges = Vec::new();
    let mut rows = Vec::new();
    logger::survey(
        |start, stop| ranges.push((start, stop)),
        |site| {
            let head = site.head;
            let mut row = b" ".repeat(12usize.saturating_sub(site.filename().count_bytes()));
            row.extend_from_slice(site.filename().to_bytes());
            row.extend_from_slice(
                format!(" {:>6} {:>16} {:>16}\n", head.line(), head.targets(), head.tags()).as_bytes(),
            );
            rows.push(row);
        },
    );
    print(format!("Callsite Database [{}]\n---------------------\n", ranges.len()).as_bytes());
    for (start, stop) in ranges {
        print(format!(" start {start:#x} - stop {stop:#x}\n").as_bytes());
    }
    print(b"filename    lineno targets         tags\n");
    rows.iter().for_each(|row| print(row));
}
