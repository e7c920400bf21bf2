// SPDX-License-Identifier: LGPL-2.1-or-later
//! `qb/qbhdb.h`: (not built yet)
