/* SPDX-License-Identifier: MIT
 *
 * log.c - one write(2) to standard error for each line.
 *
 * A line is made on the stack and leaves in one system call: lines of different threads
 * never mix, nothing here allocates or locks, and a process that runs out of memory can
 * still say so.  A line that standard error refuses is lost; there is nobody to tell.
 *
 * Names of files and words of peers reach the log, so the whole message goes through
 * line_escape(): no line feed, no terminal sequence and no bidirectional trick survives.
 *
 * Under the journal (JOURNAL_STREAM=device:inode is our stderr) a line begins with the
 * level as sd-daemon(3) has it, and the journal adds the time; elsewhere we write both.
 */
#include "log.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "line.h"

static const struct {
	const char *name;
	const char *prefix; /* of sd-daemon(3) */
} levels[] = {
	[LOG_LEVEL_ERROR] = { "error", "<3>" },
	[LOG_LEVEL_WARNING] = { "warning", "<4>" },
	[LOG_LEVEL_INFO] = { "info", "<6>" },
	[LOG_LEVEL_DEBUG] = { "debug", "<7>" },
};

#define LEVEL_COUNT (sizeof(levels) / sizeof(levels[0]))

/* A process has one standard error, hence global.  Atomic, as a reload sets them anew. */
static _Atomic(enum log_level) most = LOG_LEVEL_INFO;
static atomic_bool is_journal;

static bool
stderr_is_journal(void)
{
	const char *stream = getenv("JOURNAL_STREAM");
	uintmax_t device, inode;
	struct stat st;
	char rest;

	if (stream == NULL || sscanf(stream, "%ju:%ju%c", &device, &inode, &rest) != 2)
		return false;
	return fstat(STDERR_FILENO, &st) == 0 && st.st_dev == device && st.st_ino == inode;
}

void
log_open(enum log_level level)
{
	most = level;
	is_journal = stderr_is_journal();
}

bool
log_level_parse(const char *name, enum log_level *ret)
{
	for (size_t i = 0; i < LEVEL_COUNT; i++)
		if (strcmp(levels[i].name, name) == 0) {
			*ret = (enum log_level)i;
			return true;
		}
	return false;
}

/* Writes what stands before the message; answers its length. */
static size_t
put_prefix(enum log_level level, char *out, size_t cap)
{
	if (is_journal)
		return (size_t)snprintf(out, cap, "%s", levels[level].prefix);

	time_t now = time(NULL);
	struct tm utc;
	size_t len = strftime(out, cap, "%Y-%m-%dT%H:%M:%SZ ", gmtime_r(&now, &utc));
	return len + (size_t)snprintf(out + len, cap - len, "%s: ", levels[level].name);
}

static void __attribute__((format(printf, 2, 0)))
put_line(enum log_level level, const char *format, va_list args)
{
	if (level > most)
		return;

	/* More than a line holds, so that its own cut never shows behind line_escape(). */
	char message[LOG_LINE_MAX + 8];
	char line[LOG_LINE_MAX];
	int saved = errno;

	if (vsnprintf(message, sizeof(message), format, args) >= 0) {
		size_t len = put_prefix(level, line, sizeof(line));

		/* The NUL of line_escape() becomes the line feed. */
		len += line_escape(message, line + len, sizeof(line) - len);
		line[len++] = '\n';
		while (write(STDERR_FILENO, line, len) < 0 && errno == EINTR)
			;
	}
	errno = saved;
}

#define DEFINE_LOG(function, level)            \
	void function(const char *format, ...) \
	{                                      \
		va_list args;                  \
                                               \
		va_start(args, format);        \
		put_line(level, format, args); \
		va_end(args);                  \
	}

DEFINE_LOG(log_error, LOG_LEVEL_ERROR)
DEFINE_LOG(log_warn, LOG_LEVEL_WARNING)
DEFINE_LOG(log_info, LOG_LEVEL_INFO)
DEFINE_LOG(log_debug, LOG_LEVEL_DEBUG)
