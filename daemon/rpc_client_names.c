/* SPDX-License-Identifier: MIT
 *
 * rpc_client_names.c - hosts, looked up by us: every address is judged before gRPC sees it.
 *
 * The C core resolves and connects by itself and asks nobody between the two, so a name could lead
 * it where address_is_refused() says no.  Hence a channel only ever gets literal addresses, made
 * here.  Literal hosts are answered at once.  For names getaddrinfo() runs on the pool; what it
 * found is kept for a minute, because a fetch asks for its holder's name hundreds of times a
 * second.
 *
 * A resolver may hang for long and its job cannot be called back.  So only one look-up is on the
 * pool at any time, whatever others ask for, and one hanging resolver costs one worker.  Those who
 * ask wait no longer than they said; a name that nobody waits for any more is not looked up.
 *
 * A look-up under way points to `names` only from the mind's side: when the names are freed it is
 * cut off, and its completion frees the job alone.
 *
 * One target cannot mix ipv4: and ipv6:, but an IPv4 address has an IPv6 spelling that the core
 * turns back, also where the kernel has no IPv6.  All are tried in the order of the resolver.
 */
#include "rpc_client_names.h"

#include <arpa/inet.h>
#include <assert.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "clock.h"
#include "mem.h"

#define NAMES_MAX 256   /* kept at once, besides those that somebody waits for */
#define FRESH_MS  60000 /* an answer is used so long */
#define ABSENT_MS 1000  /* and "no such host" so long: it may be the resolver's fault */

union address {
	struct sockaddr any;
	struct sockaddr_in four;
	struct sockaddr_in6 six;
};

struct rpc_name {
	struct rpc_name *next; /* the newest first */
	char host[NODE_ADDRESS_SIZE];
	bool is_known;
	uint64_t known_ms;
	size_t count; /* 0: there is no such host */
	union address addresses[NODE_ADDRESSES_MAX];
	char why[128]; /* if count is 0 */
};

/* One look-up: a worker fills `found`, the mind takes it. */
struct job {
	struct rpc_names *names; /* NULL: nobody wants to know any more; mind */
	struct rpc_name found;
};

struct rpc_names {
	struct loop *loop;
	struct pool *pool;
	struct loop_timer *timer; /* for the asker that waits longest */
	struct rpc_name *all;
	struct rpc_names_asker *waiting, *waiting_last;
	struct job *job; /* under way */
};

/* Targets. */

static void
add_address(struct rpc_target *target, const union address *address, const char *port, bool as_six)
{
	char text[INET6_ADDRSTRLEN];
	size_t len = strlen(target->text);
	const char *divider = target->count == 0 ? "" : ",";
	bool is_four = address->any.sa_family == AF_INET;

	if (is_four)
		inet_ntop(AF_INET, &address->four.sin_addr, text, sizeof(text));
	else
		inet_ntop(AF_INET6, &address->six.sin6_addr, text, sizeof(text));
	snprintf(target->text + len, sizeof(target->text) - len,
		 as_six ? "%s[%s%s]:%s" : "%s%s%s:%s", divider, is_four && as_six ? "::ffff:" : "",
		 text, port);
	target->count++;
}

static void
set_port(union address *address, uint16_t port)
{
	if (address->any.sa_family == AF_INET)
		address->four.sin_port = htons(port);
	else if (address->any.sa_family == AF_INET6)
		address->six.sin6_port = htons(port);
}

/* Of the addresses that are not refused. */
static void
make_target(const struct rpc_name *name, const char *port, const struct address_guard *guard,
	    struct rpc_target *ret)
{
	bool as_six = false;

	for (size_t i = 0; i < name->count; i++)
		as_six |= name->addresses[i].any.sa_family == AF_INET6;
	*ret = (struct rpc_target){ .count = 0 };
	snprintf(ret->text, sizeof(ret->text), "%s", as_six ? "ipv6:" : "ipv4:");
	for (size_t i = 0; i < name->count && ret->count < RPC_NAMES_ADDRESSES_MAX; i++) {
		union address address = name->addresses[i];

		set_port(&address, (uint16_t)atoi(port));
		if (!address_is_refused(guard, &address.any))
			add_address(ret, &address, port, as_six);
	}
}

