// SPDX-License-Identifier: LGPL-2.1-or-later
//! `qb/qblog.h`: logging. The variadic functions are in `capi/shim/log.c`.

mod compact;
mod fixed;
pub mod glue;
mod journal;
mod print;
mod sinks;

use crate::handle::{count, cstr, set_errno, status};
use libc::{c_char, c_int, c_uint, c_void, ssize_t, timespec};
use qb::log::control::{self, RuleOp, Setting};
use qb::log::filter::Kind;
use qb::log::{SLOTS, SiteHead, State, emit, format, logger, worker};
use qb::{Error, Result};
use sinks::{Custom, File, Standard, Syslog, USER_DATA};
use std::ffi::CStr;
use std::os::fd::FromRawFd;
use std::sync::Arc;
use std::sync::atomic::Ordering::{Acquire, Release};

pub type qb_log_callsite = SiteHead;
pub type qb_log_conf = c_uint;
pub type qb_log_filter_conf = c_uint;
pub type qb_log_filter_type = c_uint;
pub type qb_log_filter_fn = Option<unsafe extern "C" fn(cs: *mut qb_log_callsite)>;
pub type qb_log_tags_stringify_fn = Option<unsafe extern "C" fn(tags: u32) -> *const c_char>;
pub type qb_log_logger_fn = Option<
    unsafe extern "C" fn(t: i32, cs: *mut qb_log_callsite, timestamp: *mut timespec, msg: *const c_char),
>;
pub type qb_log_close_fn = Option<unsafe extern "C" fn(t: i32)>;
pub type qb_log_reload_fn = Option<unsafe extern "C" fn(t: i32)>;

/// The argument of qb_log_ctl2().
#[repr(C)]
#[derive(Clone, Copy)]
pub union qb_log_ctl2_arg_t {
    pub i32: i32,
    pub s: *const c_char,
}

const INVALID: i32 = -libc::EINVAL;

/// Starts the logging system. All targets begin anew; syslog is enabled, for everything up to a
/// priority.
///
/// @param name     who the program is, for syslog, the blackbox and %N
/// @param facility of syslog, for all targets
/// @param priority the least urgent one that syslog gets
///
/// # Safety
/// `name` is NULL or NUL-terminated.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qb_log_init(name: *const c_char, facility: i32, priority: u8) {
    fixed::find();
    glue::watch_forks();
    glue::install();
    let statics = logger::Statics {
        syslog: Arc::new(Syslog::default()),
        stderr: Arc::new(Standard::Err),
        stdout: Arc::new(Standard::Out),
    };
    // SAFETY: NULL or NUL-terminated by contract.
    let name = unsafe { glue::text(name) };
    let _ = logger::init(name, facility, priority, statics);
}

/// Ends logging: stops the thread after it has written what was queued, disables the targets and
/// forgets filters, tags and registered callsites.
#[unsafe(no_mangle)]
pub extern "C" fn qb_log_fini() {
    logger::fini();
}

/// Finds or makes the callsite of a position. It stays valid, at the same address, for the life of
/// the process.
///
/// @param function of the position
/// @param filename of the position
/// @param format   for printf
/// @param priority of syslog.h, or LOG_TRACE
/// @param lineno   of the position
/// @param tags     for the callsite; 0 leaves it the ones it has
/// @return the callsite for qb_log_real_(), or NULL before qb_log_init()
///
/// # Safety
/// Each text is NULL or NUL-terminated.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qb_log_callsite_get(
    function: *const c_char,
    filename: *const c_char,
    format: *const c_char,
    priority: u8,
    lineno: u32,
    tags: u32,
) -> *mut qb_log_callsite {
    // SAFETY: this function's own contract.
    unsafe { glue::find(std::ptr::null(), function, filename, format, priority, lineno, tags) }
}

/// Like qb_log_callsite_get(), with an id for the message.
///
/// @param message_id of the journal's catalog, or NULL
/// @param function   of the position
/// @param filename   of the position
/// @param format     for printf
/// @param priority   of syslog.h, or LOG_TRACE
/// @param lineno     of the position
/// @param tags       for the callsite; 0 leaves it the ones it has
/// @return the callsite for qb_log_real_(), or NULL before qb_log_init()
///
/// # Safety
/// Each text is NULL or NUL-terminated.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qb_log_callsite_get2(
    message_id: *const c_char,
    function: *const c_char,
    filename: *const c_char,
    format: *const c_char,
    priority: u8,
    lineno: u32,
    tags: u32,
) -> *mut qb_log_callsite {
    // SAFETY: this function's own contract.
    unsafe { glue::find(message_id, function, filename, format, priority, lineno, tags) }
}

