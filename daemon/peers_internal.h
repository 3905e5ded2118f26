/* SPDX-License-Identifier: MIT
 *
 * peers_internal.h - what the files of peers share, and nobody else.  Mind's thread.
 *
 * peers.c	  the door: life cycle, the one timer, what others ask
 * peers_table.c  peers and candidates, and their addresses; no I/O
 * peers_greet.c  greetings: who is here
 * peers_turn.c	  whose turn it is to be greeted; no I/O
 * peers_pull.c	  catalogs: what they have
 * peers_gossip.c what is told of all that
 * peers_view.c	  what two think of who is here, compared
 */
#ifndef P2PD_PEERS_INTERNAL_H
#define P2PD_PEERS_INTERNAL_H

#include "peers.h"

#define PEERS_BUCKETS		1024	/* of the table of ids */
#define PEERS_CANDIDATES_MAX	1000	/* addresses to be tried, at once */
#define PEERS_CANDIDATES_HOST	256	/* of those, on the word of one host */
#define PEERS_CANDIDATE_TRIES	3	/* rounds through its addresses; then dropped unless a seed */
#define PEERS_GREETINGS_MAX	64	/* under way to peers that are here or suspect */
#define PEERS_TRIES_MAX		16	/* under way to others */
#define PEERS_PULLS_MAX		4	/* under way in all */
#define PEERS_PAGES_MAX		64	/* pages with the scribe; beyond it none is asked for ahead */
#define PEERS_AWAY_FAILURES	3	/* in a row make a peer away */
#define PEERS_BEAT_GREETINGS	3	/* in a heart-beat, about, however many are here; and as many tries of those that are away */
#define PEERS_UNPROVEN_BEATS	4	/* of calls of its own without an answer to us; then we greet it */
#define PEERS_DIRECT_MAX	64	/* so many are told directly of an own change; of more some, who pass it on */
#define PEERS_FANOUT		6	/* peers that something is passed on to */
#define PEERS_RELAYS_MAX	64	/* notices of others under way; more are not sent */
#define PEERS_NEWS_MS		60000	/* so long a change is told on by greetings */
#define PEERS_TOLD_MAX		32	/* records in the answer to a greeting, */
#define PEERS_TOLD_RANDOM	1	/* and of those that a caller who tells no view was told before */
#define PEERS_MENDS_MAX		4000	/* records told at once, and then one in an answer, for views that differ */
#define PEERS_NEVER		UINT64_MAX

/* Every wait that is no setting; tests shorten them. */
struct peers_pace {
	uint64_t again_ms;		/* after a failed greeting of a peer that was here; first step of the back-off */
	uint64_t again_max_ms;		/* its last step */
	uint64_t tell_ms;		/* between two tellings of own changes */
	uint64_t quiet_ms;		/* after a notice that brought nothing */
	uint64_t resync_ms;		/* between two beginnings anew of one catalog, and after a bad page */
	uint64_t unwritten_max_ms;	/* between two tries to write to our catalog, when it fails */
	uint64_t rpc_again_ms;		/* that catalogs go by REST after a peer's gRPC failed */
	uint64_t save_ms;		/* between two rememberings of when a peer was heard */
	uint64_t stop_ms;		/* for all good-byes */
	uint64_t grace_ms;		/* that a remembered peer has at least to show up */
};
extern const struct peers_pace peers_usual_pace;

struct addresses {
	size_t count;
	char items[NODE_ADDRESSES_MAX][NODE_ADDRESS_SIZE];
};

/* What drives one greeting at a time. */
struct greeted {
	uint64_t due_ms;		/* PEERS_NEVER: not of itself */
	uint64_t back_off_ms;
	uint64_t begun_ms;		/* when the last one began */
	size_t at;			/* address to be tried next, modulo count */
	struct greeting *greeting;	/* under way, or NULL */
};

/* What is done again ever more rarely. */
struct back_off {
	uint64_t due_ms;		/* not before */
	uint64_t wait_ms;		/* after the last time */
};

/* Of a peer's id, in a view. */
struct peer_mark {
	uint32_t bucket, mark;
};

/* The marks that make up the difference of a bucket, if one or two do; else none. */
struct marks_meant {
	size_t count;
	uint32_t marks[2];
};

/* Between two views. */
struct view_difference {
	struct node_view view;		/* its sums */
	struct marks_meant meant[NODE_VIEW_SUMS];
};

/* Is a peer in one of the two views, and not in the other? */
enum view_doubt {
	VIEW_SAME,
	VIEW_MAY_DIFFER,
	VIEW_DIFFERS,
};

struct peer {
	/* What is looked at in every peer whenever the timer is set stands close together. */
	char id[PEER_ID_SIZE];
	enum peer_state state;		/* peers_set_state() */
	struct greeted greet;
	bool pull_wanted;
	unsigned pull_failures;		/* in a row, of those that brought no page */
	uint64_t pull_after_ms;		/* not before */
	struct pull *pull;		/* under way, the commits included */
	struct telling *telling;	/* a notice to it under way */
	int64_t silent_ms;		/* on the monotonic clock since when; before our start: less than 0 */

