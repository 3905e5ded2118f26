/* SPDX-License-Identifier: MIT
 *
 * service_park.c - uploads that broke off and may go on.
 *
 * An upload whose sender gave it an id is in the parking lot from its beginning, so that nobody sends the same one
 * (name, id) twice at once.  If its sender goes away it stays there, with its temporary file and its hash state, and the
 * next upload of that name and id that goes on at the very byte takes both over.  So a resumed upload hashes and
 * writes every byte once, and what it becomes is checked by the same code as any other.
 *
 * What is parked is bounded in number and time, and by nothing on the disk: a restart sweeps the temporary files as
 * it does after a crash.  A parked upload reserves nothing; the indexer may have its name.
 *
 * The list is under a mutex that nobody holds for longer than a walk over it, for it is entered by the
 * hands; the mind only has the timer.  Files are removed on the pool, or where a caller may wait for the disk anyway.
 */
#include "service_internal.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "clock.h"
#include "mem.h"

/* --- the list --- */

/* Holds the mutex. */
static struct service_upload *
find(const struct parking_lot *lot, const char *name, const char *id)
{
	for (struct service_upload *upload = lot->first; upload != NULL; upload = upload->next)
		if (strcmp(upload->id, id) == 0 && strcmp(upload->name, name) == 0)
			return upload;
	return NULL;
}

/* Holds the mutex. */
static struct service_upload *
find_oldest_parked(const struct parking_lot *lot)
{
	struct service_upload *upload = lot->first;
	while (upload != NULL && !upload->is_parked)
		upload = upload->next;
	return upload;
}

/* At the end.  Holds the mutex. */
static void
enlist(struct parking_lot *lot, struct service_upload *upload)
{
	struct service_upload **link = &lot->first;
	while (*link != NULL)
		link = &(*link)->next;
	*link = upload;
	upload->next = NULL;
	upload->is_listed = true;
}

/* Holds the mutex. */
static void
delist(struct parking_lot *lot, struct service_upload *upload)
{
	struct service_upload **link = &lot->first;
	while (*link != upload)
		link = &(*link)->next;
	*link = upload->next;
	upload->next = NULL;
	if (upload->is_parked)
		lot->parked--;
	upload->is_listed = upload->is_parked = false;
}

/* --- dropping what is parked --- */

static void
work_free(void *arg)
{
	service_put_free(arg);
}

/* Any thread. */
static void
drop(struct service *service, struct service_upload *upload)
{
	pool_submit(service->parts.pool, POOL_SOON, work_free, NULL, upload);
}

/* Takes the oldest one whose time is over from the list; NULL: there is none, and *ret_wait_ms tells when there will be, or is
 * UINT64_MAX. */
static struct service_upload *
take_expired(struct parking_lot *lot, uint64_t *ret_wait_ms)
{
	uint64_t now_ms = clock_ms();
	pthread_mutex_lock(&lot->mutex);
	struct service_upload *upload = find_oldest_parked(lot);
	*ret_wait_ms = UINT64_MAX;
	if (upload != NULL && upload->until_ms > now_ms) {
		*ret_wait_ms = upload->until_ms - now_ms;
		upload = NULL;
	}
	if (upload != NULL)
		delist(lot, upload);
	pthread_mutex_unlock(&lot->mutex);
	return upload;
}

/* Mind: drops what has waited for too long, and comes again for the next. */
static void
look(void *arg)
{
	struct service *service = arg;
	struct parking_lot *lot = &service->lot;
	if (lot->timer == NULL)
		return;
	struct service_upload *expired;
	uint64_t wait_ms;
	while ((expired = take_expired(lot, &wait_ms)) != NULL)
		drop(service, expired);
	if (wait_ms != UINT64_MAX)
		loop_timer_start(lot->timer, wait_ms);
}

/* --- life --- */

void
service_lot_init(struct service *service)
{
	pthread_mutex_init(&service->lot.mutex, NULL);
	service->lot.park_ms = SERVICE_PARK_MS;
	service->lot.timer = loop_timer_new(service->parts.loop, look, service);
}

void
service_lot_close(struct parking_lot *lot)
{
	pthread_mutex_lock(&lot->mutex);
	lot->is_closed = true;
	pthread_mutex_unlock(&lot->mutex);
	if (lot->timer != NULL)
		loop_timer_free(lot->timer);
	lot->timer = NULL;
}

void
service_lot_fini(struct parking_lot *lot)
{
	while (lot->first != NULL) {
		assert(lot->first->is_parked);
		service_put_free(lot->first);
	}
	pthread_mutex_destroy(&lot->mutex);
}

/* --- coming and going --- */

