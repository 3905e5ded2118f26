/* SPDX-License-Identifier: MIT
 *
 * directories.h - asks those who have a tree what its directories are like.  Mind's thread.
 */
#ifndef P2PD_DIRECTORIES_H
#define P2PD_DIRECTORIES_H

#include "directory.h"
#include "download.h"

struct directories;

/* `found` is beside the names that were asked about, and good until the next question; what nobody tells of is not there. */
typedef void	(*directories_done_fn)(void *arg, const struct directory *found);

/* Borrows the means.  One question at a time. */
struct directories *directories_new(struct download_means *means);
/* Not while it asks.  NULL is nothing. */
void	directories_free(struct directories *directories);
/* Asks about 1 to DIRECTORIES_MAX directories; borrows the names until done, which is called once, later.  `own`: what this peer's share
 * has counts first. */
void	directories_ask(struct directories *directories, const char *const *names, size_t count, bool own,
	    directories_done_fn done, void *arg);
/* It is done soon, with what it has. */
void	directories_stop(struct directories *directories);

#endif
