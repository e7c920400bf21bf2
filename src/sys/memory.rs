// SPDX-License-Identifier: LGPL-2.1-or-later
//! Memory of a length that a peer or a caller decides on: there may be less, and that is an error, not the end.

use crate::{Error, Result};
use std::alloc::{Layout, alloc_zeroed};
use std::ptr::{NonNull, slice_from_raw_parts_mut};

/// `n` words of zeros. A page of them costs nothing before it is written. [`Error::NoMemory`] when there are not so many.
pub fn zeroed_words(n: usize) -> Result<Box<[u64]>> {
    if n == 0 {
        return Ok(Box::default());
    }
    let layout = Layout::array::<u64>(n).map_err(|_| Error::NoMemory)?;
    // SAFETY: the layout has a size other than 0.
    let start = NonNull::new(unsafe { alloc_zeroed(layout) }).ok_or(Error::NoMemory)?;
    // SAFETY: just allocated by the global allocator with the layout of `n` words, which are all zero, and owned by nobody else.
    Ok(unsafe { Box::from_raw(slice_from_raw_parts_mut(start.cast().as_ptr(), n)) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::hint::black_box;

    #[test]
    fn words_are_zero_and_too_many_are_an_error() {
        assert!(zeroed_words(0).unwrap().is_empty());
        let mut words = zeroed_words(1000).unwrap();
        assert_eq!(*words, [0; 1000]);
        words.fill(7);
        // Used, or the allocation could be optimised away.
        for n in [1 << 58, 1 << 60, usize::MAX] {
            assert_eq!(black_box(zeroed_words(black_box(n))), Err(Error::NoMemory), "{n} words");
        }
    }
}
