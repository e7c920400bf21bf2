// SPDX-License-Identifier: LGPL-2.1-or-later
//! The format strings of targets: compiled when set, expanded for each line.

use super::site::SiteRef;
use crate::sys::calendar::{self, Stamp};
use std::cell::Cell;
use std::ffi::CStr;

/// What a slot has before anybody sets a format.
pub const DEFAULT: &[u8] = b"[%p] %b";

const PRIORITIES: [&str; 9] =
    ["emerg", "alert", "crit", "error", "warning", "notice", "info", "debug", "trace"];
const MONTHS: [&[u8; 3]; 12] =
    [b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec"];

/// `error` for 3 and so on; everything below debug is `trace`.
#[must_use]
pub fn priority_name(priority: u8) -> &'static str {
    PRIORITIES[usize::from(priority).min(PRIORITIES.len() - 1)]
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Field {
    Function,
    File,
    Line,
    Priority,
    Time,
    TimeMillis,
    Message,
    Tags,
    Nothing,
}

#[derive(Debug)]
enum Piece {
    Literal(Vec<u8>),
    Field { field: Field, width: usize, right: bool },
}

/// A compiled format.
#[derive(Debug)]
pub struct Format(Vec<Piece>);

/// What the fields that are fixed when a format is set stand for.
#[derive(Clone, Copy, Debug)]
pub struct Fixed<'a> {
    /// `%N`
    pub name: &'a [u8],
    /// `%P`
    pub pid: u32,
    /// `%H`
    pub host: &'a [u8],
}

/// One directive: what is between `%` and the letter, and the letter.
struct Directive {
    width: usize,
    right: bool,
    letter: u8,
    /// Bytes from `%` to the letter.
    len: usize,
}

/// None for an incomplete one at the end of the text.
fn directive(text: &[u8]) -> Option<Directive> {
    let mut at = 1;
    let right = text.get(at) == Some(&b'-');
    at += usize::from(right);
    let mut width = 0usize;
    while let Some(digit) = text.get(at).filter(|b| b.is_ascii_digit()) {
        width = width.saturating_mul(10).saturating_add(usize::from(digit - b'0'));
        at += 1;
    }
    text.get(at).map(|letter| Directive { width, right, letter: *letter, len: at + 1 })
}

impl Format {
    /// Compiles a format; an incomplete directive at its end is dropped.
    #[must_use]
    pub fn new(text: &[u8], fixed: Fixed<'_>) -> Self {
        // What a fixed field expands to is read once more in the second pass, as a part of the format.
        let mut once = Vec::with_capacity(text.len());
        let mut rest = text;
        while let Some(at) = rest.iter().position(|b| *b == b'%') {
            once.extend_from_slice(&rest[..at]);
            rest = &rest[at..];
            let Some(d) = directive(rest) else {
                rest = &[];
                break;
            };
            let pid = fixed.pid.to_string();
            match d.letter {
                b'N' => pad(&mut once, fixed.name, d.width, d.right, usize::MAX),
                b'P' => pad(&mut once, pid.as_bytes(), d.width, d.right, usize::MAX),
                b'H' => pad(&mut once, fixed.host, d.width, d.right, usize::MAX),
                _ => once.extend_from_slice(&rest[..d.len]),
            }
            rest = &rest[d.len..];
        }
        once.extend_from_slice(rest);
        Self(pieces(&once))
    }

    /// Expands into `out` (emptied first), at most `max` bytes, `max` being at least 1; then removes one newline at the end, or puts an
    /// ellipsis over the end of a line that reached `max`.
    pub fn expand(&self, line: &Line<'_>, max: usize, ellipsis: bool, out: &mut Vec<u8>) {
        out.clear();
        for piece in &self.0 {
            let room = max - out.len();
            if room == 0 {
                break;
            }
            match piece {
                Piece::Literal(text) => out.extend_from_slice(&text[..text.len().min(room)]),
                Piece::Field { field, width, right } => line.field(*field, *width, *right, max, out),
            }
        }
        let full = out.len() >= max;
        if out.last() == Some(&b'\n') {
            out.pop();
        }
        if ellipsis && full && max >= 3 {
            out.truncate(max - 3);
            out.extend_from_slice(b"...");
        }
    }
}

