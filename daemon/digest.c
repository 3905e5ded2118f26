/* SPDX-License-Identifier: MIT
 *
 * digest.c - SHA-256, and the ways of writing a digest.
 *
 * OpenSSL looks an algorithm up under a lock each time it is named; for the 64-byte nodes
 * of a merkle tree that costs more than the hash and keeps threads from scaling.  A hasher
 * therefore fetches the algorithm once and uses one context again and again.
 *
 * One block after the other leaves most of a CPU's vector units idle.  Where libIPSec_MB was
 * there when we were built, rows of blocks go to its multi-buffer hashing, which takes several side
 * by side (measured: 3.0 against 1.6 GB/s a core).  Its state is made when a hasher meets its
 * first row, so that a process which hashes nothing does not pay for it.
 *
 * Each thread has a hasher of its own by hasher_mine(), freed by a key's destructor when
 * the thread ends.  SHA-256 in memory cannot fail for any input; where OpenSSL says that it
 * did, the library is broken, no byte can be verified any more, and we end the process.
 */
#include "digest.h"

#ifdef HAVE_IPSEC_MB
#include <intel-ipsec-mb.h>
#endif
#include <openssl/evp.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "log.h"
#include "mem.h"

struct hasher {
	EVP_MD *md;
	EVP_MD_CTX *ctx;
#ifdef HAVE_IPSEC_MB
	IMB_MGR *multi;	/* NULL until a row of blocks comes */
#endif
};

static pthread_once_t mine_once = PTHREAD_ONCE_INIT;
static pthread_key_t mine_key;

static void __attribute__((noreturn)) die(const char *what)
{
	log_error("%s for SHA-256 failed", what);
	abort();
}

struct hasher *
hasher_new(void)
{
	struct hasher *hasher = mem_zero(1, sizeof(*hasher));

	hasher->md = EVP_MD_fetch(NULL, "SHA256", NULL);
	hasher->ctx = EVP_MD_CTX_new();
	if (hasher->md == NULL || hasher->ctx == NULL)
		die("set-up");
	return hasher;
}

void
hasher_free(struct hasher *hasher)
{
	if (hasher == NULL)
		return;
#ifdef HAVE_IPSEC_MB
	free_mb_mgr(hasher->multi);
#endif
	EVP_MD_CTX_free(hasher->ctx);
	EVP_MD_free(hasher->md);
	free(hasher);
}

static void
free_mine(void *hasher)
{
	hasher_free(hasher);
}

static void
make_key(void)
{
	if (pthread_key_create(&mine_key, free_mine) != 0)
		die("a key");
}

struct hasher *
hasher_mine(void)
{
	pthread_once(&mine_once, make_key);

	struct hasher *hasher = pthread_getspecific(mine_key);
	if (hasher == NULL) {
		hasher = hasher_new();
		if (pthread_setspecific(mine_key, hasher) != 0)
			die("a thread's own context");
	}
	return hasher;
}

void
hasher_digest(struct hasher *hasher, const void *data, size_t len, struct digest *ret)
{
	if (EVP_DigestInit_ex2(hasher->ctx, hasher->md, NULL) != 1 ||
	    EVP_DigestUpdate(hasher->ctx, data, len) != 1 ||
	    EVP_DigestFinal_ex(hasher->ctx, ret->bytes, NULL) != 1)
		die("hashing");
}

#ifdef HAVE_IPSEC_MB

static IMB_MGR *
multi_of(struct hasher *hasher)
{
	if (hasher->multi == NULL && (hasher->multi = alloc_mb_mgr(0)) != NULL)
		init_mb_mgr_auto(hasher->multi, NULL);
	if (hasher->multi == NULL || imb_get_errno(hasher->multi) != 0)
		die("multi-buffer set-up");
	return hasher->multi;
}

static void
check_job(const IMB_JOB *job)
{
	if (job != NULL && job->status != IMB_STATUS_COMPLETED)
		die("multi-buffer hashing");
}

