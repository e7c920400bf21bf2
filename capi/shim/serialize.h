/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef QB_SHIM_SERIALIZE_H
#define QB_SHIM_SERIALIZE_H

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

struct qb_log_callsite;

/* What a conversion takes from the arguments. */
enum op {
	OP_INT, OP_SHORT, OP_USHORT, OP_SCHAR, OP_UCHAR, OP_LONG, OP_LLONG, OP_SIZE, OP_PTRDIFF, OP_INTMAX,
	OP_DOUBLE, OP_LDOUBLE, OP_CHAR, OP_STRING, OP_POINTER, OP_PERCENT, OP_ERROR, OP_WCHAR, OP_WSTRING,
	OP_NOTHING, OP_WIDTH, OP_PRECISION
};

/* qb::log::Step. */
struct step {
	uint8_t op;
	int32_t precision; /* of a string; -1: none, -2: the last OP_PRECISION */
};

/*
 * Stores a format, a NUL and the bytes of its arguments (see src/log/serial.rs for the layout) into `out`. Returns the bytes used;
 * `size` or more means that it did not fit. The stored format is rewritten so that any decoder shows what printf would: no
 * length modifiers h, hh, L, q, no %%, %m, %n, and no marker at its end. `cs` is the callsite that the format is from, or NULL.
 */
size_t qb_shim_serialize(char *out, size_t size, const char *format, va_list ap, const struct qb_log_callsite *cs);

/*
 * Only the format: stores it as above, `size` bytes at most, and what its conversions take, at most `count` steps. Returns its length
 * with the NUL; 0 if that is too much, or if more is needed than the functions below can do. `fixed` is how many bytes the arguments
 * take, SIZE_MAX if there are strings among them.
 */
size_t qb_shim_parse(const char *format, char *stored, size_t size, struct step *steps, size_t *count, size_t *fixed);

/* The most steps that can be measured. */
enum { MAX_PIECES = 16 };

/* Arguments that were taken from a va_list, as they will be stored. */
struct pieces {
	size_t count;
	struct piece {
		union {
			uint64_t number;
			const char *text;
		} is;
		uint32_t len; /* without the NUL of a text */
		uint32_t is_text;
	} all[MAX_PIECES];
};

/* Takes the arguments. Returns the bytes that they need; SIZE_MAX if these are more than `room`. */
size_t qb_shim_measure(struct pieces *pieces, const struct step *steps, size_t count, size_t room, va_list *args);

/* Stores them. `to` has room for what was measured. */
void qb_shim_store(const struct pieces *pieces, char *to);

/* Takes and stores the arguments of steps without strings. `to` has room for as many bytes as qb_shim_parse() said. */
void qb_shim_store_numbers(const struct step *steps, size_t count, char *to, va_list *args);

/* 1 if the format of this callsite never changes as long as the callsite has the same address for it. */
int qb_shim_log_is_eternal(const struct qb_log_callsite *cs);

#endif
