// SPDX-License-Identifier: LGPL-2.1-or-later
//! Between C programs, the C shim and the engine: callsites with their texts, the program's functions, what the shim asks.

use super::fixed;
use super::{qb_log_callsite, qb_log_filter_fn, qb_log_tags_stringify_fn};
use crate::handle::{errno, set_errno};
use crate::qbutil::qb_util_log_fn_t;
use libc::{c_char, c_int, c_void, size_t};
use qb::log::blackbox::MAX_MESSAGE;
use qb::log::{self, Key, Parsed, Recipe, Site, SiteHead, SiteRef, Step, emit, logger};
use qb::shm::Window;
use std::ffi::CStr;
use std::mem::transmute;
use std::sync::atomic::{
    AtomicPtr,
    Ordering::{Acquire, Release},
};

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
    Some(SiteRef::foreign(head, read))
}

fn read(member: &AtomicPtr<c_char>) -> &'static CStr {
    // SAFETY: only sites from `site` are given this function, so the member is NULL or a C string that stays.
    unsafe { text(member.load(Acquire)) }
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
    let place = &RECENT[slot_of(format, filename, line)];
    // SAFETY: NULL or a leaked site: only such are stored below.
    if let Some(known) = unsafe { place.load(Acquire).as_ref::<'static>() }
        && (is_at(known, id, function, filename, format, priority, line)
            // SAFETY: NULL or NUL-terminated by the caller's contract.
            || unsafe { is_same(known, id, function, filename, format, priority, line) })
        && logger::revisit(known, tags)
    {
        return std::ptr::from_ref(known.head()).cast_mut();
    }
    // SAFETY: the caller's contract.
    unsafe { look_up(place, id, function, filename, format, priority, line, tags) }
}

/// Finds or makes a site, and keeps it in `place`.
///
/// # Safety
/// Each text is NULL or NUL-terminated.
#[cold]
#[inline(never)]
#[allow(clippy::too_many_arguments, reason = "those of the C function")]
unsafe fn look_up(
    place: &AtomicPtr<Site>,
    id: *const c_char,
    function: *const c_char,
    filename: *const c_char,
    format: *const c_char,
    priority: u8,
    line: u32,
    tags: u32,
) -> *mut qb_log_callsite {
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
    // Waiting for others changes errno, which the caller may be about to log.
    let saved = errno();
    let site = logger::site(&key, tags);
    if let Some(site) = site
        && id.is_null()
        && [function, filename, format].iter().all(|text| fixed::holds(*text))
    {
        site.set_origin([function.addr(), filename.addr(), format.addr()]);
    }
    set_errno(saved);
    let Some(site) = site else { return std::ptr::null_mut() };
    place.store(std::ptr::from_ref(site).cast_mut(), Release);
    std::ptr::from_ref(site.head()).cast_mut()
}

/// Sites that were looked up last, by the addresses of their texts: most calls come from macros, whose texts stay where they are. A
/// hit still compares the texts, since other callers use the same memory for different ones.
static RECENT: [AtomicPtr<Site>; 1024] = [const { AtomicPtr::new(std::ptr::null_mut()) }; 1024];

/// Sites that logged last, by the addresses of their heads.
static OWN: [AtomicPtr<Site>; 1024] = [const { AtomicPtr::new(std::ptr::null_mut()) }; 1024];

#[inline]
fn slot_of(format: *const c_char, filename: *const c_char, line: u32) -> usize {
    let mixed = (format.addr() as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15)
        ^ (filename.addr() as u64)
        ^ u64::from(line) << 7;
    (mixed.wrapping_mul(0xD6E8_FEB8_6659_FD93) >> 54) as usize
}

/// True if the texts are at the same addresses as when the site was first looked up, and can never change there.
#[inline]
fn is_at(
    site: &Site,
    id: *const c_char,
    function: *const c_char,
    filename: *const c_char,
    format: *const c_char,
    priority: u8,
    line: u32,
) -> bool {
    // One by one: as an array they would go through memory.
    site.origin().is_some_and(|origin| {
        origin[0] == function.addr() && origin[1] == filename.addr() && origin[2] == format.addr()
    }) && id.is_null()
        && site.line() == line
        && site.priority() == priority
}

