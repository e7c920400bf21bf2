// SPDX-License-Identifier: LGPL-2.1-or-later
//! The blackbox: the newest messages in a ring of two shared files, and their way into a dump file.
//!
//! One record per chunk, packed, native-endian: line (4), tags (4), priority (1), length F of the function name with its NUL (4), that name,
//! seconds (8), nanoseconds (8), length M of the message (4), the serialized message. M is at most 512, or old tools cannot read on.

use super::emit::ROOM;
use super::recipe::{HEADER, Recipe};
use super::site::{SiteHead, SiteRef};
use crate::rb::{RingFiles, View};
use crate::ring::{Claim, MAGIC_ALLOC, MAGIC_READY, Words, Writer, dump::Header};
use crate::shm::Window;
use crate::sys::calendar::Stamp;
use crate::sys::dir::Dir;
use crate::{Error, Result};
use std::fs::File;
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{
    AtomicBool,
    Ordering::{Acquire, Relaxed, Release},
};
use std::time::Duration;

/// The longest serialized message.
pub const MAX_MESSAGE: usize = 512;
/// Smallest size that can be enabled.
pub const MIN_SIZE: i32 = 1024;
/// Stored in place of a message that is too long.
pub const TOO_LONG: &[u8] =
    b"Log message too long to be stored in the blackbox.  Maximum is QB_LOG_MAX_LEN\0";

/// An open blackbox. The ring is shared with forked children, so both indices live in it. Dropped by the process that made it, it takes its files away.
pub struct Store {
    files: RingFiles,
    /// A thread is writing. Not a mutex, so that a signal handler and a forked child can do without it.
    busy: Busy,
    /// Where the files are. Not open: a program may close descriptors that it does not know, and then have others of these numbers.
    dir: PathBuf,
    owner: u32,
}

impl Store {
    /// Makes the files `qb-<name>-<pid>-blackbox-header` and `-data` in `/dev/shm` or, failing that, in `fallback`; a name with a
    /// slash is a path as it stands.
    pub fn create(name: &[u8], size: i32, fallback: &Path) -> Result<Self> {
        let size = usize::try_from(size).ok().filter(|_| size >= MIN_SIZE).ok_or(Error::Invalid)?;
        let owner = std::process::id();
        let base = format!("{}-{owner}-blackbox", String::from_utf8_lossy(name));
        if let Some((dir, file)) = base.rsplit_once('/') {
            return Self::create_in(Path::new(if dir.is_empty() { "/" } else { dir }), file, size, owner);
        }
        let file = format!("qb-{base}");
        let first = Self::create_in(Path::new("/dev/shm"), &file, size, owner);
        first.or_else(|e| Self::create_in(fallback, &file, size, owner).map_err(|_| e))
    }

    fn create_in(dir: &Path, file: &str, size: usize, owner: u32) -> Result<Self> {
        let path = std::fs::canonicalize(dir)?;
        let holder = std::fs::metadata(&path)?.uid();
        let open = Dir::open(&path, &[holder])?;
        let files = RingFiles::create_in(&open, file, &path.join(file), size, 0, None, 0o600, false, true)?;
        Ok(Self { files, busy: Busy::default(), dir: path, owner })
    }

    /// Appends one record; the oldest ones make room. A record for which the ring is too short is skipped. `packed` is the serialized
    /// message behind [`ROOM`] bytes, where the header of the record is made.
    pub fn append(&self, site: &SiteRef<'_>, time: Stamp, packed: &mut [u8]) -> Result<()> {
        let function = site.function().to_bytes_with_nul();
        let fixed = HEADER + function.len();
        let message = packed.len().saturating_sub(ROOM);
        if (1..=MAX_MESSAGE).contains(&message) && fixed <= ROOM {
            let record = &mut packed[ROOM - fixed..];
            header(record, function, site, time, message);
            return self.store(record);
        }
        let message = match packed.get(ROOM..) {
            Some(message) if (1..=MAX_MESSAGE).contains(&message.len()) => message,
            _ => TOO_LONG,
        };
        let mut record = vec![0; fixed];
        record.extend_from_slice(message);
        header(&mut record, function, site, time, message.len());
        self.store(&record)
    }

