/* SPDX-License-Identifier: MIT
 *
 * watch.h - inotify on the directories of the share.
 *
 * watch_add() and watch_drop(): any thread.  The rest: mind's thread.
 */
#ifndef P2PD_WATCH_H
#define P2PD_WATCH_H

#include <stdint.h>
#include <sys/inotify.h>

#include "error.h"

struct watch;

/* NULL and err where the kernel gives no inotify instance. */
struct watch	*watch_new(struct error *err);
void		 watch_free(struct watch *watch);
int		 watch_fd(const struct watch *watch);	/* borrowed; readable when there is news */

/*
 * Follows the directory that is open as `dir_fd`.  `prefix` is what its entries' names begin with:
 * "" for the share itself, else "a/b/".  One that is followed already gets the new prefix: it was moved.
 * P2P_TOO_MANY if the system's limit of watches is reached, P2P_IO.
 */
int		 watch_add(struct watch *watch, int dir_fd, const char *prefix);
/* Follows no directory any more whose prefix begins with `prefix`. */
void		 watch_drop(struct watch *watch, const char *prefix);

/*
 * One event: prefix + entry is the name that it concerns; entry is "" for what befell the directory
 * itself (IN_IGNORED: it is followed no more).  prefix is NULL for IN_Q_OVERFLOW: events were lost.
 */
typedef void	(*watch_fn)(void *arg, const char *prefix, const char *entry, uint32_t mask);
/* Calls fn for what happened, WATCH_READ_MAX bytes of events at most; the rest stays readable. */
#define WATCH_READ_MAX	(256u << 10)
void		 watch_read(struct watch *watch, watch_fn fn, void *arg);

#endif