static void
answer(struct rpc_names_asker *asker, const struct rpc_name *name)
{
	struct error err = { .code = P2P_OK };
	struct rpc_target target;

	make_target(name, asker->port, asker->guard, &target);
	if (name->count == 0)
		error_set(&err, P2P_UNREACHABLE, "%s", name->why);
	else if (target.count == 0)
		error_set(&err, P2P_UNREACHABLE, "no connection goes to such an address");
	asker->fn(asker, err.code, &err, err.code == P2P_OK ? &target : NULL);
}

/* Askers. */

static void
leave(struct rpc_names *names, struct rpc_names_asker *asker)
{
	*(asker->prev != NULL ? &asker->prev->next : &names->waiting) = asker->next;
	*(asker->next != NULL ? &asker->next->prev : &names->waiting_last) = asker->prev;
	asker->next = asker->prev = NULL;
	asker->name = NULL;
}

static void
wait_for(struct rpc_names *names, struct rpc_names_asker *asker, struct rpc_name *name,
	 unsigned wait_ms)
{
	asker->name = name;
	asker->until_ms = clock_ms() + wait_ms;
	asker->next = NULL;
	asker->prev = names->waiting_last;
	*(asker->prev != NULL ? &asker->prev->next : &names->waiting) = asker;
	names->waiting_last = asker;
	if (!loop_timer_active(names->timer))
		loop_timer_start(names->timer, wait_ms);
}

static void
refuse(struct rpc_names *names, struct rpc_names_asker *asker, int code, const char *why)
{
	struct error err;

	leave(names, asker);
	error_set(&err, code, "%s", why);
	asker->fn(asker, code, &err, NULL);
}

/* The timer: all wait equally long, so the first is the oldest. */
static void
look_at_the_time(void *arg)
{
	struct rpc_names *names = arg;
	uint64_t now_ms = clock_ms();

	while (names->waiting != NULL && names->waiting->until_ms <= now_ms)
		refuse(names, names->waiting, P2P_TIMEOUT, "the name was not resolved in time");
	if (names->waiting != NULL)
		loop_timer_start(names->timer, names->waiting->until_ms - now_ms);
}

/* Names. */

static bool
is_waited_for(const struct rpc_names *names, const struct rpc_name *name)
{
	for (const struct rpc_names_asker *asker = names->waiting; asker != NULL;
	     asker = asker->next)
		if (asker->name == name)
			return true;
	return false;
}

static bool
is_old(const struct rpc_name *name, uint64_t now_ms)
{
	return !name->is_known ||
	       now_ms - name->known_ms > (name->count > 0 ? FRESH_MS : ABSENT_MS);
}

/* Drops what is old, and what is over the limit. */
static void
forget_some(struct rpc_names *names)
{
	uint64_t now_ms = clock_ms();
	size_t kept = 0;

	for (struct rpc_name **at = &names->all; *at != NULL;) {
		struct rpc_name *name = *at;

		if ((is_old(name, now_ms) || kept >= NAMES_MAX) && !is_waited_for(names, name)) {
			*at = name->next;
			free(name);
		} else {
			kept++;
			at = &name->next;
		}
	}
}

static struct rpc_name *
find(struct rpc_names *names, const char *host)
{
	for (struct rpc_name *name = names->all; name != NULL; name = name->next)
		if (strcmp(name->host, host) == 0)
			return name;
	return NULL;
}

/* Look-ups. */

/* A worker. */
static void
look_up(void *arg)
{
	struct rpc_name *found = &((struct job *)arg)->found;
	struct addrinfo hints = { .ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM };
	struct addrinfo *list = NULL;
	int ret = getaddrinfo(found->host, NULL, &hints, &list);

	if (ret != 0) {
		snprintf(found->why, sizeof(found->why), "%s", gai_strerror(ret));
		return;
	}
	snprintf(found->why, sizeof(found->why), "the name has no address");
	for (struct addrinfo *at = list; at != NULL && found->count < NODE_ADDRESSES_MAX;
	     at = at->ai_next)
		if (at->ai_addrlen <= sizeof(found->addresses[0]))
			memcpy(&found->addresses[found->count++], at->ai_addr, at->ai_addrlen);
	freeaddrinfo(list);
}

