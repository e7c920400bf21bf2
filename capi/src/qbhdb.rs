// SPDX-License-Identifier: LGPL-2.1-or-later
//! `qb/qbhdb.h`: handle databases in the caller's memory.
//!
//! `struct qb_hdb` is compiled into programs, many of which define it with `QB_HDB_DECLARE` and never call
//! `qb_hdb_create`; the first call of another function then initialises it. Here `handles` points to a [`Database`].

use crate::handle::status;
use crate::qbarray::qb_array_t;
use libc::c_void;
use qb::hdb::{Handle, Hdb, Next};
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicPtr, AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};

/// An object's number.
pub type qb_handle_t = u64;

/// The caller's database; read by other threads through atomics only.
#[repr(C)]
pub struct qb_hdb {
    handle_count: AtomicU32,
    handles: AtomicPtr<Database>,
    iterator: AtomicU32,
    destructor: Option<unsafe extern "C" fn(*mut c_void)>,
    first_run: AtomicU32,
}

const _: () = {
    assert!(std::mem::offset_of!(qb_hdb, handles) == size_of::<*const ()>());
    assert!(std::mem::offset_of!(qb_hdb, iterator) == 2 * size_of::<*const ()>());
    assert!(std::mem::offset_of!(qb_hdb, destructor) == 3 * size_of::<*const ()>());
    assert!(size_of::<qb_hdb>() == 5 * size_of::<*const ()>());
};

/// What `handles` points to: an array without elements, in case a program looks inside, and our table.
#[repr(C)]
struct Database {
    array: qb_array_t,
    table: Hdb<Instance>,
}

/// The program's object, from calloc().
#[derive(Clone, Copy)]
struct Instance(*mut c_void);

const BAD_HANDLE: i32 = -libc::EBADF;
static FIRST_RUN: Mutex<()> = Mutex::new(());

impl qb_hdb {
    /// Creates the table; a failure leaves NULL.
    fn init(&self) {
        let new = qb_array_t::empty(size_of::<[usize; 3]>())
            .map_or(ptr::null_mut(), |array| Box::into_raw(Box::new(Database { array, table: Hdb::new() })));
        self.handles.store(new, Ordering::Release);
        self.first_run.store(0, Ordering::Release);
    }

    /// The table, after first-run initialisation; None after qb_hdb_destroy().
    ///
    /// # Safety
    /// The struct was declared or created, and is not destroyed during `'a`.
    #[inline]
    unsafe fn table<'a>(&self) -> Option<&'a Hdb<Instance>> {
        if self.first_run.load(Ordering::Acquire) == 1 {
            let _guard = FIRST_RUN.lock().unwrap_or_else(PoisonError::into_inner);
            if self.first_run.load(Ordering::Acquire) == 1 {
                self.init();
            }
        }
        let database = self.handles.load(Ordering::Acquire);
        // SAFETY: NULL, or made by `init` and not freed before qb_hdb_destroy, by the caller's contract.
        unsafe { database.as_ref() }.map(|d| &d.table)
    }

    /// The program's destructor, then the memory.
    fn end(&self, instance: Instance) {
        if let Some(destructor) = self.destructor {
            // SAFETY: the program's destructor with an instance that it got from this library.
            unsafe { destructor(instance.0) };
        }
        // SAFETY: from calloc(), and the table hands each instance to its end once.
        unsafe { libc::free(instance.0) };
    }
}

/// # Safety
/// `hdb` is NULL, or declared or created and not destroyed during `'a`.
unsafe fn open<'a>(hdb: *mut qb_hdb) -> Option<(&'a qb_hdb, &'a Hdb<Instance>)> {
    // SAFETY: the caller's contract; only shared references are made, and shared fields are atomics.
    unsafe {
        let hdb = hdb.as_ref()?;
        Some((hdb, hdb.table()?))
    }
}

/// Initialises a database. What the memory contained before does not matter.
///
/// @param hdb the database; its destructor is NULL afterwards, set it then
///
/// # Safety
/// `hdb` is NULL or writable, and nobody else uses it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qb_hdb_create(hdb: *mut qb_hdb) {
    let Some(hdb) = NonNull::new(hdb) else { return };
    // SAFETY: writable and ours alone by the caller's contract; all-zero bytes are a valid qb_hdb.
    unsafe {
        hdb.write_bytes(0, 1);
        hdb.as_ref().init();
    }
}

