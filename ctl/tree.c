/* SPDX-License-Identifier: MIT
 *
 * tree.c - who has a file, and what the network's tree weighs: where, du.
 *
 * The files below a directory come by name, so all of one subdirectory come together: du adds up
 * one row at a time, page by page, and keeps nothing but the rows.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ctl.h"
#include "json.h"
#include "render.h"
#include "util.h"

#define NUMBER_SIZE  21 /* of digits, with NUL */
#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* --- where --- */

static void
add_holder(struct table *table, const struct record *holder)
{
	table_text(table, record_text(holder, "peer_name"));
	table_text(table, record_text(holder, "state"));
	table_size(table, record_number(holder, "size", 0));
	table_text(table, record_text(holder, "root"));
	table_text(table, record_text(holder, "name"));
	table_text(table, record_text(holder, "address"));
	table_text(table, record_text(holder, "peer"));
}

int
show_where(struct ctl *ctl)
{
	static const char *const heads[] = { "PEER", "STATE",   ">SIZE", "ROOT",
					     "NAME", "ADDRESS", "ID" };
	struct request request;
	struct reply reply;
	struct table table;

	request_init(&request, "where");
	request_word(&request, ctl->args[0]);
	int ret = show_ask(ctl, &request, &reply);
	if (ret != EXIT_DONE)
		return ret;
	if (ctl_has(ctl, OPT_JSON)) {
		json_print_reply(&reply, "holders");
	} else {
		table_init(&table, ctl->is_terminal, heads, COUNT(heads));
		for (size_t i = 0; i < reply.count; i++)
			add_holder(&table, &reply.records[i]);
		table_end(&table);
	}
	if (record_text(&reply.final, "more") != NULL)
		ctl_complain("there are more; `search --content ID` has all names");
	reply_fini(&reply);
	return EXIT_DONE;
}

/* --- du --- */

/* A subdirectory, or a file, and what lies in it. */
struct weight {
	char *name; /* NULL: none yet */
	uint64_t files, bytes;
};

struct tree {
	struct ctl *ctl;
	size_t below; /* characters of a name before the part that rows are about */
	struct weight at, all;
	struct reply rows;
};

/* A row as if the daemon had told it. */
static void
put_weight(struct tree *tree, const char *word, const struct weight *weight)
{
	struct reply *rows = &tree->rows;
	struct record row = { .code = 200, .word = (char *)word, .count = 3 };

	if (weight->name == NULL)
		return;
	size_t name_size = strlen(weight->name) + 1;
	row.memory = util_zero(name_size + 2 * NUMBER_SIZE, 1);
	row.keys = util_zero(6, sizeof(*row.keys));
	row.values = row.keys + 3;
	row.keys[0] = (char *)"name";
	row.keys[1] = (char *)"files";
	row.keys[2] = (char *)"bytes";
	row.values[0] = memcpy(row.memory, weight->name, name_size);
	row.values[1] = row.memory + name_size;
	row.values[2] = row.values[1] + NUMBER_SIZE;
	snprintf(row.values[1], NUMBER_SIZE, "%" PRIu64, weight->files);
	snprintf(row.values[2], NUMBER_SIZE, "%" PRIu64, weight->bytes);
	/* Grows at powers of two. */
	if ((rows->count & (rows->count - 1)) == 0)
		rows->records =
		    util_grow(rows->records, 2 * rows->count + 1, sizeof(*rows->records));
	rows->records[rows->count++] = row;
}

static void
weigh(struct tree *tree, const struct record *file)
{
	const char *name = record_text(file, "name");

	if (name == NULL)
		return;
	tree->all.files++;
	tree->all.bytes += record_number(file, "size", 0);
	if (strlen(name) < tree->below) /* it is a file that was asked for */
		return;
	const char *slash = strchr(name + tree->below, '/');
	size_t len = slash != NULL ? (size_t)(slash - name) + 1 : strlen(name);
	struct weight *at = &tree->at;
	if (at->name == NULL || strncmp(at->name, name, len) != 0 || at->name[len] != '\0') {
		put_weight(tree, "part", at);
		free(at->name);
		*at = (struct weight){ .name = util_format("%.*s", (int)len, name) };
	}
	at->files++;
	at->bytes += record_number(file, "size", 0);
}

/* Asks for all pages; EXIT_DONE, or what was complained. */
static int
weigh_all(struct tree *tree, const char *directory)
{
	char *cursor = NULL;
	int ret;

	do {
		struct request request;
		struct reply page;

		request_init(&request, "ls");
		request_word(&request, directory);
		request_pair(&request, "recursive", "yes");
		if (ctl_has(tree->ctl, OPT_LOCAL))
			request_pair(&request, "scope", "local");
		if (cursor != NULL)
			request_pair(&request, "cursor", cursor);
		free(cursor);
		cursor = NULL;
		ret = show_ask(tree->ctl, &request, &page);
		if (ret != EXIT_DONE)
			break;
		for (size_t i = 0; i < page.count; i++)
			weigh(tree, &page.records[i]);
		cursor = util_string(record_text(&page.final, "cursor"));
		reply_fini(&page);
	} while (cursor != NULL);
	return ret;
}

static void
print_weights(const struct ctl *ctl, const struct reply *rows)
{
	static const char *const heads[] = { ">SIZE", ">FILES", "NAME" };
	struct table table;

	table_init(&table, ctl->is_terminal, heads, COUNT(heads));
	for (size_t i = 0; i < rows->count; i++) {
		table_size(&table, record_number(&rows->records[i], "bytes", 0));
		table_number(&table, record_number(&rows->records[i], "files", 0));
		table_text(&table, record_text(&rows->records[i], "name"));
	}
	table_end(&table);
}

int
show_weights(struct ctl *ctl)
{
	const char *directory = ctl->arg_count > 0 ? ctl->args[0] : "";
	struct tree tree = { .ctl = ctl, .below = strlen(directory) };

	while (tree.below > 0 && directory[tree.below - 1] == '/')
		tree.below--;
	tree.below += tree.below > 0;
	int ret = weigh_all(&tree, directory);
	if (ret == EXIT_DONE) {
		put_weight(&tree, "part", &tree.at);
		tree.all.name = (char *)(directory[0] != '\0' ? directory : "/");
		put_weight(&tree, "all", &tree.all);
		if (ctl_has(ctl, OPT_JSON))
			json_print_reply(&tree.rows, "parts");
		else
			print_weights(ctl, &tree.rows);
	}
	reply_fini(&tree.rows);
	free(tree.at.name);
	return ret;
}
