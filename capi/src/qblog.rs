// SPDX-License-Identifier: LGPL-2.1-or-later
//! `qb/qblog.h`: (not built yet)
