/* SPDX-License-Identifier: MIT
 *
 * rpc_client_channel.c - which connections a lane keeps, and what the library is told about them.
 *
 * A channel is kept per target and authority, used by any number of calls at once, and closed when
 * nobody used it for a minute, or when its room is wanted.
 *
 * What the library is told: no proxy, no service config, nothing looked up, a pool of subchannels
 * of its own (connections of equal targets are shared across channels otherwise, and with them
 * their backing off), no compression either way (what is compressed could unpack to anything), one
 * bound of memory for all lanes.  A dead host is noticed by pings, but only while a call waits.
 *
 * What a stream may send ahead is fixed.  Left to itself the library widens it by what it measures,
 * and when many streams wait for slow sinks it runs into its own bound and ends some of them
 * ("Buffers full").
 *
 * The library tries a failed target again after a while and lets calls fail at once meanwhile.
 * That suits a load balancer; we would rather know now whether a peer that was down is back, so a
 * channel whose call failed for lack of a connection, or had no answer in time, is given up.
 */
#include "rpc_client_channel.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "clock.h"
#include "mem.h"
#include "rpc_library.h"

#define KEEPALIVE_TIMEOUT_MS 5000 /* for a ping's answer */
#define BACKOFF_MS           100  /* the library's least */
#define BACKOFF_MAX_MS       500
#define SETTLE_MS            300         /* at the end, for what is connecting */
#define LOOKAHEAD            (512 << 10) /* bytes of one stream that may come unasked */
#define HEADERS_MAX          (16 << 10)  /* bytes of an answer's headers in all */
#define AGENT                "p2pd/" PACKAGE_VERSION

struct rpc_channel {
	struct rpc_channel *next;
	grpc_channel *core;
	char target[RPC_TARGET_SIZE], authority[NODE_ADDRESS_SIZE];
	size_t users;
	bool is_doubtful;
	uint64_t idle_ms; /* since when, if there are no users */
};

static grpc_arg
arg_int(const char *key, int value)
{
	return (grpc_arg){ .type = GRPC_ARG_INTEGER, .key = (char *)key, .value.integer = value };
}

static grpc_arg
arg_text(const char *key, const char *value)
{
	return (
	    grpc_arg){ .type = GRPC_ARG_STRING, .key = (char *)key, .value.string = (char *)value };
}

static grpc_arg
arg_quota(grpc_resource_quota *quota)
{
	return (grpc_arg){ .type = GRPC_ARG_POINTER,
			   .key = (char *)GRPC_ARG_RESOURCE_QUOTA,
			   .value.pointer = { .p = quota,
					      .vtable = grpc.resource_quota_arg_vtable() } };
}

static grpc_channel *
core_new(const struct rpc_channels *channels, const struct rpc_exchange *exchange)
{
	/* For each address; the library has one time for connecting and for backing off. */
	unsigned connect_ms = exchange->limits.connect_ms / exchange->target.count;
	grpc_arg args[] = {
		arg_int(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1),
		arg_int(GRPC_ARG_ENABLE_HTTP_PROXY, 0),
		arg_int(GRPC_ARG_SERVICE_CONFIG_DISABLE_RESOLUTION, 1),
		arg_int(GRPC_ARG_ENABLE_PER_MESSAGE_COMPRESSION, 0),
		arg_int(GRPC_ARG_ENABLE_PER_MESSAGE_DECOMPRESSION, 0),
		arg_int(GRPC_COMPRESSION_CHANNEL_ENABLED_ALGORITHMS_BITSET,
			1 << GRPC_COMPRESS_NONE),
		arg_int(GRPC_ARG_MAX_RECEIVE_MESSAGE_LENGTH, (int)channels->room.message_max),
		arg_int(GRPC_ARG_HTTP2_BDP_PROBE, 0),
		arg_int(GRPC_ARG_HTTP2_STREAM_LOOKAHEAD_BYTES, LOOKAHEAD),
		arg_int(GRPC_ARG_MAX_METADATA_SIZE, HEADERS_MAX),
		arg_int(GRPC_ARG_KEEPALIVE_TIME_MS, (int)channels->room.keepalive_ms),
		arg_int(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, KEEPALIVE_TIMEOUT_MS),
		arg_int(GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0),
		arg_int(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, BACKOFF_MS),
		arg_int(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, BACKOFF_MAX_MS),
		arg_int(GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, (int)connect_ms),
		arg_text(GRPC_ARG_DEFAULT_AUTHORITY, exchange->authority),
		arg_text(GRPC_ARG_PRIMARY_USER_AGENT_STRING, AGENT),
		arg_quota(channels->quota),
	};
	grpc_channel_args all = { .num_args = sizeof(args) / sizeof(args[0]), .args = args };
	grpc_channel_credentials *insecure = grpc.insecure_credentials_create();
	grpc_channel *core = grpc.channel_create(exchange->target.text, insecure, &all);

	grpc.channel_credentials_release(insecure);
	return core;
}

