/* SPDX-License-Identifier: MIT
 *
 * daemon.c - one peer: everything in its order up, and in reverse down.
 *
 * Up: state directory and its lock, key, loop, pool, store, catalog, events, holdings, indexer, wires, peers, fetches, follows, service,
 * broker, faces.
 * What the catalog remembers (peers, fetches) is taken up before anything runs.
 *
 * Down, begun by daemon_stop() on the mind: calls are refused and the faces closed, then the fetches stop (what is verified is
 * synced), then the peers are told good-bye, then the loop ends.  daemon_free() joins the threads, hands first, and frees in
 * reverse; a post that comes late is run before what it refers to goes.  If that takes longer than DAEMON_STOP_MS
 * (deadline.h), the rest is left to the next start, which loses nothing: that is what kill -9 does too.
 */
#include "daemon.h"

#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "address_guard.h"
#include "broker.h"
#include "buf.h"
#include "catalog.h"
#include "control.h"
#include "daemon_take_up.h"
#include "deadline.h"
#include "events.h"
#include "fetch.h"
#include "file.h"
#include "follow.h"
#include "holdings.h"
#include "indexer.h"
#include "key.h"
#include "log.h"
#include "mem.h"
#include "peers.h"
#include "pool.h"
#include "rest.h"
#include "rest_client.h"
#include "rpc.h"
#include "rpc_client.h"
#include "sdnotify.h"
#include "store.h"
#include "throttle.h"
#include "wires.h"

#define LOCK_FILE      "lock"       /* in the state directory, locked while a daemon uses it */
#define SHARE_FILE     "share-path" /* in it: the directory that was shared last */
#define STOP_COMPLAINT "the way down took too long: leaving the rest to the next start"
#define LANES_MAX      4 /* threads that receive file bytes; the cores, if they are fewer */

struct daemon {
	const char *config_path;
	struct config *config;
	int state_fd, lock_fd;
	struct node_record self;
	struct loop *loop;
	struct pool *pool;
	struct throttle *throttle;
	struct store *store;
	struct catalog *catalog;
	struct events *events;
	struct holdings *holdings;
	struct indexer *indexer;
	struct transport *rest_wire, *rpc_wire;
	struct transport *wires; /* both */
	struct peers *peers;
	struct fetches *fetches;
	struct follows *follows;
	struct service *service;
	struct broker *broker;
	struct rest *rest;
	struct rpc *rpc;
	struct control *control;
	struct sdnotify_watchdog *watchdog;
	bool is_stopping;
	struct deadline *deadline; /* of the way down */
};

/* --- state directory --- */

static int
open_state(struct daemon *daemon, struct error *err)
{
	const char *directory = daemon->config->node_state;
	int code = file_open_root(directory, true, &daemon->state_fd, err);
	if (code != P2P_OK)
		return code;
	code = file_open_beneath(daemon->state_fd, LOCK_FILE, O_RDWR | O_CREAT, 0600,
				 &daemon->lock_fd, err);
	if (code != P2P_OK)
		return code;
	if (flock(daemon->lock_fd, LOCK_EX | LOCK_NB) < 0)
		return error_set(err, P2P_EXISTS,
				 "another p2pd uses the state directory %s: stop it, or set "
				 "another [node] state",
				 directory);
	file_sweep_temporary(daemon->state_fd);
	return P2P_OK;
}

/* True if the share is configured as at the last start; remembers how it is.  A share that was moved may be empty and on another
 * file system for the best of reasons. */
static bool
is_share_of_before(const struct daemon *daemon)
{
	const char *directory = daemon->config->share_directory;
	size_t len = strlen(directory);
	struct buf before;
	int fd;

	buf_init(&before, PATH_MAX);
	if (file_open_beneath(daemon->state_fd, SHARE_FILE, O_RDONLY, 0, &fd, NULL) == P2P_OK) {
		(void)file_read_all(fd, &before, NULL);
		close(fd);
	}
	bool is_same = before.len == len && memcmp(before.data, directory, len) == 0;
	buf_fini(&before);
	/* Unwritten it costs a warning that is not given. */
	if (!is_same)
		(void)file_write_atomic(daemon->state_fd, SHARE_FILE, directory, len, 0600, NULL);
	return is_same;
}

/* --- this peer's record --- */

static void
describe_self(struct daemon *daemon)
{
	struct node_record *self = &daemon->self;
	snprintf(self->name, sizeof(self->name), "%s", daemon->config->node_name);
	snprintf(self->version, sizeof(self->version), "%s", PACKAGE_VERSION);
}

static void
add_address(struct node_record *self, const char *address)
{
	if (self->address_count == NODE_ADDRESSES_MAX) {
		log_warn("%s is not told to others: only %d addresses are", address,
			 NODE_ADDRESSES_MAX);
		return;
	}
	snprintf(self->addresses[self->address_count++], NODE_ADDRESS_SIZE, "%s", address);
}

