// SPDX-License-Identifier: LGPL-2.1-or-later
//! Targets made of C: syslog, the program's stdio streams, files, and the program's own loggers.

use super::{journal, qb_log_close_fn, qb_log_logger_fn};
use libc::{FILE, c_char, c_int, c_void, timespec};
use qb::log::{Delivery, Options, SLOTS, Sink};
use qb::{Error, Result};
use std::cell::Cell;
use std::ffi::{CStr, CString};
use std::sync::atomic::{
    AtomicBool, AtomicPtr,
    Ordering::{Acquire, Relaxed, Release},
};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What the program keeps with a target; the `FILE *` of targets that have one.
pub static USER_DATA: [AtomicPtr<c_void>; SLOTS] = [const { AtomicPtr::new(std::ptr::null_mut()) }; SLOTS];

unsafe extern "C" {
    /// Bytes that wait in a stream's buffer.
    fn __fpending(stream: *mut FILE) -> libc::size_t;
    static stdout: *mut FILE;
    static stderr: *mut FILE;
}

/// One of the program's streams.
#[derive(Clone, Copy)]
pub enum Standard {
    /// `stdout`
    Out,
    /// `stderr`
    Err,
}

impl Standard {
    fn stream(self) -> *mut FILE {
        // SAFETY: the C library's variables, set before main(); a program may assign them, then the new stream is meant.
        unsafe {
            match self {
                Standard::Out => stdout,
                Standard::Err => stderr,
            }
        }
    }
}

/// Writes bytes to a stream in one piece and flushes it; with `sync` to the device as well. Errors have nowhere to go.
fn write_line(stream: *mut FILE, line: &[u8], sync: bool) {
    if stream.is_null() {
        return;
    }
    // SAFETY: the stream is open (the caller's lock or the program keeps it so), and the line is readable for its length.
    unsafe {
        libc::fwrite(line.as_ptr().cast(), 1, line.len(), stream);
        libc::fflush(stream);
        if sync {
            libc::fdatasync(libc::fileno(stream));
        }
    }
}

/// As [`write_line`], past the stream when nothing waits in it.
fn write_through(stream: &Stream, line: &[u8], sync: bool) {
    let mut rest = line;
    // SAFETY: the stream is open: its `File` is locked. The program may have it, and use it from another thread at this moment; then
    // the count is an old one, and the two lines come in any order, as they would anyway.
    if unsafe { __fpending(stream.0) } != 0 {
        return write_line(stream.0, line, sync);
    }
    while !rest.is_empty() {
        // SAFETY: the descriptor is the stream's, the text is readable for its length.
        let n = unsafe { libc::write(stream.1, rest.as_ptr().cast(), rest.len()) };
        match usize::try_from(n) {
            Ok(n) if n > 0 => rest = rest.get(n..).unwrap_or_default(),
            Err(_) if Error::last_os() == Error::Os(libc::EINTR) => (),
            _ => break, // errors have nowhere to go
        }
    }
    if sync {
        // SAFETY: as above.
        unsafe { libc::fdatasync(stream.1) };
    }
}

/// Writes text to the program's stdout, without flushing it.
pub fn print(text: &[u8]) {
    // SAFETY: the stream is the program's, the text is readable for its length.
    unsafe { libc::fwrite(text.as_ptr().cast(), 1, text.len(), Standard::Out.stream()) };
}

impl Sink for Standard {
    fn log(&self, d: &Delivery<'_>) {
        write_line(self.stream(), d.text, d.options.sync);
    }
    fn open(&self, slot: usize, _: &Options) -> Result<()> {
        USER_DATA[slot].store(self.stream().cast(), Release);
        Ok(())
    }
    fn close(&self, slot: usize) {
        USER_DATA[slot].store(std::ptr::null_mut(), Release);
    }
}

/// A stream that a [`File`] owns, and its descriptor.
struct Stream(*mut FILE, c_int);

