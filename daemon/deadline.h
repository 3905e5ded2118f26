/* SPDX-License-Identifier: MIT
 *
 * deadline.h - ends the process if something takes too long.
 */
#ifndef P2PD_DEADLINE_H
#define P2PD_DEADLINE_H

#include <stdint.h>

struct deadline;

/* Unless deadline_lift() comes within `ms` milliseconds, the process logs `complaint` (borrowed until then) as a warning and
 * exits with 0.  NULL if the system gives no thread: nothing is bounded then.  Any thread. */
struct deadline	*deadline_set(uint32_t ms, const char *complaint);
/* In time.  Takes it; NULL is nothing. */
void		 deadline_lift(struct deadline *deadline);

#endif
