// SPDX-License-Identifier: LGPL-2.1-or-later
//! Where all rooms but `log` get atomics and locks. Under `--cfg loom` the atomics are loom's, so that the same text of
//! `ring` and `lane` runs in production, under the sanitizers and under the model checker.
#![forbid(unsafe_code)]
#![cfg_attr(loom, allow(unused_imports, reason = "few rooms are built for the model checker"))]

#[cfg(loom)]
pub use loom::sync::atomic::{
    AtomicBool, AtomicI32, AtomicPtr, AtomicU8, AtomicU32, AtomicU64, AtomicUsize, Ordering, fence,
};
#[cfg(not(loom))]
pub use std::sync::atomic::{
    AtomicBool, AtomicI32, AtomicPtr, AtomicU8, AtomicU32, AtomicU64, AtomicUsize, Ordering, fence,
};

pub use parking_lot::{Mutex, MutexGuard, RwLock};
