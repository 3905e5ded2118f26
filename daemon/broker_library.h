/* SPDX-License-Identifier: MIT
 *
 * broker_library.h - librabbitmq, loaded when it is wanted.
 *
 * broker_link.c includes this file and writes amqp.basic_publish() for amqp_basic_publish().  What is called is listed in
 * broker_library.def, and nowhere else.
 */
#ifndef P2PD_BROKER_LIBRARY_H
#define P2PD_BROKER_LIBRARY_H

#include "error.h"

#ifdef AMQP_SONAME
#include <amqp.h>
#include <amqp_ssl_socket.h>
#include <amqp_tcp_socket.h>

/* The functions, each of the type that the library's headers give it; NULL before broker_library_load(). */
#define AMQP(name)	typeof(amqp_##name) *name;
extern struct amqp_functions {
#include "broker_library.def"
} amqp;
#undef AMQP
#endif

/* Loads it, once and for good; what failed once fails again.  P2P_OK, or P2P_UNREACHABLE with an error that names the library, or
 * says that p2pd was built without it.  Any thread. */
int	broker_library_load(struct error *err);

#endif
