/* SPDX-License-Identifier: MIT
 *
 * fetch_item.c - one file of a fetch, from wanted to standing under its name.
 *
 * Into the share: look whether it is here already, and whether it can be had -> download (which takes the bytes from another file of the share
 * where one has the same content) -> publish (durable, renamed) -> enter it in the catalog.  The indexer is held off that name
 * from the first to the last step, for the entry is made here.  Only a file that turns out to stand there with the same
 * bytes is left to the indexer: we did not make it, or a crash came between its name and its entry.
 *
 * Into two descriptors of a user: download -> make it durable.  The user's program renames.
 *
 * Each step is one job on the pool or one download; its end starts the next.  A stop lets the step under way end and
 * goes no further.
 */
#include "fetch_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "mem.h"

#define NO_HOLDER_TEXT	"no holder of it can be reached now"

/* A job of an item on the pool. */
struct job {
	struct active *active;
	struct partial *partial;	/* to publish or to leave: owned */
	bool is_dropped;		/* of leaving: the fetch was cancelled */
	int code;
	struct error error;
	bool is_present;		/* it stands there already: there is nothing to do */
	bool is_begun;			/* of looking: some of it is here, or all under another name */
	size_t holder_count;		/* of looking: peers that the catalog names */
	char holders[SWARM_SOURCES_MAX][PEER_ID_SIZE];
	struct file_sig sig;		/* of publishing: what was published */
	struct digest *layer;		/* the same; owned */
};

static struct fetch_item *
item_of(const struct active *active)
{
	return &active->fetch->items[active->index];
}

static struct download_means *
means_of(const struct active *active)
{
	return &active->fetch->fetches->means;
}

static void
submit(struct active *active, struct partial *partial, pool_fn work, loop_fn done)
{
	struct job *job = mem_zero(1, sizeof(*job));
	job->active = active;
	job->partial = partial;
	bool is_unwanted = active->fetch->item_states[active->index] == ITEM_UNWANTED;
	job->is_dropped = (active->fetch->is_cancelled || is_unwanted) && !active->fetch->is_foreign;
	pool_submit(means_of(active)->pool, POOL_SOON, work, done, job);
}

static void
end(struct active *active, int code, const char *text)
{
	holdings_end(active->holding);
	active->holding = NULL;
	if (!active->fetch->is_foreign)
		indexer_release(active->fetch->fetches->indexer, item_of(active)->name);
	fetch_item_ended(active, code, text);
}

static int
stopped_code(const struct active *active)
{
	return active->is_put_off ? P2P_NO_HOLDER : P2P_CANCELLED;
}

static void
end_job(struct job *job)
{
	struct active *active = job->active;
	if (active->is_stopping)
		end(active, stopped_code(active), NO_HOLDER_TEXT);
	else
		end(active, job->code, job->error.text);
	free(job->layer);
	free(job);
}

/* --- into the catalog --- */

static void
entered(void *arg, int code)
{
	struct job *job = arg;
	job->code = code;
	if (code != P2P_OK)
		error_set(&job->error, code, "\"%s\" is here, but the catalog could not be written",
		    item_of(job->active)->name);
	end_job(job);
}

static void
enter(struct job *job)
{
	const struct active *active = job->active;
	const struct fetch_item *item = item_of(active);
	struct catalog_local file = {
		.content = item->content,
		.sig = job->sig,
		.mtime_ns = job->sig.mtime_ns,
		.mode = item->mode,
	};
	struct catalog_batch *batch = catalog_batch_new();
	uint64_t layer_count = merkle_piece_count(item->content.size_bytes,
	    merkle_piece_bytes(item->content.size_bytes));
	catalog_batch_put(batch, item->name, &file, job->layer, layer_count);
	catalog_batch_fetch_item_done(batch, active->fetch->id, item->name);
	job->layer = NULL;
	catalog_submit(means_of(active)->catalog, batch, entered, job);
}

/* --- publishing what was downloaded --- */