/// Registers callsites of the program's own and applies filters and tags to them. The memory has to
/// stay as long as the process; elements with line number 0 are skipped.
///
/// @param _start first element
/// @param _stop  behind the last element
/// @return 0, -EINVAL for NULL, or -EEXIST if one of the two is registered already
///
/// # Safety
/// Both are NULL, or limits of one array that stays.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qb_log_callsites_register(
    _start: *mut qb_log_callsite,
    _stop: *mut qb_log_callsite,
) -> i32 {
    if _start.is_null() || _stop.is_null() {
        return INVALID;
    }
    status(glue::register(_start, _stop))
}

/// Prints a table of the callsites to stdout.
#[unsafe(no_mangle)]
pub extern "C" fn qb_log_callsites_dump() {
    print::callsites();
}

/// Changes a setting of a target, or asks for its state.
///
/// - QB_LOG_CONF_ENABLED: QB_TRUE or QB_FALSE; a new target is disabled
/// - QB_LOG_CONF_FACILITY: the facility of syslog, such as LOG_DAEMON
/// - QB_LOG_CONF_SIZE: bytes of the blackbox, before it is enabled
/// - QB_LOG_CONF_THREADED: whether the thread of qb_log_thread_start() writes
/// - QB_LOG_CONF_PRIORITY_BUMP: what syslog adds to the priority of debug and trace
/// - QB_LOG_CONF_STATE_GET: asks for the state, an enum qb_log_target_state
/// - QB_LOG_CONF_FILE_SYNC: whether each line of a file goes to the device
/// - QB_LOG_CONF_EXTENDED: whether what is behind QB_XS is shown
/// - QB_LOG_CONF_MAX_LINE_LEN: bytes of a line, with the NUL
/// - QB_LOG_CONF_ELLIPSIS: whether a line that was cut ends in "..."
/// - QB_LOG_CONF_USE_JOURNAL: whether syslog means the journal
///
/// QB_LOG_CONF_IDENT has a text as its argument: see qb_log_ctl2().
///
/// @param target    QB_LOG_SYSLOG and so on, or what an open function returned
/// @param conf_type what to change, with an integer as argument
/// @param arg       the new value
/// @return 0, the state for QB_LOG_CONF_STATE_GET, -EBADF for a target that is not open, -EINVAL,
///         -ENOSYS, or what hindered the target
#[unsafe(no_mangle)]
pub extern "C" fn qb_log_ctl(target: i32, conf_type: qb_log_conf, arg: i32) -> i32 {
    if conf_type == 9 {
        return INVALID; // the identity is a string, which an int cannot be
    }
    // SAFETY: only the identity is read as a string.
    unsafe { qb_log_ctl2(target, conf_type, qb_log_ctl2_arg_t { i32: arg }) }
}

/// Like qb_log_ctl(), also for settings that are strings.
///
/// @param target    QB_LOG_SYSLOG and so on, or what an open function returned
/// @param conf_type what to change
/// @param arg       the new value: member s for QB_LOG_CONF_IDENT, i32 for all others
/// @return as qb_log_ctl()
///
/// # Safety
/// With QB_LOG_CONF_IDENT, `arg.s` is NULL or NUL-terminated.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qb_log_ctl2(target: i32, conf_type: qb_log_conf, arg: qb_log_ctl2_arg_t) -> i32 {
    // SAFETY: any four bytes are an int.
    let value = unsafe { arg.i32 };
    let on = value != 0;
    let setting = match conf_type {
        0 => Setting::Enabled(on),
        1 => Setting::Facility(value),
        3 => Setting::Size(value),
        4 => Setting::Threaded(on),
        5 => Setting::Bump(value),
        6 => return state(target),
        7 => Setting::Sync(on),
        8 => Setting::Extended(on),
        // SAFETY: the caller says that it is a string.
        9 => match unsafe { cstr(arg.s) } {
            Some(name) => Setting::Ident(name),
            None => return INVALID,
        },
        10 => Setting::MaxLineLen(value),
        11 => Setting::Ellipsis(on),
        12 => Setting::Journal(on),
        _ => return status(control::check_target(Some(target)).and(Err(Error::Invalid))),
    };
    status(control::set(target, setting))
}

