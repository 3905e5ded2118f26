/* SPDX-License-Identifier: MIT
 *
 * config.h - the configuration: one table of keys, one immutable result.
 *
 * config.c holds one table with section, key, type, default, limits, whether SIGHUP can change it,
 * and help.  p2pd.conf(5) and etc/p2pd.conf are held against that table by a test.  A struct config
 * never changes after config_load(); it is refcounted and may be read by any thread.
 */
#ifndef P2PD_CONFIG_H
#define P2PD_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "buf.h"
#include "error.h"
#include "log.h"

#define CONFIG_FILE_MAX	(256u << 10)	/* bytes of a configuration file */
#define CONFIG_LINE_MAX	1023		/* bytes of one of its lines */
#define CONFIG_LIST_MAX	64		/* values of one repeated key */

enum config_remote { REMOTE_READ, REMOTE_UPLOAD, REMOTE_ALL };
enum config_transport { TRANSPORT_AUTO, TRANSPORT_GRPC, TRANSPORT_REST };

struct config_list {
	size_t count;
	char *items[CONFIG_LIST_MAX];
};

struct config {
	/* [node] */
	char *node_name;		/* shown to people; default: the host's name */
	char *node_state;		/* directory: key, catalog, fetches */
	enum log_level node_log;	/* reloadable */
	/* [share] */
	char *share_directory;
	enum config_remote share_remote;	/* reloadable */
	uint32_t share_rescan_s;	/* between full scans, seconds; 0: never; reloadable */
	uint32_t share_settle_ms;	/* a file unchanged for so long is complete */
	uint64_t share_reserve_bytes;	/* of free disk space that uploads and fetches leave; reloadable */
	/* [rest] */
	struct config_list rest_listen;	/* "address:port", "[v6]:port"; port 0: any */
	struct config_list rest_host;		/* further Host names that are ours; reloadable */
	uint32_t rest_connections;	/* at once, in all */
	uint32_t rest_per_address;	/* at once, from one address (loopback: half of rest_connections) */
	uint32_t rest_header_timeout_s;	/* for a whole request header, absolute */
	uint32_t rest_body_timeout_s;	/* over which a body has to come at 1 KiB/s at least */
	uint64_t rest_upload_max;	/* bytes of one upload; reloadable */
	/* [grpc]: the section is known; its face comes with gRPC */
	struct config_list grpc_listen;
	/* [control] */
	char *control_socket;
	char *control_group;		/* may control the daemon; NULL: only its own user and root */
	/* [network] */
	struct config_list network_seed;	/* http://host:port, grpc://host:port; reloadable */
	struct config_list network_advertise;	/* addresses that others are told, of the same form */
	enum config_transport network_transport;	/* what fetches go by; reloadable */
	uint32_t network_heartbeat_s;	/* between two greetings of one peer; reloadable */
	uint32_t network_forget_s;	/* after which an absent peer is forgotten; reloadable */
	uint32_t network_connections;	/* data connections to one holder at once, 1 to 8 */
	char *network_congestion;	/* TCP congestion control for our listeners; NULL: the system's */
	uint64_t network_upload_limit, network_download_limit;	/* bytes of files a second; 0: none; reloadable */
	uint64_t network_upload_limit_per_peer, network_download_limit_per_peer;	/* the same of one address, one peer */
	/* [fetch] */
	uint32_t fetch_parallel;	/* contents fetched at once, in all fetches; reloadable */
	/* [amqp] */
	char *amqp_url;			/* the broker; NULL: none */
	char *amqp_password_file, *amqp_ca;	/* NULL: none */
	char *amqp_exchange;
	bool amqp_notices;		/* send and take notices by it */
	bool amqp_relay;		/* tell of other peers' files too */
	uint32_t amqp_heartbeat_s;	/* a broker that is silent for twice as long is given up */
	uint32_t amqp_outbox_events;	/* that wait for it at most, and their bytes */
	uint64_t amqp_outbox_size;
	/* [security] */
	bool security_open_network;

	unsigned refs;			/* config_ref, config_unref */
	char *source;			/* the file it came from, NULL for the defaults */
};

/* Where to look and put things by default: root or systemd: /etc, /var/lib, /run; else the XDG directories.
 * The file's default path into ret (it need not exist). */
char		*config_default_path(void);	/* gives: free() */

/*
 * Reads the file, or with NULL takes every default.  Gives a reference (config_unref).  On failure NULL and an
 * error that names file, line and what would be accepted: unknown section or key, a key given twice that is no list,
 * an over-long or indented line, a bad value, a NUL, a file that is no regular one or too large; and whatever
 * contradicts itself, among it a network address to listen on without open_network ([security] named in the text).
 * A BOM and CRLF are accepted.  `;` and `#` begin a comment at the start of a line, ` ;` after a value too.
 */
struct config	*config_load(const char *path, struct error *err);
/* The file of config_default_path() if there is one, else every default; for a daemon that was told no file. */
struct config	*config_load_usual(struct error *err);
/* The same of bytes in memory; `source` stands for the file's name in errors. */
struct config	*config_parse(const char *source, const char *data, size_t len,
		     struct error *err);
struct config	*config_ref(struct config *config);
void		 config_unref(struct config *config);

/*
 * Compares and says, a line each, "[section] key" of what differs but needs a restart (into `ret_restart`, may be
 * NULL).  Answers a new reference of one with `next`'s reloadable values and `now`'s others.
 */
struct config	*config_merge(const struct config *now, const struct config *next, struct buf *ret_restart);

/* The table, for p2pd --help-config, the manual page's and the example's tests. */
struct config_key {
	const char *section, *key;
	const char *value;		/* what is accepted, as the manual page says it */
	const char *fallback;		/* the default as it would be written in the file */
	bool is_list, is_reloadable;
	const char *help;		/* one or more sentences */
};
/* The row at `index`, false past the end. */
bool		 config_key(size_t index, struct config_key *ret);

/* A size as the file would say it, "64K": bytes, at most `max`.  P2P_BAD_REQUEST. */
int		 config_parse_size(const char *text, uint64_t max, uint64_t *ret_bytes);

/* True if a host (no port) is a loopback address or "localhost". */
bool		 config_is_loopback(const char *host);
/* Splits "host:port", "[v6]:port"; P2P_BAD_REQUEST with the reason.  host has no brackets. */
int		 config_split_address(const char *address, char *ret_host, size_t host_size,
		     uint16_t *ret_port, struct error *err);

#endif
