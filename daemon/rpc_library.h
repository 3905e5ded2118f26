/* SPDX-License-Identifier: MIT
 *
 * rpc_library.h - the gRPC core, loaded when it is wanted.
 *
 * Who calls it includes this file and writes grpc.call_start_batch() for grpc_call_start_batch(), gpr.free() for gpr_free().
 * What is called is listed in rpc_library.def, and nowhere else.
 */
#ifndef P2PD_RPC_LIBRARY_H
#define P2PD_RPC_LIBRARY_H

#include <grpc/byte_buffer.h>
#include <grpc/byte_buffer_reader.h>
#include <grpc/grpc.h>
#include <grpc/slice.h>
#include <grpc/support/alloc.h>
#include <grpc/support/log.h>
#include <grpc/support/time.h>

#include "error.h"

/* As in <grpc/grpc_security.h>, which has names that are ours too (struct peer_info). */
grpc_server_credentials		*grpc_insecure_server_credentials_create(void);
grpc_channel_credentials	*grpc_insecure_credentials_create(void);

/* The functions, each of the type that the library's headers give it; NULL before rpc_library_load(). */
#define GRPC(name)	typeof(grpc_##name) *name;
#define GPR(name)
extern struct grpc_functions {
#include "rpc_library.def"
} grpc;
#undef GRPC
#undef GPR

#define GRPC(name)
#define GPR(name)	typeof(gpr_##name) *name;
extern struct gpr_functions {
#include "rpc_library.def"
} gpr;
#undef GRPC
#undef GPR

/* Loads it, once and for good; what failed once fails again.  P2P_OK, or P2P_UNREACHABLE with an error that names the
 * library.  It takes some milliseconds.  Any thread. */
int	rpc_library_load(struct error *err);

#endif
