/* SPDX-License-Identifier: MIT
 *
 * watch.c - inotify on the directories of the share.
 *
 * A scan adds each directory just before it reads it, so that nothing falls between the two: what
 * came before the watch is in the listing, what came after is an event.  A directory is named to
 * the kernel by /proc/self/fd/N of the descriptor that the scan holds, never by its path; whoever
 * swaps the path meanwhile gains nothing.
 *
 * The kernel knows watches by number; the table here gives each number the prefix of its names.
 * Numbers belong to inodes: a directory that moves inside of the share keeps its number, and its
 * events come under the old prefix until the scan of its new place has added it again.  Such events
 * do no harm: the name that they build is looked at, and is found gone.
 *
 * The table is shared by the scanning worker and the mind, under a mutex that is held for a
 * look-up, or for one system call that touches no disk.  Nothing waits under it.
 */
#include "watch.h"

#include <errno.h>
#include <pthread.h>
#include <search.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "mem.h"

#define EVENTS_BYTES (64u << 10) /* of one read(2) */

/* IN_DONT_FOLLOW would stop at the link in /proc; the descriptor behind it is a directory already.
 */
#define WATCH_MASK                                                                          \
	(IN_CLOSE_WRITE | IN_MOVED_FROM | IN_MOVED_TO | IN_CREATE | IN_DELETE | IN_MODIFY | \
	 IN_ATTRIB | IN_ONLYDIR | IN_EXCL_UNLINK)

struct node {
	int wd;
	char *prefix;
};

struct watch {
	int fd;
	pthread_mutex_t mutex;
	void *nodes; /* tsearch tree by wd; under mutex */
};

/* What watch_drop() gathers while it walks the tree. */
struct drop {
	const char *prefix;
	size_t count;
	struct node **nodes;
};

static int
compare_nodes(const void *a, const void *b)
{
	const struct node *left = a, *right = b;

	return (left->wd > right->wd) - (left->wd < right->wd);
}

static void
free_node(void *arg)
{
	struct node *node = arg;

	free(node->prefix);
	free(node);
}

struct watch *
watch_new(struct error *err)
{
	int fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
	if (fd < 0) {
		error_errno(err, "the share cannot be watched (fs.inotify.max_user_instances "
				 "may be too small)");
		return NULL;
	}

	struct watch *watch = mem_zero(1, sizeof(*watch));
	watch->fd = fd;
	pthread_mutex_init(&watch->mutex, NULL);
	return watch;
}

void
watch_free(struct watch *watch)
{
	if (watch == NULL)
		return;
	tdestroy(watch->nodes, free_node);
	pthread_mutex_destroy(&watch->mutex);
	close(watch->fd);
	free(watch);
}

int
watch_fd(const struct watch *watch)
{
	return watch->fd;
}

/* Holds mutex. */
static void
name_node(struct watch *watch, int wd, const char *prefix)
{
	struct node key = { .wd = wd };
	struct node **slot = tsearch(&key, &watch->nodes, compare_nodes);

	if (slot == NULL)
		abort();
	if (*slot == &key) {
		*slot = mem_zero(1, sizeof(**slot));
		(*slot)->wd = wd;
	} else if (strcmp((*slot)->prefix, prefix) == 0) {
		return;
	}
	free((*slot)->prefix);
	(*slot)->prefix = mem_string(prefix);
}

int
watch_add(struct watch *watch, int dir_fd, const char *prefix)
{
	char path[64];
	snprintf(path, sizeof(path), "/proc/self/fd/%d", dir_fd);

	pthread_mutex_lock(&watch->mutex);
	int wd = inotify_add_watch(watch->fd, path, WATCH_MASK);
	int error = errno;
	if (wd >= 0)
		name_node(watch, wd, prefix);
	pthread_mutex_unlock(&watch->mutex);

	if (wd >= 0)
		return P2P_OK;
	return error == ENOSPC ? P2P_TOO_MANY : P2P_IO;
}

static void
gather_node(const void *slot, VISIT visit, void *arg)
{
	struct node *node = *(struct node *const *)slot;
	struct drop *drop = arg;

	if (visit != postorder && visit != leaf)
		return;
	if (strncmp(node->prefix, drop->prefix, strlen(drop->prefix)) != 0)
		return;
	if ((drop->count & (drop->count - 1)) == 0)
		drop->nodes =
		    mem_grow(drop->nodes, drop->count ? 2 * drop->count : 1, sizeof(struct node *));
	drop->nodes[drop->count++] = node;
}

/* Holds mutex. */
static void
forget_node(struct watch *watch, struct node *node)
{
	tdelete(node, &watch->nodes, compare_nodes);
	free_node(node);
}

void
watch_drop(struct watch *watch, const char *prefix)
{
	struct drop drop = { .prefix = prefix };

	pthread_mutex_lock(&watch->mutex);
	twalk_r(watch->nodes, gather_node, &drop);
	for (size_t i = 0; i < drop.count; i++) {
		inotify_rm_watch(watch->fd, drop.nodes[i]->wd);
		forget_node(watch, drop.nodes[i]);
	}
	pthread_mutex_unlock(&watch->mutex);
	free(drop.nodes);
}

/* Gives the prefix of a watch, NULL if it was dropped; forgets the watch if it is over. */
static char *
prefix_of(struct watch *watch, int wd, bool is_over)
{
	struct node key = { .wd = wd };
	char *prefix = NULL;

	pthread_mutex_lock(&watch->mutex);
	struct node **slot = tfind(&key, &watch->nodes, compare_nodes);
	if (slot != NULL) {
		prefix = mem_string((*slot)->prefix);
		if (is_over)
			forget_node(watch, *slot);
	}
	pthread_mutex_unlock(&watch->mutex);
	return prefix;
}

static void
tell_event(struct watch *watch, const struct inotify_event *event, watch_fn fn, void *arg)
{
	if (event->mask & IN_Q_OVERFLOW) {
		fn(arg, NULL, "", event->mask);
		return;
	}
	char *prefix = prefix_of(watch, event->wd, event->mask & IN_IGNORED);
	if (prefix != NULL)
		fn(arg, prefix, event->len > 0 ? event->name : "", event->mask);
	free(prefix);
}

void
watch_read(struct watch *watch, watch_fn fn, void *arg)
{
	char *events = mem_alloc(EVENTS_BYTES);

	for (size_t total = 0; total < WATCH_READ_MAX;) {
		ssize_t len = read(watch->fd, events, EVENTS_BYTES);
		if (len <= 0)
			break;
		for (const char *at = events; at < events + len;) {
			const struct inotify_event *event = (const void *)at;
			tell_event(watch, event, fn, arg);
			at += sizeof(*event) + event->len;
		}
		total += (size_t)len;
	}
	free(events);
}