static bool
is_beyond_loopback(const struct config_list *listen)
{
	for (size_t i = 0; i < listen->count; i++) {
		char host[NODE_ADDRESS_SIZE];
		uint16_t port;
		if (config_split_address(listen->items[i], host, sizeof(host), &port, NULL) !=
			P2P_OK ||
		    !config_is_loopback(host))
			return true;
	}
	return false;
}

/* A peer that others can reach must not be talked into asking what only this host can. */
static bool
is_reachable(const struct config *config)
{
	return is_beyond_loopback(&config->rest_listen) || is_beyond_loopback(&config->grpc_listen);
}

/* Where a face listens; others are told, unless the configuration says what they are told. */
static void
describe_face(struct daemon *daemon, enum wire wire, const struct config_list *listen,
	      const uint16_t *ports, size_t count, struct address_guard *guard)
{
	for (size_t i = 0; i < count; i++) {
		char host[NODE_ADDRESS_SIZE], address[NODE_ADDRESS_SIZE];
		uint16_t port;
		if (config_split_address(listen->items[i], host, sizeof(host), &port, NULL) !=
		    P2P_OK)
			continue;
		node_address_make(wire, host, ports[i], address);
		log_info("%s on %s", wire == WIRE_REST ? "REST" : "gRPC", address);
		address_guard_own(guard, host, ports[i]);
		if (daemon->config->network_advertise.count == 0)
			add_address(&daemon->self, address);
	}
}

/* Known once the listeners are bound: a port 0 has become a real one. */
static void
describe_addresses(struct daemon *daemon)
{
	const struct config *config = daemon->config;
	for (enum wire wire = WIRE_REST; wire < WIRE_COUNT; wire++)
		for (size_t i = 0; i < config->network_advertise.count; i++)
			if (node_address_wire(config->network_advertise.items[i]) == wire)
				add_address(&daemon->self, config->network_advertise.items[i]);
	uint16_t ports[CONFIG_LIST_MAX];
	size_t count = rest_ports(daemon->rest, ports, CONFIG_LIST_MAX);
	struct address_guard guard = { .refuse_private = is_reachable(config) };
	describe_face(daemon, WIRE_REST, &config->rest_listen, ports, count, &guard);
	count = rpc_ports(daemon->rpc, ports, CONFIG_LIST_MAX);
	describe_face(daemon, WIRE_GRPC, &config->grpc_listen, ports, count, &guard);
	rest_client_guard(daemon->rest_wire, &guard);
	rpc_client_guard(daemon->rpc_wire, &guard);
	peers_set_self(daemon->peers, &daemon->self);
}

/* --- configuration --- */

static void
log_restart_lines(const struct buf *report)
{
	if (report->len == 0)
		return;
	char *lines = mem_string(report->data), *rest = lines;
	for (char *line; (line = strsep(&rest, "\n")) != NULL;)
		if (line[0] != '\0')
			log_warn("%s: takes effect at the next restart", line);
	free(lines);
}

static int
reload(void *arg, struct buf *report, struct error *err)
{
	struct daemon *daemon = arg;
	struct config *next = daemon->config_path != NULL ? config_load(daemon->config_path, err)
							  : config_load_usual(err);
	if (next == NULL)
		return err != NULL && err->code != P2P_OK ? err->code : P2P_BAD_REQUEST;
	struct config *merged = config_merge(daemon->config, next, report);
	config_unref(next);
	/* One that was not changed does not take back what the command line said. */
	if (merged->node_log != daemon->config->node_log)
		log_open(merged->node_log);
	config_unref(daemon->config);
	daemon->config = merged;
	throttle_configure(daemon->throttle, merged);
	indexer_configure(daemon->indexer, merged);
	peers_configure(daemon->peers, merged);
	fetches_configure(daemon->fetches, merged);
	service_configure(daemon->service, merged);
	rest_configure(daemon->rest, merged);
	broker_retry(daemon->broker);
	return P2P_OK;
}

void
daemon_reload(struct daemon *daemon)
{
	struct buf report;
	struct error err;
	buf_init(&report, CONFIG_FILE_MAX);
	sdnotify_reloading();
	if (service_reload(daemon->service, &report, &err) == P2P_OK) {
		log_restart_lines(&report);
		log_info("configuration read again");
	} else {
		log_error("the configuration stays as it was: %s", err.text);
	}
	sdnotify_ready();
	buf_fini(&report);
}

/* --- up --- */

static unsigned
count_lanes(void)
{
	long cores = sysconf(_SC_NPROCESSORS_ONLN);
	return cores < 1 ? 1 : cores > LANES_MAX ? LANES_MAX : (unsigned)cores;
}

