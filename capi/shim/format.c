/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Formats what most messages consist of: literal text, and %s, %c and integers without flags, width and precision. All else, and
 * whatever does not fit, is left to vsnprintf(), which is several times slower because it can do everything.
 */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "format.h"

/* Where the digits start that end at `end`. */
static inline char *digits(char *end, uint64_t value, unsigned int base)
{
	if (base == 16) {
		do {
			*--end = "0123456789abcdef"[value & 15];
			value >>= 4;
		} while (value != 0);
		return end;
	}
	do {
		*--end = (char)('0' + value % 10);
		value /= 10;
	} while (value != 0);
	return end;
}

/* The next integer: 'd' and 'i' are signed, `longs` says whether it is a long (which all longer ones are as long as). */
static inline char *integer(char *end, char letter, int longs, va_list *args)
{
	if (letter == 'd' || letter == 'i') {
		int64_t value = longs ? va_arg(*args, long) : va_arg(*args, int);
		char *at = digits(end, value < 0 ? 0 - (uint64_t)value : (uint64_t)value, 10);

		if (value < 0) {
			*--at = '-';
		}
		return at;
	}
	return digits(end, longs ? va_arg(*args, unsigned long) : va_arg(*args, unsigned int), letter == 'x' ? 16 : 10);
}

ptrdiff_t qb_shim_format_simple(char *text, size_t size, const char *format, va_list *args)
{
	const char *from = strchrnul(format, '%');
	char *to = text, *end = text + size - 1;
	size_t len = (size_t)(from - format);

	if (len > size - 1) {
		return -1;
	}
	memcpy(to, format, len);
	to += len;
	for (; *from != '\0'; from++) {
		char space[24], *start;
		int longs = 0;

		if (*from != '%') {
			if (to == end) {
				return -1;
			}
			*to++ = *from;
			continue;
		}
		from++;
		if (sizeof(long) == 8 && (*from == 'l' || *from == 'z')) {
			longs = 1;
			from += from[0] == 'l' && from[1] == 'l' ? 2 : 1;
		}
		switch (*from) {
		case 'd': case 'i': case 'u': case 'x':
			start = integer(space + sizeof space, *from, longs, args);
			len = (size_t)(space + sizeof space - start);
			break;
		case 's':
			if (longs) {
				return -1;
			}
			start = va_arg(*args, char *);
			if (start == NULL) {
				return -1;
			}
			len = strnlen(start, (size_t)(end - to) + 1);
			break;
		case 'c':
			space[0] = (char)va_arg(*args, int);
			if (longs || space[0] == '\0') {
				return -1;
			}
			start = space;
			len = 1;
			break;
		default:
			return -1;
		}
		if (len > (size_t)(end - to)) {
			return -1;
		}
		memcpy(to, start, len);
		to += len;
	}
	*to = '\0';
	return to - text;
}