	struct peer_mark mark;
	char name[NODE_NAME_SIZE];
	char version[NODE_VERSION_SIZE];
	struct addresses addresses;	/* the one that answered last is first */
	unsigned failures;		/* in a row */
	struct back_off heed;		/* while away, that others see it: of counting as a reason to try again, */
	struct back_off contest;	/* and of telling them that we do not */
	unsigned flaps;			/* times in a row that it came and soon went */
	uint64_t turned_ms;		/* when it last came or went */
	uint32_t round_trip_us;
	uint64_t file_count, byte_count;
	uint64_t heard_ms;		/* PEERS_NEVER: not in this run */
	int64_t heard_wall_ms;
	uint64_t saved_ms;		/* when it was last remembered */
	bool is_unsaved;		/* something worth remembering changed */
	uint64_t proven_ms;		/* when it last answered us */
	uint64_t generation;		/* of peers, when it last came, moved house, or its catalog moved */
	uint64_t touched_ms;		/* and when that was */
	uint64_t told_generation;	/* it was told of all that changed up to this */

	/* Its catalog: how far we have it, and what is to be done. */
	uint64_t epoch, seq;
	uint64_t begun;			/* at which of its heads we began with the epoch, or later, up to seq */
	uint64_t wanted_epoch, wanted_seq;
	bool is_noticed;		/* a notice told of it */
	uint64_t quiet_until_ms;	/* notices wait until */
	uint64_t hold_until_ms;		/* everything waits until, after pages that made no sense */
	uint64_t resync_ms;		/* when it last began anew; 0: never */
	uint64_t rpc_after_ms;		/* pages come by REST until */
	/* Notices to it. */
	bool tell_again;
	struct telling *leaving;	/* our good-bye, under way */

	struct peer *next_same;		/* in its bucket */
};

/* Addresses at which somebody may be: a seed, or what was said of a peer by itself or by others. */
struct candidate {
	char id[PEER_ID_SIZE];		/* who is expected, "": anybody; of a seed: who answered */
	char said_by[NODE_ADDRESS_SIZE];	/* the host that said so first */
	bool is_shared;			/* and others said the same */
	bool is_seed, is_self, is_reached;
	bool is_told_missing;		/* the log has it */
	unsigned tries;
	struct addresses addresses;
	struct greeted greet;
	struct candidate *next_same;	/* in its bucket */
};

struct peers {
	struct loop *loop;
	struct transport *transport;
	struct catalog *catalog;
	struct events *events;
	struct config *config;		/* a reference */
	struct node_record self;
	struct peers_pace pace;
	void (*on_change)(void *arg, const char *id, enum peer_state state);
	void *on_change_arg;

	struct peer *all[PEERS_MAX];
	size_t count, away;		/* of all; of those that are away */
	struct node_view view;		/* of those that are not */
	struct back_off ask_on;		/* of asking him who told of some that we missed for more, */
	size_t ask_on_here;		/* when so many were here */
	size_t mends;			/* records that may be told for views that differ */
	struct peer *buckets[PEERS_BUCKETS];
	struct candidate *candidates[PEERS_CANDIDATES_MAX + CONFIG_LIST_MAX];	/* seeds have their room */
	size_t candidate_count;
	struct candidate *candidate_buckets[PEERS_BUCKETS];	/* but seeds */
	uint64_t generation;		/* moves with each change of a peer that others are to be told of */
	uint64_t random;

	struct loop_timer *timer;
	struct {
		uint64_t greet_ms, pull_ms, forget_ms;	/* when each is next due, as of the last peers_arm() */
	} next;
	uint64_t tell_due_ms;
	uint64_t told_ms;		/* when own changes were told last */
	bool is_started, is_stopping;
	size_t greetings, tries, pulls, relays;	/* under way, by limit */
	size_t requests;		/* of the transport, in all */
	size_t pull_at;			/* where the search for the next pull begins */
	unsigned unwritten;		/* pages in a row that our own catalog could not take (full disk) */
	uint64_t write_after_ms;	/* no pull before */
	struct commit *commits;		/* that the catalog will answer */
	size_t pages;			/* so many */
	size_t leavings;
	loop_fn stopped;
	void *stopped_arg;
};

/* peers.c */
void	peers_arm(struct peers *peers);				/* sets the timer for the next due moment */
uint64_t peers_random(struct peers *peers);
uint64_t peers_jitter(struct peers *peers, uint64_t ms);	/* +-20 % */
void	peers_tell_event(struct peers *peers, enum event_kind kind, const struct peer *peer);
void	peers_changed(struct peers *peers, const struct peer *peer);

