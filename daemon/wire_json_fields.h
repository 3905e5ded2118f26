/* SPDX-License-Identifier: MIT
 *
 * wire_json_fields.h - documents that come in as JSON, and their fields.  For the files of wire_json.h alone.
 */
#ifndef P2PD_WIRE_JSON_FIELDS_H
#define P2PD_WIRE_JSON_FIELDS_H

#include <jansson.h>
#include <stddef.h>

#include "change.h"
#include "digest.h"
#include "error.h"

/* The document's outermost object into *ret, to be released: bounded in length, depth and number of values before anything is
 * allocated for it. */
int	wire_json_load(const char *data, size_t len, json_t **ret, struct error *err);

/* An object that is being read; `code` is the first failure, of which `err` tells.  What is refused reads as 0, false or "". */
struct fields {
	json_t *object;
	struct error *err;
	int code;
};

/* The value under `key` is not what is wanted, "a whole number". */
void	fields_refuse(struct fields *from, const char *key, const char *wanted);
bool	fields_have(const struct fields *from, const char *key);
uint64_t fields_number(struct fields *from, const char *key, uint64_t max);
bool	fields_bool(struct fields *from, const char *key, bool fallback);
/* A string of 1 to max bytes, borrowed. */
const char *fields_text(struct fields *from, const char *key, size_t max);
/* The same, copied into ret[size]. */
void	fields_text_into(struct fields *from, const char *key, char *ret, size_t size);
void	fields_peer(struct fields *from, const char *key, char ret[PEER_ID_SIZE]);
/* `size` and `root`. */
void	fields_content(struct fields *from, struct content_id *ret);
/* `mtime_ns`. */
int64_t	fields_mtime(struct fields *from);
/* `mode`: permission bits, in octal. */
uint32_t fields_mode(struct fields *from);
/* An array of at most `max` elements, borrowed; NULL if refused. */
json_t	*fields_list(struct fields *from, const char *key, size_t max);

#endif
