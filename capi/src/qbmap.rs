// SPDX-License-Identifier: LGPL-2.1-or-later
//! `qb/qbmap.h`: hash table, skip list and trie behind one set of functions.

use crate::handle::{borrow, cstr, null_errno, set_errno, status};
use libc::{c_char, c_void, size_t};
use qb::map::{Event, Iter, Key, Kind, Map, Mask, Notifier, Walk};
use qb::{Error, Result};
use std::ptr::NonNull;
use std::rc::Rc;

/// A map. Opaque in C.
pub struct qb_map_t {
    map: Map<CKey, *mut c_void, CNotifier>,
    kind: Kind,
}

type CIter = Iter<CKey, *mut c_void, CNotifier>;
type CWalk = Walk<CKey, *mut c_void, CNotifier>;

/// An iterator. Opaque in C: the engine's own memory, of which C has one counted reference.
#[repr(transparent)]
pub struct qb_map_iter_t {
    walk: CWalk,
}

/// Values of NULL are passed over in a trie, as they always were.
#[inline(always)]
fn passes_over(kind: Kind, value: *mut c_void) -> bool {
    value.is_null() && kind == Kind::Prefixed
}

/// Gives an iterator to C, or says that there is no map.
#[inline(always)]
fn hand_out(iter: Option<CIter>) -> *mut qb_map_iter_t {
    match iter.and_then(CIter::into_walk) {
        Some(walk) => Rc::into_raw(walk).cast::<qb_map_iter_t>().cast_mut(),
        None => null_errno(Error::Invalid),
    }
}

/// `qb_map_notify_fn` of the header.
pub type qb_map_notify_fn = Option<
    unsafe extern "C" fn(
        event: u32,
        key: *mut c_char,
        old_value: *mut c_void,
        value: *mut c_void,
        user_data: *mut c_void,
    ),
>;

/// `qb_map_transverse_fn` of the header.
pub type qb_map_transverse_fn =
    Option<unsafe extern "C" fn(key: *const c_char, value: *mut c_void, user_data: *mut c_void) -> i32>;

/// The caller's key: a C string that stays valid and unchanged while its entry exists (in a trie: during `put`).
struct CKey(NonNull<c_char>);

impl Key for CKey {
    /// Never NULL, so that an optional pair needs no more room than a pair.
    type Handle = NonNull<c_char>;

    fn bytes(&self) -> &[u8] {
        // SAFETY: made by `qb_map_put` only, whose contract is that the string lives as long as its entry. The engine
        // drops an entry before it tells the program that the key may go, and does not read it afterwards.
        unsafe { cstr(self.0.as_ptr()) }.map_or(&[], |s| s.to_bytes())
    }

    fn handle(&self) -> NonNull<c_char> {
        self.0
    }
}

#[derive(Clone, Copy)]
struct CNotifier {
    function: qb_map_notify_fn,
    user_data: *mut c_void,
}

impl CNotifier {
    fn address(&self) -> usize {
        self.function.map_or(0, |f| f as usize)
    }
}

impl PartialEq for CNotifier {
    fn eq(&self, other: &Self) -> bool {
        self.address() == other.address() && self.user_data == other.user_data
    }
}

impl Notifier<NonNull<c_char>, *mut c_void> for CNotifier {
    fn same_function(&self, other: &Self) -> bool {
        self.address() == other.address()
    }

    fn notify(
        &self,
        event: Event,
        key: &NonNull<c_char>,
        old: Option<&*mut c_void>,
        new: Option<&*mut c_void>,
    ) {
        let value = |v: Option<&*mut c_void>| v.copied().unwrap_or(std::ptr::null_mut());
        if let Some(function) = self.function {
            // SAFETY: a callback of the program with the arguments that the header promises; nothing of the map is
            // borrowed meanwhile.
            unsafe { function(event as u32, key.as_ptr(), value(old), value(new), self.user_data) };
        }
    }
}

/// The bytes of a key or prefix argument; None for NULL.
///
/// # Safety
/// `text` is NULL or a C string that stays unchanged during `'a`.
unsafe fn text<'a>(text: *const c_char) -> Option<&'a [u8]> {
    // SAFETY: the caller's contract is the same.
    unsafe { cstr(text) }.map(|s| s.to_bytes())
}

fn boxed(map: Result<Map<CKey, *mut c_void, CNotifier>>) -> *mut qb_map_t {
    match map {
        Ok(map) => Box::into_raw(Box::new(qb_map_t { kind: map.kind(), map })),
        Err(e) => null_errno(e),
    }
}