fn state(target: i32) -> i32 {
    match control::state(target) {
        Ok(State::Enabled) => 3,
        Ok(State::Disabled) => 2,
        Ok(State::Absent | State::Unused) => -libc::EBADF,
        Err(e) => -e.errno(),
    }
}

/// Adds or removes a filter or a tag, for priorities from LOG_EMERG on.
///
/// @param value        the target of a filter, or the tags
/// @param c            what to do
/// @param type         what the text is compared with
/// @param text         a comma list of names, a part of the format, or a basic regular expression;
///                     "*" means any
/// @param low_priority the least urgent priority that matches
/// @return 0, -EBADF for a target that is not open, -EEXIST for a duplicate, or -EINVAL
///
/// # Safety
/// `text` is NULL or NUL-terminated.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qb_log_filter_ctl(
    value: i32,
    c: qb_log_filter_conf,
    r#type: qb_log_filter_type,
    text: *const c_char,
    low_priority: u8,
) -> i32 {
    // SAFETY: this function's own contract.
    unsafe { qb_log_filter_ctl2(value, c, r#type, text, 0, low_priority) }
}

/// Like qb_log_filter_ctl(), for a range of priorities.
///
/// @param value         the target of a filter, or the tags
/// @param c             what to do
/// @param type          what the text is compared with
/// @param text          as for qb_log_filter_ctl()
/// @param high_priority the most urgent priority that matches
/// @param low_priority  the least urgent priority that matches
/// @return as qb_log_filter_ctl()
///
/// # Safety
/// `text` is NULL or NUL-terminated.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qb_log_filter_ctl2(
    value: i32,
    c: qb_log_filter_conf,
    r#type: qb_log_filter_type,
    text: *const c_char,
    high_priority: u8,
    low_priority: u8,
) -> i32 {
    // SAFETY: NULL or NUL-terminated by contract.
    let text = unsafe { cstr(text) };
    status(filter_ctl(value, c, r#type, text, high_priority, low_priority))
}

fn filter_ctl(value: i32, c: u32, kind: u32, text: Option<&CStr>, high: u8, low: u8) -> Result<()> {
    control::check_target((c <= 2).then_some(value))?;
    let (Some(kind), Some(text)) = (Kind::from_number(kind), text) else { return Err(Error::Invalid) };
    let op = match c {
        0 | 3 => RuleOp::Add,
        1 | 4 => RuleOp::Remove,
        2 | 5 => RuleOp::Clear,
        _ => return Err(Error::Invalid),
    };
    if c <= 2 {
        control::filter(value, op, kind, text, high, low)
    } else {
        control::tag(value as u32, op, kind, text, high, low)
    }
}

/// Sets a function that may change each callsite: now, when it is made, and each time it logs.
///
/// @param fn the function, or NULL for none
/// @return 0, or -EINVAL before qb_log_init()
///
/// # Safety
/// `fn` may be called from any thread until another one is set.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qb_log_filter_fn_set(r#fn: qb_log_filter_fn) -> i32 {
    status(glue::set_filter(r#fn))
}

/// Sets the function that makes text of tags, for %g.
///
/// @param fn the function, or NULL for none
///
/// # Safety
/// `fn` may be called from any thread until another one is set.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qb_log_tags_stringify_fn_set(r#fn: qb_log_tags_stringify_fn) {
    glue::set_stringify(r#fn);
}

/// Sets what a line of a target looks like: text with these directives, each with an optional width
/// (cut or padded to it; with a minus sign the text is on the right).
///
/// %n function, %f file, %l line, %p priority, %t time, %T time with milliseconds, %b message,
/// %g tags; and those that are looked up now: %N name, %P process id, %H host.
///
/// @param t      the target, open or not
/// @param format the format, or NULL for "[%p] %b"
///
/// # Safety
/// `format` is NULL or NUL-terminated.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qb_log_format_set(t: i32, format: *const c_char) {
    // SAFETY: NULL or NUL-terminated by contract.
    let _ = control::set_format(t, unsafe { cstr(format) });
}

/// Opens a file to which messages are appended. The target is disabled at first, and its user data
/// is the FILE.
///
/// @param filename of the file
/// @return the target, -EMFILE if there are too many, or the -errno of opening the file
///
/// # Safety
/// `filename` is NULL or NUL-terminated.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qb_log_file_open(filename: *const c_char) -> i32 {
    // SAFETY: NULL or NUL-terminated by contract.
    let name = unsafe { cstr(filename) };
    let opened = control::open(|slot| {
        let file = Arc::new(File::open(slot, name.ok_or(Error::Os(libc::EFAULT))?)?);
        sinks::set_file(slot, Some(Arc::clone(&file)));
        Ok(file)
    });
    opened.unwrap_or_else(|e| -e.errno())
}

/// Closes a target; the same as qb_log_custom_close().
///
/// @param t the target
#[unsafe(no_mangle)]
pub extern "C" fn qb_log_file_close(t: i32) {
    qb_log_custom_close(t);
}

/// Goes on in a new file, for rotation. The old one stays in use when the new one cannot be opened.
///
/// @param t        a target of qb_log_file_open()
/// @param filename of the new file, or NULL for the same name
/// @return 0, -EBADF, or the -errno of opening the file
///
/// # Safety
/// `filename` is NULL or NUL-terminated.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qb_log_file_reopen(t: i32, filename: *const c_char) -> i32 {
    let file = control::check_target(Some(t)).ok().and_then(|()| sinks::file(usize::try_from(t).ok()?));
    // SAFETY: NULL or NUL-terminated by contract.
    let name = unsafe { cstr(filename) };
    file.map_or(-libc::EBADF, |file| status(file.reopen(t.unsigned_abs() as usize, name)))
}

/// Sets how the logging thread is scheduled, now or when it starts.
///
/// @param policy   SCHED_OTHER and so on
/// @param priority for that policy
/// @return 0 or -errno
#[unsafe(no_mangle)]
pub extern "C" fn qb_log_thread_priority_set(policy: i32, priority: i32) -> i32 {
    status(worker::set_scheduling(policy, priority))
}

/// Starts the thread that writes to the targets with QB_LOG_CONF_THREADED. Call it after fork().
///
/// @return 0 (also if it runs already) or -errno
#[unsafe(no_mangle)]
pub extern "C" fn qb_log_thread_start() -> i32 {
    status(worker::start())
}

/// Writes the blackbox to a file, which is replaced. May be called from a signal handler.
///
/// @param filename of the file
/// @return bytes written, -ENOENT without a blackbox, or -errno
///
/// # Safety
/// `filename` is NULL or NUL-terminated.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qb_log_blackbox_write_to_file(filename: *const c_char) -> ssize_t {
    if !emit::has_blackbox() {
        return -(libc::ENOENT as ssize_t);
    }
    if filename.is_null() {
        return -(libc::EFAULT as ssize_t);
    }
    let flags = libc::O_CREAT | libc::O_WRONLY | libc::O_TRUNC | libc::O_CLOEXEC;
    // SAFETY: not NULL, and NUL-terminated by contract.
    let fd = unsafe { libc::open(filename, flags, 0o600 as c_uint) };
    if fd < 0 {
        return count(Err(Error::last_os()));
    }
    // SAFETY: just opened, owned by nobody else.
    let file = unsafe { std::fs::File::from_raw_fd(fd) };
    count(emit::dump_blackbox(&file))
}

