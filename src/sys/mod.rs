// SPDX-License-Identifier: LGPL-2.1-or-later
//! System calls and file descriptors: owns them, returns `Result`, knows no protocol. May contain argued `unsafe`.

pub mod clock;
pub mod epoll;
pub mod fork;
pub mod rlimit;
pub mod signal;
pub mod wake;