/* peers_table.c */
bool	addresses_have(const struct addresses *addresses, const char *address);
void	addresses_add(struct addresses *addresses, const char *address);	/* at the end, if new and there is room */
void	addresses_prefer(struct addresses *addresses, const char *address);	/* to the front; the last falls off */
void	addresses_remove(struct addresses *addresses, const char *address);
/* The host of an address without brackets; false if there is none. */
bool	address_host(const char *address, char ret_host[NODE_ADDRESS_SIZE]);
bool	addresses_have_host(const struct addresses *addresses, const char *host);
/* The first of a wire at the host of the first one of all, else the first of that wire, else "". */
void	addresses_by_wire(const struct addresses *addresses, enum wire wire, char ret[NODE_ADDRESS_SIZE]);
/* What `theirs` claims, as seen from where it came: wildcards become `from_host`; loopback is believed only from loopback.
 * REST ones first, for they are tried in this order. */
void	addresses_claimed(const struct node_record *theirs, const char *from_host, struct addresses *ret);
struct peer *peers_lookup(const struct peers *peers, const char *id);
struct peer *peers_add(struct peers *peers, const char *id);	/* NULL when full */
void	peers_remove(struct peers *peers, struct peer *peer);	/* nothing may be under way */
void	peers_set_state(struct peers *peers, struct peer *peer, enum peer_state state);
/* NULL if there is no room.  One that says the same is given, and one of the same id and host gets these addresses. */
struct candidate *peers_add_candidate(struct peers *peers, const char *id, const char *said_by,
	    const struct addresses *addresses);
/* To be tried for ever; nothing new if it is one already.  What is no address is left out, and the log says so. */
void	peers_add_seed(struct peers *peers, const char *address);
void	peers_remove_candidate(struct peers *peers, struct candidate *candidate);
void	peers_record(const struct peer *peer, struct node_record *ret);

/* peers_greet.c */
void	peers_greet_due(struct peers *peers, uint64_t now_ms);
/* Is it time to do it again?  Then the time after it is twice as long, from again_ms to again_max_ms. */
bool	peers_may_again(const struct peers *peers, struct back_off *back_off);
void	peers_nudge(struct peers *peers, struct peer *peer);	/* somebody says that it is back; the caller arms */
void	peers_heard(struct peers *peers, struct peer *peer);	/* it spoke to us */
void	peers_called(struct peers *peers, struct peer *peer);	/* it greeted us, from where it is here */
void	peers_lose(struct peers *peers, struct peer *peer, uint64_t again_ms);	/* it is away now */
void	peers_set_seeds(struct peers *peers, const struct config_list *seeds);
void	peers_seeds_lost(struct peers *peers, const char *id);	/* this peer is forgotten: try seeds that led to it */
void	peers_save(struct peers *peers, struct peer *peer);

/* peers_turn.c */
/* The peer, or the candidate, that has been due the longest and may be greeted now; false if there is none. */
bool	peers_turn(const struct peers *peers, uint64_t now_ms, struct peer **ret_peer, struct candidate **ret_candidate);
uint64_t peers_greet_next(const struct peers *peers);		/* when the next is due */

/* peers_pull.c */
/* Its catalog is said to be at (epoch, seq): by itself in an answer to us, or by a message that anybody may have sent.  True if that is
 * to be pulled: then the caller arms. */
bool	peers_news(struct peer *peer, uint64_t epoch, uint64_t seq, bool is_answer);
void	peers_pull_due(struct peers *peers, uint64_t now_ms);
uint64_t peers_pull_next(const struct peers *peers);
void	peers_drop_commits(struct peers *peers);

/* peers_view.c */
struct peer_mark peers_mark(const char *id);
/* This peer, away until now, is it no more; or the other way round. */
void	peers_view_turn(struct peers *peers, const struct peer *peer);
/* Ours, to be told to `but` (NULL: to one not known). */
void	peers_view(const struct peers *peers, const struct peer *but, struct node_view *ret);
/* Compares ours with that of a caller (NULL: not known). */
void	peers_view_differ(const struct peers *peers, const struct peer *caller, const struct node_view *theirs,
	    struct view_difference *ret);
/* Without a difference (NULL) any may be. */
enum view_doubt peers_view_doubt(const struct view_difference *difference, const struct peer *peer);

/* peers_gossip.c */
/* Others are to be told of it. */
void	peers_touch(struct peers *peers, struct peer *peer);
/* What a caller (NULL: unknown to us) with this view is told: gives the list. */
void	peers_tell_known(struct peers *peers, struct peer *caller, const struct node_view *view,
	    struct node_record **ret_known, size_t *ret_count);
/* Its catalog moved: we have it up to where it is. */
void	peers_moved(struct peers *peers, struct peer *peer);
/* It left a greeting of ours without an answer: the first, or so many that it is away now. */
void	peers_lost(struct peers *peers, const struct peer *peer);
void	peers_tell_due(struct peers *peers, uint64_t now_ms);
void	peers_leave_all(struct peers *peers);

#endif
