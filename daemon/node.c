/* SPDX-License-Identifier: MIT
 *
 * node.c - is what a peer says of itself fit to be used?
 *
 * A node record arrives from anybody who can reach us, and its addresses are what we will connect
 * to: they are the door to every trick with URLs.  Hence an address has one narrow form,
 * scheme://host:port, and of each thing there is one spelling.  The scheme is the wire: http or
 * grpc, no other.  A host whose last label begins with a digit is an IPv4 address to some resolver
 * (decimal, octal, hex, short forms), so it must be a proper dotted quad.  IPv6 that wraps IPv4 is
 * refused, because it is a second spelling of an address that has a first.
 *
 * Where an address may lead is not decided here: peers drops loopback claims from afar, the clients
 * of both wires refuse at connect time.  0.0.0.0 and [::] pass, since a listener says them of
 * itself; peers replaces them before anything connects.
 */
#include "node.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "name.h"

#define LABEL_MAX   63  /* bytes of one label of a host name */
#define HOST_MAX    100 /* bytes of a host, without NUL */
#define PORT_DIGITS 5

static const struct {
	const char *name, *scheme;
} wires[WIRE_COUNT] = {
	[WIRE_REST] = { "rest", "http://" },
	[WIRE_GRPC] = { "grpc", "grpc://" },
};

static bool
is_label(const char *label, size_t len)
{
	if (len == 0 || len > LABEL_MAX || label[0] == '-' || label[len - 1] == '-')
		return false;
	for (size_t i = 0; i < len; i++)
		if (!isascii((unsigned char)label[i]) ||
		    (!isalnum((unsigned char)label[i]) && label[i] != '-' && label[i] != '_'))
			return false;
	return true;
}

static bool
is_host_name(const char *host)
{
	for (;;) {
		size_t len = strcspn(host, ".");

		if (!is_label(host, len))
			return false;
		if (host[len] == '\0')
			return !isdigit((unsigned char)host[0]);
		host += len + 1;
	}
}

static bool
is_host4(const char *host)
{
	struct in_addr ignored;

	return inet_pton(AF_INET, host, &ignored) == 1;
}

static bool
is_host6(const char *host)
{
	struct in6_addr address;

	return inet_pton(AF_INET6, host, &address) == 1 && !IN6_IS_ADDR_V4MAPPED(&address) &&
	       (!IN6_IS_ADDR_V4COMPAT(&address) || IN6_IS_ADDR_UNSPECIFIED(&address));
}

static bool
is_port(const char *port)
{
	size_t len = strspn(port, "0123456789");
	unsigned value = 0;

	if (len == 0 || len > PORT_DIGITS || port[len] != '\0' || port[0] == '0')
		return false;
	for (size_t i = 0; i < len; i++)
		value = value * 10 + (unsigned)(port[i] - '0');
	return value <= UINT16_MAX;
}

/* "host:port" or "[v6]:port". */
static bool
is_authority(const char *text)
{
	char host[HOST_MAX + 1];
	bool is_bracketed = text[0] == '[';
	const char *begin = is_bracketed ? text + 1 : text;
	size_t len = strcspn(begin, is_bracketed ? "]" : ":");
	const char *rest = begin + len;

	if (len == 0 || len > HOST_MAX)
		return false;
	memcpy(host, begin, len);
	host[len] = '\0';
	if (is_bracketed && *rest++ != ']')
		return false;
	if (*rest++ != ':' || !is_port(rest))
		return false;
	return is_bracketed ? is_host6(host) : is_host4(host) || is_host_name(host);
}

int
node_address_check(const char *address, struct error *err)
{
	if (strnlen(address, NODE_ADDRESS_SIZE) == NODE_ADDRESS_SIZE)
		return error_set(err, P2P_BAD_REQUEST, "An address is longer than %d bytes",
				 NODE_ADDRESS_SIZE - 1);
	for (size_t i = 0; i < WIRE_COUNT; i++) {
		size_t len = strlen(wires[i].scheme);

		if (strncmp(address, wires[i].scheme, len) == 0 && is_authority(address + len))
			return P2P_OK;
	}
	return error_set(
	    err, P2P_BAD_REQUEST,
	    "\"%s\" is no address of the form http://host:port or grpc://host:port", address);
}

enum wire
node_address_wire(const char *address)
{
	const char *grpc = wires[WIRE_GRPC].scheme;

	return strncmp(address, grpc, strlen(grpc)) == 0 ? WIRE_GRPC : WIRE_REST;
}

const char *
wire_name(enum wire wire)
{
	return wires[wire].name;
}

void
node_address_make(enum wire wire, const char *host, uint16_t port, char ret[NODE_ADDRESS_SIZE])
{
	bool is_six = strchr(host, ':') != NULL;

	snprintf(ret, NODE_ADDRESS_SIZE, "%s%s%s%s:%u", wires[wire].scheme, is_six ? "[" : "", host,
		 is_six ? "]" : "", port);
}

/* A version is printable ASCII, and may be empty. */
static bool
is_version(const char *version)
{
	size_t len = strnlen(version, NODE_VERSION_SIZE);

	for (size_t i = 0; i < len; i++)
		if (version[i] <= ' ' || version[i] > '~')
			return false;
	return len < NODE_VERSION_SIZE;
}

int
node_check(const struct node_record *node, struct error *err)
{
	size_t name_len = strnlen(node->name, NODE_NAME_SIZE);

	if (strnlen(node->id, PEER_ID_SIZE) == PEER_ID_SIZE || !digest_is_base32(node->id))
		return error_set(err, P2P_BAD_REQUEST,
				 "\"id\" is no peer id: 52 characters of base32");
	/* The same characters as in a file's name: nothing that moves a cursor or turns a line
	 * around. */
	if (name_len == NODE_NAME_SIZE || name_check_part(node->name, name_len, NULL) != P2P_OK)
		return error_set(err, P2P_BAD_REQUEST,
				 "\"name\" is not 1 to %d bytes of printable text",
				 NODE_NAME_SIZE - 1);
	if (!is_version(node->version))
		return error_set(err, P2P_BAD_REQUEST,
				 "\"version\" is not up to %d printable characters",
				 NODE_VERSION_SIZE - 1);
	if (node->address_count > NODE_ADDRESSES_MAX)
		return error_set(err, P2P_BAD_REQUEST, "\"addresses\" has more than %d entries",
				 NODE_ADDRESSES_MAX);
	for (size_t i = 0; i < node->address_count; i++) {
		int code = node_address_check(node->addresses[i], err);

		if (code != P2P_OK)
			return code;
	}
	return P2P_OK;
}