static void
work_finish(void *arg)
{
	struct job *job = arg;
	const struct fetch_item *item = item_of(job->active);
	job->code = partial_finish(job->partial, item->mode, item->mtime_ns, &job->error);
	partial_close(job->partial);
}

static void
done_finish(void *arg)
{
	end_job(arg);
}

static void
work_publish(void *arg)
{
	struct job *job = arg;
	const struct fetch_item *item = item_of(job->active);
	bool replace = job->active->fetch->replace;
	job->code = partial_publish(job->partial, item->name, item->mode, item->mtime_ns,
	    replace ? FILE_REPLACE : FILE_KEEP_EXISTING, &job->sig, &job->error);
	job->is_present = job->code == P2P_EXISTS &&
	    store_match(means_of(job->active)->store, item->name, &item->content,
		&job->active->is_stopping, NULL) == P2P_OK;
	if (job->is_present)
		job->code = P2P_OK;
	/* The bytes are kept for as long as they may still get their name. */
	if (job->is_present || (job->code != P2P_OK && !fetch_is_transient(job->code))) {
		partial_discard(job->partial);
		return;
	}
	job->layer = partial_layer(job->partial);
	partial_close(job->partial);
}

static void
done_publish(void *arg)
{
	struct job *job = arg;
	if (job->code == P2P_OK && !job->is_present)
		enter(job);
	else
		end_job(job);
}

/* Stopped before the end: what is verified is kept for another time, or dropped with a fetch that was cancelled. */
static void
work_leave(void *arg)
{
	struct job *job = arg;
	if (job->is_dropped) {
		partial_discard(job->partial);
		return;
	}
	partial_close(job->partial);
}

static void
done_leave(void *arg)
{
	end_job(arg);
}

/* Cancelled before it was opened, or while it could not be: what an earlier time left of it goes too. */
static void
work_drop(void *arg)
{
	struct job *job = arg;
	struct store *store = means_of(job->active)->store;
	const struct content_id *content = &item_of(job->active)->content;
	if (partial_is_begun(store, content))
		partial_discard(partial_open_share(store, content, NULL));
}

/* --- downloading --- */

static struct partial *
open_foreign(const struct fetch *fetch, const struct content_id *content, struct error *err)
{
	int data_fd = fcntl(fetch->data_fd, F_DUPFD_CLOEXEC, 3);
	int have_fd = fcntl(fetch->have_fd, F_DUPFD_CLOEXEC, 3);
	if (data_fd >= 0 && have_fd >= 0)
		return partial_open_foreign(data_fd, have_fd, content, err);
	error_errno(err, "cannot duplicate the descriptors of the target");
	if (data_fd >= 0)
		close(data_fd);
	if (have_fd >= 0)
		close(have_fd);
	return NULL;
}

/* On the pool. */
static struct partial *
open_partial(void *arg, struct error *err)
{
	struct active *active = arg;
	const struct content_id *content = &item_of(active)->content;
	if (active->fetch->is_foreign)
		return open_foreign(active->fetch, content, err);
	return partial_open_share(means_of(active)->store, content, err);
}

/* Feeds missing pieces from a file of ours; they are verified like any others. */
static void
feed_pieces(struct active *active, struct partial *partial, const struct store_reader *reader)
{
	unsigned char *block = mem_alloc(STORE_BLOCK);
	uint64_t count = partial_piece_count(partial), size_bytes = reader->content.size_bytes;
	uint64_t offset = 0;
	int code = P2P_OK;
	for (uint64_t piece = 0; piece < count && code == P2P_OK; piece++) {
		uint64_t end = offset + merkle_piece_length(size_bytes, partial_piece_bytes(partial), piece);
		struct partial_sink *sink =
		    partial_has(partial, piece) ? NULL : partial_sink_new(partial, piece, 1);
		while (sink != NULL && offset < end && code == P2P_OK) {
			size_t len = end - offset < STORE_BLOCK ? end - offset : STORE_BLOCK;
			code = active->is_stopping ? P2P_CANCELLED
						   : file_pread(reader->fd, block, len, offset, NULL);
			if (code == P2P_OK)
				code = partial_sink_feed(sink, block, len, NULL);
			offset += len;
		}
		offset = end;
		uint64_t verified, wasted_bytes;
		if (sink != NULL)
			partial_sink_end(sink, &verified, &wasted_bytes);
	}
	free(block);
}

