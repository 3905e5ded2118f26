/* SPDX-License-Identifier: MIT
 *
 * rest_gateway.c - a file that others hold, streamed through this peer as it is verified.
 *
 * The fetch fills a window ahead of the reader; here its bytes are handed to the library as it asks
 * for them.  When the window is empty the connection is suspended until the fetch has more, and under
 * a limit of bandwidth until its turn.  A stream that fails midway ends the connection before the
 * announced length: a body that looks whole is whole.
 */
#include "rest_internal.h"

#include <stdlib.h>

#include "mem.h"

#define GATEWAY_BLOCK (128u << 10) /* bytes asked for at once */

struct gateway {
	struct rest_pacer pacer;
	struct fetch_stream *stream;
	uint64_t first; /* of the content, where the answer begins */
	uint64_t len;
};

static void
wake(void *arg)
{
	struct gateway *gateway = arg;

	rest_pause_wake(&gateway->pacer.pause);
}

static ssize_t
read_some(void *arg, uint64_t at, char *data, size_t max)
{
	struct gateway *gateway = arg;
	uint64_t left = gateway->len - at;
	ssize_t may = rest_pacer_ask(&gateway->pacer, left < max ? (size_t)left : max);
	size_t len = 0;

	if (may <= 0)
		return may;
	int code = fetch_stream_read(gateway->stream, data, (size_t)may, gateway->first + at, &len);
	if (code != P2P_OK)
		return MHD_CONTENT_READER_END_WITH_ERROR;
	if (len > 0) {
		rest_pacer_pass(&gateway->pacer, len);
		metrics_add(METRIC_REST_BYTES_OUT, len);
		return (ssize_t)len;
	}
	if (!rest_pause_wait(&gateway->pacer.pause))
		return MHD_CONTENT_READER_END_WITH_ERROR;
	fetch_stream_wait(gateway->stream, gateway->first + at, wake, gateway);
	return 0;
}

static void
gateway_free(void *arg)
{
	struct gateway *gateway = arg;

	fetch_stream_close(gateway->stream);
	rest_pacer_fini(&gateway->pacer);
	free(gateway);
}

struct MHD_Response *
rest_gateway_response(struct rest_request *req, struct fetch_stream *stream, uint64_t first,
		      uint64_t len)
{
	struct gateway *gateway = mem_zero(1, sizeof(*gateway));

	rest_pacer_init(&gateway->pacer, req, throttle_up(service_throttle(req->rest->service)));
	gateway->stream = stream;
	gateway->first = first;
	gateway->len = len;
	return MHD_create_response_from_callback(len, GATEWAY_BLOCK, read_some, gateway,
						 gateway_free);
}