static void
unlink_and_free(struct rpc_channels *channels, struct rpc_channel *channel)
{
	struct rpc_channel **at = &channels->list;

	while (*at != channel)
		at = &(*at)->next;
	*at = channel->next;
	channels->count--;
	grpc.channel_destroy(channel->core);
	free(channel);
}

static struct rpc_channel *
find(struct rpc_channels *channels, const struct rpc_exchange *exchange)
{
	for (struct rpc_channel *at = channels->list; at != NULL; at = at->next)
		if (!at->is_doubtful && strcmp(at->target, exchange->target.text) == 0 &&
		    strcmp(at->authority, exchange->authority) == 0)
			return at;
	return NULL;
}

static bool
make_room(struct rpc_channels *channels)
{
	struct rpc_channel *oldest = NULL;

	if (channels->count < channels->room.channels_max)
		return true;
	for (struct rpc_channel *at = channels->list; at != NULL; at = at->next)
		if (at->users == 0 && (oldest == NULL || at->idle_ms < oldest->idle_ms))
			oldest = at;
	if (oldest != NULL)
		unlink_and_free(channels, oldest);
	return oldest != NULL;
}

struct rpc_channel *
rpc_channel_take(struct rpc_channels *channels, const struct rpc_exchange *exchange)
{
	struct rpc_channel *channel = find(channels, exchange);

	if (channel == NULL) {
		if (!make_room(channels))
			return NULL;
		channel = mem_zero(1, sizeof(*channel));
		memcpy(channel->target, exchange->target.text, sizeof(channel->target));
		snprintf(channel->authority, sizeof(channel->authority), "%s", exchange->authority);
		channel->core = core_new(channels, exchange);
		channel->next = channels->list;
		channels->list = channel;
		channels->count++;
	}
	channel->users++;
	return channel;
}

grpc_channel *
rpc_channel_core(struct rpc_channel *channel)
{
	return channel->core;
}

bool
rpc_channel_is_ready(const struct rpc_channel *channel)
{
	return grpc.channel_check_connectivity_state(channel->core, 0) == GRPC_CHANNEL_READY;
}

void
rpc_channel_leave(struct rpc_channels *channels, struct rpc_channel *channel, bool is_doubtful)
{
	channel->users--;
	channel->is_doubtful |= is_doubtful;
	channel->idle_ms = clock_ms();
	if (channel->users == 0 && channel->is_doubtful)
		unlink_and_free(channels, channel);
}

int
rpc_channels_look(struct rpc_channels *channels)
{
	uint64_t now_ms = clock_ms();
	int next_ms = TRANSPORT_STALL_NEVER;

	for (struct rpc_channel *at = channels->list, *next; at != NULL; at = next) {
		next = at->next;
		if (at->users > 0)
			continue;
		uint64_t idle_ms = now_ms - at->idle_ms;
		if (idle_ms >= RPC_CLIENT_CHANNEL_IDLE_MS)
			unlink_and_free(channels, at);
		else if ((int)(RPC_CLIENT_CHANNEL_IDLE_MS - idle_ms) < next_ms)
			next_ms = (int)(RPC_CLIENT_CHANNEL_IDLE_MS - idle_ms);
	}
	return next_ms;
}

size_t
rpc_channels_settle(struct rpc_channels *channels, grpc_completion_queue *queue, void *tag)
{
	gpr_timespec until = gpr.time_add(gpr.now(GPR_CLOCK_MONOTONIC),
					  gpr.time_from_millis(SETTLE_MS, GPR_TIMESPAN));
	size_t count = 0;

	for (struct rpc_channel *at = channels->list; at != NULL; at = at->next) {
		if (grpc.channel_check_connectivity_state(at->core, 0) != GRPC_CHANNEL_CONNECTING)
			continue;
		grpc.channel_watch_connectivity_state(at->core, GRPC_CHANNEL_CONNECTING, until,
						      queue, tag);
		count++;
	}
	return count;
}

void
rpc_channels_fini(struct rpc_channels *channels)
{
	while (channels->list != NULL)
		unlink_and_free(channels, channels->list);
}
