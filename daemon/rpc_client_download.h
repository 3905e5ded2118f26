/* SPDX-License-Identifier: MIT
 *
 * rpc_client_download.h - the parts of a DownloadResponse as they lie in memory, for rpc_client_answer.c alone.  No I/O; one thread at a time.
 *
 * A message is fed in pieces, cut anywhere, and its fields are told without a copy.
 */
#ifndef P2PD_RPC_CLIENT_DOWNLOAD_H
#define P2PD_RPC_CLIENT_DOWNLOAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct download_parser_ops {
	/* Bytes of `file`, and whether they are its last (there may be none then). */
	int (*file)(void *arg, const void *data, size_t len, bool is_last);
	/* Bytes of `data`. */
	int (*data)(void *arg, const void *data, size_t len);
};

struct download_parser {
	const struct download_parser_ops *ops;
	void *arg;
	size_t left;			/* bytes of the message that are still to be fed */
	uint32_t key;			/* of the field at hand: its number and form */
	uint64_t varint;		/* the part of it that was fed */
	unsigned shift;			/* bits of that */
	size_t field_left;		/* bytes of the field's value that are still to be fed */
	enum { DOWNLOAD_KEY, DOWNLOAD_LENGTH, DOWNLOAD_VARINT, DOWNLOAD_VALUE } at;
};

/* A new message of `total` bytes. */
void	download_parser_begin(struct download_parser *parser, const struct download_parser_ops *ops,
	    void *arg, size_t total);
/* Its next bytes.  P2P_BAD_ANSWER if they are no protobuf, or what an op answered. */
int	download_parser_feed(struct download_parser *parser, const void *data, size_t len);
/* After the last byte: P2P_BAD_ANSWER if something is missing. */
int	download_parser_end(const struct download_parser *parser);

#endif