/* Which peer is meant, for its limit. */
static bool
peer_at(void *arg, const char *address, char ret_id[PEER_ID_SIZE])
{
	const struct daemon *daemon = arg;
	return peers_at(daemon->peers, address, ret_id);
}

static bool
bring_up_wires(struct daemon *daemon, struct error *err)
{
	if ((daemon->rest_wire = rest_client_new(daemon->loop, count_lanes(), err)) == NULL)
		return false;
	daemon->rpc_wire = rpc_client_new(daemon->loop, daemon->pool, count_lanes(), err);
	if (daemon->rpc_wire == NULL)
		return false;
	const struct transport_limit limit = { .rate = throttle_down(daemon->throttle),
					       .peer_at = peer_at,
					       .arg = daemon };
	rest_client_throttle(daemon->rest_wire, &limit);
	rpc_client_throttle(daemon->rpc_wire, &limit);
	daemon->wires = wires_new(daemon->loop, daemon->rest_wire, daemon->rpc_wire);
	return true;
}

static bool
bring_up_subject(struct daemon *daemon, struct error *err)
{
	struct config *config = daemon->config;
	char *set_aside = NULL;
	if ((daemon->loop = loop_new(err)) == NULL)
		return false;
	daemon->pool = pool_new(daemon->loop, 0);
	daemon->throttle = throttle_new(daemon->loop);
	throttle_configure(daemon->throttle, config);
	if ((daemon->store = store_new(config->share_directory, err)) == NULL)
		return false;
	daemon->catalog =
	    catalog_new(daemon->loop, config->node_state, daemon->self.id, &set_aside, err);
	if (daemon->catalog == NULL)
		return false;
	if (set_aside != NULL)
		log_warn("the catalog was damaged and is built anew from the share: %s", set_aside);
	free(set_aside);
	daemon->events = events_new();
	daemon->holdings = holdings_new(daemon->loop);
	daemon->indexer = indexer_new(daemon->loop, daemon->pool, daemon->store, daemon->catalog,
				      daemon->events, config);
	if (is_share_of_before(daemon))
		indexer_bar_bare_share(daemon->indexer);
	if (!bring_up_wires(daemon, err))
		return false;
	daemon->peers = peers_new(daemon->loop, daemon->wires, daemon->catalog, daemon->events,
				  config, &daemon->self);
	daemon->fetches = fetches_new(daemon->loop, daemon->pool, daemon->store, daemon->catalog,
				      daemon->indexer, daemon->peers, daemon->wires,
				      daemon->holdings, daemon->events, daemon->throttle, config);
	daemon->follows = follows_new(daemon->loop, daemon->pool, daemon->catalog, daemon->fetches,
				      daemon->events);
	return true;
}

static void
tell_broker(void *arg, struct service_broker *ret)
{
	const struct daemon *daemon = arg;
	memset(ret, 0, sizeof(*ret));
	if (daemon->broker != NULL)
		broker_status(daemon->broker, ret);
}

static bool
bring_up_broker(struct daemon *daemon, struct error *err)
{
	const struct broker_parts parts = {
		.loop = daemon->loop,
		.catalog = daemon->catalog,
		.events = daemon->events,
		.peers = daemon->peers,
		.self = daemon->self.id,
	};
	daemon->broker = broker_new(&parts, daemon->config, err);
	return daemon->broker != NULL;
}

static bool
bring_up_faces(struct daemon *daemon, struct error *err)
{
	struct service_parts parts = {
		.loop = daemon->loop,
		.pool = daemon->pool,
		.store = daemon->store,
		.catalog = daemon->catalog,
		.indexer = daemon->indexer,
		.peers = daemon->peers,
		.fetches = daemon->fetches,
		.follows = daemon->follows,
		.holdings = daemon->holdings,
		.events = daemon->events,
		.throttle = daemon->throttle,
		.reload = reload,
		.reload_arg = daemon,
		.broker = tell_broker,
		.broker_arg = daemon,
	};
	daemon->service = service_new(&parts, daemon->config);
	if (!bring_up_broker(daemon, err))
		return false;
	daemon->control = control_new(daemon->service, daemon->config, -1, err);
	if (daemon->control == NULL)
		return false;
	log_info("control on %s", daemon->config->control_socket);
	daemon->rest = rest_new(daemon->service, daemon->config, err);
	if (daemon->rest == NULL)
		return false;
	daemon->rpc = rpc_new(daemon->service, daemon->config, err);
	if (daemon->rpc == NULL)
		return false;
	describe_addresses(daemon);
	return true;
}

