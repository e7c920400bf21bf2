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

#include "format.h"
#include "serialize.h"

#define EXPORT __attribute__((visibility("default")))

/* Bytes in front of a serialized message, for the core's record header: qb::log::emit::ROOM. */
enum { SERIAL_ROOM = 256 };

/* A message whose arguments are still in a va_list, with space for what becomes of it. */
struct message {
	const struct qb_log_callsite *cs;
	const char *format;
	va_list *args;
	int error; /* errno when the message was logged, for %m */
	char *text;
	struct pieces pieces;
	char text_space[QB_LOG_MAX_LEN];
	char serial_space[SERIAL_ROOM + QB_LOG_MAX_LEN + 1];
};

int qb_shim_log_wanted(const struct qb_log_callsite *cs);
void qb_shim_log(const struct qb_log_callsite *cs, struct message *message);
char *qb_shim_message_text(struct message *message, size_t size, size_t *len);
char *qb_shim_message_serial(struct message *message, size_t size, size_t *len);
size_t qb_shim_message_measure(struct message *message, const struct step *steps, size_t count, size_t room, int last);
void qb_shim_message_store(struct message *message, char *to);
void qb_shim_message_store_numbers(struct message *message, const struct step *steps, size_t count, char *to, int last);

/* Removes one newline at the end; the length with the NUL. */
static size_t end_text(char *text, size_t len)
{
	if (len > 0 && text[len - 1] == '\n') {
		text[--len] = '\0';
	}
	return len + 1;
}

/* The length of the text with its NUL. One newline at the end of a text that fitted goes. */
static size_t format_text(char *text, size_t size, const char *format, va_list ap)
{
	size_t len;
	int n;

	text[0] = '\0';
	n = vsnprintf(text, size, format, ap);
	if (n < 0) {
		/* A bad conversion: what came before it is there. */
		text[size - 1] = '\0';
		return strlen(text) + 1;
	}
	len = strnlen(text, (size_t)n < size ? (size_t)n : size - 1);
	return (size_t)n < size ? end_text(text, len) : len + 1;
}

char *qb_shim_message_text(struct message *message, size_t size, size_t *len)
{
	va_list args;
	ptrdiff_t simple;

	message->text = message->text_space;
	if (size > sizeof message->text_space) {
		message->text = malloc(size);
		if (message->text == NULL) {
			message->text = message->text_space;
			size = sizeof message->text_space;
		}
	}
	va_copy(args, *message->args);
	simple = qb_shim_format_simple(message->text, size, message->format, &args);
	va_end(args);
	if (simple >= 0) {
		*len = end_text(message->text, (size_t)simple);
		return message->text;
	}
	va_copy(args, *message->args);
	errno = message->error;
	*len = format_text(message->text, size, message->format, args);
	va_end(args);
	return message->text;
}

char *qb_shim_message_serial(struct message *message, size_t size, size_t *len)
{
	va_list args;

	va_copy(args, *message->args);
	errno = message->error;
	*len = qb_shim_serialize(message->serial_space + SERIAL_ROOM, size, message->format, args, message->cs);
	va_end(args);
	if (*len >= size) {
		/* A length beyond the limit: the core stores its substitute. */
		*len = QB_LOG_MAX_LEN + 1;
	}
	*len += SERIAL_ROOM;
	return message->serial_space;
}

size_t qb_shim_message_measure(struct message *message, const struct step *steps, size_t count, size_t room, int last)
{
	va_list args;
	size_t used;

	if (last) {
		return qb_shim_measure(&message->pieces, steps, count, room, message->args);
	}
	va_copy(args, *message->args);
	used = qb_shim_measure(&message->pieces, steps, count, room, &args);
	va_end(args);
	return used;
}

void qb_shim_message_store(struct message *message, char *to)
{
	qb_shim_store(&message->pieces, to);
}

void qb_shim_message_store_numbers(struct message *message, const struct step *steps, size_t count, char *to, int last)
{
	va_list args;

	if (last) {
		qb_shim_store_numbers(steps, count, to, message->args);
		return;
	}
	va_copy(args, *message->args);
	qb_shim_store_numbers(steps, count, to, &args);
	va_end(args);
}

static void emit(struct qb_log_callsite *cs, va_list *args)
{
	struct message message;

	message.cs = cs;
	message.format = cs->format != NULL ? cs->format : "";
	message.args = args;
	message.error = errno;
	message.text = message.text_space;
	qb_shim_log(cs, &message);
	if (message.text != message.text_space) {
		free(message.text);
	}
	errno = message.error;
}

/* A va_list parameter may be an array type, whose address is not that of a va_list. */
static void emit_copy(struct qb_log_callsite *cs, va_list ap)
{
	va_list args;

	va_copy(args, ap);
	emit(cs, &args);
	va_end(args);
}

EXPORT void qb_log_real_va_(struct qb_log_callsite *cs, va_list ap)
{
	if (qb_shim_log_wanted(cs)) {
		emit_copy(cs, ap);
	}
}

EXPORT void qb_log_real_(struct qb_log_callsite *cs, ...)
{
	va_list ap;

	if (qb_shim_log_wanted(cs)) {
		va_start(ap, cs);
		emit(cs, &ap);
		va_end(ap);
	}
}

EXPORT void qb_log_from_external_source_va2(const char *message_id, const char *function, const char *filename,
					    const char *format, uint8_t priority, uint32_t lineno, uint32_t tags,
					    va_list ap)
{
	int saved = errno;
	struct qb_log_callsite *cs =
		qb_log_callsite_get2(message_id, function, filename, format, priority, lineno, tags);

	errno = saved;
	if (qb_shim_log_wanted(cs)) {
		emit_copy(cs, ap);
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
	return qb_shim_serialize(serialize, max_len, fmt, ap, NULL);
}
