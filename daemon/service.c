/* SPDX-License-Identifier: MIT
 *
 * service.c - what any face may ask of this peer: itself, the peers, its events, its configuration.
 *
 * A service owns little: the configuration in force, small files kept open, and uploads that broke off.  It is the one place where a request is judged
 * (rights, conditions, what a name means) and where the modules below are brought together: when the catalog has
 * committed something, the events for it are published here and the peers are told.
 *
 * A function that needs the mind carries its arguments in a struct on its stack through loop_call(); on the mind itself that is
 * a plain call.
 */
#include "service_internal.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "clock.h"
#include "mem.h"

int
service_ask(struct service *service, loop_ask_fn fn, void *arg, struct error *err)
{
	int code = loop_call(service->parts.loop, fn, arg);
	if (code == P2P_SHUTTING_DOWN)
		error_set(err, code, "the daemon is stopping");
	return code;
}

/* --- what the catalog has committed --- */

static enum event_kind
kind_of(const struct catalog_told *told)
{
	switch (told->kind) {
	case CATALOG_ADDED:
		return EVENT_FILE_ADDED;
	case CATALOG_CHANGED:
		return EVENT_FILE_CHANGED;
	case CATALOG_REMOVED:
		return EVENT_FILE_REMOVED;
	}
	return EVENT_FILES_CHANGED;
}

static void
name_peer(struct service *service, struct event *event, const char *peer)
{
	struct peer_info info;
	struct node_record self;
	snprintf(event->peer, sizeof(event->peer), "%s", peer);
	peers_self(service->parts.peers, &self);
	if (strcmp(self.id, peer) == 0)
		event->peer_name = mem_string(self.name);
	else if (peers_find(service->parts.peers, peer, &info))
		event->peer_name = mem_string(info.name);
}

static void
on_commit(void *arg, const struct catalog_commit *commit)
{
	struct service *service = arg;
	for (size_t i = 0; i < commit->count; i++) {
		const struct catalog_told *told = &commit->told[i];
		struct event *event = event_new(kind_of(told));
		event->wall_ms = commit->wall_ms;
		name_peer(service, event, told->peer);
		event->name = mem_string(told->name);
		event->content = told->content;
		event->has_content = told->kind != CATALOG_REMOVED;
		event->mtime_ns = told->mtime_ns;
		events_publish(service->parts.events, event);
	}
	if (commit->is_cut) {
		struct event *event = event_new(EVENT_FILES_CHANGED);
		event->wall_ms = commit->wall_ms;
		if (commit->cut_peer != NULL)
			name_peer(service, event, commit->cut_peer);
		/* Nobody else knows it of who was forgotten. */
		if (event->peer_name == NULL && commit->cut_name != NULL)
			event->peer_name = mem_string(commit->cut_name);
		events_publish(service->parts.events, event);
	}
	if (!commit->is_ours) {
		if (service->parts.follows != NULL)
			follows_notice(service->parts.follows);
		return;
	}
	service_readers_clear(&service->readers);
	peers_tell(service->parts.peers);
}

struct service *
service_new(const struct service_parts *parts, struct config *config)
{
	struct service *service = mem_zero(1, sizeof(*service));
	service->parts = *parts;
	service->config = config_ref(config);
	service->started_ms = clock_ms();
	pthread_mutex_init(&service->mutex, NULL);
	service_readers_init(&service->readers);
	service_lot_init(service);
	service_turns_init(&service->turns);
	catalog_on_commit(parts->catalog, on_commit, service);
	return service;
}

void
service_stop(struct service *service)
{
	assert(loop_is_mine(service->parts.loop));
	service_lot_close(&service->lot);
}

void
service_free(struct service *service)
{
	if (service == NULL)
		return;
	service_stop(service);
	service_lot_fini(&service->lot);
	service_turns_fini(&service->turns);
	service_readers_fini(&service->readers);
	pthread_mutex_destroy(&service->mutex);
	config_unref(service->config);
	free(service);
}

/* --- configuration --- */

void
service_configure(struct service *service, struct config *config)
{
	pthread_mutex_lock(&service->mutex);
	struct config *old = service->config;
	service->config = config_ref(config);
	pthread_mutex_unlock(&service->mutex);
	config_unref(old);
}

struct config *
service_config(struct service *service)
{
	pthread_mutex_lock(&service->mutex);
	struct config *config = config_ref(service->config);
	pthread_mutex_unlock(&service->mutex);
	return config;
}

