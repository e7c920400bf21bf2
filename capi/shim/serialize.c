/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The writing half of the compact serialization: in C, because only C can walk a va_list. Two passes: the first copies the
 * format, rewritten for the decoder, and notes what each conversion takes; the second stores the arguments.
 *
 * What has no stored form (positional arguments, unknown conversions) is formatted at once and stored as one string.
 */
#include <errno.h>
#include <limits.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <wchar.h>

#include <qb/qblog.h>

#include "serialize.h"

/* More conversions than this do not fit a message of 512 bytes; beyond it the text is stored. */
#define MAX_OPS 256

/* A conversion with more flags, digits and modifiers than this is stored as text. */
#define LONGEST 32

struct out {
	char *data;
	size_t size;
	size_t at;
};

/* 0 when it does not fit any more. */
static int store(struct out *out, const void *data, size_t len)
{
	if (len > out->size - out->at) {
		return 0;
	}
	memcpy(out->data + out->at, data, len);
	out->at += len;
	return 1;
}

/* A string up to `limit` bytes and a NUL; cut at the end of the space, which then is full. */
static int store_string(struct out *out, const char *text, size_t limit)
{
	size_t room = out->size - out->at, len;

	if (room == 0) {
		return 0;
	}
	len = strnlen(text, limit < room ? limit : room);
	if (len > room - 1) {
		memcpy(out->data + out->at, text, room - 1);
		out->data[out->size - 1] = '\0';
		out->at = out->size;
		return 0;
	}
	memcpy(out->data + out->at, text, len);
	out->data[out->at + len] = '\0';
	out->at += len + 1;
	return 1;
}

/* Which argument an integer conversion takes; `h` counts that modifier, `modifier` is another one. */
static enum op integer(char letter, int h, char modifier)
{
	int is_signed = letter == 'd' || letter == 'i';

	switch (modifier) {
	case 'l':
		return OP_LONG;
	case 'L': case 'q':
		return OP_LLONG;
	case 'z':
		return OP_SIZE;
	case 't':
		return OP_PTRDIFF;
	case 'j':
		return OP_INTMAX;
	default:
		break;
	}
	if (h == 1) {
		return is_signed ? OP_SHORT : OP_USHORT;
	}
	if (h >= 2) {
		return is_signed ? OP_SCHAR : OP_UCHAR;
	}
	return OP_INT;
}

static inline int is_flag(char c)
{
	return c == '-' || c == '0' || c == '#' || c == ' ' || c == '+' || c == '\'' || c == 'I';
}

static inline int is_modifier(char c)
{
	return c == 'l' || c == 'h' || c == 'z' || c == 'j' || c == 't' || c == 'q' || c == 'L' || c == 'Z';
}

/* How many characters stand before the letter, LONGEST at most. */
static inline size_t before_letter(const char *from)
{
	size_t n = 0;

	while (n < LONGEST && (is_flag(from[n]) || is_modifier(from[n]) || from[n] == '*' || from[n] == '.' ||
			       (from[n] >= '1' && from[n] <= '9'))) {
		n++;
	}
	return n;
}

/*
 * Reads the conversion behind a '%' at `from`, writes its rewritten form to `to` (never longer) and its steps. Returns what
 * follows it, or NULL if it has no stored form.
 */
