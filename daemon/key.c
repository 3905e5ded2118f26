/* SPDX-License-Identifier: MIT
 *
 * key.c - this peer's key.
 *
 * Made once, at the first start, and never changed: the id that everybody knows this peer by is its digest.  The private half
 * does not leave the file; it is read here only to derive the public one.
 */
#include "key.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>

#include "buf.h"
#include "digest.h"
#include "file.h"

#define KEY_FILE_MAX	4096	/* bytes */

static int
write_key(int state_fd, EVP_PKEY *key, struct error *err)
{
	int code;
	BIO *bio = BIO_new(BIO_s_mem());
	if (bio != NULL && PEM_write_bio_PKCS8PrivateKey(bio, key, NULL, NULL, 0, NULL, NULL)) {
		char *data;
		long len = BIO_get_mem_data(bio, &data);
		code = file_write_atomic(state_fd, KEY_FILE, data, (size_t)len, 0600, err);
	} else {
		code = error_set(err, P2P_INTERNAL, "the new key cannot be encoded");
	}
	BIO_free(bio);
	return code;
}

static EVP_PKEY *
make_key(int state_fd, struct error *err)
{
	EVP_PKEY *key = EVP_EC_gen("P-256");
	if (key == NULL) {
		error_set(err, P2P_INTERNAL, "a P-256 key cannot be made");
		return NULL;
	}
	if (write_key(state_fd, key, err) == P2P_OK)
		return key;
	EVP_PKEY_free(key);
	return NULL;
}

static EVP_PKEY *
parse_key(const struct buf *text, struct error *err)
{
	char group[32] = "";
	BIO *bio = BIO_new_mem_buf(text->data, (int)text->len);
	EVP_PKEY *key = bio ? PEM_read_bio_PrivateKey(bio, NULL, NULL, NULL) : NULL;
	BIO_free(bio);
	if (key != NULL && EVP_PKEY_get_group_name(key, group, sizeof(group), NULL) &&
	    strcmp(group, "prime256v1") == 0)
		return key;
	EVP_PKEY_free(key);
	error_set(err, P2P_BAD_REQUEST,
	    "%s is no P-256 private key in PEM; without the file a new one, and a new peer id, is made",
	    KEY_FILE);
	return NULL;
}

static EVP_PKEY *
read_key(int fd, const struct stat *st, struct error *err)
{
	if ((st->st_mode & 077) != 0) {
		error_set(err, P2P_FORBIDDEN, "%s may be used by others (mode %03o): chmod 600 it",
		    KEY_FILE, st->st_mode & 0777);
		return NULL;
	}
	struct buf text;
	buf_init(&text, KEY_FILE_MAX);
	EVP_PKEY *key =
	    file_read_all(fd, &text, err) == P2P_OK && text.len > 0 ? parse_key(&text, err) : NULL;
	if (text.len == 0)
		error_set(err, P2P_BAD_REQUEST, "%s is empty", KEY_FILE);
	else
		explicit_bzero(text.data, text.len);
	buf_fini(&text);
	return key;
}

static int
derive_id(EVP_PKEY *key, char ret_id[PEER_ID_SIZE], struct error *err)
{
	unsigned char *der = NULL;
	int len = i2d_PUBKEY(key, &der);
	if (len <= 0)
		return error_set(err, P2P_INTERNAL, "the public key cannot be encoded");
	struct digest digest;
	hasher_digest(hasher_mine(), der, (size_t)len, &digest);
	digest_base32(&digest, ret_id);
	OPENSSL_free(der);
	return P2P_OK;
}

int
key_load(int state_fd, char ret_id[PEER_ID_SIZE], struct error *err)
{
	int fd;
	struct stat st;
	EVP_PKEY *key;
	struct error error = { 0 };
	int code = file_open_regular(state_fd, KEY_FILE, &fd, &st, &error);
	if (code == P2P_OK) {
		key = read_key(fd, &st, &error);
		close(fd);
	} else {
		key = code == P2P_NOT_FOUND ? make_key(state_fd, &error) : NULL;
	}
	if (key == NULL) {
		if (err != NULL)
			*err = error;
		return error.code;
	}
	code = derive_id(key, ret_id, err);
	EVP_PKEY_free(key);
	return code;
}
