/* SPDX-License-Identifier: MIT
 *
 * catalog_search.h - what the parts of a search share: catalog_search.c (which names are looked at, and in which
 * order), catalog_fit.c (best first), catalog_level.c (one level of a directory), catalog_found.c (what is told of a name),
 * catalog_terms.c and catalog_choice.c (questions to the index), catalog_cursor.c (where a page ended).  Not for others.
 */
#ifndef P2PD_CATALOG_SEARCH_H
#define P2PD_CATALOG_SEARCH_H

#include "buf.h"
#include "catalog_db.h"

/* In which order the names come; part of every cursor. */
enum search_order { SEARCH_BY_NAME = 'n', SEARCH_BY_FIT = 'f', SEARCH_BY_ROOT = 'r' };

/* How far a search is: all up to here was told, or does not fit. */
struct place {
	enum search_order order;
	bool is_begun;             /* else the rest is nothing */
	struct content_id content; /* the last told of the name; ~0: all of them */
	char name[NAME_SIZE];      /* BY_NAME */
	enum name_fit fit;         /* BY_FIT */
	int64_t name_id;           /* BY_FIT, descending; BY_ROOT, ascending */
	int64_t peer_no;           /* BY_ROOT */
};

/* An entry of the name that is being looked at. */
struct holder {
	struct content_id content;
	int64_t mtime_ns;
	uint32_t mode;
	int64_t peer_no;
};

/* A peer that was told of on this page; most are told of many times. */
struct known_peer {
	int64_t no; /* 0: none */
	char id[PEER_ID_SIZE];
};
#define KNOWN_PEERS 128

struct search {
	struct db *db;
	const struct catalog_query *query;
	const struct catalog_filter *filter; /* never NULL */
	catalog_found_fn fn;
	void *arg;
	struct place place;
	uint32_t told;
	bool is_enough; /* fn said so */
	bool is_more;   /* there is, or may be, another beyond this page */
	int failure;    /* a code, if what is told could not be read whole */

	/* The name at hand. */
	int64_t name_id;
	const char *name;
	struct holder *holders; /* sorted by content and peer number */
	size_t count, capacity;
	struct buf text; /* of the holders of one content */
	struct known_peer known[KNOWN_PEERS]; /* by their number */
};

#define SAMPLE_MAX 64 /* names: each is a bit of a mask */

/* Some names, by which the index is asked; as their keys. */
struct sample {
	struct buf keys; /* one behind the other, each with its NUL */
	unsigned count;
};

/* What a walk wants of a name. */
struct wish {
	char text[NAME_FOLDED_SIZE]; /* SUBSTRING: folded.  EXACT, UNDER: composed */
	bool is_short;               /* one character: it begins too many words to be ranked by them */
	const char *glob;            /* or NULL */
	const char *directory;       /* without a slash at its end, or NULL */
	size_t directory_len;
	struct sample all;     /* of all names; BY_FIT */
	struct sample refused; /* the index named them, and they do not fit */
	unsigned doubts;       /* how often the question may still be made better */
	unsigned looks, spent; /* on names; spent in vain, in looks */
	uint64_t until_ms;
};

/* --- catalog_search.c --- */

bool search_is_in_directory(const struct wish *wish, const char *name);
/* How the text or the pattern fits, as far as it counts. */
enum name_fit search_fit_of(const struct wish *wish, const char *name);
/* All of the name at hand is done. */
void search_pass_name(struct search *search);
/* The time of a page is over. */
bool search_is_late(const struct wish *wish);
/* The row at hand of a walk does not fit, though the index named it.  False: so many that the index is to be asked better. */
bool search_refuse(struct wish *wish, const char *name);
/* The row at hand of a walk that was started: 1 go on, 0 the page ends, SEARCH_DOUBT (BY_FIT), or a code. */
int search_look(struct search *search, struct wish *wish, enum sql sql);
/* Looks at all rows (number of the name, name) of a walk that was started; `more` is what that answered.
 * 1 the walk is over, 0 the page, or a code; SEARCH_DOUBT: wish->refused is full. */
#define SEARCH_DOUBT 2
int search_run(struct search *search, struct wish *wish, enum sql sql, int more);

/* --- catalog_fit.c --- */

/* The same answer. */
int search_by_fit(struct search *search, struct wish *wish);

/* --- catalog_level.c --- */

/* The same answer; names from `low` to below `high`, a blob of nothing for no end. */
int search_by_level(struct search *search, struct wish *wish, const char *low,
		    const struct db_arg *high);

/* --- catalog_found.c --- */

/* Reads the entries of the name at hand.  P2P_OK or a code. */
int search_read_name(struct search *search);
/* Tells what fits the filter of the contents of the name, and moves the place.  False: the page ends here. */
bool search_tell_name(struct search *search);
/* Adds up what search_tell_name() would tell. */
void search_weigh_name(struct search *search, uint64_t *files, uint64_t *bytes);
/* Tells a subdirectory.  False: the page ends before it, and the place is as it was; or behind it, if is_enough. */
bool search_tell_directory(struct search *search, const struct catalog_found *directory);
/* Tells one content of the name at hand if `peer_no` is the first that has it. */
bool search_tell_content(struct search *search, const struct content_id *content, int64_t peer_no);

/* --- catalog_terms.c --- */

#define TERMS_MAX	48		/* of one question, that may be asked for */
#define TERM_SIZE	16		/* three characters of UTF-8, and NUL */
#define TERM_EITHER	'\x01'		/* in a term: a blank or NAME_KEY_LAST */

/* What every key that fits has, in no order.  Begins as { 0 }. */
struct terms {
	char list[TERMS_MAX][TERM_SIZE];
	unsigned count; /* 0: the index cannot help */
};
/* Of names that the folded `text` fits so. */
void terms_fit(struct terms *terms, const char *text, enum name_fit fit);
void terms_glob(struct terms *terms, const char *glob);
void terms_directory(struct terms *terms, const char *directory);

/* --- catalog_choice.c --- */

/* To be freed by sample_fini(). */
void sample_init(struct sample *sample);
void sample_fini(struct sample *sample);
void sample_clear(struct sample *sample);
/* There is room for SAMPLE_MAX. */
void sample_add(struct sample *sample, const char *name);
/* Adds some of all names up to `indexed`; a failure leaves them fewer. */
void sample_take(struct sample *sample, struct db *db, int64_t indexed);

#define QUESTION_SIZE 512

/* What the index is asked, and what else it could be. */
struct question {
	struct terms terms;
	double shares[TERMS_MAX]; /* of all names that have each, about */
	uint64_t taken;           /* of the terms: those that are asked for */
	double candidates;        /* about how many names it will name; 0: few */
	char text[QUESTION_SIZE]; /* in the language of FTS5; "": there are no terms */
};
/* Takes those of question->terms that are worth their price in a walk through all names, so many, that are like `all`. */
void question_begin(struct question *question, const struct sample *all, double names);
/* Takes more of them: of `walked` names it named `refused`, which do not fit; `names` are to come.  False: none is worth it. */
bool question_improve(struct question *question, const struct sample *refused, double walked, double names);

/* --- catalog_cursor.c --- */

/* `tag` tells one search, and one database, from the next.  Into ret[CATALOG_CURSOR_SIZE]. */
void cursor_write(const struct place *place, uint32_t tag, char *ret);
/* False, and *place as it was, if it is none of this tag and this order. */
bool cursor_read(const char *cursor, uint32_t tag, struct place *place);
/* Decodes `digits` (even) characters; false if one is no hex digit. */
bool hex_decode(const char *hex, size_t digits, unsigned char *ret);

#endif
