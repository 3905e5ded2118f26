/* SPDX-License-Identifier: MIT
 *
 * store_inner.h - what store.c, store_directory.c and store_place.c share.  For them alone.
 */
#ifndef P2PD_STORE_INNER_H
#define P2PD_STORE_INNER_H

#include <pthread.h>
#include <time.h>

#include "store.h"

struct store {
	int root_fd;
	char *directory;	/* the path that it was opened by */
	pthread_mutex_t mu;	/* guards what follows */
	char barred[ERROR_TEXT_MAX];	/* why nothing may be written; "" if it may */
};

/* A time as futimens() wants it; 0 is now. */
struct timespec	store_timespec(int64_t ns);

#endif
