/* SPDX-License-Identifier: MIT
 *
 * service_put.c - changing the share: new files and removed ones.
 *
 * Who may: the owner everything; a network face what [share] remote says (read; upload: add new files; all).
 *
 * An upload is judged at its beginning (name, rights, conditions, room), streams into the store, and gets its name, and its
 * entry in the catalog, at its end; until then nothing of it is to be seen.  Conditions are about what the catalog says, and
 * are judged at the beginning, so that nobody sends much in vain, and again at the end.  From then until the catalog
 * knows the new file nobody else here may give or take that name: so of two who want to replace the same old file, one
 * learns that it is gone.  What the disk says meanwhile is judged by the rename itself.  The indexer is held off the name in between, but not while an
 * upload that broke off waits to go on (service_park.c): nobody knows whether it will.
 */
#include "service_internal.h"

#include <stdlib.h>
#include <string.h>

#include "mem.h"

#define DEFAULT_MODE	0644

int
service_allow(struct service *service, enum service_origin origin, bool changes, const char *what,
    struct error *err)
{
	if (origin == SERVICE_OWNER)
		return P2P_OK;
	struct config *config = service_config(service);
	enum config_remote remote = config->share_remote;
	config_unref(config);
	if (remote == REMOTE_ALL || (remote == REMOTE_UPLOAD && !changes))
		return P2P_OK;
	return error_set(err, P2P_FORBIDDEN, "%s over the network wants [share] remote = %s here",
	    what, changes ? "all" : "upload or all");
}

/* --- the indexer keeps off --- */

struct hold_ask {
	struct service *service;
	const char *name;
};

static int
ask_hold(void *arg)
{
	const struct hold_ask *ask = arg;
	indexer_hold(ask->service->parts.indexer, ask->name);
	return P2P_OK;
}

static int
hold(struct service *service, const char *name, struct error *err)
{
	struct hold_ask ask = { service, name };
	return service_ask(service, ask_hold, &ask, err);
}

static void
release_on_mind(void *arg)
{
	struct hold_ask *ask = arg;
	indexer_release(ask->service->parts.indexer, ask->name);
	free((char *)ask->name);
	free(ask);
}

/* A post, not a call: it must happen even while the daemon is stopping. */
static void
release(struct service *service, const char *name)
{
	struct hold_ask *ask = mem_alloc(sizeof(*ask));
	*ask = (struct hold_ask){ service, mem_string(name) };
	loop_post(service->parts.loop, release_on_mind, ask);
}

void
service_put_release(struct service_upload *upload)
{
	if (upload->is_held)
		release(upload->service, upload->name);
	upload->is_held = false;
}

/* --- one at a time for each name --- */

void
service_turns_init(struct name_turns *turns)
{
	pthread_mutex_init(&turns->mutex, NULL);
	pthread_cond_init(&turns->left, NULL);
}

void
service_turns_fini(struct name_turns *turns)
{
	pthread_cond_destroy(&turns->left);
	pthread_mutex_destroy(&turns->mutex);
}

/* Holds the mutex. */
static bool
is_taken(const struct name_turns *turns, const char *name)
{
	const struct name_turn *turn = turns->first;
	while (turn != NULL && strcmp(turn->name, name) != 0)
		turn = turn->next;
	return turn != NULL;
}

/* Waits for those who are at it, for as long as their disk takes.  Never the mind. */
static void
take_turn(struct name_turns *turns, struct name_turn *turn, const char *name)
{
	turn->name = name;
	pthread_mutex_lock(&turns->mutex);
	while (is_taken(turns, name))
		pthread_cond_wait(&turns->left, &turns->mutex);
	turn->next = turns->first;
	turns->first = turn;
	pthread_mutex_unlock(&turns->mutex);
}

static void
leave_turn(struct name_turns *turns, struct name_turn *turn)
{
	pthread_mutex_lock(&turns->mutex);
	struct name_turn **link = &turns->first;
	while (*link != turn)
		link = &(*link)->next;
	*link = turn->next;
	pthread_cond_broadcast(&turns->left);
	pthread_mutex_unlock(&turns->mutex);
}

/* --- uploads --- */

/* What stands under the name now, as far as the catalog knows.  False: nothing. */
static bool
find_existing(struct service *service, const char *name, struct catalog_local *ret)
{
	return catalog_find_local(service->parts.catalog, name, ret) == P2P_OK;
}

static int
check_match(const char *name, const struct catalog_local *existing, const struct digest *if_match,
    struct error *err)
{
	if (if_match == NULL)
		return P2P_OK;
	if (existing == NULL)
		return error_set(err, P2P_PRECONDITION, "there is no file \"%s\" to match", name);
	if (!digest_equal(&existing->content.root, if_match))
		return error_set(err, P2P_PRECONDITION, "\"%s\" has another content now", name);
	return P2P_OK;
}

