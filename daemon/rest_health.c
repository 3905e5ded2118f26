/* SPDX-License-Identifier: MIT
 *
 * rest_health.c - the routes for machines that watch machines: liveness, metrics, and the
 * interface's description.
 *
 * /healthz asks the mind and thereby tells that it turns.  /metrics writes the Prometheus text
 * format (version 0.0.4): the counters of metrics.def, then gauges of what service says of this
 * peer.
 */
#include "rest_internal.h"

#include <inttypes.h>
#include <string.h>

#define METRICS_MAX (64u << 10) /* bytes of the whole text */

extern const char rest_openapi_text[]; /* made of openapi.json when building */

const char *
rest_openapi(void)
{
	return rest_openapi_text;
}

static int
answer_text(struct rest_request *req, struct buf *text, const char *type)
{
	size_t len = text->len;
	struct MHD_Response *response =
	    MHD_create_response_from_buffer(len, buf_give(text), MHD_RESPMEM_MUST_FREE);

	rest_field(response, MHD_HTTP_HEADER_CONTENT_TYPE, type);
	rest_field(response, MHD_HTTP_HEADER_CACHE_CONTROL, "no-store");
	return rest_answer(req, MHD_HTTP_OK, response);
}

int
rest_get_health(struct rest_request *req)
{
	struct service_node node;
	struct buf text;
	int code = service_node_quick(req->rest->service, &node);

	if (code != P2P_OK)
		return error_set(&req->err, code, "%s", code_title(code));
	buf_init(&text, METRICS_MAX);
	buf_adds(&text, "ok\n");
	return answer_text(req, &text, "text/plain; charset=utf-8");
}

static void
add_head(struct buf *text, const char *name, const char *type, const char *help)
{
	buf_addf(text, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

static void
add_counters(struct buf *text)
{
	const char *last = "";

	for (enum metric i = 0; i < METRIC_COUNT; i++) {
		const char *name = metrics_name(i), *labels = metrics_labels(i);

		if (strcmp(name, last) != 0)
			add_head(text, name, "counter", metrics_help(i));
		last = name;
		if (labels[0] != '\0')
			buf_addf(text, "%s{%s} %" PRIu64 "\n", name, labels, metrics_get(i));
		else
			buf_addf(text, "%s %" PRIu64 "\n", name, metrics_get(i));
	}
}

static void
add_gauge(struct buf *text, const char *name, uint64_t value, const char *help)
{
	add_head(text, name, "gauge", help);
	buf_addf(text, "%s %" PRIu64 "\n", name, value);
}

static void
add_gauges(struct buf *text, const struct service_node *node)
{
	add_gauge(text, "p2pd_uptime_seconds", node->uptime_ms / 1000,
		  "Seconds since the daemon started");
	add_gauge(text, "p2pd_peers_here", node->peers_here, "Peers that answer");
	add_gauge(text, "p2pd_peers_known", node->peers_known, "Peers known");
	add_gauge(text, "p2pd_files_shared", node->self.file_count, "Files that this peer shares");
	add_gauge(text, "p2pd_shared_bytes", node->self.byte_count, "Bytes that this peer shares");
	add_gauge(text, "p2pd_free_bytes", node->free_bytes,
		  "Bytes that may still be written to the share");
	add_gauge(text, "p2pd_fetches_active", node->fetches_active, "Fetches that have not ended");
	add_gauge(text, "p2pd_index_queued_files", node->index.queued_files,
		  "Files waiting to be hashed");
	add_gauge(text, "p2pd_index_queued_bytes", node->index.queued_bytes,
		  "Bytes waiting to be hashed");
	add_gauge(text, "p2pd_index_ready", node->index.is_ready, "1 once the first scan is done");
	add_gauge(text, "p2pd_unshareable_files", node->index.unshareable,
		  "Files in the share whose name or kind forbids sharing");
	if (node->broker.is_configured) {
		add_gauge(text, "p2pd_amqp_connected", node->broker.is_connected,
			  "1 while the broker is there");
		add_gauge(text, "p2pd_amqp_outbox_events", node->broker.outbox_events,
			  "Events that wait for the broker");
		add_gauge(text, "p2pd_amqp_outbox_bytes", node->broker.outbox_bytes,
			  "Bytes of events that wait for the broker");
		add_gauge(text, "p2pd_amqp_lost_events", node->broker.lost_events,
			  "Events dropped from a full outbox since the catalog was begun");
	}
	add_gauge(text, "p2pd_catalog_seq", node->self.seq,
		  "Sequence number of this peer's newest change");
}

int
rest_get_metrics(struct rest_request *req)
{
	struct service_node node;
	struct buf text;
	int code = service_node(req->rest->service, &node);

	if (code != P2P_OK)
		return error_set(&req->err, code, "%s", code_title(code));
	buf_init(&text, METRICS_MAX);
	add_counters(&text);
	add_gauges(&text, &node);
	return answer_text(req, &text, "text/plain; version=0.0.4; charset=utf-8");
}

int
rest_get_openapi(struct rest_request *req)
{
	const char *text = rest_openapi();
	struct MHD_Response *response =
	    MHD_create_response_from_buffer(strlen(text), (void *)text, MHD_RESPMEM_PERSISTENT);

	rest_field(response, MHD_HTTP_HEADER_CONTENT_TYPE, "application/json");
	return rest_answer(req, MHD_HTTP_OK, response);
}
