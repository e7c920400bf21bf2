// SPDX-License-Identifier: LGPL-2.1-or-later
//! `qb/qbrb.h`: (not built yet)
