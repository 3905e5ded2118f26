/* SPDX-License-Identifier: MIT
 *
 * wire_json.h - JSON as it stands on the REST wire, both ways.  jansson's only room in the daemon.  No I/O; any thread.
 *
 * Encoders give a NUL-terminated text (free()).  Numbers are integers; 64-bit ones stay below 2^53, for sizes end at 2^44,
 * seqs start at 1, epochs are milliseconds; the one that does not (`next` of what is held) is a decimal string.  Times are RFC 3339 in UTC beside
 * *_ns integers where exactness matters.  Decoders refuse what is malformed, too deep (16), too long, out of range, has a
 * duplicate key, or lacks a field: P2P_BAD_REQUEST with the field's name; unknown fields are ignored.
 */
#ifndef P2PD_WIRE_JSON_H
#define P2PD_WIRE_JSON_H

#include <stddef.h>

#include "batch.h"
#include "change.h"
#include "directory.h"
#include "error.h"
#include "fetch.h"
#include "node.h"
#include "service.h"

#define WIRE_JSON_MAX	(4u << 20)	/* bytes of one document, either way */

/* application/problem+json: type "about:blank#slug"-like, title, status, detail, slug, and `candidates` if any was collected. */
struct wire_candidates;			/* collects catalog_found rows; service_candidate_fn */
struct wire_candidates *wire_candidates_new(void);
void	wire_candidates_add(void *candidates, const struct catalog_found *found);
void	wire_candidates_free(struct wire_candidates *candidates);
char	*wire_problem(const struct error *err, const struct wire_candidates *candidates);

char	*wire_node(const struct service_node *node);
char	*wire_peers(const struct peer_info *peers, size_t count);
char	*wire_fetch(const struct fetch_info *info);
char	*wire_fetches(const struct fetch_info *infos, size_t count);
char	*wire_fetch_started(const struct service_fetch_started *started);
char	*wire_stored(const char *name, const struct service_stored *stored);
char	*wire_event(const struct event *event, uint64_t run);

/* A message of a broker: the JSON of wire_event() with an id of its own. */
#define WIRE_MESSAGE_ID_SIZE (PEER_ID_SIZE + 42)
struct wire_message {
	const char *id, *publisher;	/* instead of the event's; the peer that sends it */
	uint64_t epoch, seq;		/* of a change to a file, or 0 */
};
char	*wire_message(const char *body, const struct wire_message *head);

/* A page of search results, row by row (catalog_found_fn). */
struct wire_found;
struct wire_found *wire_found_new(bool with_directories);	/* with: of CATALOG_LEVEL */
bool	wire_found_add(void *found, const struct catalog_found *row);
char	*wire_found_end(struct wire_found *found, const char *cursor);	/* frees it */

/* Peer to peer, both directions. */
char	*wire_register_request(const struct node_hello *hello);
int	wire_register_request_parse(const char *data, size_t len, struct node_hello *ret, struct error *err);
char	*wire_register_answer(const struct node_record *mine, const struct node_record *known, size_t count);
int	wire_register_answer_parse(const char *data, size_t len, struct node_record *ret_theirs,
	    struct node_record **ret_known, size_t *ret_count, struct error *err);	/* gives known: free() */
char	*wire_changes(const struct change_page *page);
int	wire_changes_parse(const char *data, size_t len, struct change_page **ret, struct error *err);
char	*wire_notice(const struct notice *notice);
int	wire_notice_parse(const char *data, size_t len, struct notice *ret, struct error *err);
/* `next` is a string: it needs all of its 64 bits. */
char	*wire_have(const struct content_id *content, const struct holding_answer *answer);
/* An answer about this content, held against the limits of transport.h.  Gives: holding_answer_fini(). */
int	wire_have_parse(const char *data, size_t len, const struct content_id *content,
	    struct holding_answer *ret, struct error *err);
/* The longest that can come of a content of so many pieces. */
size_t	wire_have_max(uint64_t piece_count);
/* What is asked for by one request: {"contents": [{"root": "...", "size": n}, ...]}, held against batch_check() when it comes in.  Gives
 * the contents: free(). */
char	*wire_batch(const struct batch *batch);
int	wire_batch_parse(const char *data, size_t len, struct content_id **ret, size_t *ret_count, struct error *err);
/* What is asked of directories: {"names": ["a", "a/b"]}, 1 to DIRECTORIES_MAX.  Gives the names: wire_directories_free(). */
char	*wire_directories(const struct directory_question *question);
int	wire_directories_parse(const char *data, size_t len, char ***ret_names, size_t *ret_count, struct error *err);
void	wire_directories_free(char **names, size_t count);
/* {"directories": [{"mtime_ns": n, "mode": "0755"}, null, ...]}, one for each that was asked.  What was read of an answer that is refused stays
 * in question->found. */
char	*wire_directories_answer(const struct directory *found, size_t count);
int	wire_directories_answer_parse(const char *data, size_t len, struct directory_question *question,
	    struct error *err);
/* A problem document into code (by its slug) and detail; false if it is none. */
bool	wire_problem_parse(const char *data, size_t len, struct error *ret);

/* POST /v1/fetches: {"what": "...", "replace": false, "priority": "low"} or {"root": "...", "size": n, "name": "..."}.  Strings given: free(). */
struct wire_fetch_request {
	char *what;
	bool has_content;
	struct content_id content;
	bool replace;
	enum fetch_priority priority;
};
int	wire_fetch_request_parse(const char *data, size_t len, struct wire_fetch_request *ret, struct error *err);

/* Follows, and POST /v1/follows: {"pattern": "...", "place": "", "replace": false}. */
char	*wire_follows(const struct service_follow_info *infos, size_t count);
char	*wire_follow_added(uint64_t id);
struct wire_follow_request {
	char *pattern, *place;
	bool replace;
};
int	wire_follow_request_parse(const char *data, size_t len, struct wire_follow_request *ret, struct error *err);
void	wire_follow_request_fini(struct wire_follow_request *request);

#endif
