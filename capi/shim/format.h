/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef QB_SHIM_FORMAT_H
#define QB_SHIM_FORMAT_H

#include <stdarg.h>
#include <stddef.h>

/*
 * Formats into `size` bytes (at least 1) with the NUL; the length without it. -1 if the format is not a simple one or the text does
 * not fit; then some of the arguments are used up, and the text means nothing.
 */
ptrdiff_t qb_shim_format_simple(char *text, size_t size, const char *format, va_list *args);

#endif
