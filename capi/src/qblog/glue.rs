// SPDX-License-Identifier: LGPL-2.1-or-later
//! Between C programs, the C shim and the engine: callsites with their texts, the program's functions, what the shim asks.

use super::{qb_log_callsite, qb_log_filter_fn, qb_log_tags_stringify_fn};
use crate::qbutil::qb_util_log_fn_t;
use libc::{c_char, c_int, c_void, size_t};
use qb::log::{self, Key, SiteHead, SiteRef, emit, logger};
use std::ffi::CStr;
use std::mem::transmute;
use std::sync::atomic::{AtomicPtr, Ordering::{Acquire, Release}};

static FILTER: AtomicPtr<c_void> = AtomicPtr::new(std::ptr::null_mut());
static STRINGIFY: AtomicPtr<c_void> = AtomicPtr::new(std::ptr::null_mut());
static LEGACY: AtomicPtr<c_void> = AtomicPtr::new(std::ptr::null_mut());

/// A C string for as long as its owner leaves it; NULL is the empty one.
///
/// # Safety
/// `text` is NULL or NUL-terminated and stays unchanged during `'a`.
pub unsafe fn text<'a>(text: *const c_char) -> &'a CStr {
    // SAFETY: not NULL, and NUL-terminated by the caller's contract.
    if text.is_null() { c"" } else { unsafe { CStr::from_ptr(text) } }
}

/// A callsite with its texts.
///
/// # Safety
/// `cs` is NULL or a callsite whose memory and texts stay for the life of the process, which C programs promise for what they
/// pass to qb_log_callsites_register() and qb_log_real_(), and the library for its own.
pub unsafe fn site(cs: *const qb_log_callsite) -> Option<SiteRef<'static>> {
    // SAFETY: NULL or alive; all its members are atomics, so that the program may write them meanwhile.
    let head: &'static SiteHead = unsafe { cs.as_ref() }?;
    let read = |member: &AtomicPtr<c_char>| member.load(Acquire).cast_const();
    // SAFETY: each member is NULL or a C string that stays, see above.
    unsafe {
        let id = read(&head.message_id);
        Some(SiteRef {
            head,
            function: text(read(&head.function)),
            filename: text(read(&head.filename)),
            format: text(read(&head.format)),
            message_id: if id.is_null() { None } else { Some(text(id)) },
        })
    }
}

/// The body of qb_log_callsite_get2().
///
/// # Safety
/// Each text is NULL or NUL-terminated.
#[inline]
pub unsafe fn find(
    id: *const c_char,
    function: *const c_char,
    filename: *const c_char,
    format: *const c_char,
    priority: u8,
    line: u32,
    tags: u32,
) -> *mut qb_log_callsite {
    if !logger::is_running() {
        return std::ptr::null_mut();
    }
    // SAFETY: NULL or NUL-terminated by the caller's contract; used during this call only.
    let key = unsafe {
        Key {
            function: text(function),
            filename: text(filename),
            format: text(format),
            message_id: if id.is_null() { None } else { Some(text(id)) },
            priority,
            line,
        }
    };
    logger::site(&key, tags).map_or(std::ptr::null_mut(), |site| std::ptr::from_ref(site.head()).cast_mut())
}

/// What the shim has to prepare; see `qb::log::emit::Plan`.
#[repr(C)]
pub struct Plan {
    text: u32,
    serial: u32,
}

/// For the shim: 1 and a plan if anybody wants a message from here, then [`qb_shim_log_finish`] must follow; 0 otherwise.
///
/// # Safety
/// `cs` is NULL or a callsite; `plan` is writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qb_shim_log_begin(cs: *const qb_log_callsite, plan: *mut Plan) -> c_int {
    // SAFETY: as in `site`, and the shim passes its own plan.
    let (head, out) = unsafe { (cs.as_ref(), &mut *plan) };
    match head.and_then(emit::begin) {
        Some(plan) => {
            (out.text, out.serial) = (plan.text as u32, plan.serial as u32);
            1
        }
        None => 0,
    }
}

/// For the shim: delivers what was planned. `text_len` counts the NUL; 0 means that there is no text, `serial_len` 0 likewise.
///
/// # Safety
/// The callsite of the plan; the buffers are the caller's for the lengths given.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qb_shim_log_finish(
    cs: *const qb_log_callsite,
    text: *mut c_char,
    text_len: size_t,
    serial: *const c_char,
    serial_len: size_t,
) {
    // SAFETY: the callsite was checked by qb_shim_log_begin(); the buffers are on the shim's stack or heap, nobody else has them.
    unsafe {
        let Some(site) = site(cs) else { return };
        let text = (text_len > 0).then(|| std::slice::from_raw_parts_mut(text.cast::<u8>(), text_len));
        let serial = (serial_len > 0).then(|| std::slice::from_raw_parts(serial.cast::<u8>(), serial_len));
        emit::finish(&site, text, serial);
    }
}

