/* SPDX-License-Identifier: MIT
 *
 * rpc_credentials.c - by what a gRPC connection is protected.
 * A file of its own so that one that protects has its place.
 */
#include "rpc_credentials.h"

#include "rpc_library.h"

grpc_server_credentials *
rpc_credentials_server(void)
{
	return grpc.insecure_server_credentials_create();
}

grpc_channel_credentials *
rpc_credentials_client(void)
{
	return grpc.insecure_credentials_create();
}