static void look_up_next(struct rpc_names *names);

/* Mind. */
static void
take_found(void *arg)
{
	struct job *job = arg;
	struct rpc_names *names = job->names;

	if (names == NULL) {
		free(job);
		return;
	}
	names->job = NULL;
	struct rpc_name *name = find(names, job->found.host);
	if (name != NULL) {
		struct rpc_name *next = name->next;

		*name = job->found;
		name->next = next;
		name->is_known = true;
		name->known_ms = clock_ms();
	}
	free(job);
	for (struct rpc_names_asker *asker = names->waiting, *next; asker != NULL; asker = next) {
		next = asker->next;
		if (asker->name == name) {
			leave(names, asker);
			answer(asker, name);
		}
	}
	forget_some(names);
	look_up_next(names);
}

/* The name that is waited for longest. */
static void
look_up_next(struct rpc_names *names)
{
	if (names->job != NULL || names->waiting == NULL)
		return;
	struct job *job = mem_zero(1, sizeof(*job));

	job->names = names;
	snprintf(job->found.host, sizeof(job->found.host), "%s", names->waiting->name->host);
	names->job = job;
	pool_submit(names->pool, POOL_SOON, look_up, take_found, job);
}

static bool
parse_literal(const char *host, struct rpc_name *ret)
{
	union address *address = &ret->addresses[0];

	*ret = (struct rpc_name){ .count = 1 };
	if (inet_pton(AF_INET, host, &address->four.sin_addr) == 1) {
		address->any.sa_family = AF_INET;
		return true;
	}
	if (inet_pton(AF_INET6, host, &address->six.sin6_addr) == 1) {
		address->any.sa_family = AF_INET6;
		return true;
	}
	return false;
}

/* "host:port" or "[v6]:port", apart. */
static void
divide(const char *authority, char ret_host[NODE_ADDRESS_SIZE], char ret_port[8])
{
	const char *colon = strrchr(authority, ':');
	bool is_bracketed = authority[0] == '[';

	assert(colon != NULL && colon - authority < NODE_ADDRESS_SIZE);
	snprintf(ret_port, 8, "%s", colon + 1);
	snprintf(ret_host, NODE_ADDRESS_SIZE, "%.*s", (int)(colon - authority) - 2 * is_bracketed,
		 authority + is_bracketed);
}

void
rpc_names_ask(struct rpc_names *names, struct rpc_names_asker *asker, const char *authority,
	      unsigned wait_ms)
{
	char host[NODE_ADDRESS_SIZE];
	struct rpc_name literal;

	assert(loop_is_mine(names->loop));
	divide(authority, host, asker->port);
	if (parse_literal(host, &literal)) {
		answer(asker, &literal);
		return;
	}
	forget_some(names);
	struct rpc_name *name = find(names, host);
	if (name != NULL && name->is_known) {
		answer(asker, name);
		return;
	}
	if (name == NULL) {
		name = mem_zero(1, sizeof(*name));
		snprintf(name->host, sizeof(name->host), "%s", host);
		name->next = names->all;
		names->all = name;
	}
	wait_for(names, asker, name, wait_ms);
	look_up_next(names);
}

void
rpc_names_leave(struct rpc_names *names, struct rpc_names_asker *asker)
{
	if (asker->name != NULL)
		leave(names, asker);
}

struct rpc_names *
rpc_names_new(struct loop *loop, struct pool *pool)
{
	struct rpc_names *names = mem_zero(1, sizeof(*names));

	names->loop = loop;
	names->pool = pool;
	names->timer = loop_timer_new(loop, look_at_the_time, names);
	return names;
}

void
rpc_names_free(struct rpc_names *names)
{
	while (names->waiting != NULL)
		refuse(names, names->waiting, P2P_SHUTTING_DOWN, "this peer is stopping");
	if (names->job != NULL)
		names->job->names = NULL;
	forget_some(names);
	for (struct rpc_name *next; names->all != NULL; names->all = next) {
		next = names->all->next;
		free(names->all);
	}
	loop_timer_free(names->timer);
	free(names);
}
