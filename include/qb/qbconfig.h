/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef QB_CONFIG_H_DEFINED
#define QB_CONFIG_H_DEFINED

#include <qb/qbdefs.h> /* QB_PP_STRINGIFY */

/**
 * @file qbconfig.h
 * The version of the library interface that these headers describe.
 *
 * What a program runs with is told by qb_ver and qb_ver_str of qbutil.h.
 */

/** Atomic reads and writes are functions with barriers, see qbatomic.h. */
#define QB_ATOMIC_OP_MEMORY_BARRIER_NEEDED 1

#define QB_VER_MAJOR 2
#define QB_VER_MINOR 0
#define QB_VER_MICRO 10
/** What follows the three numbers in a version between releases, a string. */
#define QB_VER_REST ""

/** "major.minor.micro" and the rest as one string literal. */
#define QB_VER_STR                                                            \
	QB_PP_STRINGIFY(QB_VER_MAJOR) "." QB_PP_STRINGIFY(QB_VER_MINOR) "."   \
	QB_PP_STRINGIFY(QB_VER_MICRO) QB_VER_REST

#endif /* QB_CONFIG_H_DEFINED */