static const char *conversion(const char *from, char **to, struct step *steps, size_t *count)
{
	char *at = *to, *modifiers, modifier = 0, letter;
	int h = 0, precision = -1;
	struct step *step;

	if (*count + 3 > MAX_OPS) {
		return NULL;
	}
	*at++ = '%';
	if (before_letter(from) >= LONGEST) {
		return NULL;
	}
	while (is_flag(*from)) {
		*at++ = *from++;
	}
	if (*from == '*') {
		steps[(*count)++].op = OP_WIDTH;
		*at++ = *from++;
	} else {
		while (*from >= '0' && *from <= '9') {
			*at++ = *from++;
		}
	}
	if (*from == '$') {
		return NULL;
	}
	if (*from == '.') {
		*at++ = *from++;
		precision = 0;
		if (*from == '*') {
			steps[(*count)++].op = OP_PRECISION;
			precision = -2;
			*at++ = *from++;
		} else {
			while (*from >= '0' && *from <= '9') {
				precision = precision > 100000 ? precision : precision * 10 + (*from - '0');
				*at++ = *from++;
			}
		}
	}
	modifiers = at;
	for (; is_modifier(*from); from++) {
		if (*from == 'h') {
			h++;
		} else {
			modifier = *from == 'Z' ? 'z' : modifier == 'l' && *from == 'l' ? 'q' : *from;
			/* Readers know l, z, t and j: of the same length as what they stand for. */
			*at++ = *from == 'L' || *from == 'q' ? 'l' : *from == 'Z' ? 'z' : *from;
		}
	}
	letter = *from++;
	step = &steps[(*count)++];
	step->precision = precision;
	if (letter == 'd' || letter == 'i' || letter == 'u' || letter == 'x' || letter == 'X' || letter == 'o') {
		step->op = (uint8_t)integer(letter, h, modifier);
		*at++ = letter;
		*to = at;
		return from;
	}
	at = modifiers; /* for integers only */
	switch (letter) {
	case 'e': case 'E': case 'f': case 'F': case 'g': case 'G': case 'a': case 'A':
		step->op = modifier == 'L' || modifier == 'q' ? OP_LDOUBLE : OP_DOUBLE;
		break;
	case 'c':
		step->op = modifier == 'l' ? OP_WCHAR : OP_CHAR;
		letter = modifier == 'l' ? 's' : 'c';
		break;
	case 'C':
		step->op = OP_WCHAR;
		letter = 's';
		break;
	case 's':
		step->op = modifier == 'l' ? OP_WSTRING : OP_STRING;
		break;
	case 'S':
		step->op = OP_WSTRING;
		letter = 's';
		break;
	case 'p':
		step->op = OP_POINTER;
		break;
	case 'm':
		step->op = OP_ERROR;
		letter = 's';
		break;
	case 'n':
		/* Takes its argument, stores nothing, and is not shown; nor are a width and a precision expected. */
		if (at != *to + 1) {
			return NULL;
		}
		step->op = OP_NOTHING;
		return from;
	case '%':
		if (at != *to + 1) {
			return NULL;
		}
		step->op = OP_PERCENT;
		letter = 'c';
		break;
	default:
		return NULL;
	}
	*at++ = letter;
	*to = at;
	return from;
}

/* A wide string as the locale's bytes; what cannot be converted ends it. */
static int store_wide(struct out *out, const wchar_t *text, size_t count, int32_t precision)
{
	size_t limit = precision >= 0 ? (size_t)precision : SIZE_MAX, used = 0;
	char bytes[MB_LEN_MAX];
	mbstate_t state;

	memset(&state, 0, sizeof state);
	for (; count > 0 && *text != L'\0'; text++, count--) {
		size_t len = wcrtomb(bytes, *text, &state);

		if (len == (size_t)-1 || len > limit - used) {
			break;
		}
		if (!store(out, bytes, len)) {
			return 0;
		}
		used += len;
	}
	return store(out, "", 1);
}

static int store_argument(struct out *out, const struct step *step, int32_t *star, va_list *ap, int saved_errno)
{
	int32_t i = 0;
	int64_t l = 0;
	double d;
	char c;

	switch ((enum op)step->op) {
	case OP_WIDTH: case OP_PRECISION:
		i = va_arg(*ap, int);
		if (step->op == OP_PRECISION) {
			*star = i;
		}
		return store(out, &i, sizeof i);
	case OP_INT:
		i = va_arg(*ap, int);
		return store(out, &i, sizeof i);
	case OP_SHORT:
		i = (short)va_arg(*ap, int);
		return store(out, &i, sizeof i);
	case OP_USHORT:
		i = (unsigned short)va_arg(*ap, int);
		return store(out, &i, sizeof i);
	case OP_SCHAR:
		i = (signed char)va_arg(*ap, int);
		return store(out, &i, sizeof i);
	case OP_UCHAR:
		i = (unsigned char)va_arg(*ap, int);
		return store(out, &i, sizeof i);
	case OP_LONG:
		l = va_arg(*ap, long);
		return store(out, &l, sizeof l);
	case OP_LLONG:
		l = va_arg(*ap, long long);
		return store(out, &l, sizeof l);
	case OP_SIZE:
		l = (int64_t)va_arg(*ap, size_t);
		return store(out, &l, sizeof l);
	case OP_PTRDIFF:
		l = va_arg(*ap, ptrdiff_t);
		return store(out, &l, sizeof l);
	case OP_INTMAX:
		l = va_arg(*ap, intmax_t);
		return store(out, &l, sizeof l);
	case OP_DOUBLE:
		d = va_arg(*ap, double);
		return store(out, &d, sizeof d);
	case OP_LDOUBLE:
		d = (double)va_arg(*ap, long double);
		return store(out, &d, sizeof d);
	case OP_CHAR:
		c = (char)va_arg(*ap, int);
		return store(out, &c, sizeof c);
	case OP_PERCENT:
		return store(out, "%", 1);
	case OP_POINTER: {
		void *p = va_arg(*ap, void *);

		return store(out, &p, sizeof p);
	}
	case OP_NOTHING:
		(void)va_arg(*ap, void *);
		return 1;
	case OP_STRING: case OP_WSTRING: case OP_ERROR: case OP_WCHAR: {
		int32_t precision = step->precision == -2 ? *star : step->precision;
		size_t limit = precision >= 0 ? (size_t)precision : SIZE_MAX;

		if (step->op == OP_WCHAR) {
			wchar_t w = (wchar_t)va_arg(*ap, wint_t);

			return store_wide(out, &w, 1, -1);
		}
		if (step->op == OP_ERROR) {
			char space[128];

			return store_string(out, strerror_r(saved_errno, space, sizeof space), limit);
		}
		if (step->op == OP_WSTRING) {
			const wchar_t *w = va_arg(*ap, const wchar_t *);

			return w == NULL ? store_string(out, "(null)", SIZE_MAX) : store_wide(out, w, SIZE_MAX, precision);
		} else {
			const char *s = va_arg(*ap, const char *);

			return s == NULL ? store_string(out, "(null)", SIZE_MAX) : store_string(out, s, limit);
		}
	}
	}
	return 0;
}

