/* SPDX-License-Identifier: MIT
 *
 * download_reason.c - why nothing moves: told once it is so for a moment, in words that say what would help.
 *
 * Two ways of standing still look alike from outside.  Nobody can be asked: no holder is known, all are away, or all failed, refused
 * or lied, and are left alone for a while; then the last thing that one of them did is the reason.  Or somebody is asked, and
 * nothing comes: the holders are silent, or our own limit of bandwidth lets next to nothing through.  Trouble of our own (a full disk)
 * is told where it is met, by download_pause().
 *
 * A reason is told again when its words change, at most once a second, and is taken back when bytes come.
 */
#include "download_internal.h"

#include <stdio.h>
#include <string.h>

#include "clock.h"

#define AGAIN_MS 1000 /* between two reasons of one kind */

void
download_tell_waiting(struct download *download, int code, const char *text)
{
	uint64_t now_ms = clock_ms();
	if (text == NULL)
		text = "";
	if (download->wait.code == code &&
	    (code == P2P_OK || strcmp(download->wait.text, text) == 0 ||
		now_ms - download->waits_ms < AGAIN_MS))
		return;
	error_set(&download->wait, code, "%s", text);
	download->waits_ms = now_ms;
	download->events->waiting(download->arg, code, code != P2P_OK ? download->wait.text : NULL);
}

/* --- what holders do --- */

void
download_note_failure(struct download *download, const char *text)
{
	error_set(&download->failure, P2P_NO_HOLDER, "%s", text);
}

void
download_note_bytes(struct download *download)
{
	download->still_ms = clock_ms();
	download->failure.code = P2P_OK;
	/* Trouble of our own is not over by that. */
	if (download->wait.code == P2P_NO_HOLDER || download->wait.code == P2P_TIMEOUT ||
	    download->wait.code == P2P_TOO_MANY)
		download_tell_waiting(download, P2P_OK, NULL);
}

/* --- somebody is asked --- */

void
download_tell_still(struct download *download)
{
	uint64_t now_ms = clock_ms();
	const char *sources[SWARM_SOURCES_MAX];
	char text[128];
	if (download->run_count == 0 || now_ms - download->still_ms < DOWNLOAD_STILL_MS)
		return;
	if (download_is_limited(download->means)) {
		download_tell_waiting(download, P2P_TOO_MANY,
		    "the limit of bandwidth for downloads lets nothing through now");
		return;
	}
	size_t count = download_sources(download, sources);
	snprintf(text, sizeof(text), "%zu holder%s asked, and nothing comes", count,
	    count == 1 ? " is" : "s are");
	download_tell_waiting(download, P2P_TIMEOUT, text);
}

/* --- nobody can be asked --- */

static const char *
barred_text(const struct download *download)
{
	static const char *const barred[] = {
		[TRANSPORT_AUTO] = "no holder of it has an address at which it can be asked",
		[TRANSPORT_GRPC] = "no holder of it that can be reached now has a gRPC face, and "
				   "[network] transport is grpc",
		[TRANSPORT_REST] = "no holder of it that can be reached now has a REST face, and "
				   "[network] transport is rest",
	};
	return barred[download->means->config->network_transport];
}

void
download_tell_nobody(struct download *download)
{
	char text[ERROR_TEXT_MAX + 64];
	if (download->is_barred)
		snprintf(text, sizeof(text), "%s", barred_text(download));
	else if (download->failure.code != P2P_OK)
		snprintf(text, sizeof(text), "no holder of it can be asked now: %s",
		    download->failure.text);
	else if (download->holders_named == 0)
		snprintf(text, sizeof(text), "no holder of it is known");
	else if (download->holders_away == download->holders_named)
		snprintf(text, sizeof(text), "no holder of it can be reached now: %s away",
		    download->holders_named == 1 ? "the only one that is known is"
						 : "all that are known are");
	else
		snprintf(text, sizeof(text), "no holder of it can be reached now");
	download_tell_waiting(download, P2P_NO_HOLDER, text);
}
