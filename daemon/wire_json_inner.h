/* SPDX-License-Identifier: MIT
 *
 * wire_json_inner.h - what the files of wire_json.h share to write.  For them alone.
 */
#ifndef P2PD_WIRE_JSON_INNER_H
#define P2PD_WIRE_JSON_INNER_H

#include <jansson.h>
#include <stddef.h>

#include "digest.h"

/* Values under `key` of an object.  Text of invalid UTF-8 is repaired; a mode is four octal digits; a time is RFC 3339, an mtime also
 * `mtime_ns`; a content is `size` and `root`. */
void	wire_json_put_text(json_t *object, const char *key, const char *text);
void	wire_json_put_number(json_t *object, const char *key, uint64_t number);
void	wire_json_put_bool(json_t *object, const char *key, bool value);
void	wire_json_put_time(json_t *object, const char *key, int64_t wall_ms);
void	wire_json_put_content(json_t *object, const struct content_id *content);
void	wire_json_put_mode(json_t *object, uint32_t mode);
void	wire_json_put_mtime(json_t *object, int64_t mtime_ns);

/* Takes the tree and gives its text. */
char	*wire_json_whole(json_t *tree);
/* The same of {"<key>": [...]}. */
char	*wire_json_whole_list(const char *key, json_t *list);

#endif
