// SPDX-License-Identifier: LGPL-2.1-or-later
//! One printf conversion, by the C library: flags, width and precision as data, so that no text from outside is a format.

/// A number to be shown.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Value {
    /// For `d i o u x X c`.
    Int(i32),
    /// For `d i o u x X` with a length modifier.
    Long(i64),
    /// For `e E f F g G a A`.
    Double(f64),
    /// For `p`.
    Pointer(usize),
}

/// A conversion without its length modifier.
#[derive(Clone, Debug, Default)]
pub struct Spec {
    /// Flags seen, in any order; others than `#-0 +'I` are ignored.
    pub flags: Vec<u8>,
    /// Field width; negative means left-justified.
    pub width: i32,
    /// Precision; negative means none.
    pub precision: i32,
    /// The conversion letter.
    pub letter: u8,
}

/// Appends the converted number to `out`, cut where `out` would get longer than `max`. A letter that does not go with the value
/// appends nothing.
pub fn append(spec: &Spec, value: Value, max: usize, out: &mut Vec<u8>) {
    let room = max.saturating_sub(out.len());
    let fits = match value {
        Value::Int(_) => b"dioxXuc".contains(&spec.letter),
        Value::Long(_) => b"dioxXu".contains(&spec.letter),
        Value::Double(_) => b"eEfFgGaA".contains(&spec.letter),
        Value::Pointer(_) => spec.letter == b'p',
    };
    if !fits || room == 0 {
        return;
    }
    let mut format = Vec::with_capacity(16);
    format.push(b'%');
    for flag in b"#-0 +'I" {
        if spec.flags.contains(flag) {
            format.push(*flag);
        }
    }
    format.extend_from_slice(b"*.*");
    if matches!(value, Value::Long(_)) {
        format.extend_from_slice(b"ll");
    }
    format.extend_from_slice(&[spec.letter, 0]);
    // What is beyond the room is cut anyway; without a bound a width of 2^31 would take its time.
    let bound = i32::try_from(room).unwrap_or(i32::MAX - 1).saturating_add(1);
    let (width, precision) = (spec.width.clamp(-bound, bound), spec.precision.clamp(-1, bound.max(1100)));
    let start = out.len();
    out.resize(start + room + 1, 0);
    let (to, len) = (out[start..].as_mut_ptr().cast(), room + 1);
    let format = format.as_ptr().cast();
    // SAFETY: `to` is writable for `len` bytes, the format is NUL-terminated and takes exactly two ints and one argument of
    // the type that is passed (checked by `fits`).
    let written = unsafe {
        match value {
            Value::Int(v) => libc::snprintf(to, len, format, width, precision, v),
            Value::Long(v) => libc::snprintf(to, len, format, width, precision, v),
            Value::Double(v) => libc::snprintf(to, len, format, width, precision, v),
            Value::Pointer(v) => libc::snprintf(to, len, format, width, precision, v),
        }
    };
    out.truncate(start + usize::try_from(written).unwrap_or(0).min(room));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn show(flags: &[u8], width: i32, precision: i32, letter: u8, value: Value, max: usize) -> String {
        let mut out = b">".to_vec();
        append(&Spec { flags: flags.to_vec(), width, precision, letter }, value, max, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn numbers_look_as_printf_shows_them() {
        assert_eq!(show(b"0", 5, -1, b'd', Value::Int(-42), 99), ">-0042");
        assert_eq!(show(b"#", 0, -1, b'x', Value::Long(255), 99), ">0xff");
        assert_eq!(show(b"", 0, 2, b'f', Value::Double(1.005), 99), ">1.00");
        assert_eq!(show(b"", -4, -1, b'c', Value::Int(65), 99), ">A   ");
    }

    #[test]
    fn huge_widths_are_cut_and_quick() {
        assert_eq!(show(b"", i32::MAX, -1, b'd', Value::Int(1), 6), ">     ");
        assert_eq!(show(b"", i32::MIN, i32::MAX, b'd', Value::Int(1), 6), ">00000");
    }

    #[test]
    fn a_letter_that_does_not_fit_the_value_shows_nothing() {
        assert_eq!(show(b"", 0, -1, b's', Value::Int(1), 99), ">");
        assert_eq!(show(b"", 0, -1, b'n', Value::Pointer(1), 99), ">");
    }
}