/// Frees the table of a database. Instances that still exist are not freed, and no
/// destructor is called. The database cannot be used until qb_hdb_create().
///
/// @param hdb the database
///
/// # Safety
/// `hdb` is NULL, or declared or created, and nobody else uses it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qb_hdb_destroy(hdb: *mut qb_hdb) {
    let Some(hdb) = NonNull::new(hdb) else { return };
    // SAFETY: valid and ours alone by the caller's contract; all-zero bytes are a valid qb_hdb.
    let database = unsafe { hdb.as_ref() }.handles.load(Ordering::Acquire);
    // SAFETY: as above.
    unsafe { hdb.write_bytes(0, 1) };
    if !database.is_null() {
        // SAFETY: made by `init`, and no longer reachable.
        drop(unsafe { Box::from_raw(database) });
    }
}

/// Creates an instance and a handle for it, with one reference.
///
/// @param hdb           the database
/// @param instance_size size in bytes, 0 or more; the memory is zero-filled
/// @param handle_id_out where the handle goes
/// @return 0, -ENOMEM (also for a negative size), -EINVAL (NULL argument, destroyed
///         database, or more than 65536 instances)
///
/// # Safety
/// `hdb` is NULL, or declared or created; `handle_id_out` is NULL or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qb_hdb_handle_create(
    hdb: *mut qb_hdb,
    instance_size: i32,
    handle_id_out: *mut qb_handle_t,
) -> i32 {
    // SAFETY: forwards this function's own contract.
    let Some((hdb, table)) = (unsafe { open(hdb) }) else { return -libc::EINVAL };
    let Ok(size) = usize::try_from(instance_size) else { return -libc::ENOMEM };
    if handle_id_out.is_null() {
        return -libc::EINVAL;
    }
    // SAFETY: no precondition; at least one byte, so that the address is unique.
    let instance = unsafe { libc::calloc(1, size.max(1)) };
    if instance.is_null() {
        return -libc::ENOMEM;
    }
    match table.create(Instance(instance)) {
        Ok(handle) => {
            // Other threads may be here too; the count never falls.
            hdb.handle_count.fetch_max(handle.index() + 1, Ordering::Relaxed);
            // SAFETY: not NULL, and writable by the caller's contract.
            unsafe { *handle_id_out = handle.0 };
            0
        }
        Err(e) => {
            // SAFETY: from calloc() above, and nobody else has it.
            unsafe { libc::free(instance) };
            -e.errno()
        }
    }
}

/// Takes a reference to an instance.
///
/// @param hdb       the database
/// @param handle_in the handle
/// @param instance  where the instance's address goes, NULL on failure
/// @return 0, -EBADF (no such handle, or its removal is pending), -EINVAL (NULL argument)
///
/// # Safety
/// `hdb` is NULL, or declared or created; `instance` is NULL or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qb_hdb_handle_get(
    hdb: *mut qb_hdb,
    handle_in: qb_handle_t,
    instance: *mut *mut c_void,
) -> i32 {
    if hdb.is_null() || instance.is_null() {
        return -libc::EINVAL;
    }
    // SAFETY: forwards this function's own contract.
    let found = unsafe { open(hdb) }.and_then(|(_, table)| table.get(Handle(handle_in)).ok());
    // SAFETY: not NULL, and writable by the caller's contract.
    unsafe { *instance = found.map_or(ptr::null_mut(), |i| i.0) };
    if found.is_some() { 0 } else { BAD_HANDLE }
}

/// The same as qb_hdb_handle_get().
///
/// @param hdb       the database
/// @param handle_in the handle
/// @param instance  where the instance's address goes, NULL on failure
/// @return 0, -EBADF, -EINVAL
///
/// # Safety
/// As for qb_hdb_handle_get().
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qb_hdb_handle_get_always(
    hdb: *mut qb_hdb,
    handle_in: qb_handle_t,
    instance: *mut *mut c_void,
) -> i32 {
    // SAFETY: forwards this function's own contract.
    unsafe { qb_hdb_handle_get(hdb, handle_in, instance) }
}