/* The first marker is shown as '|' when something follows it, and not stored at all otherwise. Returns the new length. */
static size_t show_marker(char *text, size_t len)
{
	char *mark = memchr(text, '\a', len);

	if (mark == NULL) {
		return len;
	}
	if ((size_t)(mark - text) + 1 == len) {
		*mark = '\0';
		return len - 1;
	}
	*mark = '|';
	return len;
}

/* "%s" and the text. */
static size_t store_text(char *data, size_t size, const char *format, va_list ap)
{
	int n;

	if (size < 5) {
		return size;
	}
	memcpy(data, "%s", 3);
	data[3] = '\0';
	n = vsnprintf(data + 3, size - 3, format, ap);
	if (n < 0) {
		data[size - 1] = '\0';
		n = (int)strlen(data + 3);
	}
	if ((size_t)n >= size - 3) {
		return size;
	}
	n = (int)show_marker(data + 3, strlen(data + 3));
	return 3 + (size_t)n + 1;
}

/* Stores what the steps take; the whole length, or the size of the space if it did not fit. */
static size_t store_arguments(struct out *out, const struct step *steps, size_t count, va_list ap)
{
	int saved_errno = errno;
	int32_t star = -1;
	size_t i = 0;
	va_list walk;

	va_copy(walk, ap);
	while (i < count && store_argument(out, &steps[i], &star, &walk, saved_errno)) {
		i++;
	}
	va_end(walk);
	return i < count ? out->size : out->at;
}

/*
 * Formats that were parsed before, by address. An entry is written once, by whoever gets to it first, and never changes; so no lock
 * is needed, and nothing is allocated. A hit compares the text, since other memory may come to lie at the same address; unless the core says that it cannot.
 */
enum { FREE, FILLING, READY };

struct parsed {
	_Atomic int state;
	uint16_t stored_len; /* with the NUL */
	uint16_t count;
	int eternal; /* the text at the address never changes */
	const char *address;
	char format[128];
	char stored[128];
	struct step steps[10];
};

static struct parsed parsed[512];

/* 1 if the entry for this format is filled with it; otherwise `entry` is where it could go, or NULL. */
static inline int is_known(const char *format, struct parsed **entry)
{
	uint64_t mixed = (uint64_t)(uintptr_t)format * 0x9E3779B97F4A7C15u;
	struct parsed *at = &parsed[mixed >> 55];
	/* ORDER(parsed): pairs with `remember`. Whoever sees READY also sees the rest. */
	int state = atomic_load_explicit(&at->state, memory_order_acquire);

	*entry = state == FREE ? at : NULL;
	if (state == READY && at->address == format && (at->eternal || strcmp(at->format, format) == 0)) {
		*entry = at;
		return 1;
	}
	return 0;
}

