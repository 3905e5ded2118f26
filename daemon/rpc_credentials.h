/* SPDX-License-Identifier: MIT
 *
 * rpc_credentials.h - by what a gRPC connection is protected.  So far by nothing: [security] in p2pd.conf(5).
 */
#ifndef P2PD_RPC_CREDENTIALS_H
#define P2PD_RPC_CREDENTIALS_H

#include <grpc/grpc.h>

grpc_server_credentials	 *rpc_credentials_server(void);		/* gives: grpc_server_credentials_release() */
grpc_channel_credentials *rpc_credentials_client(void);		/* gives: grpc_channel_credentials_release() */

#endif
