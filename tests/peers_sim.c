/* SPDX-License-Identifier: MIT
 *
 * peers_sim.c - a network of simulated peers: who runs, what happens to them, and what they think of each other.
 *
 * The peers and catalog modules are the daemon's own, down to SQLite.  What they stand on is replaced by definitions of the same names,
 * which the linker takes before those of the library: the loop and the clock (peers_sim_clock.c), the scribe's thread and the disk's
 * syncs (peers_sim_catalog.c); and, here, the events, of which only those of peers that went are looked at.  The wire is a transport
 * like any other (peers_sim_wire.c).
 *
 * What service and main do in the daemon is done here in a few lines: a commit of our own makes the peers be told, and a start reads
 * from the catalog who was known before.
 */
#include "peers_sim.h"

#include <check.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "events.h"
#include "mem.h"
#include "peers_internal.h"

#define FILES_A_PEER 6 /* that its two connections have open, and some to spare */

struct sim_peer {
	struct peers_sim *sim;
	struct sim_host *host;
	struct loop loop;
	struct node_record self;
	struct config *config;
	struct sim_share share;
};

struct peers_sim {
	char dir[200]; /* each peer has a directory in it */
	uint64_t random;
	struct sim_net net;
	struct sim_peer *all;
	size_t count;
	size_t at; /* the pair that a test of all pairs failed at last */
	unsigned false_alarms;

	/* A change that is being watched; NULL: none. */
	const struct sim_peer *changed;
	uint64_t changed_us;
	uint64_t *delays_us;
	size_t delay_count;
};

static uint64_t
draw(struct peers_sim *sim)
{
	uint64_t x = sim->random += 0x9e3779b97f4a7c15u;

	x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
	x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
	return x ^ (x >> 31);
}

/* --- ids --- */

/* Well-formed, and the number can be read back: its digits as letters. */
static void
make_id(size_t index, char ret[PEER_ID_SIZE])
{
	memset(ret, 'q', PEER_ID_SIZE - 1);
	ret[PEER_ID_SIZE - 1] = '\0';
	for (size_t at = 6, rest = index; at-- > 0; rest /= 10)
		ret[at] = (char)('a' + rest % 10);
}

static struct sim_peer *
peer_of(struct peers_sim *sim, const char *id)
{
	size_t index = 0;

	for (const char *at = id; *at >= 'a' && *at <= 'j'; at++)
		index = 10 * index + (size_t)(*at - 'a');
	return &sim->all[index];
}

/* --- events, in the place of the daemon's --- */

struct event *
event_new(enum event_kind kind)
{
	struct event *event = mem_zero(1, sizeof(*event));

	event->kind = kind;
	return event;
}

/* The struct of the events is any place that tells whose they are. */
void
events_publish(struct events *events, struct event *event)
{
	const struct sim_peer *mine = (const struct sim_peer *)(void *)events;
	const struct sim_peer *theirs = peer_of(mine->sim, event->peer);

	mine->sim->false_alarms +=
	    event->kind == EVENT_PEER_AWAY && sim_host_reaches(mine->host, theirs->host);
	free(event->peer_name);
	free(event);
}

/* --- what its service and main do for a peer --- */

static void
watch_change(struct peers_sim *sim, const struct catalog_commit *commit)
{
	for (size_t i = 0; i < commit->count; i++)
		if (strcmp(commit->told[i].peer, sim->changed->self.id) == 0) {
			sim->delays_us[sim->delay_count++] = sim_now_us() - sim->changed_us;
			return;
		}
}

static void
on_commit(void *arg, const struct catalog_commit *commit)
{
	struct sim_peer *peer = arg;

	if (commit->is_ours && peer->host->peers != NULL)
		peers_tell(peer->host->peers);
	else if (peer->sim->changed != NULL && !commit->is_ours)
		watch_change(peer->sim, commit);
}

static void
remember_peer(void *arg, const struct catalog_peer *peer)
{
	peers_remember(arg, peer);
}

static struct catalog *
open_catalog(struct sim_peer *peer)
{
	char *dir = mem_format("%s/%zu", peer->sim->dir, peer->host->index);
	struct error err = { 0 };
	struct catalog *catalog;

	mkdir(dir, 0700); /* it may be there */
	catalog = catalog_new(&peer->loop, dir, peer->self.id, NULL, &err);
	ck_assert_msg(catalog != NULL, "%s", err.text);
	catalog_on_commit(catalog, on_commit, peer);
	free(dir);
	return catalog;
}

