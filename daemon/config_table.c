/* SPDX-License-Identifier: MIT
 *
 * config_table.c - config.def as data, and the fields of a struct config by its rows.
 *
 * A row has a kind.  The kind says how a value is read (config_row_set) and how its field is
 * kept: as a string, as a list of strings, or as a scalar of some size.  Comparing, copying and
 * freeing need only know the latter, so a new key is a row, and a new kind is an enumerator and
 * a case.
 *
 * Nothing here knows of files, lines or other keys.
 */
#include "config_table.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "amqp_url.h"
#include "config_value.h"
#include "mem.h"
#include "name.h"

#define LOWER  "abcdefghijklmnopqrstuvwxyz"
#define UPPER  "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
#define DIGITS "0123456789"

/* clang-format off */
const struct config_row config_rows[] = {
#define KEY(s, k, kind, field, reload, min, max, fallback, value, help)			\
	{ s, k, KIND_##kind, offsetof(struct config, field), reload, min, max,		\
	  fallback, value, help },
#include "config.def"
#undef KEY
};
/* clang-format on */

const size_t config_row_count = sizeof(config_rows) / sizeof(config_rows[0]);

static_assert(sizeof(config_rows) / sizeof(config_rows[0]) <= CONFIG_ROWS_MAX,
	      "who keeps something for each row has room for so many");

/* Looking up. */

const struct config_row *
config_row_find(const char *section, const char *key)
{
	for (size_t i = 0; i < config_row_count; i++)
		if (strcmp(config_rows[i].section, section) == 0 &&
		    strcmp(config_rows[i].key, key) == 0)
			return &config_rows[i];
	return NULL;
}

const struct config_row *
config_row_find_key(const char *key)
{
	for (size_t i = 0; i < config_row_count; i++)
		if (strcmp(config_rows[i].key, key) == 0)
			return &config_rows[i];
	return NULL;
}

bool
config_section_exists(const char *name, size_t len)
{
	for (size_t i = 0; i < config_row_count; i++)
		if (strlen(config_rows[i].section) == len &&
		    memcmp(config_rows[i].section, name, len) == 0)
			return true;
	return false;
}

void
config_list_sections(struct buf *buf)
{
	const char *last = "";

	for (size_t i = 0; i < config_row_count; i++) {
		const char *section = config_rows[i].section;
		if (strcmp(section, last) != 0)
			buf_addf(buf, "%s[%s]", i == 0 ? "" : " ", section);
		last = section;
	}
}

void
config_list_keys(struct buf *buf, const char *section)
{
	for (size_t i = 0; i < config_row_count; i++)
		if (strcmp(config_rows[i].section, section) == 0)
			buf_addf(buf, "%s%s", buf->len == 0 ? "" : ", ", config_rows[i].key);
}

bool
config_key(size_t index, struct config_key *ret)
{
	if (index >= config_row_count)
		return false;
	const struct config_row *row = &config_rows[index];
	*ret = (struct config_key){
		.section = row->section,
		.key = row->key,
		.value = row->value,
		.fallback = row->fallback,
		.is_list = config_row_is_list(row),
		.is_reloadable = row->reload == RELOAD,
		.help = row->help,
	};
	return true;
}

/* Fields. */

union field {
	void *any;
	char **string;
	uint32_t *u32;
	uint64_t *u64;
	bool *yesno;
	enum log_level *log;
	enum config_remote *remote;
	enum config_transport *transport;
	struct config_list *list;
};

static union field
field_of(struct config *config, const struct config_row *row)
{
	return (union field){ .any = (char *)config + row->offset };
}

static const void *
look_at(const struct config *config, const struct config_row *row)
{
	return (const char *)config + row->offset;
}

bool
config_row_is_list(const struct config_row *row)
{
	return row->kind == KIND_ADDRESSES || row->kind == KIND_HOSTS || row->kind == KIND_URLS;
}

