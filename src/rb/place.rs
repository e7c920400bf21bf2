// SPDX-License-Identifier: LGPL-2.1-or-later
//! Where a public ring's files are: `/dev/shm/qb-NAME`, or the socket directory when that fails, or the path itself when
//! the name has a `/`. Paths are kept in private memory, with the inodes that they meant.

use crate::sys::dir::{self, FileId};
use crate::{Error, Result};
use std::ffi::{OsStr, OsString};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

/// The second place to look; fixed when the library is built.
const SOCKET_DIR: &str = match option_env!("QB_SOCKETDIR") {
    Some(dir) => dir,
    None => "/tmp",
};

/// A file of a public ring, by name.
#[derive(Debug)]
pub struct Placed {
    path: PathBuf,
    id: FileId,
}

impl Placed {
    /// Tries the places for `name` + `ending` in turn; the error is that of the last one.
    fn find(name: &OsStr, ending: &str, open: impl Fn(&Path) -> Result<OwnedFd>) -> Result<(OwnedFd, Self)> {
        let file = [name.as_bytes(), ending.as_bytes()].concat();
        let at = |prefix: &str| PathBuf::from(OsString::from_vec([prefix.as_bytes(), &file].concat()));
        let (fd, path) = if name.as_bytes().contains(&b'/') {
            let path = at("");
            (open(&path)?, path)
        } else {
            let first = at("/dev/shm/qb-");
            match open(&first) {
                Ok(fd) => (fd, first),
                Err(_) => {
                    let second = at(&format!("{SOCKET_DIR}/"));
                    (open(&second)?, second)
                }
            }
        };
        let id = dir::fstat(fd.as_fd())?.id;
        Ok((fd, Self { path, id }))
    }

    /// Makes a new file of `len` bytes, reserved in full. On an error nothing is left.
    pub fn create(name: &OsStr, ending: &str, len: usize) -> Result<(OwnedFd, Self)> {
        let (fd, placed) = Self::find(name, ending, dir::create_path)?;
        let sized =
            dir::truncate(fd.as_fd(), len as u64).and_then(|()| dir::fallocate(fd.as_fd(), len as u64));
        match sized {
            Ok(()) => Ok((fd, placed)),
            Err(e) => {
                placed.unlink();
                Err(e)
            }
        }
    }

    /// Opens an existing file; [`Error::Invalid`] unless it is a regular one.
    pub fn open(name: &OsStr, ending: &str) -> Result<(OwnedFd, Self)> {
        let (fd, placed) = Self::find(name, ending, |path| dir::open_path(path, true))?;
        if dir::fstat(fd.as_fd())?.is_file() { Ok((fd, placed)) } else { Err(Error::Invalid) }
    }

    /// Unlinks the file if the path still means it.
    pub fn unlink(&self) {
        let _ = dir::unlink_path_same(&self.path, &self.id);
    }

    /// Opens it again, for changing owner or mode; ENOENT if the path means something else by now.
    pub fn reopen(&self) -> Result<OwnedFd> {
        let fd = match dir::open_path(&self.path, false) {
            Err(Error::Os(libc::EACCES)) => dir::handle_path(&self.path)?,
            opened => opened?,
        };
        if dir::fstat(fd.as_fd())?.id == self.id { Ok(fd) } else { Err(Error::Os(libc::ENOENT)) }
    }

    /// The path.
    pub fn path(&self) -> &Path {
        &self.path
    }
}
