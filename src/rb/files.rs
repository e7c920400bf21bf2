// SPDX-License-Identifier: LGPL-2.1-or-later
//! The two mapped files of one ring. Lengths and names are private; the header's own copies of them are written for C
//! peers and never read back for use.

use super::layout::{self, PATH_LEN};
use crate::ring::{Size, Words};
use crate::shm::{Mapping, Semaphore, SharedWord, Window};
use crate::sys::dir::{self, Dir, FileId};
use crate::{Error, Result};
use std::ffi::OsStr;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// What a ring that somebody else made has to look like.
#[derive(Clone, Copy, Debug)]
pub struct Expect<'a> {
    /// The size that the ring was made for, in bytes; it gives the length of the data file.
    pub size: usize,
    /// Bytes of the caller's shared area; they give the length of the header file.
    pub user_data: usize,
    /// Users who may own the files.
    pub owners: &'a [u32],
}

/// Header and data of one ring, mapped. The mappings go when this is dropped; the files stay until [`RingFiles::unlink`].
#[derive(Debug)]
pub struct RingFiles {
    header: Mapping,
    data: Mapping,
    size: Size,
    user_data: usize,
    names: Vec<Named>,
}

/// A file as it was when it was opened or made here.
#[derive(Debug)]
struct Named {
    name: Vec<u8>,
    id: FileId,
}

/// Undoes a half-made ring: unlinks what was made so far, unless it was kept.
struct Fresh<'a> {
    dir: &'a Dir,
    made: Vec<Named>,
}

impl Fresh<'_> {
    fn create(&mut self, name: Vec<u8>, len: usize, owner: Option<(u32, u32)>, mode: u32) -> Result<OwnedFd> {
        let fd = self.dir.create_file(&name, 0o600)?;
        let id = dir::fstat(fd.as_fd())?.id;
        self.made.push(Named { name, id });
        dir::truncate(fd.as_fd(), len as u64)?;
        dir::fallocate(fd.as_fd(), len as u64)?;
        if mode != 0o600 {
            dir::fchmod(fd.as_fd(), mode)?;
        }
        if let Some((uid, gid)) = owner {
            // A server without the right to give files away keeps them: a peer of its group or root gets in all the same.
            match dir::fchown(fd.as_fd(), uid, gid) {
                Ok(()) | Err(Error::Os(libc::EPERM)) => {}
                Err(e) => return Err(e),
            }
        }
        Ok(fd)
    }
}

impl Drop for Fresh<'_> {
    fn drop(&mut self) {
        for file in &self.made {
            let _ = self.dir.unlink_same(&file.name, &file.id);
        }
    }
}

impl RingFiles {
    /// Makes `<name>-header` and `<name>-data` in `dir` for chunks of up to `size` bytes, and an empty ring in them, as a C
    /// peer expects it: paths (`recorded_path` with the two endings), `ref_count` 1, semaphore 0. Both files are reserved
    /// in full: ENOSPC instead of a fault later. On an error nothing is left.
    ///
    /// `user_data` is the caller's shared area in bytes; `owner` is applied after `mode`, and both by descriptor. With
    /// `mirrored` the data is mapped a second time behind itself, so that a message that wraps can be lent too.
    #[allow(clippy::too_many_arguments, reason = "each is a property of the files on the wire")]
    pub fn create_in(
        dir: &Dir,
        name: impl AsRef<[u8]>,
        recorded_path: &Path,
        size: usize,
        user_data: usize,
        owner: Option<(u32, u32)>,
        mode: u32,
        pshared: bool,
        mirrored: bool,
    ) -> Result<Self> {
        let ring = layout::ring_size(size)?;
        let header_len = layout::header_len(user_data)?;
        let mut fresh = Fresh { dir, made: Vec::with_capacity(2) };
        let header = fresh.create([name.as_ref(), b"-header"].concat(), header_len, owner, mode)?;
        let data = fresh.create([name.as_ref(), b"-data"].concat(), ring.bytes(), owner, mode)?;
        let header = Mapping::map(header.as_fd(), header_len)?;
        let data = if mirrored {
            Mapping::map_twice(data.as_fd(), ring.bytes())?
        } else {
            Mapping::map(data.as_fd(), ring.bytes())?
        };
        let paths = [recorded(recorded_path, b"-header")?, recorded(recorded_path, b"-data")?];
        let files = Self { header, data, size: ring, user_data, names: std::mem::take(&mut fresh.made) };
        match files.initialise(&paths, pshared) {
            Ok(()) => Ok(files),
            Err(e) => {
                files.unlink(dir);
                Err(e)
            }
        }
    }

