/* SPDX-License-Identifier: MIT
 *
 * config_value.c - what a value in the configuration may look like.
 *
 * Strict on purpose: a number is digits, so that neither a sign, a blank, an exponent nor an
 * overflow slips through as strtoul(3) would let them; a host that looks like a number is
 * an IPv4 address in the one usual spelling or is refused, as getaddrinfo(3) would take 127.1,
 * 0x7f000001 and 017700000001 for loopback and the reader would not.
 *
 * Nothing here knows keys or files, or resolves a name.
 */
#include "config_value.h"

#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "config.h"
#include "mem.h"

#define HOST_MAX  253 /* bytes of a host's name */
#define LABEL_MAX 63  /* bytes between two of its dots */

struct unit {
	const char *suffix;
	uint64_t factor;
};

/* Numbers. */

/* Reads digits from *text on and moves it behind them. */
static int
digits(const char **text, uint64_t *ret)
{
	const char *at = *text;
	uint64_t value = 0;

	for (; *at >= '0' && *at <= '9'; at++)
		if (__builtin_mul_overflow(value, 10, &value) ||
		    __builtin_add_overflow(value, (uint64_t)(*at - '0'), &value))
			return P2P_BAD_REQUEST;
	if (at == *text)
		return P2P_BAD_REQUEST;
	*text = at;
	*ret = value;
	return P2P_OK;
}

/* `units` ends with a NULL suffix. */
static int
number_with_unit(const char *text, const struct unit *units, uint64_t *ret)
{
	uint64_t value;

	if (digits(&text, &value) != P2P_OK)
		return P2P_BAD_REQUEST;
	while (units->suffix != NULL && strcmp(units->suffix, text) != 0)
		units++;
	if (units->suffix == NULL || __builtin_mul_overflow(value, units->factor, &value))
		return P2P_BAD_REQUEST;
	*ret = value;
	return P2P_OK;
}

int
config_value_number(const char *text, uint64_t *ret)
{
	static const struct unit units[] = { { "", 1 }, { NULL, 0 } };

	return number_with_unit(text, units, ret);
}

int
config_value_size(const char *text, uint64_t *ret_bytes)
{
	static const struct unit units[] = {
		{ "", 1 },           { "K", 1ull << 10 }, { "M", 1ull << 20 },
		{ "G", 1ull << 30 }, { "T", 1ull << 40 }, { NULL, 0 },
	};

	return number_with_unit(text, units, ret_bytes);
}

int
config_value_seconds(const char *text, uint64_t *ret_s)
{
	static const struct unit units[] = {
		{ "", 1 }, { "s", 1 }, { "m", 60 }, { "h", 3600 }, { "d", 86400 }, { NULL, 0 },
	};

	return number_with_unit(text, units, ret_s);
}

int
config_value_millis(const char *text, uint64_t *ret_ms)
{
	static const struct unit units[] = {
		{ "", 1 },        { "ms", 1 },       { "s", 1000 }, { "m", 60000 },
		{ "h", 3600000 }, { "d", 86400000 }, { NULL, 0 },
	};

	return number_with_unit(text, units, ret_ms);
}

int
config_value_yesno(const char *text, bool *ret)
{
	static const char *const words[][2] = {
		{ "no", "yes" },
		{ "false", "true" },
		{ "off", "on" },
		{ "0", "1" },
	};

	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		for (int is_yes = 0; is_yes < 2; is_yes++)
			if (strcasecmp(text, words[i][is_yes]) == 0) {
				*ret = is_yes == 1;
				return P2P_OK;
			}
	return P2P_BAD_REQUEST;
}

/* Hosts and addresses. */

static bool
is_v4(const char *host)
{
	struct in_addr address;

	return inet_pton(AF_INET, host, &address) == 1;
}

static bool
is_v6(const char *host)
{
	struct in6_addr address;

	return inet_pton(AF_INET6, host, &address) == 1;
}

