/* SPDX-License-Identifier: MIT
 *
 * rest_guard.c - whether a request was meant for this peer, and not sent by a page in somebody's
 * browser.
 *
 * A peer that listens on loopback believes itself alone with its user; but every page that the user
 * visits can make his browser send requests there.  Two checks close that door.
 *
 * Host must be a name of ours.  A page that points its own name at 127.0.0.1 (DNS rebinding) may
 * read our answers as its own, but its requests carry its own name.  Ours are: the literal address
 * of the very socket that the request came in by, localhost on loopback, the node's name, the hosts
 * of [network] advertise, and [rest] host.
 *
 * Origin and Sec-Fetch-Site, which pages cannot forge, must not speak of another site.  Programs
 * send neither.
 */
#include "rest_guard.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define HOST_SIZE 256 /* bytes of a Host field that could be ours, with NUL */
#define HTTP_PORT 80

void
rest_local_make(const char *host, uint16_t port, struct rest_local *ret)
{
	size_t len = strcspn(host, "%");

	*ret = (struct rest_local){ .port = port };
	snprintf(ret->host, sizeof(ret->host), "%.*s", (int)len, host);
	bool is_v6 = strchr(ret->host, ':') != NULL;
	snprintf(ret->literal, sizeof(ret->literal), is_v6 ? "[%.45s]:%u" : "%.45s:%u", ret->host,
		 (unsigned)port);
	ret->is_loopback = config_is_loopback(ret->host);
}

/* Where a Host field points: a host without brackets, and a port. */
struct place {
	char host[HOST_SIZE];
	uint16_t port;
	bool has_port;
};

static bool
parse_port(const char *text, struct place *ret)
{
	char *end;
	unsigned long port = strtoul(text, &end, 10);

	if (text[0] < '0' || text[0] > '9' || *end != '\0' || port == 0 || port > UINT16_MAX)
		return false;
	ret->port = (uint16_t)port;
	ret->has_port = true;
	return true;
}

static bool
parse_place(const char *text, struct place *ret)
{
	bool is_bracketed = text[0] == '[';
	size_t len;

	*ret = (struct place){ .port = HTTP_PORT };
	text += is_bracketed ? 1 : 0;
	len = strcspn(text, is_bracketed ? "]" : ":");
	if (len == 0 || len >= sizeof(ret->host) || (is_bracketed && text[len] != ']'))
		return false;
	memcpy(ret->host, text, len);
	text += len + (is_bracketed ? 1 : 0);
	return *text == '\0' || (*text == ':' && parse_port(text + 1, ret));
}

/* True if both are literal addresses, and the same. */
static bool
is_same_address(const char *a, const char *b)
{
	for (int family = AF_INET;; family = AF_INET6) {
		unsigned char left[16] = { 0 }, right[16] = { 0 };

		if (inet_pton(family, a, left) == 1 && inet_pton(family, b, right) == 1)
			return memcmp(left, right, sizeof(left)) == 0;
		if (family == AF_INET6)
			return false;
	}
}

static bool
is_same_host(const char *a, const char *b)
{
	return strcasecmp(a, b) == 0 || is_same_address(a, b);
}

/* [rest] host: without a port it stands for any. */
static bool
is_configured(const struct config *config, const struct place *place)
{
	for (size_t i = 0; i < config->rest_host.count; i++) {
		struct place ours;

		if (parse_place(config->rest_host.items[i], &ours) &&
		    is_same_host(ours.host, place->host) &&
		    (!ours.has_port || ours.port == place->port))
			return true;
	}
	return false;
}

/* [network] advertise: http://host:port, the port possibly mapped to ours by somebody between. */
static bool
is_advertised(const struct config *config, const struct place *place, uint16_t port)
{
	for (size_t i = 0; i < config->network_advertise.count; i++) {
		const char *text = config->network_advertise.items[i];
		struct place ours;

		if (strncasecmp(text, "http://", 7) == 0 && parse_place(text + 7, &ours) &&
		    is_same_host(ours.host, place->host) &&
		    (place->port == ours.port || place->port == port))
			return true;
	}
	return false;
}

static bool
is_ours(const struct config *config, const struct rest_local *local, const char *host)
{
	struct place place;

	if (strcmp(host, local->literal) == 0)
		return true;
	if (!parse_place(host, &place))
		return false;
	if (is_configured(config, &place) || is_advertised(config, &place, local->port))
		return true;
	if (place.port != local->port)
		return false;
	if (local->is_loopback && strcasecmp(place.host, "localhost") == 0)
		return true;
	return is_same_address(place.host, local->host) ||
	       (config->node_name != NULL && strcasecmp(place.host, config->node_name) == 0);
}

static bool
is_same_origin(const char *origin, const char *host)
{
	return strncasecmp(origin, "http://", 7) == 0 && strcasecmp(origin + 7, host) == 0;
}

int
rest_guard(const struct config *config, const struct rest_local *local,
	   const struct rest_claims *claims, struct error *err)
{
	const char *site = claims->fetch_site;

	if (claims->host_count != 1 || claims->host == NULL || claims->host[0] == '\0')
		return error_set(err, P2P_BAD_REQUEST, "a request has exactly one Host");
	if (!is_ours(config, local, claims->host))
		return error_set(err, P2P_MISDIRECTED,
				 "Host %.128s is no name of this peer; [rest] host in its "
				 "configuration can add it",
				 claims->host);
	if (claims->origin != NULL && !is_same_origin(claims->origin, claims->host))
		return error_set(err, P2P_FORBIDDEN,
				 "the request comes from a page of another site");
	if (site != NULL && strcasecmp(site, "same-origin") != 0 && strcasecmp(site, "none") != 0)
		return error_set(err, P2P_FORBIDDEN,
				 "the request comes from a page of another site");
	return P2P_OK;
}