    /// Writes the header of an empty ring. Fresh pages of a file are zero already.
    pub(super) fn initialise(&self, paths: &[Vec<u8>; 2], pshared: bool) -> Result<()> {
        self.header_word(layout::WORD_SIZE)?.set(self.size.words());
        self.header.write(layout::HDR_PATH, &paths[0])?;
        self.header.write(layout::DATA_PATH, &paths[1])?;
        self.semaphore()?.init(pshared);
        self.data.word(0).ok_or(Error::Invalid)?.set(5); // what the C library leaves there
        self.header_word(layout::REF_COUNT)?.publish(1);
        if self.is_dead() { Err(Error::Disconnected) } else { Ok(()) }
    }

    /// Opens a ring `name` that somebody else made in `dir` and counts this side in. Each file must be a regular one without
    /// further links, belong to one of the expected owners and have exactly the expected length, else EPERM or
    /// [`Error::Corrupt`]; symbolic links are refused. Nothing is created, truncated or unlinked.
    pub fn open_in(dir: &Dir, name: impl AsRef<[u8]>, expect: &Expect<'_>) -> Result<Self> {
        let header_name = [name.as_ref(), b"-header"].concat();
        let data_name = [name.as_ref(), b"-data"].concat();
        let ring = layout::ring_size(expect.size)?;
        let header_len = layout::header_len(expect.user_data)?;
        let (header, header_id) = verified(dir, &header_name, header_len, expect.owners)?;
        let (data, data_id) = verified(dir, &data_name, ring.bytes(), expect.owners)?;
        let files = Self {
            header: Mapping::map(header.as_fd(), header_len)?,
            data: Mapping::map(data.as_fd(), ring.bytes())?,
            size: ring,
            user_data: expect.user_data,
            names: vec![Named { name: header_name, id: header_id }, Named { name: data_name, id: data_id }],
        };
        if files.header_word(layout::WORD_SIZE)?.get() != ring.words() {
            return Err(Error::Corrupt);
        }
        files.header_word(layout::REF_COUNT)?.fetch_add(1);
        if files.is_dead() { Err(Error::Disconnected) } else { Ok(files) }
    }

    /// From mappings that were made elsewhere, for the public ring, which keeps the names itself.
    pub(super) fn from_parts(header: Mapping, data: Mapping, size: Size) -> Result<Self> {
        let user_data = header.len().checked_sub(layout::header_len(0)?).ok_or(Error::Invalid)?;
        if data.len() != size.bytes() {
            return Err(Error::Invalid);
        }
        Ok(Self { header, data, size, user_data, names: Vec::new() })
    }

    /// Unlinks those of the two names in `dir` that still are the files opened or made here.
    pub fn unlink(&self, dir: &Dir) {
        for file in &self.names {
            let _ = dir.unlink_same(&file.name, &file.id);
        }
    }

    /// As [`RingFiles::unlink`], for a directory that was not kept open.
    pub fn unlink_at(&self, dir: &Path) {
        for file in &self.names {
            let _ = dir::unlink_path_same(&dir.join(OsStr::from_bytes(&file.name)), &file.id);
        }
    }

    /// How many sides have it open, as the peers say.
    #[must_use]
    #[inline]
    pub fn ref_count(&self) -> i32 {
        self.header.word(layout::REF_COUNT).map_or(0, |word| word.observe() as i32)
    }

    /// Overwrites the count; 1 tells the other side that this one closed.
    pub fn set_ref_count(&self, count: i32) {
        if let Some(word) = self.header.word(layout::REF_COUNT) {
            word.publish(count as u32);
        }
    }

    /// Adds to the count.
    pub(super) fn add_ref(&self, step: i32) {
        if let Some(word) = self.header.word(layout::REF_COUNT) {
            word.fetch_add(step as u32);
        }
    }

    /// Word `index` of the caller's shared area; None beyond it.
    #[must_use]
    #[inline]
    pub fn user_word(&self, index: usize) -> Option<&SharedWord> {
        let offset = index.checked_mul(4)?;
        // The struct itself reserves one word even when no area was asked for.
        if offset.checked_add(4)? > self.user_data.max(4) {
            return None;
        }
        self.header.word(layout::USER_DATA.checked_add(offset)?)
    }

