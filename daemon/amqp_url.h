/* SPDX-License-Identifier: MIT
 *
 * amqp_url.h - where a broker is and who we are there, from amqp[s]://[user[:password]@]host[:port][/vhost].  No I/O; any thread.
 */
#ifndef P2PD_AMQP_URL_H
#define P2PD_AMQP_URL_H

#include <stdbool.h>
#include <stdint.h>

#include "error.h"

/* Bytes, with NUL. */
#define AMQP_USER_SIZE		128
#define AMQP_PASSWORD_SIZE	256
#define AMQP_HOST_SIZE		254
#define AMQP_VHOST_SIZE		256

struct amqp_url {
	bool is_tls;			/* amqps */
	char user[AMQP_USER_SIZE];	/* "guest" if none is given */
	char password[AMQP_PASSWORD_SIZE];
	bool has_password;
	char host[AMQP_HOST_SIZE];	/* without brackets */
	uint16_t port;			/* 5672, with TLS 5671, if none is given */
	char vhost[AMQP_VHOST_SIZE];	/* "/" if none is given */
};

/* %XX stands for a byte in user, password and vhost, which may have none below 0x20.  P2P_BAD_REQUEST, with a reason that quotes
 * neither the password nor anything near it. */
int	amqp_url_parse(const char *text, struct amqp_url *ret, struct error *err);

#endif
