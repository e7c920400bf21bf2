// SPDX-License-Identifier: LGPL-2.1-or-later
//! Page faults of an end's first way through its ring: a few for all of it instead of one for each page.

use super::RingFiles;
use crate::sys::mmap::{Touch, page_size};

/// Most bytes that are mapped before they are needed. Who waits for the message waits for this, some 30 us where the other end has
/// touched the pages before and 95 where not.
const MOST: usize = 256 << 10;
/// Each step is so many times what is mapped already. Short steps would be frequent enough to decide the 99th percentile of round trips.
const GROWTH: usize = 16;

/// How far one end has come in the data area. It has the kernel map what comes next, in steps that grow, so that a connection with few
/// messages keeps few pages.
#[derive(Debug)]
pub(super) struct Ahead {
    /// Bytes from the start that need no thought any more.
    mapped: usize,
    touch: Touch,
}

impl Ahead {
    pub const fn new(touch: Touch) -> Self {
        Self { mapped: 0, touch }
    }

    /// The end is about to use `len` bytes at `offset`, and then the header of the chunk behind them.
    #[inline(always)]
    pub fn reach(&mut self, files: &RingFiles, offset: usize, len: usize) {
        if offset + len >= self.mapped {
            self.map_more(files, offset + len);
        }
    }

    #[cold]
    fn map_more(&mut self, files: &RingFiles, end: usize) {
        let (all, page) = (files.data().len(), page_size());
        if self.mapped < all {
            let step = (self.mapped * GROWTH).clamp(page, MOST.max(page));
            let to = (end + page).next_multiple_of(page).max(self.mapped + step).min(all);
            // It only saves time: without it each page has its own fault.
            let _ = files.data().populate(self.mapped, to, self.touch);
            self.mapped = to;
        }
        if self.mapped == all {
            self.mapped = usize::MAX;
        }
    }
}
