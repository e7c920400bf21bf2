/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef QB_SHIM_SERIALIZE_H
#define QB_SHIM_SERIALIZE_H

#include <stdarg.h>
#include <stddef.h>

struct qb_log_callsite;

/*
 * Stores a format, a NUL and the bytes of its arguments (see src/log/serial.rs for the layout) into `out`. Returns the bytes used;
 * `size` or more means that it did not fit. The stored format is rewritten so that any decoder shows what printf would: no
 * length modifiers h, hh, L, q, no %%, %m, %n, and no marker at its end. `cs` is the callsite that the format is from, or NULL.
 */
size_t qb_shim_serialize(char *out, size_t size, const char *format, va_list ap, const struct qb_log_callsite *cs);

/* 1 if the format of this callsite never changes as long as the callsite has the same address for it. */
int qb_shim_log_is_eternal(const struct qb_log_callsite *cs);

#endif
