/* SPDX-License-Identifier: MIT
 *
 * wire_json_inner.h - what the files of wire_json.h share.  For them alone.
 */
#ifndef P2PD_WIRE_JSON_INNER_H
#define P2PD_WIRE_JSON_INNER_H

#include <jansson.h>
#include <stddef.h>

#include "error.h"

/* The document's outermost object into *ret, to be released: bounded in length, depth and number of values before anything is
 * allocated for it. */
int	wire_json_load(const char *data, size_t len, json_t **ret, struct error *err);

#endif