// SAFETY: stdio streams may be used from any thread, and this one is only reached under the lock of its `File`.
unsafe impl Send for Stream {}

impl Drop for Stream {
    fn drop(&mut self) {
        // SAFETY: opened by `open_stream` and closed here only.
        unsafe { libc::fclose(self.0) };
    }
}

fn open_stream(name: &CStr) -> Result<Stream> {
    // SAFETY: both texts are NUL-terminated.
    let stream = unsafe { libc::fopen(name.as_ptr(), c"a+e".as_ptr()) };
    if stream.is_null() {
        return Err(Error::last_os());
    }
    // SAFETY: the stream is open.
    Ok(Stream(stream, unsafe { libc::fileno(stream) }))
}

thread_local! {
    static INSIDE: Cell<bool> = const { Cell::new(false) };
}

/// This thread holds a lock of ours or the C library's. A signal handler that comes meanwhile must not wait for it.
struct Inside(());

impl Inside {
    /// None in such a handler.
    #[inline]
    fn enter() -> Option<Self> {
        (!INSIDE.replace(true)).then(|| Self(()))
    }
}

impl Drop for Inside {
    #[inline]
    fn drop(&mut self) {
        INSIDE.set(false);
    }
}

/// The inside of a [`File`].
struct Locked<'a> {
    place: MutexGuard<'a, (Option<Stream>, CString)>,
    _inside: Inside,
}

/// A log file: appended to, closed while disabled.
pub struct File(Mutex<(Option<Stream>, CString)>);

impl File {
    /// Opens it for a slot.
    pub fn open(slot: usize, name: &CStr) -> Result<Self> {
        let stream = open_stream(name)?;
        USER_DATA[slot].store(stream.0.cast(), Release);
        Ok(Self(Mutex::new((Some(stream), name.to_owned()))))
    }

    /// None in a signal handler that interrupted a thread in here.
    fn locked(&self) -> Option<Locked<'_>> {
        let inside = Inside::enter()?;
        Some(Locked { place: self.0.lock().unwrap_or_else(PoisonError::into_inner), _inside: inside })
    }

    /// Goes on in a new file, or in a new one of the same name.
    pub fn reopen(&self, slot: usize, name: Option<&CStr>) -> Result<()> {
        let mut locked = self.locked().ok_or(Error::Busy)?;
        let place = &mut *locked.place;
        let name = name.map_or_else(|| place.1.clone(), CStr::to_owned);
        let stream = open_stream(&name)?;
        USER_DATA[slot].store(stream.0.cast(), Release);
        *place = (Some(stream), name);
        Ok(())
    }
}

/// Files by slot, for qb_log_file_reopen().
pub static FILES: Mutex<[Option<Arc<File>>; SLOTS]> = Mutex::new([const { None }; SLOTS]);

/// The file of a slot.
pub fn file(slot: usize) -> Option<Arc<File>> {
    let _inside = Inside::enter()?;
    FILES.lock().unwrap_or_else(PoisonError::into_inner).get(slot)?.clone()
}

/// Remembers or forgets the file of a slot.
pub fn set_file(slot: usize, file: Option<Arc<File>>) {
    let Some(_inside) = Inside::enter() else { return };
    let mut files = FILES.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(place) = files.get_mut(slot) {
        *place = file;
    }
}

impl Sink for File {
    fn log(&self, d: &Delivery<'_>) {
        if let Some(locked) = self.locked()
            && let Some(stream) = &locked.place.0
        {
            write_through(stream, d.text, d.options.sync);
        }
    }
    fn open(&self, slot: usize, _: &Options) -> Result<()> {
        let mut locked = self.locked().ok_or(Error::Busy)?;
        let place = &mut *locked.place;
        if place.0.is_none() {
            let stream = open_stream(&place.1)?;
            USER_DATA[slot].store(stream.0.cast(), Release);
            place.0 = Some(stream);
        }
        Ok(())
    }
    fn close(&self, slot: usize) {
        USER_DATA[slot].store(std::ptr::null_mut(), Release);
        self.abandon();
    }
    fn abandon(&self) {
        // In a handler that interrupted a write, the stream stays as it is; it goes with the last who has this file.
        if let Some(mut locked) = self.locked() {
            locked.place.0 = None;
        }
    }
}

