// SPDX-License-Identifier: LGPL-2.1-or-later
//! Directories and their files: what took a name is left alone, and no link is followed.

use super::*;

fn euid() -> u32 {
    // SAFETY: geteuid takes nothing.
    unsafe { libc::geteuid() }
}

fn scratch() -> Dir {
    Dir::create_unique(&std::env::temp_dir(), b"qb-dir-test-").unwrap()
}

#[test]
fn a_new_directory_is_private_and_removed_only_while_empty() {
    let dir = scratch();
    let fd = dir.create_file("a", 0o600).unwrap();
    assert_eq!(dir.stat("a").unwrap().id, fstat(fd.as_fd()).unwrap().id);
    assert_eq!(
        std::fs::metadata(dir.path()).unwrap().permissions(),
        std::os::unix::fs::PermissionsExt::from_mode(0o40700)
    );
    assert_eq!(dir.remove_self(), Err(Error::Os(libc::ENOTEMPTY)));
    dir.unlink_same("a", &fstat(fd.as_fd()).unwrap().id).unwrap();
    dir.remove_self().unwrap();
    assert_eq!(dir.remove_self(), Err(Error::NotFound));
}

#[test]
fn a_directory_that_took_the_name_is_left_alone() {
    let dir = scratch();
    std::fs::remove_dir(dir.path()).unwrap();
    std::fs::create_dir(dir.path()).unwrap();
    let taken = Dir::open(dir.path(), &[euid()]).unwrap();
    if taken.id() != dir.id() {
        assert_eq!(dir.remove_self(), Err(Error::NotFound));
    }
    taken.remove_self().unwrap();
}

#[test]
fn a_file_that_took_the_name_is_not_unlinked() {
    let dir = scratch();
    let first = dir.create_file("a", 0o600).unwrap();
    let first = (fstat(first.as_fd()).unwrap().id, first);
    std::fs::remove_file(dir.path().join("a")).unwrap();
    let _second = dir.create_file("a", 0o600).unwrap();
    assert_eq!(dir.unlink_same("a", &first.0), Err(Error::NotFound));
    assert!(dir.path().join("a").exists());
    std::fs::remove_file(dir.path().join("a")).unwrap();
    dir.remove_self().unwrap();
}

#[test]
fn links_and_taken_names_and_odd_names_are_refused() {
    let dir = scratch();
    std::os::unix::fs::symlink("/etc/passwd", dir.path().join("link")).unwrap();
    assert_eq!(dir.open_file("link").err(), Some(Error::Os(libc::ELOOP)));
    assert_eq!(dir.create_file("link", 0o600).err(), Some(Error::Os(libc::EEXIST)));
    for name in ["", ".", "..", "a/b", "a\0b"] {
        assert_eq!(dir.create_file(name, 0o600).err(), Some(Error::Invalid), "{name:?}");
        assert_eq!(dir.open_file(name).err(), Some(Error::Invalid), "{name:?}");
    }
    std::os::unix::fs::symlink(dir.path(), dir.path().join("self")).unwrap();
    assert_eq!(Dir::open(&dir.path().join("self"), &[euid()]).err(), Some(Error::Os(libc::ENOTDIR)));
    assert_eq!(Dir::open(dir.path(), &[euid() + 1]).err(), Some(Error::Os(libc::EPERM)));
    std::fs::remove_dir_all(dir.path()).unwrap();
}

#[test]
fn length_mode_and_reservation_go_through_the_descriptor() {
    let dir = scratch();
    let fd = dir.create_file("a", 0o600).unwrap();
    truncate(fd.as_fd(), 5000).unwrap();
    fallocate(fd.as_fd(), 9000).unwrap();
    fchmod(fd.as_fd(), 0o640).unwrap();
    let stat = fstat(fd.as_fd()).unwrap();
    assert_eq!((stat.len, stat.nlink, stat.uid, stat.mode & 0o777), (9000, 1, euid(), 0o640));
    assert!(stat.is_file());
    assert_eq!(truncate(fd.as_fd(), u64::MAX), Err(Error::Os(libc::EFBIG)));
    std::fs::remove_dir_all(dir.path()).unwrap();
}
