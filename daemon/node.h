/* SPDX-License-Identifier: MIT
 *
 * node.h - what a peer says of itself when peers register with each other.  Plain data; any thread.
 */
#ifndef P2PD_NODE_H
#define P2PD_NODE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "change.h"
#include "error.h"

#define NODE_NAME_SIZE		64	/* bytes of a peer's name for people, with NUL */
#define NODE_VERSION_SIZE	32	/* bytes, with NUL */
#define NODE_ADDRESSES_MAX	8	/* addresses of one peer */
#define NODE_ADDRESS_SIZE	128	/* bytes of "http://host:port" or "grpc://host:port", with NUL */
#define NODE_KNOWN_MAX		1000	/* peers told in one answer */

/* By what a peer is spoken to: REST or gRPC.  An address says it by its scheme. */
enum wire { WIRE_REST, WIRE_GRPC };
#define WIRE_COUNT		2
#define WIRE_BIT(wire)		(1u << (wire))	/* of a set of wires */

struct node_record {
	char id[PEER_ID_SIZE];
	char name[NODE_NAME_SIZE];
	char version[NODE_VERSION_SIZE];
	size_t address_count;
	char addresses[NODE_ADDRESSES_MAX][NODE_ADDRESS_SIZE];	/* where its faces listen: REST first, of each kind the best first */
	uint64_t epoch, seq;			/* of its catalog */
	uint64_t file_count, byte_count;	/* that it shares */
};

/* Whom a peer takes for here, but itself and the one it speaks to, as sums that tell no names (peers_view.c). */
#define NODE_VIEW_SUMS		16
struct node_view {
	bool is_told;				/* false: nothing is said of it, as by earlier versions */
	uint32_t sums[NODE_VIEW_SUMS];
};

/* What a greeting says. */
struct node_hello {
	struct node_record node;
	struct node_view view;
};

/* "peer's catalog is now at (epoch, seq)": a hint that makes the receiver pull.  Or "it did not answer me", which makes him greet it. */
struct notice {
	char peer[PEER_ID_SIZE];
	uint64_t epoch, seq;
	bool is_lost;
};

/*
 * Checks what came from outside: a peer id, printable names, at most NODE_ADDRESSES_MAX addresses of the form of
 * node_address_check().  P2P_BAD_REQUEST with the field's name.
 */
int	node_check(const struct node_record *node, struct error *err);
/* "http://host:port" (REST) or "grpc://host:port": a host name or literal IPv4 (dotted, decimal) or [IPv6], a port 1-65535,
 * nothing else: no user, path, query or fragment. */
int	node_address_check(const char *address, struct error *err);
/* Makes "http://host:port" or "grpc://host:port" of a host without brackets. */
void	node_address_make(enum wire wire, const char *host, uint16_t port, char ret[NODE_ADDRESS_SIZE]);
/* The wire of an address that passed node_address_check(). */
enum wire	node_address_wire(const char *address);
/* "rest", "grpc": as [network] transport and people call it. */
const char	*wire_name(enum wire wire);

#endif
