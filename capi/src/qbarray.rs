// SPDX-License-Identifier: LGPL-2.1-or-later
//! `qb/qbarray.h`: (not built yet)
