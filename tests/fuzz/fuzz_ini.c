/* SPDX-License-Identifier: MIT
 *
 * fuzz_ini.c - any bytes as a configuration file.
 *
 * Whatever comes in is accepted or refused with a reason.  What is accepted holds the promises
 * that others build on: no network address without open_network, addresses that can be split, and
 * a merge with the defaults that changes nothing where nothing differs.
 */
#include "config.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
require(bool claim)
{
	if (!claim)
		abort();
}

static void
check_listen(const struct config *config, const struct config_list *listen)
{
	for (size_t i = 0; i < listen->count; i++) {
		char host[256];
		uint16_t port;
		require(config_split_address(listen->items[i], host, sizeof(host), &port, NULL) ==
			P2P_OK);
		require(config->security_open_network || config_is_loopback(host));
	}
}

static void
check_merge(const struct config *config)
{
	struct buf restart;

	buf_init(&restart, 1 << 16);
	struct config *merged = config_merge(config, config, &restart);
	require(restart.len == 0);
	config_unref(merged);
	buf_fini(&restart);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct error err = { 0 };
	struct config *config = config_parse("fuzz", (const char *)data, size, &err);

	if (config == NULL) {
		require(err.code < 0 && err.text[0] != '\0');
		return 0;
	}
	require(strlen(config->node_name) <= 63);
	require(config->node_state[0] == '/' && config->share_directory[0] == '/');
	require(config->network_connections >= 1 && config->network_connections <= 8);
	check_listen(config, &config->rest_listen);
	check_listen(config, &config->grpc_listen);
	check_merge(config);
	config_unref(config);
	return 0;
}
