// SPDX-License-Identifier: LGPL-2.1-or-later
//! Names that a server hands out in its response, and the shape in which a client accepts them.
//!
//! A connection has a directory `qb-<server pid>-<client pid>-<fd>-XXXXXX` in the shared-memory file system; everything
//! that belongs to it is named `<directory>/qb-...`. A client that opened whatever a response named could be made to
//! open, and write to, other files.

use crate::{Error, Result};

/// The last component of a connection's directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DirectoryName {
    /// Server's process id as the server sees it.
    pub server_pid: i32,
    /// Client's process id as the server sees it.
    pub client_pid: i32,
    /// Number of the server's stream socket.
    pub fd: i32,
}

impl DirectoryName {
    /// The part before the six random characters.
    #[must_use]
    pub fn prefix(&self) -> Vec<u8> {
        format!("qb-{}-{}-{}-", self.server_pid, self.client_pid, self.fd).into_bytes()
    }

    /// Reads a directory's name; `None` unless it has exactly the shape that [`prefix`](Self::prefix) and six
    /// alphanumeric characters make.
    #[must_use]
    pub fn parse(name: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(name).ok()?;
        let mut parts = text.strip_prefix("qb-")?.split('-');
        let mut number = || -> Option<i32> {
            let digits = parts.next()?;
            let plain = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
            plain.then(|| digits.parse().ok()).flatten()
        };
        let found = Self { server_pid: number()?, client_pid: number()?, fd: number()? };
        let random = parts.next()?;
        let shaped = random.len() == 6 && random.bytes().all(|b| b.is_ascii_alphanumeric());
        (shaped && parts.next().is_none()).then_some(found)
    }
}

/// Splits `<root>/<directory>/<file>` into its last two components; anything else, including `.` and `..` or a file that
/// does not begin with `qb-`, is [`Error::Corrupt`].
pub fn split_in_directory<'a>(root: &[u8], name: &'a [u8]) -> Result<(&'a [u8], &'a [u8])> {
    let rest = name.strip_prefix(root).and_then(|r| r.strip_prefix(b"/")).ok_or(Error::Corrupt)?;
    let slash = rest.iter().position(|&b| b == b'/').ok_or(Error::Corrupt)?;
    let (directory, file) = (&rest[..slash], &rest[slash + 1..]);
    if !file.starts_with(b"qb-") || file.contains(&b'/') || DirectoryName::parse(directory).is_none() {
        return Err(Error::Corrupt);
    }
    Ok((directory, file))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_made_is_a_name_read() {
        let name = DirectoryName { server_pid: 12, client_pid: 345, fd: 6 };
        let mut made = name.prefix();
        made.extend_from_slice(b"aZ09xy");
        assert_eq!(DirectoryName::parse(&made), Some(name));
    }

    #[test]
    fn other_shapes_are_not_read() {
        for bad in [
            "",
            "qb-",
            "qb-1-2-3",
            "qb-1-2-3-",
            "qb-1-2-3-abcde",
            "qb-1-2-3-abcdefg",
            "qb-1-2-3-abc.ef",
            "qb-1-2--abcdef",
            "qb--1-2-3-abcdef",
            "qb-1-2-3-abcdef-",
            "qb-+1-2-3-abcdef",
            "xx-1-2-3-abcdef",
            "qb-99999999999-2-3-abcdef",
        ] {
            assert_eq!(DirectoryName::parse(bad.as_bytes()), None, "{bad}");
        }
    }

    #[test]
    fn only_files_of_a_connection_directory_are_accepted() {
        let root = b"/dev/shm";
        assert_eq!(
            split_in_directory(root, b"/dev/shm/qb-1-2-3-abcdef/qb-request-x"),
            Ok((&b"qb-1-2-3-abcdef"[..], &b"qb-request-x"[..]))
        );
        for bad in [
            "/etc/passwd",
            "/dev/shm/qb-1-2-3-abcdef",
            "/dev/shm/../etc/qb-x",
            "/dev/shm/qb-1-2-3-abcdef/x",
            "/dev/shm/qb-1-2-3-abcdef/../qb-x",
            "/dev/shm/qb-1-2-3-abcdef/qb-a/b",
            "/dev/shm//qb-x",
            "",
            "/dev/shmqb-1-2-3-abcdef/qb-x",
            "qb-1-2-3-abcdef/qb-x",
        ] {
            assert_eq!(split_in_directory(root, bad.as_bytes()), Err(Error::Corrupt), "{bad}");
        }
    }
}