/// Creates an unordered map.
///
/// @param max_size expected number of entries. More fit in, without becoming
///                 slower; the number decides on the order of iteration only
/// @return the map, or NULL with errno ENOMEM
#[unsafe(no_mangle)]
pub extern "C" fn qb_hashtable_create(max_size: size_t) -> *mut qb_map_t {
    boxed(Map::hashed(max_size))
}

/// Creates a map that is sorted by strcmp().
///
/// @return the map, or NULL with errno ENOMEM
#[unsafe(no_mangle)]
pub extern "C" fn qb_skiplist_create() -> *mut qb_map_t {
    boxed(Ok(Map::sorted()))
}

/// Creates a sorted map with notifications and iterators for key prefixes.
///
/// The order is that of the characters as signed numbers: the same as in
/// strcmp() for ASCII keys, other characters come first.
///
/// @return the map, or NULL with errno ENOMEM
#[unsafe(no_mangle)]
pub extern "C" fn qb_trie_create() -> *mut qb_map_t {
    boxed(Ok(Map::prefixed()))
}

/// Prints a trie to stdout, for debugging: a line with the number of entries,
/// then one per entry in order. The format is not fixed.
///
/// @param m a trie; nothing is printed for NULL and for other maps
///
/// # Safety
/// `m` is NULL or an open map.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qb_trie_dump(m: *mut qb_map_t) {
    // SAFETY: NULL or open by the caller's contract.
    let Some(m) = (unsafe { borrow(m) }) else { return };
    if m.kind != Kind::Prefixed {
        return;
    }
    // SAFETY: constant formats with arguments of their types; keys in a trie are C strings that iterators return.
    unsafe {
        libc::printf(c"trie: %zu entries\n".as_ptr(), m.map.len());
        for (key, value) in m.map.iter() {
            libc::printf(c"  %s = %p\n".as_ptr(), key.as_ptr(), value);
        }
    }
}

/// Adds a notification.
///
/// The callback may use the map in any way except destroying it, and may delete
/// this or other notifications; deleted ones are not called any more.
///
/// Notifications on one key are called latest first (in a trie the recursive ones
/// after the others and in the order of their addition), those on the map last.
///
/// @param m         the map
/// @param key       the key (in a trie: or prefix) to watch; NULL for all. The
///                  string is needed during the call only. In a hash table or
///                  skip list it must exist, and the notification ends with it
/// @param fn        what to call
/// @param events    sum of QB_MAP_NOTIFY_DELETED, QB_MAP_NOTIFY_REPLACED,
///                  QB_MAP_NOTIFY_INSERTED, QB_MAP_NOTIFY_RECURSIVE and (only
///                  with a NULL key) QB_MAP_NOTIFY_FREE. In a trie a NULL key
///                  needs QB_MAP_NOTIFY_RECURSIVE to be told of anything but FREE
/// @param user_data passed on to @a fn
/// @return 0; -EINVAL (wrong arguments; skip list: no such key), -ENOENT (hash
///         table: no such key), -EEXIST (there is one with the same events,
///         function and data; with QB_MAP_NOTIFY_FREE: with the same events),
///         -ENOMEM
///
/// # Safety
/// `m` is NULL or an open map, `key` NULL or a C string, and `fn` keeps to the C contract until it is deleted.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qb_map_notify_add(
    m: *mut qb_map_t,
    key: *const c_char,
    r#fn: qb_map_notify_fn,
    events: i32,
    user_data: *mut c_void,
) -> i32 {
    // SAFETY: forwards this function's own contract, one argument each.
    let (m, key) = unsafe { (borrow(m), text(key)) };
    let Some(m) = m else { return -libc::EINVAL };
    let notifier = CNotifier { function: r#fn, user_data };
    match m.map.notify_add(key, notifier, Mask(events as u32)) {
        Err(Error::NotFound) if m.kind == Kind::Sorted => -libc::EINVAL,
        result => status(result),
    }
}

/// Deletes all notifications of a key that have this function and these events,
/// whatever their user data.
///
/// @param m      the map
/// @param key    the key they were added with, or NULL
/// @param fn     their function
/// @param events their events, exactly
/// @return 0, or -ENOENT if there was none; -EINVAL if @a m is NULL
///
/// # Safety
/// `m` is NULL or an open map, `key` NULL or a C string.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qb_map_notify_del(
    m: *mut qb_map_t,
    key: *const c_char,
    r#fn: qb_map_notify_fn,
    events: i32,
) -> i32 {
    let wanted = CNotifier { function: r#fn, user_data: std::ptr::null_mut() };
    // SAFETY: forwards this function's own contract.
    unsafe { delete(m, key, events, |n| n.same_function(&wanted)) }
}

/// Deletes the notification of a key that has this function, these events and
/// this user data.
///
/// @param m         the map
/// @param key       the key it was added with, or NULL
/// @param fn        its function
/// @param events    its events, exactly
/// @param user_data its data
/// @return 0, or -ENOENT if there is none; -EINVAL if @a m is NULL
///
/// # Safety
/// `m` is NULL or an open map, `key` NULL or a C string.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qb_map_notify_del_2(
    m: *mut qb_map_t,
    key: *const c_char,
    r#fn: qb_map_notify_fn,
    events: i32,
    user_data: *mut c_void,
) -> i32 {
    let wanted = CNotifier { function: r#fn, user_data };
    // SAFETY: forwards this function's own contract.
    unsafe { delete(m, key, events, |n| *n == wanted) }
}

/// # Safety
/// `m` is NULL or an open map, `key` NULL or a C string.
unsafe fn delete(
    m: *mut qb_map_t,
    key: *const c_char,
    events: i32,
    same: impl Fn(&CNotifier) -> bool,
) -> i32 {
    // SAFETY: forwards this function's own contract, one argument each.
    let (m, key) = unsafe { (borrow(m), text(key)) };
    m.map_or(-libc::EINVAL, |m| status(m.map.notify_del(key, Mask(events as u32), same)))
}

/// Stores a value. The map keeps both pointers; it copies and frees neither.
///
/// If the key exists, its value and its key pointer are replaced. Whoever owns
/// the old ones frees them in the notification of the replacement.
///
/// Without memory the map is unchanged, and errno is ENOMEM.
///
/// @param map   the map
/// @param key   the key; it must stay valid and unchanged until the entry's
///              deletion or replacement was notified (QB_MAP_NOTIFY_DELETED,
///              QB_MAP_NOTIFY_REPLACED or QB_MAP_NOTIFY_FREE)
/// @param value the value; in a trie NULL counts as an entry, but iterators pass
///              over it
///
/// # Safety
/// `map` is NULL or an open map; `key` is NULL or a C string that keeps the contract above.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qb_map_put(map: *mut qb_map_t, key: *const c_char, value: *const c_void) {
    // SAFETY: NULL or open by the caller's contract.
    let (Some(map), Some(key)) = (unsafe { borrow(map) }, NonNull::new(key.cast_mut())) else { return };
    if let Err(e) = map.map.put(CKey(key), value.cast_mut()) {
        set_errno(e.errno());
    }
}

