/* SPDX-License-Identifier: MIT
 *
 * address_guard.h - where we may connect to: one rule for every wire.  Any thread.
 *
 * Addresses come from others.  What is asked here is the resolved one, so that a name cannot show one address to us and another
 * to the kernel.
 */
#ifndef P2PD_ADDRESS_GUARD_H
#define P2PD_ADDRESS_GUARD_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define ADDRESS_OWN_MAX	128	/* places that we listen on and know as our own */

/* What is refused besides what always is; all zero: nothing.  Filled by one thread before another sees it. */
struct address_guard {
	bool refuse_private;	/* loopback, link-local and IPv4 in IPv6: for who can be reached by others */
	size_t own_count;
	struct address_own {
		struct in6_addr address;	/* IPv4 as ::ffff:a.b.c.d */
		bool is_any;		/* every address of this host is meant */
		uint16_t port;
	} own[ADDRESS_OWN_MAX];
};

/* We listen there: a literal address, a wildcard, or a name, which stands for every address of this host.  Beyond ADDRESS_OWN_MAX
 * nothing is remembered. */
void	address_guard_own(struct address_guard *guard, const char *host, uint16_t port);
/* True for what no connection goes to: unspecified, multicast and reserved addresses, families other than IPv4 and IPv6, what we
 * listen on ourselves, and what the guard says.  Borrows a guard and an address as long as its family says. */
bool	address_is_refused(const struct address_guard *guard, const struct sockaddr *address);

#endif
