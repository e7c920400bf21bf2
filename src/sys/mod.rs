// SPDX-License-Identifier: LGPL-2.1-or-later
//! libc and file descriptors. This room owns descriptors, makes system calls, returns [`Result`](crate::Result) and knows
//! no protocol. Together with `shm` it is the only room of the engine with `unsafe` in it.

pub mod fd;
pub mod process;
pub mod socket;
