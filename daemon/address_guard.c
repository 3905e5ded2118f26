/* SPDX-License-Identifier: MIT
 *
 * address_guard.c - the rule.
 *
 * Nobody is at 0/8 or in the classes above multicast; a connection to a multicast address reaches
 * whom it should not.  A peer that others can reach is also told of "peers" at 127.0.0.1 or
 * 169.254.169.254, which are services of its own host or cloud: those are refused when asked for,
 * and with them every IPv6 spelling of an IPv4 address, NAT64 included.  Private networks (RFC
 * 1918) are where most peers live and stay allowed.
 */
#include "address_guard.h"

#include <netinet/in.h>
#include <stdint.h>
#include <string.h>

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

bool
address_is_refused(const struct sockaddr *address, bool refuse_private)
{
	if (address->sa_family == AF_INET) {
		const struct sockaddr_in *four = (const void *)address;

		return is_refused4(ntohl(four->sin_addr.s_addr), refuse_private);
	}
	if (address->sa_family == AF_INET6) {
		const struct sockaddr_in6 *six = (const void *)address;

		return is_refused6(&six->sin6_addr, refuse_private);
	}
	return true;
}
