/* SPDX-License-Identifier: MIT
 *
 * rpc_library.c - the gRPC core, loaded when it is wanted.
 *
 * It comes with 46 shared objects and makes a process that does nothing half as large again.  So
 * the daemon is not linked to it: who serves or speaks gRPC loads it first, and whoever uses REST
 * alone never has it, needs it not even installed.
 *
 * It is libgrpc_unsecure, which is libgrpc without TLS.  What is loaded are the libraries that
 * configure linked to (GRPC_SONAME, GPR_SONAME), for which the headers speak: a later one with
 * other types has another name.  All our functions are looked up at once, so that one which is
 * missing is told now, and not when it is called.
 *
 * Nothing is ever unloaded: the library has threads, and sanitizers could not tell what it left.
 */
#include "rpc_library.h"

#include <dlfcn.h>
#include <grpc/grpc_security.h> /* so that the compiler compares it with what we declare */
#include <pthread.h>
#include <string.h>

struct grpc_functions grpc;
struct gpr_functions gpr;

struct function {
	const char *name;
	void *at; /* the pointer to it */
};

static const struct function grpc_functions[] = {
#define GRPC(name) { "grpc_" #name, &grpc.name },
#define GPR(name)
#include "rpc_library.def"
#undef GRPC
#undef GPR
};
static const struct function gpr_functions[] = {
#define GRPC(name)
#define GPR(name) { "gpr_" #name, &gpr.name },
#include "rpc_library.def"
#undef GRPC
#undef GPR
};
#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* The loader's own words name the library. */
static int
cannot(struct error *err)
{
	return error_set(err, P2P_UNREACHABLE, "the gRPC library cannot be loaded: %s", dlerror());
}

static int
load(const char *soname, const struct function *functions, size_t count, struct error *err)
{
	void *library = dlopen(soname, RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);

	if (library == NULL)
		return cannot(err);
	for (size_t i = 0; i < count; i++) {
		void *address = dlsym(library, functions[i].name);
		if (address == NULL)
			return cannot(err);
		memcpy(functions[i].at, &address, sizeof(address));
	}
	return P2P_OK;
}

static struct error failure; /* written once */

static void
load_both(void)
{
	if (load(GPR_SONAME, gpr_functions, COUNT(gpr_functions), &failure) == P2P_OK)
		load(GRPC_SONAME, grpc_functions, COUNT(grpc_functions), &failure);
}

int
rpc_library_load(struct error *err)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;

	pthread_once(&once, load_both);
	if (failure.code != P2P_OK)
		return error_set(err, failure.code, "%s", failure.text);
	return P2P_OK;
}