void
peers_sim_start(struct peers_sim *sim, size_t index)
{
	struct sim_peer *peer = &sim->all[index];
	struct sim_host *host = peer->host;

	host->catalog = open_catalog(peer);
	host->peers = peers_new(&peer->loop, &host->transport, host->catalog,
				(struct events *)(void *)peer, peer->config, &peer->self);
	host->peers->random = draw(sim) | 1;
	ck_assert_int_eq(catalog_peers(host->catalog, remember_peer, host->peers), P2P_OK);
	if (peer->share.seq == 0)
		sim_share_fill(&peer->share, host->catalog, index, SIM_FILES_FIRST);
	peers_start(host->peers);
}

void
peers_sim_kill(struct peers_sim *sim, size_t index, bool is_silent)
{
	struct sim_host *host = sim->all[index].host;

	host->is_silent = is_silent;
	sim_host_stop(host);
	catalog_free(host->catalog);
	host->catalog = NULL;
}

/* --- life --- */

static void
set_up(struct peers_sim *sim, size_t index)
{
	struct sim_peer *peer = &sim->all[index];
	struct config_list *seeds;

	peer->sim = sim;
	peer->host = &sim->net.hosts[index];
	make_id(index, peer->self.id);
	snprintf(peer->self.name, sizeof(peer->self.name), "host-%zu", index);
	snprintf(peer->self.version, sizeof(peer->self.version), "0.1.0");
	node_address_make(WIRE_REST, peer->host->name, 5001, peer->self.addresses[0]);
	node_address_make(WIRE_GRPC, peer->host->name, 50051, peer->self.addresses[1]);
	peer->self.address_count = 2;
	peer->config = config_load(NULL, NULL);
	seeds = &peer->config->network_seed;
	if (index > 0)
		seeds->items[seeds->count++] = mem_string(sim->all[0].self.addresses[0]);
}

static int
remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st, (void)type, (void)ftw;
	return remove(path);
}

static void
make_room_for_files(size_t count)
{
	struct rlimit limit;

	getrlimit(RLIMIT_NOFILE, &limit);
	if (limit.rlim_cur >= count * FILES_A_PEER + 100)
		return;
	limit.rlim_cur = limit.rlim_max;
	setrlimit(RLIMIT_NOFILE, &limit);
}

struct peers_sim *
peers_sim_new(size_t count, uint64_t seed)
{
	struct peers_sim *sim = mem_zero(1, sizeof(*sim));
	const char *tmp = getenv("TMPDIR");

	snprintf(sim->dir, sizeof(sim->dir), "%s/peers-sim-XXXXXX", tmp != NULL ? tmp : "/tmp");
	ck_assert_ptr_nonnull(mkdtemp(sim->dir));
	make_room_for_files(count);
	sim_clock_begin();
	sim_net_init(&sim->net, count);
	sim->random = seed;
	sim->count = count;
	sim->all = mem_zero(count, sizeof(*sim->all));
	for (size_t i = 0; i < count; i++)
		set_up(sim, i);
	return sim;
}