static void remember(struct parsed *entry, const char *format, size_t len, const char *stored, size_t stored_len,
		     const struct step *steps, size_t count, const struct qb_log_callsite *cs)
{
	int expected = FREE;

	if (entry == NULL || len >= sizeof entry->format || stored_len > sizeof entry->stored ||
	    count > sizeof entry->steps / sizeof entry->steps[0] ||
	    !atomic_compare_exchange_strong(&entry->state, &expected, FILLING)) {
		return;
	}
	entry->address = format;
	entry->eternal = cs != NULL && cs->format == format && qb_shim_log_is_eternal(cs);
	memcpy(entry->format, format, len + 1);
	memcpy(entry->stored, stored, stored_len);
	memcpy(entry->steps, steps, count * sizeof *steps);
	entry->stored_len = (uint16_t)stored_len;
	entry->count = (uint16_t)count;
	/* ORDER(parsed): pairs with `is_known`. */
	atomic_store_explicit(&entry->state, READY, memory_order_release);
}

/*
 * Writes the rewritten format to `data` and its steps. Returns the length with the NUL; `size` if it did not fit and was cut; 0 if it has
 * no stored form.
 */
static size_t parse(char *data, size_t size, const char *format, struct step *steps, size_t *count, size_t *format_len)
{
	const char *from = format;
	char *to = data, *end = data + size, *mark = NULL;

	/* Literals are short: one loop is quicker than a call for each step. The rewritten form is never longer. */
	while (*from != '\0') {
		if ((size_t)(end - to) <= 1) {
			break;
		}
		if (*from != '%') {
			mark = *from == '\a' && mark == NULL ? to : mark;
			*to++ = *from++;
			continue;
		}
		/* Flags and digits may be repeated without end, and are part of what is copied. */
		if ((size_t)(end - to) <= LONGEST + strspn(from + 1, "-+ #'I0123456789.*hlqjzZtL") &&
		    strlen(from) >= (size_t)(end - to)) {
			/* It ends somewhere in this conversion or behind it. */
			memcpy(to, from, (size_t)(end - to) - 1);
			to = end - 1;
			break;
		}
		from = conversion(from + 1, &to, steps, count);
		if (from == NULL) {
			return 0;
		}
	}
	if (*from != '\0' && to == end - 1) {
		*to = '\0';
		show_marker(data, (size_t)(to - data));
		return size;
	}
	if (mark != NULL) {
		to = data + show_marker(data, (size_t)(to - data));
	}
	*to++ = '\0';
	*format_len = (size_t)(from - format);
	return (size_t)(to - data);
}

size_t qb_shim_serialize(char *data, size_t size, const char *format, va_list ap, const struct qb_log_callsite *cs)
{
	struct step steps[MAX_OPS];
	size_t count = 0, format_len = 0;
	struct out out = { data, size, 0 };
	struct parsed *known = NULL;

	if (is_known(format, &known) && known->stored_len <= size) {
		memcpy(data, known->stored, known->stored_len);
		out.at = known->stored_len;
		return store_arguments(&out, known->steps, known->count, ap);
	}
	if (size == 0) {
		return strlen(format) + 1;
	}
	out.at = parse(data, size, format, steps, &count, &format_len);
	if (out.at == 0) {
		return store_text(data, size, format, ap);
	}
	if (out.at == size) {
		return size;
	}
	remember(known, format, format_len, data, out.at, steps, count, cs);
	return store_arguments(&out, steps, count, ap);
}

size_t qb_shim_parse(const char *format, char *stored, size_t size, struct step *steps, size_t *count, size_t *fixed)
{
	struct step all[MAX_OPS];
	size_t found = 0, format_len, len = parse(stored, size, format, all, &found, &format_len);
	size_t bytes = 0, strings = 0;

	if (len == 0 || len == size || found > *count) {
		return 0;
	}
	for (size_t i = 0; i < found; i++) {
		switch ((enum op)all[i].op) {
		case OP_ERROR: case OP_WCHAR: case OP_WSTRING:
			return 0;
		case OP_STRING:
			strings++;
			break;
		case OP_CHAR: case OP_PERCENT:
			bytes += 1;
			break;
		case OP_POINTER:
			bytes += sizeof(void *);
			break;
		case OP_NOTHING:
			break;
		case OP_INT: case OP_SHORT: case OP_USHORT: case OP_SCHAR: case OP_UCHAR: case OP_WIDTH: case OP_PRECISION:
			bytes += 4;
			break;
		case OP_LONG: case OP_LLONG: case OP_SIZE: case OP_PTRDIFF: case OP_INTMAX: case OP_DOUBLE: case OP_LDOUBLE:
			bytes += 8;
			break;
		}
		steps[i] = all[i];
	}
	*count = found;
	*fixed = strings > 0 ? SIZE_MAX : bytes;
	return len;
}
