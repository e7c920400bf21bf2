// SPDX-License-Identifier: LGPL-2.1-or-later
//! The callsites by position: an insert-only hash table whose hits take no lock.
//!
//! A level is an open-addressed array that is never changed except by filling an empty place. When it gets half full, a level
//! of twice the size is filled and then published; the older ones stay, so that a reader in them finds everything that was
//! there when it started. What it misses is looked up again under the lock.

use super::site::{Key, Site, SiteHead};
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
    /// What a site is placed by.
    hash: fn(&Site) -> u64,
    levels: [OnceLock<Level>; LEVELS],
    /// Which level is current, plus one; 0 while there is none.
    current: AtomicUsize,
    len: AtomicUsize,
}

impl Table {
    /// An empty table.
    #[must_use]
    pub const fn new(hash: fn(&Site) -> u64) -> Self {
        Self {
            hash,
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
        self.first(hash, |site| site.is(hash, key))
    }

    /// The site with this head, in a table that is ordered by [`address`]. Takes no lock.
    #[inline]
    pub fn of(&self, head: &SiteHead) -> Option<&'static Site> {
        self.first(mix(head), |site| std::ptr::eq(site.head(), head))
    }

    #[inline]
    fn first(&self, hash: u64, is: impl Fn(&'static Site) -> bool) -> Option<&'static Site> {
        let level = self.level()?;
        let mask = level.len() - 1;
        let mut at = hash as usize & mask;
        loop {
            let site = *level.get(at)?.get()?;
            if is(site) {
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
        self.place(level, site);
        self.len.store(len + 1, Release);
        true
    }

    fn grow(&self) -> bool {
        let next = self.current.load(Acquire);
        let Some(slot) = self.levels.get(next) else { return false };
        let level: Level = (0..FIRST << next).map(|_| OnceLock::new()).collect();
        self.for_each(|site| self.place(&level, site));
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

    fn place(&self, level: &Level, site: &'static Site) {
        let mask = level.len() - 1;
        let mut at = (self.hash)(site) as usize & mask;
        while level[at].set(site).is_err() {
            at = (at + 1) & mask;
        }
    }
}

/// For a table in which sites are found by the address of their head.
pub fn address(site: &Site) -> u64 {
    mix(site.head())
}

#[inline]
fn mix(head: &SiteHead) -> u64 {
    let at = std::ptr::from_ref(head).addr() as u64;
    at.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ffi::CString;

    #[test]
    fn every_site_is_found_again_after_growing() {
        let (table, heads) = (Table::new(Site::hash), Table::new(address));
        let key =
            |format, line| Key { function: c"", filename: c"x", format, message_id: None, priority: 3, line };
        for line in 0..5000u32 {
            let k = key(c"fmt", line);
            assert!(table.find(&k, k.hash()).is_none());
            let site: &'static Site = Box::leak(Box::new(Site::new(&k)));
            assert!(heads.of(site.head()).is_none());
            assert!(table.insert(site) && heads.insert(site));
        }
        let copy = CString::new("fmt").unwrap();
        for line in 0..5000u32 {
            let k = key(&copy, line);
            let site = table.find(&k, k.hash()).unwrap();
            assert_eq!(site.head().line(), line);
            assert!(std::ptr::eq(heads.of(site.head()).unwrap(), site));
        }
        let mut count = 0;
        table.for_each(|_| count += 1);
        assert_eq!(count, 5000);
    }
}
