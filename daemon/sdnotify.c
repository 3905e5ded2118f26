/* SPDX-License-Identifier: MIT
 *
 * sdnotify.c - a few words to systemd.
 *
 * Thin on purpose: libsystemd knows where NOTIFY_SOCKET is and does nothing where there is none,
 * so that nobody above asks whether systemd is there.  That a message cannot be delivered is
 * not our failure and is not looked at: sd_notify(3) itself says so.
 *
 * The watchdog is pinged by a timer of the mind and by nothing else; a mind that hangs is then
 * noticed within one period.
 */
#include "sdnotify.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <systemd/sd-daemon.h>
#include <time.h>

#include "mem.h"

#define STATUS_MAX 256 /* bytes of a status line */

struct sdnotify_watchdog {
	struct loop_timer *timer;
	uint64_t every_ms;
};

void
sdnotify_ready(void)
{
	sd_notify(0, "READY=1");
}

void
sdnotify_reloading(void)
{
	struct timespec now;

	/* Microseconds, where clock.h counts in milliseconds: systemd compares with its own time.
	 */
	clock_gettime(CLOCK_MONOTONIC, &now);
	sd_notifyf(0, "RELOADING=1\nMONOTONIC_USEC=%llu",
		   (unsigned long long)now.tv_sec * 1000000 +
		       (unsigned long long)now.tv_nsec / 1000);
}

void
sdnotify_stopping(void)
{
	sd_notify(0, "STOPPING=1");
}

void
sdnotify_status(const char *format, ...)
{
	char text[STATUS_MAX];
	va_list ap;

	va_start(ap, format);
	vsnprintf(text, sizeof(text), format, ap);
	va_end(ap);
	for (char *at = text; *at != '\0'; at++)
		if (*at == '\n') /* would begin another assignment */
			*at = ' ';
	sd_notifyf(0, "STATUS=%s", text);
}

static void
ping(void *arg)
{
	struct sdnotify_watchdog *watchdog = arg;

	sd_notify(0, "WATCHDOG=1");
	loop_timer_start(watchdog->timer, watchdog->every_ms);
}

struct sdnotify_watchdog *
sdnotify_watchdog_new(struct loop *loop)
{
	uint64_t period_us;

	if (sd_watchdog_enabled(0, &period_us) <= 0)
		return NULL;
	struct sdnotify_watchdog *watchdog = mem_zero(1, sizeof(*watchdog));
	watchdog->every_ms = period_us / 2 / 1000;
	if (watchdog->every_ms == 0)
		watchdog->every_ms = 1;
	watchdog->timer = loop_timer_new(loop, ping, watchdog);
	ping(watchdog);
	return watchdog;
}

void
sdnotify_watchdog_free(struct sdnotify_watchdog *watchdog)
{
	if (watchdog == NULL)
		return;
	loop_timer_free(watchdog->timer);
	free(watchdog);
}