void
hasher_blocks(struct hasher *hasher, const void *data, size_t len, size_t count, struct digest *ret)
{
	const unsigned char *bytes = data;

	if (count == 1) {
		hasher_digest(hasher, data, len, ret);
		return;
	}
	IMB_MGR *multi = multi_of(hasher);
	for (size_t i = 0; i < count; i++) {
		IMB_JOB *job = IMB_GET_NEXT_JOB(multi);

		*job = (IMB_JOB){ 0 };
		job->cipher_mode = IMB_CIPHER_NULL;
		job->cipher_direction = IMB_DIR_ENCRYPT;
		job->chain_order = IMB_ORDER_HASH_CIPHER;
		job->hash_alg = IMB_AUTH_SHA_256;
		job->src = bytes + i * len;
		job->msg_len_to_hash_in_bytes = len;
		job->auth_tag_output = ret[i].bytes;
		job->auth_tag_output_len_in_bytes = DIGEST_BYTES;
		check_job(IMB_SUBMIT_JOB(multi));
	}
	for (const IMB_JOB *job; (job = IMB_FLUSH_JOB(multi)) != NULL;)
		check_job(job);
}

#else

void
hasher_blocks(struct hasher *hasher, const void *data, size_t len, size_t count, struct digest *ret)
{
	const unsigned char *bytes = data;

	for (size_t i = 0; i < count; i++)
		hasher_digest(hasher, bytes + i * len, len, &ret[i]);
}

#endif

void
hasher_pair(struct hasher *hasher, const struct digest *left, const struct digest *right,
	    struct digest *ret)
{
	unsigned char both[2 * DIGEST_BYTES];

	memcpy(both, left->bytes, DIGEST_BYTES);
	memcpy(both + DIGEST_BYTES, right->bytes, DIGEST_BYTES);
	hasher_digest(hasher, both, sizeof(both), ret);
}

bool
digest_equal(const struct digest *a, const struct digest *b)
{
	return memcmp(a->bytes, b->bytes, DIGEST_BYTES) == 0;
}

bool
content_equal(const struct content_id *a, const struct content_id *b)
{
	return a->size_bytes == b->size_bytes && digest_equal(&a->root, &b->root);
}

void
digest_hex(const struct digest *digest, char ret[DIGEST_HEX_SIZE])
{
	static const char digits[] = "0123456789abcdef";

	for (size_t i = 0; i < DIGEST_BYTES; i++) {
		ret[2 * i] = digits[digest->bytes[i] >> 4];
		ret[2 * i + 1] = digits[digest->bytes[i] & 15];
	}
	ret[DIGEST_HEX_SIZE - 1] = '\0';
}

/* The value of a hex digit, -1 for what is none. */
static int
hex_value(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

bool
digest_parse_hex(const char *hex, struct digest *ret)
{
	struct digest made;

	for (size_t i = 0; i < DIGEST_BYTES; i++) {
		int high = hex_value(hex[2 * i]);
		/* Never beyond a NUL. */
		int low = high < 0 ? -1 : hex_value(hex[2 * i + 1]);

		if (low < 0)
			return false;
		made.bytes[i] = (unsigned char)(high << 4 | low);
	}
	if (hex[DIGEST_HEX_SIZE - 1] != '\0')
		return false;
	*ret = made;
	return true;
}

void
digest_base32(const struct digest *digest, char ret[DIGEST_BASE32_SIZE])
{
	static const char letters[] = "abcdefghijklmnopqrstuvwxyz234567";
	unsigned bits = 0; /* not yet written, in the low `count` bits */
	unsigned count = 0;
	char *out = ret;

	for (size_t i = 0; i < DIGEST_BYTES; i++) {
		bits = (bits << 8 | digest->bytes[i]) & 0xfff;
		for (count += 8; count >= 5; count -= 5)
			*out++ = letters[bits >> (count - 5) & 31];
	}
	*out++ = letters[bits << (5 - count) & 31];
	*out = '\0';
}

bool
digest_is_base32(const char *text)
{
	for (size_t i = 0; i < DIGEST_BASE32_SIZE - 1; i++)
		if (!((text[i] >= 'a' && text[i] <= 'z') || (text[i] >= '2' && text[i] <= '7')))
			return false;

	/* 52 letters hold 260 bits; the last four are nought in `a` and `q` only. */
	char last = text[DIGEST_BASE32_SIZE - 2];
	return text[DIGEST_BASE32_SIZE - 1] == '\0' && (last == 'a' || last == 'q');
}