/// Gives a reference back. After the last one the destructor is called with the
/// instance, which is then freed.
///
/// @param hdb       the database
/// @param handle_in the handle
/// @return 0, or -EBADF (no such handle)
///
/// # Safety
/// `hdb` is NULL, or declared or created.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qb_hdb_handle_put(hdb: *mut qb_hdb, handle_in: qb_handle_t) -> i32 {
    // SAFETY: forwards this function's own contract.
    let Some((hdb, table)) = (unsafe { open(hdb) }) else { return BAD_HANDLE };
    status(table.put(Handle(handle_in), |i| hdb.end(*i)))
}

/// Ends a handle: no more references can be taken, and the owner's is given back as
/// with qb_hdb_handle_put(). Those that others have stay valid.
///
/// @param hdb       the database
/// @param handle_in the handle
/// @return 0, or -EBADF (no such handle, or it was destroyed already)
///
/// # Safety
/// `hdb` is NULL, or declared or created.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qb_hdb_handle_destroy(hdb: *mut qb_hdb, handle_in: qb_handle_t) -> i32 {
    // SAFETY: forwards this function's own contract.
    let Some((hdb, table)) = (unsafe { open(hdb) }) else { return BAD_HANDLE };
    status(table.destroy(Handle(handle_in), |i| hdb.end(*i)))
}

/// The number of references to an instance.
///
/// @param hdb       the database
/// @param handle_in the handle
/// @return the number (0 while the destructor runs), or -EBADF
///
/// # Safety
/// `hdb` is NULL, or declared or created.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qb_hdb_handle_refcount_get(hdb: *mut qb_hdb, handle_in: qb_handle_t) -> i32 {
    // SAFETY: forwards this function's own contract.
    let Some((_, table)) = (unsafe { open(hdb) }) else { return BAD_HANDLE };
    match table.references(Handle(handle_in)) {
        Ok(n) => i32::try_from(n).unwrap_or(i32::MAX),
        Err(e) => -e.errno(),
    }
}

/// Lets the next qb_hdb_iterator_next() begin with the first handle.
///
/// @param hdb the database
///
/// # Safety
/// `hdb` is NULL, or declared or created.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qb_hdb_iterator_reset(hdb: *mut qb_hdb) {
    // SAFETY: NULL or valid by the caller's contract.
    if let Some(hdb) = unsafe { hdb.as_ref() } {
        hdb.iterator.store(0, Ordering::Relaxed);
    }
}

/// Takes a reference to the next instance whose removal is not pending. All users
/// of a database share one position.
///
/// @param hdb      the database
/// @param instance where the instance's address goes
/// @param handle   where its handle goes; give it back with qb_hdb_handle_put()
/// @return 0, or a negative value at the end
///
/// # Safety
/// `hdb` is NULL, or declared or created; `instance` and `handle` are NULL or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qb_hdb_iterator_next(
    hdb: *mut qb_hdb,
    instance: *mut *mut c_void,
    handle: *mut qb_handle_t,
) -> i32 {
    // SAFETY: NULL or valid by the caller's contract.
    let Some(db) = (unsafe { hdb.as_ref() }) else { return -1 };
    if instance.is_null() || handle.is_null() || db.first_run.load(Ordering::Acquire) == 1 {
        return -1;
    }
    // SAFETY: forwards this function's own contract.
    let Some((db, table)) = (unsafe { open(hdb) }) else { return -1 };
    let mut position = db.iterator.load(Ordering::Relaxed);
    let next = table.next(&mut position);
    db.iterator.store(position, Ordering::Relaxed);
    match next {
        Next::Found(number, object) => {
            // SAFETY: neither is NULL, and both are writable by the caller's contract.
            unsafe {
                *handle = number.0;
                *instance = object.0;
            }
            0
        }
        Next::End { passed_inactive: true } => BAD_HANDLE,
        Next::End { passed_inactive: false } => -1,
    }
}

/// The index in a handle: its lower 32 bits.
///
/// @param handle the handle
/// @return the index
#[unsafe(no_mangle)]
pub extern "C" fn qb_hdb_base_convert(handle: qb_handle_t) -> u32 {
    Handle(handle).index()
}

/// A handle from an index alone, which fits whatever instance is there.
///
/// @param handle the index
/// @return the handle
#[unsafe(no_mangle)]
pub extern "C" fn qb_hdb_nocheck_convert(handle: u32) -> u64 {
    Handle::unchecked(handle).0
}
