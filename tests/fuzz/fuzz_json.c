/* SPDX-License-Identifier: MIT
 *
 * fuzz_json.c - the JSON decoders, fed with anything.  The first byte chooses the decoder.
 *
 * What is accepted must survive being written and read again.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "wire_json.h"

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t len);

static void
try_register(const char *text, size_t len)
{
	struct node_hello hello, again;
	struct error err;

	if (wire_register_request_parse(text, len, &hello, &err) != P2P_OK)
		return;
	char *back = wire_register_request(&hello);
	assert(wire_register_request_parse(back, strlen(back), &again, &err) == P2P_OK);
	assert(strcmp(hello.node.name, again.node.name) == 0 && hello.node.seq == again.node.seq);
	assert(hello.view.is_told == again.view.is_told);
	assert(memcmp(hello.view.sums, again.view.sums, sizeof(hello.view.sums)) == 0);
	free(back);
}

static void
try_answer(const char *text, size_t len)
{
	struct node_record theirs, *known;
	struct error err;
	size_t count;

	if (wire_register_answer_parse(text, len, &theirs, &known, &count, &err) == P2P_OK)
		free(known);
}

static void
try_changes(const char *text, size_t len)
{
	struct change_page *page, *again;
	struct error err;

	if (wire_changes_parse(text, len, &page, &err) != P2P_OK)
		return;
	char *back = wire_changes(page);
	assert(wire_changes_parse(back, strlen(back), &again, &err) == P2P_OK);
	assert(again->count == page->count);
	free(back);
	change_page_free(page);
	change_page_free(again);
}

/* Of a content of 20 pieces with a root of nothing but 01. */
static void
try_have(const char *text, size_t len)
{
	struct content_id content = { .size_bytes = 1310719 };
	struct holding_answer answer, again;
	struct error err;

	memset(content.root.bytes, 1, sizeof(content.root.bytes));
	if (wire_have_parse(text, len, &content, &answer, &err) != P2P_OK)
		return;
	char *back = wire_have(&content, &answer);
	assert(wire_have_parse(back, strlen(back), &content, &again, &err) == P2P_OK);
	assert(answer.next == again.next && answer.piece_count == again.piece_count);
	assert(answer.bits_len == again.bits_len && answer.peer_count == again.peer_count);
	free(back);
	holding_answer_fini(&answer);
	holding_answer_fini(&again);
}

static void
try_directories(const char *text, size_t len)
{
	static const char *const asked[] = { "a", "b" };
	struct directory found[2], again[2];
	struct directory_question question = { .names = asked, .count = 2, .found = found };
	struct error err;
	char **names;
	size_t count;

	if (wire_directories_parse(text, len, &names, &count, &err) == P2P_OK) {
		struct directory_question back = { .names = (const char *const *)names,
						   .count = count };
		free(wire_directories(&back));
		wire_directories_free(names, count);
	}
	if (wire_directories_answer_parse(text, len, &question, &err) != P2P_OK)
		return;
	char *back = wire_directories_answer(found, 2);
	question.found = again;
	assert(wire_directories_answer_parse(back, strlen(back), &question, &err) == P2P_OK);
	assert(memcmp(&found[1].mtime_ns, &again[1].mtime_ns, sizeof(int64_t)) == 0);
	assert(found[0].mode == again[0].mode && found[0].is_there == again[0].is_there);
	free(back);
}

static void
try_small(const char *text, size_t len)
{
	struct wire_fetch_request wanted;
	struct notice notice;
	struct error err;

	wire_notice_parse(text, len, &notice, &err);
	wire_problem_parse(text, len, &err);
	if (wire_fetch_request_parse(text, len, &wanted, &err) == P2P_OK)
		free(wanted.what);
	try_have(text, len);
	try_directories(text, len);
}

int
LLVMFuzzerTestOneInput(const unsigned char *data, size_t len)
{
	if (len == 0)
		return 0;

	const char *text = (const char *)data + 1;
	switch (data[0] % 4) {
	case 0:
		try_register(text, len - 1);
		break;
	case 1:
		try_answer(text, len - 1);
		break;
	case 2:
		try_changes(text, len - 1);
		break;
	case 3:
		try_small(text, len - 1);
		break;
	}
	return 0;
}
