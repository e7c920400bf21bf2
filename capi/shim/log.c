/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The variadic half of qb/qblog.h, and nothing else: formats a message once, or serializes it, into bounded storage, and hands
 * it to the Rust core (capi/src/qblog/glue.rs), which decides before whether anybody wants it.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <qb/qblog.h>

#include "serialize.h"

#define EXPORT __attribute__((visibility("default")))

struct plan {
	uint32_t text;
	uint32_t serial;
};

int qb_shim_log_begin(const struct qb_log_callsite *cs, struct plan *plan);
void qb_shim_log_finish(const struct qb_log_callsite *cs, char *text, size_t text_len, const char *serial,
			size_t serial_len);

/* The length of the text with its NUL. One newline at the end of a text that fitted goes. */
static size_t format_text(char *text, size_t size, const char *format, va_list ap)
{
	size_t len;
	int n;

	n = vsnprintf(text, size, format, ap);
	if (n < 0) {
		text[0] = '\0';
		return 1;
	}
	len = strnlen(text, (size_t)n < size ? (size_t)n : size - 1);
	if ((size_t)n < size && len > 0 && text[len - 1] == '\n') {
		text[--len] = '\0';
	}
	return len + 1;
}

static void emit(struct qb_log_callsite *cs, va_list ap)
{
	char text_space[QB_LOG_MAX_LEN], serial_space[QB_LOG_MAX_LEN + 1];
	char *text = text_space;
	const char *format;
	size_t text_len = 0, serial_len = 0;
	int saved = errno;
	struct plan plan;
	va_list copy;

	if (!qb_shim_log_begin(cs, &plan)) {
		return;
	}
	format = cs->format != NULL ? cs->format : "";
	if (plan.serial > 0) {
		va_copy(copy, ap);
		errno = saved;
		serial_len = qb_shim_serialize(serial_space, plan.serial, format, copy);
		va_end(copy);
		/* A length beyond the limit: the core stores its substitute. */
		serial_len = serial_len >= plan.serial ? sizeof serial_space : serial_len;
	}
	if (plan.text > 0) {
		if (plan.text > sizeof text_space) {
			text = malloc(plan.text);
			if (text == NULL) {
				text = text_space;
				plan.text = sizeof text_space;
			}
		}
		va_copy(copy, ap);
		errno = saved;
		text_len = format_text(text, plan.text, format, copy);
		va_end(copy);
	}
	qb_shim_log_finish(cs, text, text_len, serial_space, serial_len);
	if (text != text_space) {
		free(text);
	}
	errno = saved;
}

EXPORT void qb_log_real_va_(struct qb_log_callsite *cs, va_list ap)
{
	emit(cs, ap);
}

EXPORT void qb_log_real_(struct qb_log_callsite *cs, ...)
{
	va_list ap;

	va_start(ap, cs);
	emit(cs, ap);
	va_end(ap);
}

EXPORT void qb_log_from_external_source_va2(const char *message_id, const char *function, const char *filename,
					    const char *format, uint8_t priority, uint32_t lineno, uint32_t tags,
					    va_list ap)
{
	int saved = errno;
	struct qb_log_callsite *cs =
		qb_log_callsite_get2(message_id, function, filename, format, priority, lineno, tags);

	errno = saved;
	if (cs != NULL) {
		emit(cs, ap);
	}
}

EXPORT void qb_log_from_external_source_va(const char *function, const char *filename, const char *format,
					   uint8_t priority, uint32_t lineno, uint32_t tags, va_list ap)
{
	qb_log_from_external_source_va2(NULL, function, filename, format, priority, lineno, tags, ap);
}

EXPORT void qb_log_from_external_source(const char *function, const char *filename, const char *format,
					uint8_t priority, uint32_t lineno, uint32_t tags, ...)
{
	va_list ap;

	va_start(ap, tags);
	qb_log_from_external_source_va2(NULL, function, filename, format, priority, lineno, tags, ap);
	va_end(ap);
}

/* Not in a header, but programs that test or measure the serialization import it. */
EXPORT size_t qb_vsnprintf_serialize(char *serialize, size_t max_len, const char *fmt, va_list ap);

EXPORT size_t qb_vsnprintf_serialize(char *serialize, size_t max_len, const char *fmt, va_list ap)
{
	return qb_shim_serialize(serialize, max_len, fmt, ap);
}
