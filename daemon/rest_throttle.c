/* SPDX-License-Identifier: MIT
 *
 * rest_throttle.c - file bytes under a limit of bandwidth.
 *
 * Without a limit none of this runs: files leave from the file to the socket in the kernel.  Under
 * one the body of an answer goes by a content reader, which gives what is allowed now, and when that
 * is nothing suspends the connection until its turn comes (throttle.h).  What a client sends is
 * taken in the same way: a part of a body that comes too early stays with the library, the
 * connection is suspended, and the kernel's window stops the client.
 *
 * An answer that began before there was a limit goes on as it began.
 *
 * The block that the library holds for each answer is small, for there may be a thousand of them.
 */
#include "rest_internal.h"

#include <stdlib.h>
#include <string.h>

#include "clock.h"
#include "mem.h"

#define PACED_BLOCK (16u << 10) /* bytes given at once */

/* --- waiting for a turn --- */

static void
wake(void *arg)
{
	struct rest_pacer *pacer = arg;

	rest_pause_wake(&pacer->pause);
}

void
rest_pacer_init(struct rest_pacer *pacer, struct rest_request *req, struct rate *rate)
{
	memset(pacer, 0, sizeof(*pacer));
	rest_pause_init(&pacer->pause, req);
	pacer->throttle = service_throttle(req->rest->service);
	pacer->rate = rate;
	pacer->wait.wake = wake;
	pacer->wait.arg = pacer;
	memcpy(pacer->peer, req->conn->peer, sizeof(pacer->peer));
}

void
rest_pacer_fini(struct rest_pacer *pacer)
{
	throttle_forget(pacer->throttle, &pacer->wait);
	rate_leave(pacer->rate, &pacer->turn);
	rest_pause_fini(&pacer->pause);
}

static size_t
ask(struct rest_pacer *pacer, size_t least, size_t most)
{
	return rate_ask(pacer->rate, pacer->peer, &pacer->turn, least, most, clock_us());
}

ssize_t
rest_pacer_ask(struct rest_pacer *pacer, size_t most)
{
	size_t len = ask(pacer, 1, most);

	if (len > 0)
		return (ssize_t)len;
	if (!rest_pause_wait(&pacer->pause))
		return MHD_CONTENT_READER_END_WITH_ERROR;
	throttle_wait(pacer->throttle, &pacer->wait, pacer->rate, &pacer->turn);
	return 0;
}

void
rest_pacer_pass(struct rest_pacer *pacer, size_t len)
{
	rate_pass(&pacer->turn, len);
}

bool
rest_pacer_is_limited(const struct rest_pacer *pacer)
{
	return rate_is_limited(pacer->rate);
}

/* --- answers --- */

struct paced {
	struct rest_pacer pacer;
	struct store_reader *reader; /* a reference */
	uint64_t first, len;
};

static ssize_t
read_some(void *arg, uint64_t at, char *data, size_t max)
{
	struct paced *paced = arg;
	uint64_t left = paced->len - at;
	ssize_t len =
	    rest_pacer_ask(&paced->pacer, left < RATE_STEP_MAX ? (size_t)left : RATE_STEP_MAX);

	if (len <= 0)
		return len;
	if ((size_t)len > max)
		len = (ssize_t)max;
	if (file_pread(paced->reader->fd, data, (size_t)len, paced->first + at, NULL) != P2P_OK ||
	    store_reader_check(paced->reader) != P2P_OK)
		return MHD_CONTENT_READER_END_WITH_ERROR;
	rest_pacer_pass(&paced->pacer, (size_t)len);
	return len;
}

static void
paced_free(void *arg)
{
	struct paced *paced = arg;

	rest_pacer_fini(&paced->pacer);
	store_reader_unref(paced->reader);
	free(paced);
}

bool
rest_is_paced(struct rest_request *req)
{
	return rate_is_limited(throttle_up(service_throttle(req->rest->service)));
}

struct MHD_Response *
rest_paced_response(struct rest_request *req, struct store_reader *reader, uint64_t first,
		    uint64_t len)
{
	struct paced *paced = mem_zero(1, sizeof(*paced));

	rest_pacer_init(&paced->pacer, req, throttle_up(service_throttle(req->rest->service)));
	paced->reader = store_reader_ref(reader);
	paced->first = first;
	paced->len = len;
	return MHD_create_response_from_callback(len, PACED_BLOCK, read_some, paced, paced_free);
}

/* --- bodies of requests --- */

static void
begin_body(struct rest_request *req, struct rate *rate)
{
	req->pacer = mem_alloc(sizeof(*req->pacer));
	rest_pacer_init(req->pacer, req, rate);
}

bool
rest_body_waits(struct rest_request *req, size_t len)
{
	struct rate *rate = throttle_down(service_throttle(req->rest->service));

	if (req->pacer == NULL && !rate_is_limited(rate))
		return false;
	if (req->pacer == NULL)
		begin_body(req, rate);
	struct rest_pacer *pacer = req->pacer;
	/* Twice, for a wake that was too late for the turn before. */
	for (int tries = 0; tries < 2; tries++) {
		if (ask(pacer, len, len > RATE_STEP_MAX ? len : RATE_STEP_MAX) >= len)
			break;
		if (!rest_pause_suspend(&pacer->pause))
			continue;
		throttle_wait(pacer->throttle, &pacer->wait, rate, &pacer->turn);
		/* The time of a body that we do not take is not the client's. */
		rest_conn_step(req->conn, REST_STEP_BODY);
		return true;
	}
	rest_pacer_pass(pacer, len);
	return false;
}

void
rest_body_free(struct rest_request *req)
{
	if (req->pacer == NULL)
		return;
	rest_pacer_fini(req->pacer);
	free(req->pacer);
	req->pacer = NULL;
}
