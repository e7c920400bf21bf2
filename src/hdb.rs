// SPDX-License-Identifier: LGPL-2.1-or-later
//! A handle database: objects under numbers that can be checked, counted references, and an object's end when the last
//! reference goes. It touches its own allocations only; any number of threads may use one database.
//!
//! A handle is an index (lower half) and a random check (upper half), so that a stale or mistaken one is recognised.
//! Entries are empty, active (can be got), or pending removal (only references that exist already count).
#![forbid(unsafe_code)]

use crate::sync::Mutex;
use crate::{Error, Result};
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::hash::{BuildHasher, RandomState};

/// The largest number of objects at a time.
pub const MAX_HANDLES: usize = 1 << 16;
/// A check that fits every entry.
pub const NO_CHECK: u32 = u32::MAX;
const BAD_HANDLE: Error = Error::Os(libc::EBADF);

/// Names an object.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Handle(pub u64);

impl Handle {
    /// A handle without a check.
    #[must_use]
    pub const fn unchecked(index: u32) -> Self {
        Handle((NO_CHECK as u64) << 32 | index as u64)
    }

    /// The index part.
    #[must_use]
    pub const fn index(self) -> u32 {
        self.0 as u32
    }

    const fn check(self) -> u32 {
        (self.0 >> 32) as u32
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Empty,
    Active,
    Pending,
}

struct Entry<T> {
    state: State,
    check: u32,
    refs: u32,
    object: Option<T>,
}

struct Table<T> {
    entries: Vec<Entry<T>>,
    /// Empty entries; the lowest is used first.
    empty: BinaryHeap<Reverse<u32>>,
    random: RandomState,
    drawn: u64,
}

/// What [`Hdb::next`] found.
pub enum Next<T> {
    /// An active object, of which the caller has a reference now.
    Found(Handle, T),
    /// No more; whether entries that are not active were passed on the way.
    End {
        /// There were some.
        passed_inactive: bool,
    },
}

/// See the module's page. Objects are handed out as clones: use pointers, `Rc` or `Arc`.
pub struct Hdb<T> {
    table: Mutex<Table<T>>,
}

impl<T: Clone> Default for Hdb<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T: Clone> Hdb<T> {
    /// An empty database.
    #[must_use]
    pub fn new() -> Self {
        let table =
            Table { entries: Vec::new(), empty: BinaryHeap::new(), random: RandomState::new(), drawn: 0 };
        Hdb { table: Mutex::new(table) }
    }

    /// Adds an object with one reference, under the lowest free index.
    ///
    /// # Errors
    /// [`Error::Invalid`]: there are 65536 already. [`Error::NoMemory`].
    pub fn create(&self, object: T) -> Result<Handle> {
        let mut table = self.table.lock();
        let check = table.draw();
        let entry = Entry { state: State::Active, check, refs: 1, object: Some(object) };
        if let Some(Reverse(index)) = table.empty.pop() {
            *table.entry(index)? = entry;
            return Ok(Handle(u64::from(check) << 32 | u64::from(index)));
        }
        let index = table.entries.len();
        if index >= MAX_HANDLES {
            return Err(Error::Invalid);
        }
        table.entries.try_reserve(1).map_err(|_| Error::NoMemory)?;
        // So that giving the entry back cannot fail.
        let missing = index + 1 - table.empty.len();
        table.empty.try_reserve(missing).map_err(|_| Error::NoMemory)?;
        table.entries.push(entry);
        Ok(Handle(u64::from(check) << 32 | index as u64))
    }

    /// Takes a reference to an active object.
    ///
    /// # Errors
    /// `EBADF`: no such object, or it is pending removal.
    pub fn get(&self, handle: Handle) -> Result<T> {
        let mut table = self.table.lock();
        let entry = table.find(handle)?;
        match (&entry.object, entry.refs.checked_add(1)) {
            (Some(object), Some(refs)) if entry.state == State::Active => {
                entry.refs = refs;
                Ok(object.clone())
            }
            _ => Err(BAD_HANDLE),
        }
    }

    /// Gives a reference back. With the last one `end` is called with the object, without a lock and while the entry
    /// still exists (not to be got, 0 references); afterwards the entry is empty.
    ///
    /// # Errors
    /// `EBADF`: no such object, or nobody has a reference.
    pub fn put(&self, handle: Handle, end: impl FnOnce(&T)) -> Result<()> {
        self.give_back(handle, false, end)
    }

    /// Marks an object as pending removal, and gives one reference back as [`Hdb::put`] does.
    ///
    /// # Errors
    /// `EBADF`: no such object, or it is pending removal already.
    pub fn destroy(&self, handle: Handle, end: impl FnOnce(&T)) -> Result<()> {
        self.give_back(handle, true, end)
    }

    fn give_back(&self, handle: Handle, destroy: bool, end: impl FnOnce(&T)) -> Result<()> {
        let mut table = self.table.lock();
        let entry = table.find(handle)?;
        if entry.state == State::Empty || entry.refs == 0 || (destroy && entry.state == State::Pending) {
            return Err(BAD_HANDLE);
        }
        entry.refs -= 1;
        if destroy || entry.refs == 0 {
            entry.state = State::Pending;
        }
        if entry.refs > 0 {
            return Ok(());
        }
        let object = entry.object.take();
        drop(table);
        if let Some(object) = &object {
            end(object);
        }
        let mut table = self.table.lock();
        if let Ok(entry) = table.entry(handle.index()) {
            (entry.state, entry.check) = (State::Empty, 0);
            table.empty.push(Reverse(handle.index()));
        }
        Ok(())
    }

