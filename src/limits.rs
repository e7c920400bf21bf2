// SPDX-License-Identifier: LGPL-2.1-or-later
//! Every cap of the library, each with the attack that it stops. Constants only; it touches nothing.
#![forbid(unsafe_code)]
