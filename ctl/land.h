/* SPDX-License-Identifier: MIT
 *
 * land.h - what fetch -o shares between its three files.  One thread.
 */
#ifndef P2PCTL_LAND_H
#define P2PCTL_LAND_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "ctl.h"
#include "follow.h"

#define LAND_HELPER_SIZE	256	/* bytes of a helper's name, with NUL */

/* One file that is to land. */
struct landing {
	char *what;			/* as the daemon knows it */
	char *root, *size;		/* which content; NULL: the daemon resolves */
	char *path;			/* below the base directory */
	long long mtime_ns;		/* 0: not known */
	mode_t mode;
	int dir_fd;			/* of the directory that holds it, or -1 */
	int have_fd;			/* holds the lock while the fetch is under way, or -1 */
	char *name;			/* in that directory */
	char part[LAND_HELPER_SIZE], have[LAND_HELPER_SIZE];
};

struct lander {
	struct ctl *ctl;
	struct follow follow;
	int base_fd;			/* everything lands below */
	bool is_tree;
	struct landing *items;
	size_t count, cap;
	size_t done, present, failed;
	struct made_directory *made;	/* that were not there */
	size_t made_count;
	int exit_code;
};

/* Complains about one file and counts it as failed. */
void	land_fail(struct lander *lander, const char *what, const char *why);
/*
 * Opens and locks the helpers and asks for the fetch, which then is a job of `follow` with the item as its arg.  No job
 * was added if it is here already or was refused, which is counted and told.  CONN_OK, or why the talk ended.
 */
int	land_start(struct lander *lander, struct landing *item);
/* Every byte is verified and durable: gives it the final name and counts it. */
void	land_finish(struct lander *lander, struct landing *item);
/* A directory was made: path[0..len) below the base, called `name` in the network's tree.  Copied. */
void	land_note_directory(struct lander *lander, const char *path, size_t len, const char *name);
/* All have landed: gives the directories that were noted what the original ones have, as far as somebody tells. */
void	land_set_directories(struct lander *lander);
void	land_forget_directories(struct lander *lander);
/* Lets go of the directory and the lock. */
void	land_close(struct landing *item);

#endif