static bool
bring_up(struct daemon *daemon, struct error *err)
{
	if (open_state(daemon, err) != P2P_OK ||
	    key_load(daemon->state_fd, daemon->self.id, err) != P2P_OK)
		return false;
	describe_self(daemon);
	log_info("p2pd %s: peer %s, \"%s\"", PACKAGE_VERSION, daemon->self.id, daemon->self.name);
	log_info("configuration %s, state %s, share %s",
		 daemon->config->source ? daemon->config->source : "by default",
		 daemon->config->node_state, daemon->config->share_directory);
	if (!bring_up_subject(daemon, err))
		return false;
	struct take_up parts = {
		.catalog = daemon->catalog,
		.peers = daemon->peers,
		.fetches = daemon->fetches,
		.store = daemon->store,
		.state = daemon->config->node_state,
	};
	return daemon_take_up(&parts, err) == P2P_OK && bring_up_faces(daemon, err);
}

struct daemon *
daemon_new(const char *config_path, struct config *config, struct error *err)
{
	rpc_prepare();
	struct daemon *daemon = mem_zero(1, sizeof(*daemon));
	daemon->config_path = config_path;
	daemon->config = config_ref(config);
	daemon->state_fd = daemon->lock_fd = -1;
	if (bring_up(daemon, err))
		return daemon;
	daemon_free(daemon);
	return NULL;
}

void
daemon_run(struct daemon *daemon)
{
	indexer_start(daemon->indexer);
	peers_start(daemon->peers);
	fetches_start(daemon->fetches);
	follows_start(daemon->follows);
	daemon->watchdog = sdnotify_watchdog_new(daemon->loop);
	sdnotify_status("sharing %s", daemon->config->share_directory);
	sdnotify_ready();
	loop_run(daemon->loop);
}

/* --- down --- */

static void
peers_stopped(void *arg)
{
	struct daemon *daemon = arg;
	loop_stop(daemon->loop);
}

static void
fetches_stopped(void *arg)
{
	struct daemon *daemon = arg;
	peers_stop(daemon->peers, peers_stopped, daemon);
}

void
daemon_stop(struct daemon *daemon)
{
	if (daemon->is_stopping) {
		log_warn("stopped at once");
		_exit(0);
	}
	daemon->is_stopping = true;
	sdnotify_stopping();
	log_info("stopping");
	daemon->deadline = deadline_set(DAEMON_STOP_MS, STOP_COMPLAINT);
	loop_refuse_calls(daemon->loop);
	service_stop(daemon->service);
	holdings_stop(daemon->holdings);
	control_stop(daemon->control);
	rest_free(daemon->rest);
	daemon->rest = NULL;
	rpc_free(daemon->rpc);
	daemon->rpc = NULL;
	broker_stop(daemon->broker);
	indexer_stop(daemon->indexer);
	follows_stop(daemon->follows);
	fetches_stop(daemon->fetches, fetches_stopped, daemon);
}

static void
close_fd(int fd)
{
	if (fd >= 0)
		close(fd);
}

void
daemon_free(struct daemon *daemon)
{
	if (daemon == NULL)
		return;
	/* The threads end first; what they still had to say is heard before what it is about goes. */
	if (daemon->loop != NULL)
		loop_refuse_calls(daemon->loop);
	rest_free(daemon->rest);
	rpc_free(daemon->rpc);
	if (daemon->control != NULL)
		control_stop(daemon->control);
	if (daemon->indexer != NULL)
		indexer_stop(daemon->indexer);
	rest_client_free(daemon->rest_wire);
	rpc_client_free(daemon->rpc_wire);
	broker_join(daemon->broker);
	pool_free(daemon->pool);
	if (daemon->loop != NULL)
		loop_turn(daemon->loop, 0);
	catalog_stop(daemon->catalog);
	if (daemon->loop != NULL)
		loop_turn(daemon->loop, 0);

	sdnotify_watchdog_free(daemon->watchdog);
	control_free(daemon->control);
	broker_free(daemon->broker);
	service_free(daemon->service);
	follows_free(daemon->follows);
	fetches_free(daemon->fetches);
	peers_free(daemon->peers);
	wires_free(daemon->wires);
	indexer_free(daemon->indexer);
	holdings_free(daemon->holdings);
	events_free(daemon->events);
	catalog_free(daemon->catalog);
	store_free(daemon->store);
	throttle_free(daemon->throttle);
	loop_free(daemon->loop);
	close_fd(daemon->lock_fd);
	close_fd(daemon->state_fd);
	config_unref(daemon->config);
	deadline_lift(daemon->deadline);
	free(daemon);
}

struct loop *
daemon_loop(struct daemon *daemon)
{
	return daemon->loop;
}

struct service *
daemon_service(struct daemon *daemon)
{
	return daemon->service;
}

uint16_t
daemon_rest_port(const struct daemon *daemon)
{
	uint16_t port;
	return rest_ports(daemon->rest, &port, 1) > 0 ? port : 0;
}

uint16_t
daemon_rpc_port(const struct daemon *daemon)
{
	uint16_t port;
	return rpc_ports(daemon->rpc, &port, 1) > 0 ? port : 0;
}