/// Looks up a value.
///
/// @param map the map
/// @param key the key
/// @return the value, NULL if there is no such key
///
/// # Safety
/// `map` is NULL or an open map, `key` NULL or a C string.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qb_map_get(map: *mut qb_map_t, key: *const c_char) -> *mut c_void {
    // SAFETY: forwards this function's own contract, one argument each.
    let (Some(map), Some(key)) = (unsafe { (borrow(map), text(key)) }) else { return std::ptr::null_mut() };
    map.map.get(key).unwrap_or(std::ptr::null_mut())
}

/// Removes an entry.
///
/// If an iterator stands on it, the deletion is notified when the iterator moves
/// on or is freed, and key and value must stay valid until then.
///
/// @param map the map
/// @param key the key
/// @return QB_TRUE, or QB_FALSE if there is no such key
///
/// # Safety
/// `map` is NULL or an open map, `key` NULL or a C string.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qb_map_rm(map: *mut qb_map_t, key: *const c_char) -> i32 {
    // SAFETY: forwards this function's own contract, one argument each.
    let (Some(map), Some(key)) = (unsafe { (borrow(map), text(key)) }) else { return 0 };
    i32::from(map.map.remove(key))
}

/// The number of entries.
///
/// @param map the map
/// @return how many there are; 0 if @a map is NULL
///
/// # Safety
/// `map` is NULL or an open map.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qb_map_count_get(map: *mut qb_map_t) -> size_t {
    // SAFETY: NULL or open by the caller's contract.
    unsafe { borrow(map) }.map_or(0, |m| m.map.len())
}

/// Calls a function for each entry in order, until it returns something else
/// than 0. It may change the map.
///
/// @param map       the map
/// @param func      called with key, value and @a user_data
/// @param user_data passed on
///
/// # Safety
/// `map` is NULL or an open map, and `func` keeps to the C contract.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qb_map_foreach(
    map: *mut qb_map_t,
    func: qb_map_transverse_fn,
    user_data: *mut c_void,
) {
    // SAFETY: NULL or open by the caller's contract.
    let (Some(map), Some(func)) = (unsafe { borrow(map) }, func) else { return };
    let iter = iterator(map, None);
    while let Some((key, value)) = iter.advance() {
        if passes_over(map.kind, value) {
            continue;
        }
        // SAFETY: a callback of the program with the arguments that the header promises; nothing is borrowed.
        if unsafe { func(key.as_ptr(), value, user_data) } != 0 {
            break;
        }
    }
}