/// Prints the messages of a blackbox file to stdout, as far as it is intact.
///
/// @param filename of the file
/// @return 0 or less: -errno when it cannot be read, -EIO or -1 when it is damaged
///
/// # Safety
/// `filename` is NULL or NUL-terminated.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qb_log_blackbox_print_from_file(filename: *const c_char) -> c_int {
    // SAFETY: NULL or NUL-terminated by contract.
    unsafe { cstr(filename) }.map_or(-libc::EFAULT, print::blackbox)
}

/// Opens a target of the program's own. It is disabled at first.
///
/// @param log_fn    gets each message, formatted for printf but not for the target
/// @param close_fn  called when the target is disabled or closed, or NULL
/// @param reload_fn never called
/// @param user_data for qb_log_target_user_data_get()
/// @return the target, or -EMFILE if there are too many
///
/// # Safety
/// The functions may be called from any thread that logs while the target is enabled.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qb_log_custom_open(
    log_fn: qb_log_logger_fn,
    close_fn: qb_log_close_fn,
    reload_fn: qb_log_reload_fn,
    user_data: *mut c_void,
) -> i32 {
    let _ = reload_fn;
    let opened = control::open(|slot| {
        USER_DATA[slot].store(user_data, Release);
        sinks::set_file(slot, None);
        Ok(Arc::new(Custom { logger: log_fn, close: close_fn }))
    });
    opened.unwrap_or_else(|e| -e.errno())
}

