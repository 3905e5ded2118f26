/* SPDX-License-Identifier: MIT
 *
 * broker_library.c - librabbitmq, loaded when it is wanted.
 *
 * Most peers have no broker, and need the library neither in memory (it brings OpenSSL's TLS with
 * it) nor installed.  So it is loaded, as the gRPC core is (rpc_library.c): by the name under which
 * a program that is linked to it finds it (AMQP_SONAME), all functions at once, and never unloaded.
 * Without AMQP_SONAME p2pd was configured --without-amqp.
 */
#include "broker_library.h"

#ifdef AMQP_SONAME

#include <dlfcn.h>
#include <pthread.h>
#include <stdbool.h>
#include <string.h>

struct amqp_functions amqp;

static const struct function {
	const char *name;
	void *at; /* the pointer to it */
} functions[] = {
#define AMQP(name) { "amqp_" #name, &amqp.name },
#include "broker_library.def"
#undef AMQP
};

static struct error failure; /* written once */

/* The loader's own words name the library. */
static void
load(void)
{
	void *library = dlopen(AMQP_SONAME, RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
	bool is_there = library != NULL;

	for (size_t i = 0; is_there && i < sizeof(functions) / sizeof(functions[0]); i++) {
		void *address = dlsym(library, functions[i].name);
		is_there = address != NULL;
		memcpy(functions[i].at, &address, sizeof(address));
	}
	if (!is_there)
		error_set(&failure, P2P_UNREACHABLE, "the AMQP library cannot be loaded: %s",
			  dlerror());
}

int
broker_library_load(struct error *err)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;

	pthread_once(&once, load);
	if (failure.code != P2P_OK)
		return error_set(err, failure.code, "%s", failure.text);
	return P2P_OK;
}

#else

int
broker_library_load(struct error *err)
{
	return error_set(err, P2P_UNREACHABLE, "this p2pd was built without AMQP");
}

#endif