fn pieces(text: &[u8]) -> Vec<Piece> {
    let mut list = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.iter().position(|b| *b == b'%') {
        if at > 0 {
            list.push(Piece::Literal(rest[..at].to_vec()));
        }
        rest = &rest[at..];
        let Some(d) = directive(rest) else { return list };
        let field = match d.letter {
            b'n' => Field::Function,
            b'f' => Field::File,
            b'l' => Field::Line,
            b'p' => Field::Priority,
            b't' => Field::Time,
            b'T' => Field::TimeMillis,
            b'b' => Field::Message,
            b'g' => Field::Tags,
            _ => Field::Nothing,
        };
        list.push(Piece::Field { field, width: d.width, right: d.right });
        rest = &rest[d.len..];
    }
    if !rest.is_empty() {
        list.push(Piece::Literal(rest.to_vec()));
    }
    list
}

/// `text` cut or padded to `width` (0: as it is), all of it cut where `out` reaches `max` bytes. Right means that the text is
/// on the right.
fn pad(out: &mut Vec<u8>, text: &[u8], width: usize, right: bool, max: usize) {
    let room = max.saturating_sub(out.len());
    let width = if width == 0 { text.len() } else { width }.min(room);
    let text = &text[..text.len().min(width)];
    let blanks = (width - text.len()).min(1 << 20);
    if right {
        out.resize(out.len() + blanks, b' ');
    }
    out.extend_from_slice(text);
    if !right {
        out.resize(out.len() + blanks, b' ');
    }
}

/// Turns tags into text, by calling the program's function; the text goes to the end of the buffer.
pub type Stringify = fn(tags: u32, out: &mut Vec<u8>);

/// What one line is made of.
#[derive(Clone, Copy, Debug)]
pub struct Line<'a> {
    /// Where it comes from.
    pub site: &'a SiteRef<'a>,
    /// When.
    pub time: Stamp,
    /// The message.
    pub message: &'a [u8],
    /// For `%g`.
    pub stringify: Option<Stringify>,
}

impl Line<'_> {
    fn field(&self, field: Field, width: usize, right: bool, max: usize, out: &mut Vec<u8>) {
        match field {
            Field::Function => pad(out, self.site.function().to_bytes(), width, right, max),
            Field::File => pad(out, self.site.filename().to_bytes(), width, right, max),
            Field::Line => pad(out, decimal(self.site.head.line(), &mut [0; 10]), width, right, max),
            Field::Priority => {
                pad(out, priority_name(self.site.head.priority()).as_bytes(), width, right, max);
            }
            Field::Time => pad(out, &date(self.time)[..15], width, right, max),
            Field::TimeMillis => pad(out, &date(self.time), width, right, max),
            Field::Message => pad(out, self.message, width, right, max),
            Field::Tags => {
                let mut text = Vec::new();
                if let Some(stringify) = self.stringify {
                    stringify(self.site.head.tags(), &mut text);
                }
                pad(out, &text, width, right, max);
            }
            Field::Nothing => pad(out, b"", width, right, max),
        }
    }
}

fn decimal(mut value: u32, digits: &mut [u8; 10]) -> &[u8] {
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + (value % 10) as u8;
        value /= 10;
        if value == 0 || at == 0 {
            return &digits[at..];
        }
    }
}

/// `Mon DD HH:MM:SS.mmm`; without the last four bytes it is the date of `%t`.
fn date(time: Stamp) -> [u8; 19] {
    thread_local! {
        // A busy thread logs many lines in one second, and the calendar takes a lock of the C library.
        static LAST: Cell<(i64, [u8; 19])> = const { Cell::new((i64::MIN, [0; 19])) };
    }
    let (second, mut text) = LAST.get();
    if second != time.sec {
        text = *b"Jan 01 00:00:00.000";
        if let Some(at) = calendar::local(time.sec) {
            text[..3].copy_from_slice(MONTHS[usize::from(at.month).min(11)]);
            for (pos, value) in [(4, at.day), (7, at.hour), (10, at.minute), (13, at.second)] {
                text[pos] = b'0' + value / 10 % 10;
                text[pos + 1] = b'0' + value % 10;
            }
        }
        LAST.set((time.sec, text));
    }
    let millis = u16::try_from(time.nsec / 1_000_000).unwrap_or(0) % 1000;
    for (at, div) in [(16, 100), (17, 10), (18, 1)] {
        text[at] = b'0' + (millis / div % 10) as u8;
    }
    text
}

/// Where extended information starts in a message.
pub const MARK: u8 = 7;

