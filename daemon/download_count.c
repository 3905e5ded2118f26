/* SPDX-License-Identifier: MIT
 *
 * download_count.c - what a run of pieces, or a batch of small files, adds to the metrics when it ends.
 *
 * Each is counted once, by how it ended, with the bytes of it that nobody kept.  Those of a piece that is
 * narrowed are known later, and those that a liar gave may be dropped later still: download_narrow.c
 * and download_holders.c count them, as bad.  Pieces are counted by whether the holder has all of the
 * content or fetches it too: that is how much the peers spare the first holder.  One that came from
 * several is one piece, so it is counted for who sent the end; of a bad one nobody knows yet who
 * lied, and a suspect is no liar.
 */
#include "download_internal.h"

#include "clock.h"
#include "metrics.h"

enum run_end { END_DONE, END_STALLED, END_SLOW, END_BROKEN, END_LACKED, END_BAD, END_STOPPED };

static const struct {
	enum metric asks, wasted;
} counters[] = {
	[END_DONE] = { METRIC_ASKS_DONE, METRIC_WASTED_STOPPED },
	[END_STALLED] = { METRIC_ASKS_STALLED, METRIC_WASTED_STALLED },
	[END_SLOW] = { METRIC_ASKS_SLOW, METRIC_WASTED_SLOW },
	[END_BROKEN] = { METRIC_ASKS_BROKEN, METRIC_WASTED_BROKEN },
	[END_LACKED] = { METRIC_ASKS_LACKED, METRIC_WASTED_BROKEN },
	[END_BAD] = { METRIC_ASKS_BAD, METRIC_WASTED_BAD },
	[END_STOPPED] = { METRIC_ASKS_STOPPED, METRIC_WASTED_STOPPED },
};

static enum run_end
end_of(int code)
{
	switch (code) {
	case P2P_OK:
		return END_DONE;
	case P2P_CANCELLED:
	case P2P_SHUTTING_DOWN:
		return END_STOPPED;
	case P2P_TIMEOUT:
		return END_STALLED;
	case P2P_NOT_FOUND:
		return END_LACKED;
	default:
		return END_BROKEN;
	}
}

/* Our disk and our will are nobody's failure. */
static enum run_end
end_of_run(const struct run *run, int code)
{
	if (run->sink_code != P2P_OK)
		return run->sink_code == P2P_BAD_CONTENT ? END_BAD : END_STOPPED;
	if (code == P2P_CANCELLED && run->ask->is_given_up)
		return run->ask->has_stalled ? END_STALLED : END_SLOW;
	return end_of(code);
}

static void
count(enum run_end end, bool is_whole, uint64_t verified, uint64_t wasted_bytes)
{
	metrics_add(counters[end].asks, 1);
	metrics_add(counters[end].wasted, wasted_bytes);
	metrics_add(is_whole ? METRIC_PIECES_WHOLE : METRIC_PIECES_PARTIAL, verified);
	if (end == END_BAD)
		metrics_add(is_whole ? METRIC_PIECES_BAD_WHOLE : METRIC_PIECES_BAD_PARTIAL, 1);
}

void
download_count_run(const struct download *download, const struct run *run, int code,
		   uint64_t verified, uint64_t wasted_bytes)
{
	struct swarm_view source;

	swarm_view(download->swarm, swarm_ask_source(download->swarm, run->ask), clock_us(),
		   &source);
	count(end_of_run(run, code), source.is_whole, verified, wasted_bytes);
}

void
download_count_batch(int code, bool has_lied, uint64_t verified, uint64_t wasted_bytes)
{
	count(has_lied ? END_BAD : end_of(code), true, verified, wasted_bytes);
}
