// SPDX-License-Identifier: LGPL-2.1-or-later
//! The version of libqb whose interface and ABI this library offers. The project's own version is the package's.

/// Major number.
pub const MAJOR: u8 = 2;
/// Minor number.
pub const MINOR: u8 = 0;
/// Micro number.
pub const MICRO: u8 = 10;
/// What follows the numbers between releases.
pub const REST: &std::ffi::CStr = c"";
/// The whole as one string.
pub const TEXT: &std::ffi::CStr = c"2.0.10";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_is_made_of_the_numbers() {
        let rest = REST.to_str().unwrap();
        assert_eq!(TEXT.to_str().unwrap(), format!("{MAJOR}.{MINOR}.{MICRO}{rest}"));
    }
}
