/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Stores arguments where they are to stay, for formats that were parsed before. With strings among them, they are taken and measured
 * first, so that room can be claimed for just so many bytes. The same bytes as from qb_shim_serialize().
 */
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include "serialize.h"

static inline uint64_t bits(double d)
{
	uint64_t number;

	memcpy(&number, &d, sizeof number);
	return number;
}

/* An int that is stored as such, or narrowed. */
static inline uint32_t narrowed(uint8_t op, int value)
{
	switch (op) {
	case OP_SHORT:
		return (uint32_t)(short)value;
	case OP_USHORT:
		return (unsigned short)value;
	case OP_SCHAR:
		return (uint32_t)(signed char)value;
	case OP_UCHAR:
		return (unsigned char)value;
	default:
		return (uint32_t)value;
	}
}

/* The next argument, of any step but that of a string; how many bytes of it are stored. */
static inline uint32_t take(const struct step *step, va_list *args, uint64_t *number)
{
	switch ((enum op)step->op) {
	case OP_INT: case OP_SHORT: case OP_USHORT: case OP_SCHAR: case OP_UCHAR: case OP_WIDTH: case OP_PRECISION:
		*number = narrowed(step->op, va_arg(*args, int));
		return 4;
	case OP_LONG:
		*number = (uint64_t)va_arg(*args, long);
		return 8;
	case OP_LLONG:
		*number = (uint64_t)va_arg(*args, long long);
		return 8;
	case OP_SIZE:
		*number = va_arg(*args, size_t);
		return 8;
	case OP_PTRDIFF:
		*number = (uint64_t)va_arg(*args, ptrdiff_t);
		return 8;
	case OP_INTMAX:
		*number = (uint64_t)va_arg(*args, intmax_t);
		return 8;
	case OP_DOUBLE:
		*number = bits(va_arg(*args, double));
		return 8;
	case OP_LDOUBLE:
		*number = bits((double)va_arg(*args, long double));
		return 8;
	case OP_CHAR:
		*number = (unsigned char)va_arg(*args, int);
		return 1;
	case OP_PERCENT:
		*number = '%';
		return 1;
	case OP_POINTER:
		*number = (uintptr_t)va_arg(*args, void *);
		return sizeof(void *);
	case OP_NOTHING:
		(void)va_arg(*args, void *);
		break;
	case OP_STRING: case OP_ERROR: case OP_WCHAR: case OP_WSTRING:
		break; /* the last three are not from qb_shim_parse() */
	}
	*number = 0;
	return 0;
}

/* Stores what was taken; returns what is behind it. */
static inline char *put(char *to, uint64_t number, uint32_t len)
{
	uint32_t word = (uint32_t)number;

	if (len == 4) {
		memcpy(to, &word, 4);
	} else if (len == 8) {
		memcpy(to, &number, 8);
	} else if (len == 1) {
		*to = (char)number;
	}
	return to + len;
}

size_t qb_shim_measure(struct pieces *pieces, const struct step *steps, size_t count, size_t room, va_list *args)
{
	const struct step *step = steps, *end = steps + count;
	struct piece *piece = pieces->all;
	size_t used = 0;
	int32_t star = -1;

	if (count > MAX_PIECES) {
		return SIZE_MAX;
	}
	for (; step < end; step++, piece++) {
		piece->is_text = step->op == OP_STRING;
		if (piece->is_text) {
			const char *text = va_arg(*args, const char *);
			int32_t precision = step->precision == -2 ? star : step->precision;
			size_t limit = used < room ? room - used : 0;

			if (text == NULL) {
				text = "(null)";
			} else if (precision >= 0 && (size_t)precision < limit) {
				limit = (size_t)precision;
			}
			piece->is.text = text;
			piece->len = (uint32_t)strnlen(text, limit);
			used += piece->len + 1;
			continue;
		}
		piece->len = take(step, args, &piece->is.number);
		star = step->op == OP_PRECISION ? (int32_t)piece->is.number : star;
		used += piece->len;
	}
	pieces->count = count;
	return used <= room ? used : SIZE_MAX;
}

void qb_shim_store(const struct pieces *pieces, char *to)
{
	const struct piece *piece = pieces->all, *end = piece + pieces->count;

	for (; piece < end; piece++) {
		if (piece->is_text) {
			/* The program may have changed the text meanwhile: only the length that was measured counts. */
			memcpy(to, piece->is.text, piece->len);
			to[piece->len] = '\0';
			to += piece->len + 1;
		} else {
			to = put(to, piece->is.number, piece->len);
		}
	}
}

void qb_shim_store_numbers(const struct step *steps, size_t count, char *to, va_list *args)
{
	for (size_t i = 0; i < count; i++) {
		uint64_t number;
		uint32_t len;

		/* What most messages have. */
		if (steps[i].op == OP_INT) {
			to = put(to, (unsigned int)va_arg(*args, int), 4);
			continue;
		}
		len = take(&steps[i], args, &number);
		to = put(to, number, len);
	}
}
