/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef QB_LOG_H_DEFINED
#define QB_LOG_H_DEFINED

#include <errno.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>

#include <qb/qbconfig.h>
#include <qb/qbutil.h>

#ifdef __cplusplus
extern "C" {
#endif

/**
 * @file qblog.h
 * Logging: messages, targets, filters, tags, a thread, and a blackbox.
 *
 * Each place that logs is a callsite. A target is a place to which messages go:
 * syslog, stderr, stdout, the blackbox, and up to 28 files or functions of the
 * program. Filters say which callsites a target gets; they act when a callsite
 * is first used or a filter is added, not for each message.
 *
 * @code
 * qb_log_init("mydaemon", LOG_DAEMON, LOG_INFO);
 * qb_log_filter_ctl(QB_LOG_STDERR, QB_LOG_FILTER_ADD, QB_LOG_FILTER_FILE,
 *                   "*", LOG_DEBUG);
 * qb_log_ctl(QB_LOG_STDERR, QB_LOG_CONF_ENABLED, QB_TRUE);
 * qb_log(LOG_WARNING, "disk %s is %d %% full", disk, percent);
 * qb_log_fini();
 * @endcode
 *
 * @par The logging thread
 * With QB_LOG_CONF_THREADED a target is written by a thread of its own, which
 * qb_log_thread_start() starts after the program has forked; when more than 500 kB
 * wait, further messages are dropped and counted, and their number is logged.
 *
 * @par Blackbox
 * It keeps the newest messages in memory, whatever the other targets get, for
 * qb_log_blackbox_write_to_file(), which may be called from the handler of a
 * fatal signal. Give it a size before it is enabled:
 * @code
 * qb_log_ctl(QB_LOG_BLACKBOX, QB_LOG_CONF_SIZE, 1024 * 1024);
 * qb_log_ctl(QB_LOG_BLACKBOX, QB_LOG_CONF_THREADED, QB_FALSE);
 * qb_log_ctl(QB_LOG_BLACKBOX, QB_LOG_CONF_ENABLED, QB_TRUE);
 * @endcode
 * The program qb-blackbox prints the file.
 *
 * @note Any thread may log at any time, also while another one changes targets
 * and filters. What the function of a custom target logs itself is dropped.
 */

/** A priority below LOG_DEBUG. */
#undef LOG_TRACE
#define LOG_TRACE (LOG_DEBUG + 1)

/** The length of a line with its NUL, unless QB_LOG_CONF_MAX_LINE_LEN says else. */
#define QB_LOG_MAX_LEN 512
/** The most that QB_LOG_CONF_MAX_LINE_LEN takes. */
#define QB_LOG_ABSOLUTE_MAX_LEN 4096
/** Space for the error text in qb_perror(). */
#define QB_LOG_STRERROR_MAX_LEN 128

/** Tag of messages of this library itself. */
#define QB_LOG_TAG_LIBQB_MSG_BIT 31
#define QB_LOG_TAG_LIBQB_MSG (1U << QB_LOG_TAG_LIBQB_MSG_BIT)

/**
 * In a message: what follows is extended information, for targets with
 * QB_LOG_CONF_EXTENDED only. As a character and as a string:
 * @code
 * qb_log(LOG_INFO, "short" QB_XS "and the details");
 * @endcode
 */
#define QB_XC '\a'
#define QB_XS "\a"

/** %T and the struct timespec of loggers exist. */
#define QB_FEATURE_LOG_HIRES_TIMESTAMPS 1

/** Once declared a program's callsites; they need no declaration. */
#define QB_LOG_INIT_DATA(name)

/** A place that logs. The program may change priority, targets and tags. */
struct qb_log_callsite {
	const char *function;
	const char *filename;
	const char *format;
	uint8_t priority;
	uint32_t lineno;
	uint32_t targets;	/**< bit n: target n gets the messages */
	uint32_t tags;
	const char *message_id;
} __attribute__((aligned(8)));

/** Targets: four that are always there, and those that are opened. */
enum qb_log_target_slot {
	QB_LOG_TARGET_START = 0,
	QB_LOG_TARGET_STATIC_START = 0,
	QB_LOG_SYSLOG = 0,
	QB_LOG_STDERR = 1,
	QB_LOG_BLACKBOX = 2,
	QB_LOG_STDOUT = 3,
	QB_LOG_TARGET_STATIC_MAX = 4,
	QB_LOG_TARGET_STATIC_END = 3,
	QB_LOG_TARGET_DYNAMIC_START = 4,
	QB_LOG_TARGET_MAX = 32,
	QB_LOG_TARGET_DYNAMIC_END = 31,
	QB_LOG_TARGET_END = 31
};

enum qb_log_target_state {
	QB_LOG_STATE_UNUSED = 1,	/**< not open */
	QB_LOG_STATE_DISABLED = 2,	/**< gets no messages */
	QB_LOG_STATE_ENABLED = 3
};

/** Settings of a target, for qb_log_ctl(). */
enum qb_log_conf {
	QB_LOG_CONF_ENABLED = 0,	/**< a target is opened disabled */
	QB_LOG_CONF_FACILITY = 1,	/**< of syslog */
	QB_LOG_CONF_DEBUG = 2,		/**< does nothing */
	QB_LOG_CONF_SIZE = 3,		/**< of the blackbox, in bytes */
	QB_LOG_CONF_THREADED = 4,	/**< written by the logging thread */
	QB_LOG_CONF_PRIORITY_BUMP = 5,	/**< syslog: added to debug and trace */
	QB_LOG_CONF_STATE_GET = 6,	/**< changes nothing: asks */
	QB_LOG_CONF_FILE_SYNC = 7,	/**< to the device after each line */
	QB_LOG_CONF_EXTENDED = 8,	/**< show what is behind QB_XS */
	QB_LOG_CONF_IDENT = 9,		/**< the name, for qb_log_ctl2() */
	QB_LOG_CONF_MAX_LINE_LEN = 10,	/**< with the NUL */
	QB_LOG_CONF_ELLIPSIS = 11,	/**< show that a line was cut */
	QB_LOG_CONF_USE_JOURNAL = 12	/**< syslog: write to the journal */
};

/** What a filter looks at. */
enum qb_log_filter_type {
	QB_LOG_FILTER_FILE = 0,		/**< file name is in a comma list */
	QB_LOG_FILTER_FUNCTION = 1,	/**< function name is in a comma list */
	QB_LOG_FILTER_FORMAT = 2,	/**< format contains the text */
	QB_LOG_FILTER_FILE_REGEX = 3,
	QB_LOG_FILTER_FUNCTION_REGEX = 4,
	QB_LOG_FILTER_FORMAT_REGEX = 5
};

/** What to do with a filter or a tag. */
enum qb_log_filter_conf {
	QB_LOG_FILTER_ADD = 0,
	QB_LOG_FILTER_REMOVE = 1,
	QB_LOG_FILTER_CLEAR_ALL = 2,
	QB_LOG_TAG_SET = 3,
	QB_LOG_TAG_CLEAR = 4,
	QB_LOG_TAG_CLEAR_ALL = 5
};

/** Argument of qb_log_ctl2(). */
typedef union {
	int32_t i32;
	const char *s;
} qb_log_ctl2_arg_t;

/** The argument from an integer, and from a string. */
#ifndef S_SPLINT_S
#define QB_LOG_CTL2_I32(a) ((qb_log_ctl2_arg_t) { .i32 = (a) })
#define QB_LOG_CTL2_S(a) ((qb_log_ctl2_arg_t) { .s = (a) })
#else
#define QB_LOG_CTL2_I32(a) ((qb_log_ctl2_arg_t)(a))
#define QB_LOG_CTL2_S(a) ((qb_log_ctl2_arg_t)(a))
#endif

/** Makes text of a callsite's tags. */
typedef const char *(*qb_log_tags_stringify_fn)(uint32_t tags);

/** May change a callsite, its targets above all. */
typedef void (*qb_log_filter_fn)(struct qb_log_callsite *cs);

/** Gets the messages of a target, formatted for printf only. */
typedef void (*qb_log_logger_fn)(int32_t t, struct qb_log_callsite *cs,
				 struct timespec *timestamp, const char *msg);

/** Like the above, before formatting; nothing takes such a function. */
typedef void (*qb_log_vlogger_fn)(int32_t t, struct qb_log_callsite *cs,
				  struct timespec *timestamp, va_list ap);

typedef void (*qb_log_close_fn)(int32_t t);
typedef void (*qb_log_reload_fn)(int32_t t);

/**
 * Logs a message: the function behind the macros.
 *
 * @param cs the callsite; nothing happens for NULL
 * @param ... the arguments of its format
 */
void qb_log_real_(struct qb_log_callsite *cs, ...);

/**
 * Like qb_log_real_().
 *
 * @param cs the callsite
 * @param ap the arguments of its format; undefined afterwards
 */
void qb_log_real_va_(struct qb_log_callsite *cs, va_list ap);

/**
 * Logs a message of code that has a position of its own, such as the log
 * function of another library.
 *
 * @param function of the position
 * @param filename of the position
 * @param format   for printf
 * @param priority of syslog.h, or LOG_TRACE
 * @param lineno   of the position
 * @param tags     for the callsite, or 0
 * @param ...      the arguments of the format
 */
void qb_log_from_external_source(const char *function, const char *filename,
				 const char *format, uint8_t priority,
				 uint32_t lineno, uint32_t tags, ...)
	__attribute__((format(printf, 3, 7)));

/**
 * Like qb_log_from_external_source(), with a va_list.
 *
 * @param function of the position
 * @param filename of the position
 * @param format   for printf
 * @param priority of syslog.h, or LOG_TRACE
 * @param lineno   of the position
 * @param tags     for the callsite, or 0
 * @param ap       the arguments of the format; undefined afterwards
 */
void qb_log_from_external_source_va(const char *function, const char *filename,
				    const char *format, uint8_t priority,
				    uint32_t lineno, uint32_t tags, va_list ap)
	__attribute__((format(printf, 3, 0)));

/**
 * Like qb_log_from_external_source_va(), with an id of the journal's catalog.
 *
 * @param message_id of the catalog, 32 hexadecimal digits, or NULL
 * @param function   of the position
 * @param filename   of the position
 * @param format     for printf
 * @param priority   of syslog.h, or LOG_TRACE
 * @param lineno     of the position
 * @param tags       for the callsite, or 0
 * @param ap         the arguments of the format; undefined afterwards
 */
void qb_log_from_external_source_va2(const char *message_id,
				     const char *function, const char *filename,
				     const char *format, uint8_t priority,
				     uint32_t lineno, uint32_t tags, va_list ap)
	__attribute__((format(printf, 4, 0)));

/*
 * The macros. The arguments are evaluated always, also when nobody wants the
 * message. The callsite is looked up each time, since that is when a filter
 * function sees it; the lookup takes no lock.
 */

/** Logs with an id of the journal's catalog and with tags. */
#define qb_logt2(message_id, priority, tags, fmt, ...)                     \
	do {                                                                   \
		struct qb_log_callsite *descriptor_pt = qb_log_callsite_get2(  \
			message_id, __func__, __FILE__, fmt, priority,         \
			__LINE__, tags);                                       \
		qb_log_real_(descriptor_pt, ##__VA_ARGS__);                           \
	} while (0)

/** Logs with tags. */
#define qb_logt(priority, tags, fmt, ...)                                  \
	qb_logt2(NULL, priority, tags, fmt, ##__VA_ARGS__)

/** Logs with an id of the journal's catalog. */
#define qb_log2(message_id, priority, fmt, ...)                            \
	qb_logt2(message_id, priority, 0, fmt, ##__VA_ARGS__)

/** Logs: priority, format, arguments. */
#define qb_log(priority, fmt, ...) qb_logt(priority, 0, fmt, ##__VA_ARGS__)

/** Logs with the text and the number of errno at the end. fmt is a literal. */
#ifndef S_SPLINT_S
#define qb_perror(priority, fmt, ...)                                      \
	do {                                                                   \
		char _perr_buf_[QB_LOG_STRERROR_MAX_LEN];                      \
		const char *_perr_str_ =                                       \
			qb_strerror_r(errno, _perr_buf_, sizeof(_perr_buf_));  \
		qb_logt(priority, 0, fmt ": %s (%d)", ##__VA_ARGS__, _perr_str_,      \
			errno);                                                \
	} while (0)
#else
#define qb_perror
#endif

/** Traces a function's beginning and end. */
#define qb_enter() qb_log(LOG_TRACE, "ENTERING %s()", __func__)
#define qb_leave() qb_log(LOG_TRACE, "LEAVING %s()", __func__)

/**
 * Starts the logging system. All targets begin anew; syslog is enabled, for
 * everything up to a priority.
 *
 * @param name     who the program is, for syslog, the blackbox and %N
 * @param facility of syslog, for all targets
 * @param priority the least urgent one that syslog gets
 */
void qb_log_init(const char *name, int32_t facility, uint8_t priority);

/**
 * Ends logging: stops the thread after it has written what was queued, disables
 * the targets and forgets filters, tags and registered callsites.
 */
void qb_log_fini(void);

/**
 * Finds or makes the callsite of a position. It stays valid, at the same
 * address, for the life of the process.
 *
 * @param function of the position
 * @param filename of the position
 * @param format   for printf
 * @param priority of syslog.h, or LOG_TRACE
 * @param lineno   of the position
 * @param tags     for the callsite; 0 leaves it the ones it has
 * @return the callsite for qb_log_real_(), or NULL before qb_log_init()
 */
struct qb_log_callsite *qb_log_callsite_get(const char *function,
                                            const char *filename,
                                            const char *format,
                                            uint8_t priority, uint32_t lineno,
                                            uint32_t tags);

/**
 * Like qb_log_callsite_get(), with an id for the message.
 *
 * @param message_id of the journal's catalog, or NULL
 * @param function   of the position
 * @param filename   of the position
 * @param format     for printf
 * @param priority   of syslog.h, or LOG_TRACE
 * @param lineno     of the position
 * @param tags       for the callsite; 0 leaves it the ones it has
 * @return the callsite for qb_log_real_(), or NULL before qb_log_init()
 */
struct qb_log_callsite *qb_log_callsite_get2(const char *message_id,
                                             const char *function,
                                             const char *filename,
                                             const char *format,
                                             uint8_t priority, uint32_t lineno,
                                             uint32_t tags);

/**
 * Registers callsites of the program's own and applies filters and tags to
 * them. The memory has to stay as long as the process; elements with line
 * number 0 are skipped.
 *
 * @param _start first element
 * @param _stop  behind the last element
 * @return 0, -EINVAL for NULL, or -EEXIST if one of the two is registered
 *         already
 */
int32_t qb_log_callsites_register(struct qb_log_callsite *_start,
                                  struct qb_log_callsite *_stop);

/**
 * Prints a table of the callsites to stdout.
 */
void qb_log_callsites_dump(void);

/**
 * Changes a setting of a target, or asks for its state.
 *
 * - QB_LOG_CONF_ENABLED: QB_TRUE or QB_FALSE; a new target is disabled
 * - QB_LOG_CONF_FACILITY: the facility of syslog, such as LOG_DAEMON
 * - QB_LOG_CONF_SIZE: bytes of the blackbox, before it is enabled
 * - QB_LOG_CONF_THREADED: whether the thread of qb_log_thread_start() writes
 * - QB_LOG_CONF_PRIORITY_BUMP: what syslog adds to the priority of debug and
 *   trace
 * - QB_LOG_CONF_STATE_GET: asks for the state, an enum qb_log_target_state
 * - QB_LOG_CONF_FILE_SYNC: whether each line of a file goes to the device
 * - QB_LOG_CONF_EXTENDED: whether what is behind QB_XS is shown
 * - QB_LOG_CONF_MAX_LINE_LEN: bytes of a line, with the NUL
 * - QB_LOG_CONF_ELLIPSIS: whether a line that was cut ends in "..."
 * - QB_LOG_CONF_USE_JOURNAL: whether syslog means the journal
 *
 * QB_LOG_CONF_IDENT has a text as its argument: see qb_log_ctl2().
 *
 * @param target    QB_LOG_SYSLOG and so on, or what an open function returned
 * @param conf_type what to change, with an integer as argument
 * @param arg       the new value
 * @return 0, the state for QB_LOG_CONF_STATE_GET, -EBADF for a target that is
 *         not open, -EINVAL, -ENOSYS, or what hindered the target
 */
int32_t qb_log_ctl(int32_t target, enum qb_log_conf conf_type, int32_t arg);

/**
 * Like qb_log_ctl(), also for settings that are strings.
 *
 * @param target    QB_LOG_SYSLOG and so on, or what an open function returned
 * @param conf_type what to change
 * @param arg       the new value: member s for QB_LOG_CONF_IDENT, i32 for all
 *                  others
 * @return as qb_log_ctl()
 */
int32_t qb_log_ctl2(int32_t target, enum qb_log_conf conf_type,
                    qb_log_ctl2_arg_t arg);

/**
 * Adds or removes a filter or a tag, for priorities from LOG_EMERG on.
 *
 * @param value        the target of a filter, or the tags
 * @param c            what to do
 * @param type         what the text is compared with
 * @param text         a comma list of names, a part of the format, or a basic
 *                     regular expression; "*" means any
 * @param low_priority the least urgent priority that matches
 * @return 0, -EBADF for a target that is not open, -EEXIST for a duplicate, or
 *         -EINVAL
 */
int32_t qb_log_filter_ctl(int32_t value, enum qb_log_filter_conf c,
                          enum qb_log_filter_type type, const char *text,
                          uint8_t low_priority);

/**
 * Like qb_log_filter_ctl(), for a range of priorities.
 *
 * @param value         the target of a filter, or the tags
 * @param c             what to do
 * @param type          what the text is compared with
 * @param text          as for qb_log_filter_ctl()
 * @param high_priority the most urgent priority that matches
 * @param low_priority  the least urgent priority that matches
 * @return as qb_log_filter_ctl()
 */
int32_t qb_log_filter_ctl2(int32_t value, enum qb_log_filter_conf c,
                           enum qb_log_filter_type type, const char *text,
                           uint8_t high_priority, uint8_t low_priority);

/**
 * Sets a function that may change each callsite: now, when it is made, and each
 * time it logs.
 *
 * @param fn the function, or NULL for none
 * @return 0, or -EINVAL before qb_log_init()
 */
int32_t qb_log_filter_fn_set(qb_log_filter_fn fn);

/**
 * Sets the function that makes text of tags, for %g.
 *
 * @param fn the function, or NULL for none
 */
void qb_log_tags_stringify_fn_set(qb_log_tags_stringify_fn fn);

/**
 * Sets what a line of a target looks like: text with these directives, each
 * with an optional width (cut or padded to it; with a minus sign the text is on
 * the right).
 *
 * %n function, %f file, %l line, %p priority, %t time, %T time with
 * milliseconds, %b message, %g tags; and those that are looked up now: %N name,
 * %P process id, %H host.
 *
 * @param t      the target, open or not
 * @param format the format, or NULL for "[%p] %b"
 */
void qb_log_format_set(int32_t t, const char *format);

/**
 * Opens a file to which messages are appended. The target is disabled at first,
 * and its user data is the FILE.
 *
 * @param filename of the file
 * @return the target, -EMFILE if there are too many, or the -errno of opening
 *         the file
 */
int32_t qb_log_file_open(const char *filename);

/**
 * Closes a target; the same as qb_log_custom_close().
 *
 * @param t the target
 */
void qb_log_file_close(int32_t t);

/**
 * Goes on in a new file, for rotation. The old one stays in use when the new
 * one cannot be opened.
 *
 * @param t        a target of qb_log_file_open()
 * @param filename of the new file, or NULL for the same name
 * @return 0, -EBADF, or the -errno of opening the file
 */
int32_t qb_log_file_reopen(int32_t t, const char *filename);

/**
 * Sets how the logging thread is scheduled, now or when it starts.
 *
 * @param policy   SCHED_OTHER and so on
 * @param priority for that policy
 * @return 0 or -errno
 */
int32_t qb_log_thread_priority_set(int32_t policy, int32_t priority);

/**
 * Starts the thread that writes to the targets with QB_LOG_CONF_THREADED. Call
 * it after fork().
 *
 * @return 0 (also if it runs already) or -errno
 */
int32_t qb_log_thread_start(void);

/**
 * Writes the blackbox to a file, which is replaced. May be called from a signal
 * handler.
 *
 * @param filename of the file
 * @return bytes written, -ENOENT without a blackbox, or -errno
 */
ssize_t qb_log_blackbox_write_to_file(const char *filename);

/**
 * Prints the messages of a blackbox file to stdout, as far as it is intact.
 *
 * @param filename of the file
 * @return 0 or less: -errno when it cannot be read, -EIO or -1 when it is
 *         damaged
 */
int qb_log_blackbox_print_from_file(const char *filename);

/**
 * Opens a target of the program's own. It is disabled at first.
 *
 * @param log_fn    gets each message, formatted for printf but not for the
 *                  target
 * @param close_fn  called when the target is disabled or closed, or NULL
 * @param reload_fn never called
 * @param user_data for qb_log_target_user_data_get()
 * @return the target, or -EMFILE if there are too many
 */
int32_t qb_log_custom_open(qb_log_logger_fn log_fn, qb_log_close_fn close_fn,
                           qb_log_reload_fn reload_fn, void *user_data);

/**
 * Closes a target: its close function is called whatever its state, its filters
 * are forgotten.
 *
 * @param t the target; nothing happens if it is not open
 */
void qb_log_custom_close(int32_t t);

/**
 * Tells what belongs to a target.
 *
 * @param t the target
 * @return what was set, the FILE of a file; NULL with errno EBADF if the target
 *         is not open
 */
void *qb_log_target_user_data_get(int32_t t);

/**
 * Sets what belongs to a target. For targets of qb_log_custom_open() only.
 *
 * @param t         the target
 * @param user_data anything
 * @return 0, -EBADF if the target is not open, or -EINVAL before qb_log_init()
 */
int32_t qb_log_target_user_data_set(int32_t t, void *user_data);

/**
 * Formats a message as qb_log_format_set() says, for use in the program's own
 * loggers.
 *
 * @param target            whose format it is
 * @param cs                as the logger got it
 * @param timestamp         as the logger got it
 * @param formatted_message as the logger got it
 * @param output_buffer     gets the line; room for the target's longest line
 *                          with its NUL
 */
void qb_log_target_format(int32_t target, struct qb_log_callsite *cs,
                          struct timespec *timestamp,
                          const char *formatted_message, char *output_buffer);

/**
 * Tells the number of a syslog facility.
 *
 * @param fname its name: "daemon", "local0" and so on
 * @return LOG_DAEMON and so on, or -EINVAL
 */
int32_t qb_log_facility2int(const char *fname);

/**
 * Tells the name of a syslog facility.
 *
 * @param fnum LOG_DAEMON and so on
 * @return its name, or NULL
 */
const char *qb_log_facility2str(int32_t fnum);

#ifdef __cplusplus
}
#endif

#endif /* QB_LOG_H_DEFINED */
