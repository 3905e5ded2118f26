/* SPDX-License-Identifier: MIT
 *
 * fuzz_batch.c - many contents by one request: the answers of either wire, and the question, fed with anything.
 *
 * The first byte chooses.  Of a REST body: the second is how many bytes are fed at once, the third at which content its asker
 * wants no more.  Of gRPC: the rest is messages, each behind its length in two bytes.  Else: the JSON of a question.
 *
 * Held: each content is told once and in order, is written to its own room alone, and a body means the same however it is cut,
 * which a second reader, that has all of it at once, must confirm.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "batch.h"
#include "mem.h"
#include "wire_json.h"
#include "wire_pb.h"

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t len);

#define COUNT 6
static const size_t sizes[COUNT] = { 3, 0, 1, 200, 2, 5 };

/* What a reader made of its answer. */
struct told {
	size_t count; /* contents that were told */
	size_t most;  /* after so many the asker wants no more */
	int codes[COUNT], code;
	unsigned char *rooms[COUNT];
};

static void
told_init(struct told *told, size_t most)
{
	*told = (struct told){ .most = most };
	for (size_t i = 0; i < COUNT; i++)
		told->rooms[i] = mem_zero(1, sizes[i] + !sizes[i]);
}

static void
told_fini(struct told *told)
{
	for (size_t i = 0; i < COUNT; i++)
		free(told->rooms[i]);
}

static int
arrived(void *arg, size_t index, struct error *err)
{
	struct told *told = arg;

	assert(index == told->count && index < COUNT);
	if (++told->count > told->most)
		return error_set(err, P2P_CANCELLED, "enough");
	return P2P_OK;
}

static void
begin(struct batch *batch, struct batch_content contents[COUNT], struct told *told)
{
	for (size_t i = 0; i < COUNT; i++)
		contents[i] =
		    (struct batch_content){ .id.size_bytes = sizes[i], .data = told->rooms[i] };
	*batch =
	    (struct batch){ .contents = contents, .count = COUNT, .arrived = arrived, .arg = told };
	batch_begin(batch);
}

static void
end(const struct batch *batch, struct told *told, int code)
{
	struct error err;

	told->code = code != P2P_OK ? code : batch_end(batch, &err);
	for (size_t i = 0; i < COUNT; i++)
		told->codes[i] = batch->contents[i].code;
	assert(told->code != P2P_OK || told->count == COUNT);
	for (size_t i = 0; i < COUNT; i++)
		assert((told->codes[i] == P2P_INTERNAL) == (i >= told->count));
}

/* The second reader: the same by the description of the body. */
static void
read_at_once(const unsigned char *data, size_t len, struct told *told)
{
	for (size_t i = 0; i < COUNT; i++) {
		told->codes[i] = P2P_INTERNAL;
		told->code = P2P_BAD_ANSWER;
	}
	while (told->count < COUNT && len >= BATCH_HEAD_BYTES) {
		unsigned status = data[0] * 256u + data[1];
		size_t size = status == 200 ? sizes[told->count] : 0;

		data += BATCH_HEAD_BYTES;
		len -= BATCH_HEAD_BYTES;
		if (status != 200 && (status < 400 || status > 599))
			return;
		memcpy(told->rooms[told->count], data, size < len ? size : len);
		if (len < size)
			return;
		data += size;
		len -= size;
		told->codes[told->count++] = status == 200 ? P2P_OK : P2P_NOT_FOUND;
		if (told->count > told->most) {
			told->code = P2P_CANCELLED;
			return;
		}
	}
	if (told->count == COUNT && len == 0)
		told->code = P2P_OK;
}

static void
try_body(const unsigned char *data, size_t len)
{
	struct batch_content contents[COUNT];
	struct batch batch;
	struct told told, again;
	struct error err;
	int code = P2P_OK;

	if (len < 2)
		return;
	size_t step = data[0] + 1u, most = data[1];
	data += 2;
	len -= 2;
	told_init(&told, most);
	told_init(&again, most);
	begin(&batch, contents, &told);
	for (size_t at = 0; at < len && code == P2P_OK; at += step)
		code = batch_feed(&batch, data + at, len - at < step ? len - at : step, &err);
	end(&batch, &told, code);
	read_at_once(data, len, &again);
	assert(told.code == again.code && told.count == again.count);
	for (size_t i = 0; i < COUNT; i++) {
		assert(told.codes[i] == again.codes[i]);
		assert(memcmp(told.rooms[i], again.rooms[i], sizes[i]) == 0);
	}
	told_fini(&told);
	told_fini(&again);
}

static int
take_message(struct batch *batch, const unsigned char *data, size_t len)
{
	struct error err;
	P2p__V1__DownloadManyResponse *message = (P2p__V1__DownloadManyResponse *)wire_pb_unpack(
	    &p2p__v1__download_many_response__descriptor, data, len, &err);
	int code = P2P_OK;

	if (message == NULL)
		return P2P_BAD_ANSWER;
	for (size_t i = 0; i < message->n_contents && code == P2P_OK; i++) {
		const P2p__V1__SmallContent *content = message->contents[i];

		code = batch_take(batch, content->status == 0 ? P2P_OK : P2P_NOT_FOUND,
				  content->data.data, content->data.len, &err);
	}
	p2p__v1__download_many_response__free_unpacked(message, NULL);
	return code;
}

static void
try_messages(const unsigned char *data, size_t len)
{
	struct batch_content contents[COUNT];
	struct batch batch;
	struct told told;
	int code = P2P_OK;

	told_init(&told, COUNT);
	begin(&batch, contents, &told);
	while (len >= 2 && code == P2P_OK) {
		size_t size = data[0] * 256u + data[1];

		data += 2;
		len -= 2;
		size = size < len ? size : len;
		code = take_message(&batch, data, size);
		data += size;
		len -= size;
	}
	end(&batch, &told, code);
	told_fini(&told);
}

static void
try_question(const unsigned char *data, size_t len)
{
	struct content_id *ids, *again;
	struct error err;
	size_t count, again_count;

	if (wire_batch_parse((const char *)data, len, &ids, &count, &err) != P2P_OK)
		return;
	assert(batch_check(ids, count, NULL) == P2P_OK);
	struct batch_content *contents = mem_zero(count, sizeof(*contents));
	for (size_t i = 0; i < count; i++)
		contents[i].id = ids[i];
	char *back = wire_batch(&(struct batch){ .contents = contents, .count = count });
	assert(wire_batch_parse(back, strlen(back), &again, &again_count, &err) == P2P_OK);
	assert(again_count == count);
	for (size_t i = 0; i < count; i++)
		assert(content_equal(&ids[i], &again[i]));
	free(back);
	free(contents);
	free(again);
	free(ids);
}

int
LLVMFuzzerTestOneInput(const unsigned char *data, size_t len)
{
	if (len == 0)
		return 0;
	switch (data[0] % 3) {
	case 0:
		try_body(data + 1, len - 1);
		break;
	case 1:
		try_messages(data + 1, len - 1);
		break;
	case 2:
		try_question(data + 1, len - 1);
		break;
	}
	return 0;
}