/* The same content stands in the share, maybe under another name: it costs no network.  Whatever goes wrong here, the
 * holders are asked instead. */
static void
fill_partial(void *arg, struct partial *partial)
{
	struct active *active = arg;
	struct download_means *means = means_of(active);
	char name[NAME_SIZE];
	struct catalog_local local;
	struct store_reader *reader;
	struct digest *layer;
	size_t layer_count;
	if (partial_is_complete(partial) ||
	    catalog_find_content(means->catalog, partial_content(partial), name, &local) ||
	    store_open(means->store, name, &local.content, &local.sig, &reader, NULL))
		return;
	if (!partial_has_layer(partial) &&
	    catalog_layer(means->catalog, partial_content(partial), &layer, &layer_count) ==
		P2P_OK) {
		(void)partial_set_layer(partial, layer, layer_count, NULL);
		free(layer);
	}
	if (partial_has_layer(partial))
		feed_pieces(active, partial, reader);
	store_reader_unref(reader);
}

static void
on_moved(void *arg)
{
	struct active *active = arg;
	struct partial *partial = download_partial(active->download);
	active->have_bytes = partial != NULL ? partial_have_bytes(partial) : 0;
	fetch_item_moved(active->fetch);
}

static void
on_waiting(void *arg, int code, const char *text)
{
	fetch_item_waiting(arg, code, text);
}

/* What comes next counts for more. */
static void
note_carried(struct active *active)
{
	double *carried = active->fetch->carried;
	for (enum wire wire = WIRE_REST; wire < WIRE_COUNT; wire++)
		carried[wire] *= DOWNLOAD_CARRIED_FADING;
	download_carried(active->download, carried);
}

static void
on_ended(void *arg, int code)
{
	struct active *active = arg;
	note_carried(active);
	fetch_keep_holders(active->fetch, active->download);
	struct partial *partial = download_free(active->download, &active->holding);
	active->download = NULL;
	if (code != P2P_OK) {
		holdings_end(active->holding);
		active->holding = NULL;
	}
	if (code == P2P_OK && !active->is_stopping && active->fetch->is_foreign)
		submit(active, partial, work_finish, done_finish);
	else if (code == P2P_OK && !active->is_stopping)
		submit(active, partial, work_publish, done_publish);
	else if (partial != NULL)
		submit(active, partial, work_leave, done_leave);
	else if (active->fetch->is_cancelled && !active->fetch->is_foreign)
		submit(active, NULL, work_drop, done_leave);
	else
		end(active, stopped_code(active), NO_HOLDER_TEXT);
}

static void
start_download(struct active *active)
{
	static const struct download_target share = { open_partial, fill_partial, true };
	static const struct download_target foreign = { open_partial, fill_partial, false };
	static const struct download_events events = { on_moved, on_waiting, on_ended };
	struct download_means *means = means_of(active);
	uint64_t reserve_bytes =
	    active->fetch->is_foreign ? UINT64_MAX : means->config->share_reserve_bytes;
	active->download = download_new(means, &item_of(active)->content, reserve_bytes,
	    active->fetch->is_foreign ? &foreign : &share, &events, active);
	download_set_weight(active->download, fetch_weight(active->fetch));
}

/* --- is it here already? can it be had? --- */

/* What stands under the name.  The disk decides, for the catalog follows it at a distance; but where both agree the
 * catalog spares reading the file. */
