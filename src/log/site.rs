// SPDX-License-Identifier: LGPL-2.1-or-later
//! Callsites: where a message comes from, and the bit map of the targets that want it.
//!
//! The program holds pointers to [`SiteHead`]s and writes `priority`, `targets` and `tags` at any time, without a lock; here
//! they are atomics, so that this is a new value and not a data race. A site is never freed and never moves.

use super::recipe::{Parse, Recipe};
use std::ffi::{CStr, CString, c_char};
use std::mem::offset_of;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicPtr, AtomicU8, AtomicU32, Ordering::Relaxed};

/// `struct qb_log_callsite`: the part that C programs see. Function at 0, filename at 8, format at 16, priority at 24,
/// lineno at 28, targets at 32, tags at 36, message id at 40.
#[repr(C, align(8))]
#[derive(Debug)]
pub struct SiteHead {
    /// Function name.
    pub function: AtomicPtr<c_char>,
    /// File name as the compiler gave it.
    pub filename: AtomicPtr<c_char>,
    /// printf format.
    pub format: AtomicPtr<c_char>,
    /// Severity with syslog's numbers, 8 is trace.
    pub priority: AtomicU8,
    /// Line number.
    pub lineno: AtomicU32,
    /// Bit n: target n wants it.
    pub targets: AtomicU32,
    /// The program's tags; bit 31 marks messages of the library.
    pub tags: AtomicU32,
    /// Message id or NULL.
    pub message_id: AtomicPtr<c_char>,
}

#[cfg(target_pointer_width = "64")]
const _: () = {
    assert!(size_of::<SiteHead>() == 48 && align_of::<SiteHead>() == 8);
    assert!(offset_of!(SiteHead, priority) == 24 && offset_of!(SiteHead, lineno) == 28);
    assert!(offset_of!(SiteHead, targets) == 32 && offset_of!(SiteHead, tags) == 36);
    assert!(offset_of!(SiteHead, message_id) == 40);
};

impl SiteHead {
    /// The severity now.
    #[must_use]
    #[inline]
    pub fn priority(&self) -> u8 {
        self.priority.load(Relaxed)
    }
    /// The line number.
    #[must_use]
    #[inline]
    pub fn line(&self) -> u32 {
        self.lineno.load(Relaxed)
    }
    /// The tags now.
    #[must_use]
    #[inline]
    pub fn tags(&self) -> u32 {
        self.tags.load(Relaxed)
    }
    /// The targets now.
    #[must_use]
    #[inline]
    pub fn targets(&self) -> u32 {
        self.targets.load(Relaxed)
    }
}

/// Reads a C string that a member of a [`SiteHead`] points to; NULL is the empty one. Only whoever vouches for the pointers of
/// a foreign site can have such a function.
pub type ReadText = fn(&AtomicPtr<c_char>) -> &'static CStr;

/// A site with the way to its texts, which are read when they are needed.
#[derive(Clone, Copy, Debug)]
pub struct SiteRef<'a> {
    /// The part that the program sees.
    pub head: &'a SiteHead,
    texts: Texts<'a>,
}

#[derive(Clone, Copy, Debug)]
enum Texts<'a> {
    Own(&'a Site),
    Foreign(ReadText),
}

impl<'a> SiteRef<'a> {
    /// A site whose texts are read through a function.
    #[must_use]
    #[inline]
    pub fn foreign(head: &'a SiteHead, read: ReadText) -> Self {
        Self { head, texts: Texts::Foreign(read) }
    }
    /// Function name.
    #[must_use]
    pub fn function(&self) -> &'a CStr {
        match self.texts {
            Texts::Own(site) => &site.function,
            Texts::Foreign(read) => read(&self.head.function),
        }
    }
    /// File name.
    #[must_use]
    pub fn filename(&self) -> &'a CStr {
        match self.texts {
            Texts::Own(site) => &site.filename,
            Texts::Foreign(read) => read(&self.head.filename),
        }
    }
    /// printf format.
    #[must_use]
    pub fn format(&self) -> &'a CStr {
        match self.texts {
            Texts::Own(site) => &site.format,
            Texts::Foreign(read) => read(&self.head.format),
        }
    }
    /// Message id.
    #[must_use]
    pub fn message_id(&self) -> Option<&'a CStr> {
        match self.texts {
            Texts::Own(site) => site.message_id.as_deref(),
            Texts::Foreign(_) if self.head.message_id.load(Relaxed).is_null() => None,
            Texts::Foreign(read) => Some(read(&self.head.message_id)),
        }
    }
}

/// What tells one position from another: every text, the line and the severity.
#[derive(Clone, Copy, Debug)]
pub struct Key<'a> {
    /// Function name.
    pub function: &'a CStr,
    /// File name.
    pub filename: &'a CStr,
    /// printf format.
    pub format: &'a CStr,
    /// Message id.
    pub message_id: Option<&'a CStr>,
    /// Severity.
    pub priority: u8,
    /// Line number.
    pub line: u32,
}

impl Key<'_> {
    /// A well-mixed number that is equal for equal keys.
    #[must_use]
    #[inline]
    pub fn hash(&self) -> u64 {
        let mut h = u64::from(self.line) << 8 | u64::from(self.priority);
        h = mix(h, self.filename.to_bytes());
        h = mix(h, self.format.to_bytes());
        h = mix(h, self.function.to_bytes());
        if let Some(id) = self.message_id {
            h = mix(h, id.to_bytes()) ^ 1;
        }
        h ^ (h >> 32)
    }
}