int
service_upload_id_check(const char *id, struct error *err)
{
	size_t len = 0;
	while (len <= SERVICE_UPLOAD_ID_MAX && id[len] >= ' ' && id[len] <= '~')
		len++;
	if (len == 0 || len > SERVICE_UPLOAD_ID_MAX || id[len] != '\0')
		return error_set(err, P2P_BAD_REQUEST,
				 "an upload id is 1 to %d characters of printable ASCII",
				 SERVICE_UPLOAD_ID_MAX);
	return P2P_OK;
}

/* May `fresh` take the place of `old` (NULL: there is none)?  Holds the mutex. */
static int
judge(const struct service_upload *fresh, const struct service_upload *old, uint64_t offset,
      struct error *err)
{
	if (old != NULL && !old->is_parked)
		return error_set(err, P2P_CONFLICT, "this upload of \"%s\" is being sent already",
				 fresh->name);
	if (offset == 0)
		return P2P_OK;
	if (old == NULL)
		return error_set(err, P2P_NOT_FOUND,
				 "no upload of \"%s\" with this id can go on: begin it anew",
				 fresh->name);
	uint64_t bytes = atomic_load(&old->bytes);
	if (offset != bytes)
		return error_set(err, P2P_BAD_RANGE, "the upload of \"%s\" goes on at byte %llu",
				 fresh->name, (unsigned long long)bytes);
	if (fresh->expect_bytes != UINT64_MAX && fresh->expect_bytes != old->expect_bytes)
		return error_set(err, P2P_BAD_REQUEST,
				 "the upload of \"%s\" was begun with another size", fresh->name);
	return P2P_OK;
}

static void
take_over(struct service_upload *fresh, struct service_upload *old)
{
	fresh->upload = old->upload;
	fresh->expect_bytes = old->expect_bytes;
	atomic_store(&fresh->bytes, atomic_load(&old->bytes));
	old->upload = NULL;
}

int
service_lot_enter(struct service_upload *fresh, uint64_t offset, struct error *err)
{
	struct parking_lot *lot = &fresh->service->lot;
	pthread_mutex_lock(&lot->mutex);
	struct service_upload *old = find(lot, fresh->name, fresh->id);
	int code = judge(fresh, old, offset, err);
	if (code != P2P_OK) {
		pthread_mutex_unlock(&lot->mutex);
		return code;
	}
	if (old != NULL)
		delist(lot, old);
	if (offset != 0)
		take_over(fresh, old);
	enlist(lot, fresh);
	pthread_mutex_unlock(&lot->mutex);
	service_put_free(old);
	return P2P_OK;
}

void
service_lot_leave(struct service_upload *upload)
{
	struct parking_lot *lot = &upload->service->lot;
	pthread_mutex_lock(&lot->mutex);
	if (upload->is_listed)
		delist(lot, upload);
	pthread_mutex_unlock(&lot->mutex);
}

/* Parks it.  Answers what has to go instead: the oldest, itself if nothing can be parked, or NULL. */
static struct service_upload *
park(struct parking_lot *lot, struct service_upload *upload)
{
	struct service_upload *loser = NULL;
	pthread_mutex_lock(&lot->mutex);
	delist(lot, upload);
	if (lot->is_closed) {
		loser = upload;
	} else {
		if (lot->parked == SERVICE_PARKED_MAX) {
			loser = find_oldest_parked(lot);
			delist(lot, loser);
		}
		enlist(lot, upload);
		upload->is_parked = true;
		upload->until_ms = clock_ms() + lot->park_ms;
		lot->parked++;
	}
	pthread_mutex_unlock(&lot->mutex);
	return loser;
}

bool
service_put_can_go_on(const struct service_upload *upload)
{
	return upload != NULL && !upload->is_over && upload->is_listed &&
	       atomic_load(&upload->bytes) != 0;
}

void
service_put_park(struct service_upload *upload)
{
	if (upload == NULL)
		return;
	struct service *service = upload->service;
	if (!service_put_can_go_on(upload)) {
		drop(service, upload);
		return;
	}
	/* Before it can be seen in the lot: from then on it is another's. */
	service_put_release(upload);
	struct service_upload *loser = park(&service->lot, upload);
	if (loser != NULL)
		drop(service, loser);
	if (loser != upload)
		loop_post(service->parts.loop, look, service);
}

int
service_upload_offset(struct service *service, const char *name, const char *upload_id,
		      uint64_t *ret_offset)
{
	struct parking_lot *lot = &service->lot;
	pthread_mutex_lock(&lot->mutex);
	const struct service_upload *upload = find(lot, name, upload_id);
	if (upload != NULL)
		*ret_offset = atomic_load(&upload->bytes);
	pthread_mutex_unlock(&lot->mutex);
	return upload != NULL ? P2P_OK : P2P_NOT_FOUND;
}
