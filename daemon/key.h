/* SPDX-License-Identifier: MIT
 *
 * key.h - this peer's key, and the id that follows from it.  Before the mind runs.
 *
 * The id is base32 of SHA-256 of the public key (DER SubjectPublicKeyInfo, RFC 5280) of a P-256 key.
 */
#ifndef P2PD_KEY_H
#define P2PD_KEY_H

#include "change.h"
#include "error.h"

#define KEY_FILE	"key.pem"	/* in the state directory, PKCS #8, mode 0600 */

/* Reads the key, or makes it at the first start, and answers the id.  A key file that others may read or write is refused:
 * P2P_FORBIDDEN; one that is no P-256 key: P2P_BAD_REQUEST. */
int	key_load(int state_fd, char ret_id[PEER_ID_SIZE], struct error *err);

#endif
