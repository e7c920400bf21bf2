/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Between the fuzzer and the shim: any format with arguments that are fit for all conversions. Integer registers and the stack
 * hold pointers to a text, at a low address so that they do for widths and precisions as well.
 */
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "format.h"
#include "serialize.h"

#define TEXT_SPACE 4096

size_t fuzz_serialize(char *out, size_t size, const char *format, const char *text, size_t len);
long fuzz_simple(char *out, size_t size, const char *format, ...);
size_t fuzz_pack(char *out, size_t size, const char *format, ...);
size_t fuzz_in_place(char *out, size_t size, const char *format, ...);

/* The core's part, which is not here: nothing is eternal. */
int qb_shim_log_is_eternal(const struct qb_log_callsite *cs)
{
	(void)cs;
	return 0;
}

long fuzz_simple(char *out, size_t size, const char *format, ...)
{
	va_list args;
	long len;

	va_start(args, format);
	len = qb_shim_format_simple(out, size, format, &args);
	va_end(args);
	return len;
}

size_t fuzz_pack(char *out, size_t size, const char *format, ...)
{
	va_list args;
	size_t len;

	va_start(args, format);
	len = qb_shim_serialize(out, size, format, args, NULL);
	va_end(args);
	return len;
}

/* As callsites of the library's own have it: the format once, then the arguments where they stay. SIZE_MAX if that cannot be. */
size_t fuzz_in_place(char *out, size_t size, const char *format, ...)
{
	struct step steps[MAX_PIECES];
	struct pieces pieces;
	size_t count = MAX_PIECES, fixed, len = size > 0 ? qb_shim_parse(format, out, size, steps, &count, &fixed) : 0, used;
	va_list args;

	if (len == 0) {
		return SIZE_MAX;
	}
	va_start(args, format);
	used = fixed != SIZE_MAX ? fixed : qb_shim_measure(&pieces, steps, count, size - 1 - len, &args);
	if (used > size - 1 - len) {
		used = size;
	} else {
		/* A block of just that size, for the sanitizer. */
		char *block = malloc(used > 0 ? used : 1);

		if (fixed != SIZE_MAX) {
			qb_shim_store_numbers(steps, count, block, &args);
		} else {
			qb_shim_store(&pieces, block);
		}
		memcpy(out + len, block, used);
		free(block);
		used += len;
	}
	va_end(args);
	return used;
}

/* Numbers for all vector registers, or those would hold something else in each call, and pointers for everything else. */
#define TWICE(x) x, x
#define ARGS 1.5, -2.0, 0.0, 1e300, 3.25e-5, 7.0, 123456.789, -0.0, TWICE(TWICE(TWICE(TWICE(TWICE(low)))))

/* `out` has `size` bytes; the shim gets a block of exactly that size, so that the sanitizer sees each byte beyond it. */
size_t fuzz_serialize(char *out, size_t size, const char *format, const char *text, size_t len)
{
	static char *low;
	char *block;
	size_t used;

	if (low == NULL) {
		low = mmap((void *)0x20000, TEXT_SPACE, PROT_READ | PROT_WRITE,
			   MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
		if (low == MAP_FAILED) {
			abort();
		}
	}
	memset(low, 0, TEXT_SPACE);
	memcpy(low, text, len < TEXT_SPACE - 64 ? len : TEXT_SPACE - 64);
	block = malloc(size > 0 ? size : 1);
	used = fuzz_pack(block, size, format, ARGS);
	if (used > 0 && used <= size) {
		memcpy(out, block, used);
	}
	{
		char *other = malloc(size > 0 ? size : 1);
		size_t n = fuzz_in_place(other, size, format, ARGS);

		/* The same bytes either way. */
		if (n != SIZE_MAX && (n < size ? n != used || memcmp(block, other, n) != 0 : used < size)) {
			abort();
		}
		free(other);
	}
	if (size > 0) {
		char *plain = malloc(size), *simple = malloc(size);
		long n = fuzz_simple(simple, size, format, ARGS);

		/* What the simple formatter does, printf does as well. */
		if (n >= 0) {
			int m = snprintf(plain, size, format, ARGS);

			if (m != n || memcmp(plain, simple, (size_t)n + 1) != 0) {
				abort();
			}
		}
		free(plain);
		free(simple);
	}
	free(block);
	return used;
}
