// SPDX-License-Identifier: LGPL-2.1-or-later
//! libc and file descriptors. This room owns descriptors and mappings, makes system calls, returns
//! [`Result`](crate::Result) and knows no protocol. Together with `shm` it is the only room of the engine with `unsafe` in
//! it.

pub mod calendar;
pub mod clock;
pub mod dir;
pub mod epoll;
pub mod fd;
pub mod fork;
pub(crate) mod futex;
pub mod host;
pub mod memfd;
pub(crate) mod memory;
pub(crate) mod mmap;
pub mod printf;
pub mod process;
pub mod regex;
pub mod rlimit;
pub mod scm;
pub(crate) mod sigbus;
pub mod signal;
pub mod socket;
pub mod wake;