/// Closes a target: its close function is called whatever its state, its filters are forgotten.
///
/// @param t the target; nothing happens if it is not open
#[unsafe(no_mangle)]
pub extern "C" fn qb_log_custom_close(t: i32) {
    control::close(t);
}

/// Tells what belongs to a target.
///
/// @param t the target
/// @return what was set, the FILE of a file; NULL with errno EBADF if the target is not open
#[unsafe(no_mangle)]
pub extern "C" fn qb_log_target_user_data_get(t: i32) -> *mut c_void {
    match control::check_target(Some(t)) {
        Ok(()) => usize::try_from(t)
            .ok()
            .and_then(|n| USER_DATA.get(n))
            .map_or(std::ptr::null_mut(), |place| place.load(Acquire)),
        Err(e) => {
            if e == Error::Os(libc::EBADF) {
                set_errno(libc::EBADF);
            }
            std::ptr::null_mut()
        }
    }
}

/// Sets what belongs to a target. For targets of qb_log_custom_open() only.
///
/// @param t         the target
/// @param user_data anything
/// @return 0, -EBADF if the target is not open, or -EINVAL before qb_log_init()
///
/// # Safety
/// Nothing is done with `user_data`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qb_log_target_user_data_set(t: i32, user_data: *mut c_void) -> i32 {
    if let Err(e) = control::check_target(Some(t)) {
        return -e.errno();
    }
    if let Some(place) = usize::try_from(t).ok().and_then(|n| USER_DATA.get(n)) {
        place.store(user_data, Release);
    }
    0
}

/// Formats a message as qb_log_format_set() says, for use in the program's own loggers.
///
/// @param target            whose format it is
/// @param cs                as the logger got it
/// @param timestamp         as the logger got it
/// @param formatted_message as the logger got it
/// @param output_buffer     gets the line; room for the target's longest line with its NUL
///
/// # Safety
/// All pointers are NULL (then nothing happens) or as the logger got them; the buffer is large enough.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qb_log_target_format(
    target: i32,
    cs: *mut qb_log_callsite,
    timestamp: *mut timespec,
    formatted_message: *const c_char,
    output_buffer: *mut c_char,
) {
    // SAFETY: NULL or valid by contract.
    let (site, time, message) = unsafe { (glue::site(cs), timestamp.as_ref(), cstr(formatted_message)) };
    let (Some(site), Some(time), Some(message)) = (site, time, message) else { return };
    if output_buffer.is_null() {
        return;
    }
    let stamp = qb::sys::calendar::Stamp { sec: time.tv_sec, nsec: time.tv_nsec };
    let mut line = Vec::with_capacity(512);
    if emit::format_for(target, &site, stamp, message.to_bytes(), &mut line).is_ok() {
        line.push(0);
        // SAFETY: the line has at most the target's length with its NUL, for which the caller has room.
        unsafe { std::ptr::copy_nonoverlapping(line.as_ptr().cast(), output_buffer, line.len()) };
    }
}

/// Tells the number of a syslog facility.
///
/// @param fname its name: "daemon", "local0" and so on
/// @return LOG_DAEMON and so on, or -EINVAL
///
/// # Safety
/// `fname` is NULL or NUL-terminated.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qb_log_facility2int(fname: *const c_char) -> i32 {
    // SAFETY: NULL or NUL-terminated by contract.
    unsafe { cstr(fname) }.and_then(format::facility_number).unwrap_or(INVALID)
}

/// Tells the name of a syslog facility.
///
/// @param fnum LOG_DAEMON and so on
/// @return its name, or NULL
#[unsafe(no_mangle)]
pub extern "C" fn qb_log_facility2str(fnum: i32) -> *const c_char {
    format::facility_name(fnum).map_or(std::ptr::null(), CStr::as_ptr)
}

const _: () = assert!(SLOTS == 32);
