// SPDX-License-Identifier: LGPL-2.1-or-later
//! Messages without their format applied: the format, a NUL, and then the arguments' bytes without any tags, in the order of the
//! conversions. The writing half is in the C shim, because only C can walk a `va_list`; this is the reading half.
//!
//! | conversion | bytes |
//! |---|---|
//! | `d i o u x X` | 4; with `l ll z t j` 8 |
//! | `e E f F g G a A` | 8 |
//! | `c` | 1 |
//! | `s` | the string with its NUL |
//! | `p` | 8 |
//! | `*` | 4, before the value |

use crate::sys::printf::{self, Spec, Value};

/// Where the arguments come from. None means that there are no more; decoding then stops.
pub trait Data {
    /// The next bytes, exactly as many as fit.
    fn fill(&mut self, out: &mut [u8]) -> Option<()>;
    /// Appends the next string, without its NUL, cut to `max` bytes (the rest is skipped).
    fn text(&mut self, max: usize, out: &mut Vec<u8>) -> Option<()>;
}

/// Arguments in a slice.
impl Data for &[u8] {
    fn fill(&mut self, out: &mut [u8]) -> Option<()> {
        let (head, rest) = self.split_at_checked(out.len())?;
        out.copy_from_slice(head);
        *self = rest;
        Some(())
    }

    fn text(&mut self, max: usize, out: &mut Vec<u8>) -> Option<()> {
        // A string that the record cuts off is shown as far as it goes.
        let len = self.iter().position(|b| *b == 0).unwrap_or(self.len());
        out.extend_from_slice(&self[..len.min(max)]);
        *self = self.get(len + 1..).unwrap_or(&[]);
        Some(())
    }
}

/// Decodes a whole serialized message: at most `max` bytes.
#[must_use]
pub fn decode(message: &[u8], max: usize) -> Vec<u8> {
    let (format, mut data) = match message.iter().position(|b| *b == 0) {
        Some(at) => (&message[..at], &message[at + 1..]),
        None => (message, &[][..]),
    };
    decode_from(format, &mut data, max)
}

/// Applies a format (without NUL) to its arguments: at most `max` bytes. Conversions that cannot be stored lose their `%`.
#[must_use]
pub fn decode_from(format: &[u8], data: &mut dyn Data, max: usize) -> Vec<u8> {
    let mut out = Vec::with_capacity(max.min(512));
    let mut rest = format;
    while out.len() < max {
        let literal = rest.iter().position(|b| *b == b'%').unwrap_or(rest.len());
        out.extend_from_slice(&rest[..literal.min(max - out.len())]);
        rest = &rest[literal..];
        if rest.is_empty() {
            break;
        }
        match conversion(&rest[1..], data, max, &mut out) {
            Some(len) => rest = &rest[1 + len..],
            None => break,
        }
    }
    out
}

/// Shows the conversion behind a `%`; the result is its length.
fn conversion(text: &[u8], data: &mut dyn Data, max: usize, out: &mut Vec<u8>) -> Option<usize> {
    let mut spec = Spec { width: 0, precision: -1, ..Spec::default() };
    let mut at = 0;
    while let Some(flag) = text.get(at).filter(|b| b"#-0 +'I".contains(b)) {
        if spec.flags.len() < 16 {
            spec.flags.push(*flag);
        }
        at += 1;
    }
    spec.width = number(text, &mut at, data)?.unwrap_or(0);
    if text.get(at) == Some(&b'.') {
        at += 1;
        spec.precision = number(text, &mut at, data)?.unwrap_or(0);
    }
    let mut wide = false;
    while text.get(at).is_some_and(|b| b"lztj".contains(b)) {
        wide = true;
        at += 1;
    }
    let Some(letter) = text.get(at) else { return Some(at) };
    spec.letter = *letter;
    match letter {
        b'd' | b'i' | b'o' | b'u' | b'x' | b'X' if wide => {
            printf::append(&spec, Value::Long(i64::from_ne_bytes(raw(data)?)), max, out);
        }
        b'd' | b'i' | b'o' | b'u' | b'x' | b'X' => {
            printf::append(&spec, Value::Int(i32::from_ne_bytes(raw(data)?)), max, out);
        }
        b'e' | b'E' | b'f' | b'F' | b'g' | b'G' | b'a' | b'A' => {
            printf::append(&spec, Value::Double(f64::from_ne_bytes(raw(data)?)), max, out);
        }
        b'c' => printf::append(&spec, Value::Int(i32::from(raw::<1>(data)?[0])), max, out),
        b'p' => printf::append(&spec, Value::Pointer(usize::from_ne_bytes(raw(data)?)), max, out),
        b's' => string(&spec, data, max, out)?,
        b'%' if out.len() < max => out.push(b'%'),
        b'%' => (),
        _ => return Some(at), // not a conversion: what is left of it is text
    }
    Some(at + 1)
}