fn call_filter(head: &SiteHead) {
    let f = FILTER.load(Acquire);
    // SAFETY: only `set_filter` stores here: NULL or a function of this type, that the program keeps callable.
    let f = unsafe { transmute::<*mut c_void, qb_log_filter_fn>(f) };
    if let Some(f) = f {
        // SAFETY: the callsite lives for ever, and may be written through this pointer (its members are atomics).
        unsafe { f(std::ptr::from_ref(head).cast_mut()) };
    }
}

fn call_stringify(tags: u32, out: &mut Vec<u8>) {
    let f = STRINGIFY.load(Acquire);
    // SAFETY: as in `call_filter`.
    let f = unsafe { transmute::<*mut c_void, qb_log_tags_stringify_fn>(f) };
    if let Some(f) = f {
        // SAFETY: the program's function returns NULL or a C string that is valid until it is called again in this thread.
        out.extend_from_slice(unsafe { text(f(tags)) }.to_bytes());
    }
}

fn call_legacy(site: &SiteRef<'_>, text: &[u8]) {
    let f = LEGACY.load(Acquire);
    // SAFETY: as in `call_filter`.
    let f = unsafe { transmute::<*mut c_void, qb_util_log_fn_t>(f) };
    if let Some(f) = f {
        let line = i32::try_from(site.head.line()).unwrap_or(0);
        // SAFETY: both texts end in a NUL and outlive the call.
        unsafe { f(site.filename.as_ptr(), line, i32::from(site.head.priority()), text.as_ptr().cast()) };
    }
}

fn store(place: &AtomicPtr<c_void>, f: *mut c_void) {
    logger::install(logger::Hooks { filter: call_filter, stringify: call_stringify, legacy: call_legacy });
    place.store(f, Release);
}

/// Sets the program's filter function, and calls it for every callsite.
pub fn set_filter(f: qb_log_filter_fn) -> qb::Result<()> {
    if !logger::is_running() {
        return Err(qb::Error::Invalid);
    }
    // SAFETY: an optional function pointer has the size of a pointer, None is NULL.
    store(&FILTER, unsafe { transmute::<qb_log_filter_fn, *mut c_void>(f) });
    logger::use_filter(f.is_some())
}

/// Sets the program's stringifier.
pub fn set_stringify(f: qb_log_tags_stringify_fn) {
    // SAFETY: as in `set_filter`.
    store(&STRINGIFY, unsafe { transmute::<qb_log_tags_stringify_fn, *mut c_void>(f) });
    logger::use_stringify(f.is_some());
}

/// Sets the hook of qb_util_set_log_function().
pub fn set_legacy(f: qb_util_log_fn_t) {
    // SAFETY: as in `set_filter`.
    store(&LEGACY, unsafe { transmute::<qb_util_log_fn_t, *mut c_void>(f) });
    logger::use_legacy(f.is_some());
}

/// Elements [start, stop) of a program.
struct Range {
    start: usize,
    stop: usize,
}

impl log::Range for Range {
    fn each(&self, visit: &mut dyn FnMut(SiteRef<'static>)) {
        let mut at = self.start;
        while self.stop.saturating_sub(at) >= size_of::<SiteHead>() {
            // SAFETY: the program promised elements that stay for ever between the two addresses.
            let site = unsafe { site(std::ptr::with_exposed_provenance(at)) };
            site.filter(|s| s.head.line() > 0).into_iter().for_each(&mut *visit);
            at += size_of::<SiteHead>();
        }
    }
    fn bounds(&self) -> (usize, usize) {
        (self.start, self.stop)
    }
}

/// Registers a range; both ends are not NULL.
pub fn register(start: *mut qb_log_callsite, stop: *mut qb_log_callsite) -> qb::Result<()> {
    let range = Range { start: start.expose_provenance(), stop: stop.expose_provenance() };
    logger::register(Box::new(range))
}

extern "C" fn prepare() {
    logger::fork_prepare();
}
extern "C" fn parent() {
    logger::fork_parent();
}
extern "C" fn child() {
    logger::fork_child();
}

/// Makes `fork()` safe while other threads log.
pub fn watch_forks() {
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| {
        // SAFETY: three `extern "C"` functions without arguments that stay as long as the library.
        unsafe { libc::pthread_atfork(Some(prepare), Some(parent), Some(child)) };
    });
}
