/* SPDX-License-Identifier: MIT
 *
 * address_guard.h - where we may connect to: one rule for every wire.  No I/O; any thread.
 *
 * Addresses come from others.  What is asked here is the resolved one, so that a name cannot show one address to us and another
 * to the kernel.
 */
#ifndef P2PD_ADDRESS_GUARD_H
#define P2PD_ADDRESS_GUARD_H

#include <stdbool.h>
#include <sys/socket.h>

/* True for what no connection goes to: unspecified, multicast and reserved addresses and families other than IPv4 and IPv6; with
 * `refuse_private` also loopback, link-local and IPv4 in IPv6.  Borrows an address as long as its family says. */
bool	address_is_refused(const struct sockaddr *address, bool refuse_private);

#endif
