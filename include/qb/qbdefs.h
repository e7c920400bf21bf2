/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef QB_DEFS_H_DEFINED
#define QB_DEFS_H_DEFINED

/**
 * @file qbdefs.h
 * Small macros that the other headers build upon. Includes nothing.
 *
 * The arithmetic macros evaluate their arguments more than once.
 */

#ifdef __cplusplus
extern "C" {
#endif

/* ---- Arithmetic ---- */

/** @a x rounded up to a multiple of @a y (integers, not negative). */
#define QB_ROUNDUP(x, y) (((x) + ((y) - 1)) / (y) * (y))

/** Absolute value. */
#define QB_ABS(i) ((i) < 0 ? -(i) : (i))

/** The larger argument; the second one if they are equal. */
#define QB_MAX(a, b) ((a) > (b) ? (a) : (b))

/** The smaller argument; the second one if they are equal. */
#define QB_MIN(a, b) ((a) < (b) ? (a) : (b))

/* ---- Truth values, as returned by functions of type int32_t ---- */

#define QB_FALSE 0
#define QB_TRUE (!QB_FALSE)

/* ---- Bits 0 to 31 of an integer; `barray` is a plain variable or member ---- */

/** An unsigned int with only @a bit set. */
#define qb_bit_value(bit) (1U << (bit))

/** Sets @a bit in @a barray; the value is the new @a barray. */
#define qb_bit_set(barray, bit) (barray |= qb_bit_value(bit))

/** Clears @a bit in @a barray; the value is the new @a barray. */
#define qb_bit_clear(barray, bit) (barray &= ~qb_bit_value(bit))

/** Not 0 (and not necessarily 1) if @a bit is set in @a barray. */
#define qb_bit_is_set(barray, bit) (barray & qb_bit_value(bit))

/** 1 if @a bit is clear in @a barray, else 0. */
#define qb_bit_is_clear(barray, bit) (!(barray & qb_bit_value(bit)))

/* ---- Preprocessor: the form without underscore expands its arguments ---- */

#define QB_PP_JOIN_(a, b) a##b
#define QB_PP_JOIN(a, b) QB_PP_JOIN_(a, b)
#define QB_PP_STRINGIFY_(arg) #arg
#define QB_PP_STRINGIFY(arg) QB_PP_STRINGIFY_(arg)

/* ---- Time: the factors are unsigned long long, and so are products ---- */

#ifndef HZ
#define HZ 100
#endif

#define QB_TIME_MS_IN_SEC 1000ULL
#define QB_TIME_US_IN_SEC 1000000ULL
#define QB_TIME_NS_IN_SEC 1000000000ULL
#define QB_TIME_US_IN_MSEC 1000ULL
#define QB_TIME_NS_IN_MSEC 1000000ULL
#define QB_TIME_NS_IN_USEC 1000ULL

/* ---- Compiler ---- */

/* In strict ISO mode (-std=c99) GCC knows these two words only in this form. */
#if defined(__GNUC__) && defined(__STRICT_ANSI__)
#undef inline
#define inline __inline__
#undef typeof
#define typeof __typeof__
#endif

/** Warns whoever uses the declaration. */
#if __GNUC__ > 3 || (__GNUC__ == 3 && __GNUC_MINOR__ >= 1)
#define QB_GNUC_DEPRECATED __attribute__((__deprecated__))
#else
#define QB_GNUC_DEPRECATED
#endif

/** Warns whoever uses the declaration, and names @a f as the replacement. */
#if __GNUC__ > 4 || (__GNUC__ == 4 && __GNUC_MINOR__ >= 5)
#define QB_GNUC_DEPRECATED_FOR(f) \
	__attribute__((__deprecated__("Use " #f " instead")))
#else
#define QB_GNUC_DEPRECATED_FOR(f) QB_GNUC_DEPRECATED
#endif

/** The type may stand for an object of another type of the same size. */
#if __GNUC__ > 3 || (__GNUC__ == 3 && __GNUC_MINOR__ >= 3)
#define QB_GNUC_MAY_ALIAS __attribute__((__may_alias__))
#else
#define QB_GNUC_MAY_ALIAS
#endif

#ifdef __cplusplus
}
#endif

#endif /* QB_DEFS_H_DEFINED */