/// One multiplication per 8 bytes; the last 8 may overlap the ones before.
#[inline]
fn mix(mut h: u64, bytes: &[u8]) -> u64 {
    const K: u64 = 0x9E37_79B9_7F4A_7C15;
    let fold = |h: u64, v: u64| ((h ^ v).wrapping_mul(K)).rotate_left(23);
    h = fold(h, bytes.len() as u64);
    let mut chunks = bytes.chunks_exact(8);
    for chunk in &mut chunks {
        let mut raw = [0u8; 8];
        raw.copy_from_slice(chunk);
        h = fold(h, u64::from_ne_bytes(raw));
    }
    let rest = chunks.remainder();
    if rest.is_empty() {
        return h;
    }
    if let Some(last) = bytes.last_chunk::<8>() {
        return fold(h, u64::from_ne_bytes(*last));
    }
    fold(h, rest.iter().fold(0, |v, b| v << 8 | u64::from(*b)))
}

/// A site that the library made: owns its texts.
#[derive(Debug)]
pub struct Site {
    head: SiteHead,
    hash: u64,
    /// The life of the logger (init to fini) in which it was last looked up.
    pub(super) life: AtomicU32,
    priority: u8,
    line: u32,
    function: CString,
    filename: CString,
    format: CString,
    message_id: Option<CString>,
    origin: OnceLock<[usize; 3]>,
    recipe: OnceLock<Recipe>,
}

impl Site {
    /// A site without targets and tags.
    #[must_use]
    pub fn new(key: &Key<'_>) -> Self {
        let (function, filename) = (CString::from(key.function), CString::from(key.filename));
        let (format, message_id) = (CString::from(key.format), key.message_id.map(CString::from));
        let text = |t: &CString| AtomicPtr::new(t.as_ptr().cast_mut());
        Self {
            head: SiteHead {
                function: text(&function),
                filename: text(&filename),
                format: text(&format),
                priority: AtomicU8::new(key.priority),
                lineno: AtomicU32::new(key.line),
                targets: AtomicU32::new(0),
                tags: AtomicU32::new(0),
                message_id: message_id.as_ref().map_or_else(AtomicPtr::default, text),
            },
            hash: key.hash(),
            life: AtomicU32::new(0),
            priority: key.priority,
            line: key.line,
            function,
            filename,
            format,
            message_id,
            origin: OnceLock::new(),
            recipe: OnceLock::new(),
        }
    }

    /// Addresses of the caller's function name, file name and format, if somebody vouched for them: see [`Site::set_origin`].
    #[must_use]
    #[inline]
    pub fn origin(&self) -> Option<&[usize; 3]> {
        self.origin.get()
    }

    /// Remembers where texts equal to this site's are that can never change, so that equal addresses mean equal texts. For a site
    /// without a message id. Later calls change nothing.
    pub fn set_origin(&self, addresses: [usize; 3]) {
        let _ = self.origin.set(addresses);
    }

    /// What its records in the blackbox have in common: None if it was not made, or cannot be, or if the program, which holds the
    /// head, gave it another function name or format.
    #[must_use]
    #[inline]
    pub fn recipe(&self) -> Option<&Recipe> {
        let same = self.head.format.load(Relaxed).cast_const() == self.format.as_ptr()
            && self.head.function.load(Relaxed).cast_const() == self.function.as_ptr();
        if same { self.recipe.get() } else { None }
    }

    /// Makes it if it is missing.
    pub(super) fn make_recipe(&self, parse: Parse) {
        if self.recipe.get().is_none()
            && let Some(recipe) = Recipe::new(&self.key(), parse)
        {
            let _ = self.recipe.set(recipe);
        }
    }

    /// The line number that it was made with.
    #[must_use]
    #[inline]
    pub fn line(&self) -> u32 {
        self.line
    }

    /// The severity that it was made with.
    #[must_use]
    #[inline]
    pub fn priority(&self) -> u8 {
        self.priority
    }

    /// The part that the program sees.
    #[must_use]
    #[inline]
    pub fn head(&self) -> &SiteHead {
        &self.head
    }

    pub(super) fn hash(&self) -> u64 {
        self.hash
    }

    /// With its texts.
    #[must_use]
    pub fn view(&self) -> SiteRef<'_> {
        SiteRef { head: &self.head, texts: Texts::Own(self) }
    }

    /// The position that it stands for.
    #[must_use]
    #[inline]
    pub fn key(&self) -> Key<'_> {
        Key {
            function: &self.function,
            filename: &self.filename,
            format: &self.format,
            message_id: self.message_id.as_deref(),
            priority: self.priority,
            line: self.line,
        }
    }

    /// True if it stands for this position. The key's values at its creation count, whatever the program wrote since.
    #[inline]
    pub(super) fn is(&self, hash: u64, key: &Key<'_>) -> bool {
        self.hash == hash
            && self.line == key.line
            && self.priority == key.priority
            && self.format.as_c_str() == key.format
            && self.filename.as_c_str() == key.filename
            && self.function.as_c_str() == key.function
            && self.message_id.as_deref() == key.message_id
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key<'a>(format: &'a CStr, line: u32) -> Key<'a> {
        Key { function: c"f", filename: c"a.c", format, message_id: None, priority: 6, line }
    }

    #[test]
    fn a_site_is_found_by_content_and_not_by_address() {
        let copy = CString::new("hello %d").unwrap();
        let site = Site::new(&key(c"hello %d", 7));
        let same = key(&copy, 7);
        assert!(site.is(same.hash(), &same));
        for other in
            [key(c"hello %s", 7), key(c"hello %d", 8), Key { message_id: Some(c""), ..key(c"hello %d", 7) }]
        {
            assert!(!site.is(other.hash(), &other));
        }
    }

    #[test]
    fn hashes_of_near_keys_differ() {
        let mut seen = std::collections::HashSet::new();
        for line in 0..10_000 {
            assert!(seen.insert(key(c"x", line).hash()));
        }
    }
}
