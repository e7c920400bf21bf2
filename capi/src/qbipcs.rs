// SPDX-License-Identifier: LGPL-2.1-or-later
//! `qb/qbipcs.h`: (not built yet)
