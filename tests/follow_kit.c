/* SPDX-License-Identifier: MIT
 *
 * follow_kit.c - see follow_kit.h.
 */
#include "follow_kit.h"

#include <check.h>
#include <stdlib.h>

#include "buf.h"
#include "follow_inner.h"
#include "mem.h"

int
follow_kit_add(struct kit *kit, const char *pattern, const char *place, bool replace)
{
	struct catalog_batch *batch = catalog_batch_new();
	catalog_batch_follow(batch, &(struct catalog_follow){ .pattern = pattern,
							      .place = place,
							      .replace = replace,
							      .since_wall_ms = 1 });
	return kit_commit(kit, batch);
}

int
follow_kit_end(struct kit *kit, uint64_t no)
{
	struct catalog_batch *batch = catalog_batch_new();
	catalog_batch_unfollow(batch, no);
	return kit_commit(kit, batch);
}

char *
follow_kit_look(struct kit *kit, bool is_written)
{
	struct follow_pass pass = { .catalog = kit->catalog };
	struct catalog_batch *batch = catalog_batch_new();
	struct buf buf;
	buf_init(&buf, 1 << 20);
	buf_adds(&buf, "");
	follow_pass_run(&pass);
	ck_assert_int_eq(pass.code, P2P_OK);
	for (size_t i = 0; i < pass.find_count; i++)
		buf_addf(&buf, "%s ", pass.finds[i].name);
	for (size_t i = 0; i < pass.stale_count; i++)
		buf_addf(&buf, "-%s ", pass.stales[i].name);
	for (size_t i = 0; i < pass.lot_count; i++) {
		const struct follow_lot *lot = &pass.lots[i];
		if (lot->held != 0)
			buf_addf(&buf, "held:%zu ", lot->held);
		for (size_t j = 0; j < lot->move_count; j++)
			catalog_batch_mark(batch, lot->no, lot->moves[j].peer, &lot->moves[j].mark);
	}
	if (pass.has_more)
		buf_adds(&buf, "more");
	follow_pass_fini(&pass);
	if (is_written)
		ck_assert_int_eq(kit_commit(kit, batch), P2P_OK);
	else
		catalog_batch_free(batch);
	char *text = mem_string(buf.data);
	buf_fini(&buf);
	return text;
}

void
follow_kit_expect(struct kit *kit, const char *wanted)
{
	char *text = follow_kit_look(kit, true);
	ck_assert_str_eq(text, wanted);
	free(text);
}