void
peers_sim_free(struct peers_sim *sim)
{
	for (size_t i = 0; i < sim->count; i++)
		if (sim->all[i].host->peers != NULL)
			peers_sim_kill(sim, i, false);
	sim_clock_end();
	for (size_t i = 0; i < sim->count; i++)
		config_unref(sim->all[i].config);
	sim_net_fini(&sim->net);
	nftw(sim->dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
	free(sim->all);
	free(sim);
}

/* --- what happens --- */

void
peers_sim_cut(struct peers_sim *sim, size_t first)
{
	sim->net.cut = first;
}

void
peers_sim_block(struct peers_sim *sim, size_t from, size_t to)
{
	sim->net.one_way.from = sim->all[from].host;
	sim->net.one_way.to = sim->all[to].host;
}

void
peers_sim_unblock(struct peers_sim *sim)
{
	sim->net.one_way.from = sim->net.one_way.to = NULL;
}

void
peers_sim_forget(struct peers_sim *sim, size_t index, size_t forgotten)
{
	struct peers *peers = sim->all[index].host->peers;

	peers_remove(peers, peers_lookup(peers, sim->all[forgotten].self.id));
}

void
peers_sim_change(struct peers_sim *sim, size_t index)
{
	struct sim_peer *peer = &sim->all[index];

	sim_share_change(&peer->share, peer->host->catalog, index, draw(sim));
}

static bool
is_spread(struct peers_sim *sim, void *arg)
{
	(void)arg;
	return sim->delay_count == peers_sim_running(sim) - 1;
}

size_t
peers_sim_spread(struct peers_sim *sim, size_t index, uint64_t limit_ms, uint64_t *ret_us)
{
	sim->changed = &sim->all[index];
	sim->changed_us = sim_now_us();
	sim->delays_us = ret_us;
	sim->delay_count = 0;
	peers_sim_change(sim, index);
	peers_sim_run(sim, limit_ms, is_spread, NULL);
	sim->changed = NULL;
	return sim->delay_count;
}

struct question {
	struct peers_sim *sim;
	bool (*is_reached)(struct peers_sim *sim, void *arg);
	void *arg;
};

static bool
is_answered(void *arg)
{
	const struct question *question = arg;

	return question->is_reached(question->sim, question->arg);
}

uint64_t
peers_sim_run(struct peers_sim *sim, uint64_t ms,
	      bool (*is_reached)(struct peers_sim *sim, void *arg), void *arg)
{
	struct question question = { sim, is_reached, arg };

	return sim_clock_run(ms, is_reached != NULL ? is_answered : NULL, &question);
}

/* --- what came of it --- */

size_t
peers_sim_running(const struct peers_sim *sim)
{
	size_t count = 0;

	for (size_t i = 0; i < sim->count; i++)
		count += sim->all[i].host->peers != NULL;
	return count;
}

size_t
peers_sim_not_away(struct peers_sim *sim, size_t index)
{
	size_t count = 0;

	for (size_t i = 0; i < sim->count; i++) {
		if (i == index || sim->all[i].host->peers == NULL)
			continue;
		const struct peer *view =
		    peers_lookup(sim->all[i].host->peers, sim->all[index].self.id);
		count += view != NULL && view->state != PEER_AWAY;
	}
	return count;
}

/* Is it true of what everybody that runs knows of every other that does?  `view` is NULL for one not known.  Begins where it was
 * not last time: what takes long to become true of all is asked again and again. */
static bool
is_true_of_all(struct peers_sim *sim,
	       bool (*test)(const struct peer *view, const struct sim_peer *from,
			    const struct sim_peer *to))
{
	size_t pairs = sim->count * sim->count;

	for (size_t i = 0; i < pairs; i++) {
		size_t pair = (sim->at + i) % pairs;
		const struct sim_peer *from = &sim->all[pair / sim->count];
		const struct sim_peer *to = &sim->all[pair % sim->count];

		if (from == to || from->host->peers == NULL || to->host->peers == NULL)
			continue;
		if (test(peers_lookup(from->host->peers, to->self.id), from, to))
			continue;
		sim->at = pair;
		return false;
	}
	return true;
}

static bool
is_here_if_reached(const struct peer *view, const struct sim_peer *from, const struct sim_peer *to)
{
	return !sim_host_reaches(from->host, to->host) ||
	       (view != NULL && view->state == PEER_HERE);
}

bool
peers_sim_is_meshed(struct peers_sim *sim)
{
	return is_true_of_all(sim, is_here_if_reached);
}

static bool
is_away_unless_reached(const struct peer *view, const struct sim_peer *from,
		       const struct sim_peer *to)
{
	return sim_host_reaches(from->host, to->host) || view == NULL || view->state == PEER_AWAY;
}

bool
peers_sim_is_parted(struct peers_sim *sim)
{
	return is_true_of_all(sim, is_away_unless_reached);
}

static bool
is_up_to_date(const struct peer *view, const struct sim_peer *from, const struct sim_peer *to)
{
	struct catalog_head head;

	(void)from;
	catalog_head(to->host->catalog, &head);
	return view != NULL && view->epoch == head.epoch && view->seq == to->share.seq;
}

bool
peers_sim_is_equal(struct peers_sim *sim)
{
	return is_true_of_all(sim, is_up_to_date);
}

static bool
is_right(struct peers_sim *sim, const struct sim_peer *peer)
{
	for (size_t i = 0; i < sim->count; i++) {
		const struct sim_peer *other = &sim->all[i];

		if (other->host->peers != NULL &&
		    !sim_share_is_known(&other->share, peer->host->catalog, other->self.id))
			return false;
	}
	return true;
}

size_t
peers_sim_wrong(struct peers_sim *sim)
{
	size_t count = 0;

	for (size_t i = 0; i < sim->count; i++)
		count += sim->all[i].host->peers != NULL && !is_right(sim, &sim->all[i]);
	return count;
}

struct sim_traffic
peers_sim_sent(struct peers_sim *sim, size_t index)
{
	return sim_host_sent(sim->all[index].host);
}

unsigned
peers_sim_false_alarms(const struct peers_sim *sim)
{
	return sim->false_alarms;
}

struct sim_room
peers_sim_room(struct peers_sim *sim)
{
	struct sim_room room = { 0 };

	for (size_t i = 0; i < sim->count; i++)
		if (sim->all[i].host->catalog != NULL)
			sim_room_add(&room, sim->all[i].host->catalog);
	return room;
}

size_t
peers_sim_bytes(const struct peers_sim *sim)
{
	return sizeof(struct peers) + (sim->count - 1) * sizeof(struct peer);
}