struct loop *
service_loop(struct service *service)
{
	return service->parts.loop;
}

struct pool *
service_pool(struct service *service)
{
	return service->parts.pool;
}

struct throttle *
service_throttle(struct service *service)
{
	return service->parts.throttle;
}

void
service_limits(struct service *service, uint64_t ret_bps[THROTTLE_LIMITS])
{
	for (int i = 0; i < THROTTLE_LIMITS; i++)
		ret_bps[i] = service->parts.throttle != NULL
				 ? throttle_get(service->parts.throttle, (enum throttle_limit)i)
				 : 0;
}

int
service_set_limit(struct service *service, const char *name, const char *rate, struct error *err)
{
	enum throttle_limit limit;
	uint64_t bps;

	if (!throttle_find(name, &limit))
		return error_set(err, P2P_BAD_REQUEST,
				 "there is no limit \"%.40s\"; wanted upload, download, "
				 "upload-per-peer or download-per-peer",
				 name);
	if (config_parse_size(rate, RATE_MAX, &bps) != P2P_OK)
		return error_set(
		    err, P2P_BAD_REQUEST,
		    "\"%.40s\" is no rate; wanted bytes per second up to 1T, also with "
		    "K, M, G or T; 0 for no limit",
		    rate);
	if (service->parts.throttle != NULL)
		throttle_set(service->parts.throttle, limit, bps);
	return P2P_OK;
}

int
service_reload(struct service *service, struct buf *report, struct error *err)
{
	assert(loop_is_mine(service->parts.loop));
	struct error error = { 0 };
	int code = service->parts.reload(service->parts.reload_arg, report, &error);
	if (code == P2P_OK) {
		service->reload_error[0] = '\0';
		indexer_rescan(service->parts.indexer);
		return P2P_OK;
	}
	snprintf(service->reload_error, sizeof(service->reload_error), "%s", error.text);
	if (err != NULL)
		*err = error;
	return code;
}

/* --- this peer --- */

struct node_ask {
	struct service *service;
	struct service_node *ret;
};

static void
count_peers(struct service *service, struct service_node *ret)
{
	size_t count;
	struct peer_info *peers = peers_list(service->parts.peers, &count);
	ret->peers_known = (uint32_t)count;
	for (size_t i = 0; i < count; i++)
		ret->peers_here += peers[i].state == PEER_HERE;
	free(peers);
}

static int
ask_node(void *arg)
{
	const struct node_ask *ask = arg;
	struct service *service = ask->service;
	struct service_node *ret = ask->ret;
	memset(ret, 0, sizeof(*ret));
	peers_self(service->parts.peers, &ret->self);
	ret->uptime_ms = clock_ms() - service->started_ms;
	count_peers(service, ret);
	ret->fetches_active = fetches_active(service->parts.fetches);
	indexer_status(service->parts.indexer, &ret->index);
	if (ret->index.trouble != NULL)
		snprintf(ret->trouble, sizeof(ret->trouble), "%s", ret->index.trouble);
	ret->index.trouble = NULL;
	snprintf(ret->reload_error, sizeof(ret->reload_error), "%s", service->reload_error);
	struct config *config = service_config(service);
	snprintf(ret->share, sizeof(ret->share), "%s", config->share_directory);
	snprintf(ret->config_source, sizeof(ret->config_source), "%s",
		 config->source ? config->source : "");
	config_unref(config);
	if (service->parts.broker != NULL)
		service->parts.broker(service->parts.broker_arg, &ret->broker);
	return P2P_OK;
}

int
service_node_quick(struct service *service, struct service_node *ret)
{
	struct node_ask ask = { service, ret };
	return loop_call(service->parts.loop, ask_node, &ask);
}

int
service_node(struct service *service, struct service_node *ret)
{
	int code = service_node_quick(service, ret);
	if (code != P2P_OK)
		return code;
	struct config *config = service_config(service);
	ret->free_bytes = store_room(service->parts.store, config->share_reserve_bytes);
	config_unref(config);
	return P2P_OK;
}

/* --- peers --- */

struct peers_ask {
	struct service *service;
	struct peer_info *peers;
	size_t count;
};

static int
ask_peers(void *arg)
{
	struct peers_ask *ask = arg;
	ask->peers = peers_list(ask->service->parts.peers, &ask->count);
	return P2P_OK;
}

