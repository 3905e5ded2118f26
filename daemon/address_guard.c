/* SPDX-License-Identifier: MIT
 *
 * address_guard.c - the rule.
 *
 * Nobody is at 0/8 or in the classes above multicast; a connection to a multicast address reaches
 * whom it should not.  A peer that others can reach is also told of "peers" at 127.0.0.1 or
 * 169.254.169.254, which are services of its own host or cloud: those are refused when asked for,
 * and with them every IPv6 spelling of an IPv4 address, NAT64 included.  Private networks (RFC
 * 1918) are where most peers live and stay allowed.
 *
 * Nor does anybody talk to himself because he is told to.  Who listens on a wildcard is to be had at
 * every address of the host, and those come and go: so when the port is ours the kernel is asked
 * whether the address is, by binding a socket to it that nothing is sent by.
 */
#include "address_guard.h"

#include <arpa/inet.h>
#include <string.h>
#include <unistd.h>

static bool
is_refused4(uint32_t address, bool refuse_private)
{
	if (address >> 24 == 0 || address >> 28 >= 0xe) /* 0/8, multicast and beyond */
		return true;
	return refuse_private && (address >> 24 == 127 || address >> 16 == 0xa9fe); /* 169.254/16 */
}

/* The kernel takes it for the IPv4 address within. */
static bool
is_refused_mapped(const struct in6_addr *address, bool refuse_private)
{
	uint32_t within;

	memcpy(&within, address->s6_addr + 12, sizeof(within));
	return refuse_private || is_refused4(ntohl(within), false);
}

static bool
is_refused6(const struct in6_addr *address, bool refuse_private)
{
	/* 64:ff9b::/96 of everybody and 64:ff9b:1::/48 of a network's own. */
	static const unsigned char nat64[4] = { 0x00, 0x64, 0xff, 0x9b };

	if (IN6_IS_ADDR_UNSPECIFIED(address) || IN6_IS_ADDR_MULTICAST(address))
		return true;
	if (IN6_IS_ADDR_V4MAPPED(address))
		return is_refused_mapped(address, refuse_private);
	return refuse_private &&
	       (IN6_IS_ADDR_LOOPBACK(address) || IN6_IS_ADDR_LINKLOCAL(address) ||
		IN6_IS_ADDR_V4COMPAT(address) || memcmp(address, nat64, sizeof(nat64)) == 0);
}

/* --- our own --- */

static struct in6_addr
mapped(struct in_addr address)
{
	struct in6_addr ret = { .s6_addr = { [10] = 0xff, [11] = 0xff } };

	memcpy(ret.s6_addr + 12, &address, sizeof(address));
	return ret;
}

/* So that nothing else is needed to bind to it. */
union place {
	struct sockaddr any;
	struct sockaddr_in four;
	struct sockaddr_in6 six;
};

static bool
is_of_this_host(const union place *place)
{
	union place free_port = *place;
	bool is_four = place->any.sa_family == AF_INET;
	int fd = socket(place->any.sa_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return false;
	*(is_four ? &free_port.four.sin_port : &free_port.six.sin6_port) = 0;
	int ret =
	    bind(fd, &free_port.any, is_four ? sizeof(free_port.four) : sizeof(free_port.six));
	close(fd);
	return ret == 0;
}

/* Is it this one?  All zeros mean every address of this host, of IPv4 alone if they say so. */
static bool
is_at(const struct address_own *own, const struct in6_addr *address, const union place *place)
{
	if (!own->is_any)
		return IN6_ARE_ADDR_EQUAL(&own->address, address);
	if (IN6_IS_ADDR_V4MAPPED(&own->address) && !IN6_IS_ADDR_V4MAPPED(address))
		return false;
	return is_of_this_host(place);
}

static bool
is_own(const struct address_guard *guard, const union place *place)
{
	bool is_four = place->any.sa_family == AF_INET;
	uint16_t port = ntohs(is_four ? place->four.sin_port : place->six.sin6_port);
	struct in6_addr address = is_four ? mapped(place->four.sin_addr) : place->six.sin6_addr;

	for (size_t i = 0; i < guard->own_count; i++)
		if (guard->own[i].port == port && is_at(&guard->own[i], &address, place))
			return true;
	return false;
}

void
address_guard_own(struct address_guard *guard, const char *host, uint16_t port)
{
	struct in_addr four;
	struct address_own own = { .port = port };

	if (guard->own_count == ADDRESS_OWN_MAX)
		return;
	if (inet_pton(AF_INET, host, &four) == 1) {
		own.is_any = four.s_addr == INADDR_ANY;
		own.address = mapped(four);
	} else {
		own.is_any = inet_pton(AF_INET6, host, &own.address) != 1 ||
			     IN6_IS_ADDR_UNSPECIFIED(&own.address);
	}
	guard->own[guard->own_count++] = own;
}

bool
address_is_refused(const struct address_guard *guard, const struct sockaddr *address)
{
	union place place;

	if (address->sa_family == AF_INET) {
		memcpy(&place.four, address, sizeof(place.four));
		if (is_refused4(ntohl(place.four.sin_addr.s_addr), guard->refuse_private))
			return true;
	} else if (address->sa_family == AF_INET6) {
		memcpy(&place.six, address, sizeof(place.six));
		if (is_refused6(&place.six.sin6_addr, guard->refuse_private))
			return true;
	} else {
		return true;
	}
	return is_own(guard, &place);
}
