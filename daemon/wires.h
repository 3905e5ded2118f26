/* SPDX-License-Identifier: MIT
 *
 * wires.h - one transport over two: every verb goes by the wire that the address' scheme names.  Mind's thread.
 *
 * Either wire may be missing: a request to such an address then ends with P2P_UNREACHABLE and a sentence, later, on the mind.
 */
#ifndef P2PD_WIRES_H
#define P2PD_WIRES_H

#include "loop.h"
#include "transport.h"

/* Borrows the wires, each may be NULL; they outlive it or are stopped before.  Gives a transport. */
struct transport *wires_new(struct loop *loop, struct transport *rest, struct transport *rpc);
/* Frees only itself, not the wires.  What it had to refuse must have been told (the loop was turned). */
void		 wires_free(struct transport *transport);

#endif