    /// Number of references.
    ///
    /// # Errors
    /// `EBADF`: no such object.
    pub fn references(&self, handle: Handle) -> Result<u32> {
        Ok(self.table.lock().find(handle)?.refs)
    }

    /// Takes a reference to the next active object at or after an index, and moves the index behind it.
    pub fn next(&self, position: &mut u32) -> Next<T> {
        let mut table = self.table.lock();
        let mut passed_inactive = false;
        while let Some(entry) = table.entries.get_mut(*position as usize) {
            let index = *position;
            *position += 1;
            match (&entry.object, entry.refs.checked_add(1)) {
                (Some(object), Some(refs)) if entry.state == State::Active => {
                    entry.refs = refs;
                    let handle = Handle(u64::from(entry.check) << 32 | u64::from(index));
                    return Next::Found(handle, object.clone());
                }
                _ => passed_inactive = true,
            }
        }
        Next::End { passed_inactive }
    }

    /// How many entries there are, empty ones included.
    #[must_use]
    pub fn entries(&self) -> usize {
        self.table.lock().entries.len()
    }
}

impl<T> Table<T> {
    fn entry(&mut self, index: u32) -> Result<&mut Entry<T>> {
        self.entries.get_mut(index as usize).ok_or(BAD_HANDLE)
    }

    fn find(&mut self, handle: Handle) -> Result<&mut Entry<T>> {
        let entry = self.entry(handle.index())?;
        if handle.check() == NO_CHECK || handle.check() == entry.check { Ok(entry) } else { Err(BAD_HANDLE) }
    }

    /// An unpredictable check from 1 to 2^31 - 1.
    fn draw(&mut self) -> u32 {
        self.drawn += 1;
        match self.random.hash_one(self.drawn) as u32 & 0x7fff_ffff {
            0 => 1,
            check => check,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;
    use std::sync::Arc;

    #[test]
    fn the_object_ends_with_its_last_reference() {
        let db = Hdb::new();
        let ended = Cell::new(0);
        let h = db.create(5).unwrap();
        assert_eq!(db.get(h), Ok(5));
        db.destroy(h, |_| ended.set(1)).unwrap();
        assert_eq!((ended.get(), db.get(h), db.references(h)), (0, Err(BAD_HANDLE), Ok(1)));
        assert_eq!(db.destroy(h, |_| ()), Err(BAD_HANDLE), "a second destroy takes nobody's reference");
        let inside = |object: &i32| {
            assert_eq!((*object, db.references(h), db.get(h)), (5, Ok(0), Err(BAD_HANDLE)));
            assert_eq!(db.put(h, |_| ()), Err(BAD_HANDLE));
            ended.set(2);
        };
        db.put(h, inside).unwrap();
        assert_eq!((ended.get(), db.put(h, |_| ())), (2, Err(BAD_HANDLE)));
    }

    #[test]
    fn an_empty_entry_cannot_be_put_or_destroyed_without_a_check() {
        let db = Hdb::new();
        let h = db.create(()).unwrap();
        db.destroy(h, |()| ()).unwrap();
        for wrong in [Handle::unchecked(0), Handle(0), Handle::unchecked(1)] {
            assert_eq!(db.put(wrong, |()| ()), Err(BAD_HANDLE));
            assert_eq!(db.destroy(wrong, |()| ()), Err(BAD_HANDLE));
        }
        assert_eq!(db.create(()).unwrap().index(), 0);
    }

    #[test]
    fn the_lowest_free_index_is_used_first() {
        let db = Hdb::new();
        let handles: Vec<_> = (0..MAX_HANDLES).map(|i| db.create(i).unwrap()).collect();
        assert_eq!(db.create(0), Err(Error::Invalid));
        for i in [900, 30, 60000] {
            db.destroy(handles[i], |_| ()).unwrap();
        }
        let again: Vec<_> = (0..3).map(|i| db.create(i).unwrap().index()).collect();
        assert_eq!(again, [30, 900, 60000]);
    }

    #[test]
    fn each_object_ends_exactly_once_whatever_the_threads_do() {
        let db = Hdb::new();
        let live = Arc::new(());
        std::thread::scope(|s| {
            for _ in 0..4 {
                s.spawn(|| {
                    for _ in 0..3000 {
                        let h = db.create(Arc::clone(&live)).unwrap();
                        let held = db.get(h).unwrap();
                        let guess = Handle::unchecked(h.index().wrapping_sub(1));
                        if db.get(guess).is_ok() {
                            let _ = db.put(guess, |_| ());
                        }
                        drop(held);
                        db.destroy(h, |_| ()).unwrap();
                        db.put(h, |_| ()).unwrap();
                    }
                });
            }
        });
        assert_eq!(Arc::strong_count(&live), 1);
        let mut position = 0;
        assert!(matches!(db.next(&mut position), Next::End { .. }));
    }
}
