// SPDX-License-Identifier: LGPL-2.1-or-later
//! The single import point for atomics and locks. Under `--cfg loom` the atomics are loom's, so that the same text of
//! `ring` runs in production, under the sanitizers and under the model checker.
#![forbid(unsafe_code)]
#![allow(unused_imports)]

#[cfg(loom)]
pub use loom::sync::atomic::{
    AtomicBool, AtomicI32, AtomicPtr, AtomicU32, AtomicU64, AtomicUsize, Ordering, fence,
};
#[cfg(not(loom))]
pub use std::sync::atomic::{
    AtomicBool, AtomicI32, AtomicPtr, AtomicU32, AtomicU64, AtomicUsize, Ordering, fence,
};

pub use parking_lot::{Mutex, MutexGuard, RwLock};
