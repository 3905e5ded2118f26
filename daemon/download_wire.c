/* SPDX-License-Identifier: MIT
 *
 * download_wire.c - by which wire a download asks a holder, and whom it may ask at all.
 *
 * Each request goes by one of the holder's wires (wire_choice.h).  Trouble that may be the wire's alone makes the others go by the holder's
 * other wire, and is the holder's failure only when none of them is left.  A liar lies on every wire.
 */
#include "download_internal.h"

#include "clock.h"
#include "log.h"

unsigned
download_wires(const struct download_means *means, const struct peer_info *peer)
{
	static const unsigned allowed[] = {
		[TRANSPORT_AUTO] = WIRE_BIT(WIRE_REST) | WIRE_BIT(WIRE_GRPC),
		[TRANSPORT_GRPC] = WIRE_BIT(WIRE_GRPC),
		[TRANSPORT_REST] = WIRE_BIT(WIRE_REST),
	};
	unsigned wires = 0;
	for (enum wire wire = WIRE_REST; wire < WIRE_COUNT; wire++)
		if (peer->wire_address[wire][0] != '\0')
			wires |= WIRE_BIT(wire);
	return wires & allowed[means->config->network_transport];
}

bool
download_is_limited(const struct download_means *means)
{
	return rate_is_limited(throttle_down(means->throttle));
}

bool
download_find_peer(struct download *download, const char *peer, struct peer_info *ret)
{
	if (!peers_find(download->means->peers, peer, ret) || ret->state == PEER_AWAY)
		return false;
	bool is_barred = download_wires(download->means, ret) == 0;
	download->is_barred |= is_barred;
	return !is_barred;
}

void
download_begin_wire(const struct download *download, const struct peer_info *peer,
    enum wire_use use, struct wire_run *ret)
{
	wire_choice_begin(download->means->wires, peer->id, download_wires(download->means, peer),
	    use, clock_us(), ret);
}

enum wire_outcome
download_wire_outcome(int code)
{
	switch (code) {
	case P2P_OK:
		return WIRE_WORKED;
	case P2P_CANCELLED:
	case P2P_SHUTTING_DOWN:
	case P2P_NOT_FOUND:
	case P2P_CONFLICT:
	case P2P_BAD_RANGE:
	case P2P_BAD_METHOD:	/* a peer of an earlier version */
	case P2P_BAD_CONTENT:
	case P2P_IO:
		return WIRE_UNJUDGED;
	default:
		return WIRE_FAILED;
	}
}

bool
download_end_wire(const struct download *download, const char *peer, const struct wire_run *run,
    enum wire_outcome outcome, uint64_t bytes)
{
	const struct download_means *means = download->means;
	struct peer_info info;
	uint64_t now_us = clock_us();
	wire_choice_end(means->wires, peer, run, outcome, bytes, now_us);
	if (outcome != WIRE_FAILED || !peers_find(means->peers, peer, &info))
		return true;
	bool has_other =
	    wire_choice_is_open(means->wires, peer, download_wires(means, &info), now_us);
	log_debug("peer %s failed by %s: %s", peer, wire_name(run->wire),
	    has_other ? "it is asked by another wire" : "it has no other wire to be tried now");
	return !has_other;
}