static bool
is_alnum(char c)
{
	return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

/* One label of a name: letters, digits, and in between - and _. */
static bool
is_label(const char *label, size_t len)
{
	if (len == 0 || len > LABEL_MAX || label[0] == '-' || label[len - 1] == '-')
		return false;
	for (size_t i = 0; i < len; i++)
		if (!is_alnum(label[i]) && label[i] != '-' && label[i] != '_')
			return false;
	return true;
}

/* A name whose last label is a number, decimal or 0x, is taken for an address by resolvers. */
static bool
looks_like_number(const char *label)
{
	if (strncasecmp(label, "0x", 2) == 0)
		return label[2 + strspn(label + 2, "0123456789abcdefABCDEF")] == '\0';
	return label[strspn(label, "0123456789")] == '\0';
}

static bool
is_name(const char *host)
{
	const char *label = host;

	if (strlen(host) > HOST_MAX)
		return false;
	for (;;) {
		size_t len = strcspn(label, ".");
		if (!is_label(label, len))
			return false;
		if (label[len] == '\0')
			return !looks_like_number(label);
		label += len + 1;
	}
}

int
config_value_host(const char *text, struct error *err)
{
	if (is_v4(text) || is_v6(text) || is_name(text))
		return P2P_OK;
	return error_set(err, P2P_BAD_REQUEST, "\"%s\" is neither a host's name nor an address",
			 text);
}

bool
config_is_loopback(const char *host)
{
	struct in_addr v4;
	struct in6_addr v6;

	if (strcasecmp(host, "localhost") == 0)
		return true;
	if (inet_pton(AF_INET, host, &v4) == 1)
		return ntohl(v4.s_addr) >> 24 == 127;
	if (inet_pton(AF_INET6, host, &v6) != 1)
		return false;
	return IN6_IS_ADDR_LOOPBACK(&v6) || (IN6_IS_ADDR_V4MAPPED(&v6) && v6.s6_addr[12] == 127);
}

static int
parse_port(const char *text, uint16_t *ret)
{
	uint64_t port;

	if (config_value_number(text, &port) != P2P_OK || port > UINT16_MAX)
		return P2P_BAD_REQUEST;
	*ret = (uint16_t)port;
	return P2P_OK;
}

/* Where the host of "host:port" is, and its port's text; false if it has not this shape. */
static bool
find_parts(const char *address, const char **ret_host, size_t *ret_len, const char **ret_port)
{
	bool is_bracketed = address[0] == '[';
	const char *host = address + is_bracketed;
	size_t len = strcspn(host, is_bracketed ? "]" : ":");

	if (is_bracketed && host[len] != ']')
		return false;
	const char *colon = host + len + is_bracketed;
	if (*colon != ':')
		return false;
	*ret_host = host;
	*ret_len = len;
	*ret_port = colon + 1;
	return true;
}

int
config_split_address(const char *address, char *ret_host, size_t host_size, uint16_t *ret_port,
		     struct error *err)
{
	const char *start, *port_text;
	char host[HOST_MAX + 1];
	size_t len;
	uint16_t port;

	if (!find_parts(address, &start, &len, &port_text))
		return error_set(err, P2P_BAD_REQUEST,
				 "\"%s\" is not of the form host:port or [IPv6 address]:port",
				 address);
	if (len == 0 || len > HOST_MAX || len >= host_size)
		return error_set(err, P2P_BAD_REQUEST, "\"%s\" has %s host", address,
				 len == 0 ? "no" : "too long a");
	memcpy(host, start, len);
	host[len] = '\0';
	if (address[0] == '[' ? !is_v6(host) : !is_v4(host) && !is_name(host))
		return error_set(err, P2P_BAD_REQUEST,
				 "\"%s\" is neither a host's name nor an address", host);
	if (parse_port(port_text, &port) != P2P_OK)
		return error_set(err, P2P_BAD_REQUEST, "\"%s\" is no port from 0 to 65535",
				 port_text);
	memcpy(ret_host, host, len + 1);
	*ret_port = port;
	return P2P_OK;
}

static bool
is_wildcard(const char *host)
{
	struct in_addr v4;
	struct in6_addr v6;

	if (inet_pton(AF_INET, host, &v4) == 1)
		return v4.s_addr == INADDR_ANY;
	return inet_pton(AF_INET6, host, &v6) == 1 && IN6_IS_ADDR_UNSPECIFIED(&v6);
}

int
config_value_url(const char *text, char **ret, struct error *err)
{
	static const char http[] = "http://", grpc[] = "grpc://";
	const char *scheme = strncmp(text, grpc, strlen(grpc)) == 0 ? grpc : http;
	char host[HOST_MAX + 1];
	uint16_t port;

	if (strncmp(text, scheme, strlen(scheme)) != 0)
		return error_set(err, P2P_BAD_REQUEST,
				 "\"%s\" does not begin with http:// or grpc://", text);
	char *address = mem_string(text + strlen(scheme));
	size_t len = strlen(address);
	if (len > 0 && address[len - 1] == '/')
		address[len - 1] = '\0';

	int code = config_split_address(address, host, sizeof(host), &port, err);
	if (code == P2P_OK && port == 0)
		code = error_set(err, P2P_BAD_REQUEST, "nobody can be reached at port 0");
	if (code == P2P_OK && is_wildcard(host))
		code = error_set(err, P2P_BAD_REQUEST, "nobody can be reached at %s", host);
	if (code == P2P_OK)
		*ret = mem_format("%s%s", scheme, address);
	free(address);
	return code;
}

/* Paths. */

int
config_value_path(const char *text, char **ret, struct error *err)
{
	if (text[0] != '/')
		return error_set(err, P2P_BAD_REQUEST, "\"%s\" is no absolute path", text);
	char *path = mem_alloc(strlen(text) + 2);
	size_t len = 0;
	for (const char *part = text; *part != '\0';) {
		part += strspn(part, "/");
		size_t part_len = strcspn(part, "/");
		if ((part_len == 1 && part[0] == '.') ||
		    (part_len == 2 && memcmp(part, "..", 2) == 0)) {
			free(path);
			return error_set(err, P2P_BAD_REQUEST, "\"%s\" has a \".\" or \"..\" in it",
					 text);
		}
		if (part_len > 0) {
			path[len++] = '/';
			memcpy(path + len, part, part_len);
			len += part_len;
		}
		part += part_len;
	}
	if (len == 0)
		path[len++] = '/';
	path[len] = '\0';
	*ret = path;
	return P2P_OK;
}
