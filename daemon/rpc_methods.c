/* SPDX-License-Identifier: MIT
 *
 * rpc_methods.c - the table of everything that the gRPC face answers.
 *
 * One row a method; what a row means is in rpc_internal.h.  Dispatch, the library's registration
 * and the manual's list are made from it, so a method that is not here does not exist: the
 * library's own default for those is in rpc_call.c.
 *
 * `waits` is the rule of concurrency in one column: methods that read or write file bytes, or
 * read more of the catalog than a key, run on the pool, where they hold up nobody.  The others
 * are done before the thread could have been handed over.
 */
#include "rpc_internal.h"

#include "health.pb-c.h"
#include "p2p.pb-c.h"
#include "reflection.pb-c.h"

#define WAITS true
#define QUICK false

/* clang-format off */
const struct rpc_method rpc_methods[] = {
	{ "/p2p.v1.Peers/Register",
	    "Registers the caller; answers this peer's record and those that it knows.",
	    RPC_UNARY, QUICK, &p2p__v1__register_request__descriptor, rpc_register, NULL, NULL },
	{ "/p2p.v1.Peers/List",
	    "Streams the peers known here.",
	    RPC_SERVER_STREAM, QUICK, &p2p__v1__list_peers_request__descriptor,
	    rpc_list_peers, rpc_list_peers_next, rpc_list_peers_end },
	{ "/p2p.v1.Peers/Leave",
	    "Says good-bye for the calling peer.",
	    RPC_UNARY, QUICK, &p2p__v1__leave_request__descriptor, rpc_leave, NULL, NULL },
	{ "/p2p.v1.Peers/Notify",
	    "Hints that a peer's catalog has changed.",
	    RPC_UNARY, QUICK, &p2p__v1__notice__descriptor, rpc_notify, NULL, NULL },

	{ "/p2p.v1.Files/Search",
	    "Streams the files of the network, or of this peer, that fit.",
	    RPC_SERVER_STREAM, WAITS, &p2p__v1__search_request__descriptor,
	    rpc_search, rpc_search_next, rpc_search_end },
	{ "/p2p.v1.Files/Stat",
	    "Tells of one file of this peer, and of an unfinished upload to its name.",
	    RPC_UNARY, QUICK, &p2p__v1__stat_request__descriptor, rpc_stat, NULL, NULL },
	{ "/p2p.v1.Files/Download",
	    "Streams the bytes of a file, from any offset.",
	    RPC_SERVER_STREAM, WAITS, &p2p__v1__download_request__descriptor,
	    rpc_download, rpc_download_next, rpc_download_end },
	{ "/p2p.v1.Files/DownloadMany",
	    "Streams many small contents that this peer has.",
	    RPC_SERVER_STREAM, WAITS, &p2p__v1__download_many_request__descriptor,
	    rpc_download_many, rpc_download_many_next, rpc_download_many_end },
	{ "/p2p.v1.Files/Upload",
	    "Adds a file to this peer's share.",
	    RPC_CLIENT_STREAM, WAITS, &p2p__v1__upload_request__descriptor, rpc_upload, NULL, rpc_upload_end },
	{ "/p2p.v1.Files/Layer",
	    "Answers the piece layer of a content that this peer has or fetches, or the leaves under a piece.",
	    RPC_UNARY, WAITS, &p2p__v1__layer_request__descriptor, rpc_layer, NULL, NULL },
	{ "/p2p.v1.Files/Have",
	    "Tells which pieces of a content this peer has, and what is new of them.",
	    RPC_UNARY, QUICK, &p2p__v1__have_request__descriptor, rpc_have, rpc_have_next, rpc_have_end },
	{ "/p2p.v1.Files/Directories",
	    "Tells what directories of this peer's share are like.",
	    RPC_UNARY, WAITS, &p2p__v1__directories_request__descriptor, rpc_directories, NULL, NULL },
	{ "/p2p.v1.Files/Changes",
	    "Answers the changes of one peer's files since a seq.",
	    RPC_UNARY, WAITS, &p2p__v1__changes_request__descriptor, rpc_changes, NULL, NULL },

	{ "/p2p.v1.Events/Watch",
	    "Streams what happens, from now on or after the last event seen.",
	    RPC_SERVER_STREAM, QUICK, &p2p__v1__watch_request__descriptor,
	    rpc_watch, rpc_watch_next, rpc_watch_end },

	{ "/grpc.health.v1.Health/Check",
	    "Answers whether a service is served.",
	    RPC_UNARY, QUICK, &grpc__health__v1__health_check_request__descriptor,
	    rpc_health_check, NULL, NULL },
	{ "/grpc.health.v1.Health/Watch",
	    "Streams whether a service is served.",
	    RPC_SERVER_STREAM, QUICK, &grpc__health__v1__health_check_request__descriptor,
	    rpc_health_watch, rpc_health_watch_next, rpc_health_watch_end },

	/* One protocol by two names: v1 differs from v1alpha in nothing else. */
	{ "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
	    "Answers what services there are, and their description.",
	    RPC_BOTH_STREAM, QUICK, &grpc__reflection__v1alpha__server_reflection_request__descriptor,
	    rpc_reflect, NULL, NULL },
	{ "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
	    "The same, by its older name.",
	    RPC_BOTH_STREAM, QUICK, &grpc__reflection__v1alpha__server_reflection_request__descriptor,
	    rpc_reflect, NULL, NULL },
};
/* clang-format on */
const size_t rpc_method_count = sizeof(rpc_methods) / sizeof(rpc_methods[0]);

bool
rpc_method(size_t index, struct rpc_method_info *ret)
{
	if (index >= rpc_method_count)
		return false;
	*ret = (struct rpc_method_info){ rpc_methods[index].path, rpc_methods[index].help };
	return true;
}
