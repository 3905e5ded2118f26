/* SPDX-License-Identifier: MIT
 *
 * wire_json_directories.c - questions about directories, and the answers, both ways.
 *
 * An answer has a place for each directory in the order asked, null for one that is not there.  So it
 * names none, and who reads it need not look for names that nobody asked about.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "mem.h"
#include "name.h"
#include "wire_json.h"
#include "wire_json_fields.h"

/* --- the question --- */

char *
wire_directories(const struct directory_question *question)
{
	json_t *tree = json_object(), *list = json_array();

	for (size_t i = 0; i < question->count; i++)
		json_array_append_new(list, json_string(question->names[i]));
	json_object_set_new(tree, "names", list);
	char *text = json_dumps(tree, JSON_COMPACT);
	json_decref(tree);
	return text;
}

static int
read_names(json_t *list, char **names, size_t count, struct error *err)
{
	for (size_t i = 0; i < count; i++) {
		json_t *name = json_array_get(list, i);

		if (!json_is_string(name) || json_string_length(name) > NAME_MAX_BYTES)
			return error_set(err, P2P_BAD_REQUEST,
					 "names: wanted texts of at most %d bytes", NAME_MAX_BYTES);
		names[i] = mem_string(json_string_value(name));
	}
	return P2P_OK;
}

int
wire_directories_parse(const char *data, size_t len, char ***ret_names, size_t *ret_count,
		       struct error *err)
{
	json_t *tree;
	int code = wire_json_load(data, len, &tree, err);

	if (code != P2P_OK)
		return code;
	json_t *list = json_object_get(tree, "names");
	size_t count = json_array_size(list); /* of what is no array: 0 */
	if (count == 0)
		code = error_set(err, P2P_BAD_REQUEST, "names: wanted a list of names");
	else if (count > DIRECTORIES_MAX)
		code = error_set(err, P2P_TOO_MANY, "names: at most %d", DIRECTORIES_MAX);
	if (code != P2P_OK) {
		json_decref(tree);
		return code;
	}
	char **names = mem_zero(count, sizeof(*names));
	code = read_names(list, names, count, err);
	json_decref(tree);
	if (code != P2P_OK) {
		wire_directories_free(names, count);
		return code;
	}
	*ret_names = names;
	*ret_count = count;
	return P2P_OK;
}

void
wire_directories_free(char **names, size_t count)
{
	for (size_t i = 0; i < count; i++)
		free(names[i]);
	free(names);
}

/* --- the answer --- */

char *
wire_directories_answer(const struct directory *found, size_t count)
{
	json_t *tree = json_object(), *list = json_array();

	for (size_t i = 0; i < count; i++) {
		char mode[8];

		if (!found[i].is_there) {
			json_array_append_new(list, json_null());
			continue;
		}
		snprintf(mode, sizeof(mode), "%04o", found[i].mode & DIRECTORY_MODE_MAX);
		json_array_append_new(list, json_pack("{sI ss}", "mtime_ns",
						      (json_int_t)found[i].mtime_ns, "mode", mode));
	}
	json_object_set_new(tree, "directories", list);
	char *text = json_dumps(tree, JSON_COMPACT);
	json_decref(tree);
	return text;
}

static int
read_directory(json_t *value, struct directory *ret, struct error *err)
{
	struct fields from = { .object = value, .err = err };

	*ret = (struct directory){ .is_there = !json_is_null(value) };
	if (!ret->is_there)
		return P2P_OK;
	ret->mtime_ns = fields_mtime(&from);
	ret->mode = fields_mode(&from);
	return from.code;
}

int
wire_directories_answer_parse(const char *data, size_t len, struct directory_question *question,
			      struct error *err)
{
	json_t *tree;
	int code = wire_json_load(data, len, &tree, err);

	if (code != P2P_OK)
		return code;
	json_t *list = json_object_get(tree, "directories");
	if (json_array_size(list) != question->count)
		code = error_set(err, P2P_BAD_REQUEST, "directories: wanted a list of %zu",
				 question->count);
	for (size_t i = 0; i < question->count && code == P2P_OK; i++)
		code = read_directory(json_array_get(list, i), &question->found[i], err);
	json_decref(tree);
	return code;
}
