// SPDX-License-Identifier: LGPL-2.1-or-later
//! Removes what dead servers of our own user left in shared memory: directories of connections whose server's process is
//! gone. Runs when a service starts.
//!
//! A directory counts only if its name has a connection's shape, it belongs to us, its server's pid does not exist and it
//! is older than a minute: in another pid namespace that shares the file system a pid can look dead while it is not, and
//! a connection older than that has opened its files, which unlinking does not disturb.

use super::shm::ROOT;
use crate::limits;
use crate::sys::dir::Dir;
use crate::sys::process;
use crate::wire::DirectoryName;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, SystemTime};

/// Removes all such directories; failures leave one as it is.
pub(super) fn remove_leftovers() {
    sweep(Path::new(ROOT), limits::LEFTOVER_AGE);
}

fn sweep(root: &Path, min_age: Duration) {
    let Ok(entries) = std::fs::read_dir(root) else {
        return;
    };
    for entry in entries.flatten() {
        let dead = DirectoryName::parse(entry.file_name().as_bytes())
            .is_some_and(|n| process::is_gone(n.server_pid));
        if dead && is_old_and_ours(&entry, min_age) {
            remove(&entry.path());
        }
    }
}

fn is_old_and_ours(entry: &std::fs::DirEntry, min_age: Duration) -> bool {
    entry.metadata().is_ok_and(|meta| {
        let age = meta.modified().ok().and_then(|at| SystemTime::now().duration_since(at).ok());
        meta.is_dir() && meta.uid() == process::euid() && age.is_some_and(|age| age >= min_age)
    })
}

/// Removes the files of a connection and then the directory, which fails when anything else is in it.
fn remove(path: &Path) {
    let Ok(dir) = Dir::open(path, &[process::euid()]) else {
        return;
    };
    let Ok(entries) = std::fs::read_dir(path) else {
        return;
    };
    for entry in entries.flatten() {
        let name = entry.file_name();
        if name.as_bytes().starts_with(b"qb-")
            && let Ok(stat) = dir.stat(name.as_bytes())
        {
            let _ = dir.unlink_same(name.as_bytes(), &stat.id);
        }
    }
    let _ = dir.remove_self();
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    /// A pid that does not exist: beyond the kernel's largest.
    const DEAD: i32 = 1 << 30;

    fn made(root: &Path, name: &str) -> std::path::PathBuf {
        let dir = root.join(name);
        fs::create_dir(&dir).unwrap();
        fs::write(dir.join("qb-request-x-header"), b"x").unwrap();
        dir
    }

    #[test]
    fn only_directories_of_dead_servers_go() {
        let root = std::env::temp_dir().join(format!("qb-sweep-{}", process::pid()));
        fs::create_dir(&root).unwrap();
        let dead = made(&root, &format!("qb-{DEAD}-1-2-abcdef"));
        let alive = made(&root, &format!("qb-{}-1-2-abcdef", process::pid()));
        let foreign = made(&root, "qb-something-else");
        let full = made(&root, &format!("qb-{DEAD}-1-3-abcdef"));
        fs::write(full.join("precious"), b"x").unwrap();
        sweep(&root, Duration::from_secs(3600));
        assert!(dead.exists(), "younger than the limit");
        sweep(&root, Duration::ZERO);
        assert!(!dead.exists());
        assert!(alive.exists() && foreign.exists());
        assert!(full.join("precious").exists());
        fs::remove_dir_all(&root).unwrap();
    }
}
