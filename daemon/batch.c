/* SPDX-License-Identifier: MIT
 *
 * batch.c - many small contents by one request: its limits, and the reader of its answer.
 *
 * A file of a few kilobytes costs a request of its own more in the asking than in the bytes.  So
 * many are asked for at once, and come one behind the other.  Whoever asks knows each length from
 * the content id, which is why a head has none: what could be longer or shorter than asked for
 * cannot be said.
 *
 * The reader writes each content to where its asker wants it, and tells of it when it is complete.
 * It believes the status of a head and nothing else; whether the bytes are right is judged by
 * arrived(), and a body that goes on after the last content, or ends before it, is no answer.
 */
#include "batch.h"

#include <assert.h>
#include <string.h>

#define STATUS_OK  200
#define STATUS_MIN 400 /* of contents that are not given */
#define STATUS_MAX 599

bool
batch_fits(const struct content_id *content)
{
	return content->size_bytes <= BATCH_CONTENT_MAX && merkle_content_valid(content);
}

int
batch_check(const struct content_id *contents, size_t count, struct error *err)
{
	uint64_t bytes = 0;

	if (count == 0)
		return error_set(err, P2P_BAD_REQUEST, "no content is asked for");
	if (count > BATCH_COUNT_MAX)
		return error_set(err, P2P_TOO_MANY, "at most %d contents go by one request",
				 BATCH_COUNT_MAX);
	for (size_t i = 0; i < count; i++) {
		if (contents[i].size_bytes > BATCH_CONTENT_MAX)
			return error_set(err, P2P_TOO_LARGE,
					 "a content of %llu bytes: here they have at most %u",
					 (unsigned long long)contents[i].size_bytes,
					 BATCH_CONTENT_MAX);
		if (!merkle_content_valid(&contents[i]))
			return error_set(err, P2P_BAD_REQUEST,
					 "an empty content cannot have this root");
		bytes += contents[i].size_bytes;
	}
	if (bytes > BATCH_BYTES_MAX)
		return error_set(err, P2P_TOO_LARGE, "at most %u bytes go by one request",
				 BATCH_BYTES_MAX);
	return P2P_OK;
}

void
batch_head(int code, unsigned char ret[BATCH_HEAD_BYTES])
{
	unsigned status = code == P2P_OK ? STATUS_OK : (unsigned)code_http(code);

	ret[0] = (unsigned char)(status >> 8);
	ret[1] = (unsigned char)status;
}

uint64_t
batch_bytes(const struct batch *batch)
{
	uint64_t bytes = 0;

	for (size_t i = 0; i < batch->count; i++)
		bytes += batch->contents[i].id.size_bytes;
	return bytes;
}

void
batch_begin(struct batch *batch)
{
	assert(batch->count > 0 && batch->count <= BATCH_COUNT_MAX);
	batch->at = batch->fill = 0;
	batch->is_amid = false;
	for (size_t i = 0; i < batch->count; i++)
		batch->contents[i].code = P2P_INTERNAL;
}

/* The content at hand is over. */
static int
tell(struct batch *batch, int code, struct error *err)
{
	batch->contents[batch->at].code = code;
	batch->is_amid = false;
	batch->fill = 0;
	return batch->arrived(batch->arg, batch->at++, err);
}

static int
take_head(struct batch *batch, struct error *err)
{
	unsigned status = (unsigned)batch->head[0] << 8 | batch->head[1];

	batch->fill = 0;
	batch->is_amid = status == STATUS_OK;
	if (batch->is_amid && batch->contents[batch->at].id.size_bytes > 0)
		return P2P_OK;
	if (batch->is_amid)
		return tell(batch, P2P_OK, err);
	if (status >= STATUS_MIN && status <= STATUS_MAX)
		return tell(batch, P2P_NOT_FOUND, err);
	return error_set(err, P2P_BAD_ANSWER, "content %zu of a batch begins with %u", batch->at,
			 status);
}

/* What is being filled: its beginning and length. */
static unsigned char *
room_of(struct batch *batch, size_t *ret_len)
{
	struct batch_content *content = &batch->contents[batch->at];

	*ret_len = batch->is_amid ? (size_t)content->id.size_bytes : BATCH_HEAD_BYTES;
	return batch->is_amid ? content->data : batch->head;
}

int
batch_feed(struct batch *batch, const void *data, size_t len, struct error *err)
{
	const unsigned char *from = data;
	int code = P2P_OK;

	while (len > 0 && code == P2P_OK) {
		size_t wanted;
		if (batch->at == batch->count)
			return error_set(err, P2P_BAD_ANSWER,
					 "more came than the %zu contents of a batch",
					 batch->count);
		unsigned char *room = room_of(batch, &wanted);
		size_t part = wanted - batch->fill < len ? wanted - batch->fill : len;
		memcpy(room + batch->fill, from, part);
		batch->fill += part;
		from += part;
		len -= part;
		if (batch->fill == wanted)
			code = batch->is_amid ? tell(batch, P2P_OK, err) : take_head(batch, err);
	}
	return code;
}

int
batch_take(struct batch *batch, int code, const void *data, size_t len, struct error *err)
{
	if (batch->at == batch->count)
		return error_set(err, P2P_BAD_ANSWER, "more came than the %zu contents of a batch",
				 batch->count);
	struct batch_content *content = &batch->contents[batch->at];
	if (len != (code == P2P_OK ? content->id.size_bytes : 0))
		return error_set(err, P2P_BAD_ANSWER, "content %zu of a batch has %zu bytes",
				 batch->at, len);
	if (len > 0)
		memcpy(content->data, data, len);
	return tell(batch, code == P2P_OK ? P2P_OK : P2P_NOT_FOUND, err);
}

int
batch_end(const struct batch *batch, struct error *err)
{
	if (batch->at == batch->count)
		return P2P_OK;
	return error_set(err, P2P_BAD_ANSWER, "%zu of the %zu contents of a batch came", batch->at,
			 batch->count);
}