int
service_peers(struct service *service, struct peer_info **ret, size_t *ret_count)
{
	struct peers_ask ask = { .service = service };
	int code = loop_call(service->parts.loop, ask_peers, &ask);
	if (code != P2P_OK)
		return code;
	*ret = ask.peers;
	*ret_count = ask.count;
	return P2P_OK;
}

struct register_ask {
	struct service *service;
	const struct node_hello *hello;
	const char *from_host;
	struct node_record *ret_mine;
	struct node_record *known;
	size_t count;
	struct error *err;
};

static int
ask_register(void *arg)
{
	struct register_ask *ask = arg;
	struct peers *peers = ask->service->parts.peers;
	int code =
	    peers_registered(peers, ask->hello, ask->from_host, &ask->known, &ask->count, ask->err);
	if (code == P2P_OK)
		peers_self(peers, ask->ret_mine);
	return code;
}

int
service_register(struct service *service, const struct node_hello *hello, const char *from_host,
		 struct node_record *ret_mine, struct node_record **ret_known, size_t *ret_count,
		 struct error *err)
{
	int code = node_check(&hello->node, err);
	if (code != P2P_OK)
		return code;
	struct register_ask ask = { service, hello, from_host, ret_mine, NULL, 0, err };
	code = service_ask(service, ask_register, &ask, err);
	if (code != P2P_OK)
		return code;
	*ret_known = ask.known;
	*ret_count = ask.count;
	return P2P_OK;
}

struct leave_ask {
	struct service *service;
	const char *id, *from_host;
};

static int
ask_leave(void *arg)
{
	const struct leave_ask *ask = arg;
	return peers_left(ask->service->parts.peers, ask->id, ask->from_host);
}

int
service_leave(struct service *service, const char *id, const char *from_host, struct error *err)
{
	struct leave_ask ask = { service, id, from_host };
	int code =
	    digest_is_base32(id) ? service_ask(service, ask_leave, &ask, err) : P2P_NOT_FOUND;
	if (code == P2P_NOT_FOUND)
		error_set(err, code, "no peer has the id \"%.64s\"", id);
	return code;
}

struct notice_ask {
	struct service *service;
	const struct notice *notice;
};

static int
ask_notice(void *arg)
{
	const struct notice_ask *ask = arg;
	return peers_noticed(ask->service->parts.peers, ask->notice);
}

int
service_notice(struct service *service, const struct notice *notice, struct error *err)
{
	struct notice_ask ask = { service, notice };
	int code = service_ask(service, ask_notice, &ask, err);
	if (code == P2P_NOT_FOUND)
		error_set(err, code, "peer %s is not known here: it must register first",
			  notice->peer);
	return code;
}

int
service_changes(struct service *service, const struct change_question *question,
		struct change_page **ret, struct error *err)
{
	struct change_question asked = *question;
	struct service_node node;
	if (asked.peer == NULL) {
		int code = service_node_quick(service, &node);
		if (code != P2P_OK)
			return error_set(err, code, "the daemon is stopping");
		asked.peer = node.self.id;
	}
	int code = catalog_changes(service->parts.catalog, &asked, ret);
	if (code == P2P_NOT_FOUND)
		error_set(err, code, "nothing is known of a peer \"%.64s\"", asked.peer);
	else if (code != P2P_OK)
		error_set(err, code, "the catalog cannot be read");
	return code;
}

/* --- events --- */

struct events *
service_events(struct service *service)
{
	return service->parts.events;
}

int
service_event_position(struct service *service, const char *text, uint64_t *ret_after,
		       struct error *err)
{
	assert(loop_is_mine(service->parts.loop));
	struct events *events = service->parts.events;
	if (text == NULL || text[0] == '\0') {
		*ret_after = events_last_id(events);
		return P2P_OK;
	}
	unsigned long long run, id;
	int length = 0;
	if (strspn(text, "0123456789-") != strlen(text) ||
	    sscanf(text, "%20llu-%20llu%n", &run, &id, &length) != 2 || text[length] != '\0')
		return error_set(err, P2P_BAD_REQUEST,
				 "an event id is <run>-<number> as told before, not \"%.64s\"",
				 text);
	*ret_after = run == events_run(events) ? id : EVENTS_OTHER_RUN;
	return P2P_OK;
}
