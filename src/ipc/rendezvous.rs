// SPDX-License-Identifier: LGPL-2.1-or-later
//! The address a service listens on: an abstract name, or a socket file where the administrator wants that.

use crate::sys::socket::Address;
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
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
    filesystem_sockets().then(|| file_of(name))
}

/// Always below the directory, also for a name that begins with a `/`.
fn file_of(name: &[u8]) -> PathBuf {
    OsString::from_vec([SOCKET_DIR.as_bytes(), b"/", name].concat()).into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::ffi::OsStrExt;

    #[test]
    fn a_socket_file_is_in_its_directory_whatever_the_name_begins_with() {
        for name in [&b"plain"[..], b"/etc/passwd", b"", b"\xff\xfe"] {
            assert_eq!(file_of(name).as_os_str().as_bytes(), [SOCKET_DIR.as_bytes(), b"/", name].concat());
        }
    }
}
