/* SPDX-License-Identifier: MIT
 *
 * error.h - why something failed: a code of codes.def and one sentence.  Any thread.
 *
 * The text is made once, where the name of the thing is known; callers pass it on.
 * Every `err` may be NULL.
 */
#ifndef P2PD_ERROR_H
#define P2PD_ERROR_H

#include "codes.h"

#define ERROR_TEXT_MAX	512	/* bytes, NUL included; longer texts are cut */

struct error {
	int code;			/* P2P_OK or a negative code */
	char text[ERROR_TEXT_MAX];	/* one sentence, no full stop, no newline */
};

/* Fills `err` and answers `code`, so that `return error_set(...)` reads well. */
int	error_set(struct error *err, int code, const char *format, ...)
	    __attribute__((format(printf, 3, 4)));

/*
 * The same from errno: the text gets ": strerror", the code follows errno (ENOSPC, EDQUOT:
 * P2P_NO_SPACE; ENOENT, ENOTDIR: P2P_NOT_FOUND; EACCES, EPERM, EROFS, ELOOP, EXDEV: P2P_FORBIDDEN;
 * EEXIST, EISDIR, ENOTEMPTY: P2P_EXISTS; ENAMETOOLONG: P2P_BAD_NAME; the rest: P2P_IO).  Keeps errno.
 */
int	error_errno(struct error *err, const char *format, ...)
	    __attribute__((format(printf, 2, 3)));

#endif