fn raw<const N: usize>(data: &mut dyn Data) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    data.fill(&mut bytes)?;
    Some(bytes)
}

/// A width or a precision: digits, or `*` and a stored int. The outer None: no more data.
fn number(text: &[u8], at: &mut usize, data: &mut dyn Data) -> Option<Option<i32>> {
    if text.get(*at) == Some(&b'*') {
        *at += 1;
        return Some(Some(i32::from_ne_bytes(raw(data)?)));
    }
    let mut value = None;
    while let Some(digit) = text.get(*at).filter(|b| b.is_ascii_digit()) {
        value = Some(value.unwrap_or(0i32).saturating_mul(10).saturating_add(i32::from(digit - b'0')));
        *at += 1;
    }
    Some(value)
}

fn string(spec: &Spec, data: &mut dyn Data, max: usize, out: &mut Vec<u8>) -> Option<()> {
    let room = max.saturating_sub(out.len());
    let cut = usize::try_from(spec.precision).unwrap_or(usize::MAX).min(room);
    let start = out.len();
    data.text(cut, out)?;
    let left = spec.width < 0 || spec.flags.contains(&b'-');
    let blanks = (spec.width.unsigned_abs() as usize).saturating_sub(out.len() - start).min(room);
    let at = if left { out.len() } else { start };
    if blanks > 0 {
        out.splice(at..at, std::iter::repeat_n(b' ', blanks));
        out.truncate(start + room);
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn show(message: &[u8]) -> String {
        String::from_utf8(decode(message, 511)).unwrap()
    }

    #[test]
    fn arguments_are_put_where_their_conversions_are() {
        assert_eq!(show(b"%s|%s\0ab\0\0"), "ab|");
        assert_eq!(show(b"%*d!\0\x05\0\0\0\x2a\0\0\0"), "   42!");
        assert_eq!(show(b"%-5.2s|%5s|\0abc\0xy\0"), "ab   |   xy|");
        assert_eq!(show(b"50%c of %ld\0%\x01\0\0\0\0\0\0\0"), "50% of 1");
    }

    #[test]
    fn unknown_conversions_lose_their_percent_sign() {
        assert_eq!(show(b"a %hd %m %\0"), "a hd m ");
    }

    #[test]
    fn missing_data_ends_the_text_and_nothing_else() {
        assert_eq!(show(b"a %d b\0\x01"), "a ");
        assert_eq!(show(b"a %s b\0xyz"), "a xyz b");
        assert_eq!(show(b"no nul %d"), "no nul ");
    }

    #[test]
    fn the_result_is_never_longer_than_the_limit() {
        let long = [b"%600d and text and ", [b'x'; 600].as_slice(), b"\0\x01\0\0\0"].concat();
        for max in [0, 1, 5, 511] {
            assert_eq!(decode(&long, max).len(), max);
        }
        assert_eq!(decode(b"%100s\0a\0", 10), b"          ");
    }
}
