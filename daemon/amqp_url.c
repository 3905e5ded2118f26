/* SPDX-License-Identifier: MIT
 *
 * amqp_url.c - where a broker is and who we are there.
 *
 * As RabbitMQ's URI specification has it, but for two things.  A path of `/` alone is the vhost
 * `/`, as if there were none: the empty vhost, which it would be by the letter, exists nowhere.
 * And there are no queries: what they would say has keys of its own.
 *
 * The text holds a password, so no reason ever quotes it.
 */
#include "amqp_url.h"

#include <string.h>

#include "config.h"

static int
hex(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* One byte at *at, which moves behind it; -1 for what is none. */
static int
take_byte(const char **at, const char *end)
{
	if (**at != '%')
		return (unsigned char)*(*at)++;
	if (end - *at < 3 || hex((*at)[1]) < 0 || hex((*at)[2]) < 0)
		return -1;
	int byte = hex((*at)[1]) << 4 | hex((*at)[2]);
	*at += 3;
	return byte;
}

static int
decode(const char *what, const char *at, const char *end, char *ret, size_t size, struct error *err)
{
	size_t len = 0;
	while (at < end) {
		int byte = take_byte(&at, end);
		if (byte < 0x20 || byte == 0x7f)
			return error_set(err, P2P_BAD_REQUEST,
					 "the %s has a %% without two hex digits, or a control "
					 "character",
					 what);
		if (len + 1 >= size)
			return error_set(err, P2P_BAD_REQUEST, "the %s is longer than %zu bytes",
					 what, size - 1);
		ret[len++] = (char)byte;
	}
	ret[len] = '\0';
	return P2P_OK;
}

/* "user", "user:password": what stands before the @. */
static int
take_user(const char *at, const char *end, struct amqp_url *ret, struct error *err)
{
	const char *colon = memchr(at, ':', (size_t)(end - at));
	int code = decode("user", at, colon ? colon : end, ret->user, sizeof(ret->user), err);
	if (code != P2P_OK || colon == NULL)
		return code;
	ret->has_password = true;
	return decode("password", colon + 1, end, ret->password, sizeof(ret->password), err);
}

/* "host", "host:port", "[v6]", "[v6]:port". */
static int
take_host(const char *at, const char *end, struct amqp_url *ret, struct error *err)
{
	char address[AMQP_HOST_SIZE + 16];
	size_t len = (size_t)(end - at);
	if (len == 0 || len > AMQP_HOST_SIZE)
		return error_set(err, P2P_BAD_REQUEST, "it has no host, or one that is too long");
	memcpy(address, at, len);
	address[len] = '\0';
	const char *behind = address[0] == '[' ? strchr(address, ']') : address;
	if (behind == NULL || strchr(behind, ':') == NULL)
		strcpy(address + len, ret->is_tls ? ":5671" : ":5672");
	if (config_split_address(address, ret->host, sizeof(ret->host), &ret->port, NULL) !=
		P2P_OK ||
	    ret->port == 0)
		return error_set(err, P2P_BAD_REQUEST, "its host or port makes no sense");
	return P2P_OK;
}

static int
take_vhost(const char *path, struct amqp_url *ret, struct error *err)
{
	if (path[0] == '\0' || path[1] == '\0') {
		strcpy(ret->vhost, "/");
		return P2P_OK;
	}
	if (strpbrk(path + 1, "/?#") != NULL)
		return error_set(err, P2P_BAD_REQUEST,
				 "the vhost has a /, ? or # in it (a / is written %%2f)");
	return decode("vhost", path + 1, path + strlen(path), ret->vhost, sizeof(ret->vhost), err);
}

int
amqp_url_parse(const char *text, struct amqp_url *ret, struct error *err)
{
	static const char plain[] = "amqp://", tls[] = "amqps://";
	struct amqp_url url = { .is_tls = strncmp(text, tls, strlen(tls)) == 0, .user = "guest" };
	const char *scheme = url.is_tls ? tls : plain;
	if (strncmp(text, scheme, strlen(scheme)) != 0)
		return error_set(err, P2P_BAD_REQUEST,
				 "it does not begin with amqp:// or amqps://");
	const char *at = text + strlen(scheme);
	const char *path = at + strcspn(at, "/?#");
	const char *sign = memrchr(at, '@', (size_t)(path - at));
	int code = P2P_OK;
	if (sign != NULL) {
		code = take_user(at, sign, &url, err);
		at = sign + 1;
	}
	if (code == P2P_OK)
		code = take_host(at, path, &url, err);
	if (code == P2P_OK)
		code = *path == '\0' || *path == '/'
			   ? take_vhost(path, &url, err)
			   : error_set(err, P2P_BAD_REQUEST, "it has a query or a fragment");
	if (code == P2P_OK)
		*ret = url;
	return code;
}
