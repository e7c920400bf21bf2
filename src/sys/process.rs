// SPDX-License-Identifier: LGPL-2.1-or-later
//! Facts about processes: who we are, who is alive.

use crate::Error;

/// Our process id. A system call: callers on a hot path keep the value.
#[must_use]
pub fn pid() -> i32 {
    // SAFETY: takes no arguments and cannot fail.
    unsafe { libc::getpid() }
}

/// Our effective user id.
#[must_use]
pub fn euid() -> u32 {
    // SAFETY: takes no arguments and cannot fail.
    unsafe { libc::geteuid() }
}

/// A variable of our environment. None when it is not set or not text, and in a program that has more rights than whoever
/// started it (set-user-id, file capabilities): there the environment is the word of a stranger.
#[must_use]
pub fn variable(name: &str) -> Option<String> {
    // SAFETY: asks for a number that the kernel gave the process at its start.
    let stranger = unsafe { libc::getauxval(libc::AT_SECURE) } != 0;
    if stranger { None } else { std::env::var(name).ok() }
}

/// Whether a process of that number certainly does not exist. 0 and negative numbers mean "unknown": not gone.
#[must_use]
pub fn is_gone(pid: i32) -> bool {
    if pid <= 0 {
        return false;
    }
    // SAFETY: signal 0 only asks whether the process exists.
    let rc = unsafe { libc::kill(pid, 0) };
    rc != 0 && Error::last_os() == Error::Os(libc::ESRCH)
}

/// Number of processors that are online; at least 1. Asked once.
///
/// Not the ones this process may run on: two processes pinned to a processor each do not share one.
#[must_use]
pub fn cpus() -> usize {
    static ONLINE: std::sync::OnceLock<usize> = std::sync::OnceLock::new();
    *ONLINE.get_or_init(|| {
        // SAFETY: takes a number and returns one; -1 when the system does not say.
        let online = unsafe { libc::sysconf(libc::_SC_NPROCESSORS_ONLN) };
        usize::try_from(online).unwrap_or(1).max(1)
    })
}

/// The processor that the calling thread runs on, counted from 0; it may run on another one the next moment. Takes a few
/// nanoseconds. `u32::MAX` when the system does not say.
#[must_use]
#[inline]
pub fn cpu() -> u32 {
    // SAFETY: takes nothing.
    unsafe { libc::sched_getcpu() }.cast_unsigned()
}

/// Lets other threads that are ready run on this processor.
pub fn yield_now() {
    std::thread::yield_now();
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::os::unix::fs::{PermissionsExt, chown};
    use std::process::Command;

    const NAME: &str = "LIBQB_SPIN_US";

    /// Past the test runner, which keeps what a test prints to itself.
    fn left_out(why: &str) {
        let _ = writeln!(std::io::stderr(), "{why}: what a program with other rights sees is not tested");
    }

    /// This program under another name.
    struct Copied(std::path::PathBuf);

    impl Drop for Copied {
        fn drop(&mut self) {
            let _ = std::fs::remove_file(&self.0);
        }
    }

    impl Copied {
        /// Neither the process nor the file system forbids it.
        fn may_have_other_rights(&self) -> bool {
            let status = std::fs::read_to_string("/proc/self/status").unwrap();
            let path = std::ffi::CString::new(self.0.to_str().unwrap()).unwrap();
            // SAFETY: plain data for which all zeros is a valid value.
            let mut about: libc::statvfs = unsafe { std::mem::zeroed() };
            // SAFETY: the path is terminated and `about` writable.
            assert_eq!(unsafe { libc::statvfs(path.as_ptr(), &raw mut about) }, 0);
            !status.contains("NoNewPrivs:\t1") && about.f_flag & libc::ST_NOSUID == 0
        }

        fn sees_nothing(&self) -> bool {
            let half = "sys::process::tests::the_environment_is_set_and_not_seen";
            let ran = loop {
                match Command::new(&self.0).args(["--ignored", "--exact", half]).env(NAME, "7").output() {
                    // A test that forked while the file was written has it open still.
                    Err(e) if e.kind() == std::io::ErrorKind::ExecutableFileBusy => yield_now(),
                    ran => break ran.unwrap(),
                }
            };
            let said = String::from_utf8_lossy(&ran.stdout).into_owned();
            assert!(said.contains("running 1 test"));
            said.contains("1 passed; 0 failed") // not its status: a sanitizer may have an opinion on other rights
        }
    }

    #[test]
    #[ignore = "half of the next one, which runs it in a program with other rights"]
    fn the_environment_is_set_and_not_seen() {
        assert!(std::env::var_os(NAME).is_some());
        assert_eq!(variable(NAME), None);
    }

    #[test]
    fn the_environment_counts_for_nothing_in_a_program_with_more_rights_than_its_caller() {
        if euid() != 0 {
            return left_out("not root");
        }
        let own = std::env::current_exe().unwrap();
        let other = Copied(own.with_extension(format!("setuid-{}", pid())));
        std::fs::copy(&own, &other.0).unwrap();
        if !other.may_have_other_rights() {
            return left_out("nothing may have other rights here");
        }
        let with_same_rights = other.sees_nothing();
        chown(&other.0, Some(65534), None).unwrap();
        std::fs::set_permissions(&other.0, std::fs::Permissions::from_mode(0o4755)).unwrap();
        let with_others = other.sees_nothing();
        assert!(!with_same_rights && with_others, "{with_same_rights} {with_others}");
    }
}