/// Compares without measuring first.
///
/// # Safety
/// Each text is NULL or NUL-terminated.
#[inline]
unsafe fn is_same(
    site: &Site,
    id: *const c_char,
    function: *const c_char,
    filename: *const c_char,
    format: *const c_char,
    priority: u8,
    line: u32,
) -> bool {
    let key = site.key();
    // SAFETY: not NULL where it is compared, and NUL-terminated by the caller's contract.
    let same = |a: &CStr, b: *const c_char| !b.is_null() && unsafe { libc::strcmp(a.as_ptr(), b) } == 0;
    key.line == line
        && key.priority == priority
        && same(key.format, format)
        && same(key.filename, filename)
        && same(key.function, function)
        && match key.message_id {
            None => id.is_null(),
            Some(known) => same(known, id),
        }
}

/// A message on the stack of the shim.
#[repr(C)]
pub struct ShimMessage {
    _opaque: [u8; 0],
}

unsafe extern "C" {
    /// Formats; the text stays with the shim. The length counts the NUL, and is at least 1.
    fn qb_shim_message_text(message: *mut ShimMessage, size: size_t, len: *mut size_t) -> *mut c_char;
    /// Serializes behind `emit::ROOM` bytes, which the length counts; likewise.
    fn qb_shim_message_serial(message: *mut ShimMessage, size: size_t, len: *mut size_t) -> *mut c_char;
    /// Takes the arguments, as many as there are steps: the bytes that they need, `SIZE_MAX` if that is more than `room`. With `last`,
    /// they cannot be taken again.
    fn qb_shim_message_measure(
        message: *mut ShimMessage,
        steps: *const Step,
        count: size_t,
        room: size_t,
        last: c_int,
    ) -> size_t;
    /// Stores what was taken, in just so many bytes.
    fn qb_shim_message_store(message: *mut ShimMessage, to: *mut c_char);
    /// Takes and stores arguments whose length is fixed.
    fn qb_shim_message_store_numbers(
        message: *mut ShimMessage,
        steps: *const Step,
        count: size_t,
        to: *mut c_char,
        last: c_int,
    );
    /// Reads a format: its stored form with a NUL, in at most `size` bytes, and at most `count` steps; `fixed` is how many bytes the
    /// arguments take, `SIZE_MAX` if that depends on them. The form's length; 0 if there is none.
    fn qb_shim_parse(
        format: *const c_char,
        stored: *mut c_char,
        size: size_t,
        steps: *mut Step,
        count: *mut size_t,
        fixed: *mut size_t,
    ) -> size_t;
}

