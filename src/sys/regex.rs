// SPDX-License-Identifier: LGPL-2.1-or-later
//! POSIX basic regular expressions, as the C library has them.

use crate::{Error, Result};
use std::ffi::CStr;

/// A compiled expression.
pub struct Regex(Box<libc::regex_t>);

// SAFETY: a compiled `regex_t` is only read by regexec(), which POSIX requires to be thread-safe; it is freed once, in Drop.
unsafe impl Send for Regex {}
// SAFETY: as above; there is no other access.
unsafe impl Sync for Regex {}

impl Regex {
    /// Compiles with regcomp() flags 0 (basic, case-sensitive); [`Error::Invalid`] if it is not an expression.
    pub fn new(pattern: &CStr) -> Result<Self> {
        // SAFETY: an all-zero regex_t is a valid value for regcomp() to overwrite.
        let mut raw: Box<libc::regex_t> = Box::new(unsafe { std::mem::zeroed() });
        // SAFETY: `raw` is exclusively ours, the pattern is NUL-terminated.
        let rc = unsafe { libc::regcomp(&raw mut *raw, pattern.as_ptr(), 0) };
        if rc == 0 { Ok(Self(raw)) } else { Err(Error::Invalid) }
    }

    /// True if the expression is found anywhere in the text.
    #[must_use]
    pub fn found_in(&self, text: &CStr) -> bool {
        // SAFETY: compiled in `new`, the text is NUL-terminated, and no matches are asked for.
        unsafe { libc::regexec(&raw const *self.0, text.as_ptr(), 0, std::ptr::null_mut(), 0) == 0 }
    }
}

impl Drop for Regex {
    fn drop(&mut self) {
        // SAFETY: compiled in `new` and not freed before.
        unsafe { libc::regfree(&raw mut *self.0) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expressions_are_basic_and_unanchored() {
        let re = Regex::new(c"b\\(c\\|d\\)*$").unwrap();
        assert!(re.found_in(c"abcd") && !re.found_in(c"abe"));
        assert!(Regex::new(c"a+").unwrap().found_in(c"a+"));
        assert!(Regex::new(c"\\(").is_err());
    }
}
