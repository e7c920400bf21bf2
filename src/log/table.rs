// SPDX-License-Identifier: LGPL-2.1-or-later
//! The callsites by position: an insert-only hash table whose hits take no lock.
//!
//! A level is an open-addressed array that is never changed except by filling an empty place. When it gets half full, a level
//! of twice the size is filled and then published; the older ones stay, so that a reader in them finds everything that was
//! there when it started. What it misses is looked up again under the lock.

use super::site::{Key, Site};
use std::sync::OnceLock;
use std::sync::atomic::{
    AtomicUsize,
    Ordering::{Acquire, Release},
};

type Level = Box<[OnceLock<&'static Site>]>;

const FIRST: usize = 512;
const LEVELS: usize = 24;

/// The table. Insertions are serialized by the caller.
#[derive(Debug)]
pub struct Table {
    levels: [OnceLock<Level>; LEVELS],
    /// Which level is current, plus one; 0 while there is none.
    current: AtomicUsize,
    len: AtomicUsize,
}

impl Table {
    /// An empty table.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            levels: [const { OnceLock::new() }; LEVELS],
            current: AtomicUsize::new(0),
            len: AtomicUsize::new(0),
        }
    }

    #[inline]
    fn level(&self) -> Option<&Level> {
        // ORDER(level-live): pairs with `grow`. Whoever observes the number also sees the filled level.
        let at = self.current.load(Acquire).checked_sub(1)?;
        self.levels.get(at)?.get()
    }

    /// The site at a position, if it was seen before. Takes no lock.
    #[inline]
    pub fn find(&self, key: &Key<'_>, hash: u64) -> Option<&'static Site> {
        let level = self.level()?;
        let mask = level.len() - 1;
        let mut at = hash as usize & mask;
        loop {
            let site = *level.get(at)?.get()?;
            if site.is(hash, key) {
                return Some(site);
            }
            at = (at + 1) & mask;
        }
    }

    /// Adds a site that is not there. The caller is the only one who inserts now. False when the table is full for good.
    pub fn insert(&self, site: &'static Site) -> bool {
        let len = self.len.load(Acquire);
        let room = self.level().map_or(0, |level| level.len() / 2);
        if len >= room && !self.grow() {
            return false;
        }
        let Some(level) = self.level() else { return false };
        place(level, site);
        self.len.store(len + 1, Release);
        true
    }

    fn grow(&self) -> bool {
        let next = self.current.load(Acquire);
        let Some(slot) = self.levels.get(next) else { return false };
        let level: Level = (0..FIRST << next).map(|_| OnceLock::new()).collect();
        self.for_each(|site| place(&level, site));
        let _ = slot.set(level);
        // ORDER(level-live): pairs with `level`.
        self.current.store(next + 1, Release);
        true
    }

    /// Visits every site.
    pub fn for_each(&self, mut visit: impl FnMut(&'static Site)) {
        for slot in self.level().into_iter().flatten() {
            if let Some(site) = slot.get() {
                visit(site);
            }
        }
    }
}

fn place(level: &Level, site: &'static Site) {
    let mask = level.len() - 1;
    let mut at = site.hash() as usize & mask;
    while level[at].set(site).is_err() {
        at = (at + 1) & mask;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ffi::CString;

    #[test]
    fn every_site_is_found_again_after_growing() {
        let table = Table::new();
        let key =
            |format, line| Key { function: c"", filename: c"x", format, message_id: None, priority: 3, line };
        for line in 0..5000u32 {
            let k = key(c"fmt", line);
            assert!(table.find(&k, k.hash()).is_none());
            assert!(table.insert(Box::leak(Box::new(Site::new(&k)))));
        }
        let copy = CString::new("fmt").unwrap();
        for line in 0..5000u32 {
            let k = key(&copy, line);
            assert_eq!(table.find(&k, k.hash()).unwrap().head().line(), line);
        }
        let mut count = 0;
        table.for_each(|_| count += 1);
        assert_eq!(count, 5000);
    }
}