    /// Messages that are committed and unread, as the semaphore says; a hint.
    #[must_use]
    pub fn queued(&self) -> u32 {
        self.semaphore().map_or(0, |semaphore| semaphore.value())
    }

    /// The counter of committed, unread chunks.
    #[inline]
    pub fn semaphore(&self) -> Result<Semaphore<'_>> {
        Semaphore::at(&self.header, layout::SEMAPHORE)
    }

    /// True for ever once one of the files was found truncated.
    #[must_use]
    #[inline]
    pub fn is_dead(&self) -> bool {
        self.header.is_dead() || self.data.is_dead()
    }

    /// The ring by value.
    #[inline]
    #[must_use]
    pub fn view(&self) -> View<'_> {
        View { size: self.size, head: self.header.head(), words: self.data.words(), data: &self.data }
    }

    /// `len` bytes of the data area to be written in place. They may run past its end if it is mirrored.
    #[inline]
    pub fn window(&self, offset: usize, len: usize) -> Result<Window<'_>> {
        self.data.window(offset, len)
    }

    /// The data area.
    #[inline]
    pub(super) fn data(&self) -> &Mapping {
        &self.data
    }

    /// The header.
    pub(super) fn header(&self) -> &Mapping {
        &self.header
    }

    #[inline]
    fn header_word(&self, offset: usize) -> Result<&SharedWord> {
        self.header.try_word(offset)
    }
}

/// A ring by value, so that its addresses stay in registers while it is written.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    size: Size,
    head: &'a [SharedWord; 256],
    words: &'a [SharedWord],
    data: &'a Mapping,
}

impl Words for View<'_> {
    #[inline]
    fn size(&self) -> Size {
        self.size
    }
    #[inline]
    fn write_pt(&self) -> &SharedWord {
        &self.head[layout::WRITE_PT / 4]
    }
    #[inline]
    fn read_pt(&self) -> &SharedWord {
        &self.head[layout::READ_PT / 4]
    }
    #[inline]
    fn word(&self, index: u32) -> Result<&SharedWord> {
        self.words.get(index as usize).ok_or(Error::Invalid)
    }
    #[inline]
    fn copy_in(&self, offset: usize, data: &[u8]) -> Result<()> {
        self.data.write(offset, data)
    }
    #[inline]
    fn copy_out(&self, offset: usize, out: &mut [u8]) -> Result<()> {
        self.data.read(offset, out)
    }
}

impl Words for RingFiles {
    #[inline]
    fn size(&self) -> Size {
        self.size
    }
    #[inline]
    fn write_pt(&self) -> &SharedWord {
        &self.header.head()[layout::WRITE_PT / 4]
    }
    #[inline]
    fn read_pt(&self) -> &SharedWord {
        &self.header.head()[layout::READ_PT / 4]
    }
    #[inline]
    fn word(&self, index: u32) -> Result<&SharedWord> {
        self.data.try_word(index as usize * 4)
    }
    #[inline]
    fn copy_in(&self, offset: usize, data: &[u8]) -> Result<()> {
        self.data.write(offset, data)
    }
    #[inline]
    fn copy_out(&self, offset: usize, out: &mut [u8]) -> Result<()> {
        self.data.read(offset, out)
    }
}

/// `path` + `ending` with its NUL, for a path field of the header.
pub(super) fn recorded(path: &Path, ending: &[u8]) -> Result<Vec<u8>> {
    let bytes = [path.as_os_str().as_bytes(), ending, b"\0"].concat();
    if bytes.len() > PATH_LEN { Err(Error::Os(libc::ENAMETOOLONG)) } else { Ok(bytes) }
}

fn verified(dir: &Dir, name: &[u8], len: usize, owners: &[u32]) -> Result<(OwnedFd, FileId)> {
    let fd = dir.open_file(name)?;
    let stat = dir::fstat(fd.as_fd())?;
    if !dir::acceptable(owners, stat.uid) {
        return Err(Error::Os(libc::EPERM));
    }
    if !stat.is_file() || stat.nlink != 1 || stat.len != len as u64 {
        return Err(Error::Corrupt);
    }
    Ok((fd, stat.id))
}