    fn store(&self, record: &[u8]) -> Result<()> {
        let len = record.len();
        if !self.files.size().fits(len) {
            return Err(Error::TooBig);
        }
        let _turn = Turn::wait(&self.busy).ok_or(Error::Busy)?;
        let ring = self.files.view();
        let mut writer = Writer::shared(ring);
        let claim = claim(&mut writer, ring, len)?;
        writer.fill(&claim, 0, record)?;
        writer.commit(claim, len)
    }

    /// As [`Store::append`], for a message that is too long.
    #[cold]
    pub fn append_substitute(&self, site: &SiteRef<'_>, time: Stamp) -> Result<()> {
        self.append(site, time, &mut [])
    }

    /// As [`Store::append`], for a message whose arguments take `arguments` bytes and are put there by `store`. What can fault, reading
    /// the program's strings, mostly does so while they are measured: before this thread has the turn.
    #[inline]
    pub fn append_in_place(
        &self,
        recipe: &Recipe,
        head: &SiteHead,
        time: Stamp,
        arguments: usize,
        store: impl FnOnce(Window<'_>),
    ) -> Result<()> {
        let len = recipe.len() + arguments;
        let ring = self.files.view();
        if !ring.size().fits(len) {
            return Err(Error::TooBig);
        }
        let _turn = Turn::wait(&self.busy).ok_or(Error::Busy)?;
        let mut writer = Writer::shared(ring);
        let claim = claim(&mut writer, ring, len)?;
        let record = self.files.window(writer.offset(&claim), len)?;
        let rest = recipe.write(record, head, time)?;
        if arguments > 0 {
            store(rest);
        }
        writer.commit(claim, len)
    }

    /// Takes the files away. The mappings go later, when no thread keeps a snapshot of the configuration with this store. A forked
    /// child inherits the mappings, not the files.
    pub fn close(&self) {
        if std::process::id() == self.owner {
            self.files.unlink_at(&self.dir);
        }
    }

    /// In a forked child, where the thread that had the turn may not exist.
    pub fn forked(&self) {
        self.busy.taken.store(false, Release);
    }

    /// Writes the dump: two headers and the ring as it is. Returns the bytes written. For signal handlers: allocates nothing and
    /// waits for nobody for more than a moment. A writer that is at work keeps out meanwhile, unless this call interrupted it.
    pub fn dump(&self, mut out: &File) -> Result<usize> {
        let _turn = (0..200).find_map(|_| {
            Turn::take(&self.busy).or_else(|| {
                std::thread::yield_now();
                None
            })
        });
        let ring = &self.files;
        let size = ring.size();
        let write_pt = size.index(ring.write_pt().observe())?;
        let (read_pt, write_pt) = self.readable(size.index(ring.read_pt().observe())?, write_pt)?;
        out.write_all(&FILE_HEADER)?;
        out.write_all(&Header { size, write_pt, read_pt }.encode())?;
        let mut page = [0u8; 4096];
        for at in (0..size.bytes()).step_by(page.len()) {
            let part = (size.bytes() - at).min(page.len());
            ring.copy_out(at, &mut page[..part])?;
            out.write_all(&page[..part])?;
        }
        Ok(FILE_HEADER.len() + Header::LEN + size.bytes())
    }

    /// Which part of the ring can be read, as indices of the next chunk to read and to write. What a signal interrupted shows
    /// at either end: a chunk that was being dropped has no length any more, so the next one from which chunks lead to the end is
    /// searched for; a chunk that was being committed is left out.
    fn readable(&self, read: u32, write: u32) -> Result<(u32, u32)> {
        let size = self.files.size();
        let mut at = read;
        while at != write {
            if let Some(end) = self.leads_to(at, write)?
                && end != at
            {
                return Ok((at, end));
            }
            at = size.add(at, 1);
        }
        Ok((write, write))
    }

    /// Where the chunks from `at` on end: at `write`, or at one that is not finished. None if there is something else before.
    fn leads_to(&self, mut at: u32, write: u32) -> Result<Option<u32>> {
        let size = self.files.size();
        let mut left = if write >= at { write - at } else { write + size.words() - at };
        while at != write {
            match self.files.word(size.add(at, 1))?.observe() {
                MAGIC_READY => (),
                MAGIC_ALLOC => return Ok(Some(at)),
                _ => return Ok(None),
            }
            let words = self.files.word(at)?.get().div_ceil(4).saturating_add(2);
            if words > left {
                return Ok(None);
            }
            left -= words;
            at = size.add(at, words);
        }
        Ok(Some(at))
    }
}

/// Room for a record that fits the ring. The caller has the turn.
#[inline]
fn claim<'a>(writer: &mut Writer<View<'a>>, ring: View<'a>, len: usize) -> Result<Claim> {
    match writer.claim_over(len, || ()) {
        Ok(claim) => Ok(claim),
        // Not with the same writer: it is kept in registers only if nobody else sees it.
        Err(_) => claim_afresh(ring, len),
    }
}