/// A target of the program.
pub struct Custom {
    pub logger: qb_log_logger_fn,
    pub close: qb_log_close_fn,
}

impl Sink for Custom {
    fn takes_lines(&self) -> bool {
        false
    }
    fn log(&self, d: &Delivery<'_>) {
        let Some(logger) = self.logger else { return };
        let mut time = timespec { tv_sec: d.time.sec, tv_nsec: d.time.nsec };
        let cs = std::ptr::from_ref(d.site.head).cast_mut();
        // SAFETY: the program's function; callsite, time and text (with its NUL) outlive the call.
        unsafe { logger(d.slot as i32, cs, &raw mut time, d.text.as_ptr().cast()) };
    }
    fn close(&self, slot: usize) {
        if let Some(close) = self.close {
            // SAFETY: the program's function.
            unsafe { close(slot as i32) };
        }
    }
}

/// The system's log or, if the program wants it, the journal.
#[derive(Default)]
pub struct Syslog {
    journal: AtomicBool,
}

/// The identity that openlog() got: it keeps the address, so the text is never freed; the same text is not made twice in a row.
fn ident(options: &Options) -> *const c_char {
    static LAST: Mutex<Option<&'static CStr>> = Mutex::new(None);
    let mut last = LAST.lock().unwrap_or_else(PoisonError::into_inner);
    match *last {
        Some(text) if text == &*options.name => text.as_ptr(),
        _ => {
            let text: &'static CStr = Box::leak(CString::from(&*options.name).into_boxed_c_str());
            *last = Some(text);
            text.as_ptr()
        }
    }
}

impl Syslog {
    fn connect(&self, options: &Options) {
        self.journal.store(options.journal, Relaxed);
        if !options.journal {
            // SAFETY: the text stays for ever.
            unsafe { libc::openlog(ident(options), libc::LOG_PID, options.facility) };
        }
    }
}

/// What syslog is told; None for what it does not get.
fn severity(priority: u8, options: &Options) -> Option<c_int> {
    let plain = i32::from(priority);
    let value = if plain > libc::LOG_INFO { plain.saturating_add(options.bump) } else { plain };
    if value > libc::LOG_DEBUG { None } else { Some(value.max(0)) }
}

impl Sink for Syslog {
    fn ending(&self) -> u8 {
        0
    }
    fn accepts(&self, priority: u8, options: &Options) -> bool {
        severity(priority, options).is_some()
    }
    fn log(&self, d: &Delivery<'_>) {
        let Some(severity) = severity(d.site.head.priority(), d.options) else { return };
        if d.options.journal {
            return journal::send(severity, d);
        }
        let Some(_inside) = Inside::enter() else { return };
        // SAFETY: the format takes one C string, and the line ends in a NUL.
        unsafe { libc::syslog(severity, c"%s".as_ptr(), d.text.as_ptr()) };
    }
    fn open(&self, _: usize, options: &Options) -> Result<()> {
        let _inside = Inside::enter().ok_or(Error::Busy)?;
        self.connect(options);
        Ok(())
    }
    fn close(&self, _: usize) {
        let Some(_inside) = Inside::enter() else { return };
        if !self.journal.load(Acquire) {
            // SAFETY: takes nothing.
            unsafe { libc::closelog() };
        }
    }
    fn reload(&self, _: usize, options: &Options) {
        let Some(_inside) = Inside::enter() else { return };
        // SAFETY: takes nothing.
        unsafe { libc::closelog() };
        self.connect(options);
    }
}
