/* SPDX-License-Identifier: MIT
 *
 * daemon_kit.h - a real daemon in a thread of the test, with a directory of its own.
 */
#ifndef P2PD_DAEMON_KIT_H
#define P2PD_DAEMON_KIT_H

#include <pthread.h>

#include "config.h"
#include "daemon.h"
#include "service.h"

#define KIT_WAIT_MS 10000 /* for whatever must come */

struct daemon_kit {
	char root[128]; /* with state/, share/ and sock */
	struct config *config;
	struct daemon *daemon;
	pthread_t mind;
	pthread_barrier_t made;
};

/* Starts one on free loopback ports; waits until its share is read.  `lines` are further lines of the
 * configuration and begin in [share]. */
void daemon_kit_start(struct daemon_kit *kit, const char *lines);
/* The same in the directory that daemon_kit_halt() left. */
void daemon_kit_again(struct daemon_kit *kit, const char *lines);
void daemon_kit_halt(struct daemon_kit *kit);
/* Halts it and removes the directory. */
void daemon_kit_stop(struct daemon_kit *kit);

struct service *daemon_kit_service(struct daemon_kit *kit);

/* A file of the share, written in place; `name` without directories. */
void daemon_kit_write(struct daemon_kit *kit, const char *name, const void *data, size_t len);
/* Waits until the catalog has `name` with this size. */
void daemon_kit_wait_file(struct daemon_kit *kit, const char *name, uint64_t size_bytes);
/* Files of uploads that are under way or were left. */
size_t daemon_kit_temporaries(struct daemon_kit *kit);
/* Waits until there are so many. */
void daemon_kit_wait_temporaries(struct daemon_kit *kit, size_t count);
/* What open descriptors of this process have in their link; "" counts all. */
size_t daemon_kit_descriptors(const char *path);

/* Bytes that differ from those of another seed; free(). */
unsigned char *daemon_kit_bytes(size_t len, unsigned seed);
/* Their content id. */
void daemon_kit_content(const void *data, size_t len, struct content_id *ret);
/* Gives others the processor for a moment; fails the test after `end_ms`, by clock_ms(). */
void daemon_kit_breathe(uint64_t end_ms, const char *what);

#endif
