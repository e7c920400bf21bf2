// SPDX-License-Identifier: LGPL-2.1-or-later
//! Mapped memory that another process can write at any moment: the only room that sees a shared address.
//!
//! | item | what it is |
//! |---|---|
//! | [`SharedWord`] | one 32-bit word, reached by atomics only |
//! | [`Mapping`] | an owned mapping with bounds-checked words and copies; a private length |
//! | [`Window`] | a part of one that is written piece by piece |
//! | [`Semaphore`] | a glibc `sem_t` inside a mapping, with our own waiting |
//! | [`Trusted`] | the token that a plain slice of shared memory costs |
//! | `guard` | turns a fault in one of our mappings into a dead mapping |
//!
//! The peer may store anything at any time, and may truncate the file: the worst it gets is odd values and a mapping
//! that says [`Mapping::is_dead`].

#[cfg(not(loom))]
mod guard;
#[cfg(not(loom))]
mod mapping;
#[cfg(not(loom))]
mod semaphore;
mod word;

#[cfg(not(loom))]
pub(crate) use guard::ready;
#[cfg(not(loom))]
pub use mapping::{Mapping, Trusted, Window};
#[cfg(not(loom))]
pub use semaphore::Semaphore;
pub use word::SharedWord;
#[cfg(loom)]
pub use word::Trace;