static size_t
scalar_size(const struct config_row *row)
{
	switch (row->kind) {
	case KIND_LOG:
		return sizeof(enum log_level);
	case KIND_REMOTE:
		return sizeof(enum config_remote);
	case KIND_TRANSPORT:
		return sizeof(enum config_transport);
	case KIND_YESNO:
		return sizeof(bool);
	case KIND_NUMBER:
	case KIND_SECONDS:
	case KIND_MILLIS:
		return sizeof(uint32_t);
	case KIND_SIZE:
		return sizeof(uint64_t);
	case KIND_NAME:
	case KIND_PATH:
	case KIND_GROUP:
	case KIND_CONGESTION:
	case KIND_BROKER:
	case KIND_EXCHANGE:
	case KIND_ADDRESSES:
	case KIND_HOSTS:
	case KIND_URLS:
		break;
	}
	return 0; /* it is a string, or a list of them */
}

static bool
is_same_string(const char *a, const char *b)
{
	return a == NULL || b == NULL ? a == b : strcmp(a, b) == 0;
}

bool
config_row_is_same(const struct config_row *row, const struct config *a, const struct config *b)
{
	const void *x = look_at(a, row), *y = look_at(b, row);

	if (scalar_size(row) > 0)
		return memcmp(x, y, scalar_size(row)) == 0;
	if (!config_row_is_list(row))
		return is_same_string(*(char *const *)x, *(char *const *)y);
	const struct config_list *these = x, *those = y;
	if (these->count != those->count)
		return false;
	for (size_t i = 0; i < these->count; i++)
		if (strcmp(these->items[i], those->items[i]) != 0)
			return false;
	return true;
}

void
config_row_copy(const struct config_row *row, struct config *to, const struct config *from)
{
	union field field = field_of(to, row);
	const void *original = look_at(from, row);

	if (scalar_size(row) > 0) {
		memcpy(field.any, original, scalar_size(row));
		return;
	}
	if (!config_row_is_list(row)) {
		*field.string = mem_string(*(char *const *)original);
		return;
	}
	const struct config_list *list = original;
	for (size_t i = 0; i < list->count; i++)
		field.list->items[i] = mem_string(list->items[i]);
	field.list->count = list->count;
}

void
config_row_free(const struct config_row *row, struct config *config)
{
	union field field = field_of(config, row);

	if (scalar_size(row) > 0)
		return;
	if (!config_row_is_list(row)) {
		free(*field.string);
		return;
	}
	for (size_t i = 0; i < field.list->count; i++)
		free(field.list->items[i]);
}

/* Values. */

static bool
has_only(const char *text, const char *accepted)
{
	return text[strspn(text, accepted)] == '\0';
}

/* Gives the text as it is to be kept, or NULL. */
static char *
read_text(enum config_kind kind, const char *value, struct error *err)
{
	struct amqp_url url;
	char *path = NULL;

	if (kind == KIND_PATH)
		return config_value_path(value, &path, err) == P2P_OK ? path : NULL;
	if (kind == KIND_NAME && name_check_part(value, strlen(value), err) != P2P_OK)
		return NULL;
	if (kind == KIND_GROUP && (value[0] == '-' || !has_only(value, LOWER UPPER DIGITS "_.-")))
		return NULL;
	if (kind == KIND_EXCHANGE && !has_only(value, LOWER UPPER DIGITS "_.:-"))
		return NULL;
	if (kind == KIND_BROKER && amqp_url_parse(value, &url, err) != P2P_OK)
		return NULL;
	if (kind == KIND_CONGESTION && !has_only(value, LOWER DIGITS "_-"))
		return NULL;
	return mem_string(value);
}

static int
set_text(const struct config_row *row, char **field, const char *value, struct error *err)
{
	char *text = read_text(row->kind, value, err);

	if (text == NULL || strlen(text) < row->min || strlen(text) > row->max) {
		free(text);
		return P2P_BAD_REQUEST;
	}
	free(*field);
	*field = text;
	return P2P_OK;
}

static int
read_number(enum config_kind kind, const char *value, uint64_t *ret)
{
	if (kind == KIND_SECONDS)
		return config_value_seconds(value, ret);
	if (kind == KIND_MILLIS)
		return config_value_millis(value, ret);
	if (kind == KIND_SIZE)
		return config_value_size(value, ret);
	return config_value_number(value, ret);
}

