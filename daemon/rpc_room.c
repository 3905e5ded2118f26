/* SPDX-License-Identifier: MIT
 *
 * rpc_room.c - how much may be under way on the face at once: calls, and bytes of their answers.
 *
 * A client that does not read leaves its answers with us, and there are limits for what one
 * connection may ask (RPC_STREAMS_MAX) and for how many connections one address may have, but their
 * product is tens of gigabytes.  So the face has limits of its own:
 *
 *	RPC_CALLS_MAX	calls, of whatever kind; one more is refused when it comes
 *	RPC_ANSWERS_MAX	bytes that calls hold until they have left; when there are so many, a method
 *			whose answer may be large begins none
 *
 * A reply is counted from when it is packed until the one after it has left, or the call is over:
 * of the last bytes of a message the library keeps the whole, and does not say for how long.  What
 * a method keeps besides (rpc_keep()) is counted until the call is over.  Each thread that runs
 * steps may exceed the bound by one answer (WIRE_PB_MAX).
 *
 * File bytes are not counted: Downloads have a limit of their own (RPC_DOWNLOADS_MAX), so that who
 * leaves catalogs unread keeps nobody from reading files.  Nor is Health/Check, by which others,
 * and we ourselves (rpc_probe.c), see that we are there: a face that is full is not one that hangs.
 */
#include "rpc_internal.h"

bool
rpc_room_enter(struct rpc_room *room)
{
	if (atomic_fetch_add(&room->calls, 1) < RPC_CALLS_MAX)
		return true;
	atomic_fetch_sub(&room->calls, 1);
	return false;
}

int
rpc_room_refuse(struct error *err)
{
	return error_set(err, P2P_TOO_MANY, "%u calls are under way, which is the most",
			 RPC_CALLS_MAX);
}

void
rpc_room_leave(struct rpc_room *room)
{
	atomic_fetch_sub(&room->calls, 1);
}

void
rpc_room_fill(struct rpc_room *room, size_t bytes)
{
	atomic_fetch_add(&room->bytes, bytes);
}

void
rpc_room_clear(struct rpc_room *room, size_t bytes)
{
	atomic_fetch_sub(&room->bytes, bytes);
}

int
rpc_check_room(struct rpc_call *call, struct error *err)
{
	if (atomic_load(&rpc_head(call)->rpc->room.bytes) < RPC_ANSWERS_MAX)
		return P2P_OK;
	return error_set(err, P2P_TOO_MANY, "%u MiB of answers wait for clients to read them",
			 RPC_ANSWERS_MAX >> 20);
}