/// The marker rule for one target: what `text` (without NUL) looks like with (`extended`) or without the part behind the first
/// marker. The result is (length, position of the marker to be shown as `|`); None if nothing is to be logged.
#[must_use]
pub fn extended_part(text: &[u8], extended: bool) -> Option<(usize, Option<usize>)> {
    // `contains` looks at many bytes at once, and markers are rare.
    if !text.contains(&MARK) {
        return Some((text.len(), None));
    }
    let at = text.iter().position(|b| *b == MARK)?;
    let last = at + 1 == text.len();
    match (extended, last) {
        (true, true) => Some((at, None)),
        (true, false) => Some((text.len(), Some(at))),
        (false, _) if at == 0 => None,
        (false, _) => Some((at, None)),
    }
}

/// Names and numbers of the syslog facilities.
const FACILITIES: [(&CStr, i32); 20] = [
    (c"auth", 32),
    (c"authpriv", 80),
    (c"cron", 72),
    (c"daemon", 24),
    (c"ftp", 88),
    (c"kern", 0),
    (c"lpr", 48),
    (c"mail", 16),
    (c"news", 56),
    (c"syslog", 40),
    (c"user", 8),
    (c"uucp", 64),
    (c"local0", 128),
    (c"local1", 136),
    (c"local2", 144),
    (c"local3", 152),
    (c"local4", 160),
    (c"local5", 168),
    (c"local6", 176),
    (c"local7", 184),
];

/// The number of a facility name, case-sensitive.
#[must_use]
pub fn facility_number(name: &CStr) -> Option<i32> {
    FACILITIES.iter().find(|(n, _)| *n == name).map(|(_, number)| *number)
}

/// The name of a facility number.
#[must_use]
pub fn facility_name(number: i32) -> Option<&'static CStr> {
    FACILITIES.iter().find(|(_, n)| *n == number).map(|(name, _)| *name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::site::{Key, Site};

    fn show(format: &[u8], message: &[u8], max: usize, ellipsis: bool) -> String {
        let site = Site::new(&Key {
            function: c"func",
            filename: c"a.c",
            format: c"x",
            message_id: None,
            priority: 3,
            line: 42,
        });
        let view = site.view();
        let line = Line { site: &view, time: Stamp { sec: 0, nsec: 123_999_999 }, message, stringify: None };
        let fixed = Fixed { name: b"prog%b", pid: 77, host: b"host" };
        let mut out = Vec::new();
        Format::new(format, fixed).expand(&line, max, ellipsis, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn widths_cut_and_pad_with_reversed_alignment() {
        assert_eq!(show(b"%10p|%-10p|%3p|%0p|", b"", 511, false), "error     |     error|err|error|");
        assert_eq!(show(b"%5z|%%|%.3p|%n:%l", b"", 511, false), "     ||3p|func:42");
    }

    #[test]
    fn fixed_fields_are_filled_in_first_and_read_again() {
        assert_eq!(show(b"%4N %P %-6H", b"m", 511, false), "prog 77   host");
        assert_eq!(show(b"%N", b"m", 511, false), "progm");
    }

    #[test]
    fn an_incomplete_directive_at_the_end_is_dropped() {
        for format in [&b"a%"[..], b"a%-", b"a%5", b"a%-5"] {
            assert_eq!(show(format, b"", 511, false), "a");
        }
    }

    #[test]
    fn lines_end_at_the_limit_with_or_without_ellipsis() {
        assert_eq!(show(b"%b", b"0123456789", 7, false), "0123456");
        assert_eq!(show(b"%b", b"0123456789", 7, true), "0123...");
        assert_eq!(show(b"%b", b"0123456", 7, true), "0123...");
        assert_eq!(show(b"%b", b"012345", 7, true), "012345");
        assert_eq!(show(b"%b", b"abc", 2, true), "ab");
        assert_eq!(show(b"%99999999999999999999b", b"x", 7, false), "x      ");
    }

    #[test]
    fn one_newline_at_the_end_goes() {
        assert_eq!(show(b"%b\n", b"a\n", 511, false), "a\n");
        assert_eq!(show(b"%b", b"", 511, false), "");
    }

    #[test]
    fn the_marker_rule_has_five_cases() {
        assert_eq!(extended_part(b"abc", false), Some((3, None)));
        assert_eq!(extended_part(b"a\x07b", true), Some((3, Some(1))));
        assert_eq!(extended_part(b"a\x07b", false), Some((1, None)));
        assert_eq!(extended_part(b"a\x07", true), Some((1, None)));
        assert_eq!(extended_part(b"\x07b", false), None);
        assert_eq!(extended_part(b"\x07", true), Some((0, None)));
    }
}
