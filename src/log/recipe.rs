// SPDX-License-Identifier: LGPL-2.1-or-later
//! What a callsite's records in the blackbox have in common: made once, so that a message costs one copy and its arguments.
//!
//! Recipes are made where memory is allocated anyway: when the blackbox is enabled, and when a callsite is made after that. A log
//! call, which may be in a signal handler, only reads them.

use super::blackbox::MAX_MESSAGE;
use super::site::{Key, SiteHead};
use crate::Result;
use crate::shm::Window;
use crate::sys::calendar::Stamp;

/// Bytes of a record's header without the function's name.
pub(super) const HEADER: usize = 33;
/// The last of them, behind that name: seconds, nanoseconds and the length of the message.
const TAIL: usize = 20;

/// What one conversion takes from the arguments, in the numbers of whoever walks them.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct Step {
    /// The kind of the argument.
    pub op: u8,
    /// Of a string: the most bytes, or less than 0.
    pub precision: i32,
}

/// What a message has to be shorter than, for lines of `line` bytes and `front` bytes in front of it: the reference counts those as
/// room too, and its reader takes [`MAX_MESSAGE`].
#[inline]
pub(super) fn shorter_than(line: usize, front: usize) -> usize {
    (line + front).min(MAX_MESSAGE + 1)
}

/// A format as it was read.
#[derive(Clone, Debug)]
pub struct Parsed {
    /// How it is stored, with its NUL.
    pub stored: Vec<u8>,
    /// What its conversions take.
    pub steps: Vec<Step>,
    /// How many bytes the arguments are stored in, if that does not depend on them.
    pub fixed: Option<usize>,
}

/// Reads a format. None if arguments have to be seen for that, or if it is too long for the blackbox.
pub type Parse = fn(&std::ffi::CStr) -> Option<Parsed>;

/// A record without its arguments, and how to get at these.
#[derive(Debug)]
pub struct Recipe {
    /// Header and stored format.
    record: Box<[u8]>,
    /// Where the format starts.
    format: usize,
    steps: Box<[Step]>,
    fixed: Option<usize>,
}

impl Recipe {
    /// None if the format has no stored form.
    pub(super) fn new(key: &Key<'_>, parse: Parse) -> Option<Self> {
        let Parsed { stored, steps, fixed } = parse(key.format)?;
        let name = key.function.to_bytes_with_nul();
        let format = HEADER + name.len();
        let mut record = vec![0; format];
        record[9..13].copy_from_slice(&u32::try_from(name.len()).ok()?.to_ne_bytes());
        record[13..13 + name.len()].copy_from_slice(name);
        record.extend_from_slice(&stored);
        Some(Self { record: record.into(), format, steps: steps.into(), fixed })
    }

    /// What the conversions take.
    #[must_use]
    #[inline]
    pub fn steps(&self) -> &[Step] {
        &self.steps
    }

    /// How many bytes the arguments are stored in, if that does not depend on them.
    #[must_use]
    #[inline]
    pub fn fixed(&self) -> Option<usize> {
        self.fixed
    }

    /// Bytes in front of the arguments.
    #[inline]
    pub(super) fn len(&self) -> usize {
        self.record.len()
    }

    /// How long the arguments may be for lines of `line` bytes; None if there is no room even for the format.
    #[inline]
    pub(super) fn room(&self, line: usize) -> Option<usize> {
        shorter_than(line, self.format).checked_sub(1)?.checked_sub(self.record.len() - self.format)
    }

    /// Writes a record without its arguments; returns the place for these.
    #[inline]
    pub(super) fn write<'a>(&self, record: Window<'a>, head: &SiteHead, time: Stamp) -> Result<Window<'a>> {
        let message = (record.len() - self.format) as u32;
        let tail = self.format - TAIL;
        record.put(0, &self.record)?;
        record.put(0, &head.line().to_ne_bytes())?;
        record.put(4, &head.tags().to_ne_bytes())?;
        record.put(8, &[head.priority()])?;
        record.put(tail, &time.sec.to_ne_bytes())?;
        record.put(tail + 8, &time.nsec.to_ne_bytes())?;
        record.put(tail + 16, &message.to_ne_bytes())?;
        record.behind(self.record.len())
    }
}
