/* SPDX-License-Identifier: MIT
 *
 * rpc_peers.c - p2p.v1.Peers: who is here, and who says so.
 *
 * Each method decodes, asks service, encodes; nothing is decided here.  All of them ask the mind,
 * which answers within microseconds, and touch no disk.
 */
#include "rpc_internal.h"

#include <stdlib.h>

#include "codes.h"
#include "mem.h"

/* --- Register, Leave, Notify --- */

RPC_TAKE(rpc_register)
{
	char from_host[NODE_ADDRESS_SIZE];
	struct node_hello hello;
	struct node_record mine, *known;
	size_t count;
	int code = rpc_check_room(call, err);

	if (code == P2P_OK)
		code = wire_pb_hello((const P2p__V1__RegisterRequest *)message, &hello, err);
	if (code != P2P_OK)
		return code;
	rpc_from_host(call, from_host);
	code = service_register(rpc_head(call)->service, &hello, from_host, &mine, &known, &count,
				err);
	if (code != P2P_OK)
		return code;

	P2p__V1__RegisterResponse *response = wire_pb_of_registered(&mine, known, count);
	free(known);
	rpc_reply(call, &response->base);
	p2p__v1__register_response__free_unpacked(response, NULL);
	return RPC_END;
}

RPC_TAKE(rpc_leave)
{
	const P2p__V1__LeaveRequest *request = (const P2p__V1__LeaveRequest *)message;
	P2p__V1__LeaveResponse response = P2P__V1__LEAVE_RESPONSE__INIT;
	char from_host[NODE_ADDRESS_SIZE];

	if (!digest_is_base32(request->id))
		return error_set(err, P2P_BAD_REQUEST, "id: wanted a peer id");
	rpc_from_host(call, from_host);
	int code = service_leave(rpc_head(call)->service, request->id, from_host, err);
	if (code != P2P_OK)
		return code;
	rpc_reply(call, &response.base);
	return RPC_END;
}

RPC_TAKE(rpc_notify)
{
	P2p__V1__NotifyResponse response = P2P__V1__NOTIFY_RESPONSE__INIT;
	struct notice notice;
	int code = wire_pb_notice((const P2p__V1__Notice *)message, &notice, err);

	if (code == P2P_OK)
		code = service_notice(rpc_head(call)->service, &notice, err);
	if (code != P2P_OK)
		return code;
	rpc_reply(call, &response.base);
	return RPC_END;
}

/* --- List --- */

/* The peers as they were when the call came. */
struct listing {
	struct peer_info *peers;
	size_t count, told;
};

RPC_TAKE(rpc_list_peers)
{
	struct listing list = { 0 };
	int code = rpc_check_room(call, err);

	(void)message;
	if (code != P2P_OK)
		return code;
	code = service_peers(rpc_head(call)->service, &list.peers, &list.count);
	if (code != P2P_OK)
		return error_set(err, code, "%s", code_title(code));
	struct listing *kept = mem_alloc(sizeof(*kept));
	*kept = list;
	rpc_keep(call, list.count * sizeof(*list.peers));
	rpc_head(call)->state = kept;
	return RPC_MORE;
}

RPC_NEXT(rpc_list_peers_next)
{
	struct listing *list = rpc_head(call)->state;

	(void)err;
	if (list->told == list->count)
		return RPC_END;
	P2p__V1__Peer *peer = wire_pb_of_peer(&list->peers[list->told++]);
	rpc_reply(call, &peer->base);
	p2p__v1__peer__free_unpacked(peer, NULL);
	return RPC_MORE;
}

RPC_DONE(rpc_list_peers_end)
{
	struct listing *list = rpc_head(call)->state;

	if (list == NULL)
		return;
	free(list->peers);
	free(list);
}