/// A forked process that wrote at the same time can spoil the chain of chunks. Starts afresh rather than record nothing any more.
#[cold]
#[inline(never)]
fn claim_afresh(ring: View<'_>, len: usize) -> Result<Claim> {
    ring.read_pt().publish(0);
    ring.write_pt().publish(0);
    Writer::shared(ring).claim(len)
}

/// Writes everything in front of the message, whose length is given.
#[inline]
fn header(record: &mut [u8], function: &[u8], site: &SiteRef<'_>, time: Stamp, message: usize) {
    let (head, rest) = record.split_at_mut(13);
    head[..4].copy_from_slice(&site.head.line().to_ne_bytes());
    head[4..8].copy_from_slice(&site.head.tags().to_ne_bytes());
    head[8] = site.head.priority();
    head[9..13].copy_from_slice(&(function.len() as u32).to_ne_bytes());
    let (name, rest) = rest.split_at_mut(function.len());
    name.copy_from_slice(function);
    rest[..8].copy_from_slice(&time.sec.to_ne_bytes());
    rest[8..16].copy_from_slice(&time.nsec.to_ne_bytes());
    rest[16..20].copy_from_slice(&(message as u32).to_ne_bytes());
}

/// Who may write.
#[derive(Debug, Default)]
struct Busy {
    taken: AtomicBool,
    /// The one who has the turn keeps it so long that nobody waits for it any more.
    stuck: AtomicBool,
}

/// The right to write.
struct Turn<'a>(&'a AtomicBool);

/// How often a thread waits a millisecond for its turn. Whoever has it longer was stopped (a signal handler that does not return), not
/// just preempted.
const PATIENCE: u32 = 1000;

impl<'a> Turn<'a> {
    /// None while another thread has it.
    #[inline]
    fn take(busy: &'a Busy) -> Option<Self> {
        // Not `then_some`: a `Turn` that is made and dropped gives away what another thread has.
        busy.taken.compare_exchange(false, true, Acquire, Relaxed).is_ok().then(|| Self(&busy.taken))
    }

    /// None when the one who has it does not go on.
    #[inline]
    fn wait(busy: &'a Busy) -> Option<Self> {
        Self::take(busy).or_else(|| Self::wait_long(busy))
    }

    #[cold]
    fn wait_long(busy: &'a Busy) -> Option<Self> {
        let patience = if busy.stuck.load(Relaxed) { 0 } else { PATIENCE };
        for tries in 0..200 + patience {
            if let Some(turn) = Self::take(busy) {
                busy.stuck.store(false, Relaxed);
                return Some(turn);
            }
            match tries {
                // The one who has it is either about to finish or was preempted.
                0..20 => std::hint::spin_loop(),
                20..200 => std::thread::yield_now(),
                // By this thread, perhaps, whose priority is higher: yielding does not let it go on.
                _ => std::thread::sleep(Duration::from_millis(1)),
            }
        }
        busy.stuck.store(true, Relaxed);
        None
    }
}

impl Drop for Turn<'_> {
    #[inline]
    fn drop(&mut self) {
        self.0.store(false, Release);
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        self.close();
    }
}

/// The first header of a dump whose time stamps have nanoseconds.
pub const FILE_HEADER: [u8; 20] = file_header();

const fn file_header() -> [u8; 20] {
    let words = [0u32, 0xCCBB_CCBB, 0xBBCC_BBCC, 2, 0];
    let mut raw = [0u8; 20];
    let mut at = 0;
    while at < 20 {
        raw[at] = words[at / 4].to_ne_bytes()[at % 4];
        at += 1;
    }
    raw
}
