// SPDX-License-Identifier: LGPL-2.1-or-later
//! The address a service listens on: an abstract name, or a socket file where the administrator wants that.

use crate::sys::socket::Address;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

/// Where socket files live; fixed at build time. Debian's libqb100 has them in /tmp, and both must look in one place.
const SOCKET_DIR: &str = match option_env!("QB_SOCKETDIR") {
    Some(dir) => dir,
    None => "/tmp",
};
/// Its existence switches a whole process to socket files; fixed at build time.
const FORCE_FILE: &str = match option_env!("QB_FORCE_SOCKETS_FILE") {
    Some(file) => file,
    None => "/etc/libqb/force-filesystem-sockets",
};

/// Whether socket files are used instead of abstract names. Looked up once per process.
fn filesystem_sockets() -> bool {
    static FORCED: OnceLock<bool> = OnceLock::new();
    *FORCED.get_or_init(|| Path::new(FORCE_FILE).exists())
}

/// Where a service of this name is found.
pub(super) fn stream_address(name: &[u8]) -> Address {
    match socket_file(name) {
        Some(path) => Address::path(&path),
        None => Address::abstract_name(name),
    }
}

/// The socket file of a service, when socket files are used.
pub(super) fn socket_file(name: &[u8]) -> Option<PathBuf> {
    filesystem_sockets().then(|| Path::new(SOCKET_DIR).join(std::ffi::OsStr::from_bytes(name)))
}
