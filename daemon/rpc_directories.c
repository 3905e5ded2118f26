/* SPDX-License-Identifier: MIT
 *
 * rpc_directories.c - Files/Directories: what directories of this peer's share are like.
 */
#include <stdlib.h>

#include "mem.h"
#include "p2p.pb-c.h"
#include "rpc_internal.h"

RPC_TAKE(rpc_directories)
{
	const P2p__V1__DirectoriesRequest *request = (const P2p__V1__DirectoriesRequest *)message;
	struct directory_question question = { .names = (const char *const *)request->names,
					       .count = request->n_names };
	int code = rpc_check_room(call, err);

	if (code != P2P_OK)
		return code;
	/* Not by what was asked: that is looked at first. */
	question.found = mem_zero(DIRECTORIES_MAX, sizeof(*question.found));
	code = service_directories(rpc_head(call)->service, &question, err);
	if (code == P2P_OK) {
		P2p__V1__DirectoriesResponse *response =
		    wire_pb_of_directories(question.found, question.count);
		rpc_reply(call, &response->base);
		p2p__v1__directories_response__free_unpacked(response, NULL);
		code = RPC_END;
	}
	free(question.found);
	return code;
}
