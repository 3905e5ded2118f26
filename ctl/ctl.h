/* SPDX-License-Identifier: MIT
 *
 * ctl.h - what the files of p2pctl share.  One thread.
 */
#ifndef P2PCTL_CTL_H
#define P2PCTL_CTL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "conn.h"

/* How p2pctl ends. */
enum { EXIT_DONE = 0, EXIT_REFUSED = 1, EXIT_USAGE = 2, EXIT_CONNECT = 3 };

/* Which options were given, by their place in options.def. */
enum ctl_option {
#define OPTION(id, letter, name, argument, commands, help) OPT_##id,
#include "options.def"
#undef OPTION
	OPTIONS
};

struct ctl {
	const char *values[OPTIONS];	/* "" for one without an argument; NULL: not given */
	const char *command;
	char **args;			/* behind the command */
	int arg_count;
	bool is_terminal;		/* standard output is one */
	bool shows_progress;		/* standard error is one, and nobody asked for quiet or JSON */
	struct conn *conn;
};

static inline bool
ctl_has(const struct ctl *ctl, enum ctl_option option)
{
	return ctl->values[option] != NULL;
}

/* --- main.c --- */

/* Complains on standard error: "p2pctl: ...".  What is not ours to trust goes through ctl_escape(). */
void		 ctl_complain(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* The text as a terminal may have it; borrowed until eight more calls. */
const char	*ctl_escape(const char *text);
/* The same for a sentence of the daemon; see render_sentence().  Shares the eight. */
const char	*ctl_sentence(const char *text);
/* The connection broke: complains and answers EXIT_CONNECT. */
int		 ctl_lost(const struct ctl *ctl, const char *hint);
/* Tells the reply's error (and as JSON, if asked for) and answers EXIT_REFUSED. */
int		 ctl_refused(const struct ctl *ctl, const char *about, const struct reply *reply);

/* --- the commands; each answers the exit code --- */

int		 show_status(struct ctl *ctl);
int		 show_peers(struct ctl *ctl);
int		 show_files(struct ctl *ctl);		/* search, ls */
int		 show_fetches(struct ctl *ctl);
int		 show_where(struct ctl *ctl);
int		 show_weights(struct ctl *ctl);		/* du */
int		 show_help(struct ctl *ctl);
int		 change_put(struct ctl *ctl);
int		 change_rm(struct ctl *ctl);
int		 change_cancel(struct ctl *ctl);
int		 change_prioritize(struct ctl *ctl);
int		 change_unfollow(struct ctl *ctl);
int		 change_limit(struct ctl *ctl);
int		 change_reload(struct ctl *ctl);
int		 follows_add(struct ctl *ctl);
int		 follows_show(struct ctl *ctl);
int		 watch_events(struct ctl *ctl);
int		 fetch_files(struct ctl *ctl);		/* into the share, or by land_files() */
int		 land_files(struct ctl *ctl);		/* fetch -o */
/* Prints what a shell may complete with; `words` are those before the one at the cursor. */
int		 complete(char **words, int count);

/* --- show.c, for tree.c --- */

/* Asks one line and takes the reply; else complains.  EXIT_DONE, or what to end with. */
int		 show_ask(struct ctl *ctl, const struct request *request, struct reply *ret);

/* --- show.c, for fetches: all rows of a search, page by page --- */

/* Asks for pages until the end or `limit` rows; appends all records to `ret`.  EXIT_DONE or what was complained. */
int		 show_collect(struct ctl *ctl, const char *request, uint64_t limit, struct reply *ret);
/* Prints candidates of an ambiguous name and how to say which. */
void		 show_candidates(const struct ctl *ctl, const struct reply *reply, const char *word, const char *name);

/* --- filter.c --- */

/* "MIN..MAX" in bytes, or with K, M, G, T; either may be missing. */
bool		 filter_size(const char *text, uint64_t *ret_min, uint64_t *ret_max);
/* "90s", "10m", "12h", "7d", "2w": when that was, in nanoseconds since 1970. */
bool		 filter_age(const char *text, uint64_t *ret_ns);
/* Adds what the options of search say; they were checked. */
void		 filter_request(const struct ctl *ctl, struct request *request);

/* --- fetch.c, for land_tree.c --- */

/* Of the files named `name` the one whose root begins with `prefix`: its record (in `found`), or NULL after a complaint
 * with *ret_exit. */
const struct record *fetch_choose(struct ctl *ctl, const char *name, const char *prefix, struct reply *found,
		     int *ret_exit);

#endif
