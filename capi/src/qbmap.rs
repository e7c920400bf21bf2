// SPDX-License-Identifier: LGPL-2.1-or-later
//! `qb/qbmap.h`: (not built yet)