/// A message of the shim, from this callsite, and how many bytes its arguments were measured to take.
struct FromShim(*mut ShimMessage, &'static SiteHead, Option<usize>);

impl emit::Message for FromShim {
    fn text(&mut self, size: usize) -> &mut [u8] {
        let mut len = 0;
        // SAFETY: the shim's message lives during this call of qb_shim_log(), and so does the text, which nobody else has.
        unsafe {
            let text = qb_shim_message_text(self.0, size, &raw mut len);
            std::slice::from_raw_parts_mut(text.cast(), len)
        }
    }
    fn serial(&mut self, size: usize) -> &mut [u8] {
        let mut len = 0;
        // SAFETY: as above; the room in front belongs to the message, and is whatever the stack held, which any bytes may be.
        unsafe {
            let bytes = qb_shim_message_serial(self.0, size, &raw mut len);
            std::slice::from_raw_parts_mut(bytes.cast(), len)
        }
    }
    #[inline]
    fn recipe(&self) -> Option<&'static Recipe> {
        let place = &OWN[std::ptr::from_ref(self.1).addr() / 64 % OWN.len()];
        // SAFETY: NULL or a leaked site: only such are stored below.
        match unsafe { place.load(Acquire).as_ref::<'static>() } {
            Some(site) if std::ptr::eq(site.head(), self.1) => site.recipe(),
            _ => {
                let site = logger::own(self.1)?;
                place.store(std::ptr::from_ref(site).cast_mut(), Release);
                site.recipe()
            }
        }
    }
    #[inline]
    fn measure(&mut self, recipe: &Recipe, room: usize, last: bool) -> Option<usize> {
        let steps = recipe.steps();
        // SAFETY: the message lives as above, and the steps are those of the format of its callsite, with which the caller logged.
        let len =
            unsafe { qb_shim_message_measure(self.0, steps.as_ptr(), steps.len(), room, c_int::from(last)) };
        self.2 = (len <= room).then_some(len);
        self.2
    }
    #[inline]
    fn store(&mut self, recipe: &Recipe, to: Window<'_>, last: bool) {
        let (steps, at) = (recipe.steps(), to.address().as_ptr().cast());
        if recipe.fixed() == Some(to.len()) {
            // SAFETY: as above; as many bytes are written as the shim said when it read the format, which is the length of the window:
            // mapped and writable while it lives.
            unsafe {
                qb_shim_message_store_numbers(self.0, steps.as_ptr(), steps.len(), at, c_int::from(last));
            }
        } else if self.2 == Some(to.len()) {
            // SAFETY: likewise with what was measured.
            unsafe { qb_shim_message_store(self.0, at) };
        }
    }
}

/// Reads a format by way of the shim.
fn parse(format: &CStr) -> Option<Parsed> {
    let (mut stored, mut steps) = ([0u8; MAX_MESSAGE], [Step::default(); 16]);
    let (mut count, mut fixed) = (steps.len(), 0);
    // SAFETY: a C string, and room for as many bytes and steps as is said.
    let len = unsafe {
        qb_shim_parse(
            format.as_ptr(),
            stored.as_mut_ptr().cast(),
            stored.len(),
            steps.as_mut_ptr(),
            &raw mut count,
            &raw mut fixed,
        )
    };
    (len > 0).then_some(Parsed {
        stored: stored.get(..len)?.to_vec(),
        steps: steps.get(..count)?.to_vec(),
        fixed: (fixed != usize::MAX).then_some(fixed),
    })
}

/// For the shim: logs a message if anybody wants it.
///
/// # Safety
/// `cs` is NULL or a callsite; `message` is on the shim's stack.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qb_shim_log(cs: *const qb_log_callsite, message: *mut ShimMessage) {
    // SAFETY: as in `site`.
    if let Some(site) = unsafe { site(cs) } {
        emit::log(&site, &mut FromShim(message, site.head, None));
    }
}

/// For the shim: 1 if the text at this address is the same for ever. `format` is that of `cs`.
///
/// # Safety
/// `cs` is NULL or a callsite.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qb_shim_log_is_eternal(cs: *const qb_log_callsite) -> c_int {
    // SAFETY: as in `site`.
    let Some(site) = (unsafe { site(cs) }) else { return 0 };
    let format = site.head.format.load(Acquire);
    c_int::from(fixed::holds(format) || logger::owns(&site))
}

/// For the shim: is there anything to do?
///
/// # Safety
/// `cs` is NULL or a callsite.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qb_shim_log_wanted(cs: *const qb_log_callsite) -> c_int {
    // SAFETY: as in `site`.
    c_int::from(unsafe { cs.as_ref() }.is_some_and(emit::is_wanted))
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
        unsafe { f(site.filename().as_ptr(), line, i32::from(site.head.priority()), text.as_ptr().cast()) };
    }
}

/// Gives the engine the functions that it calls.
pub fn install() {
    logger::install(logger::Hooks {
        filter: call_filter,
        stringify: call_stringify,
        legacy: call_legacy,
        parse,
    });
}

fn store(place: &AtomicPtr<c_void>, f: *mut c_void) {
    install();
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