static int
refuse_existing(const char *name, struct error *err)
{
	return error_set(err, P2P_PRECONDITION, "there is a file \"%s\" already", name);
}

/* May a put of this name be?  `existing` is NULL if there is no such file. */
static int
check_conditions(const char *name, const struct catalog_local *existing, bool if_absent,
    const struct digest *if_match, struct error *err)
{
	if (if_absent && existing != NULL)
		return refuse_existing(name, err);
	return check_match(name, existing, if_match, err);
}

static int
judge_put(struct service *service, const struct service_put *put, struct error *err)
{
	int code = name_check(put->name, strlen(put->name), err);
	if (code == P2P_OK)
		code = service_allow(service, put->origin, false, "adding files", err);
	if (code == P2P_OK && (put->replace || put->if_match != NULL))
		code = service_allow(service, put->origin, true, "replacing files", err);
	if (code != P2P_OK)
		return code;
	if (put->expect != NULL && put->expect_bytes != UINT64_MAX &&
	    put->expect_bytes != put->expect->size_bytes)
		return error_set(err, P2P_BAD_REQUEST,
		    "the announced size is not that of the expected content");
	struct catalog_local existing;
	bool exists = find_existing(service, put->name, &existing);
	return check_conditions(put->name, exists ? &existing : NULL, put->if_absent, put->if_match,
	    err);
}

/* What `put` says, and nothing on the disk yet. */
static struct service_upload *
upload_new(struct service *service, const struct service_put *put)
{
	struct service_upload *upload = mem_zero(1, sizeof(*upload));
	upload->service = service;
	memcpy(upload->name, put->name, strlen(put->name) + 1);
	if (put->upload_id != NULL)
		memcpy(upload->id, put->upload_id, strlen(put->upload_id) + 1);
	upload->is_replacing = put->replace || put->if_match != NULL;
	upload->if_absent = put->if_absent;
	upload->has_match = put->if_match != NULL;
	if (put->if_match != NULL)
		upload->match = *put->if_match;
	upload->mode = put->mode != 0 ? put->mode & 0777 : DEFAULT_MODE;
	upload->mtime_ns = put->mtime_ns;
	upload->expect_bytes = put->expect_bytes;
	/* Whoever knows the content knows its size: too many bytes are then refused as they come. */
	if (put->expect != NULL && put->expect_bytes == UINT64_MAX)
		upload->expect_bytes = put->expect->size_bytes;
	return upload;
}

/* Makes the file that the bytes go to, unless they go on in one. */
static int
open_upload(struct service_upload *upload, enum service_origin origin, struct error *err)
{
	if (upload->upload != NULL)
		return P2P_OK;
	struct service *service = upload->service;
	struct config *config = service_config(service);
	uint64_t max_bytes =
	    origin == SERVICE_OWNER ? MERKLE_CONTENT_MAX : config->rest_upload_max;
	struct error error = { 0 };
	upload->upload = store_upload_new(service->parts.store, upload->expect_bytes, max_bytes,
	    config->share_reserve_bytes, &error);
	config_unref(config);
	if (upload->upload != NULL)
		return P2P_OK;
	if (err != NULL)
		*err = error;
	return error.code;
}

static int
judge_id(const struct service_put *put, struct error *err)
{
	if (put->upload_id != NULL)
		return service_upload_id_check(put->upload_id, err);
	if (put->offset != 0)
		return error_set(err, P2P_BAD_REQUEST,
		    "an upload that goes on at an offset has an upload id");
	return P2P_OK;
}

int
service_put_begin(struct service *service, const struct service_put *put,
    struct service_upload **ret, struct error *err)
{
	int code = judge_put(service, put, err);
	if (code == P2P_OK)
		code = judge_id(put, err);
	if (code != P2P_OK)
		return code;
	struct service_upload *upload = upload_new(service, put);
	if (put->upload_id != NULL)
		code = service_lot_enter(upload, put->offset, err);
	if (code == P2P_OK)
		code = open_upload(upload, put->origin, err);
	if (code == P2P_OK)
		code = hold(service, put->name, err);
	if (code != P2P_OK) {
		service_put_free(upload);
		return code;
	}
	upload->is_held = true;
	store_upload_expect(upload->upload, put->expect);
	*ret = upload;
	return P2P_OK;
}

/* After bytes came, or did not. */
static int
settle(struct service_upload *upload, int code)
{
	upload->is_over = code != P2P_OK;
	atomic_store(&upload->bytes, store_upload_bytes(upload->upload));
	return code;
}