#[inline]
fn iterator(map: &qb_map_t, prefix: Option<&[u8]>) -> CIter {
    match prefix {
        // In the engine an empty prefix matches everything, here nothing.
        Some([]) if map.kind == Kind::Prefixed => map.map.iter_none(),
        Some(prefix) => map.map.iter_prefix(prefix),
        None => map.map.iter(),
    }
}

/// Creates an iterator that stands before the first entry.
///
/// Entries may be added and removed while it is in use, also the one it stands
/// on. It must be freed with qb_map_iter_free() before the map is destroyed.
///
/// @param map the map
/// @return the iterator, or NULL
///
/// # Safety
/// `map` is NULL or an open map.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qb_map_iter_create(map: *mut qb_map_t) -> *mut qb_map_iter_t {
    // SAFETY: NULL or open by the caller's contract.
    let map = unsafe { borrow(map) };
    hand_out(map.map(|map| iterator(map, None)))
}

/// Creates an iterator over the keys with a prefix.
///
/// Only tries know prefixes; in a hash table or skip list it iterates over all.
///
/// @param map    the map
/// @param prefix the prefix; NULL for all entries, while an empty one matches none
/// @return the iterator, or NULL
///
/// # Safety
/// `map` is NULL or an open map, `prefix` NULL or a C string.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qb_map_pref_iter_create(
    map: *mut qb_map_t,
    prefix: *const c_char,
) -> *mut qb_map_iter_t {
    // SAFETY: forwards this function's own contract, one argument each.
    let (map, prefix) = unsafe { (borrow(map), text(prefix)) };
    hand_out(map.map(|map| iterator(map, prefix)))
}

/// Moves to the next entry.
///
/// @param i     the iterator
/// @param value where its value goes; may be NULL, and is untouched at the end
/// @return the key pointer that was put in, NULL at the end
///
/// # Safety
/// `i` is NULL or an open iterator; `value` is NULL or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qb_map_iter_next(i: *mut qb_map_iter_t, value: *mut *mut c_void) -> *const c_char {
    // SAFETY: NULL or open by the caller's contract.
    let Some(iter) = (unsafe { borrow(i) }) else { return std::ptr::null() };
    match iter.walk.advance_cached() {
        Some((key, found)) if !passes_over(iter.walk.kind(), found) => {
            if !value.is_null() {
                // SAFETY: not NULL, and writable by the caller's contract.
                unsafe { *value = found };
            }
            key.as_ptr()
        }
        // SAFETY: open, and forwards this function's own contract.
        _ => unsafe { next_slowly(i, value) },
    }
}

/// The rare half of qb_map_iter_next(), apart so that the other needs no stack.
///
/// # Safety
/// `i` is an open iterator; `value` is NULL or writable.
#[inline(never)]
unsafe fn next_slowly(i: *const qb_map_iter_t, value: *mut *mut c_void) -> *const c_char {
    // A callback may free this very iterator, so it is kept meanwhile.
    // SAFETY: C has one counted reference, as `hand_out` made it, and this is one more.
    let walk = unsafe {
        let walk = i.cast::<CWalk>();
        Rc::increment_strong_count(walk);
        Rc::from_raw(walk)
    };
    while let Some((key, found)) = walk.advance() {
        if passes_over(walk.kind(), found) {
            continue;
        }
        if !value.is_null() {
            // SAFETY: not NULL, and writable by the caller's contract.
            unsafe { *value = found };
        }
        return key.as_ptr();
    }
    std::ptr::null()
}

/// Frees an iterator. If the entry it stands on was removed, that is notified now.
///
/// @param i the iterator; nothing happens if it is NULL
///
/// # Safety
/// `i` is NULL or an open iterator, which is not used afterwards.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qb_map_iter_free(i: *mut qb_map_iter_t) {
    if !i.is_null() {
        // SAFETY: made by `hand_out` and given back once, by the caller's contract.
        drop(CIter::from(unsafe { Rc::from_raw(i.cast_const().cast::<CWalk>()) }));
    }
}

/// Destroys a map. All entries are removed in order, with notifications.
///
/// @param map the map; nothing happens if it is NULL
///
/// # Safety
/// `map` is NULL or an open map, which is not used afterwards.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qb_map_destroy(map: *mut qb_map_t) {
    // SAFETY: NULL or open by the caller's contract. Callbacks may still use it, hence no Box yet.
    if let Some(open) = unsafe { borrow(map) } {
        open.map.clear();
        // SAFETY: made by `Box::into_raw` and given back once, by the caller's contract.
        drop(unsafe { Box::from_raw(map) });
    }
}
