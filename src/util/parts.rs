// SPDX-License-Identifier: LGPL-2.1-or-later
//! Messages that are gathered from several pieces.

use crate::{Error, Result};

/// Bytes of all parts together; [`Error::TooBig`] when that is more than a number holds.
#[inline(never)]
pub fn total_len(parts: &[&[u8]]) -> Result<usize> {
    parts.iter().try_fold(0_usize, |len, part| len.checked_add(part.len())).ok_or(Error::TooBig)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_add_up() {
        assert_eq!(total_len(&[]), Ok(0));
        assert_eq!(total_len(&[b"ab", b"", b"c"]), Ok(3));
    }
}
