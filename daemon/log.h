/* SPDX-License-Identifier: MIT
 *
 * log.h - one line to standard error for each thing worth knowing.  Any thread.
 *
 * Under the journal (JOURNAL_STREAM names stderr) lines carry the sd-daemon(3) level
 * prefix <N>; elsewhere a time and the level's name.  What is no printable UTF-8 is
 * escaped, so that a hostile name cannot forge a line.
 */
#ifndef P2PD_LOG_H
#define P2PD_LOG_H

#include <stdbool.h>

enum log_level { LOG_LEVEL_ERROR, LOG_LEVEL_WARNING, LOG_LEVEL_INFO, LOG_LEVEL_DEBUG };

#define LOG_LINE_MAX	2048	/* bytes of one line; longer ones are cut */

/* Sets what is written: `level` and what is graver.  Finds out about the journal. */
void	log_open(enum log_level level);
/* True and *ret set if `name` is error, warning, info or debug. */
bool	log_level_parse(const char *name, enum log_level *ret);

void	log_error(const char *format, ...) __attribute__((format(printf, 1, 2)));
void	log_warn(const char *format, ...) __attribute__((format(printf, 1, 2)));
void	log_info(const char *format, ...) __attribute__((format(printf, 1, 2)));
void	log_debug(const char *format, ...) __attribute__((format(printf, 1, 2)));

#endif