int
fetch_look_at_name(const struct download_means *means, struct catalog_view *view,
    const struct fetch_item *item, bool replace, const atomic_bool *is_stopping,
    bool *ret_is_present, struct error *err)
{
	struct catalog_local local;
	struct store_reader *reader;
	int found = view != NULL ? catalog_view_find_local(view, item->name, &local)
				 : catalog_find_local(means->catalog, item->name, &local);
	int code;
	if (found == P2P_OK &&
	    store_open(means->store, item->name, &local.content, &local.sig, &reader, NULL) ==
		P2P_OK) {
		code = content_equal(&local.content, &item->content) ? P2P_OK : P2P_EXISTS;
		store_reader_unref(reader);
	} else {
		code = store_match(means->store, item->name, &item->content, is_stopping, NULL);
	}
	*ret_is_present = code == P2P_OK;
	if (code == P2P_EXISTS && !replace)
		return error_set(err, P2P_EXISTS, "another content stands under \"%s\" here",
		    item->name);
	if (code == P2P_IO || code == P2P_NO_SPACE)
		return error_set(err, code, "what stands under \"%s\" cannot be read", item->name);
	return P2P_OK;
}

static void
collect_holder(void *arg, const char *peer)
{
	struct job *job = arg;
	if (job->holder_count < SWARM_SOURCES_MAX)
		memcpy(job->holders[job->holder_count++], peer, PEER_ID_SIZE);
}

/* A kill between the rename and the entry in the catalog leaves what nobody needs any more.  One that somebody
 * else has open is that one's. */
static void
drop_partial(struct store *store, const struct content_id *content)
{
	struct partial *left = partial_open_share(store, content, NULL);
	if (left != NULL)
		partial_discard(left);
}

static void
work_look(void *arg)
{
	struct job *job = arg;
	const struct download_means *means = means_of(job->active);
	const struct content_id *content = &item_of(job->active)->content;
	char name[NAME_SIZE];
	struct catalog_local local;
	if (!merkle_content_valid(content))
		job->code = error_set(&job->error, P2P_BAD_CONTENT,
		    "\"%s\": no file can have this content id", item_of(job->active)->name);
	else
		job->code = fetch_look_at_name(means, NULL, item_of(job->active),
		    job->active->fetch->replace, &job->active->is_stopping, &job->is_present,
		    &job->error);
	if (job->is_present)
		drop_partial(means->store, content);
	if (job->is_present || job->code != P2P_OK)
		return;
	struct fetch_notes notes = { .fetch = job->active->fetch };
	fetch_note_directories(&notes, item_of(job->active)->name);
	fetch_notes_end(&notes);
	/* A catalog that cannot be read names nobody; then it is tried again later. */
	(void)catalog_holders(means->catalog, content, collect_holder, job);
	job->is_begun = content->size_bytes == 0 || partial_is_begun(means->store, content) ||
	    catalog_find_content(means->catalog, content, name, &local) == P2P_OK;
}

/* Others of its fetch may be had meanwhile; the last ones wait for their holders. */
static bool
is_to_be_put_off(const struct job *job)
{
	const struct active *active = job->active;
	struct peer_info peer;
	if (job->is_begun || active->fetch->queued_count == 0)
		return false;
	for (size_t i = 0; i < job->holder_count; i++)
		if (peers_find(means_of(active)->peers, job->holders[i], &peer) &&
		    peer.state != PEER_AWAY && download_wires(means_of(active), &peer) != 0)
			return false;
	return true;
}

static void
done_look(void *arg)
{
	struct job *job = arg;
	struct active *active = job->active;
	if (job->code == P2P_OK && !job->is_present && is_to_be_put_off(job))
		job->code = error_set(&job->error, P2P_NO_HOLDER, NO_HOLDER_TEXT);
	if (job->is_present || job->code != P2P_OK || active->is_stopping) {
		end_job(job);
		return;
	}
	start_download(active);
	free(job);
}

void
fetch_item_start(struct fetch *fetch, size_t index)
{
	struct active *active = fetch_active_new(fetch, index);
	if (fetch->is_foreign) {
		start_download(active);
		return;
	}
	indexer_hold(fetch->fetches->indexer, item_of(active)->name);
	submit(active, NULL, work_look, done_look);
}

void
fetch_item_stop(struct active *active)
{
	active->is_stopping = true;
	if (active->batch != NULL)
		fetch_batch_stop(active);
	if (active->download != NULL)
		download_stop(active->download);
}
