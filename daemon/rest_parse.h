/* SPDX-License-Identifier: MIT
 *
 * rest_parse.h - what HTTP writes into targets and header fields, taken apart.  No I/O, no HTTP
 * library; any thread.
 */
#ifndef P2PD_REST_PARSE_H
#define P2PD_REST_PARSE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "buf.h"
#include "digest.h"
#include "error.h"

#define REST_PARAMS_MAX		16	/* parameters of one query */
#define REST_DATE_SIZE		30	/* bytes of an IMF-fixdate, with NUL */
#define REST_ETAG_SIZE		(DIGEST_HEX_SIZE + 2)

struct rest_param {
	const char *key, *value;
};

/* A request target: the path and the query, percent-decoded exactly once. */
struct rest_target {
	char *path;
	size_t param_count;
	struct rest_param params[REST_PARAMS_MAX];
};

/*
 * Takes a raw target apart, in place: the result points into `text`.  P2P_BAD_REQUEST for what
 * is no absolute path, a bad escape, NUL, an encoded slash in the path, a part `.` or `..`
 * (also one that hides behind a second encoding), what is not UTF-8, a parameter given twice,
 * too many of them.
 */
int		 rest_target_parse(char *text, struct rest_target *ret, struct error *err);
/* The value of a parameter, NULL if it was not given. */
const char	*rest_target_param(const struct rest_target *target, const char *key);

/*
 * True if `path` fits `pattern`, which has at most one "{variable}", which stands for one part
 * of the path; "{name}", at the end, for all that is left.  *ret_at, *ret_len: where the
 * variable's value lies in path (empty if the pattern has none).
 */
bool		 rest_path_match(const char *pattern, const char *path, size_t *ret_at, size_t *ret_len);
/* Appends a name as it stands in a path: everything but unreserved characters and `/` is
 * escaped. */
void		 rest_path_add(struct buf *buf, const char *name);

enum rest_range { REST_RANGE_WHOLE, REST_RANGE_PART, REST_RANGE_BAD };
/* A Range field against a content of size_bytes.  Another unit than bytes: WHOLE.  BAD (416):
 * what lies outside, is malformed, overflows, or is more than one range. */
enum rest_range	 rest_range_parse(const char *text, uint64_t size_bytes,
		     uint64_t *ret_first, uint64_t *ret_len);

/* Writes the strong entity tag of a content: its root in hex, quoted. */
void		 rest_etag(const struct digest *root, char ret[REST_ETAG_SIZE]);
/* True if the list of entity tags has `etag`, or is `*`.  Weak ones count only if
 * `weak_counts`. */
bool		 rest_etag_in(const char *list, const char *etag, bool weak_counts);
/* True and *ret set if `text` is exactly one strong entity tag of ours. */
bool		 rest_etag_parse(const char *text, struct digest *ret);

/* "Sun, 06 Nov 1994 08:49:37 GMT" (RFC 9110), whatever the locale. */
void		 rest_date(int64_t wall_s, char ret[REST_DATE_SIZE]);
bool		 rest_date_parse(const char *text, int64_t *ret_wall_s);

/* Decimal digits only, at most `max`. */
bool		 rest_number(const char *text, uint64_t max, uint64_t *ret);
/* Octal permission bits, 1 to 0777. */
bool		 rest_mode(const char *text, uint32_t *ret);
/* True if a Content-Type field says `type`, whatever its parameters. */
bool		 rest_media_is(const char *field, const char *type);
/* The media type of a file, by the ending of its name. */
const char	*rest_media_of(const char *name);

#endif
