/* SPDX-License-Identifier: MIT
 *
 * follow.h - waits for fetches and shows how far they are.  One thread.
 */
#ifndef P2PCTL_FOLLOW_H
#define P2PCTL_FOLLOW_H

#include "ctl.h"
#include "render.h"
#include "sources.h"

enum follow_state { FOLLOW_GOING, FOLLOW_DONE, FOLLOW_FAILED };

struct follow_job {
	uint64_t id;			/* the fetch's number */
	enum follow_state state;
	bool is_told;			/* that it ended */
	bool is_stale;			/* its sources are to be asked for */
	uint64_t done_bytes, total_bytes, rate_bps, done_files, total_files, sources;
	char *note;			/* why it waits or failed, or NULL */
	char *what;			/* for people */
	void *arg;
};

struct follow {
	struct ctl *ctl;
	struct follow_job **jobs;
	size_t count, going;
	bool must_ask;			/* events were lost */
	uint64_t past_bytes, past_files;	/* of jobs that ended and were dropped; for the progress line */
	uint64_t more_bytes, more_files;	/* not begun yet; for the progress line */
	bool wants_sources;
	struct sources sources;
};

/* Subscribes; before the first job.  EXIT_DONE, or what to end with. */
int	follow_begin(struct follow *follow, struct ctl *ctl);
/* A fetch was started, by the record of its reply (202); borrows.  NULL when the connection broke. */
struct follow_job *follow_add(struct follow *follow, const struct record *started, const char *what, void *arg);
/* Waits until some job ended and answers it (once each); NULL when none is left, or with *ret_result not CONN_OK. */
struct follow_job *follow_next(struct follow *follow, int *ret_result);
/* Takes an ended job from the list and frees it. */
void	follow_drop(struct follow *follow, struct follow_job *job);
/* Ends, and with --verbose tells what each source gave. */
void	follow_end(struct follow *follow);

#endif
