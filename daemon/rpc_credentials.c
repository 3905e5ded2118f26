/* SPDX-License-Identifier: MIT
 *
 * rpc_credentials.c - by what a gRPC connection is protected.
 *
 * A file of its own because <grpc/grpc_security.h> has names that are ours too (struct peer_info).
 */
#include "rpc_credentials.h"

#include <grpc/grpc_security.h>

grpc_server_credentials *
rpc_credentials_server(void)
{
	return grpc_insecure_server_credentials_create();
}

grpc_channel_credentials *
rpc_credentials_client(void)
{
	return grpc_insecure_credentials_create();
}