static int
set_number(const struct config_row *row, union field field, const char *value)
{
	uint64_t number;

	if (read_number(row->kind, value, &number) != P2P_OK || number < row->min ||
	    number > row->max)
		return P2P_BAD_REQUEST;
	if (row->kind == KIND_SIZE)
		*field.u64 = number;
	else
		*field.u32 = (uint32_t)number;
	return P2P_OK;
}

int
config_parse_size(const char *text, uint64_t max, uint64_t *ret_bytes)
{
	uint64_t bytes;

	if (config_value_size(text, &bytes) != P2P_OK || bytes > max)
		return P2P_BAD_REQUEST;
	*ret_bytes = bytes;
	return P2P_OK;
}

/* Where the value stands in a list of words. */
static int
read_word(const char *const *words, size_t count, const char *value, size_t *ret)
{
	for (size_t i = 0; i < count; i++)
		if (strcmp(words[i], value) == 0) {
			*ret = i;
			return P2P_OK;
		}
	return P2P_BAD_REQUEST;
}

static int
set_remote(enum config_remote *field, const char *value)
{
	static const char *const words[] = {
		[REMOTE_READ] = "read",
		[REMOTE_UPLOAD] = "upload",
		[REMOTE_ALL] = "all",
	};
	size_t at;
	int code = read_word(words, sizeof(words) / sizeof(words[0]), value, &at);

	if (code == P2P_OK)
		*field = (enum config_remote)at;
	return code;
}

static int
set_transport(enum config_transport *field, const char *value)
{
	static const char *const words[] = {
		[TRANSPORT_AUTO] = "auto",
		[TRANSPORT_GRPC] = "grpc",
		[TRANSPORT_REST] = "rest",
	};
	size_t at;
	int code = read_word(words, sizeof(words) / sizeof(words[0]), value, &at);

	if (code == P2P_OK)
		*field = (enum config_transport)at;
	return code;
}

/* Gives the item as it is to be kept. */
static int
read_item(enum config_kind kind, const char *value, char **ret, struct error *err)
{
	char host[CONFIG_LINE_MAX + 1];
	uint16_t port;
	int code;

	if (kind == KIND_URLS)
		return config_value_url(value, ret, err);
	if (kind == KIND_HOSTS)
		code = config_value_host(value, err);
	else
		code = config_split_address(value, host, sizeof(host), &port, err);
	if (code == P2P_OK)
		*ret = mem_string(value);
	return code;
}

static int
add_item(const struct config_row *row, struct config_list *list, const char *value,
	 struct error *err)
{
	char *item;

	if (list->count == CONFIG_LIST_MAX)
		return error_set(err, P2P_BAD_REQUEST, "there are more than %d", CONFIG_LIST_MAX);
	int code = read_item(row->kind, value, &item, err);
	if (code != P2P_OK)
		return code;
	for (size_t i = 0; i < list->count; i++)
		if (strcmp(list->items[i], item) == 0) {
			free(item);
			return error_set(err, P2P_BAD_REQUEST, "it stands there already");
		}
	list->items[list->count++] = item;
	return P2P_OK;
}

int
config_row_set(const struct config_row *row, struct config *config, const char *value,
	       struct error *err)
{
	union field field = field_of(config, row);

	switch (row->kind) {
	case KIND_NAME:
	case KIND_PATH:
	case KIND_GROUP:
	case KIND_CONGESTION:
	case KIND_BROKER:
	case KIND_EXCHANGE:
		return set_text(row, field.string, value, err);
	case KIND_LOG:
		return log_level_parse(value, field.log) ? P2P_OK : P2P_BAD_REQUEST;
	case KIND_REMOTE:
		return set_remote(field.remote, value);
	case KIND_TRANSPORT:
		return set_transport(field.transport, value);
	case KIND_YESNO:
		return config_value_yesno(value, field.yesno);
	case KIND_NUMBER:
	case KIND_SECONDS:
	case KIND_MILLIS:
	case KIND_SIZE:
		return set_number(row, field, value);
	case KIND_ADDRESSES:
	case KIND_HOSTS:
	case KIND_URLS:
		return add_item(row, field.list, value, err);
	}
	return P2P_INTERNAL;
}
