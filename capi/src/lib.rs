// SPDX-License-Identifier: LGPL-2.1-or-later
//! The C ABI of `libqb.so.100`: one file per public header. Each exported function converts, calls the public Rust API of
//! `qb`, and converts back; oddities of the C API stop here. Nothing here decides anything.
//!
//! This crate may touch C pointers and `qb`'s public API. A panic is a bug: it aborts at the boundary.
#![allow(non_camel_case_types, missing_docs)]

pub mod handle;
pub mod ipcs_bridge;
mod poll_bridge;
pub mod private;

pub mod qbarray;
pub mod qbatomic;
pub mod qbhdb;
pub mod qbipc_ext;
pub mod qbipcc;
pub mod qbipcs;
pub mod qblog;
pub mod qbloop;
pub mod qbmap;
pub mod qbrb;
pub mod qbutil;
