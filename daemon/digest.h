/* SPDX-License-Identifier: MIT
 *
 * digest.h - SHA-256, and the ways of writing a digest.
 *
 * A hasher belongs to one thread at a time; a fetched EVP_MD and one context inside keep
 * a 64-byte node at a quarter of a microsecond and let threads scale.
 */
#ifndef P2PD_DIGEST_H
#define P2PD_DIGEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define DIGEST_BYTES		32
#define DIGEST_HEX_SIZE		65	/* with NUL */
#define DIGEST_BASE32_SIZE	53	/* with NUL; RFC 4648, lower case, no padding */

struct digest {
	unsigned char bytes[DIGEST_BYTES];
};

/* What names bytes: the size and the root.  A root alone does not bind the length. */
struct content_id {
	uint64_t size_bytes;
	struct digest root;		/* BEP 52 pieces root */
};

struct hasher;

struct hasher	*hasher_new(void);
void		 hasher_free(struct hasher *hasher);
/* This thread's own hasher, made at first use, freed when the thread ends.  Borrowed. */
struct hasher	*hasher_mine(void);
/* Answers SHA-256 of the bytes. */
void		 hasher_digest(struct hasher *hasher, const void *data, size_t len, struct digest *ret);
/* Answers SHA-256 of each of `count` blocks of `len` bytes that stand one behind the other: the same as one by one, but where
 * libIPSec_MB is there and the CPU allows, several are hashed side by side on one core. */
void		 hasher_blocks(struct hasher *hasher, const void *data, size_t len, size_t count,
		     struct digest *ret);
/* Answers SHA-256 of the 64 bytes left, right. */
void		 hasher_pair(struct hasher *hasher, const struct digest *left,
		     const struct digest *right, struct digest *ret);

bool		 digest_equal(const struct digest *a, const struct digest *b);
bool		 content_equal(const struct content_id *a, const struct content_id *b);
void		 digest_hex(const struct digest *digest, char ret[DIGEST_HEX_SIZE]);
void		 digest_base32(const struct digest *digest, char ret[DIGEST_BASE32_SIZE]);
/* True if `hex` is exactly 64 hex digits of either case; *ret untouched otherwise. */
bool		 digest_parse_hex(const char *hex, struct digest *ret);
/* True if `text` is exactly 52 characters of lower-case base32 with zero tail bits: a peer id. */
bool		 digest_is_base32(const char *text);

#endif