int
service_put_feed(struct service_upload *upload, const void *data, size_t len, struct error *err)
{
	return settle(upload, store_upload_feed(upload->upload, data, len, err));
}

int
service_put_feed_fd(struct service_upload *upload, int fd, const atomic_bool *is_abandoned,
		    struct error *err)
{
	return settle(upload, store_upload_feed_fd(upload->upload, fd, is_abandoned, err));
}

static int
enter(struct service_upload *upload, struct store_written *written, struct error *err)
{
	struct catalog_local file = {
		.content = written->content,
		.sig = written->sig,
		.mtime_ns = written->sig.mtime_ns,
		.mode = upload->mode,
	};
	struct catalog_batch *batch = catalog_batch_new();
	catalog_batch_put(batch, upload->name, &file, written->layer, written->layer_count);
	int code = catalog_submit_wait(upload->service->parts.catalog, batch);
	if (code != P2P_OK)
		error_set(err, code,
		    "\"%s\" is stored, but the catalog cannot be written now; it will be shared later",
		    upload->name);
	return code;
}

bool
service_put_is_sized(const struct service_upload *upload)
{
	return upload->expect_bytes != UINT64_MAX;
}

/* Has the name's turn. */
static int
commit(struct service_upload *upload, struct service_stored *ret, struct error *err)
{
	struct catalog_local existing;
	bool exists = find_existing(upload->service, upload->name, &existing);
	int code = check_conditions(upload->name, exists ? &existing : NULL, upload->if_absent,
	    upload->has_match ? &upload->match : NULL, err);
	if (code != P2P_OK)
		return code;
	struct store_written written = { 0 };
	code = store_upload_commit(upload->upload, upload->name, upload->mode, upload->mtime_ns,
	    upload->is_replacing ? FILE_REPLACE : FILE_KEEP_EXISTING, &written, err);
	/* The catalog does not know it yet. */
	if (code == P2P_EXISTS && upload->if_absent)
		return refuse_existing(upload->name, err);
	if (code == P2P_OK)
		code = enter(upload, &written, err);
	if (code == P2P_OK)
		*ret = (struct service_stored){ written.content, !exists };
	return code;
}

int
service_put_end(struct service_upload *upload, struct service_stored *ret, struct error *err)
{
	uint64_t bytes = atomic_load(&upload->bytes);
	if (service_put_is_sized(upload) && bytes < upload->expect_bytes)
		return error_set(err, P2P_BAD_CONTENT, "%llu bytes came of the %llu announced",
		    (unsigned long long)bytes, (unsigned long long)upload->expect_bytes);
	upload->is_over = true;
	struct name_turns *turns = &upload->service->turns;
	struct name_turn turn;
	take_turn(turns, &turn, upload->name);
	int code = commit(upload, ret, err);
	leave_turn(turns, &turn);
	return code;
}

void
service_put_free(struct service_upload *upload)
{
	if (upload == NULL)
		return;
	service_lot_leave(upload);
	store_upload_free(upload->upload);
	service_put_release(upload);
	free(upload);
}

/* --- removing --- */

static int
remove_held(struct service *service, const char *name, const struct file_sig *sig,
    struct error *err)
{
	int code = store_remove(service->parts.store, name, sig, err);
	if (code != P2P_OK && code != P2P_NOT_FOUND)
		return code;
	struct catalog_batch *batch = catalog_batch_new();
	catalog_batch_remove(batch, name);
	code = catalog_submit_wait(service->parts.catalog, batch);
	if (code != P2P_OK)
		error_set(err, code, "\"%s\" is removed, but the catalog cannot be written now",
		    name);
	return code;
}

/* Has the name's turn. */
static int
remove_in_turn(struct service *service, const char *name, const struct digest *if_match,
    struct error *err)
{
	struct catalog_local existing;
	if (!find_existing(service, name, &existing))
		return error_set(err, P2P_NOT_FOUND, "this peer shares no file \"%s\"", name);
	int code = check_match(name, &existing, if_match, err);
	if (code == P2P_OK)
		code = hold(service, name, err);
	if (code != P2P_OK)
		return code;
	code = remove_held(service, name, &existing.sig, err);
	release(service, name);
	return code;
}

int
service_remove(struct service *service, enum service_origin origin, const char *name,
    const struct digest *if_match, struct error *err)
{
	int code = service_allow(service, origin, true, "removing files", err);
	if (code == P2P_OK)
		code = name_check(name, strlen(name), err);
	if (code != P2P_OK)
		return code;
	struct name_turn turn;
	take_turn(&service->turns, &turn, name);
	code = remove_in_turn(service, name, if_match, err);
	leave_turn(&service->turns, &turn);
	return code;
}
